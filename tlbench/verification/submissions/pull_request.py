"""What a pull request may change of the results: it may add one bundle and the board that follows from it.

Two commits are compared in git, file by file and row by row; nothing of either is checked out or run.
"""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tlbench.board.markdown import BEGIN, END
from tlbench.errors import UsageError
from tlbench.results import archive, bundle, editions
from tlbench.results.archive import Packed
from tlbench.results.bundle import NAME, RECORD
from tlbench.results.row import read_row
from tlbench.results.store import Store, parsed
from tlbench.verification.submissions.inspection import ACCEPT, QUESTION, REJECT, Check, some

RESULTS, BOARD = "results", "leaderboard.md"
FROZEN = f"{RESULTS}/{editions.FOLDER}/"
BUNDLE = re.compile(rf"({RESULTS}/(?:{editions.FOLDER}/[^/]+/)?{bundle.FOLDER}/)([^/]+)/")  # a path in one
TIMINGS = "timings.jsonl"
LINES = (f"{RESULTS}/{TIMINGS}", f"{RESULTS}/reproduction/rows.jsonl")  # only ever appended to
PLAIN = {"000000", "100644"}  # modes: absent, and a file that is neither a program nor a link


@dataclass(frozen=True)
class Change:
    """A path that differs between two commits."""

    status: str  # A, M, D or T
    path: str
    modes: tuple[str, str]
    blobs: tuple[str, str]

    @property
    def folder(self) -> str:
        """The bundle it is in, of the open edition or of a frozen one: its path."""
        found = BUNDLE.match(self.path)
        return found[1] + found[2] if found else ""

    @property
    def records(self) -> bool:
        """Whether it is a verdict on a bundle."""
        return self.path == f"{self.folder}/{RECORD}"


def guard(root: Path, base: str, head: str = "HEAD") -> list[Check]:
    """Checks of what `head` changes since it left `base`.

    Raises:
        UsageError: no such commits, or no repository.
    """
    fork = _git(root, "merge-base", base, head).decode().strip()
    changes = _unmoved(_changes(root, fork, head))
    added = sorted({c.folder for c in changes if c.folder and not _there(root, fork, c.folder)})
    checks = [_bundles(changes, added), _board(root, fork, head), _editions(root, fork, changes)]
    checks.append(_rows(root, fork, head, changes))
    return [*checks, *([_alone(changes, added)] if added else [_lines(root, fork, head), _rest(changes)])]


def _git(root: Path, *words: str) -> bytes:
    done = subprocess.run(["git", *words], cwd=root, capture_output=True, check=False)
    if done.returncode:
        raise UsageError(f"git {words[0]}: {' '.join(done.stderr.decode(errors='replace').split())[:200]}")
    return done.stdout


def _changes(root: Path, fork: str, head: str) -> list[Change]:
    words = _git(root, "diff", "--raw", "-z", "--no-renames", "--no-abbrev", fork, head).decode(errors="replace")
    parts = words.split("\0")[:-1]
    found = []
    for meta, path in zip(parts[::2], parts[1::2], strict=True):
        before, after, old, new, status = meta.removeprefix(":").split()
        found.append(Change(status[0], path, (before, after), (old, new)))
    return found


def _unmoved(changes: Sequence[Change]) -> list[Change]:
    """Changes but for those of bundles that went as they were into an edition that is frozen by this very change."""
    new = {c.path.removeprefix(FROZEN).partition("/")[0] for c in changes
           if c.status == "A" and c.path.startswith(FROZEN) and c.path.endswith(f"/{editions.ABOUT}")}  # fmt: skip
    added = {
        (c.path, c.blobs[1]) for c in changes if c.folder and c.status == "A" and c.path.startswith(FROZEN)
        and c.path.removeprefix(FROZEN).partition("/")[0] in new
    }  # fmt: skip
    gone = {
        (c.path.removeprefix(f"{RESULTS}/"), c.blobs[0]): c
        for c in changes if c.folder and c.status == "D" and not c.path.startswith(FROZEN)
    }  # fmt: skip
    moved = {(path.removeprefix(FROZEN).partition("/")[2], blob): path for path, blob in added}
    both = moved.keys() & gone.keys()
    paths = {gone[place].path for place in both} | {moved[place] for place in both}
    return [c for c in changes if c.path not in paths]


