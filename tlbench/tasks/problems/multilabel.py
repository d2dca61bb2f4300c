"""Multi-label classification: which of the classes a sample shows; it may show several, or none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tlbench.data import Domain
from tlbench.tasks.metrics import Metric
from tlbench.tasks.problems.answers import checked, read_scores, said
from tlbench.tasks.problems.problem import Array, Mask, Problem

if TYPE_CHECKING:
    from tlbench.tasks.card import Budget
    from tlbench.tasks.split import Split


def mean_average_precision(scores: Array, shown: Array) -> float:
    """Mean over the classes that a sample shows of the average precision of (n, C) scores, 0..1.

    Of a class it is the sum over thresholds, from the highest score down, of the recall that a threshold adds times its
    precision; samples of one score come in together.
    """
    found = []
    for c in np.flatnonzero(shown.any(0)):
        order = np.argsort(-scores[:, c], kind="stable")
        values, right = scores[order, c], np.cumsum(shown[order, c])
        last = np.append(np.flatnonzero(np.diff(values)), len(values) - 1)  # of each run of equal scores
        gained = np.diff(right[last], prepend=0)
        found.append(float((gained * right[last] / (last + 1)).sum() / right[-1]))
    return float(np.mean(found)) if found else 0.0


MAP = Metric("map", "mean average precision over the classes in %", mean_average_precision, "mAP ")


class Multilabel(Problem):
    """A label is (C,) 0 or 1; a prediction is (C,) scores, of which the order over the samples counts.

    A budget of k labels, of each class, the first k samples of the pool that show it, in the order of hashes that other
    types have too. A sample that two classes ask for is labelled once, so k C samples are the most; and a class has k
    labelled samples that show it or more. What shows no class is labelled at 'full' alone.
    """

    name = "multilabel"
    metrics = (MAP,)
    label = "which classes it shows"
    budget = "labelled samples a class that show it"

    def fits(self, domain: Domain) -> bool:
        return domain.y.ndim == 2

    def truths(self, domain: Domain) -> list[str]:
        return ["+".join(np.array(domain.classes)[y.astype(bool)]) for y in domain.y]

    def indices(self, domain: Domain) -> Any:
        return ["".join(map(str, y)) for y in domain.y]

    def strata(self, domain: Domain) -> NDArray[np.int64]:
        """(n,) the rarest class that a sample shows, and one stratum more for those that show none: every part has its
        share of the rare ones."""
        rank = np.argsort(domain.y.sum(0), kind="stable")
        strata = np.full(len(domain), len(domain.classes), np.int64)
        for c in rank[::-1]:
            strata[domain.y[:, c] == 1] = c
        return strata

    def n_strata(self, domain: Domain) -> int:
        return len(domain.classes) + 1

    def groups(self, domain: Domain) -> Iterator[Mask]:
        return (domain.y[:, c] == 1 for c in range(len(domain.classes)))

    def truth(self, split: Split, budget: Budget) -> Any:
        return split.domain.y[split.partition.test].astype(np.int64)

    def read(self, file: Path, split: Split, budget: Budget) -> Array:
        return read_scores(file, len(split.partition.test), len(split.domain.classes))

    def check(self, predictions: Array, truth: Any, outputs: int) -> Array:
        if predictions.shape != truth.shape:
            raise ValueError(f"{said(predictions)}; {len(truth)} samples by {outputs} classes are owed")
        return checked(predictions)
