"""The cells of the known-truth suites, and what can be demanded of one: to agree with a closed form, to beat another.

A cell is a learner on a task at a budget, named as the harness names them. A value is an accuracy in 0..1 where
classes are told, and a mean squared error where a number is predicted; k is labels a class in the former (in proportion
to the prior in cal2) and labels in all in the latter. `expected` lists what is demanded.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tlbench.tasks.synthetic import shifts
from tlbench.tasks.synthetic.draw import N_TEST
from tlbench.tasks.synthetic.shifts import PLACEBO_TEST, RANK
from tlbench.tasks.task_name import TaskName
from tlbench.verification.known_truth import closed_forms

REGRESSION = frozenset({"cal5", "cal6", "cal7"})
BUDGETS = (1, 5, 20, 100)  # cal1: labels a class
BUDGETS5, BUDGETS6, BUDGETS7 = (10, 20, 100, 300), (20, 60, 100), (10, 40)  # labels in all; far from n = d
ALPHAS = (0.2, 0.5, 0.8)
GAMMAS = (0.0, 0.4, 0.6, 1.0)  # of cal3's weights
LAMBDAS = (0.1, 1.23, 3.7, 11.11, 33.3, 100.0)  # sigma^2 / tau^2 = 11.11 is Bayes's
GROUPS = (("rot0", "rot90", "rot180"), ("rot0", "rot60", "rot300"), ("rot20a", "rot20b", "rot20c"),
          ("rot0", "rot150a", "rot150b"))  # fmt: skip
TARGET, SOURCE, FUSED = "learners:TargetCentroid", "learners:SourceCentroid", "learners:FusedCentroid"


@dataclass(frozen=True)
class Cell:
    """A learner on a task at a budget."""

    suite: str
    sources: tuple[str, ...]  # () where the learner looks at none
    target: str
    learner: str  # within this package: 'learners:FusedCentroid'
    k: int
    settings: tuple[tuple[str, str], ...] = ()  # fields of the learner and their values as text

    @property
    def task(self) -> str:
        return str(TaskName(self.suite, self.sources, self.target))

    @property
    def method(self) -> str:
        """As the harness is asked for it."""
        return f"tlbench.verification.known_truth.{self.learner}"

    @property
    def n_test(self) -> int:
        return PLACEBO_TEST if self.target == "placebo" else N_TEST

    def __str__(self) -> str:
        told = "".join(f" {name}={value}" for name, value in self.settings)
        return f"{self.task} {self.learner.rpartition(':')[2]}{told} k={self.k}"


def target(suite: str, k: int) -> Cell:
    """Target-only by nearest centroids."""
    return Cell(suite, (), "target", TARGET, k)


def fused(suite: str, k: int, *sources: str) -> Cell:
    """Centroids of all samples pooled."""
    return Cell(suite, sources, "target", FUSED, k)


def source(suite: str, name: str, goal: str) -> Cell:
    """Source-only by nearest centroids."""
    return Cell(suite, (name,), goal, SOURCE, 0)


def plain(suite: str, name: str, goal: str, learner: str, k: int = 0, **settings: object) -> Cell:
    """Any learner on one source."""
    return Cell(suite, (name,), goal, learner, k, tuple((key, str(value)) for key, value in settings.items()))


def subspace(gamma: str, n: int) -> Cell:
    return Cell("cal5", tuple(f"b{j + 1}" for j in range(RANK)), gamma, "regression:FrozenSubspace", n)


def least_squares(suite: str, name: str, n: int) -> Cell:
    return Cell(suite, (), name, "regression:TargetLeastSquares", n)


def ridge(n: int, lam: float) -> Cell:
    return plain("cal7", "source", "target", "regression:RidgeTowards", n, lam=lam)


def weighted(name: str, gamma: float) -> Cell:
    """A threshold under weights w^gamma."""
    goal = "twintarget" if name.startswith("twin") else "target"
    return plain("cal3", name, goal, "learners:ThresholdERM", gamma=gamma)


def jittered(k: int, copy: int) -> Cell:
    return Cell("cal10", (), "target", "learners:JitteredCentroid", k, (("copy", str(copy)),))


SEEDS = 10
Form = Callable[[], float]


@dataclass(frozen=True)
class Check:
    """A cell whose mean is known."""

    cell: Cell
    form: Form  # the mean
    spread: Form | None = None  # the standard deviation over seeds, where it is known and ten seeds may not show it

    def holds(self, values: Sequence[float], n_test: int = 0) -> bool:
        """Whether the values of the seeds agree with the form; n_test where other than the suite's own."""
        spread = self.spread() if self.spread else 0.0
        share = self.cell.suite not in REGRESSION
        return agrees(values, self.form(), (n_test or self.cell.n_test) if share else None, spread)


@dataclass(frozen=True)
class Comparison:
    """Two cells of which one is the better by more than a margin, on the mean of the seeds."""

    better: Cell
    worse: Cell
    where: str
    margin: float = 0.0  # negative: 'no worse than by so much'

    def holds(self, better: Sequence[float], worse: Sequence[float]) -> bool:
        gain = float(np.mean(better) - np.mean(worse))
        return (-gain if self.better.suite in REGRESSION else gain) > self.margin


def agrees(values: Sequence[float], predicted: float, n_test: int | None, spread: float = 0.0) -> bool:
    """The acceptance rule: |mean - A| <= 4 sqrt(var / S + A (1 - A) / n_test).

    Args:
        values: one a seed, S of them, S >= 2
        n_test: test samples of an accuracy; None for a risk, whose test part only adds rounding
        spread: the known standard deviation of a value; the variance is never taken for less than its square
    """
    variance = max(float(np.var(values, ddof=1)), spread**2)
    chance = predicted * (1 - predicted) / n_test if n_test else (1e-6 * predicted) ** 2
    return abs(float(np.mean(values)) - predicted) <= 4 * math.sqrt(variance / len(values) + chance)


def ceiling(suite: str, target: str) -> float:
    """The Bayes accuracy of a target: no learner's mean may exceed it by 4 standard errors.

    Raises:
        ValueError: a regression suite, whose floor is a risk of 0.
    """
    if suite in REGRESSION:
        raise ValueError(f"{suite} predicts a number: no risk is below 0")
    if target == "placebo":
        return 0.5
    if suite == "cal2":
        return closed_forms.prior_corrected(shifts.CAL2[target], shifts.SHIFT_M)
    if suite == "cal3":
        return 1 - shifts.FLIP
    return closed_forms.phi(shifts.M_TURNED if target == "upright" else shifts.M)


def below_ceiling(values: Sequence[float], best: float, n_test: int) -> bool:
    """Whether the mean over seeds stays below the Bayes accuracy, up to 4 standard errors."""
    variance = float(np.var(values, ddof=1)) / len(values) + best * (1 - best) / n_test
    return float(np.mean(values)) <= best + 4 * math.sqrt(variance)
