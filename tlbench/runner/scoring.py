"""A worker's predictions against the truth: the only place where both are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlbench.files import plain
from tlbench.results.row import Row, packed_bits
from tlbench.tasks.card import Budget
from tlbench.tasks.episodes import EpisodicSplit
from tlbench.tasks.metrics import Metric
from tlbench.tasks.split import Split

MOST_BOXES = 300  # an image
Array = NDArray[Any]


def scored(file: Path, split: Split, budget: Budget) -> dict[str, Any]:
    """The columns value, n_test, metrics and correct, from the scores in `file`.

    Raises:
        ValueError: the scores are not what the task asks for; says what they are instead.
    """
    return measured(predicted(file, split, budget), split, budget)


def predicted(file: Path, split: Split, budget: Budget) -> Array:
    """What the scores in `file` say, no more than the metric looks at: (n,) classes as whole numbers, (n,) predicted
    numbers as they came, or (n, q, 6) boxes as float32.

    Raises:
        ValueError: the scores are not what the task asks for; says what they are instead.
    """
    n = len(split.partition.test)
    if split.domain.boxes:
        return read_boxes(file, n).astype(np.float32)
    if not split.domain.classes:
        return read_scores(file, n, 1)[:, 0]
    k = n_answers(split)
    scores = read_scores(file, len(truth(split, budget)), k)
    classes: Array = scores.argmax(1).astype(np.uint8 if k <= 256 else np.uint16)
    return classes


def n_answers(split: Split) -> int:
    """Classes to choose among; an episode's ways."""
    return split.task.card.episodes.ways if isinstance(split, EpisodicSplit) else len(split.domain.classes)


def truth(split: Split, budget: Budget) -> NDArray[np.int64]:
    """(n,) right classes of the test samples, or of the queries of all episodes."""
    if isinstance(split, EpisodicSplit):
        return np.concatenate([e.query_y for e in split.episodes(budget)])
    return split.domain.y[split.partition.test].astype(np.int64)


def measured(predictions: Array, split: Split, budget: Budget) -> dict[str, Any]:
    """The columns value, n_test, metrics and correct, from predictions as `predicted` makes them.

    Raises:
        ValueError: they are not such predictions; says what they are instead.
    """
    target, test, what = split.domain, split.partition.test, (predictions.dtype, predictions.shape)
    if target.boxes:
        if what[0] != np.float32 or predictions.ndim != 3 or predictions.shape[::2] != (len(test), 6):
            raise ValueError(f"predictions are {what[0]} {what[1]}; boxes (n, q, 6) of {len(test)} images are owed")
        return _by(split.task.card.measured, _checked(predictions), [target.boxes[i] for i in test])
    if not target.classes:
        if what[1] != (len(test),):
            raise ValueError(f"predictions are {what[0]} {what[1]}; {len(test)} numbers are owed")
        with np.errstate(over="ignore"):
            found = _by(split.task.card.measured, _checked(predictions), target.y[test].astype(np.float64))
        if not all(map(math.isfinite, found["metrics"].values())):
            raise ValueError("predictions are so far off that their error is beyond all numbers")
        return found
    y, k = truth(split, budget), n_answers(split)
    if predictions.dtype.kind != "u" or what[1] != y.shape or (predictions >= k).any():
        raise ValueError(f"predictions are {what[0]} {what[1]}; {len(y)} classes below {k} are owed")
    metrics = split.task.card.measured
    bits = {"correct": packed_bits(predictions == y)} if metrics[0].per_answer else {}
    return {**_by(metrics, predictions, y), **bits}


def _by(metrics: Sequence[Metric], predictions: Array, wanted: Any) -> dict[str, Any]:
    """The columns value, n_test and metrics; the first metric is the ranked one."""
    found = {m.name: m.of(predictions, wanted) for m in metrics}
    return {"value": found[metrics[0].name], "n_test": len(wanted), "metrics": found}


def differing(row: Row, told: dict[str, Any]) -> list[str]:
    """The columns of a row that are not what `measured` tells. A metric that the row does not hold came after it."""
    held = row.metrics or {}
    then = {**told, "metrics": {name: value for name, value in told["metrics"].items() if name in held} or row.metrics}
    return [name for name, value in then.items() if getattr(row, name) != value]


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
        found = np.load(plain(file, most), allow_pickle=False, mmap_mode="r")
    except Exception as error:  # the header is parsed as Python: a child may make it raise whatever it likes
        raise ValueError(f"no readable scores ({error})") from None
    if not isinstance(found, np.ndarray):
        raise ValueError("no readable scores (an archive of arrays)")
    return found


def _checked(scores: np.ndarray[Any, Any], finite: bool = True) -> np.ndarray[Any, Any]:
    if scores.dtype not in (np.float32, np.float64):
        raise ValueError(f"scores are {scores.dtype}; float32 or float64 is owed")
    bad = ~np.isfinite(scores).all(tuple(range(1, scores.ndim)))
    if finite and bad.any():
        raise ValueError(f"scores of {int(bad.sum())} of {len(scores)} test samples are not finite (NaN or infinity)")
    return np.asarray(scores)
