"""Intervals and negative transfer; pure functions of arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

MARGIN = 1.0  # points below the reference that count as negative transfer
SEEDS_TO_TEST = 5  # fewer cannot reject anything worth rejecting
Matrix = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Estimate:
    """A mean, its standard error and the degrees of freedom of the t distribution that bounds it."""

    mean: float
    se: float
    df: float

    def half_width(self, level: float = 0.95) -> float:
        """Of the two-sided interval mean ± half_width."""
        return float(student.ppf((1 + level) / 2, self.df) * self.se)

    def p_greater(self, null: float = 0.0) -> float:
        """One-sided p-value of mean > null."""
        if self.se == 0:
            return float(self.mean <= null)
        return float(student.sf((self.mean - null) / self.se, self.df))


def two_way(d: Matrix) -> Estimate:
    """The mean of d (seeds, test examples) when both are samples.

    Two-way cluster-robust variance (Cameron, Gelbach & Miller 2011) with df = seeds - 1: a difference must hold
    for other seeds and for other test examples. With one seed, only the examples are a sample.
    """
    d = np.asarray(d, dtype=float)
    s, n = d.shape
    mean = float(d.mean())
    column = d.mean(0) - mean
    v_column = float((column**2).sum()) / (n * max(1, n - 1))
    if s == 1:  # and a single value says nothing of its own spread
        return Estimate(mean, v_column**0.5 if n > 1 else math.nan, max(1, n - 1))
    row = d.mean(1) - mean
    v_row = float((row**2).sum()) / (s * (s - 1))
    v_cell = float(((d - mean) ** 2).sum()) / (s * n) ** 2
    return Estimate(mean, max(v_row + v_column - v_cell, v_row, v_column) ** 0.5, s - 1)


def over_seeds(values: Sequence[Sequence[float]]) -> Estimate:
    """The mean over tasks, for new seeds on these very tasks. `values` holds as many seeds for each task.

    Tasks of one seed share shots and references, so they are averaged first, and the t interval is over the seeds'
    means, df = seeds - 1. With one seed there is no interval: its standard error is not a number.
    """
    means = np.asarray(values, dtype=float).mean(0)  # (seeds,)
    s = len(means)
    se = float(means.std(ddof=1)) / s**0.5 if s > 1 else float("nan")
    return Estimate(float(means.mean()), se, max(1, s - 1))


def verdict(gap: Estimate, seeds: int) -> str:
    """Is it negative transfer? `gap` is reference minus method in points."""
    harmed = gap.mean > MARGIN
    if seeds < SEEDS_TO_TEST:
        return f"{'yes' if harmed else 'no'}, not tested"
    if not harmed:
        return "no"
    return "yes" if gap.p_greater() < 0.05 else "unclear"
