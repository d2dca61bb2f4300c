"""What can be demanded of the suite: that a cell's mean agree with a form, that one cell beat another, a ceiling.

A value is an accuracy in 0..1 where classes are told, and a mean squared error where a number is predicted; k is
labels a class in the former (in proportion to the prior in cal2) and labels in all in the latter. `expected` and
`winners` list what is demanded.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tlbench.tasks.synthetic import rotation, shift
from tlbench.verification.known_truth import closed_forms
from tlbench.verification.known_truth.cells import REGRESSION, Cell

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
        return closed_forms.prior_corrected(shift.CAL2[target], shift.M)
    if suite == "cal3":
        return 1 - shift.FLIP
    return closed_forms.phi(shift.M_TURNED if target == "upright" else rotation.M)


def below_ceiling(values: Sequence[float], best: float, n_test: int) -> bool:
    """Whether the mean over seeds stays below the Bayes accuracy, up to 4 standard errors."""
    variance = float(np.var(values, ddof=1)) / len(values) + best * (1 - best) / n_test
    return float(np.mean(values)) <= best + 4 * math.sqrt(variance)
