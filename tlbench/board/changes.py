"""What changed from one edition to another, method by method, and why: where a score went."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tlbench.board.board import Board
from tlbench.board.tables import markdown
from tlbench.methods import versions
from tlbench.methods.method import shipped
from tlbench.results import editions
from tlbench.results.editions import Edition, Frozen, Suite
from tlbench.results.frame import words
from tlbench.results.rounding import fixed, settled
from tlbench.results.standings import Standing
from tlbench.tasks.card import Budget
from tlbench.tasks.task_name import suite_of

MOVED = 0.5  # points of gain on tasks that both have; less is told as unchanged
Placed = Mapping[tuple[Budget, str], Standing]


def page(store: Path, old: Edition, new: Edition) -> str:
    """Markdown: protocol, tasks, then each method with its versions, the reasons for them, its ranks and gains."""
    before, after = (Board(editions.opened(store, e), edition=e) for e in (old, new))
    parts = [
        f"# From edition {old.name} to {new.name}", "",
        "Ranks are among the methods that an edition ranks, on the tasks that it ranks on; both may differ.", "",
        *_listed("Protocol", _protocol(old, new)), *_listed("Tasks", _tasks(old, new)),
        *_listed("Methods that came or went", _came(before, after)),
        "## Method by method", "", _table(before, after), "",
    ]  # fmt: skip
    return "\n".join(parts)


def _listed(title: str, lines: list[str]) -> list[str]:
    return [f"## {title}", "", *([f"- {line}" for line in lines] or ["Unchanged."]), ""]


def _protocol(old: Edition, new: Edition) -> list[str]:
    a, b = old.protocol.model_dump(), new.protocol.model_dump()
    found = [f"{name.replace('_', ' ')}: {a[name]} → {b[name]}" for name in a if a[name] != b[name]]
    seeds = (old.grid.seeds, new.grid.seeds)
    return found + ([f"seeds: {seeds[0]} → {seeds[1]}"] if seeds[0] != seeds[1] else [])


def _tasks(old: Edition, new: Edition) -> list[str]:
    was, now = set(old.grid.tasks), set(new.grid.tasks)
    found = [f"`{t}` is ranked on no more" for t in sorted(was - now)]
    found += [f"`{t}` is new" for t in sorted(now - was)]
    for task in sorted(was & now):
        if old.grid.budgets(task) != new.grid.budgets(task):
            found.append(f"`{task}`: budgets {_numbers(old, task)} → {_numbers(new, task)}")
    for suite in sorted({suite_of(t) for t in was & now}):
        a, b = old.suite(suite), new.suite(suite)
        if a and b and a != b:
            found.append(f"card `{suite}`: {', '.join(_differences(a, b))}")
    return found


def _numbers(edition: Edition, task: str) -> str:
    return ", ".join(map(str, edition.grid.budgets(task)))


def _differences(a: Suite, b: Suite) -> list[str]:
    was, now = a.model_dump(), b.model_dump()
    return [f"{name.replace('_', ' ')} {was[name]} → {now[name]}" for name in was if was[name] != now[name]]


def _came(before: Board, after: Board) -> list[str]:
    was, now = (set(words(board.rows["method"])) for board in (before, after))
    found = [f"{m}: new" for m in sorted(now - was)]
    return found + [f"{m}: not measured in {after.edition.name}" for m in sorted(was - now)]


def _table(before: Board, after: Board) -> str:
    """A line a method and budget that both editions have, of the tasks where the source has the target's classes."""
    a, b = _placed(before), _placed(after)
    lines = []
    for k, method in sorted(a.keys() & b.keys(), key=lambda key: (key[1], str(key[0]))):
        was, now = a[k, method], b[k, method]
        lines.append((
            method, str(k), _told(_version(before, method)), _told(_version(after, method)), _rank(was), _rank(now),
            fixed(was.gain.mean, sign=True), fixed(now.gain.mean, sign=True), _why(before, after, method, was, now),
        ))  # fmt: skip
    header = ("method", "k", "version", "now", "rank", "now", "gain", "now", "why")
    return markdown(header, lines, left=1) if lines else "The two have no method and budget in common."


def _placed(board: Board) -> Placed:
    return {(k, s.method): s for k, rows in board.same_task.items() for s in rows if s.complete}


def _version(board: Board, method: str) -> int | None:
    """Of a method that ships; of the open edition the one that its rows were measured with."""
    if method not in shipped():
        return None
    if isinstance(board.edition, Frozen):
        return board.edition.made.methods[method].version
    own = board.rows[words(board.rows["method"]) == method]
    return int(own["method_version"].iloc[0]) if len(own) else None


def _told(version: int | None) -> str:
    return "own code" if version is None else str(version)


def _rank(s: Standing) -> str:
    return f"{s.rank[0]}–{s.rank[1]}" if s.rank else "–"


def _why(before: Board, after: Board, method: str, was: Standing, now: Standing) -> str:
    """The reasons of its versions; else what else differs."""
    old, new = (_version(board, method) for board in (before, after))
    if old != new:
        return "; ".join(versions.reasons(method, old or 0, new or 0)) or "another version"
    if abs(settled(now.gain.mean - was.gain.mean)) < MOVED:
        return "unchanged"
    return "the same code: other tasks, other seeds, its reference, or its inputs' arithmetic"
