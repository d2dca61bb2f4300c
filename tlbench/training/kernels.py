"""Kernels, and the two optimisations that the kernel methods share: transfer components and a bounded quadratic.

Everything here is in doubles on the host. A matrix of n by n doubles is refused in one line when n is above `LIMIT`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve, eigh
from scipy.sparse.linalg import eigsh
from scipy.spatial.distance import cdist, pdist
from torch import Tensor, nn

from tlbench.errors import NotApplicable
from tlbench.training.convergence import NotConverged

Array = NDArray[np.float64]
Kernel = Callable[[Array, Array], Array]  # (n, d), (m, d) -> (n, m)
Kind = Literal["primal", "linear", "rbf"]

LIMIT = 8192  # rows: a matrix is half a GiB then, and what is cubic in n takes minutes on two cores
STEPS = 100  # of the interior-point method


def affordable(n: int, what: str) -> None:
    """Refuse an (n, n) matrix above `LIMIT` rows.

    Raises:
        NotApplicable: says n, the bound, and what wanted the matrix.
    """
    if n > LIMIT:
        raise NotApplicable(f"{what} needs an n x n matrix: n = {n:,} is above {LIMIT:,} rows, half a GiB")


def median_distance(x: Array, most: int = 1000) -> float:
    """The median Euclidean distance of two of the (n, d) rows, of at most `most` of them evenly taken; 1 for none."""
    rows = x[np.linspace(0, len(x) - 1, min(len(x), most)).astype(int)]
    distance = pdist(rows) if len(rows) > 1 else np.ones(1)
    return float(np.median(distance)) or 1.0


def rbf(width: float) -> Kernel:
    """exp(-||x - z||^2 / (2 width^2))."""
    return lambda x, z: np.asarray(np.exp(cdist(x, z, "sqeuclidean") / (-2 * width**2)))


class Affine(nn.Module):
    """(n, d) rows -> (x - mean) W, (n, k)."""

    mean: Tensor
    w: Tensor

    def __init__(self, mean: Array, w: Array) -> None:
        super().__init__()
        self.register_buffer("mean", held(mean))
        self.register_buffer("w", held(w))

    def forward(self, x: Array) -> Array:
        return np.asarray((x - self.mean.numpy()) @ self.w.numpy())


class Columns(nn.Module):
    """(n, d) rows -> those of their columns that stay, (n, k)."""

    stay: Tensor

    def __init__(self, stay: NDArray[Any]) -> None:
        super().__init__()
        self.register_buffer("stay", held(stay))

    def forward(self, x: Array) -> Array:
        return np.asarray(x[:, self.stay.numpy()])


class KernelRows(nn.Module):
    """What a row becomes before a linear map: itself ('primal'), or its kernel with each of the (n, d) rows `x`."""

    x: Tensor

    def __init__(self, kind: Kind, x: Array) -> None:
        super().__init__()
        self.kind, self.width = kind, median_distance(x) if kind == "rbf" else 1.0
        self.register_buffer("x", None if kind == "primal" else held(x))

    def forward(self, z: Array) -> Array:
        if self.kind == "primal":
            return np.asarray(z)
        x = self.x.numpy()
        return np.asarray(z @ x.T) if self.kind == "linear" else rbf(self.width)(z, x)


class Components(nn.Module):
    """(n, d) rows -> their (n, k) components: kernel rows times W; of unit norm before and after, where asked."""

    w: Tensor

    def __init__(self, features: KernelRows, w: Array, unit_norm: bool = True) -> None:
        super().__init__()
        self.features, self.unit_norm = features, unit_norm
        self.register_buffer("w", held(w))

    def forward(self, x: Array) -> Array:
        if not self.unit_norm:
            return np.asarray(self.features(x) @ self.w.numpy())
        return unit(self.features(unit(x)) @ self.w.numpy())


def unit(rows: Array) -> Array:
    """Rows of norm 1."""
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12))


def held(array: NDArray[Any]) -> Tensor:
    """A numpy array as a buffer: a copy, in rows."""
    return torch.from_numpy(np.array(array, order="C"))


def features_of(kind: Kind, x: Array, what: str) -> KernelRows:
    """What a row becomes before a linear map: itself ('primal'), or its kernel with each of the (n, d) rows `x`.

    The width of 'rbf' is the median distance of the rows.
    """
    if kind != "primal":
        affordable(len(x), what)
    return KernelRows(kind, x)


def contrasts(n: int, m: int, ys: NDArray[Any] | None = None, yt: NDArray[Any] | None = None) -> Array:
    """(n + m, c) columns e whose e e^T sum up to the matrices of the maximum mean discrepancy.

    Without labels the one column holds 1/n and -1/m; with labels there is a column for each class that both have.
    """
    if ys is None or yt is None:
        return np.asarray(np.r_[np.full(n, 1 / n), np.full(m, -1 / m)][:, None])
    shared = np.intersect1d(ys, yt)
    source, target = (1.0 * (y[:, None] == shared) for y in (ys, yt))
    return np.concatenate([source / np.maximum(source.sum(0), 1), -target / np.maximum(target.sum(0), 1)])


def components(z: Array, e: Array, penalty: float | Array, k: int) -> Array:
    """Directions of much variance along which the contrasts vanish: the generalised eigenproblem of TCA and its kin.

    With B = z^T H z (H centres) and A = z^T e e^T z + diag(penalty), the k largest solutions of B w = l A w, each
    w^T A w = 1. A is diagonal plus low rank, so that its inverse root is exact and cheap, and A^(-1/2) B A^(-1/2) is
    symmetric; A^(-1) B is not, and must not be given to a symmetric solver.

    Args:
        z: (n, p) rows, in the kernel form z = K
        e: (n, c) contrasts
        penalty: positive; a number or (p,)

    Returns:
        (p, k') directions, the largest first; k' is k or the rank that there can be at most
    """
    scale = np.sqrt(np.broadcast_to(np.asarray(penalty, float), z.shape[1:]))
    z = z / scale
    q, g, _ = np.linalg.svd(z.T @ e, full_matrices=False)  # A = I + q g^2 q^T in these units
    shrink = 1 / np.sqrt(1 + g**2) - 1
    half = z - z.mean(0)
    half += ((half @ q) * shrink) @ q.T  # H z A^(-1/2)
    v = top(half, min(k, z.shape[1], len(z) - 1))
    return np.asarray((v + (q * shrink) @ (q.T @ v)) / scale[:, None])


def top(x: Array, k: int) -> Array:
    """(p, k') right singular vectors of (n, p) rows, the largest first, the greatest entry of each positive.

    Of the two Gram matrices the smaller one is decomposed; k' is k, or the rank to rounding.
    """
    wide = x.shape[0] < x.shape[1]
    gram = x @ x.T if wide else x.T @ x
    n = len(gram)
    if n <= 2048 or k > n // 10:
        values, vectors = eigh(gram, subset_by_index=(n - min(k, n), n - 1))
    else:
        values, vectors = eigsh(gram, k, v0=np.ones(n))
    best = np.argsort(-values)
    best = best[values[best] > 1e-12 * max(values.max(), 1e-300)]
    v = x.T @ vectors[:, best] / np.sqrt(values[best]) if wide else vectors[:, best]
    return np.asarray(v * np.where(v[np.abs(v).argmax(0), np.arange(v.shape[1])] < 0, -1, 1))


def bounded_quadratic(p: Array, q: Array, upper: float | Array, a: Array, low: float, high: float) -> Array:
    """The minimum of x^T p x / 2 - q^T x over 0 <= x <= upper, low <= a^T x <= high.

    Mehrotra's predictor-corrector interior-point method (SIAM J. Optimization 1992), to a relative gap of 1e-10.
    """
    n = len(q)
    p = p + 1e-10 * np.trace(p) / n * np.eye(n)  # positive definite in spite of rounding
    room = 1e-9 * max(1.0, abs(high))  # an interior, where low = high
    bound = np.r_[np.broadcast_to(upper, n), np.zeros(n), high + room, room - low]
    x = np.full(n, min(float(np.min(upper)) / 2, (low + high) / 2 / a.sum()))
    s = np.maximum(bound - _rows(x, a), 1e-2)
    z = np.full(2 * n + 2, max(1e-2, float(np.abs(p @ x - q).mean())))
    for _ in range(STEPS):
        dual, primal, gap = p @ x - q + _columns(z, a), _rows(x, a) + s - bound, float(s @ z)
        if gap <= 1e-10 * (1 + abs(float(x @ q))) and np.abs(dual).max() <= 1e-8 * (1 + np.abs(q).max()):
            break
        d = z / s
        system = p + (d[-2] + d[-1]) * np.outer(a, a)
        system[np.diag_indices(n)] += d[:n] + d[n : 2 * n]
        factor = cho_factor(system)
        centre = s * z
        for corrector in (False, True):
            dx = cho_solve(factor, -dual - _columns((primal * z - centre) / s, a))
            ds = -primal - _rows(dx, a)
            dz = (-centre - z * ds) / s
            step = min(1.0, *(0.995 * float(np.min(np.where(dv < 0, -v / np.minimum(dv, -1e-300), np.inf)))
                              for v, dv in ((s, ds), (z, dz))))  # fmt: skip
            if not corrector:
                ahead = float((s + step * ds) @ (z + step * dz)) / gap
                centre = s * z + ds * dz - ahead**3 * gap / len(s)
        x, s, z = x + step * dx, s + step * ds, z + step * dz
    else:
        warnings.warn(NotConverged("the quadratic program stopped at its limit of steps"), stacklevel=2)
    return np.asarray(np.clip(x, 0, upper))


def _rows(x: Array, a: Array) -> Array:
    """The constraints' left sides: x, -x, a^T x, -a^T x."""
    return np.asarray(np.r_[x, -x, a @ x, -(a @ x)])


def _columns(z: Array, a: Array) -> Array:
    """The transpose of `_rows`."""
    n = len(a)
    return np.asarray(z[:n] - z[n : 2 * n] + (z[-2] - z[-1]) * a)
