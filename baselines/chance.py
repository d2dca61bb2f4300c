"""Chance: no input is looked at.

Scores are the class frequencies of the sources (of the shots, where no source has the target's classes), so the
prediction is the majority class. A method below it has learnt less than nothing.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from tlbench import Predictor, Train


@dataclass(frozen=True)
class Chance:
    """Predict the commonest class."""

    family: ClassVar[str] = "reference"
    paper: ClassVar[str] = "the majority classifier"
    needs: ClassVar[frozenset[str]] = frozenset()
    regimes: ClassVar[frozenset[str]] = frozenset({"classification"})
    ignores: ClassVar[frozenset[str]] = frozenset()

    def fit(self, train: Train, seed: int) -> Predictor:
        informed = train.sources and train.same_task
        labels = torch.cat([s.y for s in train.sources]) if informed else train.shots.y
        prior = torch.bincount(labels, minlength=train.n_classes) / max(1, len(labels))

        def scores(x: Tensor) -> Tensor:
            return prior.expand(len(x), -1).clone()

        return scores
