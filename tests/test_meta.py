"""Meta-learning: the episodes it learns from, and each method against a closed form or another's code."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from agreement import Agrees, frozen, peer
from sklearn.linear_model import Ridge
from sklearn.neighbors import NearestCentroid
from tlbench_baselines import r2d2
from tlbench_baselines.anil import ANIL
from tlbench_baselines.fomaml import FOMAML
from tlbench_baselines.maml import MAML
from tlbench_baselines.maml_learn2learn import LearnToLearnMAML
from tlbench_baselines.protonet import ProtoNet
from tlbench_baselines.protonet_learn2learn import LearnToLearnProtoNet
from tlbench_baselines.r2d2 import R2D2
from tlbench_baselines.reptile import Reptile
from torch import Tensor, nn
from torch.func import functional_call, grad
from torch.nn.functional import cross_entropy, one_hot

from tlbench.data import Episodes, Labeled, Recipe, Train, Unlabeled
from tlbench.errors import NotApplicable
from tlbench.runner.worker import child
from tlbench.training import networks
from tlbench.training.meta import (
    Drawn,
    HeadLearner,
    MetaLearner,
    SupportNorm,
    Weighted,
    episodes,
    shape,
    with_support_norms,
)
from tlbench.training.predictors import BatchedLearner

CONVNET = {"kind": "convnet", "augment": ("shift",)}
HEADS = (ANIL, ProtoNet, R2D2)
LEARNERS: tuple[type[MetaLearner], ...] = (MAML, FOMAML, Reptile, *HEADS)
every_learner = pytest.mark.parametrize("cls", LEARNERS)


def images(classes: int, each: int, seed: int) -> Labeled:
    """Noisy copies of one random image a class, in a random order."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(0, 200, (classes, 1, 1, 12, 12), generator=generator)
    noise = torch.randint(0, 56, (classes, each, 1, 12, 12), generator=generator)
    mixed = torch.randperm(classes * each, generator=generator)
    y = torch.arange(classes).repeat_interleave(each)[mixed]
    return Labeled((drawn + noise).flatten(0, 1)[mixed].to(torch.uint8), y)


def few_shot(*sources: Labeled, ways: int = 3, shots: int = 2, queries: int = 4, steps: int = 3) -> Train:
    shown = [s.x for s in sources]
    nothing = Labeled(shown[0][:0], torch.zeros(0).long())
    return Train(
        sources, Unlabeled(nothing.x), nothing, ways, lambda: networks.build(CONVNET, shown, 0), Recipe(steps=steps),
        regime="episodes", source_classes=tuple(int(s.y.max()) + 1 for s in sources),
        episodes=Episodes(ways, shots, queries),
    )  # fmt: skip


def one_task(k: int, classes: int = 3, d: int = 6, steps: int = 3) -> Train:
    """A target with the sources' own classes, of plain features."""
    generator = torch.Generator().manual_seed(0)
    means = 3 * torch.randn(classes, d, generator=generator)

    def part(each: int) -> Labeled:
        y = torch.arange(classes).repeat(each)
        return Labeled(means[y] + torch.randn(len(y), d, generator=generator), y)

    source, shots = part(20), part(k)
    spec = {"kind": "bottleneck", "width": 8, "scale": "standard"}
    backbone = lambda: networks.build(spec, [source.x], 0)  # noqa: E731
    return Train((source,), Unlabeled(shots.x), shots, classes, backbone, Recipe(steps=steps, batch=8))


# episodes


def test_an_episode_has_its_ways_shots_and_queries_and_no_sample_twice() -> None:
    source = images(7, 9, 0)
    for drawn in episodes(few_shot(source), Episodes(3, 2, 4), 5, 2, 0):
        assert drawn.xs.shape == (2, 6, 1, 12, 12)
        assert drawn.xq.shape == (2, 12, 1, 12, 12)
        for e in range(2):
            assert torch.bincount(drawn.ys[e]).tolist() == [2, 2, 2]
            assert torch.bincount(drawn.yq[e]).tolist() == [4, 4, 4]
            assert len(torch.unique(torch.cat([drawn.xs[e], drawn.xq[e]]), dim=0)) == 18


