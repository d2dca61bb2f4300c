"""Closed forms: the mean accuracy or excess risk that a named learner must reach on a calibration task.

Phi is the normal distribution function throughout; an accuracy is a share in 0..1, an excess risk is
E|what - w|^2. Where a mean over the training inputs has no elementary form it is taken numerically, over a
fixed stream and enough draws for three digits (`simulated`).
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from numpy.polynomial.hermite_e import hermegauss
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import roots_genlaguerre
from scipy.stats import binom, norm

Array = NDArray[np.float64]


def phi(x: float) -> float:
    return float(norm.cdf(x))


# nearest centroids: CAL-1, 8, 9


@cache
def _nodes(freedom: int, order: int = 48) -> tuple[Array, Array, Array, Array]:
    """Of two standard normals and a chi-square with `freedom` degrees: nodes (each (order^3,)) and weights."""
    z, wz = hermegauss(order)
    c, wc = roots_genlaguerre(order, freedom / 2 - 1)
    weights = np.einsum("i,j,k->ijk", wz / wz.sum(), wz / wz.sum(), wc / wc.sum())
    grids = np.meshgrid(z, z, 2 * c, indexing="ij")
    return grids[0].ravel(), grids[1].ravel(), grids[2].ravel(), weights.ravel()


def centroid(a: float, b: float, variance: float, along: float, m: float, d: int) -> tuple[float, float]:
    """Mean and standard deviation, over draws, of the accuracy of nearest centroids on y m e1 + N(0, I_d).

    Half the difference of the two centroids is a e1 + b e2 + noise, and so is their midpoint about 0, of the same
    variance and independent of it. With z standard normal and beta the angle of the difference to e1 the mean is

        E Phi(m cos beta / sqrt(1 + variance))

    The deviation is that of the mean over midpoints given the difference, and so a lower bound.

    Args:
        variance: of the noise in each coordinate
        along: of the noise along e1
    """
    z1, z2, rest, weights = _nodes(d - 2)
    first = a + math.sqrt(along) * z1
    others = (b + math.sqrt(variance) * z2) ** 2 + variance * rest
    cosine = first / np.sqrt(first**2 + others)
    spread = 1 + variance + (along - variance) * cosine**2  # of the score, the midpoint's noise with it
    accuracy = norm.cdf(m * cosine / np.sqrt(spread))
    mean = float(weights @ accuracy)
    return mean, math.sqrt(float(weights @ (accuracy - mean) ** 2))


def fused(
    n: int, sources: tuple[tuple[float, int], ...], m: float, d: int, alpha: float | None = None, agree: float = 1.0
) -> float:
    """Mean accuracy of target and source centroids, fused.

    Args:
        n: labelled target samples, both classes together; 0 needs alpha = 1
        sources: (degrees, samples) of each; their samples are pooled
        alpha: the sources' weight; None pools all samples: n_S / (n + n_S)
        agree: r = 1 - 2 rho where rho of the source labels is flipped, for sources at 0 degrees. A class of flipped
            labels is a mixture, whose variance along its axis is 1 + m^2 (1 - r^2)
    """
    return centroid(*_direction(n, sources, m, alpha, agree), m, d)[0]


def fused_spread(
    n: int, sources: tuple[tuple[float, int], ...], m: float, d: int, alpha: float | None = None, agree: float = 1.0
) -> float:
    """Its standard deviation over draws, the test samples' own left out."""
    return centroid(*_direction(n, sources, m, alpha, agree), m, d)[1]


def _direction(
    n: int, sources: tuple[tuple[float, int], ...], m: float, alpha: float | None, agree: float
) -> tuple[float, float, float, float]:
    """a, b and the two variances of `centroid`."""
    size = sum(count for _, count in sources)
    alpha = size / (n + size) if alpha is None else alpha
    own = (1 - alpha) ** 2 / n if alpha < 1 else 0.0
    other = alpha**2 / size if size else 0.0
    turns = [(count / size, math.radians(t)) for t, count in sources]
    a = m * (1 - alpha + alpha * agree * sum(share * math.cos(t) for share, t in turns))
    b = m * alpha * agree * sum(share * math.sin(t) for share, t in turns)
    return a, b, own + other, own + other * (1 + m * m * (1 - agree**2))


def target_only(n: int, m: float, d: int) -> float:
    """Nearest centroids on n labelled target samples."""
    return fused(n, (), m, d)


def critical_angle(n: int, n_source: int, m: float, d: int) -> float:
    """Degrees at which pooling a turned source stops to help."""
    own = target_only(n, m, d)
    return float(brentq(lambda t: fused(n, ((t, n_source),), m, d) - own, 1, 120))


