"""Ask one mirror after another until every file of a dataset is here with the right bytes."""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from urllib.parse import quote

from tlbench.errors import Mistake
from tlbench.tasks.datasets import hub
from tlbench.tasks.datasets.dataset import PARTIAL, DatasetCard, Mirror, Part
from tlbench.tasks.datasets.download import Refused, Tick, download
from tlbench.tasks.datasets.manifest import SUMS, digest_of, read_sums, troubles, write_sums
from tlbench.tasks.datasets.unpack import placer, unpack

FEW = 32  # files: an archive is not worth its other bytes for so little
GIVE_UP = 12  # files refused before any is delivered: the mirror does not have this dataset


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
            Mistake: a file that no mirror delivers, with what each of them said.
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
            raise Mistake(f"dataset {self.card.name!r}: no part of its card selects {min(lacking)}; add one")
        self._write_sums()
        for leftover in self.folder.glob(".archive-*"):
            leftover.unlink()
        for folder in self.folder.glob(".hub-*"):
            shutil.rmtree(folder)
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
            mirrors.sort(key=lambda mirror: mirror.kind == "archive")
        left = wanted
        asks = {"files": self._from_files, "archive": self._from_archive, "hub": self._from_hub}
        for mirror in mirrors:
            got = asks[mirror.kind](mirror, part.select, left)
            left = {path: digest for path, digest in left.items() if path not in got}
            if not left and (wanted or got):
                return
        first = min(left, default=part.select)
        more = f" and {len(left) - 1} more files" if len(left) > 1 else ""
        raise Mistake(
            f"dataset {self.card.name!r}: no mirror delivers {first or 'its archive'}{more}: "
            f"{'; '.join(self.reasons[first])}; try again later, or name another address with --mirror URL"
        )

    def _own_mirrors(self, part: Part) -> list[Mirror]:
        """The user's mirror, under each name the dataset's folder may have there.

        Where no manifest covers a part, only its publisher's archive can be trusted: that is what must be served.
        """
        bases = [_join(self.own, name) for name in (self.card.name, *self.card.folders)] if self.own else []
        if self._is_known(part):
            return [Mirror(kind="files", url=base, inside=part.select) for base in bases]
        archives = [(mirror.file, mirror) for mirror in part.mirrors if mirror.file and mirror.digest]
        return [m.model_copy(update={"url": _join(base, file)}) for base in bases for file, m in archives[:1]]

    def _from_files(self, mirror: Mirror, select: str, wanted: dict[str, str]) -> set[str]:
        """The paths that `mirror` delivered. One that is plainly dead is not asked for every file."""
        got: set[str] = set()
        refused: dict[str, str] = {}
        dead = threading.Event()

        def fetch(path: str) -> None:
            if dead.is_set():
                return
            url = _join(mirror.url, mirror.inside + path.removeprefix(select))
            try:
                download(url, self.folder / path, wanted[path], self.tick)
                got.add(path)
            except Refused as error:
                refused[path] = str(error)
                if error.dead or (not got and len(refused) >= GIVE_UP):
                    dead.set()

        self._in_threads(fetch, wanted)
        for path in wanted.keys() - got:
            self._note(path, mirror, refused.get(path) or next(iter(refused.values())))
        return got

    def _from_archive(self, mirror: Mirror, select: str, wanted: dict[str, str]) -> set[str]:
        """The paths that `mirror`'s archive delivered."""
        archive = self.folder / f".archive-{_label(mirror.digest or mirror.url)}"
        try:
            if not archive.exists():
                download(mirror.url, archive, mirror.digest, self.tick)
            name = placer(archive, mirror.inside, select, self.card.landmarks)
            written, wrong = unpack(archive, self.folder, name, wanted)
        except Refused as error:
            archive.unlink(missing_ok=True)
            for path in wanted or [select]:
                self._note(path, mirror, str(error))
            return set()
        archive.unlink()
        self.found |= {path: digest for path, digest in written.items() if path not in self.known}
        for path in (wanted or {select: ""}).keys() - written.keys():
            self._note(path, mirror, wrong.get(path, "not in its archive"))
        return set(written)

    def _from_hub(self, mirror: Mirror, select: str, wanted: dict[str, str]) -> set[str]:
        """The paths that `mirror`'s repository delivered, with the bytes wanted or else those the hub publishes."""
        stage = self.folder / f".hub-{_label(mirror.url, mirror.revision)}"
        names = {path: mirror.inside + path.removeprefix(select) for path in wanted}
        try:
            sent = hub.snapshot(mirror, {names[path]: wanted[path] for path in wanted}, stage, self.jobs)
        except Refused as error:
            for path in wanted or [select]:
                self._note(path, mirror, str(error))
            return set()
        if not wanted:
            names = {select + name.removeprefix(mirror.inside): name for name in sent if name.startswith(mirror.inside)}
        got = {path for path, name in names.items() if sent.get(name) == ""}
        for path in got:
            self._keep(stage / names[path], path)
        shutil.rmtree(stage)
        for path in wanted.keys() - got:
            self._note(path, mirror, sent.get(names[path], "not in its repository"))
        return got

    def _keep(self, staged: Path, path: str) -> None:
        """Give a checked file its place."""
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        os.replace(staged, file)
        self._tick_there([path])
        if path not in self.known:
            self.found[path] = digest_of(file)

    def _note(self, path: str, mirror: Mirror, reason: str) -> None:
        address = mirror.url.partition("://")[2]
        short = address if len(address) <= 60 else f"{address[:59]}…"
        self.reasons.setdefault(path, []).append(f"{short}: {reason}")

    def _in_threads(self, work: Callable[[str], None], paths: Iterable[str]) -> None:
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


def _label(*parts: str | None) -> str:
    """A short name, the same for the same parts: an unfinished download is found again by it."""
    return hashlib.sha256("\n".join(part or "" for part in parts).encode()).hexdigest()[:16]


def _join(base: str, path: str) -> str:
    return f"{base.rstrip('/')}/{quote(path)}"
