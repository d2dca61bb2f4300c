"""tlbench from Python: `run` gives the rows of a command as a pandas DataFrame."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlbench.methods.method import shipped
from tlbench.methods.references import REFERENCES
from tlbench.results.editions import Edition
from tlbench.results.row import DEFAULT, Row
from tlbench.results.run_table import Asked, Gap, Line, gap, line, suite_lines
from tlbench.results.store import Store, default_folder
from tlbench.runner import descriptions, places
from tlbench.runner import plan as plans
from tlbench.runner.cell import Cell, Conditions
from tlbench.runner.cell_job import Bench
from tlbench.runner.executors import Executor
from tlbench.runner.plan import Entry, Plan, Request, check_bf16, check_request, check_rules
from tlbench.runner.sandbox.sandbox import Limits, memory_share, resolve
from tlbench.runner.selection import rules
from tlbench.runner.selection.rules import Reduction, Rule
from tlbench.runner.sweep import Sweep, default_jobs, resolve_device, threads_for
from tlbench.tasks.card import Budget

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class Options:
    """How to run, apart from what."""

    results: Path | None = None
    data_root: Path | None = None
    backbone: str | None = None
    device: str = "auto"
    jobs: int | None = None
    time_limit: float = 3600.0  # seconds a cell
    memory_limit: int | None = None  # MiB a cell; None shares the machine's memory among the jobs
    retry_failed: bool = False
    changed_data: bool = False
    amp: bool = False
    bf16_features: bool = False  # of images through a frozen network; its rows are on no board
    jail: str = "auto"  # 0, 1 or 2: how far a method's process is confined; auto: the higher of 0 and 1 that there is
    predictions: Path | None = None  # a folder for every cell's answers to the test samples; None keeps none
    edition: Edition = field(default_factory=Edition)  # whose arithmetic is the board's
    on: str = places.DEFAULT  # where cells run; see `places`


@dataclass(frozen=True)
class Outcome:
    """What a run came to."""

    plan: Plan
    lines: list[Line]
    rows: list[Row]  # of every cell of the plan, in its order
    computed: int  # cells run now; the rest were in the store
    store: Store
    gaps: list[Gap]  # where the oracle's rule was asked for


Tell = Callable[[int, int, float | None, str], None]


def prepared(request: Request, options: Options, workers: Executor, progress: Any = None) -> tuple[Plan, Bench]:
    """A request's plan, and the bench to run it on."""
    check_request(request)
    for rule in request.rules:
        rules.named(rule)
    here = bench(options, progress)
    check_rules(request.rules, here.conditions)
    described = descriptions.describe(request.methods, request.settings, workers)
    plan = plans.make(request, here, described)
    plan.notices += check_bf16(here, [e.task for e in plan.entries], workers)
    plan.notices += filter(None, [resolve(options.jail)[1], settled(options, here.conditions.device, workers)])
    return plan, here


def settled(options: Options, device: str, workers: Executor) -> str:
    """Under `auto`, whether a process that is locked up can use the GPU; where its driver needs more, level 0.

    Returns:
        a note that says so; empty where all is as it should be
    """
    if options.jail != "auto" or not workers.jail or not device.startswith("cuda"):
        return ""
    report = workers.ask({"kind": "touch", "device": device})
    if report["status"] == "ok":
        return ""
    workers.jail = 0
    return (
        f"{device} cannot be used at jail level 1 ({report['reason']}): methods run at level 0 and could read any "
        "file of yours; run only code you trust"
    )


def bench(options: Options, progress: Any = None) -> Bench:
    """The bench that options mean on this machine."""
    device = resolve_device(options.device)
    jobs = options.jobs or default_jobs(device)
    conditions = Conditions(
        options.data_root, options.backbone, device, threads_for(jobs), options.changed_data, options.amp,
        "bf16" if options.bf16_features else options.edition.protocol.features, options.edition.protocol.features,
    )  # fmt: skip
    return Bench(conditions, progress or (lambda what, done, of: None))


def started(options: Options, modules: Sequence[str] = (), threads: int = 1) -> Executor:
    """The executor that the options name, which confines methods as they say.

    Raises:
        UsageError: there is no such place, or this machine cannot confine so.
    """
    hidden = [options.results or default_folder(), *([options.data_root] if options.data_root else [])]
    return places.executor(options.on, modules=modules, threads=threads, jail=resolve(options.jail)[0], hidden=hidden)


def execute(request: Request, options: Options, tell: Tell | None = None, progress: Any = None) -> Outcome:
    """Run what a request means and is not in the store; aggregate all of it."""
    jobs = options.jobs or default_jobs(resolve_device(options.device))
    with started(options, preloaded(request.methods), threads_for(jobs)) as workers:
        plan, bench = prepared(request, options, workers, progress)
        store = Store(options.results or default_folder())
        references = [c for e in plan.entries for c in (*e.target_only, *e.source_only) if c is not None]
        plan.notices += rules.check(request.rules, searched(plan, request), references, store)
        sweep = swept(plan.cells, bench, store, workers, options, tell)
        reduction = Reduction(bench, store, workers)
        tables = [reduced(plan, rule, reduction, request) for rule in map(rules.named, request.rules)]
    lines = [x for asked in tables for x in [line(a) for a in asked] + suite_lines(asked)]
    rows = (r for asked in tables for a in asked for part in (a.rows, a.target_only, a.source_only) for r in part if r)
    run = (store.rows[bench.key(c)] for c in plan.cells if bench.key(c) in store.rows)
    found = list({r.key: r for group in (run, rows) for r in group}.values())
    return Outcome(plan, lines, found, len(sweep.computed), store, gaps(tables))


