"""One cell fitted once more, its losses watched: the job of a run, of which no row is stored."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tlbench.errors import UsageError
from tlbench.results.row import Row
from tlbench.runner import plan, record
from tlbench.runner.cell import Cell
from tlbench.runner.cell_job import Bench
from tlbench.runner.executors import Ended, Executor, ServerDied, forget
from tlbench.runner.sandbox.sandbox import Limits
from tlbench.runner.sweep import provenance
from tlbench.runner.worker import loss_record
from tlbench.training.watching import Curve

Tell = Callable[[int, int, float | None, str], None]


@dataclass(frozen=True)
class Refit:
    """What a cell came to."""

    row: Row  # as a run would have stored it
    curve: Curve  # empty where no loop of the trainer's ran
    silent: str  # why it is empty, of a fit that is ok


def watched(cell: Cell, bench: Bench, workers: Executor, limits: Limits, tell: Tell) -> Refit:
    """Fit, predict and score a cell.

    Args:
        tell: called with (steps done, of, seconds left or None, label)

    Raises:
        UsageError: the method does not fit the cell, or what ran it died.
    """
    if why := plan.refusal(cell):
        raise UsageError(why)
    try:
        bench.prepare([cell], workers)
        workers.warm(wait=True)
        folder = workers.folder()
        files = {"progress": str(folder / "progress.txt"), "losses": str(folder / "losses.json")}
        start, job = time.perf_counter(), {**bench.job(cell, workers, folder), **files}
        number = workers.submit(job, folder, limits)
        ended = _awaited(number, cell, folder / "progress.txt", workers, tell)
    except ServerDied:
        raise UsageError(f"{cell.label}: took the worker server down with it; is there memory?") from None
    row = record.row(bench, cell, ended, provenance(), 1, time.perf_counter() - start)
    try:
        curve = loss_record.read(folder / "losses.json")
    except ValueError as error:
        if row.ok:
            raise UsageError(f"{cell.label}: {error}") from None
        curve = Curve()  # it was ended before it could write them
    finally:
        forget(ended)
    if row.status == "refused" or ended.report.get("status") == "mistake":
        raise UsageError(f"{cell.label}: {row.reason}")
    return Refit(row, curve, "" if curve.steps or not row.ok else _silent(cell, ended))


def _silent(cell: Cell, ended: Ended) -> str:
    if ended.report.get("step_ms") is not None:
        return f"{cell.label}: its optimisers' steps are taken outside the trainer's loop, where no losses are seen"
    if ended.report.get("train_steps"):
        return f"{cell.label}: it takes no step while it is fitted, all of them while it predicts"
    return f"{cell.label}: its fit takes no gradient step, so that there are no losses by step"


def _awaited(number: int, cell: Cell, counter: Path, workers: Executor, tell: Tell) -> Ended:
    """The job's end; until then the steps that its fit has taken."""
    loop, done, first = expected(cell), 0, None
    label = f"steps of {cell.method.name}, seed {cell.seed}"
    tell(0, loop, None, label)
    while (ended := workers.poll(0.2, number)) is None:
        done, now = max(done, loss_record.counted(counter)), time.monotonic()  # the file may be in the making
        if first is None and done:
            first = done, now
        of = whole(done, loop)
        left = (now - first[1]) / (done - first[0]) * (of - done) if first and done > first[0] else None
        tell(done, of, left, label)
    return ended


def expected(cell: Cell) -> int:
    """Steps of a loop: the method's own number, or the card's."""
    own = cell.method.config.get("steps")
    return own if isinstance(own, int) and own > 0 else cell.task.card.recipe.steps


def whole(done: int, loop: int) -> int:
    """Steps to expect once some are done: as many whole loops as hold them; nobody knows how many a method has."""
    return loop * max(1, -(-done // loop))
