"""TarS: target shift by kernel mean matching.

Zhang et al., ICML 2013, section 3, equation 9, on the embedded inputs. Where p(x | y) stays, the target's mean in a
kernel's feature space is a mixture of the source's class means; for weights beta = R alpha, one number a class,

    min  alpha^T (R^T A R) alpha / 2 - (n / m) 1^T K_ts Omega^T R alpha,
    A = Omega K Omega^T,   Omega = L (L + reg I)^(-1),
    0 <= alpha <= B,   |sum beta - n| <= n eps,   B = 10,  eps = B / (4 sqrt n)

With L_ij = 1(y_i = y_j), Omega averages within classes and shrinks class c's mean by n_c / (n_c + reg). K is Gaussian,
as wide as the median distance. The card's network is trained with the classes so weighed. The paper's estimates for a
changing p(x | y) (ConS, GeTarS) are left out.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tlbench import Predictor, Train
from tlbench.training.features import embedded
from tlbench.training.kernels import Array, affordable, bounded_quadratic, median_distance, rbf
from tlbench.training.label_shift import class_weighted
from tlbench.training.predictors import chain
from tlbench.training.shallow import Labels, matrix, pooled
from tlbench.training.trainer import TrainedMethod


@dataclass(frozen=True)
class TarS(TrainedMethod):
    """Mix the source's class means into the target's mean.

    >>> import numpy as np
    >>> from tlbench import Train
    >>> y = np.arange(60) % 3
    >>> x = np.random.default_rng(0).normal(6 * np.eye(3)[y])
    >>> train = Train.of(x, y, x + 1)
    >>> TarS(steps=30).fit(train, seed=0)(train.target.x).argmax(1)[:6].tolist()
    [0, 1, 2, 0, 1, 2]
    """

    width: float = 1.0  # of the kernel, in median distances
    bound: float = 10.0  # B
    reg: float = 1e-10  # as in the common code: next to none

    family: ClassVar[str] = "distribution-based"
    paper: ClassVar[str] = "Zhang et al., Domain adaptation under target and conditional shift, ICML 2013"
    needs: ClassVar[frozenset[str]] = frozenset({"sources", "same task"})
    search: ClassVar[dict[str, tuple[object, ...]]] = {"width": ("log", 0.1, 10.0), "reg": ("log", 1e-10, 10.0)}

    def fit(self, train: Train, seed: int) -> Predictor:
        flat, embed = embedded(train, seed, self.erm)
        (xs, ys), xt = pooled(flat), matrix(flat.target.x)
        affordable(max(len(xs), len(xt)), "TarS")
        classes, weights = np.unique(ys), np.ones(train.n_classes)
        width = self.width * median_distance(np.concatenate([xs, xt]))
        weights[classes] = mixed(xs, np.searchsorted(classes, ys), xt, width, self.bound, self.reg)
        score = class_weighted(self.erm, flat, weights, seed)
        return chain(embed, score)


def mixed(xs: Array, ys: Labels, xt: Array, width: float, bound: float, reg: float) -> Array:
    """The (c,) weights alpha of the classes 0 to c - 1."""
    k, n = rbf(width), len(xs)
    member = np.eye(int(ys.max()) + 1)[ys]  # R, (n, c)
    counts = member.sum(0)
    shrunk = member * counts / (counts + reg)  # Omega^T R
    p, q = shrunk.T @ k(xs, xs) @ shrunk, shrunk.T @ k(xs, xt).mean(1) * n
    eps = bound / (4 * n**0.5)
    return bounded_quadratic(p, q, bound, counts, n * (1 - eps), n * (1 + eps))
