"""CDAN+E: conditional adversarial domain adaptation with entropy conditioning.

Long et al., NeurIPS 2018, equations 4 to 9. The critic sees the outer product of the features and the predicted class
probabilities, so it judges the features class by class; samples that are classified with certainty count more:

    min over f, c  max over d   CE(c(f(x)), y)  -  weight * mean of w * CE(d(f x g), domain),
    g = softmax(c(f)),   w = (1 + exp(-H(g))), divided by its mean in each domain

The probabilities pass no gradient to the classifier, as in the authors' code; neither do the weights w, where theirs
do. The critic is DANN's, so that the two differ in what it sees; the authors' is 1024 wide and deeper by a layer. Where
d * k exceeds 4096, the outer product is replaced by its random projection (R_f f) * (R_g g) / sqrt(1024), equation 6.
The reversal is ramped as in DANN.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tlbench import Train
from tlbench.training.losses import entropies, ramp
from tlbench.training.networks import Networks, mlp, reverse_gradient
from tlbench.training.trainer import Batch, GradientMethod, network


@dataclass(frozen=True)
class CDAN(GradientMethod):
    """Fool a critic that sees features and predictions together.

    >>> import numpy as np
    >>> from tlbench import Train
    >>> y = np.arange(60) % 3
    >>> x = np.random.default_rng(0).normal(6 * np.eye(3)[y])
    >>> train = Train.of(x, y, x + 1)
    >>> CDAN(steps=30).fit(train, seed=0)(train.target.x).argmax(1)[:6].tolist()
    [0, 1, 2, 0, 1, 2]
    """

    weight: float = 1.0  # the paper's lambda, once the ramp is over
    entropy: bool = True  # entropy conditioning, the E of CDAN+E
    hidden: int = 256  # width of the discriminator
    projected: int = 1024  # width of the random projection

    family: ClassVar[str] = "feature-based"
    paper: ClassVar[str] = "Long et al., Conditional adversarial domain adaptation, NeurIPS 2018"
    needs: ClassVar[frozenset[str]] = frozenset({"sources", "same task"})
    search: ClassVar[dict[str, tuple[object, ...]]] = {"weight": ("log", 0.01, 10.0), "lr": ("log", 1e-3, 0.1)}

    def networks(self, train: Train) -> Networks:
        net = network(train)
        width = net.features.width
        net["multilinear_map"] = joint = MultilinearMap(width, train.n_classes, self.projected)
        net.discriminator = mlp(joint.width, self.hidden, 2)
        return net

    def loss(self, net: Networks, batch: Batch, progress: float) -> Tensor:
        rows = net.features(batch.inputs)
        features, logits = batch.split(rows), batch.split(net.classifier(rows))
        label_loss = cross_entropy(logits.labeled, batch.y)
        reversed_features = reverse_gradient(features.domains, self.weight * ramp(progress))
        class_logits = logits.domains.detach()
        domain_logits = net.discriminator(net["multilinear_map"](reversed_features, class_logits.softmax(1)))
        domain_losses = cross_entropy(domain_logits, batch.domain, reduction="none")
        weights = certainty(class_logits, len(batch.xs)) if self.entropy else torch.ones_like(domain_losses)
        return label_loss + (weights * domain_losses).mean()


class MultilinearMap(nn.Module):
    """Features (n, d) and probabilities (n, k) -> their outer product (n, dk), or a random projection of it."""

    rf: Tensor
    rg: Tensor

    def __init__(self, d: int, k: int, projected: int, most: int = 4096) -> None:
        super().__init__()
        self.width = d * k if d * k <= most else projected
        self.random = d * k > most
        self.register_buffer("rf", torch.randn(d, projected) if self.random else torch.empty(0))
        self.register_buffer("rg", torch.randn(k, projected) if self.random else torch.empty(0))

    def forward(self, f: Tensor, g: Tensor) -> Tensor:
        if not self.random:
            return (g[:, :, None] * f[:, None, :]).flatten(1)
        return (f @ self.rf) * (g @ self.rg) / math.sqrt(self.width)


def certainty(scores: Tensor, n: int) -> Tensor:
    """(n + m, k) -> (n + m,) weights 1 + exp(-entropy), of mean 1 among the first n and among the rest."""
    weights = 1 + torch.exp(-entropies(scores))
    return torch.cat([w / w.mean() for w in (weights[:n], weights[n:])])
