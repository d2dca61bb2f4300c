"""KLIEP: the density ratio of least Kullback-Leibler divergence.

Sugiyama et al., NIPS 2008, equations 8 to 10, on the embedded inputs: w(x) = sum_l a_l k(x, c_l) with centres c_l drawn
from the target, and

    max over a >= 0  of  sum_j log w(x_j) over the target,   sum_i w(x_i) = n over the source

a concave problem, solved to optimality. The kernel is Gaussian; its width, among
`WIDTHS` times the median distance, has the greatest likelihood of target samples held out (the paper's LCV).
"""

import warnings
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tlbench import NotConverged
from tlbench.training.kernels import Array, median_distance, rbf
from tlbench.training.shallow import ImportanceWeighting

WIDTHS = (0.1, 0.2, 0.5, 1.0, 2.0)
STEPS = 100  # of the interior-point method


@dataclass(frozen=True)
class KLIEP(ImportanceWeighting):
    """Weigh the source by a density ratio under which the target is likeliest.

    >>> import numpy as np
    >>> from tlbench import Train
    >>> x = np.random.default_rng(0).normal(size=(60, 3))
    >>> y = x.sum(1)  # floats: a number is predicted
    >>> train = Train.of(x, y, x + 0.5)
    >>> predicted = KLIEP(steps=30).fit(train, seed=0)(train.target.x)[:, 0].numpy()
    >>> bool(np.corrcoef(predicted, y)[0, 1] > 0.9)
    True
    """

    centres: int = 100
    folds: int = 5
    width: float | None = None  # in median distances; None: by held-out likelihood

    family: ClassVar[str] = "distribution-based"
    paper: ClassVar[str] = "Sugiyama et al., Direct importance estimation with model selection, NIPS 2008"
    needs: ClassVar[frozenset[str]] = frozenset({"sources", "same task"})
    regimes: ClassVar[frozenset[str]] = frozenset({"classification", "regression"})
    search: ClassVar[dict[str, tuple[object, ...]]] = {"flattening": ("choice", 0.25, 0.5, 0.75, 1.0)}

    def weights(self, xs: Array, xt: Array, seed: int) -> Array:
        order = np.random.default_rng(seed).permutation(len(xt))
        unit, centres = median_distance(np.concatenate([xs, xt])), xt[order[: self.centres]]
        width = self.width
        if width is None:
            width = max(WIDTHS, key=lambda w: self.likelihood(xs, xt[order], centres, w * unit))
        k = rbf(width * unit)
        ps = k(xs, centres)
        return np.asarray(ps @ coefficients(ps, k(xt, centres)))

    def likelihood(self, xs: Array, xt: Array, centres: Array, width: float) -> float:
        """Mean log ratio of held-out target rows."""
        k = rbf(width)
        ps, pt, total = k(xs, centres), k(xt, centres), 0.0
        if not (ps.mean(0) > 1e-12).any():
            return -np.inf
        for rows in np.array_split(np.arange(len(xt)), min(self.folds, len(xt))):
            kept = np.delete(pt, rows, 0) if len(rows) < len(pt) else pt
            total += float(np.log(np.maximum(pt[rows] @ coefficients(ps, kept), 1e-300)).sum())
        return total / len(xt)


def coefficients(ps: Array, pt: Array) -> Array:
    """The (l,) a, given (n, l) and (m, l) kernel values of source and target rows with the centres."""
    mean = ps.mean(0)
    near = mean > 1e-12  # a centre without a source sample nearby could have any weight
    f = pt[:, near] / np.maximum(mean[near], 1e-12)
    f = f[f.max(1) > 0] if near.any() else f  # a target row beyond all centres is equally unlikely whatever a is
    if not f.size:
        return np.ones(len(mean))
    s, out = shares(f), np.zeros(len(mean))
    out[near] = s / s.sum() / mean[near]
    return out


def shares(f: Array) -> Array:
    """s >= 0 of greatest mean log(f s) - sum(s), which sums up to 1: s_l = a_l mean_i k(x_i, c_l), by (m, l) f.

    A primal-dual interior-point method. At the optimum no entry of the gradient of mean log(f s) is above 1; the
    greatest one less 1 bounds how far from it any s on the simplex is.
    """
    s = np.full(f.shape[1], 1 / f.shape[1])
    z = np.ones(len(s))
    for _ in range(STEPS):
        part = f / (f @ s)[:, None]
        gradient = 1 - part.mean(0)
        if s @ z < 1e-10 and np.abs(gradient - z).max() < 1e-8:
            break
        centre = 0.1 * float(s @ z) / len(s) / s
        ds = np.linalg.solve(part.T @ part / len(f) + np.diag(z / s), centre - gradient)
        dz = centre - z - z / s * ds
        step = min(1.0, *(0.99 / max(1e-300, float((-dv / v).max())) for v, dv in ((s, ds), (z, dz))))
        s, z = s + step * ds, z + step * dz
    else:
        warnings.warn(NotConverged("KLIEP's program stopped at its limit of steps"), stacklevel=2)
    return s
