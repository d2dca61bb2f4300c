"""Rows on disk: one immutable JSON line a cell, appended whole and synced, never changed.

`rows.jsonl` is the store. A worker elsewhere writes a shard of its own under `shards/`, which `collect` folds in.
`pack` moves the rows into a segment of Parquet (see `archive`), which is what one publishes.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import platformdirs

from tlbench.errors import UsageError
from tlbench.results import archive
from tlbench.results.archive import Packed
from tlbench.results.row import Row, read_row

MOST_NAMED = 10  # broken lines told one by one


def default_folder() -> Path:
    """TLBENCH_RESULTS, else `results/` of the tlbench checkout one stands in, else the user's data folder."""
    if named := os.environ.get("TLBENCH_RESULTS"):
        return Path(named)
    for folder in (Path.cwd(), *Path.cwd().parents):
        if (folder / "leaderboard.md").is_file() and (folder / "tasks").is_dir():
            return folder / "results"
    return Path(platformdirs.user_data_path("tlbench")) / "results"


class Rows(Mapping[str, Row]):
    """Key -> row: those of the lines, and those of the segments, which are made when they are asked for."""

    def __init__(self, packed: Packed) -> None:
        self.packed = packed
        self.lines: dict[str, Row] = {}

    def __getitem__(self, key: str) -> Row:
        return self.lines[key] if key in self.lines else self.packed.row(key)

    def __contains__(self, key: object) -> bool:
        return key in self.lines or key in self.packed.places

    def __iter__(self) -> Iterator[str]:
        yield from (key for key in self.packed.places if key not in self.lines)
        yield from self.lines

    def __len__(self) -> int:
        places = self.packed.places
        return len(places) + sum(key not in places for key in self.lines)

    def every(self) -> list[Row]:
        """All rows, made at once: quicker than one by one."""
        return [row for row in self.packed.rows() if row.key not in self.lines] + list(self.lines.values())

    def put(self, row: Row) -> None:
        """Take a row in: the first ok row of a key stands."""
        if row.key not in self or not self[row.key].ok:
            self.lines[row.key] = row


@dataclass
class Store:
    """The rows under a folder, and what was wrong with lines that are none."""

    folder: Path
    name: str = "rows.jsonl"
    rows: Rows = field(init=False)
    skipped: list[str] = field(default_factory=list)  # 'file:line: why'
    _read_to: int = 0
    _line: int = 0

    def __post_init__(self) -> None:
        self.rows = Rows(Packed(self.folder))
        self.refresh()

    @property
    def file(self) -> Path:
        return self.folder / self.name

    def refresh(self) -> None:
        """Take in what was appended since the last look, by whichever process."""
        try:
            with self.file.open("rb") as stream:
                if os.fstat(stream.fileno()).st_size < self._read_to:  # its rows were packed meanwhile
                    self._read_to = self._line = 0
                stream.seek(self._read_to)
                data = stream.read()
        except FileNotFoundError:
            return
        except OSError as error:
            raise UsageError(
                f"{self.file}: cannot be read ({error.strerror}); choose another store with --results"
            ) from None
        *lines, _ = data.split(b"\n")  # the last is empty, being written, or torn: looked at again next time
        for line in lines:
            self._read_to += len(line) + 1
            self._line += 1
            self._take(line)

    def _take(self, line: bytes) -> None:
        if not line.strip():
            return
        try:
            row = read_row(parsed(line))
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            self.skipped.append(f"{self.file}:{self._line}: skipped, not a row ({str(error)[:120]})")
            return
        self.rows.put(row)

    def append(self, row: Row) -> None:
        """Write one row whole and synced, or leave the store as it was.

        Raises:
            UsageError: the disk is full, or the store cannot be written.
        """

        def wanted() -> bool:
            self.refresh()  # another run on this store may have been faster
            return row.key not in self.rows or not self.rows[row.key].ok

        append_lines(self.file, [row.values()], f"the {len(self.rows)} rows written before are safe", wanted)
        self.refresh()

    def warnings(self) -> list[str]:
        """What a reader should be told of lines that are no rows."""
        torn = [f"{self.file}:{self._line + 1}: skipped, a torn last line"] if self._torn_now() else []
        more = len(self.skipped) - MOST_NAMED
        hidden = [f"{self.file}: {more} more lines skipped, no rows either"] if more > 0 else []
        return self.skipped[:MOST_NAMED] + hidden + torn

    def _torn_now(self) -> bool:
        try:
            return self.file.stat().st_size > self._read_to
        except FileNotFoundError:
            return False


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def append_lines(
    file: Path, values: Sequence[Mapping[str, Any]], safe: str, wanted: Callable[[], bool] = lambda: True
) -> None:
    """Write JSON lines whole and synced, all or none, under the file's lock and if they are `wanted` then.

    Raises:
        UsageError: the disk is full, or the file cannot be written; `safe` says what is not lost.
    """
    texts = [json.dumps(v, separators=(",", ":"), ensure_ascii=False, allow_nan=False) + "\n" for v in values]
    data = "".join(texts).encode(errors="replace")  # a reason may hold half a character
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with _locked(file) as fd:
            if not wanted():
                return
            end = os.lseek(fd, 0, os.SEEK_END)
            if end and os.pread(fd, 1, end - 1) != b"\n":
                data = b"\n" + data  # a torn line stays a line of its own, to be skipped
            _write(fd, data, end)
    except OSError as error:
        why = "the disk is full" if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) else error.strerror
        raise UsageError(
            f"{file}: {why}; {safe}: make room or choose another store with --results, then repeat the command"
        ) from None


