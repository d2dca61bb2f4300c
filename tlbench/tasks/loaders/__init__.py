"""Where arrays come from; one dataset family per module."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

from tlbench import cache as cachedir
from tlbench.data import Domain
from tlbench.errors import UsageError
from tlbench.tasks import builtin  # fmt: skip
from tlbench.tasks.card import HOMELESS, Card, Place, Task
from tlbench.tasks.datasets import fetch
from tlbench.tasks.loaders import (
    hub_parquet,
    idx,
    image_folders,
    mat_svmlight,
    npz,
    omniglot,
    tabular,
    texts,
    views,
    voc,
)


def load(card: Card, domain: str, root: Path | None, seed: int = 0) -> Domain:
    """One domain of a card, labels included.

    Args:
        root: where the user says the data is (`--data-root`), searched before TLBENCH_DATA and the data folder
        seed: of the cell; only what is drawn anew for every seed depends on it

    Raises:
        UsageError: the data is missing, incomplete or broken; says where and what to do.
    """
    if drawn_anew(card, domain):
        return _generated(card, domain, seed)
    return _loaded(card, domain, root)


def check(task: Task, root: Path | None) -> None:
    """Raises UsageError where a task's sources and target do not go together."""
    if not any(drawn_anew(task.card, d) for d in (*task.sampled, task.target)):
        views.check_compatible(task, lambda domain: load(task.card, domain, root))


def drawn_anew(card: Card, domain: str) -> bool:
    """Whether a domain is another one for every seed."""
    return card.place(domain).loader == "generated"


@lru_cache(maxsize=32)
def _generated(card: Card, domain: str, seed: int) -> Domain:
    from tlbench.tasks import synthetic

    made: Domain = synthetic.domain(card.name, domain, seed)
    return made


@cache
def _loaded(card: Card, domain: str, root: Path | None) -> Domain:
    place = card.place(domain)
    where = f"{card.name}/{domain}"
    if place.loader == "embedded":
        return views.placed(builtin.load(Path(place.path).name, cachedir.folder("embedded")), domain, place, where)
    assert place.loader is not None
    home = locate(card, domain, root)
    file = _file(place, home, place.path)
    test = _file(place, home, place.test_path) if place.test_path else None
    for needed in filter(None, (file, test, *(home / m for m in place.more))):
        if not needed.exists():
            raise UsageError(f"{where}: {needed} is missing; the files at hand cover {_covered(card, root)}")
    return views.placed(
        READERS[place.loader](Found(home, file, test, domain, place, card.problem.reads_numbers)), domain, place, where
    )


@dataclass(frozen=True)
class Found:
    """A domain's files."""

    home: Path  # the dataset's folder
    file: Path
    test: Path | None
    name: str
    place: Place
    number: bool  # the labels are numbers to predict


def _parts(found: Found) -> dict[str, Path]:
    """The files of one text domain: training, further training, test."""
    more = {Path(m).stem: found.home / m for m in found.place.more}
    return {"train": found.file, **more, **({"test": found.test} if found.test else {})}


READERS: dict[str, Callable[[Found], Domain]] = {
    "images": lambda f: image_folders.folder(f.file, f.name, f.place.classes),
    "lists": lambda f: image_folders.listed(f.home / f.place.root, f.file, f.test, f.name, f.place.classes),
    "parquet": lambda f: hub_parquet.load(f.file, f.place.part or f.name, f.place.classes),
    "parquet_splits": lambda f: hub_parquet.splits(f.file, f.name, f.place.classes),
    "cub": lambda f: image_folders.cub(f.file, f.name, f.place.classes),
    "aircraft": lambda f: image_folders.aircraft(
        f.home / f.place.root, f.file, f.test or f.file, f.name, f.place.classes
    ),
    "mat": lambda f: mat_svmlight.load(f.file, f.test, f.name, "mat", f.place.classes),
    "matfolder": lambda f: mat_svmlight.matfolder(f.file, f.name, f.place.classes),
    "svmlight": lambda f: mat_svmlight.load(f.file, f.test, f.name, "svmlight", f.place.classes),
    "idx": lambda f: idx.load(f.file, f.name, f.place.classes),
    "usps": lambda f: idx.usps(f.file, f.name, f.place.classes),
    "medmnist": lambda f: npz.medmnist(f.file, f.name, f.place.classes),
    "omniglot": lambda f: omniglot.characters(f.file, f.name, f.place.classes, f.place.only, f.place.without),
    "omniglot_runs": lambda f: omniglot.runs(f.file, f.name, f.place.classes),
    "voc": lambda f: voc.images(f.file, f.name, f.place.classes),
    "voc_cells": lambda f: voc.cells(f.file, f.name, f.place.classes),
    "voc_tiles": lambda f: voc.tiles(f.file, f.name, f.place.classes, f.place.only),
    "voc_tiles_near": lambda f: voc.tiles(f.file, f.name, f.place.classes, f.place.only, side=80),
    "lines": lambda f: texts.lines(_parts(f), f.name, f.place.classes),
    "jsonl": lambda f: texts.jsonl(_parts(f), f.name, f.place.classes),
    "csv": lambda f: texts.table(
        _parts(f), f.name, f.place.classes, str(f.place.text), f.place.label,
        f.home / f.place.names if f.place.names else None,
    ),
    "texts": lambda f: texts.folder(f.file, f.name, f.place.classes),
    "table": lambda f: (
        tabular.texts(f.file, f.name, f.place.label, f.place.text, f.place.classes)
        if f.place.text
        else tabular.load(f.file, f.name, f.place.label, f.place.drop, f.place.classes, f.number)
    ),
    "npz": lambda f: npz.load(f.file, f.name, f.place.classes, f.number),
    "npy": lambda f: npz.folder(f.file, f.name, f.place.classes, f.number),
}  # fmt: skip


def locate(card: Card, domain: str, root: Path | None) -> Path:
    """The folder of a domain's dataset; the root of the file system where its path is absolute.

    Raises:
        UsageError: it is nowhere; what is missing, where it comes from, how big it is and what gets it.
    """
    place = card.place(domain)
    if place.data is None:
        return Path("/")
    dataset = fetch.dataset(place.data)
    found = fetch.where(dataset, root)
    if found is None:
        raise UsageError(fetch.missing(dataset))
    return found


def available(card: Card, domain: str, root: Path | None) -> bool:
    """Whether the files of one domain are there (its folder or file; not whether they are whole)."""
    place = card.place(domain)
    if place.loader in HOMELESS:
        return True
    home = Path("/") if place.data is None else fetch.where(fetch.dataset(place.data), root)
    return home is not None and _file(place, home, place.path).exists()


def _file(place: Place, home: Path, path: str) -> Path:
    """A file of the domain's dataset, or what stands in for it."""
    return fetch.file_in(fetch.dataset(place.data), home, path) if place.data else home / path


def _covered(card: Card, root: Path | None) -> str:
    return ", ".join(d for d in card.all_domains if available(card, d, root)) or "no domain"
