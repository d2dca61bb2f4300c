"""Which pictures there are of grids of results, and their files: what gains where, at what price, from how many labels
on."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tlbench.board.figures.charts import Times, compared, curves, pareto, points
from tlbench.board.figures.gains import counted, panels
from tlbench.board.figures.heatmap import heatmap
from tlbench.results.grid import Grid
from tlbench.tasks.card import Budget

Grids = dict[Budget, Grid]


@dataclass(frozen=True)
class Picture:
    """A file that is drawn when it is asked for."""

    name: str
    about: str  # in a few words
    drawn: Callable[[Path], Path]  # into that file


def pictures(
    headline: Grids, others: Mapping[str, Grids], times: Times, timed: Mapping[Budget, Sequence[str]]
) -> list[Picture]:
    """All that there is something to draw of.

    Args:
        headline: what all methods are compared on; only of these is a picture of time and one of curves
        others: further tasks, whose means are never those of the headline's, by what they have in common
        times: over the reference's
        timed: budget -> the tasks that the times were measured on
    """
    shown = counted(headline)
    found = [Picture(f"heatmap_{g.budget}.svg", f"gains, k = {g.budget}", partial(heatmap, g)) for g in shown]
    for grid in shown:
        own = points(grid, times.get(grid.budget, {}))
        if own and compared(times, grid.budget):
            draw = partial(pareto, grid, own, timed.get(grid.budget, ()))
            found.append(Picture(f"pareto_{grid.budget}.svg", f"gain against time, k = {grid.budget}", draw))
    if held := panels(shown):
        found.append(Picture("curves.svg", "accuracy against labels", partial(curves, held)))
    for title, grids in others.items():
        name = re.sub(r"\W+", "-", title)
        for grid in counted(grids):
            about = f"gains, {title}, k = {grid.budget}"
            found.append(Picture(f"heatmap_{name}_{grid.budget}.svg", about, partial(heatmap, grid, of=title)))
    return found


def draw(found: Sequence[Picture], folder: Path) -> list[Path]:
    """The files of pictures."""
    return [picture.drawn(folder / picture.name) for picture in found]
