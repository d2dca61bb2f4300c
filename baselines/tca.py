"""TCA: transfer component analysis.

Pan et al., IEEE TNN 2011, section III (unsupervised), on the embedded inputs. With K the kernel of all n_S + n_T rows,
L = e e^T of the maximum mean discrepancy (e = 1/n_S and -1/n_T) and H the centring matrix, the components are the k
largest solutions of the symmetric generalised eigenproblem

    K H K w = l (K L K + mu I) w,   w^T (K L K + mu I) w = 1   (so w^T K L K w -> 0 while w^T K H K w stays large)

and a new row x becomes k(x, X) W. kernel="primal" puts X itself in the place of K: components in input space. The
semi-supervised SSTCA is left out. 20 components and mu 0.1 are the library ADAPT's; the paper shows a range of both.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tlbench.training.kernels import Array, Components, Kind, components, contrasts, features_of
from tlbench.training.shallow import Labels, MappingMethod, Move


@dataclass(frozen=True)
class TCA(MappingMethod):
    """Find components along which the domains' means agree and the variance stays.

    >>> import numpy as np
    >>> from tlbench import Train
    >>> y = np.arange(60) % 3
    >>> x = np.random.default_rng(0).normal(6 * np.eye(3)[y])
    >>> train = Train.of(x, y, x + 1)
    >>> TCA(steps=30).fit(train, seed=0)(train.target.x).argmax(1)[:6].tolist()
    [0, 1, 2, 0, 1, 2]
    """

    dims: int = 20  # k
    penalty: float = 0.1  # mu
    kernel: Kind = "rbf"  # its width is the median distance

    family: ClassVar[str] = "feature-based"
    paper: ClassVar[str] = "Pan et al., Domain adaptation via transfer component analysis, IEEE TNN 2011"
    needs: ClassVar[frozenset[str]] = frozenset({"sources"})
    search: ClassVar[dict[str, tuple[object, ...]]] = {
        "dims": ("choice", 5, 10, 20, 40, 80),
        "penalty": ("log", 1e-3, 1e3),
        "kernel": ("choice", "primal", "linear", "rbf"),
    }

    def moved(self, xs: Array, ys: Labels, xt: Array, seed: int) -> tuple[Array, Move]:
        rows = np.concatenate([xs, xt])
        features = features_of(self.kernel, rows, "TCA")
        z = features(rows)
        w = components(z, contrasts(len(xs), len(xt)), self.penalty, self.dims)
        return z[: len(xs)] @ w, Components(features, w, unit_norm=False)
