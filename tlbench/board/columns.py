"""The columns of the board: each has its heading, its unit, its value and its meaning in one object.

`RANKS` are the columns of the leaderboard's tables of ranks, `harm` those of its tables of negative transfer, and
`files` those of board.csv and board.parquet. To add a column, add a `Column` here, to one of them or to several; then
`python docs/board.py` explains it in the documents.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from tlbench.methods.references import AGAIN
from tlbench.results.editions import Protocol
from tlbench.results.rounding import fixed
from tlbench.results.standings import Harm, Standing
from tlbench.results.stats import Estimate
from tlbench.tasks.card import Budget

T = TypeVar("T")
MARGINS = Protocol().margins
DAGGER = " †"  # after a method whose code has changed since it was measured
FLOOR = " (A/A floor)"  # after a second copy of a reference


@dataclass(frozen=True)
class Entry:
    """A line of a table: how a method stands on a set of tasks at a budget, and what else is known of it."""

    standing: Standing
    budget: Budget = 0
    tasks: str = ""  # what the tasks have in common
    time: float | None = None  # of a fit, over the reference's
    changed: bool = False  # whether the method has another version than the one that was measured
    turn: str = "–"  # in words, the budgets from which its sources harm


@dataclass(frozen=True)
class Column:
    """A column of a table of the board."""

    title: str
    unit: str  # empty where there is none
    of: Callable[[Entry], object]  # the value; None where there is none
    says: str  # what it means, in a line of Markdown

    @property
    def name(self) -> str:
        """The heading in the files."""
        return re.sub(r"\W+", "_", self.title.lower())

    def text(self, entry: Entry) -> str:
        """A cell of the leaderboard: a number that is not whole has one decimal, and a dash stands for no value."""
        value = self.of(entry)
        return fixed(value) if value is None or isinstance(value, float) else str(value)


def explained(columns: Iterable[Column], meaning: str = "meaning", code: bool = False) -> str:
    """A table of columns for the documents; columns of one unit and one meaning share a line.

    Args:
        meaning: the heading over what the columns mean
        code: write the names that the files have, as code
    """
    lines: dict[tuple[str, str], list[str]] = {}
    for c in columns:
        lines.setdefault((c.unit, c.says), []).append(f"`{c.name}`" if code else c.title)
    told = (f"| {', '.join(names)} | {unit} | {says} |\n" for (unit, says), names in lines.items())
    return "".join([f"| column | unit | {meaning} |\n", "|---|---|---|\n", *told])


def interval(x: Estimate, digits: int = 1) -> str:
    """A gain with the half-width of its 95 % interval."""
    half = x.half_width() if np.isfinite(x.se) else np.nan
    return fixed(x.mean, digits, True) + (f" ± {fixed(half, digits)}" if np.isfinite(half) else "")


def percent(share: float) -> str:
    return f"{fixed(100 * share, 0)} %"


# both in the tables of ranks and in the files

FAMILY = Column("family", "", lambda e: e.standing.family, "the algorithm family")
ACCURACY = Column(
    "accuracy", "points", lambda e: e.standing.accuracy, "mean over dataset families; empty where incomplete"
)
MEAN_RANK = Column(
    "mean rank",
    "place",
    lambda e: e.standing.mean_rank,
    "mean rank over tasks, among the ranked methods; empty unless ranked",
)


# the tables of ranks


def _marked(e: Entry) -> str:
    method = e.standing.method
    return method + DAGGER * e.changed + FLOOR * (method in AGAIN)


def _sure(h: Harm | None) -> str:
    if h is None:
        return "–"
    return str(h.negative) if h.tested == h.tasks else f"{h.negative}, {h.tasks - h.tested} not tested"


def _half(x: Estimate) -> float | None:
    return x.half_width() if np.isfinite([x.mean, x.se]).all() else None


RANKS = (
    Column("method", "", _marked,
           "its name; †: an older version was measured; *A/A floor*: a second copy of a baseline"),
    FAMILY,
    Column("rank", "place", lambda e: "{}–{}".format(*e.standing.rank) if e.standing.rank else "–",
           "95 % interval of the rank over seeds and test samples: best and worst place"),
    Column("group", "", lambda e: fixed(None if e.standing.group is None else e.standing.group + 1, 0),
           "group 1 holds the methods that `compare` cannot distinguish from the best one on these tasks, and so on; "
           "not corrected for the number of methods"),
    Column("gain ± (these tasks)", "points", lambda e: interval(e.standing.gain),
           "the primary figure: mean gain over the baseline, with its 95 % interval for new seeds and test samples. A "
           "gain does not depend on which other methods are on the board; ranks, groups and mean ranks do"),
    Column("± (new tasks)", "points", lambda e: e.standing.beyond.half_width() if np.isfinite(e.standing.beyond.se)
           else None, "half-width of the gain's 95 % interval for a dataset family that is not on the board"),
    ACCURACY,
    Column("gain over pooling", "points", lambda e: fixed(e.standing.added, sign=True),
           "gain over training on source and target pooled: does the method's own idea help?"),
    Column("NT tasks", "tasks", lambda e: f"{e.standing.harm.counts[1]} of {e.standing.harm.tasks}" if e.standing.harm
           else None, "tasks with negative transfer: more than a point below the baseline"),
    Column("significant", "tasks", lambda e: _sure(e.standing.harm),
           "those of them that a test confirms, after Benjamini and Hochberg's correction over the method's tasks"),
    Column("CVaR20", "points", lambda e: fixed(-e.standing.harm.cvar, sign=True) if e.standing.harm else None,
           "mean gain on the worst fifth of tasks, or on the worst task if there are nine or fewer"),
    Column("won/tied/lost", "tasks", lambda e: "/".join(map(str, e.standing.won)) if e.standing.won else None,
           "tasks more than half a point above, within half a point of, and more than half a point below the baseline"),
    MEAN_RANK,
    Column("IQM", "0..1", lambda e: fixed(e.standing.iqm, 2),
           "interquartile mean of scores, where 0 is chance and 1 is the supervised upper bound"),
    Column("P(improvement)", "%",
           lambda e: fixed(None if e.standing.improves is None else 100 * e.standing.improves, 0),
           "probability of improvement: that a run of the method beats a run of the baseline"),
    Column("time", "ratio", lambda e: fixed(e.time, 2),
           "time of `fit` as a ratio to the baseline's at that budget, from timing passes (`tlbench profile`) alone; "
           "the line above the table names the tasks"),
    Column("failed", "cells", lambda e: f"{e.standing.imputed} of {e.standing.owed}" if e.standing.imputed else "",
           "failed cells, which count as the worst of the baselines and chance"),
)  # fmt: skip
SHORT = ("method", "rank", "gain ± (these tasks)", "accuracy", "NT tasks", "significant", "failed")  # of the ranks


# the tables of negative transfer


def _of_harm(told: Callable[[Harm], T]) -> Callable[[Entry], T | None]:
    """What is told of a method's negative transfer; nothing of the reference itself."""
    return lambda e: told(e.standing.harm) if e.standing.harm else None


