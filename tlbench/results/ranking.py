"""Methods compared with each other; pure functions of arrays.

Scores are points, and more is better. Means over tasks here weigh every task the same; hand over family means where
families should.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm, rankdata, trim_mean, wilcoxon
from scipy.stats import t as student

from tlbench.results.rounding import settled, tiers, weighted

TIE = 0.5  # points of gain, either way, that are neither a win nor a loss
EXACT = 50  # families up to which Wilcoxon's distribution is counted out
Cube = NDArray[np.floating[Any]]


def iqm(scores: ArrayLike) -> Any:
    """Interquartile mean of `scores` (..., tasks, seeds): of the middle half of all runs (Agarwal et al. 2021).

    A number for each of (...), whose tasks and runs are thrown together; NaN stays.
    """
    x = np.asarray(scores, dtype=float)
    runs = np.sort(x.reshape(*x.shape[:-2], -1))  # or the middle half would be summed in an order of the processor's
    return np.where(np.isnan(runs).any(-1), np.nan, trim_mean(runs, 0.25, axis=-1))[()]


def probability_of_improvement(a: ArrayLike, b: ArrayLike, weights: NDArray[np.floating[Any]] | None = None) -> float:
    """P(a run of a beats one of b) + P(tie) / 2, meaned over tasks (Agarwal et al. 2021). Shapes (tasks, seeds).

    Runs are not paired by seed: it is a chance for one run of each, of any seeds. NaN stays.

    Args:
        weights: (tasks,) of the mean, that add up to 1; None: all weigh alike
    """
    x, y = np.asarray(a, dtype=float)[:, :, None], np.asarray(b, dtype=float)[:, None, :]
    apart = settled(x - y)
    beaten = np.where(np.isnan(apart), np.nan, (apart > 0) + 0.5 * (apart == 0))  # (tasks, seeds of a, seeds of b)
    by_task = beaten.mean((1, 2))
    return float(weighted(by_task, np.full(len(by_task), 1 / len(by_task)) if weights is None else weights))


def win_tie_loss(gain: ArrayLike, margin: float = TIE) -> tuple[int, int, int]:
    """Tasks won, tied and lost by `gain` (tasks,) in points: a tie is |gain| <= margin. NaN is none of them."""
    x = settled(np.asarray(gain, dtype=float))
    return int((x > margin).sum()), int((abs(x) <= margin).sum()), int((x < -margin).sum())


def ranks(means: ArrayLike) -> NDArray[np.float64]:
    """(methods, tasks) ranks, 1 the best, of `means` (methods, tasks); ties share their average.

    A NaN leaves its whole task without ranks: a method that was not run there has no place among the others.
    """
    x = np.asarray(means, dtype=float)
    found: NDArray[np.float64] = rankdata(tiers(x), axis=0)
    return np.where(np.isnan(x).any(0), np.nan, found)


@dataclass(frozen=True, eq=False)
class Bootstrap:
    """A statistic and what it was in resamples, already widened about it."""

    value: NDArray[np.float64]  # (...) of the values as they are
    draws: NDArray[np.float64]  # (resamples, ...)
    level: float

    def interval(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Percentiles (...) that hold `level` of the draws."""
        return _percentiles(self.draws, self.level)


