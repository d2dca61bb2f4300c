"""StochNorm: stochastic normalisation.

Kou et al., NeurIPS 2020, algorithm 1. While fine-tuning, every channel of a batch norm is normalised by the batch's
statistics or, with probability p, by the moving ones that the source left, so that neither can be overfitted:

    z = s * (x - moving mean) / moving std  +  (1 - s) * (x - batch mean) / batch std,   s ~ Bernoulli(p), one a channel

The moving statistics are updated after the step's own use of them. At prediction it is batch norm.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm

from tlbench import NotApplicable, Train
from tlbench.training.fine_tuning import FineTuning
from tlbench.training.networks import Networks
from tlbench.training.trainer import TRAINED, Batch, supervised_loss


@dataclass(frozen=True)
class StochNorm(FineTuning):
    """Fine-tune with batch norms that sometimes remember the source.

    >>> import numpy as np
    >>> from tlbench import Train
    >>> draw = np.random.default_rng(0).integers
    >>> crops, images = draw(0, 255, (8, 3, 12, 12), np.uint8), draw(0, 255, (4, 3, 32, 32), np.uint8)
    >>> train = Train.of_boxes(crops, [0, 1] * 4, images, [[[4, 4, 16, 16, 0]]] * 4)
    >>> boxes = StochNorm(steps=2).fit(train, seed=0)(train.shots.x)  # corners, score, class
    >>> boxes.shape[0], boxes.shape[2]
    (4, 6)
    """

    p: float = 0.5  # of the moving statistics

    paper: ClassVar[str] = "Kou et al., Stochastic normalization, NeurIPS 2020"
    regimes: ClassVar[frozenset[str]] = TRAINED | {"episodes"}
    search: ClassVar[dict[str, tuple[object, ...]]] = {
        "p": ("choice", 0.25, 0.5, 0.75),
        "tuned_body_lr": ("log", 0.01, 1.0),
        "lr": ("log", 1e-3, 0.1),
    }

    def loss(self, net: Networks, batch: Batch, progress: float) -> Tensor:
        return supervised_loss(net, batch)

    def begun(self, net: Networks, train: Train, seed: int) -> Networks:
        norms = {name: m for name, m in net.features.named_modules() if type(m) is nn.BatchNorm2d}
        if not norms or net.features.fixed_norm:
            raise NotApplicable(
                "the backbone has no batch norm whose statistics move: there is nothing to make stochastic"
            )
        for name, norm in norms.items():
            path, _, last = name.rpartition(".")
            net.features.get_submodule(path)._modules[last] = StochasticNorm.of(norm, self.p)
        return net


class StochasticNorm(nn.BatchNorm2d):
    """A batch norm over (b, c, h, w) that takes each channel's statistics from the batch or from memory."""

    p: float

    @classmethod
    def of(cls, norm: nn.BatchNorm2d, p: float) -> "StochasticNorm":
        made = cls(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
        made.load_state_dict(norm.state_dict())
        made.p = p
        return made.to(norm.running_mean.device)  # type: ignore[union-attr]

    def forward(self, x: Tensor) -> Tensor:
        assert self.running_mean is not None
        assert self.running_var is not None
        if not self.training:
            return super().forward(x)
        mean, var = self.running_mean.clone(), self.running_var.clone()
        remembered = batch_norm(x, mean, var, self.weight, self.bias, eps=self.eps)
        s = (torch.rand(len(mean), device=x.device) < self.p)[:, None, None]
        return torch.where(s, remembered, super().forward(x))
