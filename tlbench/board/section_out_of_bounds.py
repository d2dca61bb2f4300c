"""What lies out of bounds: below chance, or above target-only with every label. A board that is right has little."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tlbench.board import tables
from tlbench.methods.references import TARGET_FULL
from tlbench.results import standings
from tlbench.results.grid import CHANCE, Grid
from tlbench.results.rounding import fixed, settled, tiers
from tlbench.results.stats import Estimate
from tlbench.tasks.card import Budget

HEADER = ("task", "k", "bound", "of it", "methods", "surely", "furthest", "all that are sure")
BOUNDS = {CHANCE: ("below chance", -1), TARGET_FULL: ("above every label", 1)}


def section(found: Mapping[Budget, Grid]) -> list[str]:
    """Lines of the board; none where every mean is within its bounds."""
    lines = [
        line
        for name in BOUNDS
        for k, g in found.items()
        for t in range(len(g.tasks))
        if name in g.methods and (line := _line(g, t, name, k))
    ]
    if not lines:
        return []
    said = (
        "Methods whose mean lies below chance, which is the commonest class, or above target-only with every label; "
        "*surely* where the 95 % interval of the difference, for new seeds and test samples, leaves zero out. Of many "
        "methods at a bound some lie beyond it by the spread of the seeds. Where classes are of unlike size, who knows "
        "only few labels can lie below the commonest one and yet have learnt something."
    )
    return ["## Out of bounds", "", said, "", tables.markdown(HEADER, lines, left=1), ""]


def _line(grid: Grid, t: int, name: str, k: Budget) -> tuple[str, ...]:
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
        grid.tasks[t], str(k), words, own, str(len(found)), str(len(sure)), f"{method} {tables.interval(furthest)}",
        ", ".join(sure),
    )  # fmt: skip