def parsed(line: bytes) -> Any:
    """A line's JSON, which has no NaN and no infinity.

    Raises:
        ValueError, RecursionError: it is none.
    """
    return json.loads(line, parse_constant=_refuse)


@contextlib.contextmanager
def _locked(file: Path) -> Iterator[int]:
    fd = os.open(file, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield fd
    finally:
        os.close(fd)


def _write(fd: int, line: bytes, end: int) -> None:
    """All of `line`, synced; what a full disk took of it is cut off again."""
    try:
        written = 0
        while written < len(line):
            written += os.write(fd, line[written:])
        os.fsync(fd)
    except OSError:
        with contextlib.suppress(OSError):
            os.ftruncate(fd, end)
        raise


def pack(folder: Path) -> tuple[Path | None, int]:
    """Move every row of `rows.jsonl` into a new segment. Returns its file, if there were rows, and how many.

    Killed in between, it leaves rows in both places, and the next one packs them again: nothing is lost.
    """
    store = Store(folder)
    if store.skipped:
        raise UsageError(f"{store.skipped[0]}; mend or remove that line, then pack again")
    if not store.file.exists():
        return None, 0
    try:
        with _locked(store.file) as fd:
            store.refresh()
            rows = list(store.rows.lines.values())
            file = archive.write(folder, rows) if rows else None
            os.ftruncate(fd, 0)
            os.fsync(fd)
    except OSError as error:
        raise UsageError(
            f"{folder}: packing failed ({error.strerror}); no row is lost, make room and pack again"
        ) from None
    return file, len(rows)


def shard(folder: Path, index: int) -> Store:
    """The store of one worker elsewhere: a file that no other process writes."""
    return Store(folder / "shards", f"{os.uname().nodename}-{os.getpid()}-{index}.jsonl")


def collect(folder: Path) -> tuple[int, list[str]]:
    """Fold every shard into the store and remove it. Returns how many rows were new, and lines that were no rows."""
    store = Store(folder)
    new, warnings = 0, []
    for file in sorted((folder / "shards").glob("*.jsonl")):
        part = Store(file.parent, file.name)
        for key, row in part.rows.items():
            if key not in store.rows or (row.ok and not store.rows[key].ok):
                store.append(row)
                new += 1
        warnings += part.warnings()
        if part.rows and not part.warnings():  # an empty one is about to be written
            file.unlink(missing_ok=True)
    return new, warnings
