"""What to use on a task: the methods that cannot be told from the best on the board's tasks most like it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tlbench.board.neighbours import Neighbour, difference, methods, nearest, weighted
from tlbench.board.similarity import Sketch
from tlbench.errors import Mistake
from tlbench.methods import references
from tlbench.results import wording
from tlbench.results.index import Index
from tlbench.results.rounding import settled, tiers
from tlbench.results.stats import MARGIN, Estimate, verdict
from tlbench.tasks.card import Budget

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
        Mistake: the board has no rows at that budget, or on no task of that regime.
    """
    reference = references.of(budget)
    index.check_budget(budget)
    if task.regime == "regression":
        raise Mistake(f"{task.task} is regression: errors in units of their own have no mean over tasks")
    near = nearest(index, task, sketches, budget, reference)
    if not near:
        raise Mistake(f"no rows at budget {budget} on a task that is {task.regime}; nothing can be said of {task.task}")
    whole, unranked = _whole(index, near, reference, budget)
    gains = {m: _gain(index, near, m, reference, budget) for m in whole}
    place = dict(zip(whole, tiers([gains[m].mean for m in whole]), strict=True))
    best = min(whole, key=lambda m: (place[m], m))
    found = [_candidate(index, near, m, best, reference, budget, gains[m]) for m in whole]
    found.sort(key=lambda c: (place[c.method], c.method))
    advised = [c for c in found if settled(c.behind - c.behind_pm) <= 0 or c.method == best]
    risky = [c for c in found if c.likely_harm]
    notes = _notes(near, gains[best], advised, reference, task)
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
    said = ["no" if method == reference else verdict(Estimate(-e.mean, e.se, e.df), seeds) for e, seeds in own]
    harmed = [harms(s, e.mean, n.floor) for s, (e, _), n in zip(said, own, near, strict=True)]
    return Candidate(
        method, methods(index)[method], gain.mean, gain.half_width(), behind.mean, behind.half_width(), sum(harmed),
        sum(n.weight for n, h in zip(near, harmed, strict=True) if h), said.count("yes"),
        min(e.mean for e, _ in own),
    )  # fmt: skip


def harms(said: str, gain: float, floor: float | None) -> bool:
    """Whether a method counts as harmed on a task: more than a point below the reference as a test shows, or as none
    does, but further than the reference's second copy lies from it, above or below.

    Args:
        said: `stats.verdict`
        gain: over the reference, in points
        floor: the second copy's gain; None where it was not run
    """
    return said == "yes" or (not said.startswith("no") and (floor is None or settled(-gain - abs(floor)) > 0))


def _notes(
    near: Sequence[Neighbour], best: Estimate, advised: Sequence[Candidate], reference: str, task: Sketch
) -> tuple[str, ...]:
    """What a reader must know of it."""
    families = {n.family for n in near}
    where = wording.count(len(families), "dataset family", "dataset families")
    notes = [f"evidence from {wording.count(len(near), 'task')} of {where}, not from yours"]
    if any(n.task == task.task for n in near):
        notes = [f"evidence from {wording.count(len(near), 'task')} of {where}, this very task among them"]
    if len(families) < wording.LEAST_FAMILIES:
        notes.append(f"± is for these tasks; {where} cannot say how far yours may lie off: run the first few yourself")
    if settled(best.mean - best.half_width()) <= 0 or settled(best.mean) <= MARGIN:
        notes.append(f"no method is shown to gain over {reference} here: it is the safe choice")
    if both := sum(c.likely_harm for c in advised):
        notes.append(
            f"{both} of the {len(advised)} not distinguishable from the best are likely to do harm all the same"
        )
    if any(n.parts["paradigm"] for n in near):
        notes.append("some of the nearest tasks are of another paradigm")
    if all(n.parts["family"] for n in near):
        notes.append("none of these tasks is on data of your task's family")
    if task.shift is None:
        notes.append("the distance of your domains was not measured")
    return tuple(notes)
