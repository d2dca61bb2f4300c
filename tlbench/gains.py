"""Means over a grid of results, and what its cells say of harm: the numbers that pictures are drawn of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlbench.card import FULL, Budget
from tlbench.grid import Grid
from tlbench.references import SOURCE_ONLY, TARGET_FULL, TARGET_ONLY
from tlbench.stats import MARGIN, harm

Array = NDArray[np.floating[Any]]
HARMED, DOUBTFUL = "▼", "▽"  # more than a point below the reference: shown by a test, or not
REFERENCES = (TARGET_ONLY, SOURCE_ONLY, "source_plus_target")


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


def shared(grids: Sequence[Grid], group: str) -> list[str]:
    """The tasks of a dataset family that every grid has: a curve over other tasks at each budget would say nothing."""
    held = [{t for t, g in zip(grid.tasks, grid.groups, strict=True) if g == group} for grid in grids]
    return sorted(set.intersection(*held)) if held else []


def level(grid: Grid, method: str, tasks: Sequence[str]) -> float:
    """Mean value in points of a method on these tasks; NaN where one of them was not run."""
    if method not in grid.methods or not tasks:
        return float("nan")
    own = grid.value[grid.methods.index(method), [grid.tasks.index(t) for t in tasks]]  # (t, S)
    means = _mean(own)
    return float(means.mean())


def best(grids: Sequence[Grid]) -> dict[str, str]:
    """Algorithm family -> the method with the greatest mean gain over target-only, over all budgets of labels.

    One that lacks a budget that another of its family has is no candidate. Budget 0, whose gains are over source-only,
    counts only where there is no other.
    """
    gains: dict[tuple[str, str], list[float]] = {}
    for grid in [grid for grid in grids if grid.budget != 0] or grids:
        means = average(grid.mean, grid.groups)
        for m in judged(grid):
            gains.setdefault((grid.families[m], grid.methods[m]), []).append(float(means[m]))
    found: dict[str, tuple[int, float, str]] = {}
    for (family, method), own in gains.items():
        if family != "reference":
            rank = (len(own), float(np.mean(own)), method)
            found[family] = max(found.get(family, rank), rank)
    return {family: found[family][2] for family in sorted(found)}


def signs(grid: Grid, method: int) -> list[str]:
    """(T,) what the numbers of a method's cells are led by: a sign of harm, or + of a gain.

    The tests are those that the tables count, corrected over the method's tasks.
    """
    seeds = np.isfinite(grid.gain[method]).sum(1)
    said = harm(grid.mean[method], grid.se[method], np.maximum(1.0, grid.df[method]), seeds)
    return [_sign(float(gain), str(word)) for gain, word in zip(grid.mean[method], said, strict=True)]


def _sign(gain: float, word: str) -> str:
    if gain < -MARGIN:
        return HARMED if word == "negative" else DOUBTFUL
    return "" if np.isnan(gain) else "+" if round(gain) > 0 else "−" if round(gain) < 0 else ""
