"""The tasks of the board that are most like one, how much each counts, and what a method gains on them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from tlbench.board.similarity import Sketch, differences
from tlbench.methods.references import COPY, REFERENCES
from tlbench.results import frame, wording
from tlbench.results.grid import POOLED
from tlbench.results.index import Index
from tlbench.results.rounding import settled
from tlbench.results.rounding import weighted as weighted_sum
from tlbench.results.run_table import paired
from tlbench.results.stats import Estimate
from tlbench.tasks.card import Budget

NEAREST = 5  # tasks
CANDIDATES = (*REFERENCES, POOLED)  # of the references; chance and the skyline are none


@dataclass(frozen=True)
class Neighbour:
    """A task of the board that counts, and how much."""

    task: str
    family: str  # the dataset family
    weight: float  # 1 over its rank, the weights adding up to 1
    unlikeness: float
    parts: dict[str, float]  # of the unlikeness
    floor: float | None = None  # the reference's second copy over the reference, in points; None where it was not run


def nearest(
    index: Index, task: Sketch, sketches: Iterable[Sketch], budget: Budget, reference: str
) -> tuple[Neighbour, ...]:
    """The tasks most like one, of those on which the reference and something else was measured."""
    found, known = [], methods(index)
    for s in sketches:
        parts = differences(task, s)
        others = [m for m in known if m != reference and index.cells(m, s.task, budget)]
        own = index.cells(reference, s.task, budget).values()
        if parts is not None and own and all(r.ok for r in own) and others:
            found.append((settled(sum(parts.values())), s.task, parts))
    found.sort(key=lambda x: x[:2])
    ranks = [1 / (i + 1) for i in range(min(NEAREST, len(found)))]
    return tuple(
        Neighbour(
            name, index.edition.family(name.partition("/")[0]), rank / sum(ranks), far, parts,
            _floor(index, name, reference, budget),
        )
        for rank, (far, name, parts) in zip(ranks, found, strict=False)
    )  # fmt: skip


def _floor(index: Index, task: str, reference: str, budget: Budget) -> float | None:
    copy, seeds = difference(index, task, COPY[reference], reference, budget)
    return copy.mean if seeds else None


def methods(index: Index) -> dict[str, str]:
    """Method -> algorithm family of what can be advised."""
    families = {m: next(iter(seeds.values())).family for (m, _, _), seeds in index.held.items()}
    return {m: f for m, f in sorted(families.items()) if f != "reference" or m in CANDIDATES}


def difference(index: Index, task: str, first: str, second: str, budget: Budget) -> tuple[Estimate, int]:
    """The first less the second on a task, in points, and on how many seeds that stands; of none it is not a number."""
    a, b = index.cells(first, task, budget), index.cells(second, task, budget)
    seeds = sorted(a.keys() & b.keys())
    found = paired([a[s] for s in seeds], [b[s] for s in seeds])
    return found or (Estimate(float("nan"), float("nan"), 1.0), 0)


def weighted(near: Sequence[Neighbour], own: Sequence[Estimate]) -> Estimate:
    """The weighted mean of the tasks' estimates; with its error for new seeds and test examples of these tasks. Tasks
    with a target in common have its shots, reference and test samples in common: their errors add up as one.

    From four dataset families on, where one can tell how far they lie apart, the larger of that and of the error over
    the families: a new task is of another one.
    """
    w = np.array([n.weight for n in near])
    mean = float(weighted_sum([e.mean for e in own], w))
    errors: dict[str, float] = defaultdict(float)
    for n, e in zip(near, own, strict=True):
        errors[frame.by_itself(n.task)] += n.weight * e.se
    within = sum(error**2 for error in errors.values())
    families: dict[str, list[int]] = defaultdict(list)
    for i, n in enumerate(near):
        families[n.family].append(i)
    shares = {f: float(w[rows].sum()) for f, rows in families.items()}
    if len(families) >= wording.LEAST_FAMILIES:
        off = {f: sum(w[i] * own[i].mean for i in rows) / shares[f] - mean for f, rows in families.items()}
        spread = sum((shares[f] * off[f]) ** 2 for f in families) / (1 - sum(s**2 for s in shares.values()))
        if settled(spread - within) > 0:
            return Estimate(mean, float(spread) ** 0.5, len(families) - 1)
    return Estimate(mean, within**0.5, min(e.df for e in own))
