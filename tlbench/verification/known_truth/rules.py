"""What the linear learners share: a Train as matrices, centroids, the linear discriminant, a rule as a predictor."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tlbench.data import Labeled, Predictor, Train

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Rule:
    """'plus' where w.x + b > 0."""

    w: Array  # (d,)
    b: float

    def margins(self, x: Array) -> Array:
        out: Array = x @ self.w + self.b
        return out

    def reversed(self) -> Rule:
        return Rule(-self.w, -self.b)

    def predictor(self) -> Predictor:
        """Class scores (-margin, margin)."""
        w = torch.from_numpy(self.w.copy())

        def scores(x: Tensor) -> Tensor:
            margin = x.double() @ w.to(x.device) + self.b
            return torch.stack([-margin, margin], 1)

        return scores


def matrix(x: Tensor) -> Array:
    """(n, d) float64."""
    out: Array = x.double().cpu().numpy()
    return out


def arrays(*parts: Labeled) -> tuple[Array, NDArray[np.float64]]:
    """(n, d) inputs and (n,) labels of all parts together."""
    x, y = (torch.cat([getattr(p, name) for p in parts]) for name in "xy")
    return matrix(x), y.double().cpu().numpy()


def pooled_sources(train: Train) -> tuple[Array, NDArray[np.float64]]:
    return arrays(*train.sources)


def centroids(x: Array, y: NDArray[np.float64]) -> Array:
    """(2, d) means of the two classes."""
    return np.stack([x[y == c].mean(0) for c in (0, 1)])


def between(means: Array) -> Rule:
    """Nearest of two centroids; the margin is the log-odds where both classes are N(mean, I)."""
    w = means[1] - means[0]
    return Rule(w, float(-w @ means.mean(0)))


def discriminant(x: Array, y: NDArray[np.float64]) -> Rule:
    """Fisher's linear discriminant for equal priors; the margin is the log-odds."""
    means = centroids(x, y)
    rest = x - means[y.astype(int)]
    w = np.linalg.solve(rest.T @ rest / (len(x) - 2), means[1] - means[0])
    return Rule(w, float(-w @ means.mean(0)))


def covariance(x: Array) -> Array:
    """(d, d) about the mean, over n."""
    z = x - x.mean(0)
    out: Array = z.T @ z / len(x)
    return out


def power(a: Array, exponent: float) -> Array:
    """A power of a positive definite matrix."""
    values, vectors = np.linalg.eigh(a)
    out: Array = (vectors * values**exponent) @ vectors.T
    return out


def log_loss(margins: Array, y: NDArray[np.float64]) -> float:
    """Mean of -log p(y) where the margins are log-odds of 'plus'."""
    return float(np.logaddexp(0, np.where(y == 1, -margins, margins)).mean())
