"""The nouns. `Domain` is the harness's own and holds every label; `Train` is all a method may see."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor, nn

Predictor = Callable[["Tensor"], "Tensor"]
"""(n, *shape) inputs -> (n, n_classes) class scores; higher means likelier."""


@dataclass(frozen=True)
class Domain:
    """One domain as loaded, labels and names included. It never reaches a method's process."""

    name: str
    ids: tuple[str, ...]  # one stable name a sample
    y: NDArray[np.int64]  # (n,) indices into classes
    classes: tuple[str, ...]
    hashes: tuple[str, ...]  # SHA-256 of each sample's bytes, hex
    x: NDArray[np.generic] | None = None  # (n, *shape); images are uint8 (n, 3, h, w)
    files: tuple[Path, ...] = ()  # images still to be decoded, when x is None
    official_test: NDArray[np.bool_] | None = None  # (n,) the publisher's own test samples

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Labeled:
    """Inputs with their labels."""

    x: Tensor  # (n, *shape)
    y: Tensor  # (n,) int64

    def __len__(self) -> int:
        return len(self.x)


@dataclass(frozen=True)
class Unlabeled:
    """Inputs alone. It has no `y`: a leak is an AttributeError."""

    x: Tensor  # (n, *shape)

    def __len__(self) -> int:
        return len(self.x)


@dataclass(frozen=True)
class Recipe:
    """What a card prescribes to every method that trains by gradient descent."""

    steps: int = 500
    batch: int = 32  # samples a step of each kind: source, labelled target, unlabelled target
    lr: float = 0.01
    weight_decay: float = 1e-3
    body_lr: float = 1.0  # the backbone's learning rate as a share of lr; small where it is pretrained


@dataclass(frozen=True)
class Train:
    """All that a method may see. A new regime adds a field and breaks no method."""

    sources: tuple[Labeled, ...]  # empty when the source is only in the initial weights, or removed
    target: Unlabeled
    shots: Labeled  # the labelled target samples, k a class; empty at k = 0
    n_classes: int
    backbone: Callable[[], nn.Module]  # the card's network, from the same initial weights for everyone
    recipe: Recipe = field(default_factory=Recipe)
    device: str = "cpu"
