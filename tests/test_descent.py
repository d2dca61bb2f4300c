"""The training loop: every sample in its turn, the schedule of the paper, the same answer for the same seed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tlbench.data import Labeled, Recipe, Train, Unlabeled
from tlbench.training import networks
from tlbench.training.meter import METER
from tlbench.training.predictors import predictor
from tlbench.training.trainer import ERM, Batch, GradientMethod, batches, descend, network, order, seeded


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """Small networks wait for each other's threads longer than they compute."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


# what a training set looks like


def images(n: int, seed: int, side: int = 8) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, 3, side, side), generator=generator, dtype=torch.uint8)


def training(k: int = 2, sources: tuple[int, ...] = (21,), target: int = 17, seed: int = 0, steps: int = 4) -> Train:
    """Random images of three classes, under a small convolutional network."""
    parts = tuple(Labeled(images(n, i), torch.arange(n) % 3) for i, n in enumerate(sources))
    shots = Labeled(images(3 * k, 50), torch.arange(3 * k) % 3)
    unlabeled = Unlabeled(images(target, 60))
    shown = [s.x for s in parts] + [unlabeled.x]
    net = {"kind": "convnet", "augment": ("shift",)}
    return Train(parts, unlabeled, shots, 3, lambda: networks.build(net, shown, seed), Recipe(steps=steps, batch=8))


def told(k: int = 3, sources: tuple[int, ...] = (10,), target: int = 7, batch: int = 8, steps: int = 5) -> Train:
    """Inputs that say what they are: (kind, source, number); labels are the number modulo three."""

    def part(kind: int, which: int, n: int) -> Tensor:
        return torch.stack([torch.tensor([kind, which, i]) for i in range(n)]) if n else torch.zeros(0, 3).long()

    return Train(
        sources=tuple(Labeled(part(0, i, n), torch.arange(n) % 3) for i, n in enumerate(sources)),
        target=Unlabeled(part(1, 0, target)),
        shots=Labeled(part(2, 0, 3 * k), torch.arange(3 * k) % 3),
        n_classes=3,
        backbone=nn.Identity,
        recipe=Recipe(steps=steps, batch=batch),
    )


# the order of samples


