"""The figures of the board: what gains where, at what price, from how many labels on; and the files of their pictures.

To add a figure, write a function from what there is to draw to pictures and add a `Figure` to `FIGURES`; then
`python docs/board.py` explains it in the documents.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

from tlbench.board.figures import heatmap
from tlbench.board.figures.charts import Times, compared, curves, pareto, points
from tlbench.board.figures.gains import counted, panels
from tlbench.results.grid import Grid
from tlbench.tasks.card import Budget

Grids = dict[Budget, Grid]


@dataclass(frozen=True)
class Picture:
    """A file that is drawn when it is asked for."""

    name: str
    about: str  # in a few words
    drawn: Callable[[Path], Path]  # into that file


@dataclass(frozen=True)
class Shown:
    """What pictures are drawn of."""

    headline: Grids  # what all methods are compared on; only of these is a picture of time and one of curves
    others: Mapping[str, Grids]  # further tasks by what they have in common; their means are never the headline's
    times: Times  # over the reference's
    timed: Mapping[Budget, Sequence[str]]  # budget -> the tasks that the times were measured on

    @cached_property
    def grids(self) -> list[Grid]:
        """Those of the headline that have something to show, the smallest budget first."""
        return counted(self.headline)


@dataclass(frozen=True)
class Figure:
    """A kind of picture."""

    name: str  # of its files; K stands for a budget
    of: Callable[[Shown], Iterator[Picture]]
    says: str  # what it shows, in Markdown


def pictures(
    headline: Grids, others: Mapping[str, Grids], times: Times, timed: Mapping[Budget, Sequence[str]]
) -> list[Picture]:
    """All that there is something to draw of; `Shown` says what is given."""
    shown = Shown(headline, others, times, timed)
    return [picture for figure in FIGURES for picture in figure.of(shown)]


def draw(found: Sequence[Picture], folder: Path) -> list[Path]:
    """The files of pictures."""
    return [picture.drawn(folder / picture.name) for picture in found]


def _heatmaps(shown: Shown) -> Iterator[Picture]:
    for g in shown.grids:
        yield Picture(f"heatmap_{g.budget}.svg", f"gains, k = {g.budget}", partial(heatmap.heatmap, g))


def _fronts(shown: Shown) -> Iterator[Picture]:
    for grid in shown.grids:
        own = points(grid, shown.times.get(grid.budget, {}))
        if own and compared(shown.times, grid.budget):
            draw = partial(pareto, grid, own, shown.timed.get(grid.budget, ()))
            yield Picture(f"pareto_{grid.budget}.svg", f"gain against time, k = {grid.budget}", draw)


def _curves(shown: Shown) -> Iterator[Picture]:
    if held := panels(shown.grids):
        yield Picture("curves.svg", "accuracy against labels", partial(curves, held))


def _other_heatmaps(shown: Shown) -> Iterator[Picture]:
    for title, grids in shown.others.items():
        name = re.sub(r"\W+", "-", title)
        for grid in counted(grids):
            about = f"gains, {title}, k = {grid.budget}"
            yield Picture(f"heatmap_{name}_{grid.budget}.svg", about, partial(heatmap.heatmap, grid, of=title))


FIGURES = (
    Figure(
        "heatmap_K.svg",
        _heatmaps,
        "the gain of each method on each task at K labels per class. Methods are grouped by algorithm family, best "
        "mean first, and tasks by dataset family. Each cell shows its gain in whole points; ▼ marks negative transfer, "
        "▽ negative transfer that is not significant after correction over the method's tasks (`explain` and "
        "`recommend` use uncorrected tests). Blank: not run, not applicable, or failed. The number beside a name is "
        "the tables' mean over dataset families; with * it does not cover all tasks and cannot be compared. The "
        "darkest colour is the largest gain or loss of a ranked method, at most 30 points.",
    ),
    Figure(
        "pareto_K.svg",
        _fronts,
        "mean gain against the time of a fit relative to the baseline's on the same machine, at budgets where more "
        "than the baselines was timed. The picture names the tasks behind gains and times. The line joins the methods "
        "that no faster method beats; these are named. Each algorithm family has its own marker. Controls, and methods "
        "that were not measured on every task, are left out.",
    ),
    Figure(
        "curves.svg",
        _curves,
        "mean accuracy against labels per class, one panel per dataset family with tasks at two or more budgets, over "
        "the tasks that all of the panel's budgets have: the baselines, and from each algorithm family the method with "
        "the largest mean gain where there are labels. That method was chosen on the data it is shown on, which "
        "flatters it slightly. Where target-only meets a curve, the source no longer helps. A bar is the 95 % interval "
        "of the mean for new seeds on these tasks (df = seeds - 1); lines are shifted slightly so that bars do not "
        "overlap.",
    ),
    Figure(
        "heatmap_PARADIGM_K.svg",
        _other_heatmaps,
        "the same as `heatmap_K.svg` for tasks to which not every method applies, one transfer setting and problem "
        "type each, as under *By transfer setting*; their gains are in no other picture.",
    ),
)


def explained() -> str:
    """What each figure shows, as a list for the documents."""
    return "".join(f"- `{figure.name}`: {figure.says}\n" for figure in FIGURES)