def searched(plan: Plan, request: Request) -> list[tuple[Cell, ...]]:
    """The cells of the methods that were asked for, each with its trials."""
    named = {descriptions.absolute(name) for name in request.methods}
    asked = (e for e in plan.entries if e.method.spec in named)
    return [e.trials.get(c, (c,)) for e in asked for c in e.cells]


def reduced(plan: Plan, rule: Rule, reduction: Reduction, request: Request) -> list[Asked]:
    """The lines of a rule, each method against references that the same rule chose from as many trials.

    A method that the rule cannot be asked of is left out; a reference keeps its default.
    """

    def chosen(entry: Entry, cells: Sequence[Cell | None]) -> list[Row | None]:
        return [reduction.row(rule, entry.trials.get(c, (c,))) if c else None for c in cells]

    named, asked = {descriptions.absolute(name) for name in request.methods}, []
    can = {id(e) for e in plan.entries if not rule.why_not(e.cells[0])}
    with_one = {(e.task, e.budget) for e in plan.entries if id(e) in can and e.method.spec in named}
    for e in plan.entries:
        if (e.task, e.budget) in with_one and (id(e) in can or e.method.spec not in named):
            rows, target, source = (chosen(e, part) for part in (e.cells, e.target_only, e.source_only))
            asked.append(Asked(e.task.name, e.budget, e.method.name, rows, target, source, rule.name))
    return asked


def gaps(tables: Sequence[Sequence[Asked]]) -> list[Gap]:
    """The selection gap of every rule below the oracle's, line by line."""
    rest: dict[tuple[str, Budget, str], list[Asked]] = {}
    for a in (a for asked in tables for a in asked if rules.named(a.rule).ranked):
        rest.setdefault((a.task, a.budget, a.method), []).append(a)
    oracles = [a for asked in tables for a in asked if not rules.named(a.rule).ranked]
    found = (gap(a, rest.get((a.task, a.budget, a.method), [])) for a in oracles)
    return [g for g in found if g is not None]


def swept(
    cells: Sequence[Cell], bench: Bench, store: Store, workers: Executor, options: Options, tell: Tell | None = None
) -> Sweep:
    """Run those of the cells that the store lacks."""
    jobs = options.jobs or default_jobs(bench.conditions.device)
    limits = Limits(options.time_limit, options.memory_limit or memory_share(jobs))
    said = tell or (lambda done, of, left, label: None)
    sweep = Sweep(
        cells, bench, store, workers, jobs, limits, options.retry_failed, said, predictions=options.predictions
    )
    if sweep.missing():
        workers.warm()
    sweep.run()
    return sweep


def preloaded(names: Sequence[str]) -> list[str]:
    """Modules of shipped methods: the server imports them once. Foreign code is imported by children only."""
    return [f"tlbench_baselines.{n}" for n in (*names, *REFERENCES) if n in shipped()]


def run(
    task: str | Sequence[str],
    method: str | Sequence[str],
    budgets: Sequence[Budget] | None = None,
    seeds: Sequence[int] | None = None,
    *,
    full: bool = False,
    settings: Mapping[str, object] | None = None,
    rules: str | Sequence[str] = DEFAULT,
    trials: int | None = None,
    options: Options | None = None,
) -> Any:
    """Run methods on tasks and return the rows, references included.

    Args:
        task: names of tasks, suites, or paths of cards
        method: names of methods, 'package.module:Class' or 'file.py:Class'
        budgets: labels per class; None takes the card's quick profile
        seeds: None takes the card's quick profile
        full: core budgets and all seeds instead of the quick profile
        settings: hyperparameters by name
        rules: of model selection; see `tlbench list rules`
        trials: of a search, the published default among them; None: 8 for a method that takes gradient steps, else 20

    Returns:
        pandas.DataFrame, one row a cell, a trial or a rule's choice; the columns are documented in results/README.md

    Raises:
        UsageError: something is misspelt, missing or of the wrong type; one line says what.
    """
    import pandas as pd

    request = Request(
        tasks=_several(task),
        methods=_several(method),
        budgets=tuple(budgets) if budgets is not None else None,
        seeds=tuple(seeds) if seeds is not None else None,
        settings={name: str(value) for name, value in (settings or {}).items()},
        full=full,
        rules=_several(rules),
        trials=trials,
    )
    outcome = execute(request, options or Options())
    return pd.DataFrame([row.values() for row in outcome.rows])


def _several(names: str | Sequence[str]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)
