"""tlbench from Python: `run` gives the rows of a command as a pandas DataFrame."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tlbench import plan as plans
from tlbench.card import Budget
from tlbench.cell import Bench, Cell, Conditions
from tlbench.executors.local import Workers
from tlbench.jail import Limits, memory_share
from tlbench.method import shipped
from tlbench.plan import Plan, Request
from tlbench.report import Asked, Line, line, suite_lines
from tlbench.row import Row
from tlbench.store import Store, default_folder
from tlbench.sweep import Sweep, default_jobs, resolve_device, threads_for


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


@dataclass(frozen=True)
class Outcome:
    """What a run came to."""

    plan: Plan
    lines: list[Line]
    rows: list[Row]  # of every cell of the plan, in its order
    computed: int  # cells run now; the rest were in the store
    store: Store


Tell = Callable[[int, int, float | None, str], None]


def prepared(request: Request, options: Options, workers: Workers, progress: Any = None) -> tuple[Plan, Bench]:
    """A request's plan, and the bench to run it on."""
    plans.check(request)
    device = resolve_device(options.device)
    jobs = options.jobs or default_jobs(device)
    conditions = Conditions(options.data_root, options.backbone, device, threads_for(jobs), options.changed_data)
    bench = Bench(conditions, progress or (lambda what, done, of: None))
    described = plans.describe(request.methods, request.settings, workers)
    return plans.make(request, bench, described), bench


def execute(request: Request, options: Options, tell: Tell | None = None, progress: Any = None) -> Outcome:
    """Run what a request means and is not in the store; aggregate all of it."""
    jobs = options.jobs or default_jobs(resolve_device(options.device))
    with Workers(modules=preloaded(request.methods), threads=threads_for(jobs)) as workers:
        plan, bench = prepared(request, options, workers, progress)
        store = Store(options.results or default_folder())
        sweep = swept(plan.cells, bench, store, workers, options, tell)
    rows = {c: store.rows[bench.key(c)] for c in plan.cells if bench.key(c) in store.rows}
    asked = [
        Asked(
            e.task.name, e.budget, e.method.name,
            *([rows.get(c) if c else None for c in part] for part in (e.cells, e.target_only, e.source_only)),
        )
        for e in plan.entries
    ]  # fmt: skip
    lines = [line(a) for a in asked] + suite_lines(asked)
    return Outcome(plan, lines, list(rows.values()), len(sweep.computed), store)


def swept(
    cells: Sequence[Cell], bench: Bench, store: Store, workers: Workers, options: Options, tell: Tell | None = None
) -> Sweep:
    """Run those of the cells that the store lacks."""
    jobs = options.jobs or default_jobs(bench.conditions.device)
    limits = Limits(options.time_limit, options.memory_limit or memory_share(jobs))
    said = tell or (lambda done, of, left, label: None)
    sweep = Sweep(cells, bench, store, workers, jobs, limits, options.retry_failed, said)
    if sweep.missing():
        workers.warm()
    sweep.run()
    return sweep


def preloaded(names: Sequence[str]) -> list[str]:
    """Modules of shipped methods: the server imports them once. Foreign code is imported by children only."""
    return [f"tlbench_baselines.{n}" for n in (*names, *plans.REFERENCES) if n in shipped()]


def run(
    task: str | Sequence[str],
    method: str | Sequence[str],
    budgets: Sequence[Budget] | None = None,
    seeds: Sequence[int] | None = None,
    *,
    full: bool = False,
    settings: Mapping[str, object] | None = None,
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

    Returns:
        pandas.DataFrame, one row a cell; the columns are documented in results/README.md

    Raises:
        Mistake: something is misspelt, missing or of the wrong type; one line says what.
    """
    import pandas as pd

    request = Request(
        tasks=_several(task),
        methods=_several(method),
        budgets=tuple(budgets) if budgets is not None else None,
        seeds=tuple(seeds) if seeds is not None else None,
        settings={name: str(value) for name, value in (settings or {}).items()},
        full=full,
    )
    outcome = execute(request, options or Options())
    return pd.DataFrame([row.values() for row in outcome.rows])


def _several(names: str | Sequence[str]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)


def leaderboard(results: Path | None = None, file: Path | None = None) -> bool:
    """Rebuild the leaderboard between its markers from the rows. Returns whether it changed."""
    from tlbench import board

    folder = results or default_folder()
    return board.rebuild(Store(folder), file or folder.parent / "leaderboard.md")
