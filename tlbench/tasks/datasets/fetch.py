"""Datasets by name: where one lies, getting it from any mirror with the right bytes, checking it.

A pull asks one mirror after another until every file is here. It takes up where the last one stopped, downloads only
what is not there yet, and checks every file. What a card is stands in `tlbench.tasks.datasets.dataset`, whose public
names are repeated here.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path

from tlbench.errors import UsageError
from tlbench.tasks.datasets.dataset import (
    PARTIAL,
    DatasetCard,
    Part,
    data_roots,
    dataset,
    datasets,
    file_in,
    folder_in,
    human,
    missing,
    user_root,
    where,
)
from tlbench.tasks.datasets.digests import SUMS, digest_of, read_sums, troubles, write_sums
from tlbench.tasks.datasets.download import Tick
from tlbench.tasks.datasets.mirrors import KINDS, Mirror, join

FEW = 32  # files: an archive is not worth its other bytes for so little


class _Stopped(Exception):
    """Another thread has failed, or the user pressed Ctrl-C."""


class Pull:
    """One pull into one folder: what the mirrors delivered, and what they said instead."""

    def __init__(self, card: DatasetCard, folder: Path, own: str | None, jobs: int, tick: Tick) -> None:
        self.card, self.folder, self.own, self.jobs = card, folder, own, jobs
        self.known = card.digests  # of parts without a manifest nothing: what the mirror sends says what there is
        self.found: dict[str, str] = {}  # path -> SHA-256 of what was sent for such parts
        self.reasons: dict[str, list[str]] = {}  # path -> what each mirror asked for it said
        self.stop = threading.Event()
        self.bar = tick

    def run(self) -> None:
        """Bring the folder to what the card says.

        Raises:
            UsageError: a file that no mirror delivers, with what each of them said.
            OSError: the disk is full, the folder not writable.
        """
        (self.folder / PARTIAL).touch()
        lacking = troubles(self.known, self.folder)
        self._tick_there(self.known.keys() - lacking.keys())
        for part in self.card.parts:
            wanted = {path: self.known[path] for path in lacking if path.startswith(part.select)}
            if wanted or not (self._is_known(part) or self._is_finished(part)):
                self._deliver(part, wanted)
                write_sums(self.folder / PARTIAL, self.found)
            lacking = {path: why for path, why in lacking.items() if path not in wanted}
        if lacking:
            raise UsageError(f"dataset {self.card.name!r}: no part of its card selects {min(lacking)}; add one")
        self._write_sums()
        for leftover in (found for kind in KINDS for found in self.folder.glob(f".{kind}-*")):
            if leftover.is_dir():
                shutil.rmtree(leftover)
            else:
                leftover.unlink()
        (self.folder / PARTIAL).unlink()

    def _is_known(self, part: Part) -> bool:
        """Whether the manifest says which files the part has."""
        return any(path.startswith(part.select) for path in self.known)

    def _is_finished(self, part: Part) -> bool:
        """Whether an earlier pull, not finished itself, has brought this part."""
        sums = read_sums(self.folder / PARTIAL)
        there = {path: digest for path, digest in sums.items() if path.startswith(part.select)}
        if not there or troubles(there, self.folder):
            return False
        self.found |= there
        self._tick_there(there)
        return True

    def _tick_there(self, paths: Iterable[str]) -> None:
        self.tick(sum((self.folder / path).stat().st_size for path in paths))

    def tick(self, n: int) -> None:
        """Report `n` bytes; the place where a thread learns that it should stop."""
        if self.stop.is_set():
            raise _Stopped
        self.bar(n)

    def _deliver(self, part: Part, wanted: dict[str, str]) -> None:
        mirrors = [*self._own_mirrors(part), *part.mirrors]
        if 0 < len(wanted) <= FEW:
            mirrors.sort(key=lambda mirror: KINDS[mirror.kind].whole)
        left = wanted
        for mirror in mirrors:
            got = KINDS[mirror.kind].deliver(self, mirror, part.select, left)
            left = {path: digest for path, digest in left.items() if path not in got}
            if not left and (wanted or got):
                return
        first = min(left, default=part.select)
        more = f" and {len(left) - 1} more files" if len(left) > 1 else ""
        raise UsageError(
            f"dataset {self.card.name!r}: no mirror delivers {first or 'its archive'}{more}: "
            f"{'; '.join(self.reasons[first])}; try again later, or name another address with --mirror URL"
        )

    def _own_mirrors(self, part: Part) -> list[Mirror]:
        """The user's mirror, under each name the dataset's folder may have there.

        Where no manifest covers a part, only its publisher's archive can be trusted: that is what must be served.
        """
        bases = [join(self.own, name) for name in (self.card.name, *self.card.folders)] if self.own else []
        if self._is_known(part):
            return [Mirror(kind="files", url=base, inside=part.select) for base in bases]
        archives = [(mirror.file, mirror) for mirror in part.mirrors if mirror.file and mirror.digest]
        return [m.model_copy(update={"url": join(base, file)}) for base in bases for file, m in archives[:1]]

    def keep(self, staged: Path, path: str) -> None:
        """Give a checked file its place."""
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        os.replace(staged, file)
        self._tick_there([path])
        if path not in self.known:
            self.found[path] = digest_of(file)

    def stage(self, mirror: Mirror, *parts: str | None) -> Path:
        """Where what a mirror sends lies until its files have their places; the same for the same parts, so that an
        unfinished download is found again. The end of the pull removes it."""
        label = hashlib.sha256("\n".join(part or "" for part in parts).encode()).hexdigest()[:16]
        return self.folder / f".{mirror.kind}-{label}"

    def note(self, path: str, mirror: Mirror, reason: str) -> None:
        """Remember why a mirror did not deliver a file."""
        address = mirror.url.partition("://")[2]
        short = address if len(address) <= 60 else f"{address[:59]}…"
        self.reasons.setdefault(path, []).append(f"{short}: {reason}")

    def in_threads(self, work: Callable[[str], None], paths: Iterable[str]) -> None:
        """`work` on every path; the first failure, or Ctrl-C, stops the others at their next bytes."""
        with ThreadPoolExecutor(self.jobs) as pool:
            try:
                for done in as_completed([pool.submit(work, path) for path in paths]):
                    done.result()
            except BaseException:
                self.stop.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _write_sums(self) -> None:
        """Leave the SHA-256 of every file beside the data, where the manifest does not already say them all."""
        if self.found or any(not digest.startswith("sha256:") for digest in self.known.values()):
            known = {p: d if d.startswith("sha256:") else digest_of(self.folder / p) for p, d in self.known.items()}
            write_sums(self.folder / SUMS, known | self.found)


__all__ = [
    "DatasetCard",
    "data_roots",
    "dataset",
    "datasets",
    "file_in",
    "human",
    "lacking",
    "missing",
    "pull",
    "verify",
    "where",
]


def verify(card: DatasetCard, folder: Path) -> list[str]:
    """What is wrong with the data in `folder`, one line a file; empty when every byte is as published.

    A folder with a SHA256SUMS is meant to hold what that lists, which may be less than the whole dataset
    (see `lacking`); the publisher's digests still come first. Where no digest is known (no manifest, no
    SHA256SUMS) the files are only counted, and a line says so.
    """
    sums, own = card.digests, _own_sums(folder)
    sums = {path: sums.get(path, digest) for path, digest in own.items()} or sums
    if sums:
        return [f"{path}: {trouble}" for path, trouble in troubles(sums, folder).items()]
    found = {d: sum(file.is_file() for file in (folder / d).rglob("[!.]*")) for d in card.counts}
    counted = any((folder / d).is_dir() for d in card.counts)  # else its domains are no folders
    return [
        f"{SUMS}: missing, so files were counted and no bytes checked; "
        f"'tlbench data pull {card.name}' gets a copy that can be checked",
        *(f"{d}: {found[d]} files, expected {n}" for d, n in card.counts.items() if counted and n != found[d]),
    ]


def lacking(card: DatasetCard, folder: Path) -> list[str]:
    """How the data in `folder` differs from the whole dataset on purpose: what is left out, what stands in."""
    known = card.digests
    gone = [path for path in known if not file_in(card, folder, path).is_file()]
    others = [f"{other} stands in for {path}" for path, other in card.stand_ins.items()
              if file_in(card, folder, path).name == Path(other).name]  # fmt: skip
    return [*([f"{len(gone):,} of {len(known):,} files are not here: {gone[0]} …"] if gone else []), *others]


def pull(
    card: DatasetCard,
    root: Path | None = None,
    mirror: str | None = None,
    jobs: int = 8,
    progress: bool = True,
) -> Path:
    """Download what is not here yet into `<root>/<name>`, check it, and return that folder.

    Args:
        root: the data root to write to; the user's data folder by default.
        mirror: an address that serves `<mirror>/<name>/<path>`, asked first; else TLBENCH_MIRROR.
        jobs: files downloaded at the same time.
        progress: show a bar on stderr when it is a terminal.

    Raises:
        UsageError: no mirror delivers, the disk is full, the folder cannot be written.
    """
    folder = folder_in(card, root or user_root())
    own = mirror or os.environ.get("TLBENCH_MIRROR") or None
    if own and not own.startswith(("http://", "https://")):
        raise UsageError(f"mirror {own!r}: give an address that begins with http:// or https://")
    try:
        if _complete(card, folder):  # asked before the lock, so that a read-only copy is good enough
            return folder
        with _locked(folder) as waited:
            if not (waited and _complete(card, folder)):
                with _bar(card, progress) as tick:
                    Pull(card, folder, own, max(1, jobs), tick).run()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UsageError(
            f"{error.filename or folder}: {reason}; look to its space and permissions, "
            "or choose another folder with --data-root DIR"
        ) from None
    return folder


def _own_sums(folder: Path) -> dict[str, str]:
    """path -> digest that a pull, or whoever put the data there, left beside it."""
    return read_sums(folder / SUMS) if (folder / SUMS).is_file() else {}


def _complete(card: DatasetCard, folder: Path) -> bool:
    if not folder.is_dir() or (folder / PARTIAL).exists():
        return False
    known, own = card.digests, _own_sums(folder)
    manifested = all(any(path.startswith(part.select) for path in known) for part in card.parts)
    return bool(manifested or own) and not troubles(own | known, folder)


@contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Nobody else pulls into `folder` meanwhile. Yields whether somebody had to be waited for."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f".{folder.name}.lock").open("w") as lock:  # released when closed, even by a crash
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            waited = False
        except BlockingIOError:
            print(f"waiting for another pull into {folder}", file=sys.stderr)
            fcntl.flock(lock, fcntl.LOCK_EX)
            waited = True
        yield waited


@contextmanager
def _bar(card: DatasetCard, show: bool) -> Iterator[Tick]:
    """One bar for the whole pull: bytes, speed, time left. Nothing where nobody watches."""
    if not show or not sys.stderr.isatty():
        yield lambda n: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

    columns = (
        "{task.description}",
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(card.name, total=card.bytes)

        def tick(n: int) -> None:
            bar.advance(task, n)
            state = bar.tasks[0]
            if state.total is not None and state.completed > state.total:
                bar.update(task, total=None)  # an archive with more in it than we keep: no end in sight

        yield tick