def test_an_episodes_classes_are_classes_of_one_source_under_other_names() -> None:
    first, second = images(5, 6, 0), images(4, 6, 1)
    place = {x.numpy().tobytes(): (i, int(y)) for i, s in enumerate((first, second)) for x, y in zip(s.x, s.y)}  # noqa: B905
    used, renamed = set(), set()
    for drawn in episodes(few_shot(first, second), Episodes(3, 2, 4), 20, 1, 0):
        named: dict[int, set[tuple[int, int]]] = {}
        for x, y in zip(torch.cat([drawn.xs[0], drawn.xq[0]]), torch.cat([drawn.ys[0], drawn.yq[0]]), strict=True):
            named.setdefault(int(y), set()).add(place[x.numpy().tobytes()])
        assert all(len(origins) == 1 for origins in named.values())
        origins = [next(iter(o)) for o in named.values()]
        assert len({source for source, _ in origins}) == 1
        used.add(origins[0][0])
        renamed |= {(y, next(iter(o))) for y, o in named.items()}
    assert used == {0, 1}
    assert len(renamed) > 15  # of 27: a class has now this label and now that


def test_episodes_depend_on_the_seed_alone() -> None:
    train = few_shot(images(7, 9, 0))
    torch.manual_seed(5)
    runs = [list(episodes(train, shape(train), 3, 2, seed)) for seed in (1, 1, 2)]
    same = [torch.equal(a.xs, b.xs) and torch.equal(a.ys, b.ys) for a, b in zip(runs[0], runs[1], strict=True)]
    assert all(same)
    assert not all(torch.equal(a.xs, b.xs) for a, b in zip(runs[0], runs[2], strict=True))


@pytest.mark.parametrize(
    ("each", "classes", "ways", "shots", "queries"),
    [(5, 7, 3, 2, 3), (2, 7, 3, 1, 1), (3, 7, 3, 2, 1), (9, 2, 2, 2, 4)],
)
def test_small_sources_give_fewer_queries_then_shots_then_ways(
    each: int, classes: int, ways: int, shots: int, queries: int
) -> None:
    train = few_shot(images(classes, each, 0))
    drawn = next(episodes(train, shape(train), 1, 1, 0))
    assert drawn.ys.shape == (1, ways * shots)
    assert drawn.yq.shape == (1, ways * queries)


def test_a_class_too_small_for_the_shots_is_left_out_where_others_are_not() -> None:
    source = images(5, 8, 0)
    kept = ~((source.y == 4) & (torch.cumsum(source.y == 4, 0) > 2))  # two samples of class 4
    train = few_shot(Labeled(source.x[kept], source.y[kept]))
    assert next(episodes(train, shape(train), 1, 1, 0)).yq.shape == (1, 12)


@every_learner
def test_sources_without_an_episode_are_refused_in_a_line(cls: type[MetaLearner]) -> None:
    with pytest.raises(NotApplicable, match="no source has two classes of two samples"):
        cls().fit(few_shot(images(5, 1, 0)), 0)


def test_where_the_target_has_the_sources_classes_labels_keep_their_meaning() -> None:
    train = one_task(2)
    assert shape(train) == Episodes(3, 2, 10)
    known = {tuple(x.tolist()): int(y) for x, y in zip(train.sources[0].x, train.sources[0].y, strict=True)}
    for drawn in episodes(train, shape(train), 4, 2, 0):
        pairs = zip(drawn.xs.flatten(0, 1), drawn.ys.flatten(), strict=True)
        assert all(known[tuple(x.tolist())] == int(y) for x, y in pairs)


# what all learners check


@every_learner
def test_a_learner_is_deterministic_and_leaves_data_and_random_state_alone(cls: type[MetaLearner]) -> None:
    train, episode = few_shot(images(7, 9, 0)), images(3, 6, 5)
    support, x = Labeled(episode.x[:6], episode.y[:6]), episode.x[6:]
    before = train.sources[0].x.clone()
    torch.manual_seed(4321)
    state = torch.get_rng_state()
    scores = cls().fit(train, 3)(support, x)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(train.sources[0].x, before)
    assert scores.shape == (12, 3)
    assert torch.isfinite(scores).all()
    assert not scores.requires_grad
    assert torch.equal(cls().fit(train, 3)(support, x), scores)
    assert not torch.equal(cls().fit(train, 4)(support, x), scores)


