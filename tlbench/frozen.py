"""Frozen splits: the SHA-256 of every manifest the board was made with, kept beside the cards.

`tasks/splits/<suite>.json` maps 'target/seed' to a digest. A split that comes out otherwise means other data or
other rules, and its rows would not be comparable.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from pathlib import Path

from tlbench.card import Card
from tlbench.mistake import Mistake
from tlbench.split import Split


def folder() -> Path:
    return Path(str(files("tlbench_tasks"))) / "splits"


@cache
def digests(suite: str) -> dict[str, str]:
    """'target/seed' -> SHA-256; empty for a suite that was never frozen, as a user's own."""
    file = folder() / f"{suite}.json"
    return dict(json.loads(file.read_text())) if file.exists() else {}


def place(target: str, seed: int) -> str:
    return f"{target}/{seed}"


def differs(suite: str, target: str, seed: int, digest: str) -> bool:
    """Whether a frozen digest exists and is another one."""
    return digests(suite).get(place(target, seed), digest) != digest


def check(split: Split) -> None:
    """Raises:
    Mistake: the split is not the frozen one.
    """
    card, target = split.task.card, split.task.target
    if not split.task.file and differs(card.name, target, split.seed, split.digest):
        raise Mistake(
            f"{card.name}/{target}: its data (or the rules that split it) are not those of the published results; "
            f"check with `tlbench data verify`, or run on them all the same with --changed-data"
        )


def freeze(card: Card, splits: list[Split]) -> Path:
    """Write the digests of a suite's splits; those not given stay as they are."""
    found = {**digests(card.name), **{place(s.task.target, s.seed): s.digest for s in splits}}
    file = folder() / f"{card.name}.json"
    file.write_text(json.dumps(found, indent=0, sort_keys=True) + "\n")
    digests.cache_clear()
    return file
