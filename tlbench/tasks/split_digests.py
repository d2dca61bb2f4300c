"""Frozen digests: the SHA-256 of every domain's content and of every split the board was made with, beside the cards.

`tasks/splits/<suite>.json` maps 'target/seed' to the digest of a split's manifest, and 'data/domain' to that of the
samples and labels of a source or target. What comes out otherwise means other data or other rules, and its rows
would not be comparable. Under 'sizes' are the numbers that a table of tasks tells without the data.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from tlbench.data import Domain
from tlbench.errors import UsageError
from tlbench.tasks.card import Card
from tlbench.tasks.registry import card_files, read
from tlbench.tasks.split import Split, content_digest
from tlbench.tasks.toml_folder import CARDS

SIZES = "sizes"
REMEDY = "check with `tlbench data verify`, or run on them all the same with --changed-data"


def folder() -> Path:
    return CARDS / "splits"


@cache
def digests(suite: str) -> dict[str, str]:
    """Place -> SHA-256; empty for a suite that was never frozen, as a user's own."""
    return {where: digest for where, digest in _held(suite).items() if where != SIZES}


def sizes(suite: str) -> dict[str, dict[str, int]]:
    """Domain -> how many 'samples' and 'classes' it has, and how many are 'tested' where it is a target."""
    return dict(_held(suite).get(SIZES, {}))


def _held(suite: str) -> dict[str, Any]:
    file = folder() / f"{suite}.json"
    return dict(json.loads(file.read_text())) if file.exists() else {}


def place(target: str, seed: int) -> str:
    """Of a split."""
    return f"{target}/{seed}"


def data_place(domain: str) -> str:
    """Of a domain's content."""
    return f"data/{domain}"


def differs(suite: str, where: str, digest: str) -> bool:
    """Whether a frozen digest exists at a place and is another one."""
    return digests(suite).get(where, digest) != digest


def check(split: Split) -> None:
    """Raises:
    UsageError: the split is not the frozen one.
    """
    card, target = split.task.card, split.task.target
    if ships(card) and differs(card.name, place(target, split.seed), split.digest):
        raise UsageError(
            f"{card.name}/{target}: its data (or the rules that split it) are not those of the published results; "
            f"{REMEDY}"
        )


def check_data(card: Card, domain: str, digest: str) -> None:
    """Raises:
    UsageError: the content of a domain, whatever its role, is not the frozen one.
    """
    if ships(card) and differs(card.name, data_place(domain), digest):
        raise UsageError(f"{card.name}: the data of {domain!r} are not those of the published results; {REMEDY}")


def ships(card: Card) -> bool:
    """Whether a card is one of tlbench's own, and not a user's of the same name."""
    file = card_files().get(card.name)
    return file is not None and read(file) == card


def freeze(card: Card, splits: list[Split], domains: list[Domain]) -> Path:
    """Write the digests of a suite's splits, and those and the sizes of its domains; those not given stay as they are.

    A domain without fixed content has no place among `domains`.
    """
    made = {place(s.task.target, s.seed): s.digest for s in splits}
    made.update({data_place(d.name): content_digest(d) for d in domains})
    tested = {s.task.target: len(s.partition.test) for s in splits}
    size = sizes(card.name)
    for d in domains:
        size[d.name] = {"samples": len(d), "classes": len(d.classes)}
        size[d.name].update({"tested": tested[d.name]} if d.name in tested else {})
    found = {**digests(card.name), **made, SIZES: size}
    file = folder() / f"{card.name}.json"
    file.write_text(json.dumps(found, indent=0, sort_keys=True) + "\n")
    digests.cache_clear()
    return file
