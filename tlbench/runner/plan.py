"""From a request to a plan: which cells it means, what is refused before anything is run, and a plan on disk."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tlbench.errors import UsageError, suggest
from tlbench.methods import references
from tlbench.methods.method import Description, check_name
from tlbench.methods.references import BESIDE, REFERENCES, SOURCE_ONLY, TARGET_ONLY
from tlbench.results.row import DEFAULT
from tlbench.runner.cell import Cell, Conditions
from tlbench.runner.cell_job import Bench
from tlbench.runner.executors import Executor
from tlbench.runner.selection import search
from tlbench.runner.task_data import native_bf16
from tlbench.tasks import grids, loaders, registry
from tlbench.tasks.card import CORE_BUDGETS, EXTENDED_BUDGETS, FULL, IMAGE_LOADERS, Budget, Card, Task
from tlbench.tasks.datasets import pretrained

ALL_BUDGETS: tuple[Budget, ...] = (*sorted({*CORE_BUDGETS, *EXTENDED_BUDGETS}), FULL)


@dataclass(frozen=True)
class Request:
    """What the user asked for. None takes the card's quick profile, or with `full` its core budgets and seeds."""

    tasks: tuple[str, ...]
    methods: tuple[str, ...]
    budgets: tuple[Budget, ...] | None = None
    seeds: tuple[int, ...] | None = None
    settings: dict[str, str] = field(default_factory=dict)
    full: bool = False
    rules: tuple[str, ...] = (DEFAULT,)  # of model selection
    trials: int | None = None  # that a rule chooses from, trial 0 among them; None: as many as `search` says
    grid: str | grids.Named | None = None  # whose tasks are asked for too, at its budgets and seeds
    every: bool = False  # all methods that ship were asked for: what one cannot do is left out, not refused


def check_request(request: Request) -> list[Task]:
    """What can be refused before anything is loaded or started; returns the tasks.

    Raises:
        UsageError: an unknown task, method, budget or seed.
    """
    for name in request.methods:
        check_name(name)
    for budget in request.budgets or ():
        if budget not in ALL_BUDGETS and not (isinstance(budget, int) and 0 <= budget <= 100_000):
            raise UsageError(f"--budgets: unknown budget {budget!r}{suggest(str(budget), map(str, ALL_BUDGETS))}")
    if request.trials and request.trials > search.MOST:
        raise UsageError(f"--trials {request.trials}: the design of a search has {search.MOST} at most")
    for seed in request.seeds or ():
        if seed < 0:
            raise UsageError(f"--seeds: {seed} is negative; seeds are 0, 1, 2, …")
    named = grids.tasks(grids.named(request.grid)) if request.grid else []
    return list(dict.fromkeys([*(task for name in request.tasks for task in registry.find(name)), *named]))


def extent(request: Request, task: Task) -> tuple[tuple[Budget, ...], tuple[int, ...], bool]:
    """Budgets, seeds, and whether the answer is provisional."""
    c, grid = task.card, grids.named(request.grid) if request.grid else None
    if grid and task.name in grid.tasks:
        return request.budgets or grid.budgets(task.name), request.seeds or tuple(range(grid.seeds)), False
    if request.full:
        return request.budgets or c.budgets, request.seeds or tuple(range(c.seeds)), False
    return request.budgets or c.quick.budgets, request.seeds or tuple(range(c.quick.seeds)), request.seeds is None


def refusal(c: Cell) -> str | None:
    """Why the method does not fit the cell, where that is known beforehand."""
    name, task, card = c.method.name, c.task.name, c.task.card
    if card.regime not in c.method.regimes:
        return f"{name} does {' and '.join(c.method.regimes)}; {task} is {card.regime}"
    if "same task" in c.method.needs and not card.same_task:
        return f"{name} needs sources whose labels are the target's; those of {task} are not"
    if c.budget == 0 and not card.same_task and not card.problem.episodic:
        return f"{task} has another task than its sources; at budget 0 no label says which"
    if "sources" in c.method.needs and c.task.sources and not c.task.sampled:
        return f"{name} needs samples of a source; that of {task} is a checkpoint"
    if "shots" in c.method.needs and c.budget == 0:
        return f"{name} needs labelled target samples; budget 0 has none"
    if "sources" in c.method.needs and not c.task.sources:
        return f"{name} needs a source; {task} has none"
    return None


def check_extra(c: Card) -> None:
    """Raises:
    UsageError: the library that measures the card's regime is not installed.
    """
    lacking = [m for m in c.problem.libraries if find_spec(m) is None]
    if lacking:
        need = f"measuring {c.regime} needs {' and '.join(lacking)}"
        raise UsageError(f"{c.name}: {need}; run: pip install 'tlbench[{c.problem.extra}]'")


def lacks(method: Description) -> str | None:
    """What to install before a method can run."""
    lacking = [m for m in method.requires if find_spec(m.partition(".")[0]) is None]
    cure = f"; run: pip install 'tlbench[{method.extra}]'" if method.extra else ""
    return f"method {method.name}: needs {' and '.join(lacking)}{cure}" if lacking else None


