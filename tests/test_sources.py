"""Several sources: all in one pot, the best of them, or each where it fits; on data whose truth is known."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from agreement import Agrees, peer
from scipy.optimize import minimize
from sklearn.metrics.pairwise import rbf_kernel
from threadpoolctl import threadpool_limits
from tlbench_baselines.best_source import BestSource, mmd
from tlbench_baselines.pooled_sources import PooledSources
from tlbench_baselines.source_only import SourceOnly
from tlbench_baselines.source_plus_target import SourcePlusTarget
from tlbench_baselines.weighted_sources import WeightedSources, mixture, told_apart
from torch import Tensor
from torch.nn.functional import softmax

from tlbench.data import Labeled, Recipe, Train, Unlabeled
from tlbench.tasks import synthetic
from tlbench.training import networks
from tlbench.training.features import nothing_of


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """Small networks and regressions wait for each other's threads longer than they compute."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with threadpool_limits(1):
        yield
    torch.set_num_threads(threads)


SPEC = {"kind": "bottleneck", "width": 32, "scale": "standard"}


def turned(names: tuple[str, ...], k: int, seed: int = 0, steps: int = 300) -> tuple[Train, Labeled]:
    """CAL-9: sources whose classes lie along axes at an angle to the target's; k shots a class, and test samples."""
    parts = [synthetic.domain("cal9", name, seed) for name in (*names, "target")]
    labeled = [Labeled(torch.from_numpy(np.array(d.x)), torch.from_numpy(d.y)) for d in parts]
    official = torch.from_numpy(np.array(parts[-1].official_test))
    test, pool = (Labeled(labeled[-1].x[rows], labeled[-1].y[rows]) for rows in (official, ~official))
    shown = torch.cat([torch.nonzero(pool.y == c)[:k, 0] for c in range(2)])
    backbone = lambda: networks.build(SPEC, [p.x for p in labeled[:-1]] + [pool.x], seed)  # noqa: E731
    train = Train(
        tuple(labeled[:-1]), Unlabeled(pool.x[len(shown) :]), Labeled(pool.x[shown], pool.y[shown]), 2, backbone,
        Recipe(steps=steps),
    )  # fmt: skip
    return train, test


def accuracy(scores: Tensor, y: Tensor) -> float:
    return float((scores.argmax(1) == y).float().mean())


# which wins where


def test_of_contradicting_sources_the_best_one_wins_and_pooling_loses() -> None:
    """At 0, 90 and 180 degrees: nearest centroids reach .9314 on the best and .5116 on the pool (CAL-9)."""
    train, test = turned(("rot0", "rot90", "rot180"), 5)
    assert BestSource().chosen(train, 0) == 0
    best, pool, weighted = (
        accuracy(m.fit(train, 0)(test.x), test.y) for m in (BestSource(), PooledSources(), WeightedSources())
    )
    assert best > 0.88
    assert pool < 0.65
    assert weighted > pool + 0.1


def test_of_sources_that_agree_on_average_pooling_wins() -> None:
    """At 0, 60 and -60 degrees the errors cancel."""
    scores = []
    for seed in range(3):
        train, test = turned(("rot0", "rot60", "rot300"), 5, seed)
        scores.append([accuracy(m.fit(train, seed)(test.x), test.y) for m in (PooledSources(), BestSource())])
    pool, best = np.mean(scores, 0)
    assert pool > 0.9
    assert pool > best


# pooled sources


@pytest.mark.parametrize("k", [0, 2])
def test_pooling_is_source_only_on_the_union(k: int, agrees: Agrees) -> None:
    train, test = turned(("rot0", "rot60"), k, steps=20)
    parts = [*train.sources, train.shots]
    union = Labeled(torch.cat([p.x for p in parts]), torch.cat([p.y for p in parts]))
    expected = SourceOnly().fit(replace(train, sources=(union,)), 1)(test.x)
    agrees("pooled_sources", "source-only on the union", PooledSources().fit(train, 1)(test.x), expected, atol=0)


# best source


def test_the_best_source_is_trained_on_with_the_shots() -> None:
    train, test = turned(("rot90", "rot0"), 5, steps=100)
    assert BestSource().chosen(train, 0) == 1
    alone = replace(train, sources=train.sources[1:])
    assert torch.equal(BestSource().fit(train, 0)(test.x), SourcePlusTarget().fit(alone, 0)(test.x))


def test_the_choice_by_shots_is_by_their_log_loss_under_each_sources_network() -> None:
    train, _ = turned(("rot150a", "rot60", "rot20a"), 5, steps=60)
    losses = []
    for source in train.sources:
        predict = SourceOnly().fit(replace(train, sources=(source,)), 3)
        p = softmax(predict(train.shots.x), 1)[torch.arange(10), train.shots.y]
        losses.append(float(-p.log().mean()))
    assert BestSource().chosen(train, 3) == int(np.argmin(losses))


def test_without_shots_the_source_of_the_nearest_inputs_is_chosen() -> None:
    train, _ = turned(("rot0", "rot0", "rot0"), 0, steps=20)
    moved = tuple(Labeled(s.x + by, s.y) for s, by in zip(train.sources, (1.0, 0.1, -0.5), strict=True))
    assert BestSource().chosen(replace(train, sources=moved), 0) == 1


