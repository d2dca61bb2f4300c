"""The calibration suite by a direct loop, without the harness: data, forms and learners must agree among themselves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from tlbench.data import Domain, Labeled, Train, Unlabeled
from tlbench.errors import UsageError
from tlbench.methods import loader
from tlbench.tasks import synthetic
from tlbench.tasks.problems import of_domain
from tlbench.tasks.synthetic import draw
from tlbench.verification.known_truth import checks, closed_forms
from tlbench.verification.known_truth.checks import REGRESSION, SEEDS, Cell, below_ceiling, ceiling
from tlbench.verification.known_truth.expected import CHECKS, HARM, comparisons

Parts = tuple[Tensor, Tensor]
RESERVED = 20  # labels of a stratum that are kept out of the unlabelled samples, whatever the budget

every_suite = pytest.mark.parametrize("suite", synthetic.SUITES)


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with threadpool_limits(1):
        yield
    torch.set_num_threads(threads)


# a direct loop


def no_network() -> nn.Module:
    raise AssertionError("a calibration learner asked for a network")


def of(domain: Domain, rows: Any) -> Parts:
    assert domain.x is not None
    return torch.from_numpy(np.asarray(domain.x[rows])), torch.from_numpy(domain.y[rows])


@cache
def source(suite: str, name: str, seed: int) -> Labeled:
    """What the harness leaves of a source: a tenth of each class is taken off for validation."""
    domain = synthetic.domain(suite, name, seed)
    strata = [np.flatnonzero(group) for group in of_domain(domain).groups(domain)]
    return Labeled(*of(domain, np.concatenate([rows[int(0.1 * len(rows)) :] for rows in strata])))


@cache
def target(suite: str, name: str, seed: int) -> tuple[Parts, Parts, tuple[np.ndarray[Any, Any], ...]]:
    """The pool, the test part, and the pool's rows of each class."""
    domain = synthetic.domain(suite, name, seed)
    tested = domain.official_test
    assert tested is not None
    groups = of_domain(domain).groups(domain)
    return of(domain, ~tested), of(domain, tested), tuple(np.flatnonzero(g[~tested]) for g in groups)


def training(cell: Cell, seed: int) -> Train:
    (x, y), _, strata = target(cell.suite, cell.target, seed)
    shots = np.concatenate([rows[: cell.k] for rows in strata])
    unlabeled = np.ones(len(x), bool)
    unlabeled[np.concatenate([rows[:RESERVED] for rows in strata])] = False
    return Train(
        sources=tuple(source(cell.suite, name, seed) for name in cell.sources),
        target=Unlabeled(x[torch.from_numpy(unlabeled)]),
        shots=Labeled(x[shots], y[shots]),
        n_classes=len(strata),
        backbone=no_network,
        regime="regression" if cell.suite in REGRESSION else "classification",
    )


def learner(cell: Cell) -> Any:
    return loader.configured(loader.load(cell.method), dict(cell.settings))


@cache
def values(cell: Cell) -> tuple[float, ...]:
    """Accuracy, or mean squared error, of each seed."""
    return tuple(scored(cell, seed) for seed in range(SEEDS))


def scored(cell: Cell, seed: int) -> float:
    predict = learner(cell).fit(training(cell, seed), seed)
    x, y = target(cell.suite, cell.target, seed)[1]
    out = predict(x)
    if cell.suite in REGRESSION:
        return float((out[:, 0] - y).square().mean())
    return float((out.argmax(1) == y).double().mean())


# what the forms say


@every_suite
def test_every_cell_agrees_with_its_form(suite: str) -> None:
    checks = [check for check in CHECKS if check.cell.suite == suite]
    wrong = [
        f"{check.cell}: {np.mean(values(check.cell)):.4f}, not {check.form():.4f}"
        for check in checks
        if not check.holds(values(check.cell))
    ]
    assert checks
    assert wrong == []


@every_suite
def test_the_expected_learner_wins(suite: str) -> None:
    pairs = [c for c in comparisons() if c.better.suite == suite]
    lost = [f"{c.where}: {c.better} over {c.worse}" for c in pairs if not c.holds(values(c.better), values(c.worse))]
    assert pairs
    assert lost == []


@every_suite
def test_no_learner_is_better_than_bayes(suite: str) -> None:
    if suite in REGRESSION:
        pytest.skip("a risk has its floor at 0")
    run = {c.cell for c in CHECKS} | {cell for c in comparisons() for cell in (c.better, c.worse)}
    above = [
        str(cell)
        for cell in run
        if cell.suite == suite and not below_ceiling(values(cell), ceiling(suite, cell.target), cell.n_test)
    ]
    assert above == []


def test_the_bayes_ceiling_can_be_broken() -> None:
    assert not below_ceiling([0.95] * 10, ceiling("cal1", "target"), 20_000)
    assert below_ceiling([0.935] * 10, ceiling("cal1", "target"), 20_000)


