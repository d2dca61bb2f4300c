"""What to use on a task: the methods that cannot be told from the best on the board's tasks most like it.

The nearest tasks are weighted by how like they are (`similarity`); a method's gain there is its gain here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from tlbench.board.similarity import Sketch, differences
from tlbench.errors import UsageError
from tlbench.methods import references
from tlbench.methods.references import COPY, REFERENCES
from tlbench.results import frame, wording
from tlbench.results.grid import POOLED
from tlbench.results.index import Index
from tlbench.results.rounding import settled, tiers
from tlbench.results.rounding import weighted as weighted_sum
from tlbench.results.run_table import paired
from tlbench.results.stats import Estimate, verdict
from tlbench.tasks import problems
from tlbench.tasks.card import Budget
from tlbench.tasks.task_name import suite_of

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
            name, index.edition.family(suite_of(name)), rank / sum(ranks), far, parts,
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


LIKELY = 0.5  # share of the weight of the nearest tasks on which a method does harm


@dataclass(frozen=True)
class Candidate:
    """A method on the nearest tasks. Points, weighted; ± is a 95 % interval."""

    method: str
    family: str
    gain: float  # over the reference
    gain_pm: float
    behind: float  # the best's gain less its own
    behind_pm: float
    harmed: int  # of the tasks; see `harms`
    harmed_weight: float
    tested: int  # of those, shown by a test
    worst: float  # its gain on the task where that is least

    @property
    def likely_harm(self) -> bool:
        return settled(self.harmed_weight) >= LIKELY


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
        UsageError: the board has no rows at that budget, or on no task of that regime.
    """
    reference = references.of(budget)
    index.check_budget(budget)
    if not problems.of(task.regime).metrics[0].in_percent:
        raise UsageError(f"{task.task} is {task.regime}: errors in units of their own have no mean over tasks")
    near = nearest(index, task, sketches, budget, reference)
    if not near:
        raise UsageError(
            f"no rows at budget {budget} on a task that is {task.regime}; nothing can be said of {task.task}"
        )
    whole, unranked = _whole(index, near, reference, budget)
    gains = {m: _gain(index, near, m, reference, budget) for m in whole}
    place = dict(zip(whole, tiers([gains[m].mean for m in whole]), strict=True))
    best = min(whole, key=lambda m: (place[m], m))
    found = [_candidate(index, near, m, best, reference, budget, gains[m]) for m in whole]
    found.sort(key=lambda c: (place[c.method], c.method))
    advised = [c for c in found if settled(c.behind - c.behind_pm) <= 0 or c.method == best]
    risky = [c for c in found if c.likely_harm]
    notes = _notes(near, gains[best], advised, reference, task, index.edition.protocol.margin)
    worse = len(found) - len(advised)
    return Recommendation(
        task, budget, reference, near, tuple(advised), tuple(reversed(risky)), worse, unranked, notes
    )  # fmt: skip


def _whole(index: Index, near: Sequence[Neighbour], reference: str, budget: Budget) -> tuple[list[str], int]:
    """The methods with cells on all of the tasks, none failed; and how many are not."""
    whole, unranked = [], 0
    for m in methods(index):
        cells = [index.cells(m, n.task, budget) for n in near]
        beside = [difference(index, n.task, m, reference, budget)[1] for n in near]
        if all(beside) and all(r.ok for own in cells for r in own.values()):
            whole.append(m)
        else:
            unranked += any(cells)
    return whole, unranked


def _gain(index: Index, near: Sequence[Neighbour], method: str, reference: str, budget: Budget) -> Estimate:
    return weighted(near, [difference(index, n.task, method, reference, budget)[0] for n in near])


def _candidate(
    index: Index, near: Sequence[Neighbour], method: str, best: str, reference: str, budget: Budget, gain: Estimate
) -> Candidate:
    behind = weighted(near, [difference(index, n.task, best, method, budget)[0] for n in near])
    own = [difference(index, n.task, method, reference, budget) for n in near]
    margin = index.edition.protocol.margin
    gaps = [(Estimate(-e.mean, e.se, e.df), seeds) for e, seeds in own]
    said = ["no" if method == reference else verdict(gap, seeds, margin) for gap, seeds in gaps]
    harmed = [harms(s, e.mean, n.floor) for s, (e, _), n in zip(said, own, near, strict=True)]
    return Candidate(
        method, methods(index)[method], gain.mean, gain.half_width(), behind.mean, behind.half_width(), sum(harmed),
        sum(n.weight for n, h in zip(near, harmed, strict=True) if h), said.count("yes"),
        min(e.mean for e, _ in own),
    )  # fmt: skip


def harms(said: str, gain: float, floor: float | None) -> bool:
    """Whether a method counts as harmed on a task: below the reference by more than the edition's margin as a test
    shows, or as none does, but further than the reference's second copy lies from it, above or below.

    Args:
        said: `stats.verdict`
        gain: over the reference, in points
        floor: the second copy's gain; None where it was not run
    """
    return said == "yes" or (not said.startswith("no") and (floor is None or settled(-gain - abs(floor)) > 0))


def _notes(
    near: Sequence[Neighbour],
    best: Estimate,
    advised: Sequence[Candidate],
    reference: str,
    task: Sketch,
    margin: float,
) -> tuple[str, ...]:
    """What a reader must know of it."""
    families = {n.family for n in near}
    where = wording.count(len(families), "dataset family", "dataset families")
    notes = [f"evidence from {wording.count(len(near), 'task')} of {where}, not from yours"]
    if any(n.task == task.task for n in near):
        notes = [f"evidence from {wording.count(len(near), 'task')} of {where}, this very task among them"]
    if len(families) < wording.LEAST_FAMILIES:
        notes.append(f"± is for these tasks; {where} cannot say how far yours may lie off: run the first few yourself")
    if settled(best.mean - best.half_width()) <= 0 or settled(best.mean) <= margin:
        notes.append(f"no method is shown to gain over {reference} here")
    if both := sum(c.likely_harm for c in advised):
        notes.append(
            f"negative transfer is likely all the same with {both} of the {len(advised)} not distinguishable from the "
            "best"
        )
    if any(n.parts["paradigm"] for n in near):
        notes.append("some of the nearest tasks have another transfer setting")
    if all(n.parts["family"] for n in near):
        notes.append("none of these tasks is on data of your task's family")
    if task.shift is None:
        notes.append("the distance of your domains was not measured")
    return tuple(notes)
