"""Freezing the open edition, and whether a frozen one is still what it was."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from re import fullmatch
from typing import TYPE_CHECKING

from tlbench import __version__
from tlbench.board.board import Board, measured, same_task
from tlbench.errors import UsageError
from tlbench.methods import versions
from tlbench.methods.method import shipped
from tlbench.results import archive, bundle, editions, frame, standings
from tlbench.results.editions import ABOUT, DIGESTS, NAME, Counted, Frozen, Made, Protocol
from tlbench.results.frame import words
from tlbench.results.rounding import fixed
from tlbench.results.standings import Standing
from tlbench.results.store import Store, pack
from tlbench.results.timings import FILE as TIMINGS
from tlbench.runner.sweep import provenance
from tlbench.tasks import grids, split_digests

if TYPE_CHECKING:
    import pandas as pd

MOVED = (archive.FOLDER, TIMINGS, bundle.FOLDER)  # of the store, into an edition
DIGITS = 4  # of points, in the digest


def freeze(store: Path, name: str) -> Made:
    """Pack the open edition's rows and move them, its timings and its submissions into an edition of their own.

    Killed in between, it leaves the account unwritten, and the same command goes on.

    Raises:
        UsageError: no such name, an edition of that name, or nothing that its board could be made of.
    """
    folder = store / editions.FOLDER / name
    if not fullmatch(NAME, name):
        raise UsageError(f"edition {name!r}: an edition is named by year and month, as 2027.03")
    if (folder / ABOUT).exists():
        raise UsageError(f"{folder}: is frozen already; a frozen edition is never changed")
    if other := [half for half in editions.halves(store) if half != name]:
        raise UsageError(f"{store}: freezing {other[0]} was interrupted; first: tlbench edition freeze {other[0]}")
    if later := [known for known in editions.all_of(store) if editions.order(known) >= editions.order(name)]:
        raise UsageError(f"edition {name!r} is no later than {later[-1]}, which is frozen")
    if any((store / "shards").glob("*.jsonl")):
        raise UsageError(f"{store / 'shards'}: holds rows of workers; first: tlbench collect")
    commit = provenance()["commit"]
    pack(store)
    if not len(Store(store).rows) + len(Store(folder).rows):  # the second: of a freezing that was killed
        raise UsageError(f"{store}: holds no row; there is nothing to freeze")
    folder.mkdir(parents=True, exist_ok=True)
    for part in MOVED:
        if (store / part).exists():
            _move(store / part, folder / part)
    held, rules = Store(folder), editions.Edition()
    everything = frame.load(held)
    made = Made(
        name=name, release=__version__, frozen=datetime.now(UTC).date().isoformat(),
        commits=tuple(sorted(c for c in set(words(everything["commit"])) if c)), commit=commit,
        rows=len(held.rows), protocol=Protocol(), grid=grids.named(grids.BOARD),
        suites={n: known for n in everything["suite"].cat.categories if (known := rules.suite(n))},
        methods=_methods(everything, store), toolkit=versions.toolkit(),
    )  # fmt: skip
    digests = {suite: found for suite in made.suites if (found := split_digests.digests(suite))}
    _write(folder / DIGESTS, json.dumps(digests, indent=1, sort_keys=True))
    account = made.model_copy(update={"digest": digest(Board(held, edition=_unwritten(folder, made), submitted=False))})
    _write(folder / ABOUT, account.model_dump_json(indent=1))
    return account


def lost(board: Board) -> str:
    """In words, how a frozen edition's ranks and gains differ from those that it was frozen with; nothing where they do
    not, and of the open edition."""
    edition = board.edition
    if not isinstance(edition, Frozen):
        return ""
    now = digest(Board(board.store, edition=edition, submitted=False) if board.joined else board)
    return "" if now == edition.made.digest else f"digest {now[:16]}, frozen as {edition.made.digest[:16]}"


def digest(board: Board) -> str:
    """SHA-256 of the ranks and gains of a board: of every method on every set of tasks at every budget."""
    headline = {k: standings.part(g, measured(g) & same_task(g)).tasks for k, g in board.core.items()}
    placed = [(k, headline[k], rows) for k, rows in board.same_task.items()]
    for name, own in board.paradigms.items():
        placed += [(k, g.tasks, board.by_paradigm[name][k]) for k, g in own.items()]
    lines = [[str(k), ",".join(tasks), *_figures(s)] for k, tasks, rows in placed for s in rows]
    return hashlib.sha256(json.dumps(sorted(lines, key=str)).encode()).hexdigest()


def _figures(s: Standing) -> list[object]:
    """What is frozen of a method's standing."""
    points = [fixed(x, DIGITS) for x in (s.mean_rank, s.gain.mean, s.accuracy)]
    return [s.method, s.measured, s.imputed, s.ranked, s.rank, s.group, *points, s.harm.counts if s.harm else None]


def _methods(everything: pd.DataFrame, store: Path) -> dict[str, Counted]:
    """Of every method the code whose rows count: the version that ships, else the one of most rows."""
    told = frame.codes(everything)
    found = {}
    for method, own in told.groupby("method"):
        most = Counter(own["code"]).most_common()
        code = next((c for c, _ in most if editions.Edition().counts(str(method), c)), most[0][0])
        version = editions.version_of(str(method), code, store) if str(method) in shipped() else None
        found[str(method)] = Counted(code=code, version=version)
    return found


def _unwritten(folder: Path, made: Made) -> Frozen:
    """An edition whose account is not on the disk yet."""
    edition = Frozen(made.name, folder)
    edition.__dict__["made"] = made
    return edition


def _move(old: Path, new: Path) -> None:
    """A file's lines, or what a folder holds; what a killed freezing has moved already stays."""
    if old.is_file():
        lines = dict.fromkeys(new.read_text(encoding="utf-8").splitlines() if new.exists() else ())
        _write(new, "\n".join(lines | dict.fromkeys(old.read_text(encoding="utf-8").splitlines())))
        old.unlink()
        return
    new.mkdir(exist_ok=True)
    for entry in old.iterdir():
        entry.replace(new / entry.name)
    old.rmdir()


def _write(file: Path, text: str) -> None:
    temporary = file.with_suffix(".tmp")
    temporary.write_text(text + "\n", encoding="utf-8")
    temporary.replace(file)
