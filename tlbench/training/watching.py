"""Watching a fit: what a `Train` with a `watch` hands the losses to.

    curve = Curve()
    DANN().fit(Train.of(xs, ys, xt, watch=curve), seed=0)
    curve.losses["domain_loss"]             # one number a step

A watch is any function of the step and the named losses; it changes no number. It sees every loop of a fit in turn, so
that a step may begin at 0 again where a method trains in stages.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tlbench.errors import NotApplicable


@dataclass
class Curve:
    """Keeps every loss. A method that trains in stages has losses that only some of its steps give."""

    steps: list[int] = field(default_factory=list)  # as the loops number them
    losses: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    at: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))  # place in `steps` of each value

    def __call__(self, step: int, losses: Mapping[str, float]) -> None:
        for name, value in losses.items():
            self.losses[name].append(value)
            self.at[name].append(len(self.steps))
        self.steps.append(step)

    @property
    def loops(self) -> list[int]:
        """Places in `steps` where a loop begins."""
        return [i for i, step in enumerate(self.steps) if not i or step <= self.steps[i - 1]]

    def text(self, points: int = 10) -> str:
        """A table of some `points` evenly spaced steps, one line each."""
        n = len(self.steps)
        rows = sorted({round(i * (n - 1) / max(1, points - 1)) for i in range(min(points, n))})
        found = {name: dict(zip(self.at[name], values, strict=True)) for name, values in self.losses.items()}
        lines = [f"{'step':>6}" + "".join(f"{name:>16}" for name in found)]
        for i in rows:
            values = (own.get(i, float("nan")) for own in found.values())
            lines.append(f"{self.steps[i]:>6}" + "".join(f"{value:>16.4g}" for value in values))
        return "\n".join(lines)


class ProgressBar:
    """A bar on stderr with the latest losses.

    Args:
        steps: of the fit's loop; a later loop begins a new bar
    """

    def __init__(self, steps: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
        self.bar = Progress(*columns, console=Console(stderr=True))
        self.steps, self.task = steps, self.bar.add_task("", total=steps)

    def __enter__(self) -> ProgressBar:
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def __call__(self, step: int, losses: Mapping[str, float]) -> None:
        if self.bar.tasks[self.task].completed > step:
            self.task = self.bar.add_task("", total=self.steps)
        said = ", ".join(f"{name} {value:.3g}" for name, value in losses.items())
        self.bar.update(self.task, completed=step + 1, description=said)


class TensorBoard:
    """Writes every loss to a folder that TensorBoard reads.

    Raises:
        NotApplicable: TensorBoard is not installed.
    """

    def __init__(self, folder: Path | str) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise NotApplicable("tensorboard is not installed; tlbench's extra 'watch' has it") from None
        self.writer: Any = SummaryWriter(str(folder))
        self.total = 0

    def __call__(self, step: int, losses: Mapping[str, float]) -> None:
        for name, value in losses.items():
            self.writer.add_scalar(f"loss/{name}", value, self.total)
        self.total += 1

    def close(self) -> None:
        """Write what is still held."""
        self.writer.close()
