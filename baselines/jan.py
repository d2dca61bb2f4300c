"""JAN: joint adaptation network.

Long et al., ICML 2017, equations 5 to 8 (JAN, not the adversarial JAN-A). While the labels are fitted, the joint
maximum mean discrepancy of features and predictions is held down: the kernel of a pair of samples is the product of
the kernels of both layers,

    CE(c(f(x)), y)  +  weight * MMD_k^2,   k(i, j) = k_1(f_i, f_j) * k_2(p_i, p_j),   p = softmax(c(f))

k_1 is the sum of five Gaussian kernels exp(-|f - f'|^2 / (s m)), m the batch's mean squared distance and s = 1/4 .. 4,
k_2 one of fixed width, exp(-|p - p'|^2 / 1.68), and the weight is ramped, all as in the authors' code.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn.functional import cross_entropy

from tlbench.training.losses import discrepancy, gaussian_kernels, ramp
from tlbench.training.networks import Networks
from tlbench.training.trainer import Batch, GradientMethod


@dataclass(frozen=True)
class JAN(GradientMethod):
    """Fit the labels while features and predictions, taken together, agree.

    >>> import numpy as np
    >>> from tlbench import Train
    >>> y = np.arange(60) % 3
    >>> x = np.random.default_rng(0).normal(6 * np.eye(3)[y])
    >>> train = Train.of(x, y, x + 1)
    >>> JAN(steps=30).fit(train, seed=0)(train.target.x).argmax(1)[:6].tolist()
    [0, 1, 2, 0, 1, 2]
    """

    weight: float = 1.0  # the paper's lambda, once the ramp is over

    family: ClassVar[str] = "distribution-based"
    paper: ClassVar[str] = "Long et al., Deep transfer learning with joint adaptation networks, ICML 2017"
    needs: ClassVar[frozenset[str]] = frozenset({"sources", "same task"})
    search: ClassVar[dict[str, tuple[object, ...]]] = {"weight": ("log", 0.01, 10.0), "lr": ("log", 1e-3, 0.1)}

    def loss(self, net: Networks, batch: Batch, progress: float) -> Tensor:
        rows = net.features(batch.inputs)
        features, logits = batch.split(rows), batch.split(net.classifier(rows))
        label_loss, trade_off = cross_entropy(logits.labeled, batch.y), self.weight * ramp(progress)
        return label_loss + trade_off * joint_discrepancy(features.domains, logits.domains.softmax(1), len(batch.xs))


def joint_discrepancy(f: Tensor, p: Tensor, n: int) -> Tensor:
    """The squared discrepancy of the pairs (f, p) of the first n rows and the rest (equation 6): (,)."""
    return discrepancy(gaussian_kernels(f) * gaussian_kernels(p, (1.0,), bandwidth=0.84), n)
