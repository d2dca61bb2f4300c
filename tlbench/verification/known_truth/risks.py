"""Closed forms of regression, CAL-5 to CAL-7: the mean excess risk E|what - w|^2 of a named learner.

x ~ N(0, I_d), y = w.x + sigma xi, n labelled target samples.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from numpy.typing import NDArray


def least_squares(n: int, d: int, sigma: float, length: float = 1.0) -> float:
    """Least squares, of minimal norm where n < d.

    Args:
        length: E|w|^2, of which a share 1 - n/d is out of reach where n < d

    Raises:
        ValueError: n is within one of d, where the mean is infinite.
    """
    if n > d + 1:
        return sigma**2 * d / (n - d - 1)
    if n < d - 1:
        return length * (1 - n / d) + sigma**2 * n / (d - n - 1)
    raise ValueError(f"{n} samples in {d} dimensions: the mean risk of least squares is infinite for |n - d| <= 1")


def in_subspace(n: int, rank: int, sigma: float, outside: float) -> float:
    """Least squares within `rank` dimensions that hold all of w but a squared length `outside`.

    The rest of w is a bias and, being orthogonal, more noise. Frozen subspace (CAL-5, outside = gamma^2), support
    transfer (CAL-6).
    """
    return outside + (sigma**2 + outside) * rank / (n - rank - 1)


def in_subspace_spread(n: int, rank: int, sigma: float, outside: float) -> float:
    """Its standard deviation over draws (rank = d: of least squares), for a fixed w.

    Of e | W ~ N(0, s^2 W^-1), W Wishart with n degrees: Var e.e = s^4 (2 E tr W^-2 + Var tr W^-1).

    Raises:
        ValueError: n <= rank + 3, where the variance is infinite.
    """
    if n <= rank + 3:
        raise ValueError(f"{n} samples in {rank} dimensions: the risk has no variance for n <= {rank + 3}")
    lead, poles = n - rank, (n - rank - 1) ** 2 * (n - rank - 3)
    squares = rank * (n - 1) / (lead * (lead - 1) * (lead - 3))  # E tr W^-2
    trace = 2 * rank / poles + 2 * rank * (rank - 1) / (lead * poles)  # Var tr W^-1
    return (sigma**2 + outside) * math.sqrt(2 * squares + trace)


def critical_gamma(n: int, d: int, rank: int, sigma: float) -> float:
    """The gamma beyond which the frozen subspace is worse than target-only."""
    own = least_squares(n, d, sigma)
    return math.sqrt((own - sigma**2 * rank / (n - rank - 1)) * (n - rank - 1) / (n - 1))


@cache
def _eigenvalues(n: int, d: int, draws: int) -> NDArray[np.float64]:
    """(draws, d) of X^T X for (n, d) standard normal X, from a fixed stream."""
    rng = np.random.Generator(np.random.Philox(key=n * 1000 + d))
    x = rng.standard_normal((draws, n, d))
    return np.linalg.eigvalsh(np.matmul(x.transpose(0, 2, 1), x)).clip(0)


def ridge_towards(n: int, d: int, sigma: float, tau: float, lam: float, draws: int = 20_000) -> float:
    """Ridge towards w_S, argmin |y - Xw|^2 + lam |w - w_S|^2, where w - w_S ~ N(0, tau^2 I).

    Given X with g the eigenvalues of X^T X it is sum (lam^2 tau^2 + sigma^2 g) / (g + lam)^2, smallest at
    lam = sigma^2 / tau^2, where the estimator is Bayes's; the mean over X is taken over fixed draws.
    """
    g = _eigenvalues(n, d, draws)
    return float(((lam**2 * tau**2 + sigma**2 * g) / (g + lam) ** 2).sum(1).mean())
