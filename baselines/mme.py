"""MME: minimax entropy.

Saito et al., ICCV 2019, equations 1 to 4. The classifier's weights are one prototype a class, compared by the cosine
at a temperature T; on the unlabelled target they climb the entropy of the predictions, towards the target, and the
features go down it, towards the prototypes:

    min over f   CE + weight * H(xt),   min over w   CE - weight * H(xt),   p(x) = softmax(w^T f(x) / (|f(x)| T))

Both at once, by a gradient reversal, as in the paper. Source and shots weigh alike in CE.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from tlbench import Train
from tlbench.training.losses import entropies
from tlbench.training.networks import Networks, reverse_gradient
from tlbench.training.trainer import Batch, GradientMethod, network


@dataclass(frozen=True)
class MME(GradientMethod):
    """Prototypes climb the target's entropy, features descend it.

    >>> import numpy as np
    >>> from tlbench import Train
    >>> y = np.arange(60) % 3
    >>> x = np.random.default_rng(0).normal(6 * np.eye(3)[y])
    >>> train = Train.of(x, y, x + 1)
    >>> MME(steps=30).fit(train, seed=0)(train.target.x).argmax(1)[:6].tolist()
    [0, 1, 2, 0, 1, 2]
    """

    weight: float = 0.1  # the paper's lambda
    temperature: float = 0.05  # the paper's T

    family: ClassVar[str] = "semi-supervised"
    paper: ClassVar[str] = "Saito et al., Semi-supervised domain adaptation via minimax entropy, ICCV 2019"
    needs: ClassVar[frozenset[str]] = frozenset({"sources", "same task"})
    search: ClassVar[dict[str, tuple[object, ...]]] = {
        "weight": ("log", 0.01, 1.0),
        "temperature": ("log", 0.02, 0.5),
        "lr": ("log", 1e-3, 0.1),
    }

    def networks(self, train: Train) -> Networks:
        net = network(train)
        net.classifier = Cosine(net.features.width, train.n_classes, self.temperature)
        return net

    def loss(self, net: Networks, batch: Batch, progress: float) -> Tensor:
        features = batch.split(net.features(batch.inputs))
        label_loss = cross_entropy(net.classifier(features.labeled), batch.y)
        target_logits = net.classifier(reverse_gradient(features.target, 1.0))
        return label_loss - self.weight * entropies(target_logits).mean()


class Cosine(nn.Module):
    """Features (n, d) -> (n, k) products of the unit features with one prototype a class, over the temperature."""

    def __init__(self, width: int, n_classes: int, temperature: float) -> None:
        super().__init__()
        self.prototypes = nn.Linear(width, n_classes, bias=False)
        self.temperature = temperature

    def forward(self, f: Tensor) -> Tensor:
        scores: Tensor = self.prototypes(normalize(f)) / self.temperature
        return scores
