"""LoRA: low-rank adaptation.

Hu et al., ICLR 2022, equation 3. The source's weights are frozen; every matrix of the features learns a change of low
rank, which starts at zero and is merged into the weights at the end:

    W = W_0 + alpha / r * B A,   A (r, in) random at first, B (out, r) zero at first

A convolution is the matrix (out, in * height * width). The paper adapts the query and value projections of transformers
alone; here all linear and convolutional layers, since most backbones have no attention. Biases and norms stay as they
are, batch norms' statistics included; the classifier is trained as ever.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from tlbench import Train
from tlbench.training.fine_tuning import FineTuning, frozen
from tlbench.training.networks import Networks
from tlbench.training.trainer import TRAINED, Batch, seeded, supervised_loss


@dataclass(frozen=True)
class LoRA(FineTuning):
    """Learn a change of low rank to every frozen matrix.

    >>> import numpy as np
    >>> from tlbench import Train
    >>> y = np.arange(60) % 3
    >>> x = np.random.default_rng(0).normal(6 * np.eye(3)[y])
    >>> train = Train.of(x, y, x + 1, shots=(x[:9] + 1, y[:9]))
    >>> LoRA(steps=30).fit(train, seed=0)(train.target.x).argmax(1)[:6].tolist()
    [0, 1, 2, 0, 1, 2]
    """

    tuned_body_lr: float = 1.0  # of the change
    rank: int = 8  # the paper's r
    alpha: float = 16.0

    paper: ClassVar[str] = "Hu et al., LoRA: low-rank adaptation of large language models, ICLR 2022"
    regimes: ClassVar[frozenset[str]] = TRAINED | {"episodes"}
    search: ClassVar[dict[str, tuple[object, ...]]] = {
        "rank": ("choice", 2, 4, 8, 16),
        "alpha": ("log", 4.0, 64.0),
        "lr": ("log", 1e-3, 0.1),
    }

    def loss(self, net: Networks, batch: Batch, progress: float) -> Tensor:
        return supervised_loss(net, batch)

    def begun(self, net: Networks, train: Train, seed: int) -> Networks:
        frozen(net.features)
        layers = adaptable(net.features)
        changes = seeded(
            lambda: nn.ModuleDict({str(i): Change(w.weight, self.rank, self.alpha) for i, w in layers}), seed
        )
        for i, layer in layers:
            parametrize.register_parametrization(layer, "weight", changes[str(i)])
        return net

    def finished(self, net: Networks) -> Networks:
        for _, layer in adaptable(net.features):
            parametrize.remove_parametrizations(layer, "weight")
        return net


class Change(nn.Module):
    """A weight of any shape (out, ...) plus a matrix of low rank."""

    def __init__(self, weight: Tensor, rank: int, alpha: float) -> None:
        super().__init__()
        rows, columns = len(weight), weight[0].numel()
        self.scale = alpha / rank
        self.a = nn.Parameter(((2 * torch.rand(rank, columns) - 1) / columns**0.5).to(weight.device))
        self.b = nn.Parameter(torch.zeros(rows, rank, device=weight.device))

    def forward(self, weight: Tensor) -> Tensor:
        return weight + self.scale * (self.b @ self.a).view(weight.shape)


def adaptable(net: nn.Module) -> list[tuple[int, nn.Linear | nn.Conv2d]]:
    """The layers whose weight is a matrix, numbered."""
    return [(i, m) for i, m in enumerate(net.modules()) if isinstance(m, nn.Linear | nn.Conv2d)]
