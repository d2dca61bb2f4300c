"""Nearest centroids on the shots, on the sources, on both fused (CAL-1, CAL-8), and on a source that is chosen (CAL-9).

mean of a class = (1 - alpha) (mean over the shots) + alpha (mean over the sources)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tlbench.data import Predictor, Train
from tlbench.verification.known_truth.rules import Array, arrays, between, centroids, log_loss, pooled_sources

CLASSIFICATION = frozenset({"classification"})


@dataclass(frozen=True)
class TargetCentroid:
    """Nearest centroid on the shots alone: the target-only of the closed forms."""

    family: ClassVar[str] = "reference"
    paper: ClassVar[str] = "nearest centroid"
    needs: ClassVar[frozenset[str]] = frozenset({"shots"})
    ignores: ClassVar[frozenset[str]] = frozenset({"sources"})
    regimes: ClassVar[frozenset[str]] = CLASSIFICATION

    def fit(self, train: Train, seed: int) -> Predictor:
        return between(centroids(*arrays(train.shots))).predictor()


@dataclass(frozen=True)
class SourceCentroid:
    """Nearest centroid on all sources together."""

    family: ClassVar[str] = "reference"
    paper: ClassVar[str] = "nearest centroid"
    needs: ClassVar[frozenset[str]] = frozenset({"sources"})
    ignores: ClassVar[frozenset[str]] = frozenset({"shots"})
    regimes: ClassVar[frozenset[str]] = CLASSIFICATION

    def fit(self, train: Train, seed: int) -> Predictor:
        return between(centroids(*pooled_sources(train))).predictor()


@dataclass(frozen=True)
class FusedCentroid:
    """Target and source centroids, weighed; the linear likeness of fine-tuning with L2-SP."""

    alpha: float | None = None  # the sources' weight; None pools the samples: n_S / (n + n_S)

    family: ClassVar[str] = "model-based"
    paper: ClassVar[str] = "fused nearest centroids"
    needs: ClassVar[frozenset[str]] = frozenset({"sources", "shots"})
    ignores: ClassVar[frozenset[str]] = frozenset()
    regimes: ClassVar[frozenset[str]] = CLASSIFICATION

    def fit(self, train: Train, seed: int) -> Predictor:
        source = pooled_sources(train)
        alpha = len(source[1]) / (len(source[1]) + len(train.shots)) if self.alpha is None else self.alpha
        return between(mixed(centroids(*arrays(train.shots)), centroids(*source), alpha)).predictor()


@dataclass(frozen=True)
class TunedCentroid:
    """Fused centroids whose weight min(k, 5)-fold cross-validation of the log-loss on the shots chooses.

    One shot a class leaves nothing to hold out: then the samples are pooled.
    """

    grid: int = 11  # how many weights are tried, evenly on 0 .. 1

    family: ClassVar[str] = "model-based"
    paper: ClassVar[str] = "fused nearest centroids"
    needs: ClassVar[frozenset[str]] = frozenset({"sources", "shots"})
    ignores: ClassVar[frozenset[str]] = frozenset()
    regimes: ClassVar[frozenset[str]] = CLASSIFICATION

    def fit(self, train: Train, seed: int) -> Predictor:
        (x, y), source = arrays(train.shots), centroids(*pooled_sources(train))
        place = np.where(y == 1, np.cumsum(y == 1), np.cumsum(y == 0)) - 1  # within its class
        folds = min(5, int(min((y == 0).sum(), (y == 1).sum())))
        if folds < 2:
            return FusedCentroid().fit(train, seed)
        losses = np.zeros(self.grid)
        for i, alpha in enumerate(np.linspace(0, 1, self.grid)):
            for fold in range(folds):
                held = place % folds == fold
                rule = between(mixed(centroids(x[~held], y[~held]), source, alpha))
                losses[i] += log_loss(rule.margins(x[held]), y[held]) * held.sum()
        best = float(np.linspace(0, 1, self.grid)[losses.argmin()])
        return between(mixed(centroids(x, y), source, best)).predictor()


@dataclass(frozen=True)
class SelectedSource:
    """Of several sources the one whose centroids give the shots the least log-loss."""

    family: ClassVar[str] = "distribution-based"
    paper: ClassVar[str] = "source selection by the labelled target samples"
    needs: ClassVar[frozenset[str]] = frozenset({"sources", "shots"})
    ignores: ClassVar[frozenset[str]] = frozenset()
    regimes: ClassVar[frozenset[str]] = CLASSIFICATION

    def fit(self, train: Train, seed: int) -> Predictor:
        x, y = arrays(train.shots)
        rules = [between(centroids(*arrays(source))) for source in train.sources]
        return min(rules, key=lambda rule: log_loss(rule.margins(x), y)).predictor()


def mixed(target: Array, source: Array, alpha: float) -> Array:
    """(2, d) fused centroids."""
    return (1 - alpha) * target + alpha * source
