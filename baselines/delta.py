"""DELTA: deep learning transfer using feature map with attention.

Li et al., ICLR 2019, equations 3 to 6. Fine-tuning that holds the network's behaviour near the source's: the maps F of
every block on the shots stay near the maps F0 of the source's network on the same inputs, channel by channel, the more
so for the channels that the target needs:

    label loss  +  weight / 2 * sum over blocks, samples, channels of a_c mean_places (F_c(x) - F0_c(x))^2
                +  beta / 2 * |w_new|^2

a = the softmax over a block's channels of how much the source's loss on the shots rises when the channel is put out,
times the number of channels. The paper measures it with one forward pass a channel; here its first-order expansion
takes one backward pass, under the source's classifier, or under one fitted to the frozen features where the classes are
others.
"""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from tlbench import Train
from tlbench.training.fine_tuning import FineTuning, blocks, frozen, still, tapped, transferred
from tlbench.training.networks import Networks, part
from tlbench.training.trainer import Batch, label_loss


@dataclass(frozen=True)
class DELTA(FineTuning):
    """Fine-tune, with the blocks' outputs held near the source's.

    >>> import numpy as np
    >>> from tlbench import Train
    >>> y = np.arange(60) % 3
    >>> x = np.random.default_rng(0).normal(6 * np.eye(3)[y])
    >>> train = Train.of(x, y, x + 1, shots=(x[:9] + 1, y[:9]))
    >>> DELTA(steps=30).fit(train, seed=0)(train.target.x).argmax(1)[:6].tolist()
    [0, 1, 2, 0, 1, 2]
    """

    weight: float = 0.01  # the paper's alpha
    beta: float = 0.01  # weight decay of a fresh classifier
    attention: bool = True  # by channel; else all channels weigh alike

    paper: ClassVar[str] = "Li et al., DELTA: deep learning transfer using feature map with attention, ICLR 2019"
    regimes: ClassVar[frozenset[str]] = frozenset({"classification", "regression", "episodes"})
    search: ClassVar[dict[str, tuple[object, ...]]] = {
        "weight": ("log", 1e-4, 1.0),
        "attention": ("choice", True, False),
        "tuned_body_lr": ("log", 0.01, 1.0),
        "lr": ("log", 1e-3, 0.1),
    }

    def begun(self, net: Networks, train: Train, seed: int) -> Networks:
        fresh = "classifier" not in transferred(train)
        if fresh and self.attention:
            frozen(net.features)
            replace(self, weight=0.0, beta=0.0).trained(train, seed, net)
            net.features.requires_grad_(True)
        net["start"] = Start(net, fresh, train, self.recipe(train).batch if self.attention else 0)
        return net

    def loss(self, net: Networks, batch: Batch, progress: float) -> Tensor:
        if "start" not in net:
            return label_loss(net, net.features(batch.x), batch)
        start = part(net, "start", Start)
        trunk = net.features.trunk
        with tapped(trunk, start.names) as now:
            loss = label_loss(net, net.features(batch.x), batch)
        with torch.no_grad(), tapped(start.trunk, start.names) as before:
            start.trunk(now[""])  # the same augmented inputs
        gaps = [behaviour(now[name], before[name], a) for name, a in zip(start.names, start.attention, strict=True)]
        new = sum((p.square().sum() for p in net.classifier.parameters()), 0.0) if start.fresh else 0.0
        return loss + self.weight / 2 * torch.stack(gaps).sum() + self.beta / 2 * new


class Start(nn.Module):
    """The source's trunk, and how much each channel of its blocks matters on the shots."""

    def __init__(self, net: Networks, fresh: bool, train: Train, size: int) -> None:
        super().__init__()
        self.trunk = still(net.features.trunk)
        self.names, self.fresh = [names[-1] for names in blocks(self.trunk)], fresh
        self.attention: list[Tensor] = [torch.ones(())] * len(self.names)
        if size:
            x, y = (part[:size].to(train.device) for part in (train.shots.x, train.shots.y))
            self.attention = importance(net.eval(), self.names, x, y)

    def train(self, mode: bool = True) -> "Start":
        return super().train(False)


def importance(net: Networks, names: list[str], x: Tensor, y: Tensor) -> list[Tensor]:
    """Of each block the (c,) attention: softmax of the first-order rise of the loss without a channel, times c."""
    empty = Batch(x[:0], y[:0], y[:0].long(), x[:0], x, y)
    with tapped(net.features.trunk, names) as seen:
        loss = label_loss(net, net.features(x), empty)
    slopes = torch.autograd.grad(loss, [seen[name] for name in names])
    rises = [-channels(slope * seen[name].detach()).sum((0, 2)) for slope, name in zip(slopes, names, strict=True)]
    return [rise.softmax(0) * len(rise) for rise in rises]


def behaviour(now: Tensor, before: Tensor, attention: Tensor) -> Tensor:
    """The weighted squared distance of two outputs of a block, summed over samples and channels: (,)."""
    return (attention * channels(now - before).square().mean(2)).sum()


def channels(h: Tensor) -> Tensor:
    """Maps (b, c, h, w), tokens (b, t, c) or features (b, c) -> (b, c, places)."""
    return h.flatten(2) if h.ndim == 4 else h.transpose(1, 2) if h.ndim == 3 else h[:, :, None]
