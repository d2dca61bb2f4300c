"""How methods stand on a set of tasks at one budget: gain, ranks, harm. What the board's tables are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tlbench.methods.references import AGAIN, TARGET_FULL
from tlbench.results import stats
from tlbench.results.grid import CHANCE, Cube, Grid
from tlbench.results.ranking import (
    Pair,
    bootstrap_means,
    iqm,
    probability_of_improvement,
    rank_intervals,
    ranks,
    tie_groups,
    widened,
    wilcoxon_holm,
    win_tie_loss,
)
from tlbench.results.rounding import settled, tiers, weighted
from tlbench.results.stats import Estimate, Rate

UNRANKED = (TARGET_FULL, CHANCE, *AGAIN)  # the skyline, and controls
MOST_IMPUTED = 0.1  # of a method's cells
RESAMPLES = 2000
AT_ONCE = 8  # methods whose answers are compared together


@dataclass(frozen=True)
class Harm:
    """How often and how much a method falls below its reference, over the tasks of a grid."""

    counts: tuple[int, ...]  # tasks harmed by more than each of the protocol's margins
    tasks: int
    rate: Rate  # at the board's margin
    sure_rate: float | None  # of tasks harmed significantly, families weighing alike; None: not all were tested
    negative: int  # tasks harmed significantly
    positive: int
    tested: int  # tasks with seeds enough for a test
    severity: float  # points
    cvar: float  # points, of the worst fifth of tasks
    worst: float  # points
    worst_task: str


@dataclass(frozen=True)
class Standing:
    """One method on a set of tasks at one budget; points are percentage points."""

    method: str
    family: str
    measured: int  # cells
    owed: int
    imputed: int
    accuracy: float  # families weigh alike, as in all means here
    gain: Estimate  # over the reference, for new seeds and test samples of these tasks
    beyond: Estimate  # the same, for new dataset families
    added: float  # over source + target pooled; NaN at k = 0
    harm: Harm | None  # None for the reference itself
    ranked: bool
    same: bool = False  # as the reference, in every cell: the method is the reference on these tasks
    rank: tuple[int, int] | None = None  # interval
    group: int | None = None  # 0 is the best's: methods not told apart from its best
    mean_rank: float | None = None
    iqm: float | None = None  # of scores between chance 0 and the skyline 1
    improves: float | None = None  # probability that a run of it beats one of the reference
    won: tuple[int, int, int] | None = None  # tasks won, tied, lost against the reference

    @property
    def complete(self) -> bool:
        return self.measured == self.owed


def standings(grid: Grid, tasks: NDArray[np.bool_] | None = None, pool: Sequence[str] | None = None) -> list[Standing]:
    """All methods that were measured on some of the `tasks` (T,), the best first, those without a rank last.

    Only methods measured on every task with every seed, at most MOST_IMPUTED of it imputed, are ranked. Nobody's gain
    depends on who else is there; ranks, groups and mean ranks do. `pool` names who is ranked against each other.
    """
    own = part(grid, np.ones(len(grid.tasks), bool) if tasks is None else tasks)
    found = [_standing(own, i) for i in range(len(own.methods)) if not np.isnan(own.value[i]).all()]
    ranked = [s for s in found if s.ranked and (pool is None or s.method in pool)]
    placed = {s.method: s for s in _placed(own, ranked)}
    all_of = [placed.get(s.method, s) for s in found]
    place = tiers([s.gain.mean if s.complete else np.nan for s in all_of]).tolist()
    order = sorted(zip(place, all_of, strict=True), key=lambda x: (x[1].method not in placed, x[0], x[1].method))
    return [s for _, s in order]


def part(grid: Grid, tasks: NDArray[np.bool_]) -> Grid:
    """The grid of some of its tasks."""

    def keep(names: Sequence[str]) -> tuple[str, ...]:
        return tuple(n for n, kept in zip(names, tasks, strict=True) if kept)

    return Grid(
        grid.budget, grid.methods, grid.families, keep(grid.tasks), keep(grid.groups), keep(grid.paradigms),
        grid.seeds, grid.value[:, tasks], grid.imputed[:, tasks], grid.gain[:, tasks], grid.added[:, tasks],
        grid.mean[:, tasks], grid.se[:, tasks], grid.df[:, tasks], grid.chance[tasks], grid.skyline[tasks],
        grid.reference, keep(grid.regimes) if grid.regimes else (),
        tuple(s for s, kept in zip(grid.sheets, tasks, strict=True) if kept) if grid.sheets else (), grid.edition,
    )  # fmt: skip


def weights(groups: Sequence[str]) -> Cube:
    """(T,) of tasks: every dataset family weighs the same, and in it every task."""
    sizes = {g: groups.count(g) for g in groups}
    return np.array([1 / sizes[g] / len(sizes) for g in groups])


def _standing(grid: Grid, i: int) -> Standing:
    gain, w, imputed = grid.gain[i], weights(grid.groups), int(grid.imputed[i].sum())
    measured = int((~np.isnan(grid.value[i])).sum())
    whole = measured == gain.size
    return Standing(
        grid.methods[i], grid.families[i], measured, gain.size, imputed,
        weighted(grid.value[i].mean(1), w), stats.on_these(gain, w, grid.se[i], grid.df[i]),
        stats.over_families(gain.mean(1), grid.groups), weighted(grid.added[i].mean(1), w),
        None if grid.methods[i] == grid.reference else harm_of(grid, i),
        whole and imputed <= MOST_IMPUTED * gain.size and grid.methods[i] not in UNRANKED,
        grid.methods[i] != grid.reference and not settled(gain).any(),
    )  # fmt: skip


def harm_of(grid: Grid, i: int) -> Harm | None:
    """Negative transfer of method `i` over the tasks it was measured on; None if there are none."""
    known = ~np.isnan(grid.mean[i])
    if not known.any():
        return None
    gap = settled(-grid.mean[i][known])
    tasks = [t for t, k in zip(grid.tasks, known, strict=True) if k]
    groups = [g for g, k in zip(grid.groups, known, strict=True) if k]
    seeds = (~np.isnan(grid.gain[i])).sum(1)[known]
    margins, margin = grid.edition.protocol.margins, grid.edition.protocol.margin
    words = stats.harm(-gap, grid.se[i][known], grid.df[i][known], seeds, margin)
    sure = stats.rate(words == "negative", groups).value if (words != "not tested").all() else None
    return Harm(
        tuple(int((gap > m).sum()) for m in margins), len(gap), stats.rate(gap > margin, groups), sure,
        int((words == "negative").sum()), int((words == "positive").sum()), int((words != "not tested").sum()),
        stats.severity(gap), stats.cvar(gap), stats.worst(gap), tasks[int(np.argmax(gap))],
    )  # fmt: skip


def told_apart(grid: Grid, names: Sequence[str]) -> tuple[Pair, ...] | None:
    """Every pair of methods by Wilcoxon and Holm over dataset families; None where no pair could be told apart."""
    rows = [grid.methods.index(n) for n in names]
    means = stats.family_means(grid.value[rows].mean(2).T, grid.groups).T
    return wilcoxon_holm(means, names) if len(names) > 1 else None


def _placed(grid: Grid, ranked: Sequence[Standing]) -> list[Standing]:
    """The ranked methods with what depends on the others."""
    if not ranked:
        return []
    rows = [grid.methods.index(s.method) for s in ranked]
    value, gain, w = grid.value[rows], grid.gain[rows], weights(grid.groups)
    random = np.random.default_rng(0)
    scores = bootstrap_means(gain, w, random, RESAMPLES)
    places = rank_intervals(widened(scores, [s.gain.half_width() for s in ranked], random))
    groups = tie_groups(scores, lambda best, others: _first_apart(grid, rows, w, best, others))
    mean = weighted(ranks(value.mean(2)), w)
    low, high = grid.chance[:, None], grid.skyline[:, None]
    normal = (value - low) / (high - low)
    reference, tie = grid.value[grid.methods.index(grid.reference)], grid.edition.protocol.tie
    return [
        replace(
            s, rank=(int(places[n, 0]), int(places[n, 1])), group=int(groups[n]), mean_rank=float(mean[n]),
            iqm=None if np.isnan(normal[n]).any() else iqm(normal[n]),
            improves=probability_of_improvement(value[n], reference, w), won=win_tie_loss(gain[n].mean(1), tie),
        )
        for n, s in enumerate(ranked)
    ]  # fmt: skip


def _first_apart(grid: Grid, rows: Sequence[int], w: Cube, best: int, others: Sequence[int]) -> int | None:
    """The first of some methods, given by their places in `rows`, that `differences` tells from the best."""
    for start in range(0, len(others), AT_ONCE):
        block = others[start : start + AT_ONCE]
        for other, found in zip(block, differences(grid, rows[best], [rows[o] for o in block], w), strict=True):
            if settled(found.mean - found.half_width()) > 0:
                return other
    return None


def differences(grid: Grid, first: int, others: Sequence[int], w: Cube) -> list[Estimate]:
    """A method's mean gain less each of some others', for new seeds and test samples of these tasks."""
    known = np.full((3, len(others), len(grid.tasks)), np.nan)
    for t, sheet in enumerate(grid.sheets):
        known[:, :, t] = sheet.estimates(first, others)
    apart = grid.value[first] - grid.value[list(others)]
    return [stats.on_these(apart[n], w, known[1, n], known[2, n]) for n in range(len(others))]
