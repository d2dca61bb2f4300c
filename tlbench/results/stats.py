"""Intervals and negative transfer; pure functions of arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import scipy  # whose `stats` loads for half a second: when it is first used, and a mistake is told before
from numpy.typing import ArrayLike, NDArray

from tlbench.results.rounding import settled, weighted

MARGIN = 1.0  # points below the reference that count as negative transfer
SEEDS_TO_TEST = 5  # fewer cannot reject anything worth rejecting
FAMILIES_TO_BOUND = 8  # the intervals of a rate over fewer do not hold what they say
BITS_AT_ONCE = 1 << 21  # test examples of all groups unpacked together: a few MB, and near the processor
ONES = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).sum(1, dtype=np.uint8)  # (256,) bits set
Matrix = NDArray[np.floating[Any]]


@cache
def quantile(p: float, df: float) -> float:
    """Of Student's t. A board asks for the same few a hundred thousand times."""
    return float(scipy.stats.t.ppf(p, df))


@dataclass(frozen=True)
class Estimate:
    """A mean, its standard error and the degrees of freedom of the t distribution that bounds it."""

    mean: float
    se: float
    df: float

    def half_width(self, level: float = 0.95) -> float:
        """Of the two-sided interval mean ± half_width."""
        return quantile((1 + level) / 2, self.df) * self.se

    def p_greater(self, null: float = 0.0) -> float:
        """One-sided p-value of mean > null."""
        if settled(self.se) == 0:
            return float(settled(self.mean) <= null)
        return float(scipy.stats.t.sf((self.mean - null) / self.se, self.df))


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


