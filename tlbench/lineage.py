"""Which suites stand on the same data: their tasks are no independent samples of what a method can do."""

from __future__ import annotations

from collections import Counter
from functools import cache

from tlbench import card
from tlbench.card import HOMELESS, Card


def family(suite: str) -> str:
    """The dataset family of a suite: of those that ship, all that share data, however indirectly, are one family.

    It has the name of the dataset that most of them use, or of the suite with the shortest name where nothing is
    downloaded. A suite that does not ship is a family of its own.
    """
    return _families().get(suite, suite)


@cache
def _families() -> dict[str, str]:
    held = {name: _data(card.read(file)) for name, file in card.card_files().items()}
    groups: list[tuple[set[str], set[str]]] = []  # (suites, data)
    for suite, data in held.items():
        joined = [g for g in groups if g[1] & data]
        groups = [g for g in groups if not g[1] & data]
        groups.append(({suite}.union(*(g[0] for g in joined)), data.union(*(g[1] for g in joined))))
    return {suite: _name(suites, held) for suites, _ in groups for suite in suites}


def _data(c: Card) -> set[str]:
    """The dataset cards, and the files that ship, that a card's samples come from; weights are no samples."""
    places = [p for p in map(c.place, c.all_domains) if p.loader != "weights"]
    if any(p.loader == "generated" for p in places):
        return {c.name}
    return {p.path if p.loader in HOMELESS else f"data {p.data}" for p in places}


def _name(suites: set[str], held: dict[str, set[str]]) -> str:
    used = Counter(d for suite in sorted(suites) for d in sorted(held[suite]) if d.startswith("data "))
    if used:
        return max(used, key=lambda d: (used[d], d)).removeprefix("data ")
    return min(suites, key=lambda s: (len(s), s))
