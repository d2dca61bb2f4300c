"""The nouns. `Domain` is the harness's own and holds every label; `Train` is all a method may see."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor, nn

Rows = NDArray[np.int64]
IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})
Regime = str  # the name of a problem type: `tlbench.tasks.problems` has them
Predictor = Callable[["Tensor"], "Tensor"]
"""(n, *shape) inputs -> (n, n_classes) class scores, higher means likelier; (n, 1) numbers where one is predicted;
(n, q, 6) boxes where objects are detected: x1, y1, x2, y2 in pixels of the input, score, class; score 0 is no box."""
Learner = Callable[["Labeled", "Tensor"], "Tensor"]
"""Of an episode: its labelled support and its (n, *shape) queries -> (n, ways) class scores."""

Watch = Callable[[int, Mapping[str, float]], None]
"""Is given the step, from 0, and what was minimised in it, by name; see `tlbench.training.watching`."""


@dataclass(frozen=True)
class Domain:
    """One domain as loaded, labels and names included. It never reaches a method's process."""

    name: str
    ids: tuple[str, ...]  # one stable name a sample
    # (n,) indices into classes; floats when there is a number to predict; (n, C) 0 or 1 when a sample may show several
    y: NDArray[np.int64] | NDArray[np.float32]
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


@dataclass(frozen=True)
class Labeled:
    """Inputs with their labels."""

    x: Tensor  # (n, *shape)
    # (n,) int64; float32 where a number is predicted; (n, C) 0 or 1 where a sample may show several classes
    y: Tensor  # (n, m) with boxes, -1 where an image has fewer than m
    boxes: Tensor | None = None  # (n, m, 4) x1, y1, x2, y2 in pixels, where objects are detected

    def __len__(self) -> int:
        return len(self.x)

    @classmethod
    def of(cls, x: Any, y: Any) -> Labeled:
        """Of plain arrays, as `Train.of` takes them: an episode's support, say.

        Raises:
            ValueError: the arrays do not fit each other; one line says where.
        """
        return _labelled("x", "y", (x,), (y,))["x"]


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
    watch: Watch | None = None

    @property
    def same_task(self) -> bool:
        """Whether the sources' labels mean the target's classes."""
        return not self.source_classes

    @classmethod
    def of(
        cls,
        xs: Any,
        ys: Any,
        xt: Any = None,
        shots: tuple[Any, Any] | None = None,
        *,
        n_classes: int | None = None,
        source_classes: int | tuple[int, ...] | None = None,
        backbone: nn.Module | Callable[[], nn.Module] | None = None,
        pretrained: bool = False,
        recipe: Recipe | None = None,
        device: str = "cpu",
        seed: int = 0,
        watch: Watch | None = None,
    ) -> Self:
        """Of plain arrays: classes where labels are integers, a number to predict where they are floats, and
        several classes at once where they are (n, C) integers 0 or 1.

        An array is a numpy array, a tensor or a list, and is copied. Images (n, channels, height, width) of uint8 stay
        such; all else becomes float32. What the fitted method is asked must be a tensor of the same kind.

        Args:
            xs, ys: inputs (n, *shape) and labels (n,) of one source; tuples of such where there are several; or None
            xt: unlabelled inputs of the target
            shots: labelled ones of the target, inputs and labels
            n_classes: of the target; by default one more than the largest label
            source_classes: of a source whose labels are of another task, the number of its classes (1: a number is
                predicted); a tuple where several sources differ
            backbone: any module from inputs (b, *shape) to features (b, width), or a function that makes one. It gets
                vectors as they are and images on the scale 0..1; a copy is trained, not the module. By default the
                harness's own: over vectors standardisation and a layer of 256, over images two convolutions and a layer
            pretrained: the module has learnt something before: its features count without a source, too
            seed: of the initial weights
            watch: is called with each step's number and losses: see `tlbench.training.watching`

        Raises:
            ValueError: the arrays do not fit each other; one line says where.
        """
        from tlbench.training import arrays

        sources = _labelled("xs", "ys", arrays.several(xs), arrays.several(ys))
        few = _labelled("shots[0]", "shots[1]", shots[:1], shots[1:]) if shots is not None and len(shots[0]) else {}
        if not sources and not few:
            raise ValueError("there are neither sources nor shots: nothing says what is to be learnt")
        of_others = arrays.of_others(source_classes, [s.y for s in sources.values()])
        told = [part.y for part in (few if of_others else sources | few).values()]
        aim = arrays.aim(told, n_classes)
        pool, shown = arrays.pooled(xt, _inputs(sources), _inputs(few))
        none = Labeled(pool[:0], pool.new_zeros(0, dtype=aim.kind))
        return cls(
            tuple(sources.values()), Unlabeled(pool), next(iter(few.values()), none), aim.outputs,
            arrays.network(backbone, shown, seed, pretrained), recipe or Recipe(), device,
            aim.regime, of_others, watch=watch,
        )  # fmt: skip

    @classmethod
    def of_episodes(
        cls,
        x: Any,
        y: Any,
        *,
        ways: int,
        shots: int,
        queries: int,
        xt: Any = None,
        backbone: nn.Module | Callable[[], nn.Module] | None = None,
        pretrained: bool = False,
        recipe: Recipe | None = None,
        device: str = "cpu",
        seed: int = 0,
    ) -> Self:
        """Of plain arrays, for a few-shot learner: `fit` returns a function of a `Labeled` support and its queries.

        Args:
            x, y: inputs and labels of the classes that are known, none of which will be asked for; tuples of such where
                there are several sources, each with classes of its own
            ways, shots: classes of an episode that will be asked, and labelled samples of each
            queries: samples a class to be told
            xt: unlabelled inputs of classes that will be asked for

        Raises:
            ValueError: the arrays do not fit each other; one line says where.
        """
        from tlbench.training import arrays

        if ways < 2 or shots < 1 or queries < 1:
            raise ValueError(f"an episode has 2 ways, 1 shot and 1 query or more, not {ways}, {shots} and {queries}")
        sources = _labelled("x", "y", arrays.several(x), arrays.several(y))
        if not sources:
            raise ValueError("x: episodes are drawn from a source, and there is none")
        pool, shown = arrays.pooled(xt, _inputs(sources), {})
        return cls(
            tuple(sources.values()), Unlabeled(pool), Labeled(pool[:0], pool.new_zeros(0).long()), ways,
            arrays.network(backbone, shown, seed, pretrained), recipe or Recipe(), device, "episodes",
            arrays.known([s.y for s in sources.values()]), Episodes(ways, shots, queries),
        )  # fmt: skip

    @classmethod
    def of_boxes(
        cls,
        crops: Any,
        kinds: Any,
        images: Any,
        boxes: Any,
        *,
        xt: Any = None,
        n_classes: int | None = None,
        backbone: nn.Module | Callable[[], nn.Module] | None = None,
        pretrained: bool = False,
        recipe: Recipe | None = None,
        device: str = "cpu",
        seed: int = 0,
    ) -> Self:
        """Of plain arrays, for detection: a source of crops that each show one thing, and images with boxes.

        Args:
            crops, kinds: images (n, channels, height, width) and what each shows (n,); None where there is no source
            images: labelled images of the target
            boxes: a list, of each image its (m, 5) rows x1, y1, x2, y2, class, in pixels
            xt: unlabelled images of the target
            n_classes: of the boxes; by default one more than the largest
            backbone: any module from (b, channels, height, width) to maps (b, width, h', w'); a copy is trained

        Raises:
            ValueError: the arrays do not fit each other; one line says where.
        """
        from tlbench.training import arrays

        sources = _labelled("crops", "kinds", arrays.several(crops), arrays.several(kinds))
        x = arrays.inputs(images, "images")
        y, corners = arrays.corners(boxes, x)
        pool, shown = arrays.pooled(xt, _inputs(sources), {"images": x}, sides=False)
        return cls(
            tuple(sources.values()), Unlabeled(pool), Labeled(x, y, corners),
            arrays.classes(n_classes, [y.flatten()], "n_classes", least=1),
            arrays.network(backbone, shown, seed, pretrained, maps=True), recipe or Recipe(), device, "detection",
            arrays.known([s.y for s in sources.values()]),
        )  # fmt: skip


def _labelled(x_name: str, y_name: str, xs: tuple[Any, ...], ys: tuple[Any, ...]) -> dict[str, Labeled]:
    """Inputs with their labels, by what an error calls the inputs."""
    from tlbench.training import arrays

    if len(xs) != len(ys):
        raise ValueError(
            f"{x_name} is of {len(xs)} sources and {y_name} of {len(ys)}; a tuple is several, else it is one"
        )
    found = {}
    for i, (x, y) in enumerate(zip(xs, ys, strict=True)):
        place = f"[{i}]" if len(xs) > 1 else ""
        made = arrays.inputs(x, x_name + place)
        if not len(made):
            raise ValueError(f"{x_name}{place}: there is no input")
        found[x_name + place] = Labeled(made, arrays.labels(y, len(made), y_name + place))
    return found


def _inputs(parts: dict[str, Labeled]) -> dict[str, Tensor]:
    return {name: part.x for name, part in parts.items()}