def two_way_packed(
    a: NDArray[np.uint8], b: NDArray[np.uint8], n: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """`two_way(100 * (A - B))` of many groups at once: mean, standard error (both in points), df, (groups,) each.

    `a`, `b` (groups, seeds, bytes) say which of `n` test examples the method and its reference got right, eight to a
    byte as np.packbits leaves them: first example in the highest bit, zeros after the last. Counts are whole numbers,
    so a standard error that is zero is exactly zero. Raises ValueError where the shapes do not agree.
    """
    if a.ndim != 3 or a.shape != b.shape or a.shape[2] != -(-n // 8):
        raise ValueError(f"{a.shape} and {b.shape} are not (groups, seeds, {-(-n // 8)} bytes) of {n} examples")
    step, s = max(1, BITS_AT_ONCE // n), a.shape[1]
    starts = range(0, max(1, len(a)), step)
    total, rows, columns, cells = np.concatenate([_counts(a[i : i + step], b[i : i + step], n) for i in starts], 1)
    all_ = float(s * n)
    v_column = (n * columns - total**2) / (all_**2 * max(1, n - 1))
    if s == 1:
        variance = v_column if n > 1 else np.full(len(a), np.nan)
    else:
        v_row = (s * rows - total**2) / (all_**2 * (s - 1))
        v_cell = (all_ * cells - total**2) / all_**3
        variance = np.maximum(v_row + v_column - v_cell, np.maximum(v_row, v_column))
    df = float(s - 1 if s > 1 else max(1, n - 1))
    return 100 * total / all_, 100 * np.sqrt(variance), np.full(len(a), df)


def _counts(a: NDArray[np.uint8], b: NDArray[np.uint8], n: int) -> NDArray[np.int64]:
    """(4, groups) of d = A - B: its sum, the sums of squares of its sums by seed and by example, and of its cells."""
    rows = ONES[a].sum(2, dtype=np.int64) - ONES[b].sum(2, dtype=np.int64)  # (groups, seeds)
    columns = np.zeros((len(a), n), dtype=np.int8 if a.shape[1] < 128 else np.int32)
    for s in range(a.shape[1]):  # one seed after the other, in small integers: all at once is five times slower
        columns += np.unpackbits(a[:, s], axis=1, count=n).view(np.int8)
        columns -= np.unpackbits(b[:, s], axis=1, count=n).view(np.int8)
    squares = np.einsum("gn,gn->g", columns, columns, dtype=np.int64)
    cells = ONES[a ^ b].sum((1, 2), dtype=np.int64)
    return np.stack([rows.sum(1), (rows**2).sum(1), squares, cells])


def over_seeds(values: Sequence[Sequence[float]]) -> Estimate:
    """The mean over tasks, for new seeds on these very tasks. `values` holds as many seeds for each task.

    Tasks of one seed share shots and references, so they are averaged first, and the t interval is over the seeds'
    means, df = seeds - 1. With one seed there is no interval: its standard error is not a number. This is right
    whether or not a seed's noise is common to the tasks; where it surely is not, `pooled_t` is narrower.
    """
    means = np.asarray(values, dtype=float).mean(0)  # (seeds,)
    s = len(means)
    se = float(means.std(ddof=1)) / s**0.5 if s > 1 else float("nan")
    return Estimate(float(means.mean()), se, max(1, s - 1))


def pooled_t(values: ArrayLike, weights: ArrayLike | None = None) -> Estimate:
    """The mean over tasks, for new seeds on these very tasks, when the noise of one task tells nothing of another's.

    `values` (tasks, seeds) in points; `weights` (tasks,) are equal unless given, and need not sum to one. The
    variances within tasks are pooled: df = tasks (seeds - 1), or with unequal weights w Satterthwaite's (1946)
    (seeds - 1) (sum w^2)^2 / sum w^4; where one task makes nearly all the noise, that is too many. Tasks that share a
    target's shots, or a reference, share noise, and then this interval is too narrow: `over_seeds` is right. With one
    seed the standard error is not a number.
    """
    x = np.asarray(values, dtype=float)
    m, s = x.shape
    w = np.ones(m) if weights is None else np.asarray(weights, dtype=float)
    w = w / w.sum()
    mean = float(weighted(x.mean(1), w))
    if s == 1:
        return Estimate(mean, math.nan, 1)
    se = float(weighted(x.var(1, ddof=1), w**2) / s) ** 0.5
    return Estimate(mean, se, float((s - 1) * (w**2).sum() ** 2 / (w**4).sum()))


def on_these(values: Matrix, weights: Matrix, se: Matrix, df: Matrix) -> Estimate:
    """The mean of `values` (tasks, seeds) for new seeds and new test samples of these tasks: the widest of three.

    `over_seeds`, for tasks of one seed may share noise; `pooled_t`, for a handful of seeds' means may agree by luck;
    and the sum of the tasks' two-way variances, for the same few test samples are behind all seeds. `weights` (tasks,)
    sum to one; `se` and `df` (tasks,) are the two-way ones, not numbers where the answers are not known. The degrees
    of freedom of the third are Satterthwaite's (1946).
    """
    w = np.asarray(weights, dtype=float)
    found = [over_seeds([weighted(np.asarray(values, dtype=float).T, w).tolist()]), pooled_t(values, w)]
    parts = (w * se) ** 2
    if parts.sum() > 0:
        spread = float(parts.sum() ** 2 / (parts**2 / df)[parts > 0].sum())
        found.append(Estimate(found[0].mean, float(np.sqrt(parts.sum())), spread))
    return max(found, key=lambda e: settled(e.half_width()) if np.isfinite(e.se) else 0.0)


def over_families(task_means: ArrayLike, groups: Sequence[str]) -> Estimate:
    """The mean over dataset families, for new families. `task_means` (tasks,) in points, `groups` (tasks,) names.

    Student's t over the families' means, df = families - 1: tasks of a family are no independent samples. With one
    family the standard error is not a number.
    """
    means = family_means(task_means, groups)
    g = len(means)
    se = float(means.std(ddof=1)) / g**0.5 if g > 1 else math.nan
    return Estimate(float(means.mean()), se, max(1, g - 1))


def family_means(values: ArrayLike, groups: Sequence[str]) -> NDArray[np.float64]:
    """(families, ...) means of `values` (tasks, ...) within each group, in the order the groups first appear in."""
    x = np.asarray(values, dtype=float)
    place = {g: i for i, g in enumerate(dict.fromkeys(groups))}
    of = [place[g] for g in groups]
    sums = np.zeros((len(place), *x.shape[1:]))
    np.add.at(sums, of, x)
    return np.asarray(sums / np.bincount(of).reshape(-1, *[1] * (x.ndim - 1)))


def verdict(gap: Estimate, seeds: int, margin: float = MARGIN) -> str:
    """Is it negative transfer? `gap` is reference minus method in points; up to `margin` of it does not count."""
    harmed = settled(gap.mean) > margin
    if seeds < SEEDS_TO_TEST:
        return "yes, not tested" if harmed else "not tested"
    if not harmed:
        return "no"
    return "yes" if settled(gap.p_greater()) < 0.05 else "unclear"


def benjamini_hochberg(p: ArrayLike) -> NDArray[np.float64]:
    """p-values adjusted for the false discovery rate (Benjamini & Hochberg 1995); NaN is no test, and stays."""
    values = np.asarray(p, dtype=float)
    adjusted, known = np.full(values.shape, np.nan), ~np.isnan(values)
    if known.any():
        adjusted[known] = scipy.stats.false_discovery_control(values[known])
    return adjusted


def p_greater(mean: ArrayLike, se: ArrayLike, df: ArrayLike) -> NDArray[np.float64]:
    """`Estimate.p_greater()` of arrays: one-sided p-values of means > 0."""
    x, e = np.asarray(mean, dtype=float), np.asarray(se, dtype=float)
    with np.errstate(divide="ignore", invalid="ignore"):
        p = scipy.stats.t.sf(x / e, df)
    return np.asarray(np.where(settled(e) == 0, np.where(np.isnan(x), np.nan, settled(x) <= 0), p), dtype=float)


def harm(
    mean: ArrayLike, se: ArrayLike, df: ArrayLike, seeds: ArrayLike, margin: float = MARGIN, q: float = 0.05
) -> NDArray[np.str_]:
    """A word for each task of one method at one budget: negative, positive, inconclusive, or not tested.

    `mean`, `se`, `df` (tasks,) of the gain over the reference in points, as of `two_way_packed`: positive is good, the
    negative-transfer gap of Wang et al. (2019) is minus the mean. 'negative': below -margin, and below 0 by a one-sided
    t test with a false discovery rate of q over these tasks; 'positive' likewise above. Fewer than SEEDS_TO_TEST
    `seeds` (a number, or one for each task), or NaN, is 'not tested', and no part of the correction.
    """
    gain, e = settled(np.asarray(mean, dtype=float)), np.asarray(se, dtype=float)
    tested = (np.asarray(seeds) >= SEEDS_TO_TEST) & np.isfinite(gain) & np.isfinite(e)
    worse, better = (benjamini_hochberg(np.where(tested, p_greater(x, e, df), np.nan)) for x in (-gain, gain))
    worse, better = settled(worse), settled(better)
    found = [~tested, (gain < -margin) & (worse < q), (gain > margin) & (better < q)]
    return np.select(found, ["not tested", "negative", "positive"], "inconclusive")


@dataclass(frozen=True)
class Rate:
    """A share of cells in [0, 1], its families weighing the same, and its 95 % intervals; None: too few families."""

    value: float
    cells: int
    families: int
    low: float | None = None
    high: float | None = None
    low_conservative: float | None = None
    high_conservative: float | None = None


def rate(harmed: ArrayLike, groups: Sequence[str]) -> Rate:
    """How often a method harms, for new dataset families: `harmed` (cells,) of bool, `groups` (cells,) their families.

    Wilson's interval (1927) at the number of independent cells that are as good as these, of which families have many
    alike: n over the design effect (Kish 1965), times (z / t of families - 1 degrees of freedom)^2. The conservative
    interval is Clopper and Pearson's at the same number (Korn & Graubard 1998). Simulated, 95 % is .87 to .96: below
    where harm is rare and families agree within themselves. With fewer than 8 families there is no interval.
    """
    x = family_means(harmed, groups)
    p, cells, families = float(x.mean()), len(groups), len(x)
    if families < FAMILIES_TO_BOUND:
        return Rate(p, cells, families)
    n = _effective(x, cells)
    return Rate(p, cells, families, *_wilson(p, n), *_clopper_pearson(p, n))


def _effective(x: Matrix, cells: int) -> float:
    """Independent cells worth as much as `cells` in families with rates `x`."""
    p, g = float(x.mean()), len(x)
    n = float(g)  # where families agree wholly, each is one cell
    if 0 < p < 1:
        n = cells / max(1.0, float(x.var(ddof=1)) / g / (p * (1 - p) / cells))
    ratio = float(scipy.stats.norm.ppf(0.975) / scipy.stats.t.ppf(0.975, g - 1))
    return min(max(n, 1.0), float(cells)) * ratio**2


def _wilson(p: float, n: float) -> tuple[float, float]:
    z = float(scipy.stats.norm.ppf(0.975))
    centre, half = p + z**2 / (2 * n), z * (p * (1 - p) / n + z**2 / (4 * n**2)) ** 0.5
    low, high = ((centre + sign * half) / (1 + z**2 / n) for sign in (-1, 1))
    return (0.0 if p == 0 else low), (1.0 if p == 1 else high)


def _clopper_pearson(p: float, n: float) -> tuple[float, float]:
    k = p * n
    low = 0.0 if p == 0 else float(scipy.stats.beta.ppf(0.025, k, n - k + 1))
    return low, 1.0 if p == 1 else float(scipy.stats.beta.ppf(0.975, k + 1, n - k))


def severity(gap: ArrayLike) -> float:
    """Mean harm in points: of `gap` (tasks,) of reference minus method, gains counting as none. NaN stays."""
    return float(np.maximum(np.asarray(gap, dtype=float), 0).mean())


def cvar(gap: ArrayLike, share: float = 0.2) -> float:
    """The mean `gap` (tasks,) of the worst `share` of tasks, rounded down, but of one at least. NaN stays."""
    x = np.sort(np.asarray(gap, dtype=float))  # NaN last, among the worst
    return float(x[len(x) - max(1, int(share * len(x) + 1e-9)) :].mean())


def worst(gap: ArrayLike) -> float:
    """The largest `gap` (tasks,) of reference minus method in points. NaN stays."""
    return float(np.asarray(gap, dtype=float).max())


def harmful_from(budgets: Sequence[int], gaps: Sequence[float]) -> int | None:
    """The smallest of `budgets` (labels per class, any order) at which the source harms: a gap above 0. None: never.

    `gaps` are mean gaps (reference minus method, points) on one task; NaN was not run. Leave k = 0 out: its reference
    is another.
    """
    return min((k for k, gap in zip(budgets, gaps, strict=True) if settled(gap) > 0), default=None)
