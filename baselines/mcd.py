"""MCD: maximum classifier discrepancy.

Saito et al., CVPR 2018, section 3.3. Two classifiers over one feature extractor take turns with it:

    A   min over f, c1, c2    CE(c1(f(x)), y) + CE(c2(f(x)), y)
    B   min over c1, c2       the same  -  D(xt)     the classifiers part where the target is not supported
    C   min over f, n times   D(xt)                  the features bring it back

    D(xt) = mean |p1(f(xt)) - p2(f(xt))|, over samples and classes (equation 9)

Each domain passes alone through the network and prediction is by the sum of both classifiers' scores, as in the
authors' code. Agreement has a trivial answer, all of the target in one class. Nothing in the equations stands in its
way; what does are the batch norms of the paper's classifiers, which set a target batch about its own mean. So the
classifiers are those of the authors' digits (two hidden layers of 100 with batch norm, dropout of 0.5), not the card's
linear one: with two linear ones MCD puts nearly all of a target in one class even where one input tells the classes of
both domains. Where the classes move along the line that tells them apart (`cal4`), no one function of x is right in
both domains, and what fits the source's labels stays at source-only.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tlbench import Train
from tlbench.training.networks import Dropout, Networks, part
from tlbench.training.objective import Turn
from tlbench.training.trainer import Batch, GradientMethod, network


@dataclass(frozen=True)
class MCD(GradientMethod):
    """Let two classifiers disagree about the target, and the features make them agree.

    >>> import numpy as np
    >>> from tlbench import Train
    >>> y = np.arange(60) % 3
    >>> x = np.random.default_rng(0).normal(6 * np.eye(3)[y])
    >>> train = Train.of(x, y, x + 1)
    >>> MCD(steps=30).fit(train, seed=0)(train.target.x).argmax(1)[:6].tolist()
    [0, 1, 2, 0, 1, 2]
    """

    rounds: int = 4  # the paper's n: turns of the features a step
    weight: float = 1.0  # of the discrepancy, in B and C
    hidden: int = 100  # width of the classifiers' two layers
    dropout: float = 0.5

    family: ClassVar[str] = "feature-based"
    paper: ClassVar[str] = "Saito et al., Maximum classifier discrepancy for unsupervised domain adaptation, CVPR 2018"
    needs: ClassVar[frozenset[str]] = frozenset({"sources", "same task"})
    search: ClassVar[dict[str, tuple[object, ...]]] = {
        "weight": ("log", 0.1, 10.0),
        "rounds": ("choice", 1, 2, 4),
        "lr": ("log", 1e-3, 0.1),
    }

    def networks(self, train: Train) -> Networks:
        net = network(train)
        width = net.features.width
        net.classifier = Pair(*(deep(width, self.hidden, train.n_classes, self.dropout) for _ in range(2)))
        return net

    def loss(self, net: Networks, batch: Batch, progress: float) -> Iterator[Turn]:
        features, pair = net.features, part(net, "classifier", Pair)

        def label_loss(f: Tensor) -> Tensor:
            return torch.stack([cross_entropy(s, batch.y) for s in pair.both(f)]).sum()

        def discrepancy(ft: Tensor) -> Tensor:
            return self.weight * disagreement(*pair.both(ft))

        yield label_loss(features(batch.x)), ("features", "classifier")
        with torch.no_grad():
            f, ft = features(batch.x), features(batch.xt)
        yield label_loss(f) - discrepancy(ft), ("classifier",)
        for _ in range(self.rounds):
            yield discrepancy(features(batch.xt)), ("features",)


def deep(width: int, hidden: int, k: int, dropout: float) -> nn.Sequential:
    """A classifier with two hidden layers: (b, width) -> (b, k)."""
    layers: list[nn.Module] = []
    for d in (width, hidden):
        layers += [Dropout(dropout), nn.Linear(d, hidden), nn.BatchNorm1d(hidden), nn.ReLU()]
    return nn.Sequential(*layers, Dropout(dropout), nn.Linear(hidden, k))


class Pair(nn.Module):
    """Two classifiers; alone, it gives the sum of their scores."""

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.first, self.second = first, second

    def both(self, f: Tensor) -> tuple[Tensor, Tensor]:
        return self.first(f), self.second(f)

    def forward(self, f: Tensor) -> Tensor:
        return torch.stack(self.both(f)).sum(0)


def disagreement(a: Tensor, b: Tensor) -> Tensor:
    """The mean absolute difference of two classifiers' probabilities, from their (n, k) scores: (,)."""
    return (a.softmax(1) - b.softmax(1)).abs().mean()