def critical_angle_limit(n: int, m: float, d: int) -> float:
    """Its approximation for a source without end: tan = sqrt((d - 1) / n) / m."""
    return math.degrees(math.atan(math.sqrt((d - 1) / n) / m))


# label shift: CAL-2


def prior_corrected(p: float, m: float) -> float:
    """Bayes, and the limit of every consistent correction of the prior."""
    b = math.log(p / (1 - p))
    return p * phi(m + b / (2 * m)) + (1 - p) * phi(m - b / (2 * m))


def at_threshold(p: float, m: float, t: float) -> float:
    """The rule 'plus above t' on the axis, where a share p is 'plus'."""
    return p * phi(m - t) + (1 - p) * phi(m + t)


def mean_matched(p: float, m: float) -> float:
    """Centred CORAL, mean matching: the threshold goes to the target's mean, m (2p - 1)."""
    return at_threshold(p, m, m * (2 * p - 1))


def median_matched(p: float, m: float) -> float:
    """Monotone optimal transport: the threshold goes to the target's median."""
    return at_threshold(p, m, float(brentq(lambda t: p * norm.cdf(t - m) + (1 - p) * norm.cdf(t + m) - 0.5, -9, 9)))


# conditional shift: CAL-4


def moved(delta: float, m: float) -> float:
    """Source-only when the target is moved along the axis."""
    return at_threshold(0.5, m, -delta)


def turned(degrees: float, m: float, d: int, n_source: int) -> float:
    """Source-only when the target is turned; Phi(m cos(degrees)) as the source grows."""
    return fused(0, ((degrees, n_source),), m, d, alpha=1.0)


def coral_turned(degrees: float, m: float) -> float:
    """CORAL and the *linear discriminant* above it: w = C_T^(-1/2) C_S^(1/2) u_S is at
    arctan(sqrt(1 + m^2) tan(degrees)), further from the target's axis than the source is. Nearest centroids
    above the same map would be at arctan(tan(degrees) / sqrt(1 + m^2)), which is nearer."""
    a, b = math.cos(math.radians(degrees)), math.sqrt(1 + m * m) * math.sin(math.radians(degrees))
    return phi(m * a / math.hypot(a, b))


def linear_ot_turned(degrees: float, m: float) -> float:
    """The Gaussian Monge map A, A C_S A = C_T, and the linear discriminant above it: w = A^(-1) u_S.

    (A C_S)^2 = C_T C_S, a 2 x 2 matrix P of determinant D^2 with D = 1 + m^2, so that by Cayley and Hamilton
    A C_S = (P + D I) / sqrt(tr P + 2 D)."""
    t, size = math.radians(degrees), 1 + m * m
    us, ut = np.array([math.cos(t), math.sin(t)]), np.array([1.0, 0.0])
    cs, ct = (np.eye(2) + m * m * np.outer(u, u) for u in (us, ut))
    root = (ct @ cs + size * np.eye(2)) / math.sqrt(np.trace(ct @ cs) + 2 * size)
    w = cs @ np.linalg.solve(root, us)  # A^(-1) = C_S (A C_S)^(-1)
    return phi(m * float(w[0] / np.linalg.norm(w)))


def self_aligned(degrees: float, m: float) -> float:
    """Subspace alignment with one component, self-training: right or wrong altogether."""
    return phi(m if degrees < 90 else -m)


def sign_fixed(m: float, k: int) -> float:
    """The same when k labels a class choose the sign: they err with probability Phi(-m sqrt(2k))."""
    right = phi(m * math.sqrt(2 * k))
    return right * phi(m) + (1 - right) * phi(-m)


def sign_fixed_spread(m: float, k: int) -> float:
    """Its standard deviation over draws."""
    right = phi(m * math.sqrt(2 * k))
    return (phi(m) - phi(-m)) * math.sqrt(right * (1 - right))


# controls: CAL-10


def jittered(n: int, m: float, d: int, scale: float = 0.05) -> float:
    """Nearest centroids on n target samples, each of the two moved by noise of standard deviation `scale`."""
    variance = 1 / n + scale**2 / 2
    return centroid(m, 0, variance, variance, m, d)[0]


def placebo_limit(n: int, level: float = 1e-4) -> float:
    """The accuracy that guessing exceeds on n coin flips with a probability of at most `level`."""
    return float(binom.isf(level, n, 0.5)) / n


def placebo_power(n: int, leak: float, level: float = 1e-4) -> float:
    """How probably the limit finds a method that is right with probability `leak`."""
    return float(binom.sf(binom.isf(level, n, 0.5), n, leak))
