"""(scores, y) -> float; higher is better; pure."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.floating[Any]]
Labels = NDArray[np.int64]


def correct(scores: Scores, y: Labels) -> NDArray[np.bool_]:
    """(n, k) scores, (n,) labels -> (n,) whether the largest score is the label's; a tie goes to the lower class."""
    hits: NDArray[np.bool_] = scores.argmax(1) == y
    return hits


def accuracy(scores: Scores, y: Labels) -> float:
    """Share of right answers, 0..1."""
    return float(correct(scores, y).mean())


METRICS = {"accuracy": accuracy}
