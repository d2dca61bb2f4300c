"""Pictures of grids of results: which method gains where, at what price, and from how many labels on."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tlbench import svg
from tlbench.card import Budget
from tlbench.charts import Times, curves, pareto
from tlbench.gains import DOUBTFUL, HARMED, Array, average, counted, judged, signs
from tlbench.grid import Grid
from tlbench.wording import labels

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["curves", "draw", "heatmap", "pareto"]

CELL = (0.36, 0.17)  # inches of a cell of the heatmap
HINT = f"{HARMED} harmed · {DOUBTFUL} harmed, not shown by a test · * mean of the tasks that it has · blank: not run"
MOST_NUMBERS = 4000
LARGEST = 30.0  # points; a larger gain has the darkest colour too


def draw(grids: dict[Budget, Grid], times: Times, folder: Path) -> tuple[list[Path], list[str]]:
    """All pictures of a board. Returns the files, and what there is no picture of."""
    made = {
        "gains": heatmap(grids, folder),
        "gain against time": pareto(times, grids, folder),
        "accuracy against labels": curves(grids, folder),
    }
    lacking = [f"no picture of {what}: no rows to draw it of" for what, files in made.items() if not files]
    return [file for files in made.values() for file in files], lacking


def heatmap(grids: dict[Budget, Grid], folder: Path) -> list[Path]:
    """Method by task, a picture a budget; colour and number are the gain in points over the reference.

    Rows are grouped by algorithm family and sorted by mean gain, columns by dataset family. A cell more than a point
    below its reference says so by a sign. What was not run is blank.
    """
    return [_heatmap(grid, folder / f"heatmap_{grid.budget}.svg") for grid in counted(grids)]


def _heatmap(grid: Grid, file: Path) -> Path:
    import matplotlib.pyplot as plt
    import seaborn as sns

    means = average(grid.mean, grid.groups)
    rows = _rows(grid, means)
    there = [t for t in range(len(grid.tasks)) if np.isfinite(grid.mean[rows, t]).any()]
    columns = sorted(there, key=lambda t: (grid.groups[t], grid.tasks[t]))
    values = grid.mean[np.ix_(rows, columns)]
    limit = min(LARGEST, max(1.0, float(np.nanmax(np.abs(values)))))
    title = f"Gain over {grid.reference} at {labels(grid.budget)}, points"
    with svg.drawing():
        size = (max(2.0, CELL[0] * len(columns)), max(0.6, CELL[1] * len(rows)))
        figure, axes = plt.subplots(figsize=size)
        axes.pcolormesh(
            np.ma.masked_invalid(values), cmap=sns.color_palette("vlag_r", as_cmap=True), vmin=-limit, vmax=limit,
            edgecolors="face", linewidth=0.2, clip_on=False, rasterized=values.size > MOST_NUMBERS,
        )  # fmt: skip
        axes.invert_yaxis()
        axes.spines[:].set_visible(False)
        axes.set_xticks(np.arange(len(columns)) + 0.5, [grid.tasks[t] for t in columns])
        axes.set_yticks(np.arange(len(rows)) + 0.5, [_row(grid, m, means, columns) for m in rows])
        axes.tick_params(length=0, labelsize=6)
        axes.tick_params(axis="x", rotation=90)
        _numbers(axes, grid, rows, columns, limit)
        _borders(axes, [grid.families[m] for m in rows], [grid.groups[t] for t in columns])
        axes.set_title(
            f"{title}\n{HINT}",
            pad=30,
            loc="left",
        )
        return svg.save(figure, file, title)


def _row(grid: Grid, method: int, means: Array, columns: Sequence[int]) -> str:
    """A method and its mean, marked where it is not of all tasks."""
    whole = np.isfinite(grid.mean[method, columns]).all()
    return f"{grid.methods[method]} {means[method]:+.1f}{'' if whole else '*'}"


def _rows(grid: Grid, means: Array) -> list[int]:
    """Methods by algorithm family, the best family and in it the best method first."""
    kept = judged(grid)
    best = {f: max(means[m] for m in kept if grid.families[m] == f) for f in {grid.families[m] for m in kept}}
    return sorted(kept, key=lambda m: (-best[grid.families[m]], grid.families[m], -means[m], grid.methods[m]))


def _numbers(axes: Axes, grid: Grid, rows: list[int], columns: list[int], limit: float) -> None:
    """The gain in every cell, with its sign of harm; the sign alone where so many numbers could not be read."""
    if len(rows) * len(columns) > MOST_NUMBERS:
        marks = np.array([signs(grid, m) for m in rows])[:, columns]
        for marker, said in (("v", HARMED), (".", DOUBTFUL)):
            down, right = np.nonzero(marks == said)
            axes.scatter(right + 0.5, down + 0.5, s=3, marker=marker, color=svg.ON_LIGHT, linewidths=0)
        return
    for y, m in enumerate(rows):
        leads = signs(grid, m)
        for x, t in enumerate(columns):
            if np.isfinite(gain := grid.mean[m, t]):
                lead = leads[t]
                colour = svg.ON_DARK if abs(gain) > 0.72 * limit else svg.ON_LIGHT
                weight = "bold" if lead == HARMED else "normal"
                said = f"{lead}{abs(round(float(gain)))}"
                axes.text(x + 0.5, y + 0.55, said, ha="center", va="center", size=5.5, color=colour, weight=weight)


def _borders(axes: Axes, rows: Sequence[str], columns: Sequence[str]) -> None:
    """A line between families, and their names: at the right of the rows, over the columns."""
    for names, line, along in ((rows, axes.axhline, "y"), (columns, axes.axvline, "x")):
        edges = [0, *(i for i in range(1, len(names)) if names[i] != names[i - 1]), len(names)]
        for start, end in pairwise(edges):
            if start:
                line(start, color=svg.INK, linewidth=1.2)
            middle = (start + end) / 2
            if along == "y":
                axes.text(
                    len(columns) + 0.15,
                    middle,
                    names[start],
                    size=6,
                    va="center",
                    rotation=90 if end - start > 5 else 0,
                )
            else:
                axes.text(
                    middle, -0.3, names[start], size=6, rotation=35, ha="left", va="bottom", rotation_mode="anchor"
                )
