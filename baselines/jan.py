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

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tlbench.training.losses import discrepancy, gaussian_kernels, ramp
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

    def loss(self, net: nn.ModuleDict, batch: Batch, progress: float) -> Tensor:
        n, m = len(batch.x), len(batch.xs)
        f = net["features"](torch.cat([batch.x, batch.xt]))  # (n + b, d)
        scores = net["classifier"](f)
        ours = torch.cat([f[:m], f[n:]]), torch.cat([scores[:m], scores[n:]]).softmax(1)
        return cross_entropy(scores[:n], batch.y) + self.weight * ramp(progress) * joint_discrepancy(*ours, m)


def joint_discrepancy(f: Tensor, p: Tensor, n: int) -> Tensor:
    """The squared discrepancy of the pairs (f, p) of the first n rows and the rest (equation 6): (,)."""
    return discrepancy(gaussian_kernels(f) * gaussian_kernels(p, (1.0,), bandwidth=0.84), n)
