"""LP-FT: linear probing, then fine-tuning.

Kumar et al., ICLR 2022, section 3.4. Fine-tuning from a head that does not fit yet distorts the features before it is
any good. So the head is trained first, on frozen features (their batch norms keep the stored statistics), then
everything, the transferred layers at a tenth of the rate. Both parts together take the card's number of steps; the
paper's probe is solved to the end; ours takes half of them, so that it costs what fine-tuning does.
"""

from dataclasses import dataclass, replace
from typing import ClassVar

from torch import Tensor

from tlbench import Train
from tlbench.training.fine_tuning import FineTuning, frozen
from tlbench.training.networks import Networks
from tlbench.training.trainer import TRAINED, Batch, supervised_loss


@dataclass(frozen=True)
class LPFT(FineTuning):
    """Fit the head on frozen features, then train everything.

    >>> import numpy as np
    >>> from tlbench import Train
    >>> y = np.arange(60) % 3
    >>> x = np.random.default_rng(0).normal(6 * np.eye(3)[y])
    >>> train = Train.of(x, y, x + 1, shots=(x[:9] + 1, y[:9]))
    >>> LPFT(steps=30).fit(train, seed=0)(train.target.x).argmax(1)[:6].tolist()
    [0, 1, 2, 0, 1, 2]
    """

    probe_share: float = 0.5  # of the steps that the head alone gets

    paper: ClassVar[str] = "Kumar et al., Fine-tuning can distort pretrained features, ICLR 2022"
    regimes: ClassVar[frozenset[str]] = TRAINED | {"episodes"}
    search: ClassVar[dict[str, tuple[object, ...]]] = {
        "probe_share": ("linear", 0.2, 0.8),
        "tuned_body_lr": ("log", 1e-3, 1.0),
        "lr": ("log", 1e-3, 0.1),
    }

    def loss(self, net: Networks, batch: Batch, progress: float) -> Tensor:
        return supervised_loss(net, batch)

    def tuned(self, net: Networks, train: Train, seed: int) -> Networks:
        steps = self.recipe(train).steps
        probing = max(1, round(steps * self.probe_share))
        frozen(net.features)
        probed = replace(self, steps=probing).trained(train, seed, net)
        probed["features"].requires_grad_(True)
        return replace(self, steps=max(1, steps - probing), body_lr=self.tuned_body_lr).trained(train, seed, probed)
