"""Which cells a request means, and which lines its table has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from tlbench.errors import Mistake
from tlbench.methods import references
from tlbench.methods.method import Description
from tlbench.methods.references import BESIDE, REFERENCES, SOURCE_ONLY, TARGET_ONLY
from tlbench.results.row import DEFAULT
from tlbench.runner.cell import Cell
from tlbench.runner.cell_job import Bench
from tlbench.runner.request import Request, check, extent
from tlbench.runner.requirements import check_backbone, check_extra, lacks, refusal
from tlbench.runner.selection import search
from tlbench.tasks import loaders
from tlbench.tasks.card import FULL, Budget, Task


@dataclass(frozen=True)
class Entry:
    """A line of the table to be: its cells and its references' cells, seed by seed.

    Where there is a search, each seed has as many trials of each, of which the cells are the first.
    """

    task: Task
    budget: Budget
    method: Description
    cells: tuple[Cell, ...]
    target_only: tuple[Cell | None, ...]
    source_only: tuple[Cell | None, ...]
    trials: dict[Cell, tuple[Cell, ...]] = field(default_factory=dict)  # of a cell, itself first


@dataclass
class Plan:
    """All entries of a request, and what had to be left out."""

    entries: list[Entry] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    provisional: bool = False

    @property
    def cells(self) -> list[Cell]:
        """Every cell once: methods first come first, references among them."""
        groups = (e.cells + e.target_only + e.source_only for e in self.entries)
        first = dict.fromkeys(c for group in groups for c in group if c is not None)
        return list(first | dict.fromkeys(c for e in self.entries for own in e.trials.values() for c in own))


def make(request: Request, bench: Bench, described: dict[str, Description]) -> Plan:
    """The plan of a request whose methods (and references) are described.

    Raises:
        Mistake: nothing is left to run.
    """
    tasks, plan = check(request), Plan()
    for c in dict.fromkeys(t.card for t in tasks):
        check_backbone(bench.conditions.backbone, c)
        check_extra(c)
    lacking = {name: said for name in request.methods if (said := lacks(described[name]))}
    if lacking and not request.every:
        raise Mistake(next(iter(lacking.values())))
    plan.notices += [f"left out: {said}" for said in lacking.values()]
    here = present(plan, tasks, bench)
    searched = set(request.rules) != {DEFAULT}
    designs = {n: request.trials or search.trials_of(d) for n, d in described.items()} if searched else {}
    asked = [name for name in request.methods if name not in lacking]
    names = [*dict.fromkeys([*asked, *REFERENCES, *(BESIDE if request.full or request.grid else ())])]
    for task in here:
        if task.file:
            loaders.check(task, bench.conditions.data_root)
        budgets, seeds, provisional = extent(request, task)
        plan.provisional |= provisional
        for budget in budgets:
            if not _feasible(plan, bench, task, budget, seeds):
                continue
            for name in names:
                if _applies(described[name], task, budget) or (name in asked and not request.every):
                    plan.entries.append(_entry(task, budget, seeds, described, name, designs.get(name, 0)))
    if not plan.entries:
        raise Mistake("; ".join(plan.notices) or "nothing to run: name a --task and a --method")
    return plan


def _entry(
    task: Task, budget: Budget, seeds: Sequence[int], described: dict[str, Description], name: str, trials: int
) -> Entry:
    number = len(search.design(described[name], trials)) if trials else 0  # a short list of choices has fewer

    def at(method: str, seed: int) -> Cell:
        return cell(task, described[method], budget, seed, 0 if number else None)

    def reference(method: str) -> tuple[Cell | None, ...]:
        applies = _applies(described[method], task, budget)
        return tuple(at(method, s) if applies else None for s in seeds)

    cells, target, source = tuple(at(name, s) for s in seeds), reference(TARGET_ONLY), reference(SOURCE_ONLY)
    searched = {c: trials_of(c, number) for c in (*cells, *target, *source) if c is not None and number}
    return Entry(task, budget, described[name], cells, target, source, searched)


def trials_of(c: Cell, n: int) -> tuple[Cell, ...]:
    """The first `n` trials of a cell's method on the same task, itself first."""
    return tuple(replace(c, method=d, trial=i) for i, d in enumerate(search.design(c.method, n)))


def cell(task: Task, method: Description, budget: Budget, seed: int, trial: int | None = None) -> Cell:
    """The cell with what the method ignores taken away, so that what cannot differ is run once.

    A skyline has every label at every budget. The shots of episodes are in them, and cannot be taken away.
    """
    if "sources" in method.ignores:
        task = task.without_sources()
    if task.card.regime != "episodes":
        budget = FULL if "every label" in method.needs else 0 if "shots" in method.ignores else budget
    return Cell(task, method, budget, seed, trial)


def reference_of(c: Cell) -> tuple[str, Task, Budget]:
    """The method, task and budget of the reference that a cell is judged by."""
    name = references.of(c.budget)
    return name, c.task if name == SOURCE_ONLY else c.task.without_sources(), c.budget


def _applies(method: Description, task: Task, budget: Budget) -> bool:
    """Whether a reference has something to say: no row of refusals for what nobody asked for."""
    return refusal(cell(task, method, budget, 0)) is None


def present(plan: Plan, tasks: Sequence[Task], bench: Bench) -> list[Task]:
    """The tasks whose files are here. Of the others a line each says so; of a suite that is nowhere, one line."""
    root, found = bench.conditions.data_root, []
    for c in dict.fromkeys(t.card for t in tasks):
        own = [t for t in tasks if t.card == c]
        lacking = {t: [d for d in (*t.sampled, t.target) if not loaders.available(c, d, root)] for t in own}
        here = [t for t in own if not lacking[t]]
        found += here
        if here:
            plan.notices += [f"{t.name} is left out: no files of {', '.join(ds)}" for t, ds in lacking.items() if ds]
            continue
        try:
            loaders.load(c, lacking[own[0]][0], root)
        except Mistake as mistake:  # what is missing, whence it comes, and what gets it
            plan.notices.append(str(mistake))
    return found


def _feasible(plan: Plan, bench: Bench, task: Task, budget: Budget, seeds: Sequence[int]) -> bool:
    try:
        bench.split(task, seeds[0]).shots(budget)
    except Mistake as mistake:
        if str(mistake) not in plan.notices:
            plan.notices.append(str(mistake))
        return False
    return True