def test_the_mean_discrepancy_is_the_unbiased_estimate(agrees: Agrees) -> None:
    random = np.random.default_rng(0)
    s, t = random.normal(size=(12, 4)), random.normal(size=(9, 4)) + 0.5
    together = np.concatenate([s, t])
    apart = np.square(together[:, None] - together).sum(-1)
    off_diagonal = apart[apart > 0]
    # torch's median is the lower of the two in the middle
    gamma = 1 / np.sort(off_diagonal)[(len(off_diagonal) - 1) // 2]
    ss, tt, st = (rbf_kernel(a, b, gamma=gamma) for a, b in ((s, s), (t, t), (s, t)))
    expected = (ss.sum() - 12) / (12 * 11) + (tt.sum() - 9) / (9 * 8) - 2 * st.mean()
    found = mmd(torch.from_numpy(s), torch.from_numpy(t))
    agrees("best_source", f"{peer('scikit-learn')}, rbf_kernel", found, expected, atol=1e-10)


# weighted sources


def test_the_mixture_is_the_likeliest() -> None:
    """Known densities: the estimate is near the truth, and no neighbour of it is likelier with its pseudo-counts."""
    random = np.random.default_rng(0)
    truth = np.array([0.6, 0.3, 0.1])
    x = random.normal(size=4000) + np.array([-2.0, 0, 2])[random.choice(3, 4000, p=truth)]
    likely = torch.from_numpy(np.exp(-0.5 * np.square(x[:, None] - np.array([-2.0, 0, 2]))))
    z = mixture(likely, 2000)
    np.testing.assert_allclose(z.numpy(), truth, atol=0.04)
    assert z.sum().item() == pytest.approx(1)

    def posterior(z: Tensor) -> float:
        return float((likely @ z).log().sum() + z.log().sum())

    for step in (torch.tensor([1e-3, -1e-3, 0]), torch.tensor([0, 1e-3, -1e-3]), torch.tensor([-1e-3, 0, 1e-3])):
        assert posterior(z) > posterior(z + step)


def test_the_mixture_is_the_one_that_a_general_solver_finds(agrees: Agrees) -> None:
    likely = np.random.default_rng(1).dirichlet(np.ones(3), 30)
    best = minimize(lambda z: -np.log(likely @ z).sum() - np.log(z).sum(), np.full(3, 1 / 3), method="SLSQP",
                    bounds=[(1e-6, 1)] * 3, constraints=[{"type": "eq", "fun": lambda z: z.sum() - 1}],
                    options={"ftol": 1e-15})  # fmt: skip
    agrees("weighted_sources", "the likelihood by scipy's SLSQP", mixture(torch.from_numpy(likely), 2000), best.x, 1e-5)


@pytest.mark.filterwarnings("ignore::tlbench.training.convergence.NotConverged")  # two sources nearly alike: EM is slow
def test_a_score_is_the_hypotheses_mixed_by_how_likely_the_input_is_under_each_source(agrees: Agrees) -> None:
    train, test = turned(("rot0", "rot60", "rot20a"), 0, steps=20)
    alone = [SourceOnly().fit(replace(train, sources=(s,)), 2)(test.x) for s in train.sources]
    prepare = train.backbone().prepare
    domains = told_apart([prepare(s.x) for s in train.sources], 1000, 1.0, 2)
    z = mixture(torch.from_numpy(domains.predict_proba(prepare(train.target.x).double()))).numpy()
    owed = z * domains.predict_proba(prepare(test.x).double())  # (n, 3)
    h = np.stack([softmax(scores.double(), 1).numpy() for scores in alone], 1)  # (n, 3, 2)
    expected = np.log((owed[:, :, None] * h).sum(1) / owed.sum(1, keepdims=True))
    found = WeightedSources().fit(train, 2)(test.x)
    agrees("weighted_sources", "the distribution-weighted rule written out", found, expected, atol=1e-5)


def test_sources_are_told_apart_on_as_many_samples_of_each() -> None:
    generator = torch.Generator().manual_seed(0)
    parts = [torch.randn(n, 3, generator=generator) + by for n, by in ((500, 0.0), (40, 4.0))]
    model = told_apart(parts, 1000, 1.0, 0)
    p = model.predict_proba(parts[1].double().numpy())
    assert (p[:, 1] > 0.5).mean() > 0.95
    middle = model.predict_proba(np.full((1, 3), 2.0))[0, 1]
    assert 0.2 < middle < 0.8  # not the larger source's by its size


@pytest.mark.parametrize("k", [0, 3])
def test_each_input_goes_to_the_hypothesis_of_its_source(k: int) -> None:
    """Two sources apart, with opposite labels: right in each place, where no network of one source is."""
    generator = torch.Generator().manual_seed(0)

    def place(n: int, at: float, sign: int) -> Labeled:
        x = torch.randn(n, 4, generator=generator)
        return Labeled(x + torch.tensor([0, at, at, 0]), ((sign * x[:, 0]) > 0).long())

    sources = place(300, -4, 1), place(300, 4, -1)
    both = [torch.cat(pair) for pair in zip(*((p.x, p.y) for p in (place(200, -4, 1), place(200, 4, -1))), strict=True)]
    shots = Labeled(both[0][:k], both[1][:k])
    backbone = lambda: networks.build(SPEC, [s.x for s in sources], 0)  # noqa: E731
    train = Train(sources, Unlabeled(both[0]), shots, 2, backbone, Recipe(steps=200))
    scores = WeightedSources().fit(train, 0)(both[0])
    assert accuracy(scores, both[1]) > 0.9
    torch.testing.assert_close(scores.exp().sum(1), torch.ones(400))


def test_one_source_is_source_only() -> None:
    train, test = turned(("rot0",), 0, steps=20)
    expected = SourceOnly().fit(train, 0)(test.x)
    assert torch.equal(WeightedSources().fit(train, 0)(test.x), expected)
    assert torch.equal(BestSource().fit(replace(train, shots=nothing_of(train.shots)), 0)(test.x), expected)
