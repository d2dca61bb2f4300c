"""DANN: domain-adversarial training of neural networks.

Ganin et al., JMLR 2016, section 4. A discriminator learns to name the domain; its gradient reaches the features
reversed, so the features unlearn whatever helped it (equation 9 with the reversal layer of section 4.2):

    min over f, c   max over d   CE(c(f(x)), y)  -  weight * CE(d(f(x)), domain)

The reversal is ramped as in section 5.2.2, 2 / (1 + exp(-10 p)) - 1, and the learning rate decays as there. Source and
target batches pass through the features together, so batch norm sees both. Shots, where there are any, add to
the classification loss. We leave out the choice of `weight` by reverse validation. The discriminator has one layer
of 256; the paper's has 100 to twice 1024, growing with the network.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn.functional import cross_entropy

from tlbench import Train
from tlbench.training.losses import ramp
from tlbench.training.networks import Networks, mlp, reverse_gradient
from tlbench.training.trainer import Batch, GradientMethod, label_loss, network


@dataclass(frozen=True)
class DANN(GradientMethod):
    """Fool a domain discriminator while fitting the labels.

    >>> import numpy as np
    >>> from tlbench import Train
    >>> y = np.arange(60) % 3
    >>> x = np.random.default_rng(0).normal(6 * np.eye(3)[y])
    >>> train = Train.of(x, y, x + 1)
    >>> DANN(steps=30).fit(train, seed=0)(train.target.x).argmax(1)[:6].tolist()
    [0, 1, 2, 0, 1, 2]
    """

    weight: float = 1.0  # the paper's lambda, once the ramp is over
    hidden: int = 256  # width of the discriminator

    family: ClassVar[str] = "feature-based"
    paper: ClassVar[str] = "Ganin et al., Domain-adversarial training of neural networks, JMLR 2016"
    needs: ClassVar[frozenset[str]] = frozenset({"sources"})
    search: ClassVar[dict[str, tuple[object, ...]]] = {
        "lr": ("log", 1e-3, 1e-1),
        "weight": ("log", 0.1, 10.0),
        "hidden": ("choice", 64, 256, 1024),
        "weight_decay": ("log", 1e-5, 1e-2),
    }

    def networks(self, train: Train) -> Networks:
        net = network(train)
        net.discriminator = mlp(net.features.width, self.hidden, 2)
        return net

    def loss(self, net: Networks, batch: Batch, progress: float) -> dict[str, Tensor]:
        features = batch.split(net.features(batch.inputs))
        trade_off = self.weight * ramp(progress)
        domain_logits = net.discriminator(reverse_gradient(features.domains, trade_off))
        domain_loss = cross_entropy(domain_logits, batch.domain)
        return {"label_loss": label_loss(net, features.labeled, batch), "domain_loss": domain_loss}