def _there(root: Path, commit: str, path: str) -> bool:
    return bool(_git(root, "ls-tree", "-z", commit, "--", path))


def _text(root: Path, commit: str, path: str) -> bytes:
    return _git(root, "show", f"{commit}:{path}") if _there(root, commit, path) else b""


def _bundles(changes: Sequence[Change], added: Sequence[str]) -> Check:
    """Bundles are added whole and never changed; verification records are the maintainers'."""
    own = [c for c in changes if c.folder]
    wrong = [f"{c.path} is {'deleted' if c.status == 'D' else 'changed'}" for c in own if c.status != "A"]
    wrong += [
        f"{c.path} is no plain file" for c in changes if (c.folder or c.path == BOARD) and c.modes[1] not in PLAIN
    ]
    wrong += [f"{c.path} is added to a bundle that is there" for c in own
              if c.status == "A" and c.folder not in added and not c.records]  # fmt: skip
    wrong += [f"{c.path}: a verdict on itself" for c in own if c.folder in added and c.records]
    names = {folder: folder.rpartition("/")[2] for folder in added}
    wrong += [f"{name!r} is no bundle's name" for name in names.values() if not re.fullmatch(NAME, name)]
    wrong += [f"{len(added)} bundles at once ({', '.join(names.values())}); one each"] if len(added) > 1 else []
    if wrong:
        return Check("bundles", REJECT, some(wrong))
    records = [c.path for c in own if c.records]
    if records:
        return Check("bundles", QUESTION, f"{some(records)}: for maintainers only")
    return Check("bundles", ACCEPT, f"{names[added[0]]} is added" if added else "untouched")


def _alone(changes: Sequence[Change], added: Sequence[str]) -> Check:
    """Who adds a bundle changes nothing else but the generated board."""
    other = [c.path for c in changes if c.folder not in added and c.path != BOARD]
    said = f"a pull request with a bundle changes {some(other)} too" if other else f"nothing but the bundle and {BOARD}"
    return Check("nothing else", REJECT if other else ACCEPT, said)


def _editions(root: Path, fork: str, changes: Sequence[Change]) -> Check:
    """A frozen edition is never changed, but by bundles; a new one is a maintainer's."""
    own = [c for c in changes if c.path.startswith(FROZEN) and not c.folder]
    name = {c: c.path.removeprefix(FROZEN).partition("/")[0] for c in own}
    account = {n: f"{FROZEN}{n}/{editions.ABOUT}" for n in name.values()}
    wrong = [c.path for c in own if _there(root, fork, account[name[c]])]
    if wrong:
        return Check("editions", REJECT, f"a frozen edition is changed: {some(wrong)}")
    new = sorted(set(name.values()))
    return Check("editions", QUESTION if new else ACCEPT, f"{some(new)} is new: for maintainers only" if new
                 else "as they were frozen")  # fmt: skip


def _rest(changes: Sequence[Change]) -> Check:
    """What else lies with the rows, made of them or about them."""
    known = (f"{RESULTS}/rows.jsonl", f"{RESULTS}/packed/", FROZEN, *LINES)
    own = [c for c in changes if c.path.startswith(f"{RESULTS}/") and not c.folder]
    other = [c.path for c in own if not c.path.startswith(known)]
    said = f"{some(other)}: for maintainers only" if other else f"nothing else under {RESULTS}/ is changed"
    return Check("beside the rows", QUESTION if other else ACCEPT, said)


def _board(root: Path, fork: str, head: str) -> Check:
    """The prose around the generated part is by hand, and not a submission's to change."""
    before, after = (_text(root, commit, BOARD).decode(errors="replace") for commit in (fork, head))
    if before and _around(before) != _around(after):
        return Check("board", REJECT, f"{BOARD} is changed outside its markers")
    if before and (after.count(BEGIN), after.count(END)) != (1, 1):
        return Check("board", REJECT, f"{BOARD} has a marker more than once")
    return Check("board", ACCEPT, f"the prose of {BOARD} is as it was")


