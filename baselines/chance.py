"""Chance: no input is looked at.

Scores are the class frequencies of the sources (of the shots or of an episode's support, where no source has the
target's classes), so the prediction is the majority class; where a number is predicted, it is the mean of those
labels. A method below it has learnt less than nothing.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from tlbench import Labeled, Learner, Predictor, Train
from tlbench.training.predictors import FittedLearner, FittedPredictor


@dataclass(frozen=True)
class Chance:
    """Predict the commonest class, or the mean.

    >>> import numpy as np
    >>> from tlbench import Train
    >>> y = np.arange(60) % 3
    >>> x = np.random.default_rng(0).normal(6 * np.eye(3)[y])
    >>> train = Train.of(x, y, x + 1)
    >>> tuple(Chance().fit(train, seed=0)(train.target.x).shape)
    (60, 3)
    """

    family: ClassVar[str] = "reference"
    paper: ClassVar[str] = "the majority classifier"
    needs: ClassVar[frozenset[str]] = frozenset()
    regimes: ClassVar[frozenset[str]] = frozenset({"classification", "regression", "multilabel", "episodes"})
    ignores: ClassVar[frozenset[str]] = frozenset()
    search: ClassVar[dict[str, tuple[object, ...]]] = {}

    def fit(self, train: Train, seed: int) -> Predictor | Learner:
        if train.episodes:
            return FittedLearner(SupportFrequencies(train.n_classes))
        informed = train.sources and train.same_task
        labels = torch.cat([s.y for s in train.sources]) if informed else train.shots.y
        return FittedPredictor(Frequencies(guess(labels, train.n_classes, 1)))


class Frequencies(nn.Module):
    """The same (1, n_classes) scores for every input."""

    scores: Tensor

    def __init__(self, scores: Tensor) -> None:
        super().__init__()
        self.register_buffer("scores", scores)

    def forward(self, x: Tensor) -> Tensor:
        return self.scores.repeat(len(x), 1)


class SupportFrequencies(nn.Module):
    """The class frequencies of each episode's support."""

    def __init__(self, n_classes: int) -> None:
        super().__init__()
        self.n_classes = n_classes

    def forward(self, support: Labeled, x: Tensor) -> Tensor:
        return guess(support.y, self.n_classes, len(x))


def guess(labels: Tensor, n_classes: int, n: int) -> Tensor:
    """(n, n_classes) class frequencies, or (n, 1) means of numbers; frequencies of (n, C) labels class by class."""
    if labels.is_floating_point():
        return labels.mean().expand(n, 1).clone()
    if labels.ndim == 2:
        return labels.float().mean(0).expand(n, -1).clone()
    return (torch.bincount(labels, minlength=n_classes) / max(1, len(labels))).expand(n, -1).clone()
