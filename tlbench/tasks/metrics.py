"""(scores, y) -> float; higher is better; pure."""

from __future__ import annotations

from collections.abc import Sequence
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