@every_learner
def test_several_episodes_at_once_are_as_one_by_one_and_queries_as_each_by_itself(cls: type[MetaLearner]) -> None:
    train = few_shot(images(7, 9, 0))
    learn = cls().fit(train, 0)
    assert isinstance(learn, BatchedLearner)
    learn.module.net.double()  # fifty steps by the gradient's sign magnify rounding
    drawn = next(episodes(train, shape(train), 1, 3, 9))
    together = learn.several(Labeled(drawn.xs, drawn.ys), drawn.xq)
    assert together.shape == (3, 12, 3)
    for e in range(3):
        support = Labeled(drawn.xs[e], drawn.ys[e])
        torch.testing.assert_close(learn(support, drawn.xq[e]), together[e], atol=1e-6, rtol=1e-5)
        singles = torch.cat([learn(support, x[None]) for x in drawn.xq[e][:4]])
        torch.testing.assert_close(singles, together[e][:4], atol=1e-6, rtol=1e-5)


@every_learner
def test_a_learner_tells_new_classes_of_the_same_kind_apart(cls: type[MetaLearner]) -> None:
    learn = cls().fit(few_shot(images(40, 10, 0), steps=40), 0)
    assert isinstance(learn, BatchedLearner)
    assert right_of(learn) > 0.9


def right_of(learn: BatchedLearner) -> float:
    """The share of queries told right in episodes of new classes."""
    novel = few_shot(images(30, 10, 77))
    told = [(learn.several(Labeled(d.xs, d.ys), d.xq).argmax(-1), d.yq) for d in episodes(novel, shape(novel), 5, 4, 0)]
    return float(torch.stack([(guess == y).float().mean() for guess, y in told]).mean())


def test_a_worker_scores_several_episodes_at_once_or_one_by_one_alike(tmp_path: Path) -> None:
    train, pool = few_shot(images(7, 9, 0)), images(6, 10, 3)
    made = [torch.randperm(60, generator=torch.Generator().manual_seed(e))[:14].numpy() for e in range(5)]
    np.savez(
        tmp_path / "episodes.npz", support=np.array([m[:6] for m in made]), queries=np.array([m[6:] for m in made]),
        support_y=np.tile([0, 0, 1, 1, 2, 2], (5, 1)),
    )  # fmt: skip
    learn = ProtoNet().fit(train, 0)
    alone = child.episode_scores(lambda support, x: learn(support, x), pool.x, tmp_path)
    assert alone.shape == (40, 3)
    np.testing.assert_allclose(child.episode_scores(learn, pool.x, tmp_path), alone, atol=1e-4)


@pytest.mark.parametrize("cls", HEADS)
def test_with_one_task_the_shots_are_the_support(cls: type[HeadLearner]) -> None:
    train = one_task(4, steps=60)
    method = replace(cls(), lr=0.01)
    scores = method.fit(train, 0)(train.shots.x)
    assert scores.shape == (12, 3)
    assert (scores.argmax(1) == train.shots.y).float().mean() > 0.9
    net = method.trained(train, 0)
    with torch.no_grad():
        expected = method.scores(
            net,
            Drawn(train.shots.x[None], train.shots.y[None], train.shots.x[None], train.shots.y[None, :0], 3),
        )
    torch.testing.assert_close(scores, expected[0])


@pytest.mark.parametrize("field", ["steps", "episodes_a_step", "lr"])
def test_a_setting_that_must_be_positive_is(field: str) -> None:
    with pytest.raises(ValueError, match=f"{field} is 0, it must be positive"):
        replace(MAML(), **{field: 0})


# batch norm


def test_a_support_norm_takes_its_moments_from_the_first_rows() -> None:
    x = torch.randn(9, 4, 5, 5)
    plain = nn.BatchNorm2d(4)
    nn.init.normal_(plain.weight)
    norm = SupportNorm(plain)
    torch.testing.assert_close(norm(x), plain(x))
    norm.support = torch.empty(3)
    torch.testing.assert_close(norm(x)[:3], plain(x[:3]))
    assert not torch.allclose(norm(x), plain(x))


def test_every_batch_norm_of_a_network_is_replaced_but_a_frozen_checkpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    features = networks.build(CONVNET, [torch.zeros(2, 1, 12, 12, dtype=torch.uint8)], 0)
    net = with_support_norms(nn.ModuleDict({"features": copy.deepcopy(features)}))
    assert sum(isinstance(m, SupportNorm) for m in net.modules()) == 2
    assert not any(isinstance(m, nn.BatchNorm2d) for m in net.modules())
    features.fixed_norm = True
    kept = with_support_norms(nn.ModuleDict({"features": features}))
    assert sum(isinstance(m, nn.BatchNorm2d) for m in kept.modules()) == 2


