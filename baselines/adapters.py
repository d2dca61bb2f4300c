"""Adapters: small trained layers between frozen ones.

Rebuffi, Bilen & Vedaldi, NeurIPS 2017 (residual adapters); Houlsby et al., ICML 2019 (bottleneck and near-identity
start). The source's network is frozen, batch norms' statistics included; behind every block stands a bottleneck with a
skip:

    h <- h + U relu(D h),   D (r, c),  U (c, r) zero at first

which acts place by place on maps (a 1x1 convolution) and token by token on sequences. Adapters and classifier are
trained. We leave out training the norms' scales along (Houlsby) and put one adapter a block, not two.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from tlbench import Train
from tlbench.training.fine_tuning import FineTuning, blocks, frozen, tapped
from tlbench.training.networks import Networks
from tlbench.training.trainer import TRAINED, Batch, seeded, supervised_loss


@dataclass(frozen=True)
class Adapters(FineTuning):
    """Freeze the source's network and train bottlenecks between its blocks.

    >>> import numpy as np
    >>> from tlbench import Train
    >>> y = np.arange(60) % 3
    >>> x = np.random.default_rng(0).normal(6 * np.eye(3)[y])
    >>> train = Train.of(x, y, x + 1, shots=(x[:9] + 1, y[:9]))
    >>> Adapters(steps=30).fit(train, seed=0)(train.target.x).argmax(1)[:6].tolist()
    [0, 1, 2, 0, 1, 2]
    """

    tuned_body_lr: float = 1.0  # of the adapters
    width: int = 64  # of the bottleneck, the r; at most the block's own
    paper: ClassVar[str] = "Houlsby et al., Parameter-efficient transfer learning for NLP, ICML 2019"
    regimes: ClassVar[frozenset[str]] = TRAINED | {"episodes"}
    search: ClassVar[dict[str, tuple[object, ...]]] = {"width": ("choice", 8, 32, 64), "lr": ("log", 1e-3, 0.1)}

    def loss(self, net: Networks, batch: Batch, progress: float) -> Tensor:
        return supervised_loss(net, batch)

    def begun(self, net: Networks, train: Train, seed: int) -> Networks:
        features = frozen(net.features).eval()
        trunk = features.trunk
        names = [names[-1] for names in blocks(trunk)]
        with torch.no_grad(), tapped(trunk, names) as seen:
            features(train.shots.x[:1].to(train.device))
        sizes = {name: (h.shape[1] if h.ndim == 4 else h.shape[-1], h.ndim == 4) for name, h in seen.items() if name}
        made = seeded(
            lambda: nn.ModuleDict({str(i): Adapter(*sizes[n], self.width) for i, n in enumerate(names)}), seed
        )
        for i, name in enumerate(names):
            path, _, last = name.rpartition(".")
            trunk.get_submodule(path)._modules[last] = nn.Sequential(trunk.get_submodule(name), made[str(i)])
        return net


class Adapter(nn.Module):
    """A bottleneck with a skip, nothing at first: (b, c, h, w) maps, or (..., c)."""

    def __init__(self, c: int, maps: bool, width: int) -> None:
        super().__init__()
        layer = (lambda i, o: nn.Conv2d(i, o, 1)) if maps else nn.Linear
        self.down, self.up = layer(c, min(c, width)), layer(min(c, width), c)
        for p in self.up.parameters():
            nn.init.zeros_(p)

    def forward(self, h: Tensor) -> Tensor:
        out: Tensor = h + self.up(torch.relu(self.down(h)))
        return out
