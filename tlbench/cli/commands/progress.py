"""How far a command is, on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress


class Bar:
    """Progress on stderr: a bar with an estimate on a terminal, a line now and then elsewhere."""

    def __init__(self, progress: Progress | None) -> None:
        self.progress, self.said = progress, time.monotonic()
        self.task = progress.add_task("starting", total=None, left="") if progress else None

    def tell(self, done: int, of: int, left: float | None, label: str) -> None:
        about = f"about {_human(left)} left" if left is not None and done < of else ""
        if self.progress is not None and self.task is not None:
            self.progress.update(
                self.task, completed=done, total=max(of, 1), description=label[:60] or "cells", left=about
            )
        elif time.monotonic() - self.said > 10:
            self.said = time.monotonic()
            print(f"{done} of {of} cells, {about}", file=sys.stderr, flush=True)

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
