"""Least squares and what a source can lend it: a subspace (CAL-5), a support (CAL-6), a centre (CAL-7).

x ~ N(0, I) and no intercept. A source's own parameters are its least squares, exact where its labels have no noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from tlbench.data import Predictor, Train
from tlbench.verification.known_truth.learners import Array, arrays, pooled_sources


@dataclass(frozen=True)
class Regression:
    """What all of them declare."""

    family: ClassVar[str] = "model-based"
    paper: ClassVar[str] = "least squares"
    needs: ClassVar[frozenset[str]] = frozenset({"sources", "shots"})
    ignores: ClassVar[frozenset[str]] = frozenset()
    regimes: ClassVar[frozenset[str]] = frozenset({"regression"})


@dataclass(frozen=True)
class TargetLeastSquares(Regression):
    """Least squares on the shots; of minimal norm where they are fewer than the coordinates."""

    family: ClassVar[str] = "reference"
    needs: ClassVar[frozenset[str]] = frozenset({"shots"})
    ignores: ClassVar[frozenset[str]] = frozenset({"sources"})

    def fit(self, train: Train, seed: int) -> Predictor:
        return predictor(least_squares(*arrays(train.shots)))


@dataclass(frozen=True)
class SourceParameters(Regression):
    """The source's parameters as they are."""

    family: ClassVar[str] = "reference"
    needs: ClassVar[frozenset[str]] = frozenset({"sources"})
    ignores: ClassVar[frozenset[str]] = frozenset({"shots"})

    def fit(self, train: Train, seed: int) -> Predictor:
        return predictor(least_squares(*pooled_sources(train)))


@dataclass(frozen=True)
class FrozenSubspace(Regression):
    """Least squares within the span of the sources' parameters."""

    family: ClassVar[str] = "feature-based"

    def fit(self, train: Train, seed: int) -> Predictor:
        parameters = np.stack([least_squares(*arrays(source)) for source in train.sources])
        basis = np.linalg.svd(parameters, full_matrices=False)[2].T  # (d, sources)
        x, y = arrays(train.shots)
        return predictor(basis @ least_squares(x @ basis, y))


@dataclass(frozen=True)
class SupportTransfer(Regression):
    """Least squares on the coordinates that the source uses: its structure without its values."""

    least: float = 0.1  # a parameter counts as used from this share of the largest on

    family: ClassVar[str] = "feature-based"

    def fit(self, train: Train, seed: int) -> Predictor:
        source = np.abs(least_squares(*pooled_sources(train)))
        used = source >= self.least * source.max()
        x, y = arrays(train.shots)
        w: Array = np.zeros(x.shape[1])
        w[used] = least_squares(x[:, used], y)
        return predictor(w)


@dataclass(frozen=True)
class RidgeTowards(Regression):
    """Ridge towards the source's parameters: L2-SP of a linear model."""

    lam: float = 1.0  # argmin |y - Xw|^2 + lam |w - w_S|^2: sums, no halves

    paper: ClassVar[str] = "Li et al., Explicit inductive bias for transfer learning, ICML 2018"

    def fit(self, train: Train, seed: int) -> Predictor:
        ws = least_squares(*pooled_sources(train))
        x, y = arrays(train.shots)
        gap = np.linalg.solve(x.T @ x + self.lam * np.eye(len(ws)), x.T @ (y - x @ ws))
        return predictor(ws + gap)


def least_squares(x: Array, y: Array) -> Array:
    """(d,) parameters, of minimal norm where they are not unique."""
    return np.asarray(np.linalg.lstsq(x, y, rcond=None)[0], np.float64)


def predictor(w: Array) -> Predictor:
    """(n, d) inputs -> (n, 1) numbers."""
    column = torch.from_numpy(w.copy())[:, None]

    def numbers(x: Tensor) -> Tensor:
        return x.double() @ column.to(x.device)

    return numbers
