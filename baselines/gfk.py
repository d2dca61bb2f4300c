"""GFK: the geodesic flow kernel.

Gong et al., CVPR 2012, equations 1 to 6, on the embedded inputs, each domain about its own mean. P_S and P_T (d, k) are
the principal subspaces, and Phi(t), 0 <= t <= 1, runs along the geodesic between them on the Grassmann manifold. The
kernel integrates the inner products of all the subspaces on the way:

    <x, z> = x^T G z,   G = integral of Phi(t) Phi(t)^T dt = [P_S U1  R_S U2] [[L1 L2], [L2 L3]] [P_S U1  R_S U2]^T

with P_S^T P_T = U1 cos(theta) V^T, R_S^T P_T = -U2 sin(theta) V^T and, of each principal angle theta, L1 = (1 + sin(2
theta)/(2 theta))/2, L2 = (cos(2 theta) - 1)/(4 theta), L3 = (1 - sin(2 theta)/(2 theta))/2. A row becomes G^(1/2) x in
the 2k coordinates that G has, so that any classifier can follow. k is the paper's (section 3.4): the subspaces should
hold as much variance as they can without orthogonal directions. With alpha_d, beta_d the largest of the d principal
angles between the d first principal axes of source, and of target, and those of both together,

    k = min { d : D(d) = 1 },   D(d) = (sin alpha_d + sin beta_d) / 2

where 1 is 0.995 and above, as in the common code: of samples it is never reached to the end. The supervised (PLS)
source subspaces are left out.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tlbench.training.kernels import Affine, Array, top
from tlbench.training.shallow import Labels, MappingMethod, Move

ORTHOGONAL = 0.995  # D(d) that counts as 1


@dataclass(frozen=True)
class GFK(MappingMethod):
    """Compare samples in all the subspaces between source and target.

    >>> import numpy as np
    >>> from tlbench import Train
    >>> y = np.arange(60) % 3
    >>> x = np.random.default_rng(0).normal(6 * np.eye(3, 8)[y])
    >>> train = Train.of(x, y, x + 1)
    >>> GFK(steps=30).fit(train, seed=0)(train.target.x).argmax(1)[:6].tolist()
    [0, 1, 2, 0, 1, 2]
    """

    dims: int | None = None  # k, at most half of the features and either rank; None: by the disagreement

    family: ClassVar[str] = "feature-based"
    paper: ClassVar[str] = "Gong et al., Geodesic flow kernel for unsupervised domain adaptation, CVPR 2012"
    needs: ClassVar[frozenset[str]] = frozenset({"sources"})
    search: ClassVar[dict[str, tuple[object, ...]]] = {"dims": ("choice", None, 5, 10, 20, 40, 80)}

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.dims is not None and self.dims < 1:
            raise ValueError(f"dims is {self.dims}, it must be positive")

    def moved(self, xs: Array, ys: Labels, xt: Array, seed: int) -> tuple[Array, Move]:
        ms, mt = xs.mean(0), xt.mean(0)
        most = max(1, min(self.dims or xs.shape[1], xs.shape[1] // 2, len(xs) - 1, len(xt) - 1))
        ps, pt = top(xs - ms, most), top(xt - mt, most)
        both = top(np.concatenate([xs - ms, xt - mt]), most)
        k = min(ps.shape[1], pt.shape[1]) if self.dims else agreeing(ps, pt, both)
        root = kernel_root(ps[:, :k], pt[:, :k])
        return (xs - ms) @ root, Affine(mt, root)


def agreeing(ps: Array, pt: Array, both: Array) -> int:
    """The dimension at which the subspaces of (d, k) bases begin to have orthogonal directions; k where none do."""
    most: int = min(ps.shape[1], pt.shape[1], both.shape[1])
    overlaps = ps.T @ both, pt.T @ both
    for d in range(1, most):
        cosines = [np.linalg.svd(part[:d, :d], compute_uv=False)[-1] for part in overlaps]
        if sum((1 - min(1.0, c) ** 2) ** 0.5 for c in cosines) / 2 >= ORTHOGONAL:
            return d
    return most


def kernel_root(ps: Array, pt: Array) -> Array:
    """(d, 2k) F with F F^T = G, of orthonormal (d, k) bases."""
    u, cosine, vt = np.linalg.svd(ps.T @ pt)
    start, end = ps @ u, pt @ vt.T  # principal vectors, (d, k) each
    away = end - start * cosine  # -R_S U2 sin(theta), which is exact where theta is small
    sine = np.linalg.norm(away, axis=0)
    theta = np.arctan2(sine, cosine)
    ahead = away / np.maximum(sine, 1e-12)  # -R_S U2; none where the subspaces meet
    double = np.sinc(2 * theta / np.pi)  # sin(2 theta) / (2 theta)
    corner = np.sin(theta) * np.sinc(theta / np.pi) / 2  # (1 - cos(2 theta)) / (4 theta)
    small = np.stack([(1 + double) / 2, corner, corner, (1 - double) / 2], -1).reshape(-1, 2, 2)
    values, vectors = np.linalg.eigh(small)  # of each angle on its own
    half = vectors * np.sqrt(np.maximum(values, 0))[:, None]  # (k, 2, 2)
    both = np.stack([start, ahead], -1)  # (d, k, 2)
    return np.asarray(np.einsum("dkc,kcj->dkj", both, half).reshape(len(ps), -1))
