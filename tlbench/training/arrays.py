"""Plain arrays as what a method is given: checked tensors, and a network above them.

`Train.of` and its like are built of these. An array is a numpy array, a tensor or a list; several of them are a tuple.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tlbench.training import networks

WIDTH = 256  # of the built-in bottleneck, as of a card's
IMAGES = "uint8 images (n, channels, height, width), square and of 4 pixels a side or more"


def several(given: Any) -> tuple[Any, ...]:
    """One array, several in a tuple, or None, as a tuple of arrays."""
    return given if isinstance(given, tuple) else () if given is None else (given,)


def inputs(given: Any, name: str) -> Tensor:
    """(n, *shape) inputs, copied: uint8 images as they are, all else as float32.

    Raises:
        ValueError: they are no array of numbers, or have no axis beside that of the samples.
    """
    x = tensor(given, name)
    if x.ndim < 2:
        raise ValueError(f"{name}: inputs are vectors (n, d) or images (n, channels, height, width), not {_shape(x)}")
    return x if x.dtype == torch.uint8 and x.ndim == 4 else _finite(x.float(), name)


def labels(given: Any, n: int, name: str) -> Tensor:
    """(n,) labels: int64 where they are classes, float32 where they are numbers; (n, C) int64 0 or 1 where a sample may
    show several classes.

    Raises:
        ValueError: there are not n of them, or one is below zero or no number.
    """
    y = tensor(given, name)
    if y.ndim == 2 and not y.is_floating_point():
        return _shown(y, n, name)
    if y.ndim != 1:
        raise ValueError(
            f"{name}: labels are one a sample, (n,), not {_shape(y)}; several sources are a tuple of arrays"
        )
    if len(y) != n:
        raise ValueError(f"{name}: {len(y)} labels for {n} inputs")
    if y.is_floating_point():
        return _finite(y.float(), name)
    if len(y) and int(y.min()) < 0:
        raise ValueError(f"{name}: label {int(y.min())} is below 0; classes are counted from 0")
    return y.long()


def _shown(y: Tensor, n: int, name: str) -> Tensor:
    if len(y) != n:
        raise ValueError(f"{name}: {len(y)} labels for {n} inputs")
    if len(y) and not bool(((y == 0) | (y == 1)).all()):
        raise ValueError(
            f"{name}: labels (n, C) say of each class whether a sample shows it, by 0 and 1 alone; several sources are "
            "a tuple of arrays"
        )
    return y.long()


def classes(said: int | None, ys: Sequence[Tensor], name: str, least: int = 2) -> int:
    """How many classes there are: as said, or one more than the largest label.

    Raises:
        ValueError: a label is beyond what was said, or there are fewer than `least` classes.
    """
    most = max((int(y.max()) for y in ys if y.numel()), default=-1)
    found = most + 1 if said is None else said
    if most >= found:
        raise ValueError(f"{name} is {found}, but there is a label {most}; labels are counted from 0")
    if found < least:
        raise ValueError(
            f"{name} is {found}: there must be {least} or more; say how many, if labels of some are missing"
        )
    return found


@dataclass(frozen=True)
class Aim:
    """What is to be told of a target's sample."""

    outputs: int  # its classes, or 1 where a number is predicted
    kind: torch.dtype  # of its labels
    regime: str


def aim(ys: Sequence[Tensor], n_classes: int | None) -> Aim:
    """What labels ask for.

    Raises:
        ValueError: labels are of two kinds or beyond `n_classes`, or there is nothing to count classes by.
    """
    if len({y.dtype for y in ys}) > 1:
        raise ValueError("some labels are integers and some are floats; integers are classes, floats are numbers")
    if not ys and n_classes is None:
        raise ValueError("n_classes: nothing says how many classes the target has; say it, or give shots")
    if ys and ys[0].is_floating_point():
        if n_classes not in (None, 1):
            raise ValueError(f"n_classes is {n_classes}, but the labels are floats: numbers, of no class")
        return Aim(1, torch.float32, "regression")
    if any(y.ndim == 2 for y in ys):
        return Aim(_columns(ys, n_classes, "n_classes"), torch.int64, "multilabel")
    return Aim(classes(n_classes, ys, "n_classes"), torch.int64, "classification")


def _columns(ys: Sequence[Tensor], said: int | None, name: str) -> int:
    """C of (n, C) labels.

    Raises:
        ValueError: not all have as many, or as many as was said.
    """
    widths = {y.shape[1] if y.ndim == 2 else 1 for y in ys}
    if len(widths) > 1 or said not in (None, *widths):
        there = " and ".join(map(str, sorted(widths)))
        raise ValueError(f"{name} is {said}: labels say of {there} classes whether a sample shows them")
    return widths.pop()


def of_others(said: int | tuple[int, ...] | None, ys: Sequence[Tensor]) -> tuple[int, ...]:
    """Of each source of another task its number of classes, 1 where its label is a number; () where none is said.

    Raises:
        ValueError: it was not said of each source, or a label is beyond it.
    """
    if said is None:
        return ()
    counts = said if isinstance(said, tuple) else (said,) * len(ys)
    if len(counts) != len(ys) or not ys:
        raise ValueError(f"source_classes is of {len(counts)} sources, and there are {len(ys)}")
    for k, y in zip(counts, ys, strict=True):
        if y.is_floating_point() and k != 1:
            raise ValueError(f"source_classes is {k}, but the labels are floats: of a source with numbers it is 1")
        if y.ndim == 2:
            _columns([y], k, "source_classes")
        elif not y.is_floating_point():
            classes(k, [y], "source_classes")
    return counts


