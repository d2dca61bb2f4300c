"""Deep CORAL: learn features whose covariances agree.

Sun & Saenko, ECCV 2016 workshops, equations 1 to 3. While the labels are fitted, the distance of the second
moments of source and target features is held down:

    CE(c(f(x)), y)  +  weight * ||C_S - C_T||_F^2 / (4 d^2)

The paper sets `weight` so that both losses end up alike; we take 1 on d features, as its code does.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tlbench.descent import Batch, Descent


@dataclass(frozen=True)
class DeepCORAL(Descent):
    """Fit the labels while source and target covariances are pulled together."""

    weight: float = 1.0

    family: ClassVar[str] = "feature-based"
    paper: ClassVar[str] = "Sun & Saenko, Deep CORAL, ECCV workshops 2016"
    needs: ClassVar[frozenset[str]] = frozenset({"sources"})

    def loss(self, net: nn.ModuleDict, batch: Batch, progress: float) -> Tensor:
        n, m = len(batch.x), len(batch.xs)
        f = net["features"](torch.cat([batch.x, batch.xt]))  # (n + b, d)
        classify = cross_entropy(net["classifier"](f[:n]), batch.y)
        return classify + self.weight * coral_distance(f[:m], f[n:])


def coral_distance(fs: Tensor, ft: Tensor) -> Tensor:
    """Squared Frobenius distance of the covariances of (n, d) and (m, d) features over 4 d^2."""
    return (torch.cov(fs.T) - torch.cov(ft.T)).square().sum() / (4 * fs.shape[1] ** 2)
