"""KMM: kernel mean matching.

Huang et al., NIPS 2006, equation 5, on the embedded inputs: weights beta of the n source samples under which their mean
in a kernel's feature space is that of the m target samples,

    min  beta^T K beta / 2 - kappa^T beta,   kappa_i = n/m sum_j k(x_i, x_j),
    0 <= beta <= B,   |sum beta - n| <= n eps,   B = 1000,  eps = (sqrt(n) - 1) / sqrt(n)

solved to optimality (a first-order method stops far away). The kernel is Gaussian, as wide as the median distance.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tlbench.training.kernels import Array, affordable, bounded_quadratic, median_distance, rbf
from tlbench.training.shallow import ImportanceWeighting


@dataclass(frozen=True)
class KMM(ImportanceWeighting):
    """Weigh the source so that its kernel mean is the target's.

    >>> import numpy as np
    >>> from tlbench import Train
    >>> x = np.random.default_rng(0).normal(size=(60, 3))
    >>> y = x.sum(1)  # floats: a number is predicted
    >>> train = Train.of(x, y, x + 0.5)
    >>> predicted = KMM(steps=30).fit(train, seed=0)(train.target.x)[:, 0].numpy()
    >>> bool(np.corrcoef(predicted, y)[0, 1] > 0.9)
    True
    """

    bound: float = 1000.0  # B
    width: float = 1.0  # of the kernel, in median distances

    family: ClassVar[str] = "distribution-based"
    paper: ClassVar[str] = "Huang et al., Correcting sample selection bias by unlabeled data, NIPS 2006"
    needs: ClassVar[frozenset[str]] = frozenset({"sources", "same task"})
    regimes: ClassVar[frozenset[str]] = frozenset({"classification", "regression"})
    search: ClassVar[dict[str, tuple[object, ...]]] = {
        "bound": ("log", 1.0, 1e3),
        "width": ("log", 0.1, 10.0),
        "flattening": ("choice", 0.25, 0.5, 0.75, 1.0),
    }

    def weights(self, xs: Array, xt: Array, seed: int) -> Array:
        affordable(max(len(xs), len(xt)), "KMM")
        bandwidth = self.width * median_distance(np.concatenate([xs, xt]))
        eps = (len(xs) ** 0.5 - 1) / len(xs) ** 0.5
        return kernel_mean_matching(xs, xt, bandwidth, self.bound, eps)


def kernel_mean_matching(xs: Array, xt: Array, bandwidth: float, bound: float, eps: float) -> Array:
    """The (n,) importance weights beta of the (n, d) source rows, by the quadratic program above."""
    kernel, n = rbf(bandwidth), len(xs)
    gram, kappa = kernel(xs, xs), kernel(xs, xt).mean(1) * n
    return bounded_quadratic(gram, kappa, bound, np.ones(n), n * (1 - eps), n * (1 + eps))
