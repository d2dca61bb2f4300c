"""MCC: minimum class confusion.

Jin et al., ECCV 2020, equations 2 to 6. The classes that a target batch confuses are told apart, without any alignment
of domains:

    CE(c(f(x)), y)  +  weight / k * sum over i != j of C_ij / sum_j C_ij,
    C = P^T diag(w) P,   P = softmax(c(f(xt)) / T),   w = 1 + exp(-H(P)), of mean 1, without gradient
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from tlbench.training.losses import entropies
from tlbench.training.networks import Networks
from tlbench.training.trainer import Batch, GradientMethod


@dataclass(frozen=True)
class MCC(GradientMethod):
    """Let the target's predictions confuse classes as little as may be.

    >>> import numpy as np
    >>> from tlbench import Train
    >>> y = np.arange(60) % 3
    >>> x = np.random.default_rng(0).normal(6 * np.eye(3)[y])
    >>> train = Train.of(x, y, x + 1)
    >>> MCC(steps=30).fit(train, seed=0)(train.target.x).argmax(1)[:6].tolist()
    [0, 1, 2, 0, 1, 2]
    """

    weight: float = 1.0  # the paper's mu
    temperature: float = 2.5  # the paper's T

    family: ClassVar[str] = "feature-based"
    paper: ClassVar[str] = "Jin et al., Minimum class confusion for versatile domain adaptation, ECCV 2020"
    needs: ClassVar[frozenset[str]] = frozenset({"sources", "same task"})
    search: ClassVar[dict[str, tuple[object, ...]]] = {
        "weight": ("log", 0.1, 10.0),
        "temperature": ("linear", 1.0, 4.0),
        "lr": ("log", 1e-3, 0.1),
    }

    def loss(self, net: Networks, batch: Batch, progress: float) -> Tensor:
        logits = batch.split(net.classifier(net.features(batch.inputs)))
        label_loss = cross_entropy(logits.labeled, batch.y)
        return label_loss + self.weight * confusion(logits.target, self.temperature)


def confusion(scores: Tensor, temperature: float) -> Tensor:
    """The mean share of a class's predictions that go with another class, from (n, k) scores: (,)."""
    p = (scores / temperature).softmax(1)
    w = 1 + torch.exp(-entropies(scores.detach() / temperature))
    pairs = (p * (w / w.mean())[:, None]).T @ p  # (k, k)
    share = pairs / pairs.sum(1, keepdim=True)
    return (share.sum() - share.trace()) / len(share)
