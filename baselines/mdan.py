"""MDAN: multisource domain adversarial networks.

Zhao et al., NeurIPS 2018, equation 6 and algorithm 1. Every source has a critic of its own that tells it from the
target; the worst of the sources' bounds is minimised, in the smooth form of the paper's "soft-max" version:

    min over f, c  max over d_i   1 / gamma * log mean_i exp(gamma * (CE_i - weight * D_i)),
    D_i = CE(d_i(f(xs_i)), source) + CE(d_i(f(xt)), target)

The critics climb what the others descend: their parameters' gradient is reversed, not the features', so that the loss
is the objective as it stands. The mean in place of the paper's sum adds a constant, so that one source alone gives its
own loss. Weight and gamma are those of the authors' code. Shots, where there are any, add
their cross-entropy.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from tlbench import Train
from tlbench.training.networks import Networks, mlp, part, reverse_gradient
from tlbench.training.trainer import Batch, GradientMethod, network


@dataclass(frozen=True)
class MDAN(GradientMethod):
    """Fool a critic a source, the worst source first.

    >>> import numpy as np
    >>> from tlbench import Train
    >>> y = np.arange(60) % 3
    >>> x = np.random.default_rng(0).normal(6 * np.eye(3)[y])
    >>> train = Train.of((x, x - 1), (y, y), x + 1)
    >>> MDAN(steps=30).fit(train, seed=0)(train.target.x).argmax(1)[:6].tolist()
    [0, 1, 2, 0, 1, 2]
    """

    weight: float = 0.01  # the paper's mu
    gamma: float = 10.0  # the higher, the more the worst source counts
    hidden: int = 256  # width of the critics

    family: ClassVar[str] = "multi-source"
    paper: ClassVar[str] = "Zhao et al., Adversarial multiple source domain adaptation, NeurIPS 2018"
    needs: ClassVar[frozenset[str]] = frozenset({"sources", "same task"})
    search: ClassVar[dict[str, tuple[object, ...]]] = {
        "weight": ("log", 1e-3, 1.0),
        "gamma": ("log", 1.0, 100.0),
        "lr": ("log", 1e-3, 0.1),
    }

    def networks(self, train: Train) -> Networks:
        net = network(train)
        width = net.features.width
        net["critics"] = nn.ModuleList(mlp(width, self.hidden, 2) for _ in train.sources)
        return net

    def loss(self, net: Networks, batch: Batch, progress: float) -> Tensor:
        features = batch.split(net.features(batch.inputs))
        logits = net.classifier(features.labeled)  # (bs + bl, n_classes)
        bounds = []
        critics = part(net, "critics", nn.ModuleList)
        for i, critic in enumerate(critics):
            mine = (batch.source == i).nonzero()[:, 0]
            if len(mine):
                pair = torch.cat([features.source[mine], features.target])
                domain = (torch.arange(len(pair), device=pair.device) >= len(mine)).long()
                climbing = {name: reverse_gradient(p, 1.0) for name, p in critic.named_parameters()}
                label_loss = cross_entropy(logits[mine], batch.ys[mine])
                bounds.append(label_loss - self.weight * balanced(functional_call(critic, climbing, (pair,)), domain))
        shots = cross_entropy(logits[len(batch.xs) :], batch.yl) if len(batch.yl) else logits.new_zeros(())
        return soft_maximum(torch.stack(bounds), self.gamma) + shots


def soft_maximum(x: Tensor, gamma: float) -> Tensor:
    """log mean exp(gamma x) / gamma: between the mean (gamma to 0) and the maximum (to infinity): (,)."""
    return (torch.logsumexp(gamma * x, 0) - math.log(len(x))) / gamma


def balanced(guess: Tensor, domain: Tensor) -> Tensor:
    """The sum of both domains' mean cross-entropies, however many rows each has: (,)."""
    return 2 * cross_entropy(
        guess, domain, weight=1.0 / torch.bincount(domain, minlength=2).clamp(min=1).to(guess.dtype)
    )
