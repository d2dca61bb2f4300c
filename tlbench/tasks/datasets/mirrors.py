"""Mirrors: what a card says of one, the kinds of mirror that there are, and how each delivers its files.

To add a kind, write a function that delivers and add a `Kind` to `KINDS`; a setting of its own is a field of `Mirror`.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from tlbench.errors import suggest
from tlbench.tasks.datasets.download import Refused, download, placer, snapshot, unpack

if TYPE_CHECKING:
    from tlbench.tasks.datasets.fetch import Pull

GIVE_UP = 12  # files refused before any is delivered: the mirror does not have this dataset


class Mirror(BaseModel):
    """One place that serves a part: an archive, the files one by one below `url`, or a repository on a hub.

    A hub's `url` is that of the dataset there, `https://<hub>/datasets/<owner>/<name>`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    kind: str  # of `KINDS`
    url: str = Field(pattern=r"^https?://")
    revision: str | None = None  # a hub's commit; a branch would change under us
    patterns: list[str] = []  # which of a hub's files, as "data/*.parquet"; all when empty
    inside: str = ""  # stands there where the manifest has `select`; "*/" is any one top folder, or none
    digest: str | None = Field(default=None, pattern=r"^(md5:[0-9a-f]{32}|sha1:[0-9a-f]{40}|sha256:[0-9a-f]{64})$")
    file: str | None = Field(default=None, pattern=r"^\w[\w.-]*$")  # an archive's name on a --mirror

    @field_validator("kind")
    @classmethod
    def _is_known(cls, kind: str) -> str:
        if kind not in KINDS:
            raise ValueError(f"unknown{suggest(kind, KINDS)}")
        return kind

    @model_validator(mode="after")
    def _has_what_its_kind_needs(self) -> Mirror:
        if wrong := KINDS[self.kind].lacks(self):
            raise ValueError(f"a mirror of kind {self.kind!r} needs {wrong}")
        return self


@dataclass(frozen=True)
class Kind:
    """A kind of mirror."""

    deliver: Callable[[Pull, Mirror, str, dict[str, str]], set[str]]
    """Of a pull, a mirror, a part's `select` and path -> digest of the files wanted, of which there are none where no
    manifest names them: the paths that are now in the pull's folder. It notes why another is not, and raises nothing
    that a mirror is to blame for."""
    lacks: Callable[[Mirror], str] = lambda mirror: ""  # what a card does not say of such a mirror; empty: nothing
    whole: bool = False  # sends all files at once, so that another is asked first for few
    listed: bool = False  # can be asked only for files that a manifest names


def join(base: str, path: str) -> str:
    """The address of a file below another."""
    return f"{base.rstrip('/')}/{quote(path)}"


def _from_files(pull: Pull, mirror: Mirror, select: str, wanted: dict[str, str]) -> set[str]:
    """The paths that `mirror` delivered. One that is plainly dead is not asked for every file."""
    got: set[str] = set()
    refused: dict[str, str] = {}
    dead = threading.Event()

    def fetch(path: str) -> None:
        if dead.is_set():
            return
        url = join(mirror.url, mirror.inside + path.removeprefix(select))
        try:
            download(url, pull.folder / path, wanted[path], pull.tick)
            got.add(path)
        except Refused as error:
            refused[path] = str(error)
            if error.dead or (not got and len(refused) >= GIVE_UP):
                dead.set()

    pull.in_threads(fetch, wanted)
    for path in wanted.keys() - got:
        pull.note(path, mirror, refused.get(path) or next(iter(refused.values())))
    return got


def _from_archive(pull: Pull, mirror: Mirror, select: str, wanted: dict[str, str]) -> set[str]:
    """The paths that `mirror`'s archive delivered."""
    archive = pull.stage(mirror, mirror.digest or mirror.url)
    try:
        if not archive.exists():
            download(mirror.url, archive, mirror.digest, pull.tick)
        name = placer(archive, mirror.inside, select, pull.card.landmarks)
        written, wrong = unpack(archive, pull.folder, name, wanted)
    except Refused as error:
        archive.unlink(missing_ok=True)
        for path in wanted or [select]:
            pull.note(path, mirror, str(error))
        return set()
    archive.unlink()
    pull.found |= {path: digest for path, digest in written.items() if path not in pull.known}
    for path in (wanted or {select: ""}).keys() - written.keys():
        pull.note(path, mirror, wrong.get(path, "not in its archive"))
    return set(written)


def _from_hub(pull: Pull, mirror: Mirror, select: str, wanted: dict[str, str]) -> set[str]:
    """The paths that `mirror`'s repository delivered, with the bytes wanted or else those the hub publishes."""
    stage = pull.stage(mirror, mirror.url, mirror.revision)
    names = {path: mirror.inside + path.removeprefix(select) for path in wanted}
    try:
        sent = snapshot(mirror, {names[path]: wanted[path] for path in wanted}, stage, pull.jobs)
    except Refused as error:
        for path in wanted or [select]:
            pull.note(path, mirror, str(error))
        return set()
    if not wanted:
        names = {select + name.removeprefix(mirror.inside): name for name in sent if name.startswith(mirror.inside)}
    got = {path for path, name in names.items() if sent.get(name) == ""}
    for path in got:
        pull.keep(stage / names[path], path)
    shutil.rmtree(stage)
    for path in wanted.keys() - got:
        pull.note(path, mirror, sent.get(names[path], "not in its repository"))
    return got


def _unpinned(mirror: Mirror) -> str:
    there = mirror.revision and "/datasets/" in mirror.url
    return "" if there else "a 'revision' and a 'url' like https://<hub>/datasets/<name>"


KINDS = {
    "archive": Kind(_from_archive, whole=True),
    "files": Kind(_from_files, listed=True),
    "hub": Kind(_from_hub, lacks=_unpinned),
}
