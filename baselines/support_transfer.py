"""Support transfer: which weights matter is transferred, not what they are.

Morcos et al., NeurIPS 2019 (winning tickets across datasets; Frankle & Carbin, ICLR 2019). Of the source's solution the
weights of largest magnitude, over all layers together, are the support; they go back to their initial values and are
trained on the shots, all others are zero for good. Biases and norms are not pruned; they start as initialised, too. A
fresh classifier is not pruned either. One round of pruning in place of the paper's many. A checkpoint's initial values
are unknown: there its own are kept.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from tlbench import Train
from tlbench.training.fine_tuning import FineTuning, transferred
from tlbench.training.networks import Networks
from tlbench.training.trainer import Batch, network, seeded, supervised_loss


@dataclass(frozen=True)
class SupportTransfer(FineTuning):
    """Keep the places of the source's largest weights, and learn their values anew.

    >>> import numpy as np
    >>> from tlbench import Train
    >>> y = np.arange(60) % 3
    >>> x = np.random.default_rng(0).normal(6 * np.eye(3)[y])
    >>> train = Train.of(x, y, x + 1, shots=(x[:9] + 1, y[:9]))
    >>> SupportTransfer(steps=100, kept=0.5).fit(train, seed=0)(train.target.x).argmax(1)[:6].tolist()
    [0, 1, 2, 0, 1, 2]
    """

    tuned_body_lr: float = 1.0  # the values have everything to learn
    kept: float = 0.2  # share of the weights in the support
    rewind: bool = True  # to the initial values; else the source's are kept

    paper: ClassVar[str] = "Morcos et al., One ticket to win them all, NeurIPS 2019"
    regimes: ClassVar[frozenset[str]] = frozenset({"classification", "regression", "episodes"})
    search: ClassVar[dict[str, tuple[object, ...]]] = {
        "kept": ("log", 0.05, 0.8),
        "rewind": ("choice", True, False),
        "lr": ("log", 1e-3, 0.1),
    }

    def loss(self, net: Networks, batch: Batch, progress: float) -> Tensor:
        return supervised_loss(net, batch)

    def begun(self, net: Networks, train: Train, seed: int) -> Networks:
        names = transferred(train)
        masks = support([net[name] for name in names], self.kept)
        if self.rewind and train.sources:
            net.load_state_dict(seeded(lambda: network(train), seed).state_dict())
        for name in names:
            for layer in prunable(net[name]):
                parametrize.register_parametrization(layer, "weight", masks.pop(0))
        return net

    def finished(self, net: Networks) -> Networks:
        for layer in (m for m in list(net.modules()) if parametrize.is_parametrized(m)):
            parametrize.remove_parametrizations(layer, "weight")
        return net


class Mask(nn.Module):
    """A weight where it is in the support, zero elsewhere."""

    support: Tensor

    def __init__(self, support: Tensor) -> None:
        super().__init__()
        self.register_buffer("support", support)

    def forward(self, weight: Tensor) -> Tensor:
        return weight * self.support


def support(nets: list[nn.Module], kept: float) -> list[Mask]:
    """One mask a prunable layer: together they keep the share `kept` of the weights, the largest."""
    weights = [layer.weight.detach().abs() for net in nets for layer in prunable(net)]
    flat = torch.cat([w.flatten() for w in weights]) if weights else torch.ones(1)
    least = flat.topk(max(1, round(kept * len(flat)))).values[-1]
    return [Mask((w >= least).to(w.dtype)) for w in weights]


def prunable(net: nn.Module) -> list[nn.Linear | nn.Conv2d]:
    """The layers whose weights may be zeroed."""
    return [m for m in net.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