def _rate(h: Harm) -> str:
    if h.rate.low is None or h.rate.high is None:
        return f"{percent(h.rate.value)} (not tested)"
    return f"{percent(h.rate.value)} [{fixed(100 * h.rate.low, 0)}, {fixed(100 * h.rate.high, 0)}]"


def harm(margins: Sequence[float] = MARGINS, turns: bool = True) -> tuple[Column, ...]:
    """The columns of negative transfer.

    Args:
        margins: points below the reference that tasks are counted at
        turns: whether it is known from how many labels on a source harms
    """
    than = "/".join(f"{m:g}" for m in margins)
    found = (
        Column("method", "", lambda e: f"**{e.standing.method}**{FLOOR}" if e.standing.method in AGAIN
               else e.standing.method, "the A/A floor first, then methods by their rate"),
        Column(f"NT > {than}", "tasks", _of_harm(lambda h: f"{'/'.join(map(str, h.counts))} of {h.tasks}"),
               "tasks more than that many points below the baseline"),
        Column("rate [95 %]", "%", _of_harm(_rate),
               "share of tasks with negative transfer, weighting dataset families equally, and its interval for new "
               "families"),
        Column("significant −/+", "tasks", _of_harm(lambda h: f"{h.negative}/{h.positive}" if h.tested else "not "
                                                                                                            "tested"),
               "tasks significantly below and significantly above the baseline"),
        Column("significant rate", "%", _of_harm(lambda h: "not "
                                                           "tested" if h.sure_rate is None else percent(h.sure_rate)),
               "share of tasks with significant negative transfer, weighting dataset families equally"),
        Column("severity", "points", _of_harm(lambda h: h.severity),
               "mean loss against the baseline, with gains counted as zero"),
        Column("CVaR20", "points", _of_harm(lambda h: fixed(-h.cvar, sign=True)),
               "mean gain on the worst fifth of tasks, or on the worst task if there are nine or fewer"),
        Column("worst", "points", _of_harm(lambda h: f"{fixed(-h.worst, sign=True)} ({h.worst_task})"),
               "gain on the worst task, and that task"),
    )  # fmt: skip
    from_on = Column("NT from", "labels per class", lambda e: "–" if e.standing.method in AGAIN else e.turn,
                     "number of tasks on which the mean gain turns negative at some budget, and the median of those "
                     "budgets: from that many labels on the source no longer helps. Only tasks measured at every label "
                     "budget count")  # fmt: skip
    return (*found, from_on) if turns else found


