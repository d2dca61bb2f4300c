"""Forms of CAL-3, covariate shift: what a threshold on x1 reaches, and the one that n source samples choose.

x1 ~ N(mean, 1); 'plus' has probability 1 - FLIP inside (|x1| <= 1; x1 > 0 in the twin) and FLIP outside.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from tlbench.tasks.synthetic.shift import FLIP

Array = NDArray[np.float64]
LIMITS = {False: (-1.0, 1.0), True: (0.0, np.inf)}  # of the inside; of the twin's


def accuracy(threshold: Array, above: NDArray[np.bool_], twin: bool, mean: float = 1.0) -> Array:
    """Of rules: 'plus' above the threshold, or below it where `above` is false. Shares in 0..1."""
    low, high = LIMITS[twin]
    inside = norm.cdf(high - mean) - norm.cdf(low - mean)
    hit = norm.cdf(high - mean) - norm.cdf(np.clip(threshold, low, high) - mean)  # inside and above
    outside_above = norm.sf(threshold - mean) - hit
    agree = hit + (1 - inside) - outside_above  # with the clean label
    agree = np.where(above, agree, 1 - agree)
    out: Array = FLIP + (1 - 2 * FLIP) * agree
    return out


def limit(gamma: float) -> float:
    """Accuracy on the target of the threshold that endless source data choose under weights w^gamma, w = e^(2 x1).

    They see N(2 gamma - 1, 1): the rule is 'plus above -1' up to gamma = 1/2 and 'plus below +1' beyond.
    """
    rules = np.array([-1.0, 1.0]), np.array([True, False])
    seen = accuracy(*rules, twin=False, mean=2 * gamma - 1)
    return float(accuracy(*rules, twin=False)[int(seen.argmax())])


def erm(n: int, gamma: float, twin: bool) -> float:
    """Mean accuracy on the target of the threshold with the least weighted error on n source samples.

    There is no closed form: the mean is over fixed draws, each judged exactly. Of several best thresholds the
    leftmost is meant.
    """
    return float(_erm(n, gamma, twin).mean())


def erm_spread(n: int, gamma: float, twin: bool) -> float:
    """Its standard deviation over draws; with weights it is one of rare disasters, which ten seeds may not show."""
    return float(_erm(n, gamma, twin).std())


@cache
def _erm(n: int, gamma: float, twin: bool) -> Array:
    """(2e6 / n,) accuracies."""
    rng = np.random.Generator(np.random.Philox(key=n * 10 + twin))
    x = np.sort(rng.standard_normal((2_000_000 // n, n)) - 1, axis=1)
    inside = (x > 0) if twin else (np.abs(x) <= 1)
    y = inside ^ (rng.random(x.shape) < FLIP)
    w = np.exp(2 * gamma * x)
    signed, minus = np.where(y, w, -w), (w * ~y).sum(1, keepdims=True)
    right = np.concatenate([minus + signed[:, ::-1].cumsum(1)[:, ::-1], minus], 1)  # [:, i]: 'plus' from the i-th on
    both = np.concatenate([right, w.sum(1, keepdims=True) - right], 1)
    best = both.argmax(1)
    edges = np.concatenate([x[:, :1] - 1, (x[:, 1:] + x[:, :-1]) / 2, x[:, -1:] + 1], 1)
    return accuracy(edges[np.arange(len(x)), best % (n + 1)], best <= n, twin)