def test_unweighted_wins_the_twin_over_many_seeds() -> None:
    """Weights fail there by rare disasters, which takes more than ten seeds to see."""
    gap = [
        scored(checks.weighted("twin50", 0.0), seed) - scored(checks.weighted("twin50", 1.0), seed)
        for seed in range(SEEDS, SEEDS + 150)
    ]
    assert np.mean(gap) > 2 * np.std(gap) / len(gap) ** 0.5
    assert np.mean(np.array(gap) > 0.1) < 0.15


def test_another_learner_in_a_cell_is_found() -> None:
    """The rule is no rubber stamp: each of these is a mistake that a harness could make."""
    held = {check.cell: check for check in CHECKS}
    pooled = held[checks.fused("cal1", 5, "rot90")]
    assert not pooled.holds(values(checks.target("cal1", 5)))  # the source was lost
    own = held[checks.target("cal1", 5)]
    assert not own.holds(values(checks.target("cal1", 1)))  # a smaller budget
    assert not own.holds(values(checks.target("cal1", 20)))  # a larger one
    assert not pooled.holds(values(checks.fused("cal1", 5, "rot75")))  # another source
    corrected = held[checks.plain("cal2", "source", "prior90", "learners:BBSE")]
    assert not corrected.holds(values(checks.plain("cal2", "source", "prior70", "learners:BBSE")))
    risk = held[checks.least_squares("cal5", "gamma30", 100)]
    assert not risk.holds([v + 0.25 for v in values(risk.cell)])  # noise left on the test labels
    assert not risk.holds([v**0.5 for v in values(risk.cell)])  # a root mean square


# controls


def test_nothing_beats_a_placebo() -> None:
    limit = closed_forms.placebo_limit(10_000)
    for cell in (c.cell for c in CHECKS if c.cell.target == "placebo"):
        assert max(values(cell)) < limit


def test_copies_of_the_reference_do_no_harm_to_each_other() -> None:
    for k in checks.BUDGETS[:3]:
        one, other = (np.array(values(checks.jittered(k, copy))) for copy in (0, 1))
        assert abs(one - other).max() > 0
        assert abs((one - other).mean()) < HARM


def test_an_injected_crash_takes_its_share_of_the_seeds() -> None:
    cell, failed = replace(checks.target("cal10", 1), learner="learners:Crash"), []
    for seed in range(SEEDS):
        try:
            learner(cell).fit(training(cell, seed), seed)
        except RuntimeError:
            failed.append(seed)
    assert len(failed) == 2


@every_suite
def test_the_order_of_samples_and_domains_does_not_matter(suite: str) -> None:
    one_each = {c.cell.learner: c.cell for c in CHECKS if c.cell.suite == suite}
    for cell in one_each.values():
        train, order = training(cell, 0), np.random.default_rng(0).permutation
        x = target(suite, cell.target, 0)[1][0][:500]
        turned = replace(
            train,
            sources=tuple(part(s, order(len(s))) for s in reversed(train.sources)),
            target=Unlabeled(train.target.x[order(len(train.target))]),
            shots=part(train.shots, order(len(train.shots))),
        )
        before, after = (learner(cell).fit(t, 0)(x) for t in (train, turned))
        torch.testing.assert_close(after, before, rtol=1e-6, atol=1e-6, msg=lambda m, c=cell: f"{c}: {m}")


def part(labeled: Labeled, rows: Any) -> Labeled:
    return Labeled(labeled.x[rows], labeled.y[rows])


def test_other_class_names_mirror_the_prediction() -> None:
    one_each = {c.cell.learner: c.cell for c in CHECKS if c.cell.suite not in REGRESSION}
    for name, cell in one_each.items():
        if name == "learners:JitteredCentroid":
            continue  # its noise does not know the classes
        train, x = training(cell, 0), target(cell.suite, cell.target, 0)[1][0][:500]
        flipped = replace(
            train,
            sources=tuple(Labeled(s.x, 1 - s.y) for s in train.sources),
            shots=Labeled(train.shots.x, 1 - train.shots.y),
        )
        before, after = (learner(cell).fit(t, 0)(x).argmax(1) for t in (train, flipped))
        assert (before == 1 - after).all(), str(cell)


# the data


@every_suite
def test_domains_are_drawn_anew_for_every_seed(suite: str) -> None:
    for name in synthetic.SUITES[suite][1]:
        one, again, other = (synthetic.domain(suite, name, seed) for seed in (3, 3, 4))
        assert one.x is not None
        assert again.x is not None
        assert other.x is not None
        assert (one.x == again.x).all()
        assert (one.y == again.y).all()
        assert one.hashes == again.hashes
        assert not set(one.hashes) & set(other.hashes)
        assert len(set(one.ids)) == len(one) == len(one.x)
        assert one.x.dtype == np.float32
        assert one.classes == (() if suite in REGRESSION else ("minus", "plus"))


