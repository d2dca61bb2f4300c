"""Behind a cell of the board: the rows that it was made of, and the command that makes them again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tlbench.errors import UsageError, suggest
from tlbench.methods.method import shipped
from tlbench.methods.references import TARGET_ONLY, held_at
from tlbench.results import frame
from tlbench.results.editions import Edition
from tlbench.results.index import Index
from tlbench.results.row import DEFAULT, Row
from tlbench.results.run_table import Line, line
from tlbench.results.stats import harmful_from
from tlbench.results.timings import Timing
from tlbench.tasks import registry
from tlbench.tasks.card import Budget
from tlbench.tasks.task_name import suite_of


@dataclass(frozen=True)
class Evidence:
    """One seed: the row, and its reference's value where there is one. Values are percentage points."""

    key: str
    seed: int
    status: str
    reason: str | None
    value: float | None
    reference: float | None
    reference_key: str | None
    fit_s: float | None
    commit: str | None
    dirty: bool | None
    machine: str
    time: str


@dataclass(frozen=True)
class Timed:
    """A repeat of a timing pass that counts on the board."""

    seed: int
    fit_s: float
    session: str
    commit: str | None
    time: str
    key: str


@dataclass(frozen=True)
class Trace:
    """A line of the board with its rows."""

    line: Line
    reference: str  # what the gain is over
    rows: tuple[Evidence, ...]
    others: int  # rows of the same cells in the store that do not count: other settings, versions, data or weights
    again: str  # a command that makes them once more, in a store of their own; of a frozen edition with its code
    harms_from: Budget | None  # k*: the smallest budget of labels at which its mean lies below target-only's
    labelled: tuple[Budget, ...]  # the budgets of labels that can tell: those with both
    timed: tuple[Timed, ...]
    time_again: str | None


def trace(
    rows: Iterable[Row],
    method: str,
    task: str,
    budget: Budget,
    rule: str = DEFAULT,
    timings: Sequence[Timing] = (),
    edition: Edition = frame.OPEN,
) -> Trace:
    """The rows behind one line of the board.

    Args:
        task: 'suite/source-target', or what names one task alone
        rule: of selection, whose choices are wanted
        timings: those that the board counts
        edition: whose rows these are

    Raises:
        UsageError: there is no such line; says what is close.
    """
    rows = list(rows)
    suite = edition.suite(suite_of(task))
    index = Index.of(rows, rule, ranked=suite is None or suite.ranked, edition=edition)
    index.check(method)
    name = _task(index, task)
    asked = index.asked(method, name, budget)
    if not asked.rows:
        known = [str(k) for k in index.budgets if index.cells(method, name, k)]
        there = f"; it has budgets {', '.join(known)}" if known else f"; it has none on {name}"
        raise UsageError(f"no rows of {method} on {name} at budget {budget}{there}")
    reference = edition.protocol.reference_at(budget)
    beside = asked.beside
    own = [r for r in asked.rows if r]
    evidence = tuple(_evidence(r, b if method != reference else None) for r, b in zip(own, beside, strict=True))
    places, kept = {(r.method, r.task, r.budget) for r in own}, {r.key for r in own}
    others = sum((r.method, r.task, r.budget) in places and r.key not in kept for r in rows)
    gaps = _gaps(index, method, name)
    found, again = _timed(timings, method, name, budget), command(own, method, name, budget)
    repeats = [r for r in own if r.seed in {t.seed for t in found}]
    verb = "tlbench time" if edition.frozen else "tlbench profile"  # as the code of edition 2026.11 calls it
    timing = command(repeats, method, name, budget).replace("tlbench run", verb)
    return Trace(
        line(asked, edition.protocol.margin), reference, evidence, others,
        f"{_checkout(own, edition)}{again} --results again",
        harmful_from(list(gaps), list(gaps.values())), tuple(gaps), found,
        f"{_checkout(found, edition)}{timing}" if repeats else None,
    )  # fmt: skip


def _checkout(made: Sequence[Row | Timed], edition: Edition) -> str:
    """Of a frozen edition, whose code today's may not be, what precedes a command: the newest commit that made some."""
    newest = max((r for r in made if r.commit), key=lambda r: r.time, default=None)
    return f"git checkout {newest.commit} && " if edition.frozen and newest else ""


def _gaps(index: Index, method: str, task: str) -> dict[int, float]:
    """Budget of labels -> how far the method's mean lies below target-only's, points."""
    labelled = [k for k in index.budgets if isinstance(k, int) and k and index.cells(method, task, k)]
    lines = {k: line(index.asked(method, task, k)) for k in labelled if method != TARGET_ONLY}
    return {k: -x.over_target for k, x in lines.items() if x.over_target is not None}


def _timed(timings: Sequence[Timing], method: str, task: str, budget: Budget) -> tuple[Timed, ...]:
    own = [t for t in timings if t.method == method and t.budget == budget and t.counts]
    own = [t for t in own if t.task in (task, frame.by_itself(task))]
    return tuple(Timed(t.seed, t.fit_s, t.session, t.commit, t.time, t.key) for t in own)


def _task(index: Index, name: str) -> str:
    found = index.chosen([name])
    if len(found) > 1:
        raise UsageError(f"{name!r} names {len(found)} tasks; name one{suggest(name, found)}")
    return found[0]


def _evidence(row: Row, reference: Row | None) -> Evidence:
    def points(r: Row | None) -> float | None:
        return None if r is None or r.value is None else 100.0 * r.value

    return Evidence(
        row.key, row.seed, row.status, row.reason, points(row), points(reference), reference.key if reference else None,
        row.fit_s, row.commit, row.dirty, row.machine, row.time,
    )  # fmt: skip


def command(rows: Sequence[Row], method: str, task: str, budget: Budget) -> str:
    """What a shell is told to make rows again. No row knows the file of a method or card of one's own."""
    suite = suite_of(task)
    known = registry.card_files().get(suite)
    at = held_at(method, budget)
    trials = max((r.trials or 0 for r in rows), default=0)
    words = [
        "tlbench run",
        f"--task {task if known else f'path/to/{suite}.toml'}",
        f"--method {method if method in shipped() or '/' in method else f'path/to/file.py:{method}'}",
        f"--budgets {at}",
        f"--seeds {ranges(sorted(r.seed for r in rows))}",
    ]
    if trials:
        words.append(f"--rule {rows[0].rule} --trials {trials}")
    backbones = {r.backbone for r in rows}
    shipped_card = registry.read(known) if known else None
    if shipped_card and len(backbones) == 1 and not isinstance(shipped_card.backbone, str):
        words.append(f"--backbone {backbones.pop()}")
    return " ".join(words)


def ranges(seeds: Sequence[int]) -> str:
    """(0, 1, 2, 5) -> '0-2,5'."""
    parts: list[list[int]] = []
    for s in seeds:
        if parts and s == parts[-1][-1] + 1:
            parts[-1].append(s)
        else:
            parts.append([s])
    return ",".join(str(p[0]) if len(p) == 1 else f"{p[0]}-{p[-1]}" for p in parts)
