"""Subspace alignment: turn the source's principal axes onto the target's.

Fernando et al., ICCV 2013, algorithm 1, on the embedded inputs, each domain about its own mean. With P_S, P_T (d, k)
the first principal axes, M = P_S^T P_T minimises ||P_S M - P_T||_F, and

    z_S = x_S P_S P_S^T P_T,   z_T = x_T P_T

The paper picks k by a bound on the axes' stability and cross-validation; we leave that out, `dims` is a field, 20 as in
the classic tables of these methods.
"""

from dataclasses import dataclass
from typing import ClassVar

from tlbench.training.kernels import Affine, Array, top
from tlbench.training.shallow import Labels, MappingMethod, Move


@dataclass(frozen=True)
class SubspaceAlignment(MappingMethod):
    """Align the principal subspaces of source and target by a linear map.

    >>> import numpy as np
    >>> from tlbench import Train
    >>> y = np.arange(60) % 3
    >>> x = np.random.default_rng(0).normal(6 * np.eye(3)[y])
    >>> train = Train.of(x, y, x + 1)
    >>> SubspaceAlignment(steps=30).fit(train, seed=0)(train.target.x).argmax(1)[:6].tolist()
    [0, 1, 2, 0, 1, 2]
    """

    dims: int = 20  # k

    family: ClassVar[str] = "feature-based"
    paper: ClassVar[str] = "Fernando et al., Unsupervised visual domain adaptation using subspace alignment, ICCV 2013"
    needs: ClassVar[frozenset[str]] = frozenset({"sources"})
    search: ClassVar[dict[str, tuple[object, ...]]] = {"dims": ("choice", 5, 10, 20, 40, 80)}

    def moved(self, xs: Array, ys: Labels, xt: Array, seed: int) -> tuple[Array, Move]:
        return aligned(xs, xt, self.dims)


def aligned(xs: Array, xt: Array, dims: int) -> tuple[Array, Move]:
    """The (n, k) aligned source rows and the target's map."""
    ms, mt = xs.mean(0), xt.mean(0)
    k = min(dims, xs.shape[1], max(1, len(xs) - 1), max(1, len(xt) - 1))
    ps, pt = top(xs - ms, k), top(xt - mt, k)  # (d, k) each
    return (xs - ms) @ ps @ (ps.T @ pt), Affine(mt, pt)
