"""RuLSIF: the relative density ratio by least squares.

Yamada et al., Neural Computation 2013, equations 5 and 6, on the embedded inputs: r(x) = sum_l theta_l k(x, c_l) with
centres c_l drawn from the target fits p_T / (alpha p_T + (1 - alpha) p_S), which is at most 1/alpha, in closed form:

    theta = (H + lambda I)^(-1) h,   h = mean over the target of k(x),
    H = alpha mean over the target of k(x) k(x)^T + (1 - alpha) mean over the source of k(x) k(x)^T

Negative ratios count as 0. The Gaussian kernel's width (times the median distance) and lambda have the least squared
error on folds held out. alpha = 0 is uLSIF (Kanamori et al., JMLR 2009).
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tlbench.training.kernels import Array, median_distance, rbf
from tlbench.training.shallow import ImportanceWeighting

WIDTHS = (0.2, 0.5, 1.0, 2.0)
PENALTIES = (1e-3, 1e-2, 1e-1, 1.0)


@dataclass(frozen=True)
class RuLSIF(ImportanceWeighting):
    """Weigh the source by a density ratio that cannot explode.

    >>> import numpy as np
    >>> from tlbench import Train
    >>> x = np.random.default_rng(0).normal(size=(60, 3))
    >>> y = x.sum(1)  # floats: a number is predicted
    >>> train = Train.of(x, y, x + 0.5)
    >>> predicted = RuLSIF(steps=30).fit(train, seed=0)(train.target.x)[:, 0].numpy()
    >>> bool(np.corrcoef(predicted, y)[0, 1] > 0.9)
    True
    """

    alpha: float = 0.1
    centres: int = 100
    folds: int = 5
    width: float | None = None  # in median distances; None: by held-out error
    penalty: float | None = None  # lambda; None likewise

    family: ClassVar[str] = "distribution-based"
    paper: ClassVar[str] = "Yamada et al., Relative density-ratio estimation, Neural Computation 2013"
    needs: ClassVar[frozenset[str]] = frozenset({"sources", "same task"})
    regimes: ClassVar[frozenset[str]] = frozenset({"classification", "regression"})
    search: ClassVar[dict[str, tuple[object, ...]]] = {
        "alpha": ("linear", 0.0, 0.9),
        "flattening": ("choice", 0.25, 0.5, 0.75, 1.0),
    }

    def weights(self, xs: Array, xt: Array, seed: int) -> Array:
        random = np.random.default_rng(seed)
        xt, mixed = xt[random.permutation(len(xt))], random.permutation(len(xs))  # folds are of both
        centres, unit = xt[: self.centres], median_distance(np.concatenate([xs, xt]))
        widths = WIDTHS if self.width is None else (self.width,)
        penalties = PENALTIES if self.penalty is None else (self.penalty,)
        best, theta, values = np.inf, np.zeros(len(centres)), np.zeros((len(xs), len(centres)))
        for width in widths:
            k = rbf(width * unit)
            ps, pt = k(xs, centres), k(xt, centres)
            for penalty in penalties:
                one = len(widths) * len(penalties) == 1  # nothing to choose
                error = 0.0 if one else self.error(ps[mixed], pt, penalty)
                if error < best:
                    best, theta, values = error, coefficients(ps, pt, self.alpha, penalty), ps
        return np.maximum(values @ theta, 0)

    def error(self, ps: Array, pt: Array, penalty: float) -> float:
        """Mean held-out theta^T H theta / 2 - h^T theta."""
        folds, total = max(1, min(self.folds, len(ps), len(pt))), 0.0
        for i in range(folds):
            s, t = np.arange(len(ps)) % folds == i, np.arange(len(pt)) % folds == i
            theta = coefficients(ps[~s], pt[~t], self.alpha, penalty) if folds > 1 else np.zeros(ps.shape[1])
            rs, rt = np.maximum(ps[s] @ theta, 0), np.maximum(pt[t] @ theta, 0)
            total += float((self.alpha * np.mean(rt**2) + (1 - self.alpha) * np.mean(rs**2)) / 2 - rt.mean())
        return total / folds


def coefficients(ps: Array, pt: Array, alpha: float, penalty: float) -> Array:
    """The (l,) theta, given (n, l) and (m, l) kernel values of source and target rows with the centres."""
    h = alpha / len(pt) * pt.T @ pt + (1 - alpha) / len(ps) * ps.T @ ps
    return np.asarray(np.linalg.solve(h + penalty * np.eye(len(h)), pt.mean(0)))