def check_backbone(named: str | None, card: Card) -> None:
    """Raises:
    UsageError: `--backbone` names what this card's data cannot go through.
    """
    if named is None:
        return
    takes = "texts" if card.text_encoded else "images" if card.loader in IMAGE_LOADERS else None
    if takes is None:
        raise UsageError(f"--backbone {named}: {card.name} has no images of a size to put through it; leave it out")
    if named not in pretrained.BUILT_IN and pretrained.read(named).takes != takes:
        raise UsageError(f"--backbone {named}: takes {pretrained.read(named).takes}, {card.name} has {takes}")
    if named in pretrained.BUILT_IN and (takes == "images" or named != "hashed"):
        raise UsageError(f"--backbone {named}: {card.name} needs a pretrained network; see `tlbench list backbones`")


def check_rules(rules: Sequence[str], conditions: Conditions) -> None:
    """Raises:
    UsageError: a choice among trials is to be made in another arithmetic than the board's. A choice's row is of no
        published settings anyway, so that nothing in it would keep it off the board.
    """
    option = "--amp" if conditions.amp else "--bf16-features" if conditions.features == "bf16" else None
    chosen = [name for name in rules if name != DEFAULT]
    if option and chosen:
        raise UsageError(
            f"--rule {chosen[0]}: rows of {option} are on no board, and those of a choice are; leave one out"
        )


def check_bf16(bench: Bench, tasks: Sequence[Task], workers: Executor) -> list[str]:
    """What to tell of bfloat16 features that a command declares.

    Raises:
        UsageError: the device cannot compute in bfloat16.
    """
    device, cards = bench.conditions.device, dict.fromkeys(t.card for t in tasks)
    if bench.conditions.features != "bf16":
        return []
    without = [c.name for c in cards if not bench.bf16_features(c)]
    notes = []
    if without:
        notes.append(
            f"--bf16-features changes nothing for {', '.join(without)}: no image there goes through a frozen network"
        )
    if len(without) == len(cards):
        return notes
    report = workers.ask({"kind": "bf16", "device": device})
    if report["status"] != "ok":
        raise UsageError(f"--bf16-features: {device} cannot compute in bfloat16 ({report['reason']}); leave it out")
    if device == "cpu" and not native_bf16():
        notes.append("--bf16-features: this processor has no instructions for bfloat16, so that it is slow here")
    return notes


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
        UsageError: nothing is left to run.
    """
    tasks, plan = check_request(request), Plan()
    for c in dict.fromkeys(t.card for t in tasks):
        check_backbone(bench.conditions.backbone, c)
        check_extra(c)
    lacking = {name: said for name in request.methods if (said := lacks(described[name]))}
    if lacking and not request.every:
        raise UsageError(next(iter(lacking.values())))
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
        raise UsageError("; ".join(plan.notices) or "nothing to run: name a --task and a --method")
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
    asked = (task, budget)
    if "sources" in method.ignores:
        task = task.without_sources()
    if not task.card.problem.episodic:
        budget = FULL if "every label" in method.needs else 0 if "shots" in method.ignores else budget
    return Cell(task, method, budget, seed, trial, asked)


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
        except UsageError as mistake:  # what is missing, whence it comes, and what gets it
            plan.notices.append(str(mistake))
    return found


def _feasible(plan: Plan, bench: Bench, task: Task, budget: Budget, seeds: Sequence[int]) -> bool:
    try:
        bench.split(task, seeds[0]).shots(budget)
    except UsageError as mistake:
        if str(mistake) not in plan.notices:
            plan.notices.append(str(mistake))
        return False
    return True


def write_plan(file: Path, cells: Sequence[Cell], bench: Bench) -> None:
    """One JSON line a cell: all that another machine needs to run it."""
    c = bench.conditions
    where = {**asdict(c), "data_root": str(c.data_root.resolve()) if c.data_root else None}
    lines = [
        {
            "task": x.task.name,
            "card": x.task.file,
            "method": x.method.spec,
            "config": x.method.config,
            "budget": x.budget,
            "seed": x.seed,
            "trial": x.trial,
            "key": bench.key(x),
            "conditions": where,
        }
        for x in cells
    ]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))


def read_plan(file: Path, index: int) -> dict[str, Any]:
    """Line `index` of a plan.

    Raises:
        UsageError: no such file or line, or it is no line of a plan.
    """
    try:
        lines = file.read_text().splitlines()
    except OSError as error:
        raise UsageError(
            f"{file}: cannot be read ({error.strerror}); write it with `tlbench run … --plan-only`"
        ) from None
    if not 0 <= index < len(lines):
        raise UsageError(f"{file}: has cells 0 to {len(lines) - 1}; there is no cell {index}")
    try:
        line = json.loads(lines[index])
        wanted = {name: line[name] for name in ("task", "card", "method", "config", "budget", "seed", "key")}
        wanted["trial"] = line.get("trial")
        return {**wanted, "conditions": Conditions(**{**line["conditions"], "data_root": _path(line)})}
    except (ValueError, KeyError, TypeError):
        raise UsageError(f"{file}:{index + 1}: not a line of a plan; write it anew with --plan-only") from None


def _path(line: dict[str, Any]) -> Path | None:
    root = line["conditions"]["data_root"]
    return Path(root) if root else None
