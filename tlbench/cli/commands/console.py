"""Lines of a table and gaps of selection, printed."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tlbench.results.rounding import fixed
from tlbench.results.row import DEFAULT
from tlbench.results.run_table import HEADER, Gap, Line, cells
from tlbench.runner.selection.rules import RULES

if TYPE_CHECKING:
    from rich.table import Table


def print_rule(name: str, lines: Sequence[Line]) -> None:
    """The table of a rule; one that is not the published default says what was looked at."""
    rule = RULES[name]
    if name != DEFAULT:
        apart = "" if rule.ranked else "; never ranked"
        print(f"rule {name}: {rule.summary} (labels touched: {rule.touches}{apart})")
    print_table(lines)


def print_gaps(gaps: Sequence[Gap]) -> None:
    """What each rule leaves below the oracle's choice."""
    if not gaps:
        return
    print("selection gap: points of each rule below the oracle's choice, on the test samples")
    for g in gaps:
        below = ", ".join(f"{rule} {fixed(x)}" for rule, x in g.below.items())
        said = below or "no other rule was asked for"
        print(f"  {g.task}, k = {g.budget}, {g.method}: oracle {fixed(g.oracle)}; {said}")
    print()


def print_table(lines: Sequence[Line]) -> None:
    """The table on stdout."""
    from rich.console import Console

    console = Console() if sys.stdout.isatty() else Console(width=180)
    console.print(table(lines))


def table(lines: Sequence[Line]) -> Table:
    """The lines, one section a task and budget."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    drawn = Table(box=SIMPLE_HEAD, pad_edge=False)
    for i, title in enumerate(HEADER):
        drawn.add_column(title, justify="left" if i in (0, 2) else "right", no_wrap=True)
    before: Line | None = None
    for x in lines:
        if before and (before.task, before.budget) != (x.task, x.budget):
            drawn.add_section()
        text = cells(x)
        drawn.add_row(*(text if not before or before.task != x.task else ("", *text[1:])))
        before = x
    return drawn
