"""A method that queries a file without opening it, which only level 2 stops."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Stats:
    """queries the size of a file whose path it knows"""

    place: str = ""

    def fit(self, train, seed):
        raise ValueError(f"it has {Path(self.place, 'rows.jsonl').stat().st_size} bytes")
