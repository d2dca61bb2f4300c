"""The losses of a fit, written where the process that asked for them looks: how many steps are done while it runs, and
every value when it has ended, by an error too."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tlbench.files import plain
from tlbench.training.watching import Curve

EVERY_S = 0.1  # between two counts
MOST = 1 << 29  # bytes that are read of a job's losses


@dataclass
class Recorder(Curve):
    """A curve that keeps a file with the number of its steps."""

    counter: Path = Path("progress.txt")
    said: float = 0.0

    def __call__(self, step: int, losses: Mapping[str, float]) -> None:
        super().__call__(step, losses)
        if (now := time.monotonic()) - self.said > EVERY_S:
            self.counter.write_text(str(len(self.steps)))
            self.said = now


@contextmanager
def asked(job: dict[str, Any]) -> Iterator[Recorder | None]:
    """What watches the fit of a job that names `progress` and `losses`, two files; None for any other."""
    if "losses" not in job:
        yield None
        return
    recorder = Recorder(counter=Path(job["progress"]))
    try:
        yield recorder
    finally:
        held = {"steps": recorder.steps, "losses": recorder.losses, "at": recorder.at}
        Path(job["losses"]).write_text(json.dumps(held))


def counted(file: Path) -> int:
    """The steps that a job says are done; 0 before the first. A method may have written there."""
    try:
        return max(0, int(plain(file, 32).read_text()))
    except (OSError, ValueError):
        return 0


def read(file: Path) -> Curve:
    """The losses of a job that has ended; none where it never began to fit.

    Raises:
        ValueError: they are none; a method may have written there.
    """
    try:
        held = json.loads(plain(file, MOST).read_text())
    except FileNotFoundError:
        return Curve()
    except (OSError, ValueError, RecursionError):
        raise ValueError("its file of losses cannot be read") from None
    try:
        losses = {str(name): [float(v) for v in values] for name, values in held["losses"].items()}
        at = {str(name): [int(i) for i in places] for name, places in held["at"].items()}
        curve = Curve([int(step) for step in held["steps"]], losses, at)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        raise ValueError("its file of losses holds something else") from None
    n = len(curve.steps)
    if losses.keys() != at.keys() or any(
        not values or len(values) != len(at[name]) or min(at[name]) < 0 or max(at[name]) >= n
        for name, values in losses.items()
    ):
        raise ValueError("its file of losses holds something else")
    return curve
