"""TJM: transfer joint matching.

Long et al., CVPR 2014, algorithm 1, on the embedded inputs: kernel PCA whose components match the domains' means and,
by an l2,1 norm on the source's rows of W, leave out source samples that the target has no use for:

    min  tr(W^T K M K^T W) + lambda (||W_S||_{2,1} + ||W_T||_F^2)   subject to   W^T K H K^T W = I

The l2,1 norm is its quadratic bound, W^T G W with G_ii = 1 / (2 ||w_i||) on the source's rows and 1 on the target's, at
the last round's W. Each round is the eigenproblem of TCA with the penalty lambda G. As there, the vectors have length 1
in the constraint's place taken by what is minimised; rows have norm 1 before and after the map, M is over its Frobenius
norm. Where a row of W vanishes, its norm counts as 1e-6 of the mean.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tlbench.training.kernels import Array, Components, Kind, components, contrasts, features_of, unit
from tlbench.training.shallow import Labels, MappingMethod, Move


@dataclass(frozen=True)
class TJM(MappingMethod):
    """Match the domains' means and drop the source samples that do not help.

    >>> import numpy as np
    >>> from tlbench import Train
    >>> y = np.arange(60) % 3
    >>> x = np.random.default_rng(0).normal(6 * np.eye(3)[y])
    >>> train = Train.of(x, y, x + 1)
    >>> TJM(steps=30).fit(train, seed=0)(train.target.x).argmax(1)[:6].tolist()
    [0, 1, 2, 0, 1, 2]
    """

    dims: int = 20  # k
    penalty: float = 1.0  # lambda
    kernel: Kind = "linear"
    rounds: int = 10  # T

    family: ClassVar[str] = "feature-based"
    paper: ClassVar[str] = "Long et al., Transfer joint matching for unsupervised domain adaptation, CVPR 2014"
    needs: ClassVar[frozenset[str]] = frozenset({"sources"})
    search: ClassVar[dict[str, tuple[object, ...]]] = {
        "dims": ("choice", 10, 20, 40, 80),
        "penalty": ("log", 1e-3, 1e2),
        "kernel": ("choice", "linear", "rbf"),
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kernel == "primal":
            raise ValueError("kernel='primal' has no weight a sample to leave out; take 'linear'")

    def moved(self, xs: Array, ys: Labels, xt: Array, seed: int) -> tuple[Array, Move]:
        rows, n = unit(np.concatenate([xs, xt])), len(xs)
        features = features_of(self.kernel, rows, "TJM")
        k = features(rows)
        w = matched(k, n, self.dims, self.penalty, self.rounds)
        return unit(k[:n] @ w), Components(features, w)


def matched(k: Array, n: int, dims: int, penalty: float, rounds: int) -> Array:
    """The (n + m, dims) coefficients for the kernel matrix of n source rows and m target rows."""
    e = contrasts(n, len(k) - n)
    e = e / np.linalg.norm(e)  # ||e e^T||_F = ||e||^2
    g = np.ones(len(k))
    for _ in range(rounds):
        w = components(k, e, penalty * g, dims)
        norms = np.linalg.norm(w[:n], axis=1)
        g[:n] = 1 / (2 * np.maximum(norms, 1e-6 * norms.mean() + 1e-300))
    return w
