"""Target-only with entropy minimisation: the k labels a class, the unlabelled target, and no source.

What a method gains from unlabelled target samples is no merit of its source: a method that looks at them and lies no
higher than this one transfers nothing. Grandvalet & Bengio, NIPS 2004, equation 7; the harness takes the sources away
before the method sees them:

    CE(c(f(xl)), yl)  +  weight * mean of H(softmax(c(f(xt))))
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from tlbench.training.losses import entropies
from tlbench.training.networks import Networks
from tlbench.training.trainer import Batch, GradientMethod, label_loss


@dataclass(frozen=True)
class TargetSSL(GradientMethod):
    """Train on the labelled target samples, and be sure about the unlabelled ones.

    >>> import numpy as np
    >>> from tlbench import Train
    >>> y = np.arange(60) % 3
    >>> x = np.random.default_rng(0).normal(6 * np.eye(3)[y])
    >>> train = Train.of(None, None, x + 1, shots=(x[:9] + 1, y[:9]))
    >>> TargetSSL(steps=30).fit(train, seed=0)(train.target.x).argmax(1)[:6].tolist()
    [0, 1, 2, 0, 1, 2]
    """

    weight: float = 0.1  # the paper's lambda; 0.1 as in Saito et al., ICCV 2019

    family: ClassVar[str] = "reference"
    paper: ClassVar[str] = "Grandvalet & Bengio, Semi-supervised learning by entropy minimization, NIPS 2004"
    needs: ClassVar[frozenset[str]] = frozenset({"shots"})
    ignores: ClassVar[frozenset[str]] = frozenset({"sources"})
    takes: ClassVar[str] = "tl"
    search: ClassVar[dict[str, tuple[object, ...]]] = {"weight": ("log", 0.01, 1.0), "lr": ("log", 1e-3, 0.1)}

    def loss(self, net: Networks, batch: Batch, progress: float) -> Tensor:
        features = batch.split(net.features(batch.inputs))
        entropy = entropies(net.classifier(features.target)).mean()
        return label_loss(net, features.labeled, batch) + self.weight * entropy
