"""What the board says of the tasks whose truth is known: whether harm is seen where harm is. They rank nobody."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from tlbench.board import tables
from tlbench.results import frame, standings
from tlbench.results.editions import Edition
from tlbench.results.grid import Grid, grids
from tlbench.results.rounding import fixed, settled, tiers
from tlbench.results.standings import Standing
from tlbench.tasks.card import Budget

if TYPE_CHECKING:
    import pandas as pd

HEADER = ("task", "k", "reference", "ceiling", "methods", "gain", "harmed", "surely", "best", "worst")


def section(rows: pd.DataFrame, edition: Edition) -> list[str]:
    """Lines of the board on rows of tasks with known truth, `frame.load`'s; none where there are none."""
    generated = [n for n in rows["suite"].cat.categories if (held := edition.suite(n)) and held.generated]
    found = grids(frame.standing(rows[rows["suite"].isin(generated)], edition, ranked=False), edition)
    if not found:
        return []
    said = (
        "Generated tasks, whose cards and [the calibration suite](docs/tasks.md) say what is true of them. *Gain* and "
        "*harmed* count the methods whose mean lies more than one point above and below the reference (in regression, "
        "one hundredth of the squared error); the ceiling is target-only with every label."
    )
    suites = {t.partition("/")[0]: None for g in found.values() for t in g.tasks}
    lines = [line for name in sorted(suites, key=_number) for line in _lines(found, name)]
    known = [f"- `{name}`: {card.summary}" for name in sorted(suites, key=_number) if (card := edition.suite(name))]
    return ["## Known truth", "", said, "", *known, "", tables.markdown(HEADER, lines, left=1), ""]


def _lines(found: Mapping[Budget, Grid], suite: str) -> list[tuple[str, ...]]:
    places = [(g.tasks[t], k, t) for k, g in found.items() for t in range(len(g.tasks))]
    own = sorted((task, k, t) for task, k, t in places if task.partition("/")[0] == suite)
    return [line for _, k, t in own if (line := _line(found[k], t))]


def _line(grid: Grid, t: int) -> tuple[str, ...]:
    """How the methods fare on task `t` of a grid; nothing where only the reference was run."""
    own = standings.part(grid, np.arange(len(grid.tasks)) == t)
    there = [s for s in standings.standings(own) if s.harm and s.complete and s.method not in standings.UNRANKED]
    place = {s.method: tier for s, tier in zip(there, tiers([s.gain.mean for s in there]), strict=True)}
    there.sort(key=lambda s: (place[s.method], s.method))
    if not there:
        return ()
    margin = grid.edition.protocol.margins[1]
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
