"""A cell of the board trained once more: its losses, and whether its value is the stored row's."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from tlbench.errors import UsageError, suggest
from tlbench.methods.method import shipped
from tlbench.results.editions import Edition
from tlbench.results.index import Index
from tlbench.results.row import DEFAULT, Row
from tlbench.results.store import Store
from tlbench.runner import descriptions, experiment, refit
from tlbench.runner.experiment import Options
from tlbench.runner.plan import Request
from tlbench.runner.refit import Refit, Tell
from tlbench.runner.sandbox.sandbox import Limits, memory_share
from tlbench.runner.sweep import default_jobs, resolve_device, threads_for
from tlbench.tasks import registry
from tlbench.tasks.card import Budget, Task

CONDITIONS = ("machine", "device", "threads", "torch", "python", "arithmetic", "precision")  # of the last digits


@dataclass(frozen=True)
class Again:
    """A cell's second fit."""

    refit: Refit
    stored: Row | None  # the row of the board, or of the store, of this seed
    notices: tuple[str, ...]

    @property
    def equal(self) -> bool | None:
        """Whether the value is the row's, to the last digit; None where there is nothing to hold it against."""
        if self.stored is None or not (self.stored.ok and self.refit.row.ok):
            return None
        return self.refit.row.value == self.stored.value

    @property
    def same_cell(self) -> bool:
        """Whether the row is of the same code, data and settings."""
        return self.stored is not None and self.stored.key == self.refit.row.key

    @property
    def apart(self) -> list[str]:
        """The conditions that are not the row's."""
        if self.stored is None:
            return []
        pairs = ((name, getattr(self.stored, name), getattr(self.refit.row, name)) for name in CONDITIONS)
        return [f"{name} {then}, now {now}" for name, then, now in pairs if then is not None and then != now]


def again(
    store: Store, edition: Edition, method: str, name: str, budget: Budget, seed: int, rule: str, options: Options,
    tell: Tell, progress: Any,
) -> Again:  # fmt: skip
    """Fit one cell as a run would, in the conditions of its row where there is one. No row is stored.

    Args:
        rule: of selection, whose choice of settings is wanted
        options: where the data are, how far the method is confined; the rest is the row's
        tell: called with (steps done, of, seconds left or None, label)

    Raises:
        UsageError: there is no such task or method, it does not fit the task, or a rule's choice is not there.
    """
    tasks = registry.find(name)
    if len(tasks) > 1:
        raise UsageError(f"{name!r} names {len(tasks)} tasks; name one{suggest(name, (t.name for t in tasks))}")
    task = tasks[0]
    held = _row(store, edition, _called(method, options), task, budget, seed, rule)
    if held is None and rule != DEFAULT:
        raise UsageError(f"no row of {method} on {task.name} at budget {budget}, seed {seed}, that {rule} chose")
    options, threads = in_conditions(options, held, task)
    request = Request((task.file or task.name,), (method,), (budget,), (seed,))
    with experiment.started(options, experiment.preloaded([method]), threads) as workers:
        plan, bench = experiment.prepared(request, options, workers, progress)
        bench.conditions = replace(bench.conditions, threads=threads)
        asked = descriptions.absolute(method)
        found = [e.cells[0] for e in plan.entries if e.method.spec == asked and e.task.name == task.name]
        if not found:
            raise UsageError("; ".join(plan.notices) or f"{method} does not run on {task.name} at budget {budget}")
        cell = found[0]
        if held is not None:
            cell = replace(cell, method=replace(cell.method, config=held.config))
        limits = Limits(options.time_limit, memory_share(1))
        made = refit.watched(cell, bench, workers, limits, tell)
    stored = store.rows.get(made.row.key) or held
    return Again(made, stored, tuple(plan.notices))


def in_conditions(options: Options, held: Row | None, task: Task) -> tuple[Options, int]:
    """The options and threads that a row was made with, as far as this machine has them; else a run's."""
    if held is None or held.precision != "bf16":
        options = replace(options, edition=Edition())  # only of an early edition are features not in float32
    if held is None:
        device = resolve_device(options.device)
        return replace(options, device=device, jobs=1), threads_for(default_jobs(device))
    try:
        device = resolve_device(held.device)
    except UsageError:
        device = resolve_device(options.device)
    other = held.backbone if not isinstance(task.card.backbone, str) else None
    return replace(options, device=device, jobs=1, backbone=other), held.threads


def _called(method: str, options: Options) -> str:
    """The name that rows have of a method."""
    if method in shipped():
        return method
    with experiment.started(options) as workers:
        return descriptions.described(method, {}, workers).name


def _row(store: Store, edition: Edition, method: str, task: Task, budget: Budget, seed: int, rule: str) -> Row | None:
    suite = edition.suite(task.card.name)
    index = Index.of(store.rows.every(), rule, ranked=suite is None or suite.ranked, edition=edition)
    return index.cells(method, task.name, budget).get(seed)
