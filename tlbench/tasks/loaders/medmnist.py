"""MedMNIST v2 (Yang et al. 2023): medical images in one .npz a set, cut into train, val and test by the publisher."""

from __future__ import annotations

import io
from pathlib import Path
from zipfile import BadZipFile
from zlib import error as ZlibError

import numpy as np

from tlbench.data import Domain
from tlbench.errors import Mistake
from tlbench.tasks.loaders import parsed
from tlbench.tasks.loaders.parsed import Array

VERSION = 1  # of the parsing: a change of the arrays bumps it
PARTS = ("train", "val", "test")


def load(file: Path, name: str, classes: tuple[str, ...] = ()) -> Domain:
    """The images of one set, always with three channels.

    Grey images (n, s, s) are repeated over the channels, colour images (n, s, s, 3) keep theirs, and of a volume
    (n, s, s, s), as in NoduleMNIST3D, the three slices through its centre, each across one axis, are the channels.
    Images that occur twice stay.

    Returns:
        x uint8 (n, 3, s, s); the official test set is the part "test".

    Raises:
        Mistake: not a MedMNIST file, several labels an image, or labels other than `classes`.
    """

    def parse() -> tuple[Array, ...]:
        held = _held(file)
        x = [_channels(held[f"{p}_images"], f"{file}: {p}_images") for p in PARTS]
        y = [
            _labels(held[f"{p}_labels"], len(images), f"{file}: {p}_labels") for p, images in zip(PARTS, x, strict=True)
        ]
        return np.concatenate(x), np.concatenate(y), np.array([len(labels) for labels in y])

    x, y, counts = parsed.arrays(f"medmnist-v{VERSION}", [parsed.digest(file)], 3, parse)
    return parsed.domain(name, dict(zip(PARTS, counts.tolist(), strict=True)), x, y, classes, file)


def _held(file: Path) -> dict[str, Array]:
    needed = [f"{p}_{what}" for p in PARTS for what in ("images", "labels")]
    try:
        with np.load(io.BytesIO(parsed.read(file)), allow_pickle=False) as npz:
            missing = [key for key in needed if key not in npz.files]
            if missing:
                raise Mistake(f"{file}: needs an array {missing[0]!r}; has {', '.join(npz.files) or 'none'}")
            return {key: npz[key] for key in needed}
    except (OSError, ValueError, EOFError, RuntimeError, BadZipFile, ZlibError) as error:
        raise Mistake(f"{file}: not an .npz that can be read ({' '.join(str(error).split())}); get it again") from None


def _channels(x: Array, where: str) -> Array:
    """(n, 3, s, s) of grey images, colour images or volumes."""
    side = x.shape[1] if x.ndim > 1 else 0
    if x.dtype == np.uint8 and x.shape[1:] == (side, side):
        return np.repeat(x[:, None], 3, axis=1)
    if x.dtype == np.uint8 and x.shape[1:] == (side, side, 3):
        return x.transpose(0, 3, 1, 2)
    if x.dtype == np.uint8 and x.shape[1:] == (side, side, side):
        middle = side // 2
        return np.stack([x[:, middle], x[:, :, middle], x[:, :, :, middle]], axis=1)
    raise Mistake(f"{where}: is {x.dtype} {x.shape}; uint8 (n, s, s), (n, s, s, 3) or (n, s, s, s) is needed")


def _labels(y: Array, n: int, where: str) -> Array:
    if y.shape not in ((n,), (n, 1)) or y.dtype.kind not in "iu":
        raise Mistake(f"{where}: is {y.dtype} {y.shape}; one whole number an image, ({n},) or ({n}, 1), is needed")
    return y.reshape(n).astype(np.int64)
