"""Entropy minimisation: be sure about the unlabelled target.

Grandvalet & Bengio, NIPS 2004, equation 7; as ENT in Saito et al., ICCV 2019. Labels are fitted while the entropy of
the predictions on the unlabelled target is held down:

    CE(c(f(x)), y)  +  weight * mean of H(softmax(c(f(xt))))

With sources of the same task it adapts; without them it is plain semi-supervised learning on the target.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from tlbench import Learner, NotApplicable, Predictor, Train
from tlbench.training.losses import entropies
from tlbench.training.networks import Networks
from tlbench.training.trainer import Batch, GradientMethod, label_loss


@dataclass(frozen=True)
class EntropyMin(GradientMethod):
    """Fit the labels and be sure about the rest.

    >>> import numpy as np
    >>> from tlbench import Train
    >>> y = np.arange(60) % 3
    >>> x = np.random.default_rng(0).normal(6 * np.eye(3)[y])
    >>> train = Train.of(x, y, x + 1)
    >>> EntropyMin(steps=30).fit(train, seed=0)(train.target.x).argmax(1)[:6].tolist()
    [0, 1, 2, 0, 1, 2]
    """

    weight: float = 0.1  # the paper's lambda; 0.1 as in Saito et al.

    family: ClassVar[str] = "semi-supervised"
    paper: ClassVar[str] = "Grandvalet & Bengio, Semi-supervised learning by entropy minimization, NIPS 2004"
    needs: ClassVar[frozenset[str]] = frozenset()
    search: ClassVar[dict[str, tuple[object, ...]]] = {"weight": ("log", 0.01, 1.0), "lr": ("log", 1e-3, 0.1)}

    def fit(self, train: Train, seed: int) -> Predictor | Learner:
        if not len(train.shots) and not (train.sources and train.same_task):
            raise NotApplicable("no label says what the target's classes are; entropy alone cannot")
        return super().fit(train, seed)

    def loss(self, net: Networks, batch: Batch, progress: float) -> Tensor:
        features = batch.split(net.features(batch.inputs))
        entropy = entropies(net.classifier(features.target)).mean()
        return label_loss(net, features.labeled, batch) + self.weight * entropy
