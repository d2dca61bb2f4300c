"""Classification: one class a sample."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tlbench.data import Domain
from tlbench.tasks.metrics import ACCURACY, BALANCED, MACRO_F1, Metric
from tlbench.tasks.problems.answers import read_scores, said
from tlbench.tasks.problems.problem import Array, Problem

if TYPE_CHECKING:
    from tlbench.tasks.card import Budget
    from tlbench.tasks.split import Split


class Classification(Problem):
    """A prediction is the class of the largest score; a tie goes to the lower class."""

    name = "classification"
    metrics: ClassVar[tuple[Metric, ...]] = (ACCURACY, BALANCED, MACRO_F1)
    label = "a class"
    budget = "labels per class"
    headline: ClassVar[bool] = True
    keeps_trials: ClassVar[bool] = True
    least_classes: ClassVar[int] = 2

    def fits(self, domain: Domain) -> bool:
        return bool(domain.classes) and not domain.boxes and domain.y.ndim == 1

    def read(self, file: Path, split: Split, budget: Budget) -> Array:
        k = self.outputs(split.domain, split.task.card)
        scores = read_scores(file, len(self.truth(split, budget)), k)
        classes: Array = scores.argmax(1).astype(np.uint8 if k <= 256 else np.uint16)
        return classes

    def check(self, predictions: Array, truth: Any, outputs: int) -> Array:
        if predictions.dtype.kind != "u" or predictions.shape != truth.shape or (predictions >= outputs).any():
            raise ValueError(f"{said(predictions)}; {len(truth)} classes below {outputs} are owed")
        return predictions
