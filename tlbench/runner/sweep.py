"""The engine: cells that are not in the store are run, scored and stored, several at a time."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from statistics import fmean
from typing import Any

import tlbench
from tlbench.errors import UsageError
from tlbench.files import CHECKOUT
from tlbench.results import predictions
from tlbench.results.row import Row
from tlbench.results.store import Store
from tlbench.runner import plan, record, scoring
from tlbench.runner import plan as plans
from tlbench.runner.cell import Cell
from tlbench.runner.cell_job import Bench
from tlbench.runner.executors import Ended, Executor, ServerDied, forget, usable_cores
from tlbench.runner.sandbox.sandbox import Limits
from tlbench.runner.selection import search
from tlbench.tasks.card import Budget, Task


@dataclass
class Sweep:
    """A list of cells on its way into a store.

    Args:
        jobs: cells at the same time, of those that the place has slots for
        tell: called with (done, of, seconds left or None, label) whenever something ended
    """

    cells: Sequence[Cell]
    bench: Bench
    store: Store
    workers: Executor
    jobs: int = 1
    limits: Limits = field(default_factory=Limits)
    retry_failed: bool = False
    tell: Callable[[int, int, float | None, str], None] = field(default=lambda done, of, left, label: None)
    kept: Path | None = None  # the folder that holds the trials' predictions; None: the store's
    predictions: Path | None = None  # a folder for the answers of every cell; None keeps none
    computed: list[Row] = field(default_factory=list)
    _seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    _references: dict[tuple[str, Task, Budget], list[Cell]] | None = None
    _idle_deaths: int = 0  # of the server, one after the other, with nothing to blame

    def __post_init__(self) -> None:
        self.jobs = min(self.jobs, self.workers.slots or self.jobs)

    def missing(self) -> list[Cell]:
        """The cells without a row, or without the predictions that are to be kept; with `retry_failed`, also those
        whose row is a failure."""
        return [c for c in self.cells if self._lacks(c)]

    def _lacks(self, cell: Cell) -> bool:
        row = self.store.rows.get(self.bench.key(cell))
        if row is None or (row.ok and search.keeps(cell) and not self._kept(cell).exists()):
            return True
        if row.ok and self.predictions and not predictions.file(self.predictions, row.key).exists():
            return True
        return self.retry_failed and row.status == "failed"

    def _kept(self, cell: Cell) -> Path:
        return search.file(self.kept or self.store.folder, self.bench.key(cell))

    def run(self) -> None:
        """Run what is missing. Every finished cell is stored before the next one starts."""
        todo = deque(self.missing())
        of = len(todo)
        try:
            self.bench.prepare((c for c in todo if not plan.refusal(c)), self.workers)
        except ServerDied:
            raise UsageError(
                "the worker server died while it prepared the inputs; is there memory? try again"
            ) from None
        running: dict[int, tuple[Cell, float]] = {}
        alone: set[Cell] = set()  # in flight when the server died: tried once more, one at a time
        while todo or running:
            try:
                while todo and len(running) < (1 if todo[0] in alone or self._has(alone, running) else self.jobs):
                    self._start(todo[0], running)
                    todo.popleft()  # only now: the server may be found dead at the start
                if not running:
                    self.tell(of - len(todo), of, self._left(todo, running), "")
                    continue
                ended = self.workers.wait()
            except ServerDied:
                self._after_death(todo, running, alone)
                continue
            cell, started = running.pop(ended.id)
            self._finish(cell, ended, time.perf_counter() - started)
            self.tell(of - len(todo) - len(running), of, self._left(todo, running), cell.label)

    @staticmethod
    def _has(alone: set[Cell], running: dict[int, tuple[Cell, float]]) -> bool:
        return any(cell in alone for cell, _ in running.values())

    def _start(self, cell: Cell, running: dict[int, tuple[Cell, float]]) -> None:
        self.store.refresh()
        if not self._lacks(cell):
            return  # another run on this store was faster
        if why := plan.refusal(cell):
            self._keep(record.described(self.bench, cell, "refused", why, provenance()))
            return
        self.workers.warm(wait=True)  # its start-up is nobody's time
        started, folder = time.perf_counter(), self.workers.folder()
        job = self.bench.job(cell, self.workers, folder)
        if search.keeps(cell):
            job["kept"] = search.asked(self.bench, cell, self.workers)
        running[self.workers.submit(job, folder, self._limits(cell))] = (cell, started)

    def _limits(self, cell: Cell) -> Limits:
        if not search.keeps(cell):
            return self.limits
        limits = replace(self.limits, seconds=self.limits.seconds * (1 + search.n_folds(cell)))
        most = search.patience(cell, self._reference_s(cell)) if cell.trial else limits.seconds
        why = f"{search.PATIENCE:g} times what its reference takes"
        return replace(limits, seconds=most, why=why) if most < limits.seconds else limits

    def _reference_s(self, cell: Cell) -> list[float]:
        """What the published default of the cell's reference took, of the seeds that were run before."""
        if self._references is None:
            self._references = defaultdict(list)
            for c in self.cells:
                if not c.trial:
                    self._references[c.method.name, c.task, c.budget].append(c)
        alike = self._references.get(plans.reference_of(cell), [])
        rows = [self.store.rows.get(self.bench.key(c)) for c in alike]
        return [r.fit_s for r in rows if r is not None and r.ok and r.fit_s is not None]

    def _finish(self, cell: Cell, ended: Ended, wall: float) -> None:
        self._seconds[cell.method.name].append(wall)
        self._idle_deaths = 0
        row = record.row(self.bench, cell, ended, provenance(), self.jobs, wall)
        if row.ok and search.keeps(cell):
            try:
                search.keep(self._kept(cell), self.bench, cell, ended, self.workers)
            except ValueError as error:
                jail = {"jail": ended.jail}
                row = record.described(self.bench, cell, "failed", str(error), provenance(), self.jobs, jail)
        if row.ok and self.predictions:
            told = scoring.predicted(ended.folder / "scores.npy", self.bench.split(cell.task, cell.seed), cell.budget)
            predictions.keep(predictions.file(self.predictions, row.key), told)
        forget(ended)
        self._keep(row)

    def _keep(self, row: Row) -> None:
        self.store.append(row)
        self.computed.append(row)

    def _after_death(self, todo: deque[Cell], running: dict[int, tuple[Cell, float]], alone: set[Cell]) -> None:
        self._idle_deaths += not running
        if self._idle_deaths > 2:
            raise UsageError("the worker server does not stay up; its last words are above, `tlbench doctor` says more")
        for cell, _ in running.values():
            if cell in alone:
                why = "took the worker server down with it, twice"
                self._keep(record.described(self.bench, cell, "failed", why, provenance()))
            else:
                alone.add(cell)
                todo.appendleft(cell)
        running.clear()
        self.workers.restart()

    def _left(self, todo: Sequence[Cell], running: dict[int, tuple[Cell, float]]) -> float | None:
        """Seconds to go, by what each method's cells took so far."""
        if not self._seconds:
            return None
        overall = fmean(s for seconds in self._seconds.values() for s in seconds)
        waiting = [*todo, *(cell for cell, _ in running.values())]
        known = self._seconds
        return sum(fmean(known[c.method.name]) if c.method.name in known else overall for c in waiting) / self.jobs


