"""What says of predictions how good a model may be, from labels of the source or from none: pure functions.

All take arrays in double precision. A score is the higher the better, a risk the lower. A predictor gives scores
only; their softmax is taken for its probabilities, the same for every method.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy  # a part of it is loaded when it is first used
from numpy.typing import NDArray

Array = NDArray[np.float64]
LARGEST = -float(np.log(np.finfo(np.float64).eps))  # of a sample's log-loss: scikit-learn's clip of probabilities
SND_T = 0.05
PIXELS = 16  # a side to which images are averaged before their domain is told


def log_losses(scores: Array, y: NDArray[np.int64]) -> Array:
    """(n, k) scores, (n,) labels -> (n,) minus the log of the label's probability, at most 36."""
    found: Array = -scipy.special.log_softmax(np.asarray(scores, float), axis=1)[np.arange(len(y)), y]
    return np.minimum(found, LARGEST)


def squared_errors(scores: Array, y: Array) -> Array:
    """(n, 1) predicted and (n,) true numbers -> (n,)."""
    return (np.asarray(scores, float)[:, 0] - y) ** 2


def domain_weights(xs: Array, xt: Array, of: Array | None = None) -> Array:
    """How much likelier each row is in the target than in the source, by a logistic regression that tells them apart.

    (n_s / n_t) * P(target | x) / P(source | x), with scikit-learn's default penalty (Sugiyama et al., JMLR 2007, for
    the use; Bickel et al., ICML 2007, for the estimate), columns as they are.

    Args:
        xs: (n_s, d) source rows
        xt: (n_t, d) target rows
        of: (n, d) rows to weigh; None weighs the source's
    """
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(max_iter=1000).fit(np.concatenate([xs, xt]), np.repeat([1, 0], [len(xs), len(xt)]))
    log_odds = model.decision_function(xs if of is None else of)  # of the source
    return np.asarray(len(xs) / len(xt) * np.exp(-log_odds), dtype=float)


def reduced(xs: NDArray[Any], xt: NDArray[Any]) -> tuple[Array, Array]:
    """Two domains' inputs as rows of mean 0 and variance 1 over both, images averaged down to 16 pixels a side."""
    both = _rows(np.concatenate([xs, xt]))
    spread = both.std(0)
    both = (both - both.mean(0)) / np.where(spread > 0, spread, 1)
    return both[: len(xs)], both[len(xs) :]


def _rows(x: NDArray[Any]) -> Array:
    if x.ndim == 4 and min(x.shape[2:]) > PIXELS:
        rows, columns = (np.linspace(0, s, PIXELS + 1).astype(int)[:-1] for s in x.shape[2:])
        sums = np.add.reduceat(np.add.reduceat(x.astype(np.float64), rows, axis=2), columns, axis=3)
        heights, widths = np.diff(np.r_[rows, x.shape[2]]), np.diff(np.r_[columns, x.shape[3]])
        x = sums / (heights[:, None] * widths)
    return x.reshape(len(x), -1).astype(np.float64)


def iw_risk(losses: Array, weights: Array) -> float:
    """The importance-weighted risk: sum of w l over the sum of w (Sugiyama et al., JMLR 2007), minus skada's score."""
    return float((weights * losses).sum() / weights.sum())


def dev_risk(losses: Array, weights: Array) -> float:
    """Deep embedded validation (You et al., ICML 2019): mean(w l) + eta mean(w) - eta, eta = -cov(w l, w) / var(w).

    The weights' own noise is taken out as a control variate; eta is 0 where they are all alike.
    """
    weighted, spread = weights * losses, float(weights.var(ddof=1))
    eta = -float(np.cov(weighted, weights)[0, 1]) / spread if spread > 0 else 0.0
    return float(weighted.mean()) + eta * float(weights.mean()) - eta


def mutual_information(scores: Array) -> float:
    """H(mean p) - H(p): sure of each sample, and undecided of all. Without the first term, collapse would win."""
    p = scipy.special.softmax(np.asarray(scores, float), axis=1)
    mean = p.mean(0)
    return float(-scipy.special.xlogy(mean, mean).sum() + scipy.special.xlogy(p, p).sum(1).mean())


def nuclear_norm(scores: Array) -> float:
    """The nuclear norm of the (n, k) probabilities over n (Cui et al., CVPR 2020)."""
    return float(np.linalg.norm(scipy.special.softmax(np.asarray(scores, float), axis=1), "nuc")) / len(scores)


def neighbourhood_density(scores: Array, temperature: float = SND_T) -> float:
    """Soft neighbourhood density (Saito et al., ICCV 2021): the mean entropy of a sample's similarities to the others.

    Similarities are cosines of probabilities over the temperature, in a softmax over the other samples.
    """
    p = scipy.special.softmax(np.asarray(scores, float), axis=1)
    p /= np.linalg.norm(p, axis=1, keepdims=True)
    near = p @ p.T / temperature
    np.fill_diagonal(near, -np.inf)
    near = scipy.special.softmax(near, axis=1)
    return float(-scipy.special.xlogy(near, near).sum(1).mean())
