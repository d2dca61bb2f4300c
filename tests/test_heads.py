"""Sources with a task of their own, numbers and boxes: what the training loop makes of each kind of label."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn.functional import cross_entropy, mse_loss

from tlbench import Labeled, Train, Unlabeled
from tlbench.data import Episodes, Recipe
from tlbench.training import networks
from tlbench.training.trainer import ERM, Batch, label_loss, network, supervised_loss

RECIPE = Recipe(steps=30, batch=8, lr=0.05)


def train(sources: int = 2, k: int = 3, classes: tuple[int, ...] = (4, 5)) -> Train:
    draw = torch.Generator().manual_seed(0)

    def part(n: int, c: int) -> Labeled:
        y = torch.arange(n) % c
        return Labeled(torch.randn(n, 6, generator=draw) + torch.nn.functional.one_hot(y, 6) * 4.0, y)

    held = tuple(part(40, c) for c in classes[:sources])
    shots = part(3 * k, 3)
    parts = [s.x for s in held] + [shots.x]
    return Train(
        sources=held, target=Unlabeled(torch.randn(20, 6, generator=draw)), shots=shots, n_classes=3,
        backbone=lambda: networks.build({"kind": "bottleneck", "width": 16, "scale": "standard"}, parts, 0),
        recipe=RECIPE, source_classes=classes[:sources],
    )  # fmt: skip


def test_each_source_has_a_head_and_the_target_another() -> None:
    net = network(train())
    assert [head.out_features for head in net["heads"]] == [4, 5]
    assert net["classifier"].out_features == 3
    assert "heads" not in network(replace(train(), source_classes=()))


def test_the_loss_is_the_mean_over_all_labels_each_under_its_own_head() -> None:
    t = train()
    net = network(t).eval()
    source = torch.tensor([0, 0, 1, 1, 1])
    xs, ys = torch.cat([t.sources[0].x[:2], t.sources[1].x[:3]]), torch.cat([t.sources[0].y[:2], t.sources[1].y[:3]])
    batch = Batch(xs, ys, source, t.target.x, t.shots.x[:4], t.shots.y[:4])
    f = net["features"](batch.x)
    parts = [
        cross_entropy(net["heads"][0](f[:2]), ys[:2], reduction="sum"),
        cross_entropy(net["heads"][1](f[2:5]), ys[2:], reduction="sum"),
        cross_entropy(net["classifier"](f[5:]), t.shots.y[:4], reduction="sum"),
    ]
    assert label_loss(net, f, batch).item() == pytest.approx(sum(p.item() for p in parts) / 9)
    assert supervised_loss(net, batch).item() == pytest.approx(label_loss(net, f, batch).item())


def test_training_moves_every_head_and_the_trunk() -> None:
    t = train()
    before = network(t).state_dict()
    after = ERM().trained(t, 0).state_dict()
    for name in ("heads.0.weight", "heads.1.weight", "classifier.weight", "features.trunk.0.weight"):
        assert not torch.equal(before[name], after[name]), name


def test_numbers_are_learnt_by_squared_error() -> None:
    draw = torch.Generator().manual_seed(1)
    x = torch.randn(200, 6, generator=draw)
    y = x @ torch.tensor([1.0, -2, 0, 0, 0.5, 0])
    t = replace(train(0), shots=Labeled(x, y), n_classes=1, regime="regression", source_classes=())
    predict = ERM(steps=300).fit(t, 0)
    assert mse_loss(predict(x)[:, 0], y) < 0.1 * y.var()


def test_a_learner_starts_anew_from_the_same_weights_for_every_episode() -> None:
    t = replace(train(), shots=Labeled(torch.zeros(0, 6), torch.zeros(0).long()), episodes=Episodes(3, 2, 4))
    whole = train(k=10).shots
    one, other = Labeled(whole.x[:6], whole.y[:6]), Labeled(whole.x[6:12], whole.y[6:12])
    learn = ERM().fit(replace(t, sources=(), source_classes=()), 0)
    first = learn(one, whole.x[12:])
    learn(other, whole.x[12:])
    assert torch.equal(first, learn(one, whole.x[12:]))
    assert first.shape == (18, 3)
    assert (first.argmax(1) == whole.y[12:]).float().mean() > 0.6
