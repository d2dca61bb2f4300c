"""Partial fine-tuning: train chosen blocks, keep the others.

Lee et al., ICLR 2023 (surgical fine-tuning); the last block alone is the usual choice (Long et al., ICML 2015). From
the source's solution the chosen blocks and the classifier are trained on the shots; the other blocks are frozen, batch
norms' statistics included. Which block is best depends on the shift: the first for the inputs', the last for the
labels'.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from tlbench import NotApplicable, Train
from tlbench.training.fine_tuning import FineTuning, frozen, parameters_by_block
from tlbench.training.networks import Networks
from tlbench.training.trainer import TRAINED, Batch, supervised_loss


@dataclass(frozen=True)
class PartialFineTune(FineTuning):
    """Train the blocks that the shift concerns, and the classifier.

    >>> import numpy as np
    >>> from tlbench import Train
    >>> y = np.arange(60) % 3
    >>> x = np.random.default_rng(0).normal(6 * np.eye(3)[y])
    >>> train = Train.of(x, y, x + 1, shots=(x[:9] + 1, y[:9]))
    >>> PartialFineTune(steps=30).fit(train, seed=0)(train.target.x).argmax(1)[:6].tolist()
    [0, 1, 2, 0, 1, 2]
    """

    blocks: str = "-1"  # which, separated by commas; -1 is the last, 0 the first

    paper: ClassVar[str] = "Lee et al., Surgical fine-tuning improves adaptation to distribution shifts, ICLR 2023"
    regimes: ClassVar[frozenset[str]] = TRAINED | {"episodes"}
    search: ClassVar[dict[str, tuple[object, ...]]] = {
        "blocks": ("choice", "-1", "0", "-2,-1", "0,1"),
        "tuned_body_lr": ("log", 0.01, 1.0),
        "lr": ("log", 1e-3, 0.1),
    }

    def loss(self, net: Networks, batch: Batch, progress: float) -> Tensor:
        return supervised_loss(net, batch)

    def begun(self, net: Networks, train: Train, seed: int) -> Networks:
        trunk = frozen(net.features).trunk
        for p in chosen(parameters_by_block(trunk), self.blocks):
            p.requires_grad_(True)
        return net


def chosen(parts: list[list[nn.Parameter]], blocks: str) -> list[nn.Parameter]:
    """The parameters of the blocks that a comma-separated list names."""
    numbers = [int(number) for number in blocks.split(",")]
    if not all(-len(parts) <= i < len(parts) for i in numbers):
        raise NotApplicable(f"blocks is {blocks!r}; the backbone has {len(parts)}, numbered from 0 or back from -1")
    return [p for i in numbers for p in parts[i]]
