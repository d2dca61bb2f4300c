"""Alignment of the marginals, the linear discriminant above it (CAL-2, CAL-4).

CORAL (Sun et al., AAAI 2016), the Gaussian Monge map (Flamary et al., 2019), subspace alignment (Fernando et al.,
ICCV 2013), matching of the means, monotone transport of the score, and self-training, which aligns p(x | y) instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tlbench.data import Predictor, Train
from tlbench.verification.known_truth.learners import (
    Array,
    Rule,
    arrays,
    between,
    centroids,
    covariance,
    discriminant,
    matrix,
    pooled_sources,
    power,
)


@dataclass(frozen=True)
class Aligned:
    """What all of them declare; no target label is looked at unless `labels` says so."""

    family: ClassVar[str] = "feature-based"
    paper: ClassVar[str] = "see the module"
    needs: ClassVar[frozenset[str]] = frozenset({"sources"})
    ignores: ClassVar[frozenset[str]] = frozenset()
    regimes: ClassVar[frozenset[str]] = frozenset({"classification"})


@dataclass(frozen=True)
class CORAL(Aligned):
    """Recolour the source with the target's second moments, C_S^(-1/2) C_T^(1/2), unregularised."""

    center: bool = True  # moments about each domain's own mean, and the means matched; else about the origin

    def fit(self, train: Train, seed: int) -> Predictor:
        (xs, y), xt = pooled_sources(train), matrix(train.target.x)
        if self.center:
            moved = (xs - xs.mean(0)) @ power(covariance(xs), -0.5) @ power(covariance(xt), 0.5) + xt.mean(0)
        else:
            moved = xs @ power(xs.T @ xs / len(xs), -0.5) @ power(xt.T @ xt / len(xt), 0.5)
        return discriminant(moved, y).predictor()


@dataclass(frozen=True)
class MeanMatching(Aligned):
    """Move the source by the difference of the means."""

    def fit(self, train: Train, seed: int) -> Predictor:
        (xs, y), xt = pooled_sources(train), matrix(train.target.x)
        return discriminant(xs - xs.mean(0) + xt.mean(0), y).predictor()


@dataclass(frozen=True)
class LinearOT(Aligned):
    """Optimal transport between Gaussians: A = C_S^(-1/2) (C_S^(1/2) C_T C_S^(1/2))^(1/2) C_S^(-1/2)."""

    def fit(self, train: Train, seed: int) -> Predictor:
        (xs, y), xt = pooled_sources(train), matrix(train.target.x)
        half, back = power(covariance(xs), 0.5), power(covariance(xs), -0.5)
        monge = back @ power(half @ covariance(xt) @ half, 0.5) @ back
        return discriminant((xs - xs.mean(0)) @ monge + xt.mean(0), y).predictor()


@dataclass(frozen=True)
class MonotoneOT(Aligned):
    """Optimal transport of the source's score, one number: the threshold keeps its rank in the target."""

    def fit(self, train: Train, seed: int) -> Predictor:
        xs, y = pooled_sources(train)
        rule = discriminant(xs, y)
        rank = float((rule.margins(xs) <= 0).mean())
        threshold = float(np.quantile(rule.margins(matrix(train.target.x)), rank))
        return Rule(rule.w, rule.b - threshold).predictor()


@dataclass(frozen=True)
class SubspaceAlignment(Aligned):
    """The first principal component of the source turned onto the target's."""

    labels: bool = False  # whether the shots choose the sign of the rule

    def fit(self, train: Train, seed: int) -> Predictor:
        (xs, y), xt = pooled_sources(train), matrix(train.target.x)
        ps, pt = (np.linalg.eigh(covariance(x))[1][:, -1] for x in (xs, xt))
        z = (xs - xs.mean(0)) @ ps * (ps @ pt)  # X_S P_S P_S^T P_T
        line = between(centroids(z[:, None], y))
        w = line.w[0] * pt
        return sign_fixed(Rule(w, line.b - float(w @ xt.mean(0))), train, self.labels).predictor()


@dataclass(frozen=True)
class SelfTraining(Aligned):
    """Label the target by the source's centroids, take its own centroids, until no label changes."""

    labels: bool = False  # whether the shots choose the sign of the rule
    rounds: int = 100

    def fit(self, train: Train, seed: int) -> Predictor:
        xt = matrix(train.target.x)
        rule = between(centroids(*pooled_sources(train)))
        guess: Array = (rule.margins(xt) > 0).astype(float)
        for _ in range(self.rounds):
            rule = between(centroids(xt, guess))
            before, guess = guess, (rule.margins(xt) > 0).astype(float)
            if (before == guess).all():
                break
        return sign_fixed(rule, train, self.labels).predictor()


def sign_fixed(rule: Rule, train: Train, labels: bool) -> Rule:
    """The rule, reversed where the shots' centroids lie the other way round."""
    if not labels or not len(train.shots):
        return rule
    means = centroids(*arrays(train.shots))
    return rule if rule.w @ (means[1] - means[0]) > 0 else rule.reversed()
