"""MCD: maximum classifier discrepancy.

Saito et al., CVPR 2018, section 3.3. Two classifiers over one feature extractor take turns with it:

    A   min over f, c1, c2    CE(c1(f(x)), y) + CE(c2(f(x)), y)
    B   min over c1, c2       the same  -  D(xt)     the classifiers part where the target is not supported
    C   min over f, n times   D(xt)                  the features bring it back

    D(xt) = mean |p1(f(xt)) - p2(f(xt))|, over samples and classes (equation 9)

A and C pass their own samples alone through the network, as the authors do. Prediction is by the sum of both
classifiers' probabilities.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tlbench import Train
from tlbench.descent import Batch, Descent, Turn, network


@dataclass(frozen=True)
class MCD(Descent):
    """Let two classifiers disagree about the target, and the features make them agree."""

    rounds: int = 4  # the paper's n: turns of the features a step
    weight: float = 1.0  # of the discrepancy, in B and C

    family: ClassVar[str] = "feature-based"
    paper: ClassVar[str] = "Saito et al., Maximum classifier discrepancy for unsupervised domain adaptation, CVPR 2018"
    needs: ClassVar[frozenset[str]] = frozenset({"sources", "same task"})
    search: ClassVar[dict[str, tuple[object, ...]]] = {
        "weight": ("log", 0.1, 10.0),
        "rounds": ("choice", 1, 2, 4),
        "lr": ("log", 1e-3, 0.1),
    }

    def networks(self, train: Train) -> nn.ModuleDict:
        net = network(train)
        width: int = net["features"].width  # type: ignore[assignment]
        net["classifier"] = Pair(net["classifier"], nn.Linear(width, train.n_classes))
        return net

    def loss(self, net: nn.ModuleDict, batch: Batch, progress: float) -> Iterator[Turn]:
        n = len(batch.x)
        x, y = torch.cat([batch.x, batch.xt]), batch.y
        pair = net["classifier"]

        def told(f: Tensor) -> Tensor:
            return torch.stack([cross_entropy(s[:n], y) for s in pair.both(f)]).sum()  # type: ignore[operator]

        yield told(net["features"](batch.x)), ("features", "classifier")
        with torch.no_grad():
            f = net["features"](x)
        yield told(f) - self.weight * disagreement(*pair.both(f[n:])), ("classifier",)  # type: ignore[operator]
        for _ in range(self.rounds):
            yield self.weight * disagreement(*pair.both(net["features"](batch.xt))), ("features",)  # type: ignore[operator]


class Pair(nn.Module):
    """Two linear classifiers; alone, it gives the log of their mean probabilities."""

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.first, self.second = first, second

    def both(self, f: Tensor) -> tuple[Tensor, Tensor]:
        return self.first(f), self.second(f)

    def forward(self, f: Tensor) -> Tensor:
        return torch.stack([s.log_softmax(1) for s in self.both(f)]).logsumexp(0) - 0.6931471805599453


def disagreement(a: Tensor, b: Tensor) -> Tensor:
    """The mean absolute difference of two classifiers' probabilities, from their (n, k) scores: (,)."""
    return (a.softmax(1) - b.softmax(1)).abs().mean()