def provenance() -> dict[str, Any]:
    """The columns that say where and when a row was made."""
    return {**_fixed_provenance(), "time": datetime.now(UTC).isoformat(timespec="seconds")}


@cache
def _fixed_provenance() -> dict[str, Any]:
    commit, dirty = _checkout()
    return {
        "tlbench": tlbench.__version__,
        "torch": version("torch"),
        "python": platform.python_version(),
        "machine": f"{_processor()}, {usable_cores()} cores, {platform.system()}",
        "commit": commit,
        "dirty": dirty,
    }


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine()
    return next(
        (s.partition(":")[2].strip() for s in text.splitlines() if s.startswith("model name")),
        platform.machine(),
    )


def _checkout() -> tuple[str | None, bool | None]:
    """Commit of the checkout tlbench runs from, and whether it has uncommitted changes; None for an installed one."""
    if not (CHECKOUT / ".git").exists():
        return None, None
    try:
        commit = _git(CHECKOUT, "rev-parse", "HEAD")
        return commit, bool(
            _git(CHECKOUT, "status", "--porcelain", "--untracked-files=no", "--", "tlbench", "baselines", "tasks")
        )
    except (OSError, subprocess.CalledProcessError):
        return None, None


def _git(root: Path, *words: str) -> str:
    done = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def threads_for(jobs: int) -> int:
    """Threads a cell: the cores shared out evenly."""
    return max(1, usable_cores() // jobs)


def default_jobs(device: str) -> int:
    """As many cells at a time as there are cores, at one thread each; one at a time on a GPU."""
    return 1 if device.startswith("cuda") else usable_cores()


def resolve_device(name: str) -> str:
    """'auto' is the first GPU where there is one, else the CPU.

    Raises:
        UsageError: a GPU is asked for that is not there.
    """
    if name == "cpu":
        return name
    found = _gpus()
    if name == "auto":
        return "cuda:0" if found else "cpu"
    index = name.partition(":")[2] or "0"
    if not name.startswith("cuda") or not index.isdigit():
        raise UsageError(f"--device {name}: unknown; choose auto, cpu, cuda or cuda:N")
    if int(index) >= found:
        raise UsageError(f"--device {name}: this machine shows {found} GPUs; choose cpu or auto")
    return f"cuda:{index}"


def _gpus() -> int:
    """NVIDIA devices the driver shows, without importing torch for it."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    there = len([p for p in Path("/dev").glob("nvidia*") if p.name.removeprefix("nvidia").isdigit()])
    return min(there, len([v for v in visible.split(",") if v.strip()])) if visible is not None else there