def known(ys: Sequence[Tensor]) -> tuple[int, ...]:
    """Of each source the number of its classes.

    Raises:
        ValueError: labels are floats, or of one class.
    """
    if any(y.is_floating_point() for y in ys):
        raise ValueError("a source's labels are floats, where classes are wanted: integers from 0")
    return tuple(classes(None, [y], "a source's number of classes") for y in ys)


def corners(given: Any, x: Tensor) -> tuple[Tensor, Tensor]:
    """Of each image (m, 5) rows x1, y1, x2, y2, class -> (n, most) classes, -1 where there is none; (n, most, 4) boxes.

    Args:
        x: (n, channels, height, width)

    Raises:
        ValueError: there are not n of them, or one is no box within its image.
    """
    if x.ndim != 4:
        raise ValueError(f"images: they are (n, channels, height, width), not {_shape(x)}")
    n, (height, width) = len(x), x.shape[-2:]
    if len(given) != n:
        raise ValueError(f"boxes: of {len(given)} images, where there are {n}")
    rows = [tensor(b, f"boxes[{i}]").float() if len(b) else torch.zeros(0, 5) for i, b in enumerate(given)]
    most = max((len(b) for b in rows), default=0)
    y, boxes = torch.full((n, most), -1), torch.zeros(n, most, 4)
    for i, b in enumerate(rows):
        if b.ndim != 2 or b.shape[1] != 5:
            raise ValueError(f"boxes[{i}]: rows are x1, y1, x2, y2, class: (m, 5), not {_shape(b)}")
        (x1, y1, x2, y2), kind = b[:, :4].unbind(1), b[:, 4]
        inside = (x1 >= 0) & (x1 < x2) & (x2 <= width) & (y1 >= 0) & (y1 < y2) & (y2 <= height)
        if not bool(inside.all()):
            raise ValueError(f"boxes[{i}]: x1 < x2 and y1 < y2 must lie within the image, {width} x {height} pixels")
        y[i, : len(b)], boxes[i, : len(b)] = labels(kind.long(), len(b), f"boxes[{i}]"), b[:, :4]
    return y, boxes


def tensor(given: Any, name: str) -> Tensor:
    """A copy on the host, which shares nothing with what was given.

    Raises:
        ValueError: it is no array of numbers.
    """
    if isinstance(given, Tensor):
        return given.detach().cpu().clone()
    if isinstance(given, list | tuple) and given and isinstance(given[0], Tensor):
        given = [part.detach().cpu().numpy() for part in given]
    try:
        array = np.array(given)
    except ValueError:
        raise ValueError(f"{name}: its rows are not of one shape") from None
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{name}: an array of numbers is wanted, not of {array.dtype}")
    known = array if array.dtype in (np.bool_, np.uint8) else array.astype("f4" if array.dtype.kind == "f" else "i8")
    return torch.from_numpy(known)


def pooled(
    xt: Any, sources: dict[str, Tensor], few: dict[str, Tensor], sides: bool = True
) -> tuple[Tensor, list[Tensor]]:
    """The target's unlabelled inputs, none where xt is None; and all that a network is made for.

    These are the sources' and the target's, as in the harness; the shots where the target's are none.

    Args:
        sides: all inputs are of one shape; else images may differ in height and width

    Raises:
        ValueError: two parts differ in shape or in kind.
    """
    (first, like), *_ = named = [*sources.items(), *few.items()]
    pool = named[-1][1][:0] if xt is None else inputs(xt, "xt")
    fixed = slice(1, None if sides else 2)
    for name, x in [*named, ("xt", pool)]:
        if x.ndim != like.ndim or x.shape[fixed] != like.shape[fixed]:
            raise ValueError(f"{name}: {_shape(x)} does not go with that of {first}, {_shape(like)}")
        if x.dtype != like.dtype:
            raise ValueError(f"{name}: inputs are {x.dtype}, where those of {first} are {like.dtype}")
    return pool, [*sources.values(), *([pool] if len(pool) else few.values())]


def network(
    given: Any, shown: Sequence[Tensor], seed: int, pretrained: bool, maps: bool = False
) -> Callable[[], nn.Module]:
    """A maker of the network above `shown`, each time with the same initial weights.

    Args:
        given: a module, which stays as it is; a function that makes one, called under `seed`; None: the harness's own
        shown: (n, *shape) inputs, none of them empty; the statistics of vectors are theirs
        pretrained: it has learnt something before
        maps: it must give (b, width, h', w') maps, for a detector

    Raises:
        ValueError: it does not take such inputs, or gives no features.
    """
    if given is None:
        spec = _own(shown[0], maps)
        return lambda: networks.build(spec, shown, seed)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        made = copy.deepcopy(given) if isinstance(given, nn.Module) else given() if callable(given) else None
        if not isinstance(made, nn.Module):
            raise ValueError("backbone: an nn.Module is wanted, or a function without arguments that makes one")
        start = networks.of_module(made.float().cpu(), [x[:2] for x in shown], pretrained, maps)
    return lambda: copy.deepcopy(start)


def _own(x: Tensor, maps: bool) -> dict[str, Any]:
    """The harness's network for such inputs."""
    if maps and x.dtype == torch.uint8:
        return {"kind": "fieldnet", "augment": ()}
    if x.ndim == 2 and not maps:
        return {"kind": "bottleneck", "width": WIDTH, "scale": "standard"}
    if x.dtype == torch.uint8 and not maps and x.shape[2] == x.shape[3] >= 4:
        return {"kind": "convnet", "augment": ()}
    raise ValueError(f"backbone: the built-in ones take vectors (n, d) or {IMAGES}; for {_shape(x)} {x.dtype} give one")


def _finite(x: Tensor, name: str) -> Tensor:
    if not bool(torch.isfinite(x).all()):
        raise ValueError(f"{name}: holds a value that is no finite number")
    return x


def _shape(x: Tensor) -> str:
    return f"shape {tuple(x.shape)}"
