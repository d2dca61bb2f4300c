"""The sections of the leaderboard, in the order in which they are printed.

To add a section, write a function from the board to lines of Markdown and add a `Section` to `SECTIONS`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tlbench.board import plausibility, selection, tables
from tlbench.board.board import Board, measured, of_core, same_task
from tlbench.board.figures.charts import compared
from tlbench.board.tables import escaped
from tlbench.results import bundle, frame, standings, stats
from tlbench.results.frame import words
from tlbench.results.grid import Grid, grids
from tlbench.results.standings import Standing
from tlbench.results.wording import margin
from tlbench.tasks.card import PARADIGMS, Budget
from tlbench.tasks.problems import METRICS
from tlbench.tasks.task_name import suite_of

if TYPE_CHECKING:
    import pandas as pd

ENOUGH = 1000  # test samples, from which on a harm of a point or two can be shown


@dataclass(frozen=True)
class Section:
    """A part of the leaderboard."""

    title: str  # the heading; empty where there is none
    lines: Callable[[Board], list[str]]  # below the heading; no line where there is nothing to say


def _provenance(board: Board) -> list[str]:
    """What the board is made of."""
    rows, tasks = board.rows, {t for g in board.grids.values() for t in g.tasks}
    counts = Counter(words(rows["status"]))
    said = ", ".join(f"{counts.get(s, 0):,} {s}" for s in ("ok", "failed", "refused"))
    groups = {x for g in board.grids.values() for x in g.groups}
    pairs = rows[["tlbench", "torch"]].drop_duplicates()
    versions = " and ".join(
        sorted(f"{escaped(ours)} on torch {escaped(torch)}" for ours, torch in pairs.astype(str).to_numpy())
    )
    machines = "; ".join(sorted(escaped(m) for m in set(words(rows["machine"]))))
    commits = ", ".join(sorted({c[:7] for c in set(words(rows["commit"])) if c})) or "none"
    dirty = int((rows["dirty"] == True).sum())  # noqa: E712  (null is neither)
    uncommitted = f", {dirty:,} rows with changes uncommitted" if dirty else ""
    dagger = f" {len(board.changed)} methods marked † have changed since." if board.changed else ""
    made = f"Edition {board.edition.name}. " if board.edition.frozen else "The open edition, in the making. "
    return [
        f"{made}{len(rows):,} rows ({said}) of {len(board.all):,} in the store; {rows['method'].nunique()} methods, "
        f"{len(tasks)} tasks, {len(groups)} dataset families. tlbench {versions}; {machines}; commits {commits}"
        f"{uncommitted}.{dagger} Hyperparameters: the published defaults, for the baselines too.\n"
    ]


def _nobody(board: Board) -> list[str]:
    there = any(board.same_task.values())
    return [] if there else ["No task of the core grid has been measured yet, so no method is ranked.\n"]


def _short(board: Board) -> list[str]:
    if not any(board.same_task.values()):
        return []
    families = "Mean gain of each algorithm family's ranked methods, with the best one in brackets:"
    floor = (
        "The A/A floor is the negative-transfer rate of a second copy of the baseline: a rate that is no higher is "
        "noise. Methods that equal their baseline in every cell are not counted."
    )
    lines = [_scope(board), tables.summary(board.same_task), floor, families, tables.by_family(board.same_task)]
    return [part for line in lines for part in (line, "")]


def _scope(board: Board) -> str:
    """What the ranks stand on, and what they cannot speak of."""
    suites = sorted({suite_of(t) for g in board.core.values() for t in g.tasks})
    there = {p for g in board.core.values() for p in g.paradigms}
    absent = [title for name, title in PARADIGMS.items() if name not in there]
    said = f"All ranks use published hyperparameters, on {', '.join(suites)}."
    if absent:
        said += f" No method is ranked yet on: {'; '.join(absent)}."
    if "multi-source" not in there:
        said += " Multi-source methods are ranked on single-source tasks."
    return " ".join([said, selection.short(board.chosen)]).strip()


def _ranks(board: Board) -> list[str]:
    parts = []
    for k, rows in board.same_task.items():
        if rows:
            own = standings.part(board.core[k], measured(board.core[k]) & same_task(board.core[k]))
            parts += [
                f"### {_labels(k)}",
                "",
                f"{_of(own, k)} {_apart(own, rows)} {_when(board, k)}",
                "",
                tables.standing(rows, board.times[k], board.changed),
                "",
            ]
    return parts


def _harm(board: Board) -> list[str]:
    if not any(board.same_task.values()):
        return []
    turns, parts = tables.turning_points(board.core), []
    for k, rows in board.same_task.items():
        if rows:
            families = {
                g for t, g in zip(board.core[k].tasks, board.core[k].groups, strict=True) if board.edition.ranks(t)
            }
            few = len(families) < stats.FAMILIES_TO_BOUND
            why = f"; no interval of a rate with fewer than {stats.FAMILIES_TO_BOUND} dataset families" if few else ""
            far = margin(board.edition.protocol.margin)
            below = f"where the mean over seeds is more than {far} below {board.core[k].reference}'s"
            said = f"A task shows negative transfer (NT) {below}{why}.{_power(board.core[k])}"
            parts += [
                f"### Negative transfer with {_labels(k)}",
                "",
                said,
                "",
                tables.harm(rows, turns if k else {}, board.edition.protocol.margins),
                "",
            ]
    return parts


def _power(g: Grid) -> str:
    """How small the test sets are, and what that hides."""
    sizes = [s.n_test for s, asked in zip(g.sheets, measured(g) & same_task(g), strict=True) if asked]
    small = sum(n < ENOUGH for n in sizes)
    if not small:
        return ""
    return (
        f" Tasks have {min(sizes):,} to {max(sizes):,} test samples; {small} of {len(sizes)} have fewer than "
        f"{ENOUGH:,}, too few for a test to detect a loss of one or two points: *not significant* does not mean *no "
        "loss*."
    )


def _pictures(board: Board) -> list[str]:
    links = [f"![{p.about}](results/figures/{p.name})" for p in board.pictures] if board.core else []
    return [*links, ""] if links else []


def _costs(board: Board) -> list[str]:
    if not len(board.costs):
        return []
    tasks = sorted({f"{t.task} (k = {t.budget})" for t in board.timed if t.counts and t.sources})
    said = (
        "Each line is a method at k labels per class. Cells were timed one at a time, in passes of their own; time is "
        f"the ratio to the baseline's on the same target in the same session, with its interval over dataset families. "
        f"Tasks: {', '.join(tasks)}. "
        f"{sum(not t.counts for t in board.timed)} noisy or contended timings are left out. {_sessions(board)}"
    )
    return [said, "", tables.costs(board.costs, board.recoded), ""]


def _sessions(board: Board) -> str:
    """Where the timings come from."""
    counted = [t for t in board.timed if t.counts]
    machines = "; ".join(sorted({escaped(t.machine) for t in counted}))
    threads = ", ".join(map(str, sorted({t.threads for t in counted})))
    commits = ", ".join(sorted({t.commit[:7] for t in counted if t.commit})) or "none"
    return (
        f"{len(counted)} timings of {len({t.session for t in counted})} sessions, threads: {threads}; "
        f"{counted[0].machine_class}: {machines}; commits {commits}."
    )


def _pending(board: Board) -> list[str]:
    """Submissions that nobody has verified: what they say of themselves, ranked nowhere."""
    if not board.pending:
        return []
    said = (
        "Results that bundles report and no maintainer has verified: means over the cells of the core grid that they "
        "hold. They are not ranked, and change nothing above."
    )
    rows = [r for c in board.pending if c.bundle for r in bundle.marked(c.bundle, f"unverified, {c.folder.name}")]
    joined = frame.joining(rows, board.rows)
    own = board.edition
    held = frame.standing(frame.load(board.store, joined), own) if joined else board.rows
    names = {r.method for r in joined}
    lines = [tables.claim(g, m, k) for k, g in grids(of_core(held, own), own).items() for m in g.methods if m in names]
    wrong = [
        f"- `{escaped(c.folder.name)}` is no bundle: {escaped(c.wrong)}" for c in board.pending if c.bundle is None
    ]
    return [said, "", *([tables.claims(lines), ""] if lines else []), *wrong, ""]


def _paradigms(board: Board) -> list[str]:
    parts = []
    for title, placed in board.by_paradigm.items():
        parts += [f"<details><summary>{title}</summary>", ""]
        turns = tables.turning_points(board.paradigms[title])
        for k, rows in placed.items():
            parts += [f"#### {title}, {_labels(k)}", "", tables.short(rows, board.changed), ""]
            table = tables.harm(rows, turns if k else {}, board.edition.protocol.margins)
            parts += [f"Negative transfer, {title}, {_labels(k)}:", "", table, ""]
        parts += ["</details>", ""]
    return parts


def _suites(board: Board) -> list[str]:
    parts = []
    suites = sorted({suite_of(t) for g in board.grids.values() for t in g.tasks})
    for name in suites:
        parts += [f"<details><summary>{name}</summary>", "", _suite_caption(name, board.rows), ""]
        for k, g in board.grids.items():
            mask = np.array([suite_of(t) == name for t in g.tasks])
            if mask.any():
                own = standings.part(g, mask)
                parts += [f"#### {name}, {_labels(k)}", "", tables.suite(own, board.changed), ""]
        parts += ["</details>", ""]
    return parts


def _labels(k: Budget) -> str:
    return "no label" if k == 0 else "1 label per class" if k == 1 else f"{k} labels per class"


def _of(g: Grid, k: Budget) -> str:
    asked = sum(map(g.edition.ranks, g.edition.grid.at(k)))
    least = f"; the grid has {asked}" if len(g.tasks) < asked else ""
    return (
        f"{len(g.tasks)} tasks of {len(set(g.groups))} dataset families ({', '.join(sorted(set(g.groups)))}){least}, "
        f"{len(g.seeds)} seeds; gains over {g.reference}."
    )


def _when(board: Board, k: Budget) -> str:
    if not compared(board.times, k):
        return f"Time was not measured here{', except for the baselines' if board.times[k] else ''}."
    return f"Time was measured on {', '.join(board.timed_on[k])}."


def _apart(g: Grid, rows: list[Standing]) -> str:
    ranked = [s.method for s in rows if s.ranked]
    pairs = standings.told_apart(g, ranked)
    said = f"Wilcoxon's test with Holm's correction over dataset families, {len(ranked)} methods including the baseline"
    if pairs is None:
        return f"{said}: too few tasks to distinguish any pair."
    return f"{said}: {sum(p.adjusted < 0.05 for p in pairs)} of {len(pairs)} pairs differ significantly."


def _suite_caption(name: str, rows: pd.DataFrame) -> str:
    own = rows[rows["suite"] == name]
    backbones = ", ".join(sorted(set(words(own["backbone"]))))
    metric = METRICS[str(own["metric"].iloc[0])].title
    return f"{metric}, with the gain over the baseline and its 95 % interval in brackets; backbone {backbones}."


SECTIONS = (
    Section("", _provenance),
    Section("In short", _short),
    Section("", _nobody),
    Section("Ranks, where the source has the target's classes", _ranks),
    Section("Negative transfer", _harm),
    Section("Pictures", _pictures),
    Section("Cost", _costs),
    Section("Selection", lambda board: selection.selection(board.chosen)),
    Section("Known truth", lambda board: plausibility.known_truth(board.all, board.edition)),
    Section("Out of bounds", lambda board: plausibility.out_of_bounds(board.grids)),
    Section("By transfer setting", _paradigms),
    Section("By suite", _suites),
    Section("Not verified", _pending),
)
