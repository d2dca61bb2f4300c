"""SAFN: stepwise adaptive feature norm.

Xu et al., ICCV 2019, equations 7 and 8. Target features have small norms because the network is not excited by them;
the norm of every feature vector, source and target, is asked to be a little larger than it was a step ago:

    CE(c(f(x)), y)  +  weight * (mean over xs + mean over xt) of (|f| - (|f|_before + step))^2

|f|_before is |f| itself without gradient, so that the loss is constant and its gradient is not. Weight and step are
those of the authors' code, which adds the two means. There they go with a learning rate of 0.001 and features behind a
batch norm and a dropout that preserves norms, which are left out as is the entropy of the last variant (+ENT). Nothing
in the loss bounds the norms: at a card's higher rate and over features without a norm of their own they outgrow the
labels' loss, and on the task `digits` no class is told from another any more.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from tlbench.training.networks import Networks
from tlbench.training.trainer import Batch, GradientMethod, label_loss


@dataclass(frozen=True)
class AFN(GradientMethod):
    """Let the features' norms grow step by step.

    >>> import numpy as np
    >>> from tlbench import Train
    >>> y = np.arange(60) % 3
    >>> x = np.random.default_rng(0).normal(6 * np.eye(3)[y])
    >>> train = Train.of(x, y, x + 1)
    >>> AFN(steps=30).fit(train, seed=0)(train.target.x).argmax(1)[:6].tolist()
    [0, 1, 2, 0, 1, 2]
    """

    weight: float = 0.05  # the paper's lambda
    step: float = 1.0  # the paper's Delta r

    family: ClassVar[str] = "feature-based"
    paper: ClassVar[str] = "Xu et al., Larger norm more transferable: an adaptive feature norm approach, ICCV 2019"
    needs: ClassVar[frozenset[str]] = frozenset({"sources"})
    search: ClassVar[dict[str, tuple[object, ...]]] = {
        "weight": ("log", 5e-3, 0.5),
        "step": ("log", 0.1, 3.0),
        "lr": ("log", 1e-3, 0.1),
    }

    def loss(self, net: Networks, batch: Batch, progress: float) -> Tensor:
        features = batch.split(net.features(batch.inputs))
        norm_loss = growth(features.source, self.step) + growth(features.target, self.step)
        return label_loss(net, features.labeled, batch) + self.weight * norm_loss


def growth(f: Tensor, step: float) -> Tensor:
    """The mean squared distance of the rows' norms to themselves plus `step`: (,)."""
    norm = torch.linalg.vector_norm(f, dim=1)
    gap: Tensor = norm - norm.detach() - step
    return gap.square().mean()