def _around(text: str) -> tuple[str, str]:
    return text.partition(BEGIN)[0], text.rpartition(END)[2]


def _rows(root: Path, fork: str, head: str, changes: Sequence[Change]) -> Check:
    """Every row that was there is there, as it was; it may have been packed, or frozen in an edition."""
    places = (f"{RESULTS}/rows.jsonl", f"{RESULTS}/packed/", FROZEN)
    touched = [c for c in changes if c.path.startswith(places) and not c.folder]
    if not touched:
        return Check("rows", ACCEPT, "untouched")
    with tempfile.TemporaryDirectory(prefix="tlbench-guard-") as scratch:
        before, after = (_every(root, commit, Path(scratch) / name) for name, commit in (("a", fork), ("b", head)))
    if not _text(root, head, f"{RESULTS}/rows.jsonl").endswith(b"\n") and _text(root, head, f"{RESULTS}/rows.jsonl"):
        return Check("rows", REJECT, f"{RESULTS}/rows.jsonl does not end with its line: its last row would not count")
    wrong = [key[:12] for key, rows in before.items() if rows != after.get(key)]
    if wrong:
        return Check("rows", REJECT, f"{len(wrong)} rows are lost, changed or doubled: {some(wrong)}")
    new = len(set(after) - set(before))
    return Check("rows", QUESTION if new else ACCEPT, f"{new} new rows without a bundle: for maintainers only" if new
                 else f"all {len(before)} as they were")  # fmt: skip


def _every(root: Path, commit: str, folder: Path) -> dict[str, list[str]]:
    """Key -> the rows under it, sorted, of a commit's store and its editions."""
    listed = _git(root, "ls-tree", "-r", "-z", "--name-only", commit, "--", f"{RESULTS}/packed/", FROZEN)
    names = [
        n
        for n in listed.decode().split("\0")[:-1]
        if f"/{archive.FOLDER}/" in n and n.endswith(".parquet") and not BUNDLE.match(n)
    ]
    (folder / "packed").mkdir(parents=True)
    (folder / "rows.jsonl").write_bytes(_text(root, commit, f"{RESULTS}/rows.jsonl"))
    for i, name in enumerate(names):
        (folder / "packed" / f"{i}.parquet").write_bytes(_text(root, commit, name))
    if skipped := Store(folder).skipped:
        raise UsageError(f"{commit[:12]}: {skipped[0].rpartition('/')[2]}")
    packed = Packed(folder).columns(archive.schema().names).to_pylist()
    lines = [line for line in (folder / "rows.jsonl").read_bytes().split(b"\n") if line.strip()]
    found: dict[str, list[str]] = {}
    for row in [*map(archive.row_of, packed), *(read_row(parsed(line)) for line in lines)]:
        insort(found.setdefault(row.key, []), json.dumps(row.values(), sort_keys=True))
    return found


def _lines(root: Path, fork: str, head: str) -> Check:
    texts = {path: (_text(root, fork, path), _text(root, head, path)) for path in LINES}
    cut = [path for path, (before, after) in texts.items() if not after.startswith(before)]
    cut = [path for path in cut if not (path.endswith(TIMINGS) and _frozen(root, head, texts[path][0]))]
    if cut:
        return Check("lines", REJECT, f"{some(cut)}: lines are changed or gone")
    grown = [path for path, (before, after) in texts.items() if after != before]
    return Check("lines", QUESTION if grown else ACCEPT, f"{some(grown)}: new lines, for maintainers only" if grown
                 else "timings and reproductions are as they were")  # fmt: skip


def _frozen(root: Path, commit: str, timings: bytes) -> bool:
    """Whether an edition of a commit holds these timings."""
    listed = _git(root, "ls-tree", "-r", "-z", "--name-only", commit, "--", FROZEN).decode().split("\0")[:-1]
    return any(_text(root, commit, name).startswith(timings) for name in listed if name.endswith(f"/{TIMINGS}"))
