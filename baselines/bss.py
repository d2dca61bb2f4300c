"""BSS: batch spectral shrinkage.

Chen et al., NeurIPS 2019, equations 4 and 5. Of the source's features, the directions of least variance do not
transfer; the k smallest singular values of the batch's feature matrix F (b, d) are shrunk while fine-tuning:

    label loss  +  weight * sum of the k smallest sigma_i(F)^2
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from tlbench.training.fine_tuning import FineTuning
from tlbench.training.networks import Networks
from tlbench.training.trainer import Batch, label_loss


@dataclass(frozen=True)
class BSS(FineTuning):
    """Fine-tune, and shrink the weakest directions of the features.

    >>> import numpy as np
    >>> from tlbench import Train
    >>> y = np.arange(60) % 3
    >>> x = np.random.default_rng(0).normal(6 * np.eye(3)[y])
    >>> train = Train.of(x, y, x + 1, shots=(x[:9] + 1, y[:9]))
    >>> BSS(steps=30).fit(train, seed=0)(train.target.x).argmax(1)[:6].tolist()
    [0, 1, 2, 0, 1, 2]
    """

    weight: float = 0.001  # the paper's eta
    k: int = 1  # singular values that are shrunk

    paper: ClassVar[str] = "Chen et al., Catastrophic forgetting meets negative transfer, NeurIPS 2019"
    regimes: ClassVar[frozenset[str]] = frozenset({"classification", "regression", "episodes"})
    search: ClassVar[dict[str, tuple[object, ...]]] = {
        "weight": ("log", 1e-4, 10.0),
        "k": ("choice", 1, 2, 4),
        "tuned_body_lr": ("log", 0.01, 1.0),
        "lr": ("log", 1e-3, 0.1),
    }

    def loss(self, net: Networks, batch: Batch, progress: float) -> Tensor:
        f = net.features(batch.x)
        return label_loss(net, f, batch) + self.weight * weakest(f, self.k)


def weakest(f: Tensor, k: int) -> Tensor:
    """The sum of the k smallest squared singular values of (b, d) features: (,)."""
    values: Tensor = torch.linalg.svdvals(f)  # descending
    return values[-k:].square().sum()
