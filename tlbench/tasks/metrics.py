"""Metrics: what each measures, how it is printed, and a pure function from predictions and truth to a number.

A problem type (`tlbench.tasks.problems`) names its metrics; a card may name another of them to be ranked. To add one,
write its function and its object here and name it in the file of its problem type.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.floating[Any]]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Metric:
    """One metric. Predictions are those that the problem type reads from a method's scores."""

    name: str  # in cards and rows
    title: str  # of a table of the leaderboard, which prints 100 times the value
    of: Callable[[Any, Any], float]  # (predictions, truth) -> value
    tag: str = ""  # stands before a number in a column headed "accuracy %"
    low: float = 0.0  # bounds of the value
    high: float = 1.0
    unit: str = "%"  # of the printed number
    factor: float = 100.0  # printed number = factor * value
    digits: int = 1  # decimals of the printed number
    higher_is_better: bool = True  # only such a metric can be ranked
    per_answer: bool = False  # the value is the share of right answers: a row keeps which answers were right

    @property
    def in_percent(self) -> bool:
        """Whether values of different tasks have one unit, so that a mean over tasks means something."""
        return self.factor == 100.0

    @property
    def bounds(self) -> str:
        """In words, of an error message."""
        return f"{self.low:g}..{self.high:g}"

    def holds(self, value: float) -> bool:
        """Whether a value lies within the bounds."""
        return self.low <= value <= self.high


def correct(scores: Scores, y: Labels) -> NDArray[np.bool_]:
    """(n, k) scores, (n,) labels -> (n,) whether the largest score is the label's; a tie goes to the lower class."""
    hits: NDArray[np.bool_] = scores.argmax(1) == y
    return hits


def accuracy(scores: Scores, y: Labels) -> float:
    """Share of right answers by (n, k) scores, 0..1."""
    return float(correct(scores, y).mean())


def share_right(found: NDArray[Any], y: Labels) -> float:
    """Share of right answers, 0..1."""
    return float((found == y).mean())


def balanced(found: NDArray[Any], y: Labels) -> float:
    """Mean over the classes in `y` of the share of their samples that were told rightly, 0..1."""
    return float(np.mean([(found[y == c] == c).mean() for c in np.unique(y)]))


def macro_f1(found: NDArray[Any], y: Labels) -> float:
    """Mean F1 of the classes that `y` has or that are told, 0..1; of one that is never told rightly it is 0."""
    scores = []
    for c in np.union1d(found, y):
        right, told, there = (int(mask.sum()) for mask in ((found == c) & (y == c), found == c, y == c))
        scores.append(2 * right / (told + there))
    return float(np.mean(scores))


def neg_mse(values: Scores, y: NDArray[np.floating[Any]]) -> float:
    """Minus the mean squared error of (n,) predicted numbers."""
    return -float(np.mean((values - y) ** 2))


def ap50(boxes: Scores, truth: Sequence[NDArray[np.floating[Any]]]) -> float:
    """Average precision at IoU 0.5, mean over the classes that are there (COCO's, by torchmetrics), 0..1.

    Args:
        boxes: (n, q, 6) x1, y1, x2, y2, score, class; a score of 0 or less is no box
        truth: one (m, 5) an image: x1, y1, x2, y2, class
    """
    import torch
    from torchmetrics.detection import MeanAveragePrecision  # of the extra `detect`; `plan` has looked for it

    metric = MeanAveragePrecision(iou_thresholds=[0.5], max_detection_thresholds=[1, 10, boxes.shape[1]])
    found, wanted = torch.from_numpy(np.array(boxes, dtype=np.float32)), [torch.from_numpy(t) for t in truth]
    metric.update(
        [{"boxes": b[:, :4], "scores": b[:, 4], "labels": b[:, 5].long()} for b in (f[f[:, 4] > 0] for f in found)],
        [{"boxes": t[:, :4].float(), "labels": t[:, 4].long()} for t in wanted],
    )
    return float(metric.compute()["map_50"])


ACCURACY = Metric("accuracy", "accuracy in %", share_right, per_answer=True)
BALANCED = Metric("balanced_accuracy", "balanced accuracy in %", balanced, "balanced ")
MACRO_F1 = Metric("macro_f1", "macro-averaged F1 in %", macro_f1, "F1 ")
AP50 = Metric("ap50", "AP50", ap50, "AP50 ")
NEG_MSE = Metric(
    "neg_mse", "minus 100 times the mean squared error", neg_mse, "-MSE ",
    low=-np.inf, high=0.0, unit="squared unit of the number", factor=1.0, digits=3,
)  # fmt: skip
