"""Digits: scikit-learn's handwritten ones, one half as they are, the other half blended into photographs."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

Samples = Iterator[tuple[str, int, NDArray[Any]]]  # id, label, (*shape) input


def chance(text: str) -> Random:
    """A generator seeded with the SHA-256 of `text`.

    Draw from it by `random()` alone: Python keeps that stream, numpy's generators promise no such thing.
    """
    return Random(int(sha256(text.encode()).hexdigest(), 16))


SIDE = 20  # pixels
CLASSES = tuple("0123456789")

Levels = NDArray[np.uint8]


def handwritten() -> Samples:
    """One half of the 8x8 digits, enlarged: uint8 (3, 20, 20), grey."""
    for i, label, levels in _digits(for_photos=False):
        yield f"handwritten/{i:04}", label, np.broadcast_to(levels, (3, SIDE, SIDE))


def photos() -> Samples:
    """The absolute difference, channel by channel, of a digit and a random patch of a photograph."""
    from sklearn.datasets import load_sample_images

    photographs = load_sample_images().images  # china and flower, (427, 640, 3)
    for i, label, levels in _digits(for_photos=True):
        name = f"photos/{i:04}"
        draw = chance(name).random
        photograph = photographs[int(draw() * len(photographs))]
        top, left = (int(draw() * (length - SIDE + 1)) for length in photograph.shape[:2])
        patch = photograph[top : top + SIDE, left : left + SIDE].transpose(2, 0, 1)  # (3, 20, 20)
        yield name, label, np.abs(patch.astype(np.int16) - levels).astype(np.uint8)


def _digits(for_photos: bool) -> Iterator[tuple[int, int, Levels]]:
    """(index, label, (20, 20) levels) of one half of scikit-learn's digits, class by class a half.

    The index's hash decides the half. Its place must not: one writer's digits follow one another, so
    the halves would differ in their writers too.
    """
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)  # (1797, 64) levels 0..16
    half: set[int] = set()
    for label in range(10):
        members = sorted(np.flatnonzero(labels == label).tolist(), key=lambda i: sha256(b"%d" % i).digest())
        half.update(members[: len(members) // 2])
    for i, (image, label) in enumerate(zip(images, labels.tolist(), strict=True)):
        if (i in half) == for_photos:
            yield i, label, _enlarge(image.reshape(8, 8).astype(np.int64))


def _enlarge(image: NDArray[np.int64]) -> Levels:
    """(8, 8) levels 0..16 -> (20, 20) levels 0..255: a pixel of margin, then twice the size (Keys 1981)."""
    padded = np.pad(image, 3)  # 1 of margin, 2 for the kernel's reach
    rows = np.zeros((SIDE, 14), np.int64)
    for k in range(SIDE // 2):  # two output pixels, a quarter pixel before and after input pixel k
        rows[2 * k, k : k + 4] = -3, 29, 111, -9  # Keys's cubic, a = -1/2, in 128ths
        rows[2 * k + 1, k + 1 : k + 5] = -9, 111, 29, -3
    full = 128 * 128 * 16
    return ((rows @ padded @ rows.T).clip(0, full) * 255 // full).astype(np.uint8)
