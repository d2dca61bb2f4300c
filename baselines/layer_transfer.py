"""Layer transfer: copy the first blocks, start the rest afresh.

Yosinski et al., NeurIPS 2014, section 2: a network whose first n blocks are the source's and whose others are drawn
anew, the classifier always, is trained on the shots; the copied blocks are frozen (AnB) or trained along (AnB+).
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from tlbench import Train
from tlbench.training.fine_tuning import FineTuning, blocks, frozen, parameters_by_block
from tlbench.training.networks import Networks
from tlbench.training.trainer import TRAINED, Batch, network, seeded, supervised_loss


@dataclass(frozen=True)
class LayerTransfer(FineTuning):
    """Copy blocks of the source; draw the others and the classifier anew.

    >>> import numpy as np
    >>> from tlbench import Train
    >>> y = np.arange(60) % 3
    >>> x = np.random.default_rng(0).normal(6 * np.eye(3)[y])
    >>> train = Train.of(x, y // 2, x + 1, shots=(x[:9] + 1, y[:9]), source_classes=2)
    >>> LayerTransfer(steps=30).fit(train, seed=0)(train.target.x).argmax(1)[:6].tolist()
    [0, 1, 2, 0, 1, 2]
    """

    tuned_body_lr: float = 1.0  # as in the paper: fresh blocks have everything to learn
    copied: int = -1  # how many of the first blocks; -1 is all but one; at least one, at most all
    freeze: bool = False  # the copied blocks (AnB), or train them too (AnB+)

    paper: ClassVar[str] = "Yosinski et al., How transferable are features in deep neural networks?, NeurIPS 2014"
    regimes: ClassVar[frozenset[str]] = TRAINED | {"episodes"}
    search: ClassVar[dict[str, tuple[object, ...]]] = {
        "copied": ("choice", 1, 2, -2, -1),
        "freeze": ("choice", False, True),
        "lr": ("log", 1e-3, 0.1),
    }

    def loss(self, net: Networks, batch: Batch, progress: float) -> Tensor:
        return supervised_loss(net, batch)

    def begun(self, net: Networks, train: Train, seed: int) -> Networks:
        trunk = net.features.trunk
        parts = blocks(trunk)
        n = min(len(parts), max(1, self.copied if self.copied > 0 else len(parts) + self.copied))
        seeded(lambda: reset(trunk, [name for names in parts[n:] for name in names]), seed)
        net.classifier = seeded(lambda: network(train), seed)["classifier"].to(train.device)
        if self.freeze:
            frozen(net.features)
            for p in (p for part in parameters_by_block(trunk)[n:] for p in part):
                p.requires_grad_(True)
        return net


def reset(trunk: nn.Module, names: list[str]) -> nn.Module:
    """The trunk, the parameters of whose named modules are drawn anew."""
    for module in (m for name in names for m in trunk.get_submodule(name).modules()):
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()  # type: ignore[operator]
    return trunk
