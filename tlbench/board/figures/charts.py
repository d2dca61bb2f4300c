"""Gain against time, and accuracy against labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tlbench.board.figures import svg
from tlbench.board.figures.gains import REFERENCES, Panel, average, best, judged, level
from tlbench.methods.references import AGAIN
from tlbench.results.grid import Grid
from tlbench.results.rounding import settled
from tlbench.results.standings import UNRANKED
from tlbench.results.wording import count, labels
from tlbench.tasks.card import Budget
from tlbench.tasks.task_name import suite_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MARKERS = "osD^vPX*<>hp"  # every family has a shape of its own, not only a colour
STROKES = ("-", "--", ":", "-.", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)), (0, (8, 2)))
COLUMNS = 3  # small multiples side by side
DODGE = 0.07  # of the distance of two budgets, between neighbouring lines
NAME = (4.3, 8.5)  # points: the width of a letter of a name, and its height
NAME_OVER = 4.0  # points over its mark

Times = Mapping[Budget, Mapping[str, float]]
"""Budget -> method -> the time of a fit over its reference's."""


def compared(times: Times, budget: Budget) -> bool:
    """Whether anything but the references was timed at a budget."""
    return any(m not in (*REFERENCES, *AGAIN) for m in times.get(budget, {}))


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
        if settled(p.gain) > best:
            best = settled(p.gain)
            found.append(p)
    return found


def points(grid: Grid, ratios: Mapping[str, float]) -> list[Point]:
    """The methods that were timed, and measured on every task: a mean over others would be no equal's. Controls, which
    nobody would choose, are none of them."""
    means, whole = settled(average(grid.mean, grid.groups)), np.isfinite(grid.mean).sum(1) == len(grid.tasks)
    found = [
        Point(grid.methods[m], grid.families[m], ratios[grid.methods[m]], float(means[m]))
        for m in judged(grid)
        if whole[m] and grid.methods[m] not in UNRANKED and ratios.get(grid.methods[m], 0.0) > 0
    ]
    return sorted(found, key=lambda p: (p.time, -p.gain, p.method))


def pareto(grid: Grid, found: Sequence[Point], timed: Sequence[str], file: Path) -> Path:
    """Mean gain against time at one budget; `timed` are the tasks that the time was measured on."""
    import matplotlib.pyplot as plt
    import seaborn as sns

    title = f"Gain over {grid.reference} against time at {labels(grid.budget)}"
    with svg.drawing():
        figure, axes = plt.subplots(figsize=(6.5, 4.6))
        families = sorted({p.family for p in found})
        for family, colour, marker in zip(
            families, sns.color_palette("colorblind", len(families)), MARKERS, strict=False
        ):
            own = [p for p in found if p.family == family]
            x, y = [p.time for p in own], [p.gain for p in own]
            axes.scatter(x, y, s=22, color=[colour], marker=marker, label=family, linewidths=0)
        edge = front(found)
        axes.step([p.time for p in edge], [p.gain for p in edge], where="post", color=svg.INK, linewidth=1, zorder=0)
        axes.axhline(0, color=svg.INK, linewidth=0.6, linestyle=":")
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter("{x:g}" if found[-1].time < 10 * found[0].time else "")
        axes.set(
            xlabel=f"time of a fit, relative to {grid.reference}", ylabel=f"mean gain over {grid.reference}, points"
        )
        axes.margins(x=0.1, y=0.12)
        axes.set_title(title, loc="left", pad=34)
        axes.text(0, 1.02, _on(grid, timed), transform=axes.transAxes, size=7, va="bottom")
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
        _named(axes, edge)
        return svg.save(figure, file, title)


def _on(grid: Grid, timed: Sequence[str]) -> str:
    """What the two axes stand on: they are seldom of the same tasks."""
    families, suites = set(grid.groups), {suite_of(t) for t in timed}
    gain = f"gain: {count(len(grid.tasks), 'task')} of {count(len(families), 'dataset family', 'dataset families')}"
    where = ", ".join(timed) if len(timed) < 3 else f"{len(timed)} tasks of {', '.join(sorted(suites))}"
    return f"{gain} ({', '.join(sorted(families))}), {count(len(grid.seeds), 'seed')}\ntime: {where}"


