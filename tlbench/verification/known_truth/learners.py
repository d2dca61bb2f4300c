"""The theory's linear classifiers: nearest centroids, the discriminant with a corrected prior, one threshold, controls.

CAL-1, CAL-8, CAL-9: centroids on the shots, on the sources, on both fused, on a source that is chosen. The mean of a
class = (1 - alpha) (mean over the shots) + alpha (mean over the sources).

CAL-2: the source's discriminant gives p_S(y | x); the target's prior q is estimated from unlabelled target samples
alone, and the log-odds move by the difference of the priors' log-odds.

CAL-3: one threshold on the first coordinate, chosen by the weighted error on the source (Shimodaira, J. Statistical
Planning and Inference 2000): weights (p_T / p_S)^gamma, from none to all of the correction.

CAL-10: learners that test the harness rather than a theory.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit
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


@dataclass(frozen=True)
class JitteredCentroid:
    """Target-only with a training noise of its own: two copies of different `copy` are an A/A comparison.

    Nearest centroids have no randomness to reseed, and two of them would agree to the last bit. So each centroid is
    moved by `scale` standard deviations in every coordinate, by a stream of the seed and the copy.
    """

    copy: int = 0
    scale: float = 0.05

    family: ClassVar[str] = "reference"
    paper: ClassVar[str] = "nearest centroid"
    needs: ClassVar[frozenset[str]] = frozenset({"shots"})
    ignores: ClassVar[frozenset[str]] = frozenset({"sources"})
    regimes: ClassVar[frozenset[str]] = frozenset({"classification"})

    def fit(self, train: Train, seed: int) -> Predictor:
        key = hashlib.sha256(f"tlbench/jitter/1\x1f{self.copy}\x1f{seed}\x1f{len(train.shots)}".encode()).digest()
        rng = np.random.Generator(np.random.Philox(key=int.from_bytes(key[:16], "big")))
        means = centroids(*arrays(train.shots))
        return between(means + self.scale * rng.standard_normal(means.shape)).predictor()


@dataclass(frozen=True)
class Crash:
    """Target-only that raises on a share of the seeds, evenly spread: it must end unranked, and never as a success."""

    share: float = 0.2

    family: ClassVar[str] = "reference"
    paper: ClassVar[str] = "crash injection"
    needs: ClassVar[frozenset[str]] = frozenset({"shots"})
    ignores: ClassVar[frozenset[str]] = frozenset({"sources"})
    regimes: ClassVar[frozenset[str]] = frozenset({"classification"})

    def fit(self, train: Train, seed: int) -> Predictor:
        if int((seed + 1) * self.share + 1e-9) > int(seed * self.share + 1e-9):
            raise RuntimeError(f"crash injected at seed {seed}")
        return between(centroids(*arrays(train.shots))).predictor()


LEAST = 1e-3  # of an estimated prior


@dataclass(frozen=True)
class Corrected:
    """What both declare."""

    family: ClassVar[str] = "distribution-based"
    needs: ClassVar[frozenset[str]] = frozenset({"sources"})
    ignores: ClassVar[frozenset[str]] = frozenset({"shots"})
    regimes: ClassVar[frozenset[str]] = frozenset({"classification"})


@dataclass(frozen=True)
class BBSE(Corrected):
    """Solve the source's confusion matrix for the prior that gives the target's predictions."""

    paper: ClassVar[str] = "Lipton et al., Detecting and correcting for label shift, ICML 2018"

    def fit(self, train: Train, seed: int) -> Predictor:
        xs, y = pooled_sources(train)
        rule, p = discriminant(xs, y), float(y.mean())
        right, wrong = (float((rule.margins(xs[y == c]) > 0).mean()) for c in (1, 0))
        said = float((rule.margins(matrix(train.target.x)) > 0).mean())
        return moved(rule, p, (said - wrong) / (right - wrong)).predictor()


@dataclass(frozen=True)
class MLLS(Corrected):
    """The prior under which the target's inputs are likeliest, by expectation and maximisation."""

    tolerance: float = 1e-8

    paper: ClassVar[str] = "Saerens et al., Adjusting the outputs of a classifier, Neural Computation 2002"

    def fit(self, train: Train, seed: int) -> Predictor:
        xs, y = pooled_sources(train)
        rule, p = discriminant(xs, y), float(y.mean())
        margins: Array = rule.margins(matrix(train.target.x))
        q = before = p
        for _ in range(10_000):
            q = float(expit(margins + logit(q)).mean())
            if abs(q - before) < self.tolerance:
                break
            before = q
        return moved(rule, p, q).predictor()


def moved(rule: Rule, p: float, q: float) -> Rule:
    """A rule for equal priors (the discriminant's), made for the prior q; p, the source's, must be equal too.

    Raises:
        ValueError: the source is not balanced.
    """
    if abs(p - 0.5) > 0.01:
        raise ValueError(f"the source has a prior of {p:.3f}; this learner is for a balanced one")
    return Rule(rule.w, rule.b + logit(float(np.clip(q, LEAST, 1 - LEAST))))


def logit(p: float) -> float:
    return float(np.log(p / (1 - p)))


@dataclass(frozen=True)
class ThresholdERM:
    """The threshold and direction of least weighted error, the exact density ratio given."""

    gamma: float = 1.0  # the flattening of the weights; 0 is unweighted
    slope: float = 2.0  # of the log-ratio along x1: N(1, 1) over N(-1, 1) is exp(2 x1)

    family: ClassVar[str] = "distribution-based"
    paper: ClassVar[str] = "Shimodaira, Improving predictive inference under covariate shift, 2000"
    needs: ClassVar[frozenset[str]] = frozenset({"sources"})
    ignores: ClassVar[frozenset[str]] = frozenset({"shots"})
    regimes: ClassVar[frozenset[str]] = frozenset({"classification"})

    def fit(self, train: Train, seed: int) -> Predictor:
        xs, y = pooled_sources(train)
        order = np.argsort(xs[:, 0], kind="stable")
        x, plus = xs[order, 0], y[order] == 1
        w = np.exp(self.gamma * self.slope * (x - x.max()))
        below = np.r_[
            0.0, np.cumsum(np.where(plus, -w, w))
        ]  # [i]: right less wrong of 'plus from the i-th on', + const
        right = w[plus].sum() + below
        both = np.concatenate([right, w.sum() - right])  # 'plus' above, 'plus' below
        edges = np.r_[x[0] - 1, (x[1:] + x[:-1]) / 2, x[-1] + 1]
        best = int(both.argmax())
        sign = 1.0 if best < len(edges) else -1.0
        axis = np.eye(xs.shape[1])[0]
        return Rule(sign * axis, -sign * float(edges[best % len(edges)])).predictor()
