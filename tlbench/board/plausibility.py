"""Whether the board can be believed: what methods do where the truth is known, and which means are out of bounds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from tlbench.board.columns import interval
from tlbench.board.tables import markdown
from tlbench.methods.references import TARGET_FULL
from tlbench.results import frame, standings, wording
from tlbench.results.editions import Edition
from tlbench.results.grid import CHANCE, Grid, grids
from tlbench.results.rounding import fixed, settled, tiers
from tlbench.results.standings import Standing
from tlbench.results.stats import Estimate
from tlbench.tasks.card import Budget
from tlbench.tasks.task_name import suite_of

if TYPE_CHECKING:
    import pandas as pd

TRUTH_HEADER = ("task", "k", "baseline", "upper bound", "methods", "gain", "NT", "significant NT", "best", "worst")


def known_truth(rows: pd.DataFrame, edition: Edition) -> list[str]:
    """Lines of the board on rows of tasks with known truth, `frame.load`'s; none where there are none."""
    generated = [n for n in rows["suite"].cat.categories if (held := edition.suite(n)) and held.generated]
    found = grids(frame.standing(rows[rows["suite"].isin(generated)], edition, ranked=False), edition)
    if not found:
        return []
    far = wording.margin(edition.protocol.margin, "one")
    said = (
        "Generated tasks with a known answer ([docs/tasks.md](docs/tasks.md)). *Gain* and *NT* count the methods whose "
        f"mean lies more than {far} above and below the baseline (in regression, one hundredth of the squared error); "
        "the upper bound is target-only with every label."
    )
    suites = {suite_of(t): None for g in found.values() for t in g.tasks}
    lines = [line for name in sorted(suites, key=_number) for line in _lines(found, name)]
    known = [f"- `{name}`: {card.summary}" for name in sorted(suites, key=_number) if (card := edition.suite(name))]
    return [said, "", *known, "", markdown(TRUTH_HEADER, lines, left=1), ""]


def _lines(found: Mapping[Budget, Grid], suite: str) -> list[tuple[str, ...]]:
    places = [(g.tasks[t], k, t) for k, g in found.items() for t in range(len(g.tasks))]
    own = sorted((task, k, t) for task, k, t in places if suite_of(task) == suite)
    return [line for _, k, t in own if (line := _truth_line(found[k], t))]


def _truth_line(grid: Grid, t: int) -> tuple[str, ...]:
    """How the methods fare on task `t` of a grid; nothing where only the reference was run."""
    own = standings.part(grid, np.arange(len(grid.tasks)) == t)
    there = [s for s in standings.standings(own) if s.harm and s.complete and s.method not in standings.UNRANKED]
    place = {s.method: tier for s, tier in zip(there, tiers([s.gain.mean for s in there]), strict=True)}
    there.sort(key=lambda s: (place[s.method], s.method))
    if not there:
        return ()
    margin = grid.edition.protocol.margin
    reference = float(np.nanmean(own.value[own.methods.index(own.reference)]))
    return (
        own.tasks[0], str(own.budget), fixed(reference), fixed(float(own.skyline[0])), str(len(there)),
        str(sum(settled(s.gain.mean) > margin for s in there)), str(sum(settled(s.gain.mean) < -margin for s in there)),
        str(sum(s.harm.negative for s in there if s.harm)), _named(there[0]), _named(there[-1]),
    )  # fmt: skip


def _named(s: Standing) -> str:
    return f"{s.method} {fixed(s.gain.mean, sign=True)}"


def _number(suite: str) -> tuple[int, str]:
    """So that the tenth comes after the second."""
    digits = "".join(c for c in suite if c.isdigit())
    return int(digits or 0), suite


BOUNDS_HEADER = ("task", "k", "bound", "its value", "methods", "significant", "furthest", "all significant ones")
BOUNDS = {CHANCE: ("below chance", -1), TARGET_FULL: ("above the upper bound", 1)}


def out_of_bounds(found: Mapping[Budget, Grid]) -> list[str]:
    """Lines of the board; none where every mean is within its bounds."""
    lines = [
        line
        for name in BOUNDS
        for k, g in found.items()
        for t in range(len(g.tasks))
        if name in g.methods and (line := _bounds_line(g, t, name, k))
    ]
    if not lines:
        return []
    said = (
        "Methods whose mean lies below chance (always predicting the most common class) or above the supervised upper "
        "bound (target-only with every label); *significant* where the 95 % interval of the difference, for new seeds "
        "and test samples, excludes zero. Of many methods near a bound, some lie beyond it by the spread of seeds. "
        "With imbalanced classes, a method with few labels can lie below chance and still have learnt something."
    )
    return [said, "", markdown(BOUNDS_HEADER, lines, left=1), ""]


def _bounds_line(grid: Grid, t: int, name: str, k: Budget) -> tuple[str, ...]:
    """The methods beyond one bound of a task; nothing where there are none."""
    words, sign = BOUNDS[name]
    sheet, bound = grid.sheets[t], grid.methods.index(name)
    over = settled(np.nansum(sheet.value - sheet.value[bound], axis=1))  # its sign is the mean's
    beyond = [int(m) for m in np.flatnonzero(sign * over > 0) if grid.methods[m] not in standings.UNRANKED]
    if not beyond:
        return ()
    estimates = [Estimate(*row) for row in sheet.estimates(bound, beyond).T]
    order = tiers([sign * e.mean for e in estimates])
    named = zip(order.tolist(), [grid.methods[m] for m in beyond], estimates, strict=True)
    found = [(e, method) for _, method, e in sorted(named, key=lambda f: f[:2])]
    sure = sorted(method for e, method in found if settled(sign * e.mean - e.half_width()) > 0)
    furthest, method = found[0]
    own = fixed(float(np.nanmean(sheet.value[bound])))
    return (
        grid.tasks[t], str(k), words, own, str(len(found)), str(len(sure)), f"{method} {interval(furthest)}",
        ", ".join(sure),
    )  # fmt: skip