@settings(max_examples=150, deadline=None)
@given(n=st.integers(1, 50), size=st.integers(1, 40), steps=st.integers(1, 20), seed=st.integers(0, 99))
def test_every_sample_is_seen_equally_often_to_within_one(n: int, size: int, steps: int, seed: int) -> None:
    rows = order(n, size, steps, torch.Generator().manual_seed(seed))
    assert rows.shape == (steps, size)
    for seen_so_far in (rows, rows[: (steps + 1) // 2]):
        counts = torch.bincount(seen_so_far.flatten(), minlength=n)
        assert len(counts) == n
        assert counts.max() - counts.min() <= 1


@settings(max_examples=50, deadline=None)
@given(n=st.integers(1, 20), size=st.integers(1, 40))
def test_no_sample_comes_again_before_all_others_have_come(n: int, size: int) -> None:
    rounds = order(n, size, 2 * n, torch.Generator().manual_seed(0)).flatten().view(-1, n)
    assert (rounds.sort(1).values == torch.arange(n)).all()


def test_each_round_has_an_order_of_its_own_and_the_generator_decides() -> None:
    first = order(30, 30, 3, torch.Generator().manual_seed(0))
    assert not torch.equal(first[0], first[1])
    assert torch.equal(first, order(30, 30, 3, torch.Generator().manual_seed(0)))
    assert not torch.equal(first, order(30, 30, 3, torch.Generator().manual_seed(1)))


# batches


@pytest.mark.parametrize("sources", [(10,), (10, 3), (10, 3, 30)])
def test_a_batch_holds_every_kind_and_labels_stay_with_their_inputs(sources: tuple[int, ...]) -> None:
    train = told(sources=sources)
    stream = list(batches(train, train.recipe, 0))
    assert len(stream) == 5
    for batch in stream:
        assert (len(batch.xs), len(batch.xt), len(batch.xl)) == (8, 8, 8)
        for kind, x in enumerate((batch.xs, batch.xt, batch.xl)):
            assert (x[:, 0] == kind).all()
        assert torch.equal(batch.xs[:, 1], batch.source)
        assert torch.equal(batch.ys, batch.xs[:, 2] % 3)
        assert torch.equal(batch.yl, batch.xl[:, 2] % 3)
        shares = torch.bincount(batch.source, minlength=len(sources))
        assert shares.max() - shares.min() <= 1
        assert torch.equal(batch.x, torch.cat([batch.xs, batch.xl]))
        assert torch.equal(batch.y, torch.cat([batch.ys, batch.yl]))


@pytest.mark.parametrize("kinds", ["s", "t", "l", "st", "sl", "tl", "stl", ""])
def test_a_kind_that_is_not_wanted_is_an_empty_batch_of_the_right_shape(kinds: str) -> None:
    train = told()
    (batch, *_) = batches(train, train.recipe, 0, kinds)
    for kind, x, y in (("s", batch.xs, batch.ys), ("t", batch.xt, None), ("l", batch.xl, batch.yl)):
        assert x.shape == ((8, 3) if kind in kinds else (0, 3))
        assert x.dtype == train.target.x.dtype
        assert y is None or (len(y), y.dtype) == (len(x), torch.long)
    assert len(batch.x) == len(batch.y) == 8 * (("s" in kinds) + ("l" in kinds))
    assert len(batch.source) == len(batch.xs)


def test_what_is_not_there_is_an_empty_batch() -> None:
    train = told(k=0, target=0)
    (batch, *_) = batches(train, train.recipe, 0)
    assert (len(batch.xs), len(batch.xt), len(batch.xl)) == (8, 0, 0)
    assert batch.x is batch.xs
    alone = replace(told(), sources=())
    (batch, *_) = batches(alone, alone.recipe, 0)
    assert (len(batch.xs), len(batch.ys), len(batch.source)) == (0, 0, 0)
    assert batch.x is batch.xl


@pytest.mark.parametrize("n", [1, 5, 7, 8, 9, 31])
def test_no_number_of_shots_is_too_small_or_odd_for_a_batch(n: int) -> None:
    train = told()
    few = replace(train, shots=Labeled(train.target.x[:1].repeat(n, 1) + torch.arange(n)[:, None], torch.arange(n)))
    seen = torch.cat([batch.yl for batch in batches(few, few.recipe, 0)])
    counts = torch.bincount(seen, minlength=n)
    assert counts.sum() == 5 * 8
    assert counts.max() - counts.min() <= 1


def test_batches_depend_on_their_seed_and_on_nothing_else() -> None:
    def rows(seed: int) -> Tensor:
        train = told()
        return torch.cat([torch.cat([b.xs, b.xt, b.xl]) for b in batches(train, train.recipe, seed)])

    torch.manual_seed(1)
    first = rows(0)
    torch.manual_seed(2)
    assert torch.equal(first, rows(0))
    assert not torch.equal(first, rows(1))


def test_a_batch_smaller_than_the_number_of_sources_leaves_one_out() -> None:
    train = told(sources=(4, 4, 4), batch=2)
    assert [batch.source.tolist() for batch in batches(train, train.recipe, 0)] == [[0, 1]] * 5


# the descent itself


class Weight(nn.Module):
    """One number."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.tensor(value, dtype=torch.double))


def nesterov(value: float, gradient: float, rates: list[float], decay: float) -> list[float]:
    """The values of a weight whose loss is linear, under Nesterov's momentum of 0.9 (Sutskever et al. 2013)."""
    speed, values = 0.0, [value]
    for rate in rates:
        g = gradient + decay * values[-1]
        speed = 0.9 * speed + g
        values.append(values[-1] - rate * (g + 0.9 * speed))
    return values


def test_the_learning_rate_falls_as_in_the_paper_and_the_body_has_its_share() -> None:
    steps, lr, decay, share = 12, 0.3, 0.05, 0.1
    net = nn.ModuleDict({"features": Weight(2.0), "classifier": Weight(-1.0), "frozen": Weight(5.0)})
    net["frozen"].value.requires_grad_(False)
    seen: list[tuple[float, float, float]] = []
    progressed: list[float] = []

    def loss(batch: Batch, progress: float) -> Tensor:
        progressed.append(progress)
        values = [net[name].value for name in ("features", "classifier", "frozen")]
        seen.append(tuple(v.item() for v in values))  # type: ignore[arg-type]
        return 0.7 * values[0] - 0.4 * values[1] + values[2]

    train = told(steps=steps)
    recipe = replace(train.recipe, lr=lr, weight_decay=decay, body_lr=share)
    descend(net, loss, batches(train, recipe, 0), recipe)
    assert progressed == [i / steps for i in range(steps)]
    rates = [lr / (1 + 10 * i / steps) ** 0.75 for i in range(steps)]
    features = nesterov(2.0, 0.7, [share * r for r in rates], decay)
    classifier = nesterov(-1.0, -0.4, rates, decay)
    assert [s[0] for s in seen] == pytest.approx(features[:-1], abs=1e-12)
    assert [s[1] for s in seen] == pytest.approx(classifier[:-1], abs=1e-12)
    assert net["features"].value.item() == pytest.approx(features[-1], abs=1e-12)
    assert {s[2] for s in seen} == {net["frozen"].value.item()} == {5.0}


def test_training_is_in_training_mode_and_ends_in_evaluation_mode() -> None:
    modes = []

    class Watch(ERM):
        def loss(self, net: nn.ModuleDict, batch: Batch, progress: float) -> Tensor:
            modes.append({m.training for m in net.modules()})
            return super().loss(net, batch, progress)

    net = Watch().trained(training(), 0)
    assert modes == [{True}] * 4
    assert {m.training for m in net.modules()} == {False}


def test_the_meter_counts_every_sample_that_a_step_sees() -> None:
    samples, steps = METER.samples, METER.steps
    ERM().fit(training(), 0)
    assert (METER.samples - samples, METER.steps - steps) == (4 * (8 + 8), 4)


def test_a_methods_own_settings_take_the_cards_place_and_none_leaves_them() -> None:
    train = training()
    assert ERM().recipe(train) == train.recipe
    own = ERM(steps=2, lr=0.5).recipe(train)
    assert own == replace(train.recipe, steps=2, lr=0.5)
    assert ERM(weight_decay=0.0).recipe(train).weight_decay == 0.0


def test_descent_finds_the_minimum_of_a_simple_loss() -> None:
    @dataclass(frozen=True)
    class Mean(GradientMethod):
        takes: ClassVar[str] = "t"

        def networks(self, train: Train) -> nn.ModuleDict:
            return nn.ModuleDict({"features": Weight(0.0)})

        def loss(self, net: nn.ModuleDict, batch: Batch, progress: float) -> Tensor:
            return (net["features"].value - batch.xt[:, 2].double()).square().mean()

    train = told(target=7, batch=7, steps=300)
    net = Mean(lr=0.05, weight_decay=0.0).trained(train, 0)
    assert net["features"].value.item() == pytest.approx(3.0, abs=1e-3)  # the mean of 0..6


# seeds and states


@pytest.fixture(scope="module")
def test_inputs() -> Tensor:
    return images(19, 99)


def test_the_same_seed_gives_the_same_bits_and_another_seed_others(test_inputs: Tensor) -> None:
    def scores(seed: int, initial: int, noise: int) -> Tensor:
        torch.manual_seed(noise)  # what went before must not matter
        return ERM().fit(training(seed=initial), seed)(test_inputs)

    assert torch.equal(scores(0, 0, noise=1), scores(0, 0, noise=2))
    assert not torch.equal(scores(0, 0, noise=1), scores(1, 0, noise=1))  # order, augmentation and classifier
    assert not torch.equal(scores(0, 0, noise=1), scores(0, 1, noise=1))  # initial weights of the backbone


def test_fit_leaves_every_global_state_alone(test_inputs: Tensor) -> None:
    def states() -> tuple[object, ...]:
        numpy_state = np.random.get_state()
        return (
            torch.get_rng_state().tolist(), numpy_state[1].tolist(), numpy_state[2:], random.getstate(),  # type: ignore[union-attr]
            torch.get_default_dtype(), torch.is_grad_enabled(), torch.get_num_threads(),
            torch.are_deterministic_algorithms_enabled(),
        )  # fmt: skip

    torch.manual_seed(4321)  # not what `fit` would leave
    before = states()
    predict = ERM().fit(training(), 0)
    assert states() == before
    predict(test_inputs)
    assert states() == before


def test_networks_are_seeded_without_moving_the_global_state() -> None:
    state = torch.get_rng_state()
    first, again, other = (seeded(lambda: network(training()), s)["classifier"].weight for s in (0, 0, 1))
    assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_training_data_are_not_written_to() -> None:
    train = training()
    arrays = [train.sources[0].x, train.sources[0].y, train.target.x, train.shots.x, train.shots.y]
    copies = [a.clone() for a in arrays]
    ERM().fit(train, 0)
    assert all(torch.equal(a, c) for a, c in zip(arrays, copies, strict=True))


# predicting


def norms(net: nn.Module) -> list[nn.BatchNorm2d]:
    return [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]


def test_batch_norm_learns_in_training_and_only_there(test_inputs: Tensor) -> None:
    train = training()
    net = ERM().trained(train, 0)
    fresh = norms(train.backbone())
    assert len(fresh) == 2
    for new, old in zip(norms(net), fresh, strict=True):
        assert new.num_batches_tracked == 4
        assert not torch.equal(new.running_mean, old.running_mean)
        assert not torch.equal(new.running_var, old.running_var)
    kept = [(n.running_mean.clone(), n.running_var.clone()) for n in norms(net)]
    predictor(net)(test_inputs)
    for norm, (mean, var) in zip(norms(net), kept, strict=True):
        assert torch.equal(norm.running_mean, mean)
        assert torch.equal(norm.running_var, var)


def test_a_predictor_judges_every_example_by_itself(test_inputs: Tensor) -> None:
    predict = ERM().fit(training(), 0)
    whole = predict(test_inputs)
    singles = torch.cat([predict(x[None]) for x in test_inputs])
    assert whole.shape == (19, 3)
    torch.testing.assert_close(singles, whole, rtol=0, atol=1e-5)
    backwards = predict(test_inputs.flip(0)).flip(0)
    torch.testing.assert_close(backwards, whole, rtol=0, atol=1e-5)


def test_a_predictor_needs_no_gradient_and_switches_a_network_to_evaluation(test_inputs: Tensor) -> None:
    net = network(training()).train()
    predict = predictor(net)
    assert not net["features"].training
    scores = predict(test_inputs)
    assert not scores.requires_grad
    assert torch.equal(scores, predict(test_inputs))  # no augmentation


def test_training_goes_on_from_a_network_that_is_given() -> None:
    train = training()
    start = seeded(lambda: network(train), 0)
    net = ERM().trained(train, 0, start)
    assert net is start
    assert norms(net)[0].num_batches_tracked == 4
    assert norms(ERM().trained(train, 0, net))[0].num_batches_tracked == 8


def test_a_gradient_method_without_a_loss_cannot_be_made() -> None:
    with pytest.raises(TypeError, match=r"abstract method '?loss"):
        GradientMethod()  # type: ignore[abstract]
