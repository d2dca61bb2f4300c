"""L2-SP: the source's solution as the starting point and as the prior.

Li, Grandvalet & Davoine, ICML 2018, equation 2. Fine-tuning with weight decay towards w0, not towards zero, for all
that is transferred, and towards zero for what is new (the classifier, where the source's classes are others):

    label loss  +  alpha / 2 * |w - w0|^2  +  beta / 2 * |w_new|^2

The loss is a mean over samples: on a linear model with squared error it is the ridge regression towards w0 whose
penalty is n * alpha / 2 (on the sum of squares). The optimiser's own weight decay is off in this stage.
"""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from tlbench import Train
from tlbench.training.fine_tuning import FineTuning, still, transferred
from tlbench.training.networks import Networks, part
from tlbench.training.trainer import TRAINED, Batch, supervised_loss


@dataclass(frozen=True)
class L2SP(FineTuning):
    """Fine-tune, held near the source's solution.

    >>> import numpy as np
    >>> from tlbench import Train
    >>> y = np.arange(60) % 3
    >>> x = np.random.default_rng(0).normal(6 * np.eye(3)[y])
    >>> train = Train.of(x, y, x + 1, shots=(x[:9] + 1, y[:9]))
    >>> L2SP(steps=30).fit(train, seed=0)(train.target.x).argmax(1)[:6].tolist()
    [0, 1, 2, 0, 1, 2]
    """

    alpha: float = 0.1  # towards w0
    beta: float = 0.01  # towards zero, of what is new

    paper: ClassVar[str] = "Li, Grandvalet & Davoine, Explicit inductive bias for transfer learning, ICML 2018"
    regimes: ClassVar[frozenset[str]] = TRAINED | {"episodes"}
    search: ClassVar[dict[str, tuple[object, ...]]] = {
        "alpha": ("log", 1e-4, 10.0),
        "beta": ("log", 1e-4, 1.0),
        "tuned_body_lr": ("log", 0.01, 1.0),
        "lr": ("log", 1e-3, 0.1),
    }

    def tuned(self, net: Networks, train: Train, seed: int) -> Networks:
        return FineTuning.tuned(replace(self, weight_decay=0.0), net, train, seed)

    def begun(self, net: Networks, train: Train, seed: int) -> Networks:
        net["start"] = nn.ModuleDict({name: still(net[name]) for name in transferred(train)})
        return net

    def loss(self, net: Networks, batch: Batch, progress: float) -> Tensor:
        start = part(net, "start", nn.ModuleDict)
        near = sum((squared_gap(net[name], start[name]) for name in start), torch.zeros(()))
        new = sum((p.square().sum() for name in {"classifier"} - set(start) for p in net[name].parameters()), 0.0)
        return supervised_loss(net, batch) + self.alpha / 2 * near + self.beta / 2 * new


def squared_gap(net: nn.Module, start: nn.Module) -> Tensor:
    """The squared distance of two networks' parameters: (,)."""
    pairs = zip(net.parameters(), start.parameters(), strict=True)
    return torch.stack([(p - q).square().sum() for p, q in pairs] or [torch.zeros(())]).sum()
