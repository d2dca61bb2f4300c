"""Where arrays come from; one dataset family per module."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from tlbench import cachedir, fetch
from tlbench.card import Card
from tlbench.data import Domain
from tlbench.loaders import embedded, folders, tables
from tlbench.mistake import Mistake


@cache
def load(card: Card, domain: str, root: Path | None) -> Domain:
    """One domain of a card, labels included.

    Args:
        root: where the user says the data is (`--data-root`), searched before TLBENCH_DATA and the data folder

    Raises:
        Mistake: the data is missing, incomplete or broken; says where and what to do.
    """
    if card.loader == "embedded":
        return embedded.load(domain, cachedir.folder("embedded"))
    place = locate(card, root) / card.path.format(domain=domain)
    if card.loader == "images":
        return folders.load(place, domain, card.classes)
    test = locate(card, root) / card.test_path.format(domain=domain) if card.test_path else None
    for file in filter(None, (place, test)):
        if not file.is_file():
            raise Mistake(f"{card.name}: {file} is missing; the files at hand cover {_covered(card, root)}")
    return tables.load(place, test, domain, card.loader, card.classes)


def locate(card: Card, root: Path | None) -> Path:
    """The folder of the card's dataset.

    Raises:
        Mistake: it is nowhere; what is missing, where it comes from, how big it is and what gets it.
    """
    assert card.data is not None
    dataset = fetch.dataset(card.data)
    found = fetch.where(dataset, root)
    if found is None:
        raise Mistake(fetch.missing(dataset))
    return found


def available(card: Card, domain: str, root: Path | None) -> bool:
    """Whether the files of one domain are there (its folder or file; not whether they are whole)."""
    return card.loader == "embedded" or (locate(card, root) / card.path.format(domain=domain)).exists()


def _covered(card: Card, root: Path | None) -> str:
    return ", ".join(d for d in card.domains if available(card, d, root)) or "no domain"
