"""Which of two methods an interval favours, said in a sentence; budgets and numbers in words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tlbench.results import stats
from tlbench.results.rounding import fixed, settled
from tlbench.results.stats import SEEDS_TO_TEST, Estimate
from tlbench.tasks.card import FULL, Budget

LEAST_FAMILIES = 4  # dataset families; fewer say nothing of tasks that are not among them


@dataclass(frozen=True)
class Judged:
    """What a verdict is about, and how much it stands on."""

    first: str
    second: str
    budget: Budget
    tasks: int
    families: int
    seeds: int  # of the task that has fewest
    failed: int  # cells left out


def over_families(means: Sequence[float]) -> Estimate | None:
    """The mean of dataset families' means, for new families: a t interval over them. None with fewer than two."""
    return stats.over_families(means, [str(i) for i in range(len(means))]) if len(means) > 1 else None


def verdict(j: Judged, these: Estimate | None, new: Estimate | None) -> tuple[str, str]:
    """(first, second, alike or insufficient; a sentence), by the interval over families where there are enough.

    Args:
        these: first less second in points, for new seeds and test examples of the same tasks
        new: the same for tasks of new dataset families
    """
    at = f"at {labels(j.budget)}"
    if not j.tasks:
        return "insufficient", f"insufficient {at}: no task in points, and errors in units of their own have no mean"
    where = f"{count(j.tasks, 'task')} of {count(j.families, 'dataset family', 'dataset families')}"
    wide = j.families >= LEAST_FAMILIES
    judged = new if wide else these
    if judged is None or math.isnan(judged.se) or (not wide and j.seeds < SEEDS_TO_TEST):
        return (
            "insufficient",
            f"insufficient to distinguish {j.first} from {j.second} {at}: {count(j.seeds, 'seed')} on {where}",
        )
    but = "" if wide else f"; these tasks only: {count(j.families, 'family', 'families')} cannot speak for others"
    but += f"; {count(j.failed, 'failed cell')} left out, which flatters" if j.failed else ""
    m, pm = judged.mean, judged.half_width()
    if settled(abs(m) - pm) > 0:
        better, worse, name = (j.first, j.second, "first") if m > 0 else (j.second, j.first, "second")
        return name, f"{better} is better than {worse} {at}: {points(abs(m), pm)} on {where}{but}"
    return "alike", f"{j.first} and {j.second} cannot be distinguished {at}: {points(m, pm)} on {where}{but}"


def points(mean: float, pm: float) -> str:
    """A difference with the half-width of its interval."""
    return f"{fixed(mean, sign=True)} ± {fixed(pm)} points"


def margin(points: float, one: str = "a") -> str:
    """How many points a difference must exceed, in words; `one` precedes a single point."""
    return f"{one} point" if points == 1 else f"{points:g} points"


def labels(budget: Budget) -> str:
    """A budget in words."""
    return "every label" if budget == FULL else f"{count(int(budget), 'label')} per class"


def count(n: int, one: str, many: str | None = None) -> str:
    return f"{n} {one if n == 1 else many or one + 's'}"
