"""What the gradient methods' papers write down, once more and sample by sample, over one small batch."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import torch
from torch import Tensor, nn

from tlbench import Labeled, Train, Unlabeled
from tlbench.data import Recipe
from tlbench.training import networks
from tlbench.training.trainer import Batch

D, K, PROGRESS = 5, 3, 0.3
RAMP = 2 / (1 + math.exp(-10 * PROGRESS)) - 1


def some(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def trunk() -> networks.Backbone:
    layers = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, D), nn.Tanh())
    return networks.Backbone(nn.Identity(), nn.Identity(), layers, D)


def batch() -> tuple[Train, Batch]:
    """Eight rows of two sources, eight of the target, five shots."""
    xs, xt, xl = some(8, 4, seed=0), some(8, 4, seed=1) + 0.5, some(5, 4, seed=2)
    ys, yl = torch.tensor([0, 1, 2, 0, 1, 2, 0, 1]), torch.tensor([0, 1, 2, 2, 1])
    sources = Labeled(xs[:4], ys[:4]), Labeled(xs[4:], ys[4:])
    train = Train(sources, Unlabeled(xt), Labeled(xl, yl), K, trunk, Recipe(steps=2, batch=8))
    return train, Batch(xs, ys, torch.arange(8) // 4, xt, xl, yl)


def logs(scores: Tensor) -> Tensor:
    return scores - scores.exp().sum(1, keepdim=True).log()


def wrong(scores: Tensor, y: Tensor) -> Tensor:
    """Each sample's cross-entropy."""
    return torch.stack([-row[c] for row, c in zip(logs(scores), y, strict=True)])


def unsure(scores: Tensor) -> Tensor:
    """Each sample's entropy."""
    return torch.stack([-(row.exp() * row).sum() for row in logs(scores)])


def of_domains(critic: nn.Module, source: Tensor, target: Tensor) -> Tensor:
    """Each sample's cross-entropy of a critic to which 0 is the source."""
    return torch.cat([wrong(critic(z), torch.full((len(z),), i)) for i, z in enumerate((source, target))])


def kernel(a: Tensor, b: Tensor, width: Tensor) -> Tensor:
    gap = (a - b).square().sum() / width
    return sum((torch.exp(-gap / s) for s in (0.25, 0.5, 1, 2, 4)), torch.zeros(()))


def mmd(source: list[Any], target: list[Any], k: Callable[[Any, Any], Tensor]) -> Tensor:
    """The unbiased estimate of samples of any kind."""
    within = [torch.stack([k(a, b) for a, b in combinations(part, 2)]).mean() for part in (source, target)]
    return within[0] + within[1] - 2 * torch.stack([k(a, b) for a in source for b in target]).mean()


def spread(z: Tensor) -> Tensor:
    """The mean squared distance of two rows, a row and itself among them, as a constant."""
    return torch.stack([(a - b).square().sum() for a in z for b in z]).mean().detach()


@dataclass
class Seen:
    """What the network says of a batch."""

    net: nn.ModuleDict
    b: Batch

    def __post_init__(self) -> None:
        self.fs, self.ft, self.fl = (self.net["features"](x) for x in (self.b.xs, self.b.xt, self.b.xl))
        top = self.net["classifier"]
        self.cs, self.ct, self.cl = top(self.fs), top(self.ft), top(self.fl)
        self.both = torch.cat([wrong(self.cs, self.b.ys), wrong(self.cl, self.b.yl)]).mean()  # source and shots alike
