"""CAN: collaborative and adversarial network.

Zhang, Ouyang, Li & Xu, CVPR 2018, section 3. Every block l of the network has a domain critic. What the last block
learns must not tell the domains (its gradient is reversed, as in DANN); what the blocks below learn may, and where that
is easy it is encouraged, so that edges and tones of the target are kept for the blocks above:

    min over f, c, lambda  CE(c(f(x)), y)  +  sum_l lambda_l * min over d_l  CE(d_l(h_l(x)), domain),
    lambda_m = -1 at the last block;   sum over l < m of lambda_l = 0,   |lambda_l| <= 1

The weights lambda go down their own gradient, the blocks' losses, from zero: blocks that tell the domains better than
rest get a positive weight (collaborative), the others a negative one (adversarial). The size of that step is ours, and
the reversal is ramped as in DANN. We leave out the incremental training on pseudo-labels (iCAN).
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tlbench import Train
from tlbench.training.fine_tuning import blocks, tapped
from tlbench.training.losses import ramp
from tlbench.training.networks import Networks, mlp, part, reverse_gradient
from tlbench.training.trainer import Batch, GradientMethod, label_loss, network


@dataclass(frozen=True)
class CAN(GradientMethod):
    """Lower blocks may tell the domains, the last one may not.

    >>> import numpy as np
    >>> from tlbench import Train
    >>> y = np.arange(60) % 3
    >>> x = np.random.default_rng(0).normal(6 * np.eye(3)[y])
    >>> train = Train.of(x, y, x + 1)
    >>> CAN(steps=30).fit(train, seed=0)(train.target.x).argmax(1)[:6].tolist()
    [0, 1, 2, 0, 1, 2]
    """

    weight: float = 1.0  # of all domain gradients, once the ramp is over
    rate: float = 0.01  # of the step that the blocks' weights take
    hidden: int = 256  # width of the critics

    family: ClassVar[str] = "feature-based"
    paper: ClassVar[str] = "Zhang et al., Collaborative and adversarial network for domain adaptation, CVPR 2018"
    needs: ClassVar[frozenset[str]] = frozenset({"sources"})
    search: ClassVar[dict[str, tuple[object, ...]]] = {
        "weight": ("log", 0.01, 10.0),
        "rate": ("log", 1e-3, 0.1),
        "lr": ("log", 1e-3, 0.1),
    }

    def networks(self, train: Train) -> Networks:
        net = network(train)
        features, x = net.features.eval(), train.target.x[:1]
        lower = [names[-1] for names in blocks(features.trunk)[:-1]]
        with torch.no_grad(), tapped(features.trunk, lower) as seen:
            last = features(x)
        widths = [pooled(seen[name]).shape[1] for name in lower] + [last.shape[1]]
        net["critics"] = Critics(lower, widths, self.hidden)
        return net

    def loss(self, net: Networks, batch: Batch, progress: float) -> Tensor:
        critics = part(net, "critics", Critics)
        with tapped(net.features.trunk, critics.names) as seen:
            features = net.features(batch.inputs)
        layers = [pooled(seen[name]) for name in critics.names] + [features]
        losses = []
        for hidden, critic, share in zip(layers, critics.parts, critics.weights.tolist(), strict=True):
            scaled = reverse_gradient(batch.split(hidden).domains, -share * self.weight * ramp(progress))
            losses.append(cross_entropy(critic(scaled), batch.domain))
        critics.move(torch.stack([loss.detach() for loss in losses]), self.rate)
        return label_loss(net, batch.split(features).labeled, batch) + torch.stack(losses).sum()


class Critics(nn.Module):
    """A domain critic a block, and the blocks' weights lambda: (m,)."""

    weights: Tensor

    def __init__(self, names: list[str], widths: list[int], hidden: int) -> None:
        super().__init__()
        self.names, self.parts = names, nn.ModuleList(mlp(width, hidden, 2) for width in widths)
        self.register_buffer("weights", torch.tensor([0.0] * len(names) + [-1.0]))

    def move(self, losses: Tensor, rate: float) -> None:
        """One step of the lower blocks' weights down the (m,) losses, back onto their sum and bounds."""
        if self.names:
            lower = (self.weights[:-1] - rate * losses[:-1]).clamp(-1, 1)
            self.weights[:-1] = (lower - lower.mean()).clamp(-1, 1)


def pooled(h: Tensor) -> Tensor:
    """Maps (b, c, h, w) or tokens (b, t, c) -> (b, c), the mean over places."""
    return h.mean((2, 3)) if h.ndim == 4 else h.mean(1) if h.ndim == 3 else h
