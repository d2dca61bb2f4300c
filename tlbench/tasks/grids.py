"""Grids of cells with a name: which tasks, budgets and seeds a method is measured on to be ranked.

`tasks/grids/<name>.toml` says it; the board ranks on `core`. Rows of other cells are shown with their suite, and change
nobody's rank.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict, NonNegativeInt, PositiveInt

from tlbench.tasks import registry
from tlbench.tasks.card import Budget, Task
from tlbench.tasks.toml_folder import TomlFolder

GRIDS = TomlFolder("grids", "--grid: unknown grid {name!r}")
BOARD = "core"  # the grid that the board ranks on


class Part(BaseModel):
    """Tasks that share their budgets."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    budgets: tuple[NonNegativeInt, ...]
    tasks: tuple[str, ...]


class Named(BaseModel):
    """A grid of cells."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str
    seeds: PositiveInt
    part: tuple[Part, ...]

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of its tasks, in order."""
        return tuple(dict.fromkeys(task for part in self.part for task in part.tasks))

    def budgets(self, task: str) -> tuple[Budget, ...]:
        """At which a task is measured."""
        return tuple(dict.fromkeys(k for part in self.part if task in part.tasks for k in part.budgets))

    def at(self, budget: Budget) -> tuple[str, ...]:
        """Its tasks at a budget."""
        return tuple(task for task in self.tasks if budget in self.budgets(task))


def grids() -> dict[str, Path]:
    """Name -> file of every grid that ships."""
    return GRIDS.files()


def named(name: str | Named) -> Named:
    """A grid that ships, by its name; one that is at hand is itself.

    Raises:
        UsageError: there is none of that name.
    """
    return name if isinstance(name, Named) else _read(name)


@cache
def _read(name: str) -> Named:
    values, _ = GRIDS.read(GRIDS.file(name))
    return Named(**values)


def tasks(grid: Named) -> list[Task]:
    """The tasks of a grid."""
    return [task for name in grid.tasks for task in registry.find(name)]
