"""What a dataset card says, and where on this machine its data may lie.

A card, `tasks/datasets/<name>.toml`, names the terms, the mirrors and, where the publisher's bytes are known, a
manifest beside it, a list of digests. Nothing here touches the network.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import platformdirs
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, model_validator

from tlbench.errors import UsageError, suggest
from tlbench.tasks.datasets.digests import INSIDE, digest_of, read_sums
from tlbench.tasks.datasets.mirrors import KINDS, Mirror
from tlbench.tasks.toml_folder import TomlFolder

DATASETS = TomlFolder("datasets", "unknown dataset {name!r}", "a dataset's name or a card's path")
PARTIAL = ".partial"  # lies in a folder whose download has not finished


class Part(BaseModel):
    """The manifest entries that begin with `select`, and the mirrors to ask for them, in order."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    select: str = ""
    mirrors: list[Mirror] = Field(min_length=1)


class DatasetCard(BaseModel):
    """One dataset. It tells what may be done with the data as plainly as where the data is."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: str = Field(pattern=r"^[a-z0-9_]+$")
    title: str
    license: str
    terms: str
    cite: str
    homepage: str
    bytes: int | None = Field(default=None, gt=0)  # of the whole download; left out where nobody has said
    counts: dict[str, int]  # samples a domain
    manifest: str | None = Field(default=None, pattern=r"^\w[\w.-]*$")
    decompressed: bool = False  # the manifest's digests of .gz files are of what they hold
    stand_ins: dict[str, str] = {}  # path -> another file that may lie in its place: the same kind of content
    folders: list[str] = []  # other names its folder may have in a data root
    marks: list[str] = []  # paths by which to know its folder, and the top of its archive
    parts: list[Part] = Field(min_length=1)
    _home: Path = PrivateAttr(default=Path())

    @model_validator(mode="after")
    def _single_files_need_a_manifest(self) -> DatasetCard:
        kinds = (mirror.kind for part in self.parts for mirror in part.mirrors)
        listed = next((kind for kind in kinds if KINDS[kind].listed), None)
        if listed and self.manifest is None:
            raise ValueError(f"a mirror of kind {listed!r} needs a 'manifest'; add one, or give archives only")
        return self

    @property
    def digests(self) -> dict[str, str]:
        """Relative path -> digest of every file, from the manifest; empty when the card has none."""
        sums = read_sums(self._home / self.manifest) if self.manifest else {}
        packed = {path for path in sums if self.decompressed and path.endswith(".gz")}
        return {path: f"{INSIDE}{digest}" if path in packed else digest for path, digest in sums.items()}

    @property
    def checksum(self) -> str:
        """The digest of the manifest, which has those of all files; empty when the card has none."""
        return digest_of(self._home / self.manifest) if self.manifest else ""

    @property
    def landmarks(self) -> list[str]:
        """The relative paths that a folder with this data must hold."""
        return self.marks or sorted({path.split("/")[0] for path in self.digests})


def datasets() -> list[str]:
    """The names of all datasets that ship with tlbench."""
    return [*DATASETS.files()]


def dataset(name: str) -> DatasetCard:
    """The card called `name`, or the one in a file of your own, `my/card.toml`.

    Raises:
        UsageError: nothing of that name (says what is close), or a card that is wrong (says where).
    """
    if name.endswith(".toml"):
        return _read(Path(name))
    return _read(DATASETS.file(name))


def _read(file: Path) -> DatasetCard:
    values, _ = DATASETS.read(file)
    try:
        card = DatasetCard.model_validate(values)
    except ValidationError as error:
        raise UsageError(f"{file}: {_complaint(error.errors()[0])}") from None
    if card.name != file.stem:
        raise UsageError(f"{file}: 'name' is {card.name!r}; it must be the file's own, {file.stem!r}")
    card._home = file.parent
    return card


def _complaint(error: Any) -> str:
    """The first thing wrong with a card: which key, what it holds, what it should."""
    path = [str(step) for step in error["loc"]]
    key = ".".join(path)
    if error["type"] == "extra_forbidden":
        models: dict[int, type[BaseModel]] = {1: DatasetCard, 3: Part, 5: Mirror}  # parts.0.mirrors.1.key
        return f"unknown key {key!r}{suggest(path[-1], models[len(path)].model_fields)}"
    if error["type"] == "missing":
        return f"key {key!r} is missing; every dataset card needs it"
    message = str(error["msg"]).removeprefix("Value error, ")
    return f"{key!r} is {error['input']!r}: {message}" if key else message


def user_root() -> Path:
    """Where `pull` puts data unless told otherwise."""
    return platformdirs.user_data_path("tlbench") / "data"


def data_roots(extra: Path | None) -> list[Path]:
    """The folders searched for datasets, in order: `extra`, those in TLBENCH_DATA, the user's own."""
    named = [Path(entry) for entry in os.environ.get("TLBENCH_DATA", "").split(os.pathsep) if entry]
    return [*([extra] if extra else []), *named, user_root()]


def folder_in(card: DatasetCard, root: Path) -> Path:
    """The card's folder in `root`: one that is there under any of its names, else `<root>/<name>`."""
    names = (card.name, *card.folders)
    return next((root / name for name in names if (root / name).is_dir()), root / card.name)


def file_in(card: DatasetCard, folder: Path, path: str) -> Path:
    """Where a card's file lies in `folder`: under its own name, else under its stand-in's if that is there."""
    other = card.stand_ins.get(path)
    return folder / other if other and not (folder / path).exists() and (folder / other).exists() else folder / path


def where(card: DatasetCard, root: Path | None = None) -> Path | None:
    """The folder with the card's data on this machine; None when it is not here.

    A folder whose download has not finished does not count: too few samples would go unnoticed.
    `root` may also be the dataset's own folder.
    """
    for base in data_roots(root):
        folder = folder_in(card, base)
        marks = card.landmarks if base == root and not folder.is_dir() else []
        if marks and all(file_in(card, base, mark).exists() for mark in marks):
            folder = base
        if folder.is_dir() and not (folder / PARTIAL).exists():
            return folder
    return None


def missing(card: DatasetCard) -> str:
    """The one line for a user whose data is not here: what, whence, how big, and what to do."""
    unfinished = folder_in(card, user_root()) / PARTIAL
    state = "its download has not finished" if unfinished.exists() else "it is not on this machine"
    return (
        f"dataset {card.name!r} ({card.title}): {state}; run 'tlbench data pull {card.name}' to get "
        f"it ({human(card.bytes)}; see {card.homepage}), or say where you have it with --data-root DIR or "
        f"TLBENCH_DATA=DIR"
    )


def human(size: float | None) -> str:
    """`size` bytes as people write it: 13.1 MB; None is a size that nobody has said."""
    if size is None:
        return "unknown size"
    units = iter(("bytes", "kB", "MB", "GB", "TB"))
    unit = next(units)
    while size >= 999.5 and unit != "TB":
        size, unit = size / 1000, next(units)
    return f"{size:.0f} {unit}" if unit == "bytes" or size >= 99.95 else f"{size:.1f} {unit}"
