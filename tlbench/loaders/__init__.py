"""Where arrays come from; one dataset family per module."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, lru_cache
from pathlib import Path

from tlbench import cachedir, fetch
from tlbench.card import HOMELESS, Card, Place
from tlbench.data import Domain
from tlbench.loaders import embedded, folders, tables, views
from tlbench.mistake import Mistake


def load(card: Card, domain: str, root: Path | None, seed: int = 0) -> Domain:
    """One domain of a card, labels included.

    Args:
        root: where the user says the data is (`--data-root`), searched before TLBENCH_DATA and the data folder
        seed: of the cell; only what is drawn anew for every seed depends on it

    Raises:
        Mistake: the data is missing, incomplete or broken; says where and what to do.
    """
    if drawn_anew(card, domain):
        return _generated(card, domain, seed)
    return _loaded(card, domain, root)


def drawn_anew(card: Card, domain: str) -> bool:
    """Whether a domain is another one for every seed."""
    return card.place(domain).loader == "generated"


@lru_cache(maxsize=32)
def _generated(card: Card, domain: str, seed: int) -> Domain:
    from tlbench import calibration

    made: Domain = calibration.domain(card.name, domain, seed)
    return made


@cache
def _loaded(card: Card, domain: str, root: Path | None) -> Domain:
    place = card.place(domain)
    where = f"{card.name}/{domain}"
    if place.loader == "embedded":
        return views.placed(embedded.load(Path(place.path).name, cachedir.folder("embedded")), domain, place, where)
    assert place.loader is not None
    home = locate(card, domain, root)
    file = home / place.path
    test = home / place.test_path if place.test_path else None
    for needed in filter(None, (file, test)):
        if not needed.exists():
            raise Mistake(f"{where}: {needed} is missing; the files at hand cover {_covered(card, root)}")
    return views.placed(READERS[place.loader](file, test, domain, place), domain, place, where)


Reader = Callable[[Path, Path | None, str, Place], Domain]
READERS: dict[str, Reader] = {
    "images": lambda file, test, name, place: folders.load(file, name, place.classes),
    "mat": lambda file, test, name, place: tables.load(file, test, name, "mat", place.classes),
    "svmlight": lambda file, test, name, place: tables.load(file, test, name, "svmlight", place.classes),
}


def locate(card: Card, domain: str, root: Path | None) -> Path:
    """The folder of a domain's dataset; the root of the file system where its path is absolute.

    Raises:
        Mistake: it is nowhere; what is missing, where it comes from, how big it is and what gets it.
    """
    place = card.place(domain)
    if place.data is None:
        return Path("/")
    dataset = fetch.dataset(place.data)
    found = fetch.where(dataset, root)
    if found is None:
        raise Mistake(fetch.missing(dataset))
    return found


def available(card: Card, domain: str, root: Path | None) -> bool:
    """Whether the files of one domain are there (its folder or file; not whether they are whole)."""
    place = card.place(domain)
    if place.loader in HOMELESS:
        return True
    home = Path("/") if place.data is None else fetch.where(fetch.dataset(place.data), root)
    return home is not None and (home / place.path).exists()


def _covered(card: Card, root: Path | None) -> str:
    return ", ".join(d for d in card.all_domains if available(card, d, root)) or "no domain"
