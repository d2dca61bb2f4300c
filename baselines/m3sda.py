"""M3SDA: moment matching for multi-source domain adaptation.

Peng et al., ICCV 2019, equations 2 and 3 and section 4. Every source has a classifier over shared features; the first
two moments of the N sources are pulled to the target's and to each other's:

    mean_i CE(c_i(f(xs_i)), ys_i)  +  weight * sum over p = 1, 2 of
        ( mean_i |E[fs_i^p] - E[ft^p]|_2  +  mean over pairs i < j of |E[fs_i^p] - E[fs_j^p]|_2 )

The weight is that of the method's common implementation (Dassl), 0.5 on the average of what are four sums here. The
authors' code has 0.0005 on a sum over ten pairs and five orders, the first of which compares batches row by row.
Prediction averages the classifiers' probabilities alike. We leave out the weights that the paper gives them,
which take the accuracy of a source-only model on held-out samples, and the pairs of classifiers of its variant beta.
Shots are fitted by all classifiers. Nothing in the loss keeps the features' scale: where they have no norm of their own
they can shrink instead of agree, and on the task `digits_multi` no class is told from another any more.
"""

import math
from dataclasses import dataclass
from itertools import combinations
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tlbench import Train
from tlbench.training.networks import Networks, part
from tlbench.training.trainer import Batch, GradientMethod, network


@dataclass(frozen=True)
class M3SDA(GradientMethod):
    """Match the moments of every pair of domains.

    >>> import numpy as np
    >>> from tlbench import Train
    >>> y = np.arange(60) % 3
    >>> x = np.random.default_rng(0).normal(6 * np.eye(3)[y])
    >>> train = Train.of((x, x - 1), (y, y), x + 1)
    >>> M3SDA(steps=30).fit(train, seed=0)(train.target.x).argmax(1)[:6].tolist()
    [0, 1, 2, 0, 1, 2]
    """

    weight: float = 0.125  # lambda: 0.5 / 4

    family: ClassVar[str] = "multi-source"
    paper: ClassVar[str] = "Peng et al., Moment matching for multi-source domain adaptation, ICCV 2019"
    needs: ClassVar[frozenset[str]] = frozenset({"sources", "same task"})
    search: ClassVar[dict[str, tuple[object, ...]]] = {"weight": ("log", 5e-3, 5.0), "lr": ("log", 1e-3, 0.1)}

    def networks(self, train: Train) -> Networks:
        net = network(train)
        width = net.features.width
        others = [nn.Linear(width, train.n_classes) for _ in train.sources[1:]]
        net.classifier = Committee([net.classifier, *others])
        return net

    def loss(self, net: Networks, batch: Batch, progress: float) -> Tensor:
        features = batch.split(net.features(batch.inputs))
        label_losses, domains = [], []
        for i, member in enumerate(part(net, "classifier", Committee).members):
            mine = (batch.source == i).nonzero()[:, 0]
            if len(mine):
                domains.append(features.source[mine])
                label_losses.append(cross_entropy(member(features.source[mine]), batch.ys[mine]))
            if len(batch.yl):
                label_losses.append(cross_entropy(member(features.shots), batch.yl))
        return torch.stack(label_losses).mean() + self.weight * moment_distance(domains, features.target)


class Committee(nn.Module):
    """One linear classifier a source; together, the log of their mean probabilities."""

    def __init__(self, members: list[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, f: Tensor) -> Tensor:
        return torch.stack([c(f).log_softmax(1) for c in self.members]).logsumexp(0) - math.log(len(self.members))


def moment_distance(sources: list[Tensor], target: Tensor) -> Tensor:
    """Equation 2 for the first two moments of (n_i, d) sources and a (m, d) target: (,)."""
    parts = []
    for p in (1, 2):
        moments, aim = [s.pow(p).mean(0) for s in sources], target.pow(p).mean(0)
        parts.append(torch.stack([_length(moment - aim) for moment in moments]).mean())
        if len(sources) > 1:
            parts.append(torch.stack([_length(a - b) for a, b in combinations(moments, 2)]).mean())
    return torch.stack(parts).sum()


def _length(v: Tensor) -> Tensor:
    return (v.square().sum() + 1e-12).sqrt()  # the root alone has no gradient at zero
