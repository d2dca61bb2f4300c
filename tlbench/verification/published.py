"""Published tables to be held against: what was reported, under which protocol, and what of ours stands beside it.

`tasks/published/<table>.toml` names a card, what the published protocol changes in it, columns (tasks, at a budget) and
rows (methods). `tlbench reproduce` runs them.
"""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, PositiveInt, model_validator

from tlbench.errors import UsageError, suggest
from tlbench.tasks import card as cards
from tlbench.tasks import registry
from tlbench.tasks.card import Budget, Card, Task, validated
from tlbench.tasks.split import sha
from tlbench.tasks.task_name import TaskName
from tlbench.tasks.toml_folder import TomlFolder

TABLES = TomlFolder("published", "reproduce {name}: no table is called that")
Setting = str | int | float | bool


class Entry(BaseModel):
    """One row: a method of ours, and what was reported of it or the row that it is held against. In points."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    label: str
    method: str
    settings: dict[str, Setting] = {}
    seeds: PositiveInt | None = None  # None: as many as the table's; one where nothing depends on it
    card: dict[str, Any] = {}  # what this row alone changes in the card, such as its recipe
    published: tuple[float, ...] = ()  # one a column; nan where none was reported
    mean: float | None = None  # as reported, where it is not that of `published`
    against: str | None = None  # the label of a peer's row, run on the same cells, instead of reported numbers
    within: float | None = None  # how far the mean may be off
    within_cell: float | None = None  # how far each cell may be off
    note: str = ""  # what a reader must know, above all why it is missed

    def counted(self, columns: int) -> tuple[bool, ...]:
        """Which columns are in its mean: those for which something was reported; all where only a mean was."""
        if self.mean is not None or not self.published:
            return (True,) * columns
        return tuple(not math.isnan(v) for v in self.published)

    @property
    def reported_mean(self) -> float | None:
        known = [v for v in self.published if not math.isnan(v)]
        return self.mean if self.mean is not None else sum(known) / len(known) if known else None


class Table(BaseModel):
    """A published table."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    name: str
    title: str
    task: str  # the card that it is about
    card: dict[str, Any] = {}  # what the published protocol changes in it
    columns: tuple[str, ...]  # 'source-target', or 'source-target@budget'
    seeds: PositiveInt = 1
    gpu: bool = False  # too much for a processor: run when it is named, and not otherwise
    source: str  # where the numbers were read
    protocol: str  # how theirs came about, and in what ours differs
    row: tuple[Entry, ...]

    @model_validator(mode="after")
    def _rows_make_sense(self) -> Table:
        labels = [r.label for r in self.row]
        if len(set(labels)) < len(labels):
            raise ValueError("two rows have the same label")
        for r in self.row:
            if r.published and len(r.published) != len(self.columns):
                raise ValueError(f"row {r.label!r} has {len(r.published)} numbers for {len(self.columns)} columns")
            if r.against is not None and (r.against not in labels or r.against == r.label):
                raise ValueError(f"row {r.label!r} is held against {r.against!r}, which is no other row")
        return self

    @property
    def base(self) -> Card:
        return registry.find(self.task)[0].card

    def seeds_of(self, entry: Entry) -> int:
        return entry.seeds or self.seeds

    def task_of(self, entry: Entry, column: str) -> tuple[Task, Budget]:
        """The task and budget of a cell.

        Raises:
            UsageError: no task of the card is called that.
        """
        name = TaskName.parse(f"{self.task}/{column}")
        found = {TaskName.parse(t.name).pair: t for t in cards.tasks_of(self.adapted(entry))}
        if name.pair not in found:
            raise UsageError(f"table {self.name}: {self.task} has no task {name.pair!r}{suggest(name.pair, found)}")
        return found[name.pair], name.budget or 0

    def adapted(self, entry: Entry) -> Card:
        """The card under the published protocol and the row's own recipe.

        No card has its name, and its version is a digest of all it says, so that rows of another recipe are not taken
        for its own.
        """
        changes = {**self.card, **entry.card, "name": f"{self.name}_published", "ranked": False}
        values = {**self.base.model_dump(exclude_unset=True), **changes}
        made = validated(Card, values, "", f"table {self.name}")
        return made.model_copy(update={"version": int(sha(made.model_dump_json())[:7], 16) + 1})


def tables() -> dict[str, Path]:
    """Name -> file of every table."""
    return TABLES.files()


@cache
def read(name: str) -> Table:
    """Raises:
    UsageError: no such table, or a file that is none.
    """
    file = TABLES.file(name)
    values, text = TABLES.read(file)
    return validated(Table, {"name": name, **values}, text, str(file))
