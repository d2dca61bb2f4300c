"""Regression: one number a sample."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tlbench.data import Domain
from tlbench.tasks.metrics import NEG_MSE
from tlbench.tasks.problems.answers import checked, read_scores, said
from tlbench.tasks.problems.problem import Array, Problem

if TYPE_CHECKING:
    from tlbench.tasks.card import Budget, Card
    from tlbench.tasks.split import Split


class Regression(Problem):
    """A prediction is the number itself. There are no groups: samples are drawn from all alike."""

    name = "regression"
    metrics = (NEG_MSE,)
    label = "a number"
    budget = "labels in all"
    reads_numbers: ClassVar[bool] = True
    keeps_trials: ClassVar[bool] = True

    def fits(self, domain: Domain) -> bool:
        return not domain.classes and not domain.boxes

    def truths(self, domain: Domain) -> list[str]:
        return [repr(float(y)) for y in domain.y]

    def strata(self, domain: Domain) -> NDArray[np.int64]:
        return np.zeros(len(domain), np.int64)

    def n_strata(self, domain: Domain) -> int:
        return 1

    def outputs(self, domain: Domain, card: Card) -> int:
        return 1

    def truth(self, split: Split, budget: Budget) -> Any:
        return split.domain.y[split.partition.test].astype(np.float64)

    def read(self, file: Path, split: Split, budget: Budget) -> Array:
        return read_scores(file, len(split.partition.test), 1)[:, 0]

    def check(self, predictions: Array, truth: Any, outputs: int) -> Array:
        if predictions.shape != (len(truth),):
            raise ValueError(f"{said(predictions)}; {len(truth)} numbers are owed")
        return checked(predictions)
