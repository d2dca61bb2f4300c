"""Two methods side by side on the cells that both have: task by task, and over dataset families."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tlbench.errors import UsageError
from tlbench.results import editions, wording
from tlbench.results.index import Index
from tlbench.results.rounding import settled, weighted
from tlbench.results.row import Row
from tlbench.results.run_table import comparable, paired
from tlbench.results.stats import Estimate, on_these
from tlbench.results.store import default_folder
from tlbench.tasks.card import RANKED_FIRST, Budget
from tlbench.tasks.problems import METRICS
from tlbench.tasks.task_name import suite_of


@dataclass(frozen=True)
class Duel:
    """Both on one task. Values and differences are points; ± is a 95 % interval, None where there is none."""

    task: str
    family: str  # the dataset family
    metric: str
    seeds: tuple[int, ...]  # that both have
    first: float  # mean value of the first method, on those seeds
    second: float
    difference: float  # first less second
    se: float | None  # its standard error, over seeds and test examples
    df: float  # and the degrees of freedom of that
    pm: float | None
    outcome: str  # win, tie or loss of the first
    failed: tuple[int, int]  # cells of each that failed, left out


@dataclass(frozen=True)
class Comparison:
    """Two methods at one budget on tasks of one kind. Means weigh dataset families alike, and within one its tasks."""

    first: str
    second: str
    budget: Budget
    kind: str  # of tasks, as the board ranks them apart: the paradigm, and the regime where it is not classification
    duels: tuple[Duel, ...]
    families: int
    mean: float | None
    suite_pm: float | None  # for new seeds and test examples of these tasks
    new_pm: float | None  # for tasks of new dataset families
    wins: int
    ties: int
    losses: int
    cells: int  # pairs
    outcome: str  # first, second, alike (no difference is shown) or insufficient
    verdict: str  # a sentence

    def frame(self) -> Any:
        """pandas.DataFrame of the duels, one row a task."""
        import pandas as pd

        return pd.DataFrame(self.duels)


def compare(
    first: str,
    second: str,
    task: str | Sequence[str] = (),
    budget: Budget | None = None,
    results: Path | None = None,
    edition: str | None = None,
) -> list[Comparison]:
    """Compare two methods on the rows of an edition, as its board takes them.

    Args:
        task: names of tasks or suites; () takes all that both have
        budget: labels per class; None takes every one that both have
        results: the store; None takes the usual one
        edition: 'open', or a frozen one; None takes the newest that is frozen, and where there is none the open one

    Returns:
        one comparison a budget and kind of tasks, the smallest budget first; kinds are never meaned with each other

    Raises:
        UsageError: a name is unknown, or the two share no cell.
    """
    index = index_of(results or default_folder(), edition)
    return of_index(index, first, second, (task,) if isinstance(task, str) else task, budget)


def index_of(store: Path, edition: str | None) -> Index:
    """The rows of an edition of a store."""
    chosen = editions.named(store, edition)
    return Index.of(editions.opened(store, chosen).rows.every(), edition=chosen)


def of_index(
    index: Index, first: str, second: str, names: Sequence[str] = (), budget: Budget | None = None
) -> list[Comparison]:
    """`compare` on rows at hand."""
    for method in (first, second):
        index.check(method)
    if first == second:
        raise UsageError(f"{first!r} is named twice; name two methods")
    tasks = index.chosen(names)
    found = []
    for k in index.budgets if budget is None else [budget]:
        kinds: dict[str, list[Duel]] = defaultdict(list)
        for t in tasks:
            if d := duel(index, first, second, t, k):
                kinds[index.kind(t)].append(d)
        order = sorted(kinds, key=lambda kind: (kind != RANKED_FIRST, kind))
        found += [_summed(index, first, second, k, kind, kinds[kind]) for kind in order]
    if not found:
        where = f" at budget {budget}" if budget is not None else ""
        raise UsageError(
            f"{first} and {second} share no cell{where} on {', '.join(names) or 'any task'}; run both: "
            f"tlbench run --task TASK --method {first} --method {second}"
        )
    return found


def duel(index: Index, first: str, second: str, task: str, budget: Budget) -> Duel | None:
    """Both on one task; None where they share no cell that is ok."""
    a, b = index.cells(first, task, budget), index.cells(second, task, budget)
    both = pairs(a, b)
    order = sorted(both)
    gain = paired([a[s] for s in order], [b[s] for s in order])
    if gain is None:
        return None
    estimate, _ = gain
    ours, theirs = (100.0 * float(np.mean([x[s].value or 0.0 for s in order])) for x in (a, b))
    tie = index.edition.protocol.tie
    outcome = "tie" if settled(abs(estimate.mean)) <= tie else "win" if estimate.mean > 0 else "loss"
    ours_failed, theirs_failed = (sum(r.status == "failed" for r in x.values()) for x in (a, b))
    return Duel(
        task, index.edition.family(suite_of(task)), next(iter(a.values())).metric, tuple(order), ours, theirs,
        estimate.mean, known(estimate.se), estimate.df, known(estimate.half_width()), outcome,
        (ours_failed, theirs_failed),
    )  # fmt: skip


def pairs(a: dict[int, Row], b: dict[int, Row]) -> list[int]:
    """The seeds that two methods share: both ok, on the same test samples and inputs."""
    return [s for s in sorted(a.keys() & b.keys()) if a[s].ok and b[s].ok and comparable(a[s], b[s])]


def known(x: float) -> float | None:
    """None for what is not a number, which JSON has no word for."""
    return None if math.isnan(x) else x


def _summed(index: Index, first: str, second: str, budget: Budget, kind: str, duels: list[Duel]) -> Comparison:
    """The duels of one budget and kind together."""
    counted = [d for d in duels if METRICS[d.metric].in_percent]
    by_family: dict[str, list[Duel]] = defaultdict(list)
    for d in counted:
        by_family[d.family].append(d)
    means = [float(np.mean([d.difference for d in own])) for own in by_family.values()]
    suite, new = _these_tasks(index, first, second, budget, by_family), wording.over_families(means)
    failed = sum(sum(d.failed) for d in counted)
    asked = wording.Judged(first, second, budget, len(counted), len(means), _fewest(counted), failed)
    outcome, verdict = wording.verdict(asked, suite, new)
    wins, ties, losses = (sum(d.outcome == o for d in duels) for o in ("win", "tie", "loss"))
    return Comparison(
        first, second, budget, kind, tuple(duels), len(by_family), float(np.mean(means)) if means else None,
        known(suite.half_width()) if suite else None, known(new.half_width()) if new else None,
        wins, ties, losses, sum(len(d.seeds) for d in duels), outcome, verdict,
    )  # fmt: skip


def _these_tasks(
    index: Index, first: str, second: str, budget: Budget, by_family: dict[str, list[Duel]]
) -> Estimate | None:
    """The same mean for new seeds and test examples of these tasks, on the seeds that all have. None where there is
    none."""
    weights = {d: 1 / len(own) / len(by_family) for own in by_family.values() for d in own}
    seeds = sorted(set.intersection(*(set(d.seeds) for d in weights))) if weights else []
    if len(seeds) < 2:
        return None

    def difference(task: str) -> list[float]:
        a, b = index.cells(first, task, budget), index.cells(second, task, budget)
        return [100.0 * ((a[s].value or 0.0) - (b[s].value or 0.0)) for s in seeds]

    w, se, df = (np.array(x, dtype=float) for x in zip(*((v, d.se, d.df) for d, v in weights.items()), strict=True))
    found = on_these(np.array([difference(d.task) for d in weights]), w, se, df)
    return Estimate(float(weighted([d.difference for d in weights], w)), found.se, found.df)


def _fewest(duels: Sequence[Duel]) -> int:
    """Seeds of the task that has fewest."""
    return min((len(d.seeds) for d in duels), default=0)
