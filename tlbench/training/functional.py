"""Inner loops: the card's network as a function of its weights, so that every episode may have its own."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy
from torch.nn.modules.batchnorm import _BatchNorm

from tlbench.errors import Refusal
from tlbench.training.networks import body

Weights = dict[str, Tensor]


class Weighted:
    """The card's network as a function of its weights, for episodes each of which has its own.

    What comes before the trunk (scaling, augmentation) has no weights and is done for all episodes together. A batch
    norm takes its moments from the support, for the queries too (MetaBN of Bronskill et al., ICML 2020, section 3.2):
    so no query is judged by the others, as it is where they are normalised together, and no average is kept.

    Raises:
        Refusal: the network is recurrent, whose layers no two episodes can pass at once with weights of their own.
    """

    def __init__(self, net: nn.ModuleDict) -> None:
        self.net = nn.Sequential(body(net).trunk, net["classifier"])
        if any(isinstance(m, nn.RNNBase) for m in self.net.modules()):
            raise Refusal("the backbone is recurrent: torch cannot run such layers with weights for each episode")
        self.weights: Weights = dict(self.net.named_parameters())
        self.norms = [m for m in self.net.modules() if isinstance(m, SupportNorm)]

    def __call__(self, weights: Weights, x: Tensor, first: int | None = None) -> Tensor:
        """(b, *shape) prepared inputs -> (b, n_classes); the norms' moments are those of the `first` rows."""
        for norm in self.norms:
            norm.first = first
        out: Tensor = functional_call(self.net, weights, (x,))
        return out

    def loss(self, weights: Weights, x: Tensor, y: Tensor) -> Tensor:
        """The mean cross-entropy of labelled samples."""
        return cross_entropy(self(weights, x), y)

    def told(self, weights: Weights, xs: Tensor, xq: Tensor) -> Tensor:
        """(q, n_classes) scores of the queries, normalised as the support is."""
        return self(weights, torch.cat([xs, xq]), len(xs))[len(xs) :]


def prepared(net: nn.ModuleDict, x: Tensor) -> Tensor:
    """(e, b, *shape) raw inputs as the trunk takes them, augmented while training."""
    features, flat = body(net), x.flatten(0, 1)
    out: Tensor = features.prepare(flat)
    if features.training:
        out = features.augment(out)
    return out.reshape(*x.shape[:2], *out.shape[1:])


class SupportNorm(nn.Module):
    """Batch norm, (b, c) or (b, c, ...), by the moments of the `first` rows of what passes; None takes all rows."""

    def __init__(self, norm: _BatchNorm) -> None:
        super().__init__()
        self.weight, self.bias, self.eps = norm.weight, norm.bias, norm.eps
        self.first: int | None = None

    def forward(self, x: Tensor) -> Tensor:
        var, mean = torch.var_mean(x[: self.first], (0, *range(2, x.ndim)), correction=0, keepdim=True)
        weight, bias = (p.view(-1, *[1] * (x.ndim - 2)) for p in (self.weight, self.bias))
        out: Tensor = (x - mean) * ((var + self.eps).rsqrt() * weight) + bias
        return out


def with_support_norms(net: nn.ModuleDict) -> nn.ModuleDict:
    """`net`, its batch norms replaced; those that keep a checkpoint's statistics stay."""
    if net["features"].fixed_norm:
        return net
    for parent in list(net.modules()):
        for name, norm in list(parent.named_children()):
            if isinstance(norm, _BatchNorm) and norm.affine:
                after = [getattr(norm, part) for part in ("drop", "act") if hasattr(norm, part)]  # timm's fused ones
                setattr(parent, name, nn.Sequential(SupportNorm(norm), *after) if after else SupportNorm(norm))
    return net
