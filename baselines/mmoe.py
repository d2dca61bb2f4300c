"""MMoE: multi-gate mixture of experts.

Ma et al., KDD 2018, equations 5 to 7. Experts over shared features, and for every task i a gate that mixes them and a
tower (here a linear layer) that tells its labels:

    out_i(x) = c_i( sum_j g_i(f)_j  e_j(f) ),   g_i = softmax(W_i f),   e_j = relu(V_j f),   f = f(x)

The tasks are the sources and the target's shots; the loss is the mean of the labels' losses, each weighing alike. The
target's gate and tower predict, so shots are needed.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from tlbench import Train
from tlbench.training.networks import Networks
from tlbench.training.trainer import Batch, GradientMethod, label_loss, network


@dataclass(frozen=True)
class MMoE(GradientMethod):
    """Let every task mix the same experts its own way.

    >>> import numpy as np
    >>> from tlbench import Train
    >>> y = np.arange(60) % 3
    >>> x = np.random.default_rng(0).normal(6 * np.eye(3)[y])
    >>> train = Train.of(x, y // 2, x + 1, shots=(x[:9] + 1, y[:9]), source_classes=2)
    >>> MMoE(steps=100).fit(train, seed=0)(train.target.x).argmax(1)[:6].tolist()
    [0, 1, 2, 0, 1, 2]
    """

    experts: int = 8
    hidden: int = 16  # width of an expert

    family: ClassVar[str] = "feature-based"
    paper: ClassVar[str] = "Ma et al., Modeling task relationships with multi-gate mixture-of-experts, KDD 2018"
    needs: ClassVar[frozenset[str]] = frozenset({"sources", "shots"})
    regimes: ClassVar[frozenset[str]] = frozenset({"classification", "regression"})
    search: ClassVar[dict[str, tuple[object, ...]]] = {
        "experts": ("choice", 4, 8, 16),
        "hidden": ("choice", 16, 32, 64),
        "lr": ("log", 1e-3, 0.1),
    }
    takes: ClassVar[str] = "sl"

    def networks(self, train: Train) -> Networks:
        net = network(train)
        width = net.features.width
        net["experts"] = experts = Experts(width, self.experts, self.hidden)
        sizes = train.source_classes or (train.n_classes,) * len(train.sources)
        net["heads"] = nn.ModuleList(Gated(experts, width, k) for k in sizes)
        net.classifier = Gated(experts, width, train.n_classes)
        return net

    def loss(self, net: Networks, batch: Batch, progress: float) -> Tensor:
        return label_loss(net, net.features(batch.x), batch)


class Experts(nn.Module):
    """Features (b, d) -> (b, n, hidden), what each expert says."""

    def __init__(self, width: int, n: int, hidden: int) -> None:
        super().__init__()
        self.layer, self.n, self.hidden = nn.Linear(width, n * hidden), n, hidden
        nn.init.kaiming_normal_(self.layer.weight, nonlinearity="relu")  # the mean of many experts is small enough

    def forward(self, f: Tensor) -> Tensor:
        return torch.relu(self.layer(f)).view(-1, self.n, self.hidden)


class Gated(nn.Module):
    """One task's mixture of the experts and its tower: (b, d) -> (b, k)."""

    def __init__(self, experts: Experts, width: int, k: int) -> None:
        super().__init__()
        self.experts = experts  # the same ones under every gate
        self.gate, self.tower = nn.Linear(width, experts.n), nn.Linear(experts.hidden, k)

    def forward(self, f: Tensor) -> Tensor:
        mixed = torch.einsum("bn,bnh->bh", self.gate(f).softmax(1), self.experts(f))
        out: Tensor = self.tower(mixed)
        return out