def _percentiles(draws: NDArray[np.float64], level: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return low, high


def rank_intervals(scores: Bootstrap) -> NDArray[np.int64]:
    """(methods, 2) best and worst rank that resampling gives each method, of the bootstrap of (methods,) scores.

    Percentiles of its ranks in the widened draws, rounded outwards to whole ranks; with NaN draws, all ranks.
    """
    low, high = map(settled, _percentiles(ranks(scores.draws.T).T, scores.level))
    low, high = np.nan_to_num(np.floor(low), nan=1), np.nan_to_num(np.ceil(high), nan=len(low))
    return np.stack([low, high], axis=1).astype(np.int64)


def widened(scores: Bootstrap, half_widths: ArrayLike, random: np.random.Generator) -> Bootstrap:
    """The draws of (methods,) scores with noise of its own added to each method, so that their interval is as wide as
    an interval known otherwise: `half_widths` (methods,), of `scores.level`. Wider draws and NaN stay.

    Resampled seeds know nothing of other test samples. Methods share these too, so ranks come out rather too wide.
    """
    low, high = scores.interval()
    lacking = np.nan_to_num(np.asarray(half_widths, dtype=float) ** 2 - ((high - low) / 2) ** 2).clip(min=0.0)
    noise = np.sqrt(settled(lacking)) / norm.ppf((1 + scores.level) / 2)
    return Bootstrap(scores.value, scores.draws + noise * random.normal(size=scores.draws.shape), scores.level)


def tie_groups(scores: Bootstrap, first_apart: Callable[[int, Sequence[int]], int | None]) -> NDArray[np.int64]:
    """(methods,) group of each, 0 the best, of the bootstrap of (methods,) scores.

    From the best method down: a method belongs to the group above it unless it is told apart from that group's best;
    then it opens the next group. It is told apart if the interval of their difference, paired by the draws, does not
    hold 0, and `first_apart(best, methods)`, the first of some methods that another interval tells from it, agrees. So
    nobody in a group is told from its best, and groups do not overlap; nothing is said of two in the middle, nor is it
    corrected for many methods.
    """
    order = np.argsort(tiers(scores.value), kind="stable")
    groups, start, group = np.zeros(len(order), dtype=np.int64), 0, 0
    while start < len(order):
        leader, rest = order[start], order[start + 1 :]
        groups[order[start:]] = group
        low, _ = _percentiles(scores.draws[:, [leader]] - scores.draws[:, rest], scores.level)
        first = first_apart(int(leader), rest[settled(low) > 0].tolist())
        if first is None:
            break
        start, group = int(np.flatnonzero(order == first)[0]), group + 1
    return groups


@dataclass(frozen=True)
class Pair:
    """Two methods: the two-sided p-value that they are alike, by itself and among all pairs."""

    first: str
    second: str
    p: float
    adjusted: float


def wilcoxon_holm(family_means: ArrayLike, names: Sequence[str], level: float = 0.05) -> tuple[Pair, ...] | None:
    """Every pair of methods by Wilcoxon's exact signed-rank test, with Holm's correction (Benavoli et al. 2016).

    `family_means` (methods, families) in points. None is 'insufficient tasks': so few families that not even a pair in
    which one method always wins could be told apart, as 2^(1 - families) pairs >= level. Up to 50 families the
    distribution is counted out: families with no difference are left out, and ties among others make it conservative.
    """
    x = np.asarray(family_means, dtype=float)
    pairs = list(combinations(range(len(x)), 2))
    if 2.0 ** (1 - x.shape[1]) * len(pairs) >= level:
        return None
    p = [_signed_rank(x[i] - x[j]) for i, j in pairs]
    found = zip(pairs, p, holm(p), strict=True)
    return tuple(Pair(names[i], names[j], one, float(among)) for (i, j), one, among in found)


def _signed_rank(d: Cube) -> float:
    d = settled(d)
    if not d.any():
        return 1.0
    return float(wilcoxon(d, method="exact" if len(d) <= EXACT else "auto").pvalue)


def holm(p: ArrayLike) -> NDArray[np.float64]:
    """p-values adjusted so that the chance of any false rejection stays below the level (Holm 1979)."""
    values = np.asarray(p, dtype=float)
    order = np.argsort(values, kind="stable")
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1)))
    return adjusted


def bootstrap_means(
    values: ArrayLike, weights: ArrayLike, random: np.random.Generator, resamples: int = 10_000, level: float = 0.95
) -> Bootstrap:
    """The bootstrap of methods' weighted means over tasks, for new seeds on these very tasks.

    The same seeds are drawn for all methods and tasks: differences between methods keep their pairing. Deviations are
    multiplied by sqrt(seeds / (seeds - 1)), without which they are those of seeds - 1 seeds, and by t / z, of the df of
    `over_seeds`. One seed: NaN.

    `values` (methods, tasks, seeds); `weights` (tasks,) of the tasks' means, summing to one -> (methods,) scores.
    """
    means = weighted(np.asarray(values, dtype=float).swapaxes(1, 2), weights)  # (methods, seeds)
    s, value = means.shape[1], means.mean(1)
    if s == 1:
        return Bootstrap(value, np.full((resamples, len(value)), np.nan), level)
    counts = random.multinomial(s, np.full(s, 1 / s), size=resamples)  # (resamples, seeds)
    draws = sum(counts[:, [i]] * means[:, i] for i in range(s)) / s  # (resamples, methods), without a matrix product
    tail = (1 + level) / 2
    factor = (s / (s - 1)) ** 0.5 * float(student.ppf(tail, s - 1) / norm.ppf(tail))
    return Bootstrap(value, value + factor * (draws - value), level)
