"""Correction of the class prior under label shift (CAL-2).

The source's discriminant gives p_S(y | x); the target's prior q is estimated from unlabelled target samples alone,
and the log-odds move by the difference of the priors' log-odds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.special import expit

from tlbench.data import Predictor, Train
from tlbench.verification.known_truth.rules import Array, Rule, discriminant, matrix, pooled_sources

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
