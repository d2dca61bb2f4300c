"""What a command prints: its progress on stderr, tables, and gaps of selection."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tlbench.results.rounding import fixed
from tlbench.results.row import DEFAULT
from tlbench.results.run_table import HEADER, Gap, Line, cells
from tlbench.runner.selection.rules import RULES

if TYPE_CHECKING:
    from rich.progress import Progress
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


class Bar:
    """Progress on stderr: a bar with an estimate on a terminal, a line now and then elsewhere."""

    def __init__(self, progress: Progress | None) -> None:
        self.progress, self.said = progress, time.monotonic()
        self.task = progress.add_task("starting", total=None, left="") if progress else None

    def tell(self, done: int, of: int, left: float | None, label: str, things: str = "cells") -> None:
        about = f"about {_human(left)} left" if left is not None and done < of else ""
        if self.progress is not None and self.task is not None:
            self.progress.update(
                self.task, completed=done, total=max(of, 1), description=label[:60] or things, left=about
            )
        elif time.monotonic() - self.said > 10:
            self.said = time.monotonic()
            print(f"{done} of {of} {things}{about and f', {about}'}", file=sys.stderr, flush=True)

    def steps(self, done: int, of: int, left: float | None, label: str) -> None:
        """Of one fit."""
        self.tell(done, of, left, label, "steps")

    def extraction(self, what: str, done: int, of: int) -> None:
        if self.progress is not None and self.task is not None:
            self.progress.update(self.task, completed=done, total=of, description=what, left="")
        elif time.monotonic() - self.said > 10:
            self.said = time.monotonic()
            print(f"{what}: {done} of {of} images", file=sys.stderr, flush=True)


def _human(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


@contextmanager
def bar() -> Iterator[Bar]:
    """A progress display while the block runs."""
    if not sys.stderr.isatty():
        yield Bar(None)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield Bar(progress)
