"""Controls of a submitted method: runs whose answer is known whatever the method is, unless it knows the labels.

**Labels renamed.** Every label that the method is given, of sources and shots, is class c + 1 instead of c (mod the
number of classes). Who learns from labels answers in the new names: against the true labels it falls to chance or
below, and against the renamed ones it scores what it scored before. Who has the true labels from elsewhere goes on
telling them. Renaming is a permutation of labels that leaves the task exactly as hard, so that a part of the answers
being known shows too; shuffled labels would hide it at few shots, where chance alone swings by tens of points.

**Placebo.** A task whose target labels are coin flips of SHA-256, drawn with a seed that nobody could foresee: nothing
can be right more often than a coin, but what reads the labels in the process that scores or in its files.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tlbench.methods.method import Description
from tlbench.results import predictions
from tlbench.results.row import Row
from tlbench.runner import plan, task_data
from tlbench.runner.cell import Cell
from tlbench.runner.cell_job import Bench
from tlbench.runner.executors import Executor
from tlbench.tasks import registry
from tlbench.verification.submissions.inspection import ACCEPT, QUESTION, REJECT, Check, Deviations, spread

PLACEBO, PLACEBO_BUDGET = "cal10/ideal-placebo", 5
Z_CHANCE = 3.0  # errors above chance that a method may lie which was told other names
Z_FALL = 2.5  # errors of the mean fall under other names
Z_PLACEBO = 3.72  # one-sided 1e-4


@dataclass
class Renamed(Bench):
    """A bench that tells a method other labels than the true ones: class c is called c + `by`."""

    by: int = 1

    def job(self, cell: Cell, workers: Executor, folder: Path) -> dict[str, Any]:
        job = super().job(cell, workers, folder)
        k = cell.task.card.problem.outputs(self.split(cell.task, cell.seed).domain, cell.task.card)
        with np.load(folder / "rows.npz", allow_pickle=False) as held:
            rows = dict(held)
        rows["labels"] = (rows["labels"] + self.by) % k
        np.savez(folder / "rows.npz", **rows)
        if not cell.task.card.same_task:
            return job
        return {**job, "sources": [{**source, "y": str(self._told(source["y"], k))} for source in job["sources"]]}

    def _told(self, labels: str, k: int) -> Path:
        """A source's labels under other names, in a file like any other: the method must not see that it is tested."""
        y = np.load(labels, allow_pickle=False)
        return task_data.pack((y + self.by) % k, np.arange(len(y)), f"{labels} + {self.by}", "labels")


def renames(cell: Cell) -> bool:
    """Whether a cell has labels whose names are the target's: classes, and shots or such a source."""
    c = cell.task.card
    return c.regime == "classification" and (cell.budget != 0 or (c.same_task and bool(cell.task.sampled)))


def renamed(
    cell: Cell, row: Row, again: Row, answers: predictions.Array, bench: Renamed, known: Deviations
) -> tuple[Check, float]:
    """One cell under other names. Args: `again` its row there, `known` what seeds do on the board. Also returns how
    far its score falls, in spreads."""
    split = bench.split(cell.task, cell.seed)
    problem, card = cell.task.card.problem, cell.task.card
    y, k = problem.truth(split, cell.budget), problem.outputs(split.domain, card)
    knows, follows = float(again.value or 0), float((answers == (y + bench.by) % k).mean())
    chance = float(np.bincount(y, minlength=k).max()) / len(y)
    limit = chance + Z_CHANCE * math.sqrt(chance * (1 - chance) / len(y))
    was, s = float(row.value or 0), math.sqrt(2) * spread(row, known)
    said = (
        f"{row.task}, k = {row.budget}, seed {row.seed}: {100 * was:.1f} % in the bundle; told other names, "
        f"{100 * follows:.1f} % by these and {100 * knows:.1f} % by the true ones (chance {100 * chance:.1f} %)"
    )
    if knows > limit and knows > follows:
        return Check("labels renamed", REJECT, f"{said}: it knows labels it was not told"), (was - follows) / s
    if abs(follows - was) > 4 * s or knows > limit:
        told = Check("labels renamed", QUESTION, f"{said}: it does not go by the labels it was told")
        return told, (was - follows) / s
    return Check("labels renamed", ACCEPT, said), (was - follows) / s


def fall(z: Sequence[float]) -> list[Check]:
    """What is said where a method falls a little in every cell under other names."""
    together = sum(z) / math.sqrt(len(z)) if z else 0.0
    if together <= Z_FALL:
        return []
    return [Check("labels renamed", QUESTION, f"all together {together:+.1f} errors lower under other names")]


def placebo_cell(method: Description, seed: int) -> Cell:
    return plan.cell(registry.find(PLACEBO)[0], method, PLACEBO_BUDGET, seed)


def placebo(row: Row) -> Check:
    """The verdict on the placebo's row."""
    if row.status == "refused":
        return Check("placebo", QUESTION, f"refused: {row.reason}")
    if not row.ok or row.value is None:
        return Check("placebo", QUESTION, f"failed: {row.reason}")
    limit = 0.5 + Z_PLACEBO * 0.5 / math.sqrt(row.n_test)
    said = f"{100 * row.value:.2f} % of {row.n_test} coin flips (limit {100 * limit:.2f} %)"
    return Check("placebo", REJECT if row.value > limit else ACCEPT, said)