# the maths, on linear models

D = 5


def linear(seed: int, outputs: int = 1) -> nn.ModuleDict:
    """A linear model in double precision, in training mode."""
    random = np.random.default_rng(seed)
    head = nn.Linear(D, outputs, dtype=torch.float64)
    head.weight.data, head.bias.data = torch.from_numpy(random.normal(size=(outputs, D))), torch.zeros(outputs).double()
    return nn.ModuleDict(
        {"features": networks.Backbone(nn.Identity(), nn.Identity(), nn.Identity(), D), "classifier": head}
    )


def regression(seed: int, n: int) -> tuple[Tensor, Tensor]:
    random = np.random.default_rng(seed)
    return torch.from_numpy(random.normal(size=(n, D))), torch.from_numpy(random.normal(size=n))


@pytest.fixture
def squared(monkeypatch: pytest.MonkeyPatch) -> None:
    """The inner loss as half the mean squared error, whose Hessian is X^T X / n, without an intercept."""

    def loss(self: Weighted, weights: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return 0.5 * (x @ weights["1.weight"][0] - y).square().mean()

    monkeypatch.setattr(Weighted, "loss", loss)


@pytest.mark.usefixtures("squared")
@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("cls", [MAML, FOMAML])
def test_the_gradient_of_maml_on_a_linear_model_is_the_closed_form(
    cls: Callable[..., Any], steps: int, agrees: Agrees
) -> None:
    alpha, net = 0.1, linear(0)
    (x, y), (xq, yq) = regression(1, 8), regression(2, 9)
    w = net["classifier"].weight[0].detach()
    hessian = x.T @ x / 8
    for _ in range(steps):
        w = w - alpha * (hessian @ w - x.T @ y / 8)
    slope = xq.T @ (xq @ w - yq) / 9
    through = torch.linalg.matrix_power(torch.eye(D, dtype=torch.float64) - alpha * hessian, steps)
    expected = through @ slope if cls is MAML else slope
    method = cls(inner_lr=alpha, inner_steps=steps)
    scores = method.scores(net.train(), Drawn(x[None], y[None], xq[None], yq[None], 1))[0, :, 0]
    (0.5 * (scores - yq).square().mean()).backward()
    found = scores, net["classifier"].weight.grad[0]
    agrees(cls.__name__.lower(), "the linear model's closed form", found, (xq @ w, expected), atol=1e-12)
    assert (slope - through @ slope).abs().max() > 0.01  # the factor that tells the two apart


@pytest.mark.usefixtures("squared")
def test_the_first_order_gradient_climbs_along_curvatures_above_the_inverse_of_the_inner_rate() -> None:
    """H = diag(h), support and queries alike: down a direction of curvature h goes MAML, and FOMAML if alpha h < 1."""
    alpha, net = 0.5, linear(0)
    h = torch.tensor([0.2, 1.0, 1.9, 2.1, 6.0]).double()
    x = (D * h).sqrt().diag()  # X^T X / n = H
    y, w = torch.zeros(D).double(), net["classifier"].weight[0].detach()
    for cls, expected in ((MAML, h * (1 - alpha * h) ** 2 * w), (FOMAML, h * (1 - alpha * h) * w)):
        net.zero_grad()
        method = cls(inner_lr=alpha, inner_steps=1)
        out = method.scores(net.train(), Drawn(x[None], y[None], x[None], y[None], 1))[0, :, 0]
        (0.5 * out.square().mean()).backward()
        found = net["classifier"].weight.grad[0]
        torch.testing.assert_close(found, expected, atol=1e-12, rtol=0)
        assert ((found * w > 0) == (torch.ones(D).bool() if cls is MAML else alpha * h < 1)).all()


def test_where_inner_steps_overshoot_first_order_maml_learns_to_prefer_a_class_and_maml_does_not() -> None:
    """The greatest curvature at the toy's start lies between 1 / 0.4 and 1 / 0.05."""

    def learnt(cls: Callable[..., Any], alpha: float) -> tuple[float, float]:
        train = few_shot(images(40, 10, 0), steps=40)
        learn = cls(inner_lr=alpha, inner_steps=1, test_steps=1).fit(train, 0)
        with torch.no_grad():  # what the start says of all the sources' samples
            mean = learn.module.net["classifier"](learn.module.net["features"](train.sources[0].x)).mean(0)
        return right_of(learn), float((mean - mean.mean()).norm())

    (right, preference), (wrong, biased) = learnt(FOMAML, 0.05), learnt(FOMAML, 0.4)
    assert right > 0.9
    assert wrong < 0.8
    assert biased > 5 * preference
    right, preference = learnt(MAML, 0.4)
    assert right > 0.9
    assert biased > 5 * preference


@pytest.mark.parametrize("steps", [1, 3])
def test_maml_is_torch_funcs_gradient_through_the_inner_steps(steps: int, agrees: Agrees) -> None:
    """Episode by episode, as one function of the start."""
    net = linear(0, outputs=3)
    random = torch.Generator().manual_seed(0)
    xs, xq = (torch.randn(2, n, D, generator=random).double() for n in (6, 4))
    ys, yq = torch.arange(6).repeat(2, 1) % 3, torch.arange(4).repeat(2, 1) % 3
    start = {name: p.detach() for name, p in net["classifier"].named_parameters()}

    def loss(w: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return cross_entropy(functional_call(net["classifier"], w, (x,)), y)

    def outer(w: dict[str, Tensor], e: int) -> Tensor:
        for _ in range(steps):
            slope = grad(loss)(w, xs[e], ys[e])
            w = {name: w[name] - 0.3 * slope[name] for name in w}
        return loss(w, xq[e], yq[e])

    slopes = [grad(outer)(start, e) for e in range(2)]
    scores = MAML(inner_lr=0.3, inner_steps=steps).scores(net.train(), Drawn(xs, ys, xq, yq, 3))
    cross_entropy(scores.flatten(0, 1), yq.flatten()).backward()
    expected = [(slopes[0][name] + slopes[1][name]) / 2 for name in start]
    agrees("maml", "torch.func", [p.grad for p in net["classifier"].parameters()], expected, atol=1e-12)


def test_anil_adapts_the_head_only_and_goes_back_through_its_steps(agrees: Agrees) -> None:
    random = torch.Generator().manual_seed(0)
    fs, fq = (torch.randn(2, n, D, generator=random).double().requires_grad_() for n in (6, 4))
    ys = torch.tensor([[0, 1, 2, 0, 1, 2], [2, 1, 0, 0, 1, 2]])
    net = nn.ModuleDict({"classifier": nn.Linear(D, 3).double()})
    scores = ANIL(inner_lr=0.3, inner_steps=4).head(net, fs, ys, fq, 3)
    own = []
    for e in range(2):
        w, b = net["classifier"].weight, net["classifier"].bias
        for _ in range(4):
            loss = cross_entropy(fs[e] @ w.T + b, ys[e])
            gw, gb = torch.autograd.grad(loss, (w, b), create_graph=True)
            w, b = w - 0.3 * gw, b - 0.3 * gb
        own.append(fq[e] @ w.T + b)
    expected = torch.stack(own)
    inputs = (fs, fq, *net["classifier"].parameters())
    ours, theirs = ((s, *torch.autograd.grad(s.square().sum(), inputs)) for s in (scores, expected))
    agrees("anil", "autograd, episode by episode", ours, theirs, atol=1e-11)


def test_reptile_moves_the_start_by_the_mean_way_of_the_inner_loops(agrees: Agrees) -> None:
    """Each inner loop by torch's own Adam, episode by episode."""
    method = Reptile(lr=0.25, inner_batch=12, inner_steps=4, inner_lr=0.01)  # batches of everything: no order matters
    net, x = linear(0, outputs=3), torch.randn(3, 12, D, generator=torch.Generator().manual_seed(1)).double()
    y = torch.arange(12).repeat(3, 1) % 3
    start = [p.detach().clone() for p in net.parameters()]
    ways = [torch.zeros_like(p) for p in start]
    for e in range(3):
        own = copy.deepcopy(net)
        adam = torch.optim.Adam(own.parameters(), lr=0.01, betas=(0.0, 0.999))
        for _ in range(4):
            adam.zero_grad()
            cross_entropy(own["classifier"](x[e]), y[e]).backward()
            adam.step()
        for way, phi, theta in zip(ways, own.parameters(), start, strict=True):
            way += (phi.detach() - theta) / 3
    drawn = Drawn(x[:, :6], y[:, :6], x[:, 6:], y[:, 6:], 3)
    assert method.learn(net.train(), iter([drawn, drawn]), 2) == 2 * 3 * 4 * 12
    first = copy.deepcopy(linear(0, outputs=3))
    method.learn(first.train(), iter([drawn]), 1)
    expected = [theta + 0.25 * way for theta, way in zip(start, ways, strict=True)]
    agrees("reptile", "torch's Adam, episode by episode", list(first.parameters()), expected, atol=1e-12)
    assert not torch.equal(net["classifier"].weight, first["classifier"].weight)


def test_reptiles_steps_shrink_to_nothing() -> None:
    net = linear(0, outputs=3)
    x = torch.randn(1, 6, D, generator=torch.Generator().manual_seed(1)).double()
    drawn, before = Drawn(x, torch.arange(6)[None] % 3, x, torch.arange(6)[None] % 3, 3), []

    def stream() -> Any:
        for _ in range(4):
            before.append(net["classifier"].weight.detach().clone())
            yield drawn

    Reptile(lr=0.5, inner_steps=1, inner_batch=12).learn(net.train(), stream(), 4)
    before.append(net["classifier"].weight.detach().clone())
    ways = [float((b - a).abs().mean()) for a, b in pairwise(before)]
    # One step of Adam without momentum is as long as its rate, whatever the gradient.
    np.testing.assert_allclose(ways, 0.5e-3 * np.array([1, 0.75, 0.5, 0.25]), rtol=1e-3)


def test_protonets_head_is_the_nearest_centroid(agrees: Agrees) -> None:
    random = np.random.default_rng(0)
    fs, fq, ys = random.normal(size=(2, 9, D)), random.normal(size=(2, 30, D)), np.tile([0, 1, 3] * 3, (2, 1))
    scores = ProtoNet().head(nn.ModuleDict(), *map(torch.from_numpy, (fs, ys, fq)), 4)
    assert (scores[:, :, 2] < -1e29).all()  # of which the support has no sample
    for e in range(2):
        nearest = NearestCentroid().fit(fs[e], ys[e])
        assert scores[e].argmax(1).tolist() == nearest.predict(fq[e]).tolist()
        expected = -np.square(fq[e][:, None] - nearest.centroids_).sum(-1)
        agrees("protonet", f"{peer('scikit-learn')}, NearestCentroid", scores[e][:, [0, 1, 3]], expected, atol=1e-12)


@pytest.mark.parametrize("n", [3, 5, 12])
def test_r2d2s_head_is_a_ridge_regression_on_either_side_of_woodbury(n: int, agrees: Agrees) -> None:
    random = np.random.default_rng(n)
    fs, fq, ys = random.normal(size=(2, n, D)), random.normal(size=(2, 7, D)), random.integers(0, 3, (2, n))
    net = nn.ModuleDict({"ridge": nn.ParameterDict({"alpha": torch.tensor(3.0).double()})})
    scores = R2D2(penalty=2.5).head(net, *map(torch.from_numpy, (fs, ys, fq)), 3).detach().numpy()
    for e in range(2):
        ridge = Ridge(alpha=2.5, fit_intercept=False).fit(fs[e], np.eye(3)[ys[e]])
        np.testing.assert_allclose(scores[e], 3 * ridge.predict(fq[e]), atol=1e-12)
    w = r2d2.weights(torch.from_numpy(fs), one_hot(torch.from_numpy(ys), 3).double(), 2.5)
    ridge = Ridge(alpha=2.5, fit_intercept=False).fit(fs[0], np.eye(3)[ys[0]])
    agrees("r2d2", f"{peer('scikit-learn')}, Ridge", w[0], ridge.coef_.T, atol=1e-12)


def test_r2d2_learns_its_scale() -> None:
    train = few_shot(images(7, 9, 0))
    before, after = R2D2().networks(train)["ridge"], R2D2().trained(train, 0)["ridge"]
    assert before["alpha"].item() == pytest.approx(1e-4)  # type: ignore[index]
    assert after["alpha"].item() != before["alpha"].item()  # type: ignore[index]


# against learn2learn


FROZEN = frozen("learn2learn")


def same_network() -> nn.ModuleDict:
    weights = {name.removeprefix("weights/"): w for name, w in FROZEN.items() if name.startswith("weights/")}
    width, ways = weights["1.weight"].shape[::-1]
    trunk = nn.Sequential(nn.Conv2d(1, 3, 3), nn.Tanh(), nn.Flatten(), nn.Linear(weights["0.3.weight"].shape[1], width))
    body = nn.Sequential(trunk, nn.Linear(width, ways)).double()
    body.load_state_dict({name: torch.from_numpy(w) for name, w in weights.items()})
    features = networks.Backbone(nn.Identity(), nn.Identity(), body[0], width)
    return nn.ModuleDict({"features": features, "classifier": body[1]})


@pytest.mark.parametrize("name", ["maml", "fomaml", "anil", "protonet"])
def test_losses_and_gradients_are_learn2learns(name: str, agrees: Agrees) -> None:
    net = same_network()
    inner = {"inner_lr": float(FROZEN["lr"]), "inner_steps": int(FROZEN["steps"])}
    method = {"maml": MAML, "fomaml": FOMAML, "anil": ANIL}[name](**inner) if name != "protonet" else ProtoNet()
    xs, ys, xq, yq = (torch.from_numpy(FROZEN[part]) for part in ("xs", "ys", "xq", "yq"))
    scores = method.scores(net.train(), Drawn(xs, ys, xq, yq, 4))
    loss = cross_entropy(scores.flatten(0, 1), yq.flatten())
    loss.backward()
    parts = (("0", net["features"].trunk), ("1", net["classifier"]))
    slopes = {n: p.grad for prefix, part in parts for n, p in part.named_parameters(prefix=prefix)}
    there = [n for n in slopes if f"{name}/{n}" in FROZEN]
    assert len(there) == (4 if name == "protonet" else 6)
    ours, theirs = [loss, *(slopes[n] for n in there)], [FROZEN[f"{name}/{n}"] for n in ("loss", *there)]
    agrees(name, peer("learn2learn", FROZEN), ours, theirs, atol=1e-11)
    if name == "protonet":
        np.testing.assert_allclose(scores.detach().numpy(), FROZEN["protonet/logits"], atol=1e-11)


def test_without_learn2learn_its_maml_is_refused_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "learn2learn", None)
    monkeypatch.setitem(sys.modules, "learn2learn.algorithms", None)
    with pytest.raises(NotApplicable, match="learn2learn is not installed; tlbench's extra 'meta' has it"):
        LearnToLearnMAML().fit(few_shot(images(7, 9, 0)), 0)


def test_learn2learns_prototypes_tell_what_ours_do(agrees: Agrees) -> None:
    pytest.importorskip("learn2learn.nn.protonet", exc_type=ImportError)
    random = np.random.default_rng(0)
    fs, fq, ys = random.normal(size=(2, 9, D)), random.normal(size=(2, 30, D)), np.tile([0, 1, 2] * 3, (2, 1))
    parts = nn.ModuleDict(), *map(torch.from_numpy, (fs, ys, fq)), 3
    agrees("protonet_learn2learn", "ours", ProtoNet().head(*parts), LearnToLearnProtoNet().head(*parts), atol=1e-12)


@pytest.fixture
def double() -> Iterator[None]:
    """Networks in double precision: Adam magnifies the rounding of a gradient that is nought."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("first_order", [False, True])
def test_maml_learns_what_learn2learns_does(first_order: bool, agrees: Agrees) -> None:
    pytest.importorskip("learn2learn.algorithms", exc_type=ImportError)
    train = few_shot(images(7, 9, 0), steps=5)
    still = replace(train, backbone=lambda: networks.build({**CONVNET, "augment": ()}, [train.sources[0].x], 0))
    drawn = next(episodes(still, shape(still), 1, 3, 9))
    same = {"inner_lr": 0.1, "inner_steps": 2, "test_steps": 3}
    own = (FOMAML if first_order else MAML)(**same)
    library = LearnToLearnMAML(first_order=first_order, **same)
    found, expected = (m.fit(still, 0).several(Labeled(drawn.xs, drawn.ys), drawn.xq) for m in (own, library))
    agrees("maml_learn2learn", "ours, after five steps of Adam", expected, found, atol=1e-9)
