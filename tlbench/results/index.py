"""The rows as the board takes them, by what they measured: where a method's and its references' cells are found."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from tlbench.errors import UsageError, suggest
from tlbench.methods.method import shipped
from tlbench.methods.references import REFERENCES
from tlbench.results import frame
from tlbench.results.editions import OPEN, Edition
from tlbench.results.row import DEFAULT, Row
from tlbench.results.run_table import Asked
from tlbench.tasks import card
from tlbench.tasks.card import Budget
from tlbench.tasks.task_name import TaskName, suite_of

Seeds = dict[int, Row]


@dataclass(frozen=True)
class Index:
    """One row a seed of every (method, task, budget): the newest that is ok, else the newest."""

    held: dict[tuple[str, str, Budget], Seeds]
    edition: Edition = frame.OPEN

    @classmethod
    def of(cls, rows: Iterable[Row], rule: str = DEFAULT, ranked: bool = True, edition: Edition = frame.OPEN) -> Index:
        """Of an edition's rows; those made otherwise than the board's are left out.

        Args:
            rule: of selection, whose choices are wanted; a reference that it cannot be asked of stands at its default
            ranked: of the suites that are ranked; False: of those that are not, whose truth is known
        """
        there = {row.key: row for row in rows}
        table = frame.of(there.values())
        held: dict[tuple[str, str, Budget], Seeds] = defaultdict(dict)
        found = [there[key] for key in frame.standing(table, edition, ranked)["key"]]
        if rule != DEFAULT:
            chosen = [there[key] for key in frame.chosen(table, edition)["key"] if there[key].rule == rule]
            told = {(row.method, row.task, row.budget) for row in chosen}
            references = [row for row in found if row.method in REFERENCES]
            found = chosen + [row for row in references if (row.method, row.task, row.budget) not in told]
        for row in found:
            held[row.method, row.task, row.budget][row.seed] = row
        return cls(dict(held), edition)

    @property
    def methods(self) -> list[str]:
        return sorted({m for m, _, _ in self.held})

    @property
    def tasks(self) -> list[str]:
        """Those with a source; target-only's have none and serve all of one target."""
        return sorted({t for (_, t, _), seeds in self.held.items() if next(iter(seeds.values())).sources})

    @cached_property
    def examples(self) -> dict[str, Row]:
        """One row of every task."""
        found: dict[str, Row] = {}
        for place in sorted(self.held, key=str):
            found.setdefault(place[1], next(iter(self.held[place].values())))
        return found

    def kind(self, task: str) -> str:
        """The tasks that the board ranks a task among."""
        row = self.examples[task]
        return card.kind(row.paradigm, row.regime)

    @property
    def budgets(self) -> list[Budget]:
        """Of labels, smallest first; the skyline's is none."""
        return [*sorted({k for _, _, k in self.held if isinstance(k, int)})]

    def cells(self, method: str, task: str, budget: Budget) -> Seeds:
        """Seed -> row of a method on a task; what the method ignores was taken away when it was run."""
        places = [(method, *place) for place in frame.places(method, task, budget)]
        return next((self.held[p] for p in places if p in self.held), {})

    def asked(self, method: str, task: str, budget: Budget) -> Asked:
        """A line of the board, its references beside it."""
        own = self.cells(method, task, budget)
        order = sorted(own)
        target, source = (self.cells(m, task, budget) for m in REFERENCES)
        return Asked(
            task, budget, method,
            [own[s] for s in order], [target.get(s) for s in order], [source.get(s) for s in order],
        )  # fmt: skip

    def chosen(self, names: Sequence[str]) -> list[str]:
        """The tasks that names of tasks, targets ('digits/photos') or suites mean; all where none is named.

        Raises:
            UsageError: there are no rows of such a task.
        """
        found: list[str] = []
        for name in names:
            own = [t for t in self.tasks if t == name or _means(TaskName.parse(name), TaskName.parse(t))]
            if not own:
                known = [*self.tasks, *{suite_of(t) for t in self.tasks}]
                raise UsageError(f"no rows of a task {name!r}{self._where}{suggest(name, known)}")
            found += own
        return list(dict.fromkeys(found)) if names else self.tasks

    def check(self, method: str) -> None:
        """Raises UsageError where there is no row of a method."""
        if method in self.methods:
            return
        where = self._where
        if method in shipped() or ":" in method or "/" in method:
            raise UsageError(
                f"no rows of {method!r}{where or ' yet'}; make some: tlbench run --task TASK --method {method}"
            )
        raise UsageError(f"unknown method {method!r}{suggest(method, {*self.methods, *shipped()})}{where}")

    def check_budget(self, budget: Budget) -> None:
        """Raises UsageError where there is no row at a budget of labels."""
        if budget not in self.budgets:
            there = ", ".join(map(str, self.budgets)) or "none; `tlbench run` makes some"
            raise UsageError(f"no rows at budget {budget}{self._where}; there are: {there}")

    @property
    def _where(self) -> str:
        """Of a frozen edition, that it was asked, and what has the rows that are not in it."""
        return f" in edition {self.edition.name} (--edition {OPEN} has the store's own)" if self.edition.frozen else ""


def _means(name: TaskName, task: TaskName) -> bool:
    """Whether a suite, or a target in it, is a task's."""
    return name == task.without_sources() or name == TaskName(task.suite)