# the files


def _several(
    names: Sequence[str], unit: str, of: Callable[[Entry], Sequence[object] | None], says: str
) -> tuple[Column, ...]:
    """Columns of the parts of one value."""

    def part(i: int) -> Callable[[Entry], object]:
        def value(e: Entry) -> object:
            found = of(e)
            return None if found is None else found[i]

        return value

    return tuple(Column(name, unit, part(i), says) for i, name in enumerate(names))


def files(margins: Sequence[float] = MARGINS) -> tuple[Column, ...]:
    """The columns of board.csv and board.parquet, whose counts of harmed tasks are at these margins."""
    return (
        Column("budget", "labels per class", lambda e: str(e.budget),
               "at 0, gains are over source-only; otherwise over target-only"),
        Column("tasks", "", lambda e: e.tasks,
               "`same task` for the tasks of the ranks; otherwise the transfer setting of the line's tasks, with the "
               "problem type unless it is classification"),
        Column("method", "", lambda e: e.standing.method, "its name"),
        FAMILY,
        *_several(("measured", "owed"), "cells", lambda e: (e.standing.measured, e.standing.owed),
                  "cells that the method has, and cells that it would need for all of these tasks and seeds"),
        Column("imputed", "cells", lambda e: e.standing.imputed,
               "measured cells that failed, and count as the worst of the baselines and chance"),
        ACCURACY,
        Column("gain", "points", lambda e: e.standing.gain.mean,
               "mean gain over the baseline; empty where incomplete"),
        Column("beyond", "points", lambda e: e.standing.beyond.mean,
               "the same mean gain, as an estimate for new dataset families; empty where incomplete"),
        Column("added", "points", lambda e: e.standing.added,
               "mean gain over pooling (source + target); empty where incomplete, at budget 0, and where pooling was "
               "not run"),
        Column("ranked", "", lambda e: e.standing.ranked,
               "whether the method has a rank: complete, at most one in ten cells imputed, and neither the supervised "
               "upper bound nor a control"),
        Column("same", "", lambda e: e.standing.same,
               "whether the method equals its baseline in every cell, as methods that pool sources do when there is "
               "only one source; \"In short\" does not count such a method"),
        Column("group", "", lambda e: e.standing.group,
               "group of methods that cannot be distinguished from the group's best; 0 is the group of the best method "
               "(the leaderboard counts from 1); empty unless ranked"),
        MEAN_RANK,
        Column("iqm", "0..1", lambda e: e.standing.iqm,
               "interquartile mean of scores, where 0 is chance and 1 is the supervised upper bound; empty unless "
               "ranked, and where one of these two was not run"),
        Column("improves", "0..1", lambda e: e.standing.improves,
               "probability of improvement: that a run of the method beats a run of the baseline; empty unless ranked"),
        Column("gain_half_width", "points", lambda e: _half(e.standing.gain),
               "half-width of the gain's 95 % interval for new seeds and test samples of these tasks; empty where "
               "incomplete, and with one seed"),
        Column("beyond_half_width", "points", lambda e: _half(e.standing.beyond),
               "half-width of its 95 % interval; empty where incomplete, and with one dataset family"),
        *_several(("rank_best", "rank_worst"), "place", lambda e: e.standing.rank,
                  "95 % interval of the rank; empty unless ranked"),
        *_several(("tasks_won", "tasks_tied", "tasks_lost"), "tasks", lambda e: e.standing.won,
                  "tasks more than half a point above, within half a point of, and more than half a point below the "
                  "baseline; empty unless ranked"),
        *_several([f"harmed_by_{m:g}" for m in margins], "tasks", _of_harm(lambda h: h.counts),
                  "tasks more than that many points below the baseline; 1 is the board's margin for negative transfer. "
                  "These columns and all below cover the tasks on which the method was measured, and are empty for the "
                  "baseline itself"),
        *_harm_files(),
    )  # fmt: skip


