"""Datasets by name: where one lies, getting it from any mirror with the right bytes, checking it.

A pull takes up where the last one stopped, downloads only what is not there yet, and checks every file.
What a card is stands in `tlbench.tasks.datasets.dataset`, whose public names are repeated here.
"""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tlbench.errors import Mistake
from tlbench.tasks.datasets.dataset import (
    PARTIAL,
    DatasetCard,
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
from tlbench.tasks.datasets.download import Tick
from tlbench.tasks.datasets.manifest import SUMS, read_sums, troubles
from tlbench.tasks.datasets.mirrors import Pull

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
        Mistake: no mirror delivers, the disk is full, the folder cannot be written.
    """
    folder = folder_in(card, root or user_root())
    own = mirror or os.environ.get("TLBENCH_MIRROR") or None
    if own and not own.startswith(("http://", "https://")):
        raise Mistake(f"mirror {own!r}: give an address that begins with http:// or https://")
    try:
        if _complete(card, folder):  # asked before the lock, so that a read-only copy is good enough
            return folder
        with _locked(folder) as waited:
            if not (waited and _complete(card, folder)):
                with _bar(card, progress) as tick:
                    Pull(card, folder, own, max(1, jobs), tick).run()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise Mistake(
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