def _named(axes: Axes, edge: Sequence[Point]) -> None:
    """The names of the front's members, left over their points, where no point can be; one that would stand on another
    moves up, and a line leads to its point."""
    taken: list[tuple[float, float, float]] = []  # of the names: left, right, bottom, in points
    first = axes.transAxes.transform((0, 0))[0] * 72 / axes.figure.dpi
    for p in edge:
        x, y = axes.transData.transform((p.time, p.gain)) * 72 / axes.figure.dpi
        wide, up = NAME[0] * len(p.method), NAME_OVER
        left = x - wide if x - wide > first else x  # on the right of the first, for there is the axis
        while any(left < end and start < left + wide and abs(y + up - low) < NAME[1] for start, end, low in taken):
            up += 1
        taken.append((left, left + wide, y + up))
        leader = {"arrowstyle": "-", "color": svg.INK, "linewidth": 0.4, "shrinkA": 0, "shrinkB": 2}
        axes.annotate(
            p.method, (p.time, p.gain), (3 if left == x else 0, up), textcoords="offset points", size=7,
            ha="left" if left == x else "right", arrowprops=leader if up > NAME_OVER else None,
        )  # fmt: skip


def curves(held: Sequence[Panel], file: Path) -> Path:
    """Mean value against labels per class: the references and each algorithm family's best method, a panel a dataset
    family. A bar is the 95 % interval for new seeds on these tasks."""
    import matplotlib.pyplot as plt

    title = "Mean accuracy against labels per class"
    wide = min(COLUMNS, len(held))
    high = -(-len(held) // wide)
    grids = sorted({grid for panel in held for grid in panel.grids}, key=lambda grid: int(grid.budget))
    with svg.drawing():
        figure, grid_of_axes = plt.subplots(high, wide, figsize=(2.9 * wide, 2.6 * high), squeeze=False)
        for axes, panel in zip(grid_of_axes.flat, held, strict=False):
            _curves(axes, panel, grids)
        for axes in grid_of_axes.flat[len(held) :]:
            axes.set_visible(False)
        figure.supxlabel("labels per class (bars: 95 % intervals for new seeds on these tasks)", size=8)
        figure.supylabel("mean accuracy, %", size=8)
        handles, names = grid_of_axes.flat[0].get_legend_handles_labels()
        figure.tight_layout()
        figure.legend(handles, names, loc="upper left", bbox_to_anchor=(1.0, 0.97))
        return svg.save(figure, file, title)


def _curves(axes: Axes, panel: Panel, grids: Sequence[Grid]) -> None:
    """One panel; the lines stand a little beside each other, that their bars can be told apart."""
    import seaborn as sns

    of_families = best(grids)
    names = {m: m for m in REFERENCES} | {m: f"{m} ({f})" for f, m in of_families.items()}
    places = [grids.index(grid) for grid in panel.grids]
    colours = [svg.INK] * len(REFERENCES) + list(sns.color_palette("colorblind", len(of_families)))
    for i, (method, name) in enumerate(names.items()):
        levels = [level(grid, method, panel.tasks) for grid in panel.grids]
        aside = DODGE * (i - (len(names) - 1) / 2)
        axes.errorbar(
            [x + aside for x in places], [e.mean for e in levels], [e.half_width() for e in levels], color=colours[i],
            linestyle=STROKES[i % len(STROKES)], marker=MARKERS[i % len(MARKERS)], markersize=3, linewidth=1,
            elinewidth=0.7, label=name,
        )  # fmt: skip
    axes.set_xticks(range(len(grids)), [str(grid.budget) for grid in grids])
    axes.set_xlim(-0.5, len(grids) - 0.5)
    axes.grid(axis="y")
    some = f"{len(panel.tasks)} of {panel.of}" if len(panel.tasks) < panel.of else str(panel.of)
    axes.set_title(f"{panel.group}, {some} task{'' if panel.of == 1 else 's'}", loc="left")
