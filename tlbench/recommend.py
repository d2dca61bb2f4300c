"""What to use on a task: the methods that cannot be told from the best on the board's tasks most like it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from tlbench import frame, wording
from tlbench.card import Budget
from tlbench.index import Index
from tlbench.mistake import Mistake
from tlbench.references import SOURCE_ONLY, TARGET_ONLY
from tlbench.report import paired
from tlbench.similarity import Sketch, differences
from tlbench.stats import MARGIN, Estimate, verdict

NEAREST = 5  # tasks
CANDIDATES = (TARGET_ONLY, SOURCE_ONLY, "source_plus_target")  # of the references; chance and the skyline are none
LIKELY = 0.5  # share of the weight of the nearest tasks on which a method does harm


@dataclass(frozen=True)
class Neighbour:
    """A task of the board that counts, and how much."""

    task: str
    family: str  # the dataset family
    weight: float  # 1 over its rank, the weights adding up to 1
    unlikeness: float
    parts: dict[str, float]  # of the unlikeness


@dataclass(frozen=True)
class Candidate:
    """A method on the nearest tasks. Points, weighted; ± is a 95 % interval."""

    method: str
    family: str
    gain: float  # over the reference
    gain_pm: float
    behind: float  # the best's gain less its own
    behind_pm: float
    harmed: int  # of the tasks, more than a point below the reference
    harmed_weight: float
    tested: int  # of those, shown by a test
    worst: float  # its gain on the task where that is least

    @property
    def likely_harm(self) -> bool:
        return self.harmed_weight >= LIKELY


@dataclass(frozen=True)
class Recommendation:
    """The answer and what it stands on."""

    task: Sketch
    budget: Budget
    reference: str
    neighbours: tuple[Neighbour, ...]
    advised: tuple[Candidate, ...]  # not distinguishable from the best, which comes first
    risky: tuple[Candidate, ...]  # negative transfer is likely
    others: int  # methods shown to be worse than the best
    unranked: int  # methods without an ok cell on each of the tasks
    notes: tuple[str, ...]


def recommend(index: Index, task: Sketch, sketches: Iterable[Sketch], budget: Budget) -> Recommendation:
    """The advice for a task at a budget, from rows on the tasks of `sketches`.

    Raises:
        Mistake: the board has no rows at that budget, or on no task of that regime.
    """
    reference = SOURCE_ONLY if budget == 0 else TARGET_ONLY
    index.check_budget(budget)
    if task.regime == "regression":
        raise Mistake(f"{task.task} is regression: errors in units of their own have no mean over tasks")
    near = nearest(index, task, sketches, budget, reference)
    if not near:
        raise Mistake(f"no rows at budget {budget} on a task that is {task.regime}; nothing can be said of {task.task}")
    whole, unranked = _whole(index, near, reference, budget)
    gains = {m: _gain(index, near, m, reference, budget) for m in whole}
    best = max(whole, key=lambda m: (gains[m].mean, m))
    found = [_candidate(index, near, m, best, reference, budget, gains[m]) for m in whole]
    found.sort(key=lambda c: (-c.gain, c.method))
    advised = [c for c in found if c.behind <= c.behind_pm or c.method == best]
    risky = [c for c in found if c.likely_harm]
    notes = _notes(near, gains[best], reference, task)
    worse = len(found) - len(advised)
    return Recommendation(
        task, budget, reference, near, tuple(advised), tuple(reversed(risky)), worse, unranked, notes
    )  # fmt: skip


def nearest(
    index: Index, task: Sketch, sketches: Iterable[Sketch], budget: Budget, reference: str
) -> tuple[Neighbour, ...]:
    """The tasks most like one, of those on which the reference and something else was measured."""
    found = []
    for s in sketches:
        parts = differences(task, s)
        others = [m for m in _methods(index) if m != reference and index.cells(m, s.task, budget)]
        own = index.cells(reference, s.task, budget).values()
        if parts is not None and own and all(r.ok for r in own) and others:
            found.append((sum(parts.values()), s.task, parts))
    found.sort(key=lambda x: x[:2])
    ranks = [1 / (i + 1) for i in range(min(NEAREST, len(found)))]
    return tuple(
        Neighbour(name, frame.group(name.partition("/")[0]), rank / sum(ranks), far, parts)
        for rank, (far, name, parts) in zip(ranks, found, strict=False)
    )


def _methods(index: Index) -> dict[str, str]:
    """Method -> algorithm family of what can be advised."""
    families = {m: next(iter(seeds.values())).family for (m, _, _), seeds in index.held.items()}
    return {m: f for m, f in sorted(families.items()) if f != "reference" or m in CANDIDATES}


def _whole(index: Index, near: Sequence[Neighbour], reference: str, budget: Budget) -> tuple[list[str], int]:
    """The methods with cells on all of the tasks, none failed; and how many are not."""
    whole, unranked = [], 0
    for m in _methods(index):
        cells = [index.cells(m, n.task, budget) for n in near]
        beside = [_difference(index, n.task, m, reference, budget)[1] for n in near]
        if all(beside) and all(r.ok for own in cells for r in own.values()):
            whole.append(m)
        else:
            unranked += any(cells)
    return whole, unranked


def _difference(index: Index, task: str, first: str, second: str, budget: Budget) -> tuple[Estimate, int]:
    a, b = index.cells(first, task, budget), index.cells(second, task, budget)
    seeds = sorted(a.keys() & b.keys())
    found = paired([a[s] for s in seeds], [b[s] for s in seeds])
    return found or (Estimate(float("nan"), float("nan"), 1.0), 0)


def _gain(index: Index, near: Sequence[Neighbour], method: str, reference: str, budget: Budget) -> Estimate:
    return weighted(near, [_difference(index, n.task, method, reference, budget)[0] for n in near])


def weighted(near: Sequence[Neighbour], own: Sequence[Estimate]) -> Estimate:
    """The weighted mean of the tasks' estimates; with its error for new seeds and test examples of these tasks. Tasks
    with a target in common have its shots, reference and test samples in common: their errors add up as one.

    From four dataset families on, where one can tell how far they lie apart, the larger of that and of the error over
    the families: a new task is of another one.
    """
    w = np.array([n.weight for n in near])
    mean = float(sum(w * [e.mean for e in own]))
    errors: dict[str, float] = defaultdict(float)
    for n, e in zip(near, own, strict=True):
        suite, _, pair = n.task.partition("/")
        errors[f"{suite}/{pair.rpartition('-')[2]}"] += n.weight * e.se
    within = sum(error**2 for error in errors.values())
    families: dict[str, list[int]] = defaultdict(list)
    for i, n in enumerate(near):
        families[n.family].append(i)
    shares = {f: float(w[rows].sum()) for f, rows in families.items()}
    if len(families) >= wording.LEAST_FAMILIES:
        off = {f: sum(w[i] * own[i].mean for i in rows) / shares[f] - mean for f, rows in families.items()}
        spread = sum((shares[f] * off[f]) ** 2 for f in families) / (1 - sum(s**2 for s in shares.values()))
        if spread > within:
            return Estimate(mean, float(spread) ** 0.5, len(families) - 1)
    return Estimate(mean, within**0.5, min(e.df for e in own))


def _candidate(
    index: Index, near: Sequence[Neighbour], method: str, best: str, reference: str, budget: Budget, gain: Estimate
) -> Candidate:
    behind = weighted(near, [_difference(index, n.task, best, method, budget)[0] for n in near])
    own = [_difference(index, n.task, method, reference, budget) for n in near]
    said = ["no" if method == reference else verdict(Estimate(-e.mean, e.se, e.df), seeds) for e, seeds in own]
    harmed = [not s.startswith("no") for s in said]
    return Candidate(
        method, _methods(index)[method], gain.mean, gain.half_width(), behind.mean, behind.half_width(), sum(harmed),
        sum(n.weight for n, h in zip(near, harmed, strict=True) if h), said.count("yes"),
        min(e.mean for e, _ in own),
    )  # fmt: skip


def _notes(near: Sequence[Neighbour], best: Estimate, reference: str, task: Sketch) -> tuple[str, ...]:
    """What a reader must know of it."""
    families = {n.family for n in near}
    where = wording.count(len(families), "dataset family", "dataset families")
    notes = [f"evidence from {wording.count(len(near), 'task')} of {where}, not from yours"]
    if any(n.task == task.task for n in near):
        notes = [f"evidence from {wording.count(len(near), 'task')} of {where}, this very task among them"]
    if len(families) < wording.LEAST_FAMILIES:
        notes.append(f"± is for these tasks; {where} cannot say how far yours may lie off: run the first few yourself")
    if best.mean - best.half_width() <= 0 or best.mean <= MARGIN:
        notes.append(f"no method is shown to gain over {reference} here: it is the safe choice")
    if any(n.parts["paradigm"] for n in near):
        notes.append("some of the nearest tasks are of another paradigm")
    if task.shift is None:
        notes.append("the distance of your domains was not measured")
    return tuple(notes)
