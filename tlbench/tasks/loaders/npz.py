"""Arrays: `.npz` with x and y, a folder with x.npy and y.npy, which may be larger than memory, and MedMNIST's sets.

MedMNIST v2 (Yang et al. 2023): medical images in one .npz a set, cut into train, val and test by the publisher.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any
from zipfile import BadZipFile
from zlib import error as ZlibError

import numpy as np
from numpy.typing import NDArray

from tlbench.data import Domain
from tlbench.errors import UsageError
from tlbench.tasks.loaders import parse_cache
from tlbench.tasks.loaders.parse_cache import Array
from tlbench.tasks.loaders.tabular import ordered
from tlbench.tasks.own import pixels

VERSION = 1  # of the parsing: a change of the arrays bumps it
CLASSES = ("classes", "names")  # either may hold the names of the classes
BROKEN = (OSError, ValueError, EOFError, RuntimeError, BadZipFile, ZlibError)
PIECE = 1 << 24  # bytes read at once


def load(file: Path, name: str, classes: tuple[str, ...] = (), number: bool = False) -> Domain:
    """The samples of an .npz: x (n, ...) and y (n,), whole numbers or names; `classes` names the numbers from 0.

    Args:
        classes: what y must hold, in order; () takes what the file says, or what is there
        number: y is a number to predict, not a class

    Returns:
        x uint8 or float32; images, uint8 (n, h, w), (n, c, h, w) or (n, h, w, c), are (n, c, h, w)

    Raises:
        UsageError: no such file or array; which array has a wrong shape, type, value or label.
    """

    def parse() -> tuple[Array, ...]:
        held = _held(file)
        named = next((held[key] for key in CLASSES if key in held), np.array([], "U1"))
        return _compact(held["x"], f"{file}: x"), held["y"], named.astype(str)

    x, y, named = parse_cache.arrays(f"npz-v{VERSION}", [parse_cache.digest(file)], 3, parse)
    return _domain(name, x, y, parse_cache.hashes(x), classes or tuple(named.tolist()), number, str(file))


def folder(place: Path, name: str, classes: tuple[str, ...] = (), number: bool = False) -> Domain:
    """The samples of x.npy (n, ...) and y.npy (n,), as in an .npz; x stays on the disk.

    It is not changed, so it must be as methods take it: uint8 or float32, row by row, images with channels first.

    Raises:
        UsageError: a file is missing or no such array.
    """
    x, y = (_mapped(place / file) for file in ("x.npy", "y.npy"))
    where = str(place / "x.npy")
    if x.dtype not in (np.uint8, np.float32) or not x.dtype.isnative or not x.flags.c_contiguous:
        order = "row" if x.flags.c_contiguous else "column"
        raise UsageError(
            f"{where}: is {x.dtype}, {order} by {order}; save it as uint8 or float32 in C order, as it is used"
        )
    sides = pixels(x.dtype, x.shape)
    if sides and x.ndim == 4 and x.shape[2:] != sides:
        raise UsageError(f"{where}: has shape {x.shape}; it is used as it is, so save the channels first: (n, c, h, w)")
    _check(x, where)
    stat = (place / "x.npy").stat()
    seen = [str((place / "x.npy").resolve()), str(stat.st_size), str(stat.st_mtime_ns)]
    (hashes,) = parse_cache.arrays(f"npy-v{VERSION}", seen, 1, lambda: (_hashes(place / "x.npy", x),))
    pictures = x[:, None] if sides and x.ndim == 3 else x
    return _domain(name, pictures, y, tuple(hashes.astype(str).tolist()), classes, number, str(place))


def _held(file: Path) -> dict[str, Array]:
    try:
        with np.load(io.BytesIO(parse_cache.read(file)), allow_pickle=False) as held:
            for key in ("x", "y"):
                if key not in held.files:
                    raise UsageError(f"{file}: needs an array {key!r}; has {', '.join(held.files) or 'none'}")
            return {key: held[key] for key in ("x", "y", *CLASSES) if key in held.files}
    except BROKEN as error:
        raise UsageError(f"{file}: not an .npz that can be read ({_said(error)})") from None


def _mapped(file: Path) -> Array:
    try:
        mapped: Array = np.load(file, mmap_mode="r", allow_pickle=False)
        return mapped
    except BROKEN as error:
        raise UsageError(f"{file}: not an .npy that can be read ({_said(error)})") from None


def _said(error: Exception) -> str:
    if "allow_pickle" in str(error) or "Python objects" in str(error):
        return "it holds Python objects; save numbers, or texts as np.array(names, dtype=str)"
    return " ".join(str(error).split())


def _compact(x: Array, where: str) -> Array:
    """uint8 as it is, channels first; other numbers as float32."""
    if x.dtype.kind not in "buif":
        raise UsageError(f"{where}: is {x.dtype}; numbers are needed")
    _check(x, where)
    if x.dtype != np.uint8:
        with np.errstate(over="ignore"):  # what overflows is named below
            x = x.astype(np.float32)
        _finite(x, 0, where)
        return x
    sides = pixels(x.dtype, x.shape)
    if sides and x.ndim == 3:
        return x[:, None]
    return x.transpose(0, 3, 1, 2) if sides and x.shape[2:] != sides else x


def _check(x: Array, where: str) -> None:
    if x.ndim < 2 or not x.size:
        raise UsageError(
            f"{where}: has shape {x.shape}; samples by features are needed, or by channels, height and width"
        )


def _finite(x: Array, first: int, where: str) -> None:
    bad = np.flatnonzero(~np.isfinite(x.reshape(len(x), -1)).all(1))
    if len(bad):
        raise UsageError(f"{where}: sample {first + int(bad[0])} holds a value that is no finite float32; correct it")


def _hashes(file: Path, x: Array) -> Array:
    """(n,) SHA-256 of each sample, hex; read in pieces, and not through the map, whose pages would count as memory."""
    size = x.dtype.itemsize * int(np.prod(x.shape[1:]))
    many = max(1, PIECE // size)
    found: list[str] = []
    with file.open("rb") as stream:
        stream.seek(file.stat().st_size - size * len(x))
        for first in range(0, len(x), many):
            piece = np.frombuffer(stream.read(size * min(many, len(x) - first)), x.dtype).reshape(-1, *x.shape[1:])
            if x.dtype != np.uint8:
                _finite(piece, first, str(file))
            found += parse_cache.hashes(piece)
    return np.array(found, "S64")


def _domain(
    name: str, x: Array, y: Array, hashes: tuple[str, ...], classes: tuple[str, ...], number: bool, where: str
) -> Domain:
    if y.shape not in ((len(x),), (len(x), 1)):
        raise UsageError(f"{where}: y has shape {y.shape}, x {x.shape}; one label a sample, ({len(x)},), is needed")
    ids = tuple(f"{name}/{i:06d}" for i in range(len(x)))
    if number:
        return Domain(name, ids, _numbers(y.reshape(-1), where), (), hashes, x=x)
    labels, names = _classes(y.reshape(-1), classes, where)
    parse_cache.every_class(labels, names, Path(where))
    return Domain(name, ids, labels, names, hashes, x=x)


def _numbers(y: Array, where: str) -> NDArray[np.float32]:
    if y.dtype.kind not in "uif" or not np.isfinite(y).all():
        raise UsageError(f"{where}: y is {y.dtype}; finite numbers are needed where regime = 'regression'")
    return y.astype(np.float32)


def _classes(y: Array, classes: tuple[str, ...], where: str) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """(n,) indices, and the names they stand for."""
    if y.dtype.kind == "f" and np.isfinite(y).all() and (y == np.floor(y)).all():
        y = y.astype(np.int64)
    if y.dtype.kind not in "buiUS":
        raise UsageError(
            f"{where}: y is {y.dtype}; whole numbers or texts are needed, or regime = 'regression' in the card"
        )
    if y.dtype.kind in "bui" and classes:
        return _of_numbers(y.astype(np.int64), classes, where), classes
    labels: list[Any] = (np.char.decode(y, "utf-8") if y.dtype.kind == "S" else y.astype(str)).tolist()
    names = classes or ordered(labels)
    index = {c: i for i, c in enumerate(names)}
    for i, c in enumerate(labels):
        if c not in index:
            raise UsageError(f"{where}: y of sample {i} is {c!r}; the classes are {', '.join(names[:8])}")
    return np.array([index[c] for c in labels], np.int64), names


def _of_numbers(y: NDArray[np.int64], classes: tuple[str, ...], where: str) -> NDArray[np.int64]:
    wrong = np.flatnonzero((y < 0) | (y >= len(classes)))
    if len(wrong):
        said = f"y of sample {wrong[0]} is {y[wrong[0]]}"
        raise UsageError(f"{where}: {said}; the {len(classes)} classes are 0 to {len(classes) - 1}")
    return y


MEDMNIST_VERSION = 1  # of the parsing: a change of the arrays bumps it
PARTS = ("train", "val", "test")


def medmnist(file: Path, name: str, classes: tuple[str, ...] = ()) -> Domain:
    """The images of one set, always with three channels.

    Grey images (n, s, s) are repeated over the channels, colour images (n, s, s, 3) keep theirs, and of a volume
    (n, s, s, s), as in NoduleMNIST3D, the three slices through its centre, each across one axis, are the channels.
    Images that occur twice stay.

    Returns:
        x uint8 (n, 3, s, s); the official test set is the part "test".

    Raises:
        UsageError: not a MedMNIST file, several labels an image, or labels other than `classes`.
    """

    def parse() -> tuple[Array, ...]:
        held = _medmnist_held(file)
        x = [_channels(held[f"{p}_images"], f"{file}: {p}_images") for p in PARTS]
        y = [
            _labels(held[f"{p}_labels"], len(images), f"{file}: {p}_labels") for p, images in zip(PARTS, x, strict=True)
        ]
        return np.concatenate(x), np.concatenate(y), np.array([len(labels) for labels in y])

    x, y, counts = parse_cache.arrays(f"medmnist-v{MEDMNIST_VERSION}", [parse_cache.digest(file)], 3, parse)
    return parse_cache.domain(name, dict(zip(PARTS, counts.tolist(), strict=True)), x, y, classes, file)


def _medmnist_held(file: Path) -> dict[str, Array]:
    needed = [f"{p}_{what}" for p in PARTS for what in ("images", "labels")]
    try:
        with np.load(io.BytesIO(parse_cache.read(file)), allow_pickle=False) as npz:
            missing = [key for key in needed if key not in npz.files]
            if missing:
                raise UsageError(f"{file}: needs an array {missing[0]!r}; has {', '.join(npz.files) or 'none'}")
            return {key: npz[key] for key in needed}
    except (OSError, ValueError, EOFError, RuntimeError, BadZipFile, ZlibError) as error:
        raise UsageError(
            f"{file}: not an .npz that can be read ({' '.join(str(error).split())}); get it again"
        ) from None


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
    raise UsageError(f"{where}: is {x.dtype} {x.shape}; uint8 (n, s, s), (n, s, s, 3) or (n, s, s, s) is needed")


def _labels(y: Array, n: int, where: str) -> Array:
    if y.shape not in ((n,), (n, 1)) or y.dtype.kind not in "iu":
        raise UsageError(f"{where}: is {y.dtype} {y.shape}; one whole number an image, ({n},) or ({n}, 1), is needed")
    return y.reshape(n).astype(np.int64)
