"""Optimal transport: carry the source samples onto the target's.

Courty et al., TPAMI 2017, sections 3 to 5, on the embedded inputs. With the cost C_ij = ||x_i - x_j||^2 over its median
and equal masses, the plan is

    exact    min over plans G of <G, C>
    entropic                  <G, C> + reg * sum of G log G
    classes                   the same + class_reg * sum over target j and class c of ||G_{I_c j}||_1^{1/2}

(the last keeps samples of several classes from sharing a target sample), and a source sample goes to the mean of where
its mass goes, x_i <- n sum_j G_ij x_j. The solvers are POT's. The paper chooses both weights on a grid, of 0.001 to
1000, with target labels; a tenth of the median cost each, inside it, is ours, and POT's for the classes. The paper's
other class regulariser (l1-l2) and its Laplacian one are left out.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from scipy.spatial.distance import cdist
from torch import nn

from tlbench.training.kernels import Array, affordable
from tlbench.training.optimal_transport import entropic, exact
from tlbench.training.shallow import Labels, MappingMethod, Move

ROUNDS = 10  # of the class regulariser's tangents


@dataclass(frozen=True)
class OTMapping(MappingMethod):
    """Transport the source onto the target at the least cost, then train as usual.

    >>> import numpy as np
    >>> from tlbench import Train
    >>> y = np.arange(60) % 3
    >>> x = np.random.default_rng(0).normal(6 * np.eye(3)[y])
    >>> train = Train.of(x, y, x + 1)
    >>> OTMapping(steps=30).fit(train, seed=0)(train.target.x).argmax(1)[:6].tolist()
    [0, 1, 2, 0, 1, 2]
    """

    plan: Literal["exact", "entropic", "classes"] = "classes"
    reg: float = 0.1  # lambda, of the entropy
    class_reg: float = 0.1  # eta

    family: ClassVar[str] = "feature-based"
    paper: ClassVar[str] = "Courty et al., Optimal transport for domain adaptation, TPAMI 2017"
    needs: ClassVar[frozenset[str]] = frozenset({"sources", "same task"})
    search: ClassVar[dict[str, tuple[object, ...]]] = {
        "plan": ("choice", "exact", "entropic", "classes"),
        "reg": ("log", 1e-2, 1e1),
        "class_reg": ("log", 1e-2, 1e1),
    }

    def moved(self, xs: Array, ys: Labels, xt: Array, seed: int) -> tuple[Array, Move]:
        affordable(max(len(xs), len(xt)), "optimal transport")
        plan = transport(cdist(xs, xt, "sqeuclidean"), ys, self.plan, self.reg, self.class_reg)
        return plan @ xt / plan.sum(1, keepdims=True), nn.Identity()


def transport(cost: Array, ys: Labels, kind: str, reg: float, class_reg: float) -> Array:
    """The (n, m) plan of equal masses."""
    cost = cost / (np.median(cost) or 1.0)
    if kind == "exact":
        return exact(cost)
    if kind == "entropic":
        return entropic(cost, reg)
    member = (ys[:, None] == np.unique(ys)).astype(float)  # (n, c)
    toll = np.zeros(cost.shape)
    for _ in range(ROUNDS):  # the concave penalty is replaced by its tangent: majorise, minimise
        plan = entropic(cost + class_reg * toll, reg)
        toll = member @ (0.5 * (member.T @ plan + 1e-3) ** -0.5)
    return plan