def _harm_files() -> tuple[Column, ...]:
    return (
        Column("rate_value", "0..1", _of_harm(lambda h: h.rate.value),
               "negative-transfer rate: share of tasks with negative transfer, weighting dataset families equally"),
        *_several(("rate_cells", "rate_families"), "", _of_harm(lambda h: (h.rate.cells, h.rate.families)),
                  "number of tasks and of dataset families behind the rate"),
        *_several(("rate_low", "rate_high"), "0..1", _of_harm(lambda h: (h.rate.low, h.rate.high)),
                  "Wilson 95 % interval of the rate for new dataset families; empty with fewer than 8 of them"),
        *_several(("rate_low_conservative", "rate_high_conservative"), "0..1",
                  _of_harm(lambda h: (h.rate.low_conservative, h.rate.high_conservative)),
                  "Clopper–Pearson interval; empty under the same condition"),
        Column("harm_tasks", "tasks", _of_harm(lambda h: h.tasks), "tasks that are checked for negative transfer"),
        Column("harm_sure_rate", "0..1", _of_harm(lambda h: h.sure_rate),
               "share of tasks with significant negative transfer, weighting dataset families equally; empty where a "
               "task has too few seeds for a test"),
        *_several(("harm_negative", "harm_positive"), "tasks", _of_harm(lambda h: (h.negative, h.positive)),
                  "those significantly below and significantly above the baseline: by more than a point, and by a test "
                  "corrected over the method's tasks"),
        Column("harm_tested", "tasks", _of_harm(lambda h: h.tested),
               "those with enough seeds for a test (5)"),
        Column("harm_severity", "points", _of_harm(lambda h: h.severity),
               "mean loss against the baseline, with gains counted as zero; positive means worse, here and in the next "
               "two columns"),
        Column("harm_cvar", "points", _of_harm(lambda h: h.cvar),
               "mean loss on the worst fifth of tasks, or on the worst task if there are nine or fewer (the "
               "leaderboard's CVaR20 with its sign reversed)"),
        Column("harm_worst", "points", _of_harm(lambda h: h.worst), "loss on the worst task"),
        Column("harm_worst_task", "", _of_harm(lambda h: h.worst_task), "the worst task"),
    )  # fmt: skip
