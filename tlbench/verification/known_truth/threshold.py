"""One threshold on the first coordinate, chosen by the weighted error on the source (CAL-3, covariate shift).

Shimodaira, J. Statistical Planning and Inference 2000: weights (p_T / p_S)^gamma, from none to all of the correction.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tlbench.data import Predictor, Train
from tlbench.verification.known_truth.rules import Rule, pooled_sources


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
