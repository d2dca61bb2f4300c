"""Gain against time, and accuracy against labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tlbench import svg
from tlbench.card import Budget
from tlbench.gains import REFERENCES, average, best, counted, judged, level, shared
from tlbench.grid import Grid
from tlbench.references import AGAIN
from tlbench.wording import labels

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MARKERS = "osD^vPX*<>hp"  # every family has a shape of its own, not only a colour
STROKES = ("-", "--", ":", "-.", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)), (0, (8, 2)))
COLUMNS = 3  # small multiples side by side


Times = Mapping[Budget, Mapping[str, float]]
"""Budget -> method -> the time of a fit over its reference's."""


def compared(times: Times, budget: Budget) -> bool:
    """Whether anything but the references was timed at a budget."""
    return any(m not in (*REFERENCES, *AGAIN) for m in times.get(budget, {}))


def pareto(times: Times, grids: dict[Budget, Grid], folder: Path) -> list[Path]:
    """Mean gain against time, a picture a budget that was timed."""
    files = []
    for grid in counted(grids):
        means, ratios = average(grid.mean, grid.groups), times.get(grid.budget, {})
        found = [
            Point(grid.methods[m], grid.families[m], ratios[grid.methods[m]], float(means[m]))
            for m in judged(grid)
            if ratios.get(grid.methods[m], 0.0) > 0
        ]
        if found and compared(times, grid.budget):
            files.append(
                _pareto(grid, sorted(found, key=lambda p: (p.time, -p.gain)), folder / f"pareto_{grid.budget}.svg")
            )
    return files


@dataclass(frozen=True)
class Point:
    """A method: what it takes and what it gives."""

    method: str
    family: str
    time: float  # over the reference's
    gain: float  # points


def front(points: Sequence[Point]) -> list[Point]:
    """Those that no other beats at no more time, cheapest first."""
    best, found = -np.inf, []
    for p in sorted(points, key=lambda p: (p.time, -p.gain, p.method)):
        if p.gain > best:
            best = p.gain
            found.append(p)
    return found


def _pareto(grid: Grid, points: Sequence[Point], file: Path) -> Path:
    import matplotlib.pyplot as plt
    import seaborn as sns

    title = f"Gain over {grid.reference} against time at {labels(grid.budget)}"
    with svg.drawing():
        figure, axes = plt.subplots(figsize=(6.5, 4.2))
        families = sorted({p.family for p in points})
        for family, colour, marker in zip(
            families, sns.color_palette("colorblind", len(families)), MARKERS, strict=False
        ):
            own = [p for p in points if p.family == family]
            x, y = [p.time for p in own], [p.gain for p in own]
            axes.scatter(x, y, s=22, color=[colour], marker=marker, label=family, linewidths=0)
        edge = front(points)
        axes.step([p.time for p in edge], [p.gain for p in edge], where="post", color=svg.INK, linewidth=1, zorder=0)
        _named(axes, edge)
        axes.axhline(0, color=svg.INK, linewidth=0.6, linestyle=":")
        axes.set_xscale("log")
        axes.set(xlabel=f"time of a fit over {grid.reference}'s", ylabel=f"mean gain over {grid.reference}, points")
        axes.margins(y=0.08)
        axes.set_title(title, loc="left", pad=24)
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
        return svg.save(figure, file, title)


def _named(axes: Axes, points: Sequence[Point]) -> None:
    """The names of the front's members, each over its point, neighbours at different heights."""
    for i, p in enumerate(points):
        axes.annotate(p.method, (p.time, p.gain), (2, 5 + 9 * (i % 3)), textcoords="offset points", size=7)


def curves(grids: dict[Budget, Grid], folder: Path) -> list[Path]:
    """Mean value against labels a class: the references and each algorithm family's best method, a panel a dataset
    family. Only tasks that every budget has are in a panel's means. With one budget there is no picture."""
    import matplotlib.pyplot as plt

    held = counted(grids)
    panels = {g: tasks for g in sorted({g for grid in held for g in grid.groups}) if (tasks := shared(held, g))}
    if len(held) < 2 or not panels:
        return []
    title = "Mean accuracy against labels a class"
    wide = min(COLUMNS, len(panels))
    high = -(-len(panels) // wide)
    with svg.drawing():
        figure, grid_of_axes = plt.subplots(high, wide, figsize=(2.7 * wide, 2.3 * high), squeeze=False, sharex=True)
        for axes, (group, tasks) in zip(grid_of_axes.flat, panels.items(), strict=False):
            _curves(axes, held, tasks)
            axes.set_title(f"{group}, {len(tasks)} task{'' if len(tasks) == 1 else 's'}", loc="left")
        for axes in grid_of_axes.flat[len(panels) :]:
            axes.set_visible(False)
        figure.supxlabel("labels a class", size=8)
        figure.supylabel("mean value, points", size=8)
        handles, names = grid_of_axes.flat[0].get_legend_handles_labels()
        figure.tight_layout()
        figure.legend(handles, names, loc="upper left", bbox_to_anchor=(1.0, 0.97))
        return [svg.save(figure, folder / "curves.svg", title)]


def _curves(axes: Axes, grids: Sequence[Grid], tasks: Sequence[str]) -> None:
    import seaborn as sns

    of_families = best(grids)
    names = {m: m for m in REFERENCES} | {m: f"{m} ({f})" for f, m in of_families.items()}
    budgets = [str(grid.budget) for grid in grids]
    colours = [svg.INK] * len(REFERENCES) + list(sns.color_palette("colorblind", len(of_families)))
    for i, (method, name) in enumerate(names.items()):
        values = [level(grid, method, tasks) for grid in grids]
        axes.plot(
            budgets, values, color=colours[i], linestyle=STROKES[i % len(STROKES)], marker=MARKERS[i % len(MARKERS)],
            markersize=3.5, linewidth=1.2, label=name,
        )  # fmt: skip
    axes.grid(axis="y")
