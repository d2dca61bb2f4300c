"""DeepJDOT: deep joint distribution optimal transport.

Damodaran et al., ECCV 2018, equations 3 to 5. In every batch the source is transported to the target at a cost of
features and labels taken together; then, the plan held fixed, the network makes the transport cheaper:

    CE(c(f(x)), y)  +  sum_ij P_ij C_ij,   C_ij = alpha * |f(xs_i) - f(xt_j)|^2 + weight * CE(c(f(xt_j)), ys_i)
    P = argmin <P, C> over the plans between the uniform weights of both batches     (POT, exact)

The plan and the network take turns once a step, as in the paper's algorithm 1.
"""

import warnings
from dataclasses import dataclass
from typing import ClassVar

import ot
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from tlbench import NotConverged
from tlbench.training.losses import squared_distances
from tlbench.training.networks import Networks
from tlbench.training.trainer import Batch, GradientMethod


@dataclass(frozen=True)
class DeepJDOT(GradientMethod):
    """Transport features and labels together, and make the transport cheap.

    >>> import numpy as np
    >>> from tlbench import Train
    >>> y = np.arange(60) % 3
    >>> x = np.random.default_rng(0).normal(6 * np.eye(3)[y])
    >>> train = Train.of(x, y, x + 1)
    >>> DeepJDOT(steps=30).fit(train, seed=0)(train.target.x).argmax(1)[:6].tolist()
    [0, 1, 2, 0, 1, 2]
    """

    alpha: float = 0.001  # of the distance of features
    weight: float = 0.0001  # of the target's loss under transported labels; the paper's lambda_t

    family: ClassVar[str] = "distribution-based"
    paper: ClassVar[str] = "Damodaran et al., DeepJDOT: deep joint distribution optimal transport, ECCV 2018"
    needs: ClassVar[frozenset[str]] = frozenset({"sources", "same task"})
    search: ClassVar[dict[str, tuple[object, ...]]] = {
        "alpha": ("log", 1e-4, 1.0),
        "weight": ("log", 1e-4, 1.0),
        "lr": ("log", 1e-3, 0.1),
    }

    def loss(self, net: Networks, batch: Batch, progress: float) -> Tensor:
        rows = net.features(batch.inputs)
        features, logits = batch.split(rows), batch.split(net.classifier(rows))
        label_loss = cross_entropy(logits.labeled, batch.y)
        cost = joint_cost(features.source, features.target, batch.ys, logits.target, self.alpha, self.weight)
        return label_loss + (plan(cost) * cost).sum()


def joint_cost(fs: Tensor, ft: Tensor, ys: Tensor, scores: Tensor, alpha: float, weight: float) -> Tensor:
    """(n, m): how far each source row's features and label are from each target row's features and scores."""
    return alpha * squared_distances(fs, ft) - weight * scores.log_softmax(1).T[ys]


def plan(cost: Tensor) -> Tensor:
    """The cheapest plan (n, m) between uniform weights, without gradient."""
    found, log = ot.emd([], [], cost.detach().double().cpu().numpy(), log=True)
    if log["warning"]:
        warnings.warn(NotConverged("the network simplex stopped at its limit of pivots"), stacklevel=2)
    return torch.as_tensor(found, dtype=cost.dtype, device=cost.device)
