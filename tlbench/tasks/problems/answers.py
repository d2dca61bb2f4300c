"""Arrays that a worker wrote: read without trust, and checked before anything is computed of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlbench.files import plain

MOST_BOXES = 300  # an image
Array = NDArray[Any]


def read_boxes(file: Path, n: int) -> Array:
    """The (n, q, 6) boxes a worker wrote.

    Raises:
        ValueError: not such an array of finite floating-point numbers.
    """
    boxes = _read(file, 8 * n * MOST_BOXES * 6 + 4096)
    if boxes.ndim != 3 or boxes.shape[0] != n or boxes.shape[2] != 6 or boxes.shape[1] > MOST_BOXES:
        raise ValueError(f"boxes have shape {boxes.shape}; {n} images by at most {MOST_BOXES} boxes by 6 are owed")
    return checked(boxes)


def read_scores(file: Path, n: int, k: int, finite: bool = True) -> Array:
    """The scores a worker wrote.

    Raises:
        ValueError: not an (n, k) array of floating-point numbers, or they are not `finite`; says what it is instead.
    """
    scores = _read(file, 16 * n * k + 4096)
    if scores.shape != (n, k):
        raise ValueError(f"scores have shape {scores.shape}; {n} test samples by {k} classes are owed")
    return checked(scores, finite)


def _read(file: Path, most: int) -> Array:
    try:
        found = np.load(plain(file, most), allow_pickle=False, mmap_mode="r")
    except Exception as error:  # the header is parsed as Python: a child may make it raise whatever it likes
        raise ValueError(f"no readable scores ({error})") from None
    if not isinstance(found, np.ndarray):
        raise ValueError("no readable scores (an archive of arrays)")
    return found


def checked(scores: Array, finite: bool = True) -> Array:
    """`scores` themselves.

    Raises:
        ValueError: they are not floating-point numbers, or not `finite`.
    """
    if scores.dtype not in (np.float32, np.float64):
        raise ValueError(f"scores are {scores.dtype}; float32 or float64 is owed")
    bad = ~np.isfinite(scores).all(tuple(range(1, scores.ndim)))
    if finite and bad.any():
        raise ValueError(f"scores of {int(bad.sum())} of {len(scores)} test samples are not finite (NaN or infinity)")
    return np.asarray(scores)


def said(predictions: Array) -> str:
    """What predictions are, in words of an error message."""
    return f"predictions are {predictions.dtype} {predictions.shape}"
