"""Which method gains where: a number and a colour for every method on every task."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tlbench.board.figures import svg
from tlbench.board.figures.gains import DOUBTFUL, HARMED, Array, average, judged, signs
from tlbench.results.grid import Grid
from tlbench.results.rounding import fixed, settled
from tlbench.results.standings import UNRANKED
from tlbench.results.wording import labels
from tlbench.tasks import problems

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap

CELL = (0.38, 0.18)  # inches of a cell
SIZE = 7.5  # points of all that is written
LETTER = 0.6  # of SIZE: the width of a letter
LEAN = 35  # degrees of the dataset families' names
HINT = f"{HARMED} negative transfer · {DOUBTFUL} not significant\n* mean of the tasks it has · blank: not run"
MOST_NUMBERS = 4000
LARGEST = 30.0  # points; a larger gain has the darkest colour too


def heatmap(grid: Grid, file: Path, of: str = "") -> Path:
    """Method by task at one budget; colour and number are the gain in points over the reference.

    Rows are grouped by algorithm family and sorted by mean gain, columns by dataset family. A cell more than a point
    below its reference says so by a sign. What was not run is blank.

    Args:
        of: in words, what the tasks have in common
    """
    import matplotlib.pyplot as plt
    import seaborn as sns

    means = settled(average(grid.mean, grid.groups))
    rows = _rows(grid, means)
    there = [t for t in range(len(grid.tasks)) if np.isfinite(grid.mean[rows, t]).any()]
    columns = sorted(there, key=lambda t: (grid.groups[t], grid.tasks[t]))
    values = settled(grid.mean[np.ix_(rows, columns)])
    limit = _limit(grid, [m for m in rows if grid.methods[m] not in UNRANKED] or rows)
    title = f"Gain over {grid.reference} at {labels(grid.budget)}, points" + (f"\n{of}" if of else "")
    with svg.drawing():
        colours = sns.color_palette("vlag_r", as_cmap=True)
        size = (max(1.5, CELL[0] * len(columns)), max(0.6, CELL[1] * len(rows)))
        figure, axes = plt.subplots(figsize=size)
        figure.subplots_adjust(0, 0, 1, 1)  # a cell is as large as it says; names stand outside
        axes.pcolormesh(
            np.ma.masked_invalid(values), cmap=colours, vmin=-limit, vmax=limit,
            edgecolors="face", linewidth=0.2, clip_on=False, rasterized=values.size > MOST_NUMBERS,
        )  # fmt: skip
        axes.invert_yaxis()
        axes.spines[:].set_visible(False)
        axes.set_xticks(np.arange(len(columns)) + 0.5, [grid.tasks[t] for t in columns])
        axes.set_yticks(np.arange(len(rows)) + 0.5, [_row(grid, m, means, columns) for m in rows])
        axes.tick_params(length=0, labelsize=SIZE)
        axes.tick_params(axis="x", rotation=90)
        _numbers(axes, grid, rows, columns, limit, colours)
        _borders(axes, [grid.families[m] for m in rows], [grid.groups[t] for t in columns])
        longest = max(len(grid.groups[t]) for t in columns)
        axes.set_title(
            f"{title}\n{HINT}", pad=12 + LETTER * SIZE * longest * float(np.sin(np.radians(LEAN))), loc="left"
        )
        return svg.save(figure, file, title.replace("\n", ": "))


def _limit(grid: Grid, rows: Sequence[int]) -> float:
    """Points of gain that have the darkest colour; a guess at random would leave no colour to the others."""
    return min(LARGEST, max(1.0, settled(float(np.nanmax(np.abs(grid.mean[rows]))))))


def _row(grid: Grid, method: int, means: Array, columns: Sequence[int]) -> str:
    """A method and its mean, marked where it is not of all tasks; errors in units of their own have no mean."""
    if not all(problems.of(r).metrics[0].in_percent for r in grid.regimes):
        return grid.methods[method]
    whole = np.isfinite(grid.mean[method, columns]).all()
    return f"{grid.methods[method]} {fixed(float(means[method]), sign=True)}{'' if whole else '*'}"


def _rows(grid: Grid, means: Array) -> list[int]:
    """Methods by algorithm family, the best family and in it the best method first."""
    kept = judged(grid)
    best = {f: max(means[m] for m in kept if grid.families[m] == f) for f in {grid.families[m] for m in kept}}
    return sorted(kept, key=lambda m: (-best[grid.families[m]], grid.families[m], -means[m], grid.methods[m]))


def _numbers(axes: Axes, grid: Grid, rows: list[int], columns: list[int], limit: float, colours: Colormap) -> None:
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
                colour = svg.readable(colours(0.5 + settled(float(gain)) / limit / 2))
                weight = "bold" if lead == HARMED else "normal"
                said = f"{lead}{fixed(abs(float(gain)), 0)}"
                axes.text(x + 0.5, y + 0.55, said, ha="center", va="center", size=SIZE, color=colour, weight=weight)


def _borders(axes: Axes, rows: Sequence[str], columns: Sequence[str]) -> None:
    """A line between families, and their names: at the right of the rows, over the columns."""
    for names, line, along in ((rows, axes.axhline, "y"), (columns, axes.axvline, "x")):
        edges = [0, *(i for i in range(1, len(names)) if names[i] != names[i - 1]), len(names)]
        for start, end in pairwise(edges):
            if start:
                line(start, color=svg.INK, linewidth=1.2)
            middle, name = (start + end) / 2, names[start]
            if along == "y":
                high = (end - start) * CELL[1] * 72 > LETTER * SIZE * len(name)
                axes.text(len(columns) + 0.2, middle, name, size=SIZE, va="center", rotation=90 if high else 0)
            else:
                axes.text(middle, -0.3, name, size=SIZE, rotation=LEAN, ha="left", va="bottom", rotation_mode="anchor")
