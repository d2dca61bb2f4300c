"""Multi-task learning: a shared trunk, tasks weighed by their uncertainty.

Caruana, 1997, for the trunk; Kendall, Gal & Cipolla, CVPR 2018, equations 7 and 10, for the weights. Every source, and
the target's shots, is a task with a linear head of its own; each loss L_i is divided by a variance that is learnt:

    min   sum_i  a_i exp(-s_i) L_i + s_i / 2,   s_i = log sigma_i^2,   a_i = 1 for cross-entropy, 1/2 for squared error

For given losses the best variance is sigma_i^2 = 2 a_i L_i. The target's head predicts, so shots are needed.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss

from tlbench import Train
from tlbench.training.networks import Networks, part
from tlbench.training.trainer import Batch, GradientMethod, network


@dataclass(frozen=True)
class Multitask(GradientMethod):
    """One trunk for all tasks, each weighed by what noise it has.

    >>> import numpy as np
    >>> from tlbench import Train
    >>> y = np.arange(60) % 3
    >>> x = np.random.default_rng(0).normal(6 * np.eye(3)[y])
    >>> train = Train.of(x, y // 2, x + 1, shots=(x[:9] + 1, y[:9]), source_classes=2)
    >>> Multitask(steps=30).fit(train, seed=0)(train.target.x).argmax(1)[:6].tolist()
    [0, 1, 2, 0, 1, 2]
    """

    weighting: bool = True  # by uncertainty; else all tasks weigh alike

    family: ClassVar[str] = "feature-based"
    paper: ClassVar[str] = "Kendall, Gal & Cipolla, Multi-task learning using uncertainty to weigh losses, CVPR 2018"
    needs: ClassVar[frozenset[str]] = frozenset({"sources", "shots"})
    regimes: ClassVar[frozenset[str]] = frozenset({"classification", "regression"})
    search: ClassVar[dict[str, tuple[object, ...]]] = {"weighting": ("choice", True, False), "lr": ("log", 1e-3, 0.1)}
    takes: ClassVar[str] = "sl"

    def networks(self, train: Train) -> Networks:
        net = network(train)
        width = net.features.width
        if "heads" not in net:
            net["heads"] = nn.ModuleList(nn.Linear(width, train.n_classes) for _ in train.sources)
        net["variances"] = Variances(len(train.sources) + 1)
        return net

    def loss(self, net: Networks, batch: Batch, progress: float) -> Tensor:
        f, m = net.features(batch.x), len(batch.xs)
        heads = [*part(net, "heads", nn.ModuleList), net.classifier]
        rows = [(batch.source == i).nonzero()[:, 0] for i in range(len(heads) - 1)]
        rows.append(torch.arange(m, len(f), device=f.device))
        present = [i for i, mine in enumerate(rows) if len(mine)]
        losses = torch.stack([task_loss(heads[i](f[rows[i]]), batch.y[rows[i]]) for i in present])
        if not self.weighting:
            return losses.sum()
        squared = batch.y.is_floating_point()
        return uncertain_sum(losses, part(net, "variances", Variances).log[present], 0.5 if squared else 1.0)


class Variances(nn.Module):
    """The logarithm of one variance a task, zero at first."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.log = nn.Parameter(torch.zeros(n))


def uncertain_sum(losses: Tensor, log_variances: Tensor, share: float) -> Tensor:
    """(n,) losses, weighed by (n,) learnt variances: (,)."""
    return (share * torch.exp(-log_variances) * losses + log_variances / 2).sum()


def task_loss(out: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy of (n, k) scores, squared error of (n, 1) numbers: (,)."""
    return mse_loss(out[:, 0], y) if y.is_floating_point() else cross_entropy(out, y)
