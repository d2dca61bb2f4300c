"""Closed forms: the mean accuracy or excess risk that a named learner must reach on a task of known truth.

Phi is the normal distribution function throughout; an accuracy is a share in 0..1, an excess risk is E|what - w|^2.
Where a mean over the training inputs has no elementary form it is taken numerically, over a fixed stream and enough
draws for three digits (`simulated`). Three parts:

- classes whose means are turned, moved or mixed (CAL-1, CAL-2, CAL-4, CAL-8 to CAL-10);
- regression, CAL-5 to CAL-7: x ~ N(0, I_d), y = w.x + sigma xi, n labelled target samples;
- covariate shift, CAL-3: what a threshold on x1 reaches, and the one that n source samples choose. x1 ~ N(mean, 1);
  'plus' has probability 1 - FLIP inside (|x1| <= 1; x1 > 0 in the twin) and FLIP outside.
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

from tlbench.tasks.synthetic.shifts import FLIP

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


LIMITS = {False: (-1.0, 1.0), True: (0.0, np.inf)}  # of the inside; of the twin's


def covariate_accuracy(threshold: Array, above: NDArray[np.bool_], twin: bool, mean: float = 1.0) -> Array:
    """Of rules: 'plus' above the threshold, or below it where `above` is false. Shares in 0..1."""
    low, high = LIMITS[twin]
    inside = norm.cdf(high - mean) - norm.cdf(low - mean)
    hit = norm.cdf(high - mean) - norm.cdf(np.clip(threshold, low, high) - mean)  # inside and above
    outside_above = norm.sf(threshold - mean) - hit
    agree = hit + (1 - inside) - outside_above  # with the clean label
    agree = np.where(above, agree, 1 - agree)
    out: Array = FLIP + (1 - 2 * FLIP) * agree
    return out


def covariate_limit(gamma: float) -> float:
    """Accuracy on the target of the threshold that endless source data choose under weights w^gamma, w = e^(2 x1).

    They see N(2 gamma - 1, 1): the rule is 'plus above -1' up to gamma = 1/2 and 'plus below +1' beyond.
    """
    rules = np.array([-1.0, 1.0]), np.array([True, False])
    seen = covariate_accuracy(*rules, twin=False, mean=2 * gamma - 1)
    return float(covariate_accuracy(*rules, twin=False)[int(seen.argmax())])


def covariate_erm(n: int, gamma: float, twin: bool) -> float:
    """Mean accuracy on the target of the threshold with the least weighted error on n source samples.

    There is no closed form: the mean is over fixed draws, each judged exactly. Of several best thresholds the
    leftmost is meant.
    """
    return float(_covariate_erm(n, gamma, twin).mean())


def covariate_erm_spread(n: int, gamma: float, twin: bool) -> float:
    """Its standard deviation over draws; with weights it is one of rare disasters, which ten seeds may not show."""
    return float(_covariate_erm(n, gamma, twin).std())


@cache
def _covariate_erm(n: int, gamma: float, twin: bool) -> Array:
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
    return covariate_accuracy(edges[np.arange(len(x)), best % (n + 1)], best <= n, twin)
