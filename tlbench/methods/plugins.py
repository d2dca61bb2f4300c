"""Installed methods: what other distributions offer under the entry-point group `tlbench.methods`.

They are found by their metadata; nothing of theirs is imported here. One is called DISTRIBUTION/ENTRY-POINT, the
distribution in its normal form (PEP 503), as `tlbench-mymethod/mymethod`: it can be no shipped method's name.
"""

from __future__ import annotations

import re
from importlib.metadata import EntryPoint, entry_points

from tlbench.errors import suggest

GROUP = "tlbench.methods"


def installed() -> dict[str, EntryPoint]:
    """Name -> entry point of every method that an installed distribution offers, in the names' order."""
    named = (
        (f"{re.sub(r'[-_.]+', '-', e.dist.name).lower()}/{e.name}", e) for e in entry_points(group=GROUP) if e.dist
    )
    return dict(sorted(named, key=lambda pair: pair[0]))


def suggestion(word: str, shipped: set[str]) -> str:
    """What may have been meant, of the shipped and the installed methods; a plugin's bare name means the plugin."""
    names = [*installed()]
    bare = [name for name in names if name.rpartition("/")[2] == word]
    return f"; did you mean {bare[0]!r}?" if bare else suggest(word, [*shipped, *names])
