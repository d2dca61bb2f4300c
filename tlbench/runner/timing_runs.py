"""A timing session: cells one at a time, their references among them; the machine is measured around each repeat."""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any

from tlbench.methods import references
from tlbench.results.timings import COLUMNS, Timing, Timings, is_noisy
from tlbench.runner import descriptions, machine, record
from tlbench.runner.cell import Cell
from tlbench.runner.cell_job import Bench
from tlbench.runner.executors import Executor, ServerDied, forget
from tlbench.runner.plan import Plan, Request, refusal
from tlbench.runner.sandbox.sandbox import Limits
from tlbench.runner.sweep import provenance

SEEDS = (0, 1, 2)  # the repeats
CLOCKS = ("setup_s", "rest_s", "child_s")  # of a worker's report, that a row has no columns for
Tell = Callable[[int, int, float | None, str], None]


def cells(plan: Plan, request: Request) -> list[Cell]:
    """Seed by seed, so that a slow minute meets every method; beside them what judges them, whoever asked for it."""
    wanted = {descriptions.absolute(name) for name in request.methods}
    asked = {c: None for e in plan.entries if e.method.spec in wanted for c in e.cells}
    places = {(c.task.card.name, c.task.target, c.budget) for c in asked}
    judges = {
        c: None for e in plan.entries for c in e.cells
        if e.method.name == references.of(c.budget) and (c.task.card.name, c.task.target, c.budget) in places
    }  # fmt: skip
    return sorted((c for c in asked | judges if not refusal(c)), key=lambda c: c.seed)


def refusals(plan: Plan) -> list[str]:
    """Why cells of a request are not timed, known beforehand; each reason once."""
    return list(dict.fromkeys(why for e in plan.entries for c in e.cells if (why := refusal(c))))


@dataclass
class Session:
    """Times cells; `run` stores them. `failed` and `refused` say of each cell that has no timing why."""

    bench: Bench
    workers: Executor
    limits: Limits
    tell: Tell = field(default=lambda done, of, left, label: None)
    failed: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    def run(self, todo: list[Cell], timings: Timings) -> list[Timing]:
        """Time cells that come seed by seed. A repeat is stored once the machine has been measured again after it:
        a session that dies loses no repeat but the one under way."""
        self.bench.prepare(todo, self.workers)
        about = {"session": secrets.token_hex(8), **machine.about(self.workers, self.bench.conditions.device)}
        found, before = list[Timing](), self._probes()
        for _, repeat in groupby(enumerate(todo), key=lambda at: at[1].seed):
            made, after = list[dict[str, Any]](), None
            try:
                for i, cell in repeat:
                    self.tell(i, len(todo), None, cell.label)
                    made += self._timed(cell)
                after = self._probes()
            finally:  # of a repeat that is interrupted, what was timed is kept, and ranked nowhere
                measured = _machine(before, after)
                of_repeat = [Timing(**{**about, **measured, **values}) for values in made]
                timings.extend(of_repeat)
                found += of_repeat
            before = after
        return found

    def _probes(self) -> dict[str, float]:
        where = self.bench.conditions
        return machine.calibrated(self.workers, where.device, where.threads, whole=False)

    def _timed(self, cell: Cell) -> list[dict[str, Any]]:
        """One cell's columns; none where it failed."""
        self.workers.warm(wait=True)
        folder, runs = self.workers.folder(), machine.other_runs()
        job = {**self.bench.job(cell, self.workers, folder), "timed": True}
        look, start = machine.Look.now(), time.perf_counter()
        try:
            self.workers.submit(job, folder, self.limits)
            ended = self.workers.wait()
        except ServerDied:
            self.workers.restart()
            self.failed.append(f"{cell.label}: took the worker server down with it")
            return []
        wall, seen = time.perf_counter() - start, machine.Look.now()
        row = record.row(self.bench, cell, ended, provenance(), 1, wall)
        forget(ended)
        clocks = {name: ended.report.get(name) for name in (*CLOCKS, "cpu_s")}
        if not row.ok or not all(isinstance(v, float) and 0 <= v < math.inf for v in clocks.values()):
            left = self.refused if row.status == "refused" else self.failed
            left.append(f"{cell.label}: {row.reason or 'its report is not one of a worker'}")
            return []
        others = machine.others(look, seen, float(clocks.pop("cpu_s") or 0.0), wall, self.bench.conditions.threads)
        values = {
            **row.values(), **clocks,
            "others": round(others, 3), "runs": runs, "contended": bool(runs) or others > machine.MOST_BUSY,
        }  # fmt: skip
        return [{name: values[name] for name in COLUMNS if name in values}]


def _machine(before: dict[str, float], after: dict[str, float] | None) -> dict[str, Any]:
    """A repeat's columns that its two measurements of the machine fill."""
    scores = machine.score(before), machine.score(after) if after else None
    return {
        "score_before": scores[0], "score_after": scores[1], "noisy": is_noisy(*scores),
        "r0_s": min(probes["r0_300"] for probes in (before, after or before)),
    }  # fmt: skip


def requested(request: Request) -> Request:
    """With seeds 0, 1 and 2 where none are named."""
    return request if request.seeds else replace(request, seeds=SEEDS)
