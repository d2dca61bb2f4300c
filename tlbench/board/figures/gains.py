"""Means over a grid of results, and what its cells say of harm: the numbers that pictures are drawn of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlbench.methods import references
from tlbench.methods.references import TARGET_FULL
from tlbench.results.grid import POOLED, Grid
from tlbench.results.rounding import fixed, settled
from tlbench.results.stats import Estimate, harm, over_seeds
from tlbench.tasks.card import FULL, Budget

Array = NDArray[np.floating[Any]]
HARMED, DOUBTFUL = "▼", "▽"  # more than a point below the reference: shown by a test, or not
REFERENCES = (*references.REFERENCES, POOLED)
NOTHING = Estimate(float("nan"), float("nan"), 1)


def average(values: Array, groups: Sequence[str]) -> Array:
    """(M, T) -> (M,) the mean over dataset families of the means of their tasks, of what is there; NaN of nothing."""
    own = {g: [t for t, h in enumerate(groups) if h == g] for g in dict.fromkeys(groups)}
    families = [_mean(values[:, tasks]) for tasks in own.values()]
    return _mean(np.stack(families, axis=1)) if families else np.full(len(values), np.nan)


def _mean(values: Array) -> Array:
    """(M, T) -> (M,) without NaN, and without numpy's warning where there is nothing else."""
    there = np.isfinite(values)
    n = there.sum(1)
    return np.where(n > 0, np.where(there, values, 0.0).sum(1) / np.maximum(n, 1), np.nan)


def judged(grid: Grid) -> list[int]:
    """The methods with a gain to show: not the reference itself, not the skyline, not what was never run."""
    unshown = (grid.reference, TARGET_FULL)
    return [i for i, m in enumerate(grid.methods) if m not in unshown and bool(np.isfinite(grid.mean[i]).any())]


def counted(grids: dict[Budget, Grid]) -> list[Grid]:
    """The grids that have something to show, smallest budget first."""
    return [grids[k] for k in sorted(k for k in grids if k != FULL) if judged(grids[k])]


@dataclass(frozen=True)
class Panel:
    """What the curves of a dataset family are drawn of."""

    group: str
    grids: tuple[Grid, ...]  # two at least, smallest budget first
    tasks: tuple[str, ...]  # that every one of them has
    of: int  # tasks of the family that any budget has


def panels(grids: Sequence[Grid]) -> list[Panel]:
    """Every dataset family that has a task at two budgets or more: of the budgets of any one of its tasks those that
    give most cells, and all tasks that have them. A curve over other tasks at each budget would say nothing."""
    found = []
    for group in sorted({g for grid in grids for g in grid.groups}):
        own = sorted({t for grid in grids for t, g in zip(grid.tasks, grid.groups, strict=True) if g == group})
        at = {t: tuple(grid for grid in grids if t in grid.tasks) for t in own}
        most = max(at.values(), key=lambda some: len(some) * len(_having(at, some)) if len(some) > 1 else 0)
        if len(most) > 1:
            found.append(Panel(group, most, _having(at, most), len(own)))
    return found


def _having(at: Mapping[str, Sequence[Grid]], some: Sequence[Grid]) -> tuple[str, ...]:
    return tuple(t for t, held in at.items() if set(some) <= set(held))


def level(grid: Grid, method: str, tasks: Sequence[str]) -> Estimate:
    """Mean value in points of a method on these tasks, for new seeds; of the seeds that it has on all of them, not a
    number where there is none."""
    if method not in grid.methods or not tasks:
        return NOTHING
    own = grid.value[grid.methods.index(method), [grid.tasks.index(t) for t in tasks]]  # (t, S)
    whole = own[:, np.isfinite(own).all(0)]
    return over_seeds(whole.tolist()) if whole.size else NOTHING


def best(grids: Sequence[Grid]) -> dict[str, str]:
    """Algorithm family -> the method with the greatest mean gain over target-only, over all budgets of labels.

    One that lacks a task of a budget that another of its family has is no candidate. Budget 0, whose gains are over
    source-only, counts only where there is no other.
    """
    gains: dict[tuple[str, str], list[tuple[int, float]]] = {}
    for grid in [grid for grid in grids if grid.budget != 0] or grids:
        means, there = average(grid.mean, grid.groups), np.isfinite(grid.mean).sum(1)
        for m in judged(grid):
            gains.setdefault((grid.families[m], grid.methods[m]), []).append((int(there[m]), float(means[m])))
    found: dict[str, tuple[int, float, str]] = {}
    for (family, method), own in gains.items():
        if family != "reference":
            rank = (sum(n for n, _ in own), settled(float(np.mean([mean for _, mean in own]))), method)
            found[family] = max(found.get(family, rank), rank)
    return {family: found[family][2] for family in sorted(found)}


def signs(grid: Grid, method: int) -> list[str]:
    """(T,) what the numbers of a method's cells are led by: a sign of harm, or + of a gain.

    The tests are those that the tables count, corrected over the method's tasks.
    """
    seeds = np.isfinite(grid.gain[method]).sum(1)
    margin = grid.edition.protocol.margin
    said = harm(grid.mean[method], grid.se[method], np.maximum(1.0, grid.df[method]), seeds, margin)
    return [_sign(float(gain), str(word), margin) for gain, word in zip(grid.mean[method], said, strict=True)]


def _sign(gain: float, word: str, margin: float) -> str:
    if settled(gain) < -margin:
        return HARMED if word == "negative" else DOUBTFUL
    whole = fixed(gain, 0, sign=True)
    return "" if np.isnan(gain) or whole == "+0" else "−" if whole[0] == "-" else "+"
