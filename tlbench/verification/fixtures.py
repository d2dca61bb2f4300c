"""Small training sets on which a method is held to its checks: numbers and images, made and not loaded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tlbench.data import Episodes, Labeled, Recipe, Regime, Train, Unlabeled
from tlbench.training import networks

CLASSES, OTHERS = 4, 6  # of the target; of a source of another task
SHAPES: dict[str, tuple[int, ...]] = {"numbers": (12,), "images": (3, 20, 20)}
NETS: dict[str, dict[str, Any]] = {
    "numbers": {"kind": "bottleneck", "width": 16, "scale": "standard"},
    "images": {"kind": "convnet", "augment": ("shift",)},
}


@dataclass(frozen=True)
class Change:
    """In what a set differs from the ordinary one: one source of the target's classes, five shots of each class."""

    k: int = 5
    sources: int = 1
    other_task: bool = False
    missing_class: bool = False


@dataclass(frozen=True)
class Fixture:
    """A training set, and the inputs that are to be judged after it."""

    name: str
    train: Train
    test: Tensor  # (n, *shape)
    support: Labeled | None = None  # of an episode, where the regime is that; then `test` are its queries

    def answer(self, fitted: Any) -> Any:
        """What a method's predictor or learner says of the inputs: (n, n_classes)."""
        return fitted(self.test) if self.support is None else fitted(self.support, self.test)


@dataclass(frozen=True)
class Made:
    """How the sets of a problem type are made."""

    looks: tuple[str, ...]  # that there are sets of
    labelled: Callable[..., Labeled]  # n samples around the classes' means
    outputs: int  # numbers told of a sample, each of which has `Change.k` labels


def fixtures(regimes: Sequence[str], change: Change) -> Iterator[Fixture]:
    """The sets of the regimes that there are sets of; each time the same."""
    for regime in regimes:
        if regime == "episodes" and not change.sources:
            continue  # of new classes nothing is known beforehand: no card has episodes and no source
        for look in LOOKS.get(regime, ()):
            yield _set(regime, look, change) if regime in SETS else _episode(change)


def _set(regime: Regime, look: str, change: Change) -> Fixture:
    draw = torch.Generator().manual_seed(0)
    y_of, outputs = SETS[regime].labelled, SETS[regime].outputs
    n = OTHERS if change.other_task else CLASSES
    means, others = (_some(draw, m, *SHAPES[look]) for m in (CLASSES, n))
    sources = tuple(
        y_of(draw, others if change.other_task else means, look, 47, shift=i / 2) for i in range(change.sources)
    )
    shots = y_of(draw, means, look, change.k * outputs, shift=1.0)
    if change.missing_class:
        kept = shots.y != CLASSES - 1 if shots.y.ndim == 1 else shots.y[:, CLASSES - 1] == 0
        shots = Labeled(shots.x[kept], shots.y[kept])
    pool, test = (y_of(draw, means, look, m, shift=1.0).x for m in (29, 13))
    shown = [*(s.x for s in sources), pool]
    train = Train(
        sources, Unlabeled(pool), shots, outputs, _network(look, shown),
        Recipe(steps=3, batch=16, adapt_steps=3), regime=regime,
        source_classes=(OTHERS,) * change.sources if change.other_task else (),
    )  # fmt: skip
    return Fixture(f"{regime} of {look}", train, test)


def _episode(change: Change) -> Fixture:
    """A source of other classes, and one episode of new ones."""
    draw = torch.Generator().manual_seed(0)
    known, new = (_some(draw, m, *SHAPES["images"]) for m in (OTHERS, CLASSES))
    sources = tuple(_classes(draw, known, "images", 47, shift=0.0) for _ in range(change.sources))
    pool = _classes(draw, new, "images", 29, shift=1.0)
    support, queries = (_classes(draw, new, "images", n, shift=1.0) for n in (CLASSES * max(1, change.k), 12))
    train = Train(
        sources, Unlabeled(pool.x), Labeled(pool.x[:0], pool.y[:0]), CLASSES,
        _network("images", [*(s.x for s in sources), pool.x]), Recipe(steps=3, batch=16, adapt_steps=3),
        regime="episodes", source_classes=(OTHERS,) * change.sources, episodes=Episodes(CLASSES, max(1, change.k), 3),
    )  # fmt: skip
    return Fixture("an episode of images", train, queries.x, support)


def _some(draw: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=draw)


def _classes(draw: torch.Generator, means: Tensor, look: str, n: int, shift: float) -> Labeled:
    """`n` samples, the classes in turn."""
    y = torch.arange(n) % len(means)
    x = 2 * means[y] + _some(draw, n, *means.shape[1:]) + shift
    return Labeled((128 + 32 * x).clamp(0, 255).to(torch.uint8) if look == "images" else x, y)


def _numbers(draw: torch.Generator, means: Tensor, look: str, n: int, shift: float) -> Labeled:
    """`n` samples whose label is a number: their first feature, and noise."""
    x = _some(draw, n, *means.shape[1:]) + shift
    return Labeled(x, x[:, 0] + 0.1 * _some(draw, n))


def _several(draw: torch.Generator, means: Tensor, look: str, n: int, shift: float) -> Labeled:
    """`n` samples of which each shows several classes or none: class c every (c + 2)th."""
    y = (torch.arange(n)[:, None] % (2 + torch.arange(len(means))) == 0).long()
    shown = 2 * (y.to(means.dtype) @ means.flatten(1)).view(n, *means.shape[1:])
    x = shown + _some(draw, n, *means.shape[1:]) + shift
    return Labeled((128 + 32 * x).clamp(0, 255).to(torch.uint8) if look == "images" else x, y)


SETS = {
    "classification": Made(("numbers", "images"), _classes, CLASSES),
    "regression": Made(("numbers",), _numbers, 1),
    "multilabel": Made(("numbers",), _several, CLASSES),
}
LOOKS: dict[str, tuple[str, ...]] = {**{regime: made.looks for regime, made in SETS.items()}, "episodes": ("images",)}


def _network(look: str, shown: list[Tensor]) -> Callable[[], networks.Backbone]:
    return lambda: networks.build(NETS[look], shown, 0)
