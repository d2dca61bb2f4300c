"""What an embedded domain is drawn as, and the one source of its randomness."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from random import Random
from typing import Any

from numpy.typing import NDArray

Samples = Iterator[tuple[str, int, NDArray[Any]]]  # id, label, (*shape) input


def chance(text: str) -> Random:
    """A generator seeded with the SHA-256 of `text`.

    Draw from it by `random()` alone: Python keeps that stream, numpy's generators promise no such thing.
    """
    return Random(int(sha256(text.encode()).hexdigest(), 16))