@pytest.mark.parametrize(
    ("suite", "name", "left"),
    [("cal1", "rot30", 1000), ("cal2", "source", 2000), ("cal3", "n100", 100), ("cal3", "n1000", 1000),
     ("cal3", "n20000", 20_000), ("cal3", "twin50", 50), ("cal3", "twin1000", 1000),
     ("cal4", "turn60", 2000), ("cal5", "b1", 200), ("cal8", "flip450", 1000), ("cal9", "rot20a", 500),
     ("cal10", "ideal", 1000)],
)  # fmt: skip
def test_so_many_source_samples_are_left_to_train_on(suite: str, name: str, left: int) -> None:
    for seed in range(5):
        kept = source(suite, name, seed)
        assert len(kept) == left
        if suite not in REGRESSION and suite != "cal3":
            assert int(kept.y.sum()) * 2 == left


@every_suite
def test_a_target_holds_its_test_part(suite: str) -> None:
    for cell in {c.cell.target: c.cell for c in CHECKS if c.cell.suite == suite}.values():
        pool, test, strata = target(suite, cell.target, 0)
        assert len(test[1]) == cell.n_test
        assert min(map(len, strata)) >= 2 * max(c.cell.k for c in CHECKS if c.cell.suite == suite)
        assert len(pool[1]) >= draw.N_POOL


def test_a_prior_is_exact_in_every_part() -> None:
    pool, test, _ = target("cal2", "prior90", 0)
    assert float(pool[1].double().mean()) == float(test[1].double().mean()) == 0.9


def test_test_labels_of_a_number_are_free_of_noise() -> None:
    for suite, name in (("cal5", "gamma30"), ("cal6", "target"), ("cal7", "target")):
        pool, test, _ = target(suite, name, 0)
        residuals = []
        for x, y in (test, pool):
            w = np.linalg.lstsq(x.double().numpy(), y.double().numpy(), rcond=None)[0]
            residuals.append(float(np.std(x.double().numpy() @ w - y.double().numpy())))
        assert residuals[0] < 1e-5
        assert residuals[1] == pytest.approx(1.0 if suite == "cal7" else 0.5, rel=0.05)


def test_domains_of_a_seed_share_their_parameters() -> None:
    def parameters(name: str, seed: int) -> Any:
        kept = source("cal5", name, seed)
        return np.linalg.lstsq(kept.x.double().numpy(), kept.y.double().numpy(), rcond=None)[0]

    basis = np.stack([parameters(f"b{j + 1}", 0) for j in range(5)])
    assert basis @ basis.T == pytest.approx(np.eye(5), abs=1e-5)
    for name, inside in (("gamma0", 1.0), ("gamma100", 0.0)):
        x, y = target("cal5", name, 0)[1]
        w = np.linalg.lstsq(x.double().numpy(), y.double().numpy(), rcond=None)[0]
        assert float(((basis @ w) ** 2).sum()) == pytest.approx(inside, abs=1e-5)


def test_shuffling_and_renaming_keep_every_sample() -> None:
    given = synthetic.domain("cal10", "target", 0)
    moved, swapped = draw.shuffled(given, 1), draw.renamed(given)
    assert given.x is not None
    assert moved.x is not None
    assert moved.ids != given.ids
    place = {name: i for i, name in enumerate(given.ids)}
    rows = [place[name] for name in moved.ids]
    assert (moved.x == given.x[rows]).all()
    assert (moved.y == given.y[rows]).all()
    assert [given.classes[i] for i in given.y] == [swapped.classes[i] for i in swapped.y]


def test_an_unknown_suite_or_domain_is_named() -> None:
    with pytest.raises(UsageError, match="unknown calibration suite 'cal11'; did you mean"):
        synthetic.domain("cal11", "target", 0)
    with pytest.raises(UsageError, match="cal1: unknown domain 'targets'; did you mean 'target'"):
        synthetic.domain("cal1", "targets", 0)


def test_every_learner_is_a_method_by_the_contract() -> None:
    run = {c.cell for c in CHECKS} | {cell for c in comparisons() for cell in (c.better, c.worse)}
    for spec, settings in {(cell.method, cell.settings) for cell in run}:
        described = loader.describe(spec, dict(settings))
        assert described.summary.endswith(".")
        assert described.paper
        assert set(described.needs) <= {"sources", "shots"}
    for cell in run:
        described = loader.describe(cell.method, dict(cell.settings))
        assert bool(cell.sources) == ("sources" in described.needs)
        assert cell.k > 0 or "shots" not in described.needs
        assert loader.load(cell.method).regimes == {"regression" if cell.suite in REGRESSION else "classification"}
