"""The nouns. `Domain` is the harness's own and holds every label; `Train` is all a method may see."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor, nn

Rows = NDArray[np.int64]
IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})
Regime = Literal["classification", "regression", "detection", "episodes"]
Predictor = Callable[["Tensor"], "Tensor"]
"""(n, *shape) inputs -> (n, n_classes) class scores, higher means likelier; (n, 1) numbers where one is predicted;
(n, q, 6) boxes where objects are detected: x1, y1, x2, y2 in pixels of the input, score, class; score 0 is no box."""
Learner = Callable[["Labeled", "Tensor"], "Tensor"]
"""Of an episode: its labelled support and its (n, *shape) queries -> (n, ways) class scores."""


@dataclass(frozen=True)
class Domain:
    """One domain as loaded, labels and names included. It never reaches a method's process."""

    name: str
    ids: tuple[str, ...]  # one stable name a sample
    y: NDArray[np.int64] | NDArray[np.float32]  # (n,) indices into classes; floats when there is a number to predict
    classes: tuple[str, ...]  # () when there is a number to predict
    hashes: tuple[str, ...]  # SHA-256 of each sample's bytes, hex
    x: NDArray[np.generic] | None = None  # (n, *shape); images are uint8 (n, 1 or 3, h, w)
    files: tuple[Path, ...] = ()  # images still to be decoded, when x is None
    texts: tuple[str, ...] = ()  # texts still to be encoded, when x is None
    columns: tuple[str, ...] = ()  # names of the features, where x is a table that has them
    official_test: NDArray[np.bool_] | None = None  # (n,) the publisher's own test samples
    boxes: tuple[NDArray[np.float32], ...] = ()  # one (m, 5) an image: x1, y1, x2, y2 in pixels of x, class; y is 0
    episodes: tuple[tuple[Rows, Rows], ...] = ()  # the publisher's own: rows of (support, queries)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def strata(self) -> NDArray[np.int64]:
        """(n,) the group within which samples are drawn: the class; one group where there are numbers or boxes."""
        return np.zeros(len(self), np.int64) if self.boxes or not self.classes else self.y.astype(np.int64)

    @property
    def n_strata(self) -> int:
        return 1 if self.boxes or not self.classes else len(self.classes)


@dataclass(frozen=True)
class Labeled:
    """Inputs with their labels."""

    x: Tensor  # (n, *shape)
    y: Tensor  # (n,) int64; float32 where a number is predicted; (n, m) with boxes, -1 where an image has fewer than m
    boxes: Tensor | None = None  # (n, m, 4) x1, y1, x2, y2 in pixels, where objects are detected

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
    adapt_steps: int = 50  # gradient steps a few-shot learner may take on one support set
    decay: float = 10.0  # the learning rate falls as lr / (1 + decay * progress)^0.75


@dataclass(frozen=True)
class Episodes:
    """What the episodes look like that a few-shot learner is tested on."""

    ways: int  # classes an episode
    shots: int  # labelled samples a class
    queries: int  # samples a class to be told


@dataclass(frozen=True)
class Train:
    """All that a method may see. A new regime adds a field and breaks no method."""

    sources: tuple[Labeled, ...]  # empty when the source is only in the initial weights, or removed
    target: Unlabeled
    shots: Labeled  # the labelled target samples; empty at k = 0 and where there are episodes
    n_classes: int  # of the target; 1 where a number is predicted
    backbone: Callable[[], nn.Module]  # the card's network, from the same initial weights for everyone
    recipe: Recipe = field(default_factory=Recipe)
    device: str = "cpu"
    regime: Regime = "classification"
    source_classes: tuple[int, ...] = ()  # of each source; () means the target's own
    episodes: Episodes | None = None  # then `fit` returns a Learner

    @property
    def same_task(self) -> bool:
        """Whether the sources' labels mean the target's classes."""
        return not self.source_classes
