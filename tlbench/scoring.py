"""A worker's predictions against the truth: the only place where both are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tlbench.card import Budget
from tlbench.episodes import EpisodicSplit
from tlbench.executors.local import plain
from tlbench.metrics import accuracy, ap50, correct, neg_mse
from tlbench.row import packed_bits
from tlbench.split import Split

MOST_BOXES = 300  # an image


def scored(file: Path, split: Split, budget: Budget) -> dict[str, Any]:
    """The columns value, n_test and correct, from the scores in `file`.

    Raises:
        ValueError: the scores are not what the task asks for; says what they are instead.
    """
    target, test = split.domain, split.partition.test
    if target.boxes:
        return {"value": ap50(read_boxes(file, len(test)), [target.boxes[i] for i in test]), "n_test": len(test)}
    if not target.classes:
        scores = read_scores(file, len(test), 1)
        return {"value": neg_mse(scores[:, 0], target.y[test].astype(np.float64)), "n_test": len(test)}
    if isinstance(split, EpisodicSplit):
        y, k = np.concatenate([e.query_y for e in split.episodes(budget)]), split.task.card.episodes.ways
    else:
        y, k = target.y[test].astype(np.int64), len(target.classes)
    scores = read_scores(file, len(y), k)
    return {"value": accuracy(scores, y), "n_test": len(y), "correct": packed_bits(correct(scores, y))}


def read_boxes(file: Path, n: int) -> np.ndarray[Any, Any]:
    """The (n, q, 6) boxes a worker wrote.

    Raises:
        ValueError: not such an array of finite floating-point numbers.
    """
    boxes = _read(file, 8 * n * MOST_BOXES * 6 + 4096)
    if boxes.ndim != 3 or boxes.shape[0] != n or boxes.shape[2] != 6 or boxes.shape[1] > MOST_BOXES:
        raise ValueError(f"boxes have shape {boxes.shape}; {n} images by at most {MOST_BOXES} boxes by 6 are owed")
    return _checked(boxes)


def read_scores(file: Path, n: int, k: int, finite: bool = True) -> np.ndarray[Any, Any]:
    """The scores a worker wrote.

    Raises:
        ValueError: not an (n, k) array of floating-point numbers, or they are not `finite`; says what it is instead.
    """
    scores = _read(file, 16 * n * k + 4096)
    if scores.shape != (n, k):
        raise ValueError(f"scores have shape {scores.shape}; {n} test samples by {k} classes are owed")
    return _checked(scores, finite)


def _read(file: Path, most: int) -> np.ndarray[Any, Any]:
    try:
        found: np.ndarray[Any, Any] = np.load(plain(file, most), allow_pickle=False, mmap_mode="r")
        return found
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f"no readable scores ({error})") from None


def _checked(scores: np.ndarray[Any, Any], finite: bool = True) -> np.ndarray[Any, Any]:
    if scores.dtype not in (np.float32, np.float64):
        raise ValueError(f"scores are {scores.dtype}; float32 or float64 is owed")
    bad = ~np.isfinite(scores).all(tuple(range(1, scores.ndim)))
    if finite and bad.any():
        raise ValueError(f"scores of {int(bad.sum())} of {len(scores)} test samples are not finite (NaN or infinity)")
    return np.asarray(scores)
