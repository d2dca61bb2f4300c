"""Object detection: the boxes of what an image shows, each with its class."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tlbench.data import Domain
from tlbench.tasks.metrics import AP50
from tlbench.tasks.problems.answers import checked, read_boxes, said
from tlbench.tasks.problems.problem import Array, Problem

if TYPE_CHECKING:
    from tlbench.tasks.card import Budget
    from tlbench.tasks.split import Split


class Detection(Problem):
    """A prediction is (q, 6) boxes: corners, score, class. An image has no class of its own: there are no groups."""

    name = "detection"
    metrics = (AP50,)
    label = "the boxes of what it shows"
    budget = "images with their boxes"
    without_labels: ClassVar[bool] = False
    libraries: ClassVar[tuple[str, ...]] = ("torchmetrics", "pycocotools")
    extra: ClassVar[str] = "detect"

    def fits(self, domain: Domain) -> bool:
        return bool(domain.boxes)

    def truths(self, domain: Domain) -> list[str]:
        return [json.dumps(b.tolist()) for b in domain.boxes]

    def indices(self, domain: Domain) -> Any:
        return self.truths(domain)

    def strata(self, domain: Domain) -> NDArray[np.int64]:
        return np.zeros(len(domain), np.int64)

    def n_strata(self, domain: Domain) -> int:
        return 1

    def labels(self, domain: Domain, rows: NDArray[np.int64]) -> dict[str, Array]:
        y, corners = padded([domain.boxes[i] for i in rows])
        return {"labels": y, "boxes": corners}

    def truth(self, split: Split, budget: Budget) -> Any:
        return [split.domain.boxes[i] for i in split.partition.test]

    def read(self, file: Path, split: Split, budget: Budget) -> Array:
        return read_boxes(file, len(split.partition.test)).astype(np.float32)

    def check(self, predictions: Array, truth: Any, outputs: int) -> Array:
        shape = predictions.shape
        if predictions.dtype != np.float32 or predictions.ndim != 3 or shape[::2] != (len(truth), 6):
            raise ValueError(f"{said(predictions)}; boxes (n, q, 6) of {len(truth)} images are owed")
        return checked(predictions)


def padded(boxes: list[Array]) -> tuple[Array, Array]:
    """One (m, 5) array an image -> (n, most) classes, -1 where there is no box, and (n, most, 4) corners."""
    most = max((len(b) for b in boxes), default=0)
    y, corners = np.full((len(boxes), most), -1, np.int64), np.zeros((len(boxes), most, 4), np.float32)
    for i, b in enumerate(boxes):
        y[i, : len(b)], corners[i, : len(b)] = b[:, 4], b[:, :4]
    return y, corners
