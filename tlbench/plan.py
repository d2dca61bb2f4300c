"""Which cells a command means, and which lines its table has."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tlbench import __version__, cachedir, core, loaders, registry, search
from tlbench import method as methods
from tlbench.bench import Bench
from tlbench.card import CORE_BUDGETS, EXTENDED_BUDGETS, FULL, Budget, Card, Task
from tlbench.cell import Cell, Conditions
from tlbench.digest import code_digest
from tlbench.executors.local import Workers
from tlbench.jail import Limits
from tlbench.method import Description
from tlbench.mistake import Mistake, suggest
from tlbench.report import SOURCE_ONLY, TARGET_FULL, TARGET_ONLY
from tlbench.split import sha

DEFAULT = "default"  # the rule that chooses nothing
REFERENCES = (TARGET_ONLY, SOURCE_ONLY)
AGAIN = ("target_again", "source_again")  # the references once more: how much harm there seems to be where none is
BESIDE = ("source_plus_target", TARGET_FULL, *AGAIN)  # what a full run shows beside them
SHARED_FIELDS = (
    "steps",
    "batch",
)  # the budget of compute: what is set for a method is set for its references
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
    grid: str | None = None  # whose tasks are asked for too, at its budgets and seeds
    every: bool = False  # all methods that ship were asked for: what one cannot do is left out, not refused


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


def check(request: Request) -> list[Task]:
    """What can be refused before anything is loaded or started; returns the tasks.

    Raises:
        Mistake: an unknown task, method, budget or seed.
    """
    for name in request.methods:
        methods.check_name(name)
    for budget in request.budgets or ():
        if budget not in ALL_BUDGETS and not (isinstance(budget, int) and 0 <= budget <= 100_000):
            raise Mistake(f"--budgets: unknown budget {budget!r}{suggest(str(budget), map(str, ALL_BUDGETS))}")
    if request.trials and request.trials > search.MOST:
        raise Mistake(f"--trials {request.trials}: the design of a search has {search.MOST} at most")
    for seed in request.seeds or ():
        if seed < 0:
            raise Mistake(f"--seeds: {seed} is negative; seeds are 0, 1, 2, …")
    named = core.tasks(core.named(request.grid)) if request.grid else []
    return list(dict.fromkeys([*(task for name in request.tasks for task in registry.find(name)), *named]))


def make(request: Request, bench: Bench, described: dict[str, Description]) -> Plan:
    """The plan of a request whose methods (and references) are described.

    Raises:
        Mistake: nothing is left to run.
    """
    tasks, plan = check(request), Plan()
    for c in dict.fromkeys(t.card for t in tasks):
        bench.check_backbone(c)
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
        budgets, seeds, provisional = _extent(request, task)
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
    return (SOURCE_ONLY, c.task, 0) if c.budget == 0 else (TARGET_ONLY, c.task.without_sources(), c.budget)


def refusal(c: Cell) -> str | None:
    """Why the method does not fit the cell, where that is known beforehand."""
    name, task, card = c.method.name, c.task.name, c.task.card
    if card.regime not in c.method.regimes:
        return f"{name} does {' and '.join(c.method.regimes)}; {task} is {card.regime}"
    if "same task" in c.method.needs and not card.same_task:
        return f"{name} needs sources whose labels are the target's; those of {task} are not"
    if card.regime != "episodes" and c.budget == 0 and not card.same_task:
        return f"{task} has another task than its sources; at budget 0 no label says which"
    if "sources" in c.method.needs and c.task.sources and not c.task.sampled:
        return f"{name} needs samples of a source; that of {task} is a checkpoint"
    if "shots" in c.method.needs and c.budget == 0:
        return f"{name} needs labelled target samples; budget 0 has none"
    if "sources" in c.method.needs and not c.task.sources:
        return f"{name} needs a source; {task} has none"
    return None


def _applies(method: Description, task: Task, budget: Budget) -> bool:
    """Whether a reference has something to say: no row of refusals for what nobody asked for."""
    return refusal(cell(task, method, budget, 0)) is None


def _extent(request: Request, task: Task) -> tuple[tuple[Budget, ...], tuple[int, ...], bool]:
    """Budgets, seeds, and whether the answer is provisional."""
    c, grid = task.card, core.named(request.grid) if request.grid else None
    if grid and task.name in grid.tasks:
        return request.budgets or grid.budgets(task.name), request.seeds or tuple(range(grid.seeds)), False
    if request.full:
        return request.budgets or c.budgets, request.seeds or tuple(range(c.seeds)), False
    return request.budgets or c.quick.budgets, request.seeds or tuple(range(c.quick.seeds)), request.seeds is None


def check_extra(c: Card) -> None:
    """Raises:
    Mistake: the library that measures the card's regime is not installed.
    """
    lacking = [m for m in ("torchmetrics", "pycocotools") if c.regime == "detection" and find_spec(m) is None]
    if lacking:
        raise Mistake(f"{c.name}: measuring boxes needs {' and '.join(lacking)}; run: pip install 'tlbench[detect]'")


def lacks(method: Description) -> str | None:
    """What to install before a method can run."""
    lacking = [m for m in method.requires if find_spec(m.partition(".")[0]) is None]
    cure = f"; run: pip install 'tlbench[{method.extra}]'" if method.extra else ""
    return f"method {method.name}: needs {' and '.join(lacking)}{cure}" if lacking else None


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


def describe(names: Sequence[str], settings: dict[str, str], workers: Workers) -> dict[str, Description]:
    """The descriptions of methods under `--set`, each checked by the worker that imports it.

    A setting goes to every named method that has its field; `steps` and `batch` go to the references too.

    Raises:
        Mistake: no method has the field, or the value is of another type.
    """
    plain = {name: described(name, {}, workers) for name in dict.fromkeys([*names, *REFERENCES, *BESIDE])}
    for key, value in settings.items():
        known = {f.name for name in names for f in plain[name].fields}
        if key not in known:
            raise Mistake(f"--set {key}={value}: {' and '.join(names)} has no field {key!r}{suggest(key, known)}")
    configured = {}
    for name, d in plain.items():
        fields = {f.name for f in d.fields}
        own = {k: v for k, v in settings.items() if k in fields and (name in names or k in SHARED_FIELDS)}
        configured[name] = described(name, own, workers) if own else d
    return configured


def described(spec: str, settings: dict[str, str], workers: Workers, limits: Limits | None = None) -> Description:
    """From the cache for a baseline whose code has not changed, else from a worker.

    Raises:
        Mistake: it is no method, its module cannot be imported, or a setting is none of its fields.
    """
    file = None
    if spec in methods.shipped():
        digest = code_digest(methods.shipped()[spec])
        file = cachedir.folder("methods") / f"{sha(__version__, spec, sorted(settings.items()), digest)}.json"
        with suppress(OSError, ValueError, KeyError):  # missing, or broken: made anew
            return Description.of(json.loads(file.read_text()))
    report = workers.ask({"kind": "describe", "method": absolute(spec), "settings": settings}, limits)
    if report.get("status") != "ok":
        reason = str(report.get("reason"))
        raise Mistake(f"method {spec!r}: {reason}" if report.get("status") == "failed" else reason)
    try:
        told = Description.of(report["description"])
    except (KeyError, TypeError, AttributeError, ValueError):  # its module may have written the report
        raise Mistake(f"method {spec!r}: what it says of itself is no description") from None
    if file is not None:
        temporary = file.with_suffix(f".{os.getpid()}.tmp")
        temporary.write_text(json.dumps(report["description"]))
        temporary.replace(file)
    return told


def absolute(spec: str) -> str:
    """A method's file by its full path: workers run elsewhere."""
    place, colon, name = spec.partition(":")
    return f"{Path(place).resolve()}{colon}{name}" if place.endswith(".py") else spec


def write(file: Path, cells: Sequence[Cell], bench: Bench) -> None:
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


def read(file: Path, index: int) -> dict[str, Any]:
    """Line `index` of a plan.

    Raises:
        Mistake: no such file or line, or it is no line of a plan.
    """
    try:
        lines = file.read_text().splitlines()
    except OSError as error:
        raise Mistake(f"{file}: cannot be read ({error.strerror}); write it with `tlbench run … --plan-only`") from None
    if not 0 <= index < len(lines):
        raise Mistake(f"{file}: has cells 0 to {len(lines) - 1}; there is no cell {index}")
    try:
        line = json.loads(lines[index])
        wanted = {name: line[name] for name in ("task", "card", "method", "config", "budget", "seed", "key")}
        wanted["trial"] = line.get("trial")
        return {**wanted, "conditions": Conditions(**{**line["conditions"], "data_root": _path(line)})}
    except (ValueError, KeyError, TypeError):
        raise Mistake(f"{file}:{index + 1}: not a line of a plan; write it anew with --plan-only") from None


def _path(line: dict[str, Any]) -> Path | None:
    root = line["conditions"]["data_root"]
    return Path(root) if root else None
