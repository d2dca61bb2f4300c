"""Fixed features for methods that transform matrices rather than train networks.

Where a card's inputs are feature vectors, they are the embedding, scaled as the card says. Where they are
images whose backbone is trained, a backbone trained on the sources is frozen and embeds everything; without
sources, a pretrained backbone as it is, or one trained on the shots.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from tlbench.data import Labeled, Train, Unlabeled
from tlbench.training.networks import Backbone, Float, Given, Pixels
from tlbench.training.trainer import ERM

Embedding = Callable[[Tensor], Tensor]  # raw inputs (n, *shape) -> (n, d)


def embedded(train: Train, seed: int, trainer: ERM) -> tuple[Train, InBatches]:
    """`train` as matrices, and the map that takes any raw input there.

    Args:
        trainer: trains the backbone, where there is one to train

    Returns:
        a Train whose inputs are (n, d) floats, and whose backbone is what the card puts above them (the
        bottleneck over frozen features, nothing over learnt ones); and the embedding itself
    """
    backbone = train.backbone()
    assert isinstance(backbone, Backbone)
    if isinstance(backbone.prepare, Pixels | Given):
        if backbone.pretrained and not train.sources:
            trained: Any = backbone
        else:
            alone = train if not train.sources else replace(train, shots=nothing_of(train.shots))
            trained = trainer.trained(alone, seed)["features"]
        assert isinstance(trained, Backbone)
        top = Backbone(Float(), nn.Identity(), nn.Identity(), trained.width)
        return _mapped(train, trained, lambda: top), in_batches(trained, train.device)

    def above() -> Backbone:
        fresh = train.backbone()
        assert isinstance(fresh, Backbone)
        return Backbone(Float(), nn.Identity(), fresh.trunk, fresh.width)

    return _mapped(train, backbone.prepare, above), in_batches(backbone.prepare, train.device)


def nothing_of(part: Labeled) -> Labeled:
    """No sample of the same shape."""
    return Labeled(part.x[:0], part.y[:0])


def without_sources(train: Train) -> Train:
    """`train` with the target alone."""
    return replace(train, sources=(), source_classes=())


def batch_for(x: Tensor) -> int:
    """Inputs to put through a network at once without gradients: 256, or fewer where they are large images."""
    return max(16, min(256, (1 << 24) // max(1, x.shape[1:].numel())))


class InBatches(nn.Module):
    """`net` over any number of inputs without gradients, on the host's memory again."""

    def __init__(self, net: nn.Module, device: str) -> None:
        super().__init__()
        self.net, self.device = net.to(device).eval(), device

    def forward(self, x: Tensor) -> Tensor:
        size = batch_for(x)
        with torch.no_grad():
            parts = [self.net(x[i : i + size].to(self.device)).cpu() for i in range(0, max(1, len(x)), size)]
        return torch.cat(parts)


def in_batches(net: nn.Module, device: str) -> InBatches:
    """`net` as an embedding: over any number of inputs, without gradients, on the host's memory again."""
    return InBatches(net, device)


def _mapped(train: Train, net: nn.Module, above: Callable[[], nn.Module]) -> Train:
    embed = in_batches(net, train.device)
    return replace(
        train,
        sources=tuple(Labeled(embed(s.x), s.y) for s in train.sources),
        target=Unlabeled(embed(train.target.x)),
        shots=Labeled(embed(train.shots.x), train.shots.y),
        backbone=above,
    )
