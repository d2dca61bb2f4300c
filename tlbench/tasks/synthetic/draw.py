"""What all calibration suites share: random streams, sizes, and the assembly of a domain.

Streams are counter-based (Philox) under a key that is the SHA-256 of what is drawn, so no draw depends on another.
numpy versions its distributions (NEP 19): another numpy may give other samples of the same law. The closed forms
speak of the law, so every check holds all the same; only digests of the data move.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlbench.data import Domain

N_TEST = 20_000
N_POOL = 4_000
SOURCE_VALIDATION = 0.1  # what the harness takes off a source
CLASSES = ("minus", "plus")

Floats = NDArray[np.float32]
Labels = NDArray[np.int64]


def stream(suite: str, name: str, seed: int) -> np.random.Generator:
    """The random stream of a domain, or of the parameters that a suite's domains share (name 'parameters')."""
    key = hashlib.sha256("\x1f".join(("tlbench/cal/1", suite, name, str(seed))).encode()).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(key[:16], "big")))


def source_size(n: int) -> int:
    """How many samples of a stratum a source must hold for `n` to be left when validation is taken off."""
    total = n
    while total - int(SOURCE_VALIDATION * total) < n:
        total += 1
    return total


def source_prefix(y: Labels, n: int) -> int:
    """How many of a stream's first samples leave `n` when each class loses its validation share.

    Args:
        y: (m,) class indices 0 or 1, m a good deal more than n
    """
    ones = np.cumsum(y)
    zeros = np.arange(1, len(y) + 1) - ones
    left = sum(c - (SOURCE_VALIDATION * c).astype(int) for c in (zeros, ones))
    return int(np.argmax(left == n)) + 1


def domain(name: str, x: Floats, y: NDArray[Any], n_test: int = 0) -> Domain:
    """A domain of (n, d) inputs and (n,) labels, the first `n_test` of which are its official test part.

    Float labels make it a domain where a number is predicted.
    """
    digest = hashlib.sha256(x.tobytes() + y.tobytes()).hexdigest()
    return Domain(
        name,
        tuple(f"{name}/{i:05d}" for i in range(len(y))),
        y,
        () if y.dtype.kind == "f" else CLASSES,
        tuple(f"{digest}/{i}" for i in range(len(y))),
        x=x,
        official_test=np.arange(len(y)) < n_test if n_test else None,
    )


def classes(*counts: int) -> Labels:
    """(n,) class indices, by turns so many of 'minus' and of 'plus'."""
    return np.repeat(np.arange(len(counts)) % 2, counts).astype(np.int64)


def around(mean: NDArray[np.float64], signs: NDArray[Any], rng: np.random.Generator) -> Floats:
    """(n, d) samples of N(sign * mean, I) for (n,) signs."""
    x: Floats = rng.standard_normal((len(signs), len(mean)), dtype=np.float32)
    x += np.multiply.outer(signs, mean).astype(np.float32)
    return x


def at_angle(degrees: float, length: float, d: int) -> NDArray[np.float64]:
    """(d,) vector of a length in the plane of the first two axes, at an angle to the first."""
    out = np.zeros(d)
    out[:2] = length * np.cos(np.deg2rad(degrees)), length * np.sin(np.deg2rad(degrees))
    return out


def balanced_target(name: str, mean: NDArray[np.float64], rng: np.random.Generator) -> Domain:
    """A target of two balanced classes N(+-mean, I): the test part, then the pool."""
    y = classes(*(N_TEST // 2,) * 2, *(N_POOL // 2,) * 2)
    return domain(name, around(mean, 2 * y - 1, rng), y, N_TEST)


def balanced_source(
    name: str, mean: NDArray[np.float64], rng: np.random.Generator, n: int, flipped: float = 0.0
) -> Domain:
    """A source of two balanced classes of which `n` samples are left to train on.

    Args:
        flipped: with this probability a sample is drawn around the other class's mean; the labels stay balanced
    """
    y = classes(*(source_size(n // 2),) * 2)
    kept = np.where(rng.random(len(y)) < flipped, -1, 1)
    return domain(name, around(mean, kept * (2 * y - 1), rng), y)


def shuffled(given: Domain, seed: int) -> Domain:
    """The same samples with their names in another order: nothing that is measured may change.

    A learner that sums in another order may differ in the last bits; a split, which goes by names, may not.
    """
    order = np.random.default_rng(seed).permutation(len(given))
    assert given.x is not None
    return replace(
        given,
        ids=tuple(given.ids[i] for i in order),
        y=given.y[order],
        hashes=tuple(given.hashes[i] for i in order),
        x=given.x[order],
        official_test=None if given.official_test is None else given.official_test[order],
    )


def renamed(given: Domain) -> Domain:
    """The same samples with the two classes in the other order: predictions are mirrored, accuracy is not changed."""
    return replace(given, y=1 - given.y, classes=given.classes[::-1])
