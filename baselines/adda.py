"""ADDA: adversarial discriminative domain adaptation.

Tzeng et al., CVPR 2017, equations 7 to 9. First the labels are fitted. Then a copy of the features becomes the target's
own, and takes turns with a discriminator that tells it from the original, which stays as it is:

    discriminator   min over d     CE(d(f_s(xs)), source) + CE(d(f_t(xt)), target)
    features        min over f_t   CE(d(f_t(xt)), source)       labels inverted, not the gradient

The classifier of the first stage stays and is put above f_t. Both stages take the card's number of steps; in the second
the discriminator, and f_t times the card's share for a body, learn at a fifth of the first's rate, as in the authors'
script (0.0002 after 0.001; theirs is Adam). The discriminator has the paper's two layers of 500. Nothing ties f_t to
the labels, so that it may match the source's features with the classes exchanged: on the task `digits` it ends below
source-only. Shots belong to the first stage.
"""

import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tlbench import Predictor, Train
from tlbench.training.networks import Networks, mlp
from tlbench.training.objective import Turn
from tlbench.training.predictors import predictor
from tlbench.training.trainer import Batch, GradientMethod, seeded


@dataclass(frozen=True)
class ADDA(GradientMethod):
    """Give the target features of its own that a critic takes for the source's.

    >>> import numpy as np
    >>> from tlbench import Train
    >>> y = np.arange(60) % 3
    >>> x = np.random.default_rng(0).normal(6 * np.eye(3)[y])
    >>> train = Train.of(x, y, x + 1)
    >>> ADDA(steps=30).fit(train, seed=0)(train.target.x).argmax(1)[:6].tolist()
    [0, 1, 2, 0, 1, 2]
    """

    second_lr: float = 0.2  # the second stage's learning rate, as a share of the first's
    hidden: int = 500  # width of the discriminator's two layers

    family: ClassVar[str] = "feature-based"
    paper: ClassVar[str] = "Tzeng et al., Adversarial discriminative domain adaptation, CVPR 2017"
    needs: ClassVar[frozenset[str]] = frozenset({"sources", "same task"})
    search: ClassVar[dict[str, tuple[object, ...]]] = {"second_lr": ("log", 1e-2, 1.0), "lr": ("log", 1e-3, 0.1)}
    takes: ClassVar[str] = "st"

    def fit(self, train: Train, seed: int) -> Predictor:
        net = self.erm.trained(train, seed)
        net.classifier.requires_grad_(False)
        net["source"] = original = copy.deepcopy(net.features).requires_grad_(False)  # whose batch norms stay too
        width = original.width
        net.discriminator = seeded(lambda: three_layers(width, self.hidden), seed)
        second = replace(self, lr=self.second_lr * self.recipe(train).lr)
        return predictor(second.trained(train, seed, net), train.device)

    def loss(self, net: Networks, batch: Batch, progress: float) -> Iterator[Turn]:
        fs, ft = net["source"](batch.xs), net.features(batch.xt)
        discriminator = net.discriminator
        yield domain_loss(discriminator(fs), 0) + domain_loss(discriminator(ft.detach()), 1), ("discriminator",)
        yield domain_loss(discriminator(ft), 0), ("features",)


def three_layers(width: int, hidden: int) -> nn.Sequential:
    """Three layers: (b, width) -> (b, 2)."""
    return nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), *mlp(hidden, hidden, 2))


def domain_loss(domain_logits: Tensor, domain: int) -> Tensor:
    """Cross-entropy of (n, 2) logits that all come from one domain: (,)."""
    return cross_entropy(domain_logits, torch.full((len(domain_logits),), domain, device=domain_logits.device))
