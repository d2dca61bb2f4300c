"""One cell: a method on a task at a budget with a seed."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from tlbench.methods.method import Description
from tlbench.tasks.card import Budget, Task


@dataclass(frozen=True)
class Cell:
    """The smallest thing that is measured. `plan.cell` makes it and takes away what the method ignores, so that cells
    which cannot differ are equal; one that was asked for at several places keeps the first."""

    task: Task
    method: Description
    budget: Budget
    seed: int
    trial: int | None = None  # of the method's search; its predictions are kept for a rule of selection
    asked: tuple[Task, Budget] | None = field(default=None, compare=False)  # what it was asked for; None: as it is

    @property
    def label(self) -> str:
        trial = f", trial {self.trial}" if self.trial else ""
        return f"{self.method.name} on {self.task.name}, budget {self.budget}, seed {self.seed}{trial}"

    @property
    def published(self) -> bool:
        """Whether it runs the published hyperparameters, nothing set."""
        return self.method.config == {f.name: f.default for f in self.method.fields}


PRECISIONS = ("fp32", "bf16")  # of frozen features: the rule, and what a command may declare


@dataclass(frozen=True)
class Conditions:
    """Where and on what cells run: the same for all cells of a command.

    Raises:
        ValueError: there are no features of that precision.
    """

    data_root: Path | None = None
    backbone: str | None = None  # instead of the card's
    device: str = "cpu"
    threads: int = 1
    changed_data: bool = False  # go on where the data are not those of the published results
    amp: bool = False  # train and predict in mixed precision, bfloat16
    features: str = "fp32"  # precision of images' features from a frozen network
    ranked: str = "fp32"  # the one that is on the board; 'bf16' only in a frozen edition

    def __post_init__(self) -> None:
        if self.features not in PRECISIONS:
            raise ValueError(f"features of precision {self.features!r}; there are {' and '.join(PRECISIONS)}")
