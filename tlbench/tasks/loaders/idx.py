"""Handwritten digits as their publishers packed them: MNIST's idx files and USPS's text.

MNIST: LeCun, Cortes and Burges, 60,000 + 10,000 images of 28x28. Fashion-MNIST and KMNIST come in the same files.
USPS: LeCun et al. 1990, in the text form of The Elements of Statistical Learning, 7,291 + 2,007 images of 16x16.
Both become uint8 (n, 1, 28, 28), ink bright on black, so that one task may hold both.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from tlbench.data import Domain
from tlbench.errors import UsageError
from tlbench.tasks.loaders import parse_cache
from tlbench.tasks.loaders.parse_cache import Array

VERSION = 1  # of the parsing: a change of the arrays bumps it
SIDE = 28  # pixels, of both


def load(folder: Path, name: str, classes: tuple[str, ...] = ()) -> Domain:
    """The images of `train-images-idx3-ubyte` and `t10k-images-idx3-ubyte` (.gz or not) with their labels.

    Returns:
        x uint8 (n, 1, h, w) as published; the t10k files are the official test set.

    Raises:
        UsageError: a file that is missing, broken or cut short, as many labels as images are not there, a wrong label.
    """
    kinds = ("images-idx3", "labels-idx1")
    files = [_found(folder, f"{part}-{kind}-ubyte") for part in ("train", "t10k") for kind in kinds]

    def parse() -> tuple[Array, ...]:
        images, labels = [_idx(f, 3) for f in files[::2]], [_idx(f, 1) for f in files[1::2]]
        for file, x, y in zip(files[1::2], images, labels, strict=True):
            if len(x) != len(y):
                raise UsageError(f"{file}: holds {len(y)} labels, there are {len(x)} images; get both again")
        return np.concatenate(images)[:, None], np.concatenate(labels), np.array([len(y) for y in labels])

    x, y, counts = parse_cache.arrays(f"idx-v{VERSION}", [parse_cache.digest(f) for f in files], 3, parse)
    return parse_cache.domain(name, {"train": int(counts[0]), "test": int(counts[1])}, x, y, classes, folder)


def usps(folder: Path, name: str, classes: tuple[str, ...] = ()) -> Domain:
    """The images of `zip.train.gz` and `zip.test.gz`: a line holds the digit, then 256 values in [-1, 1].

    The values become 0..255, rounded; Pillow's bilinear filter then enlarges 16x16 to 28x28.

    Returns:
        x uint8 (n, 1, 28, 28); zip.test.gz is the official test set.

    Raises:
        UsageError: a file that is missing, broken or cut short; file and line of what is no digit with 256 values.
    """
    files = [folder / "zip.train.gz", folder / "zip.test.gz"]

    def parse() -> tuple[Array, ...]:
        tables = [_digits(f) for f in files]
        levels = np.rint((np.concatenate([t[:, 1:] for t in tables]) + 1) * 127.5).astype(np.uint8)  # (n, 256)
        side = (SIDE, SIDE)
        images = [Image.fromarray(row.reshape(16, 16)).resize(side, Image.Resampling.BILINEAR) for row in levels]
        y = np.concatenate([t[:, 0] for t in tables]).astype(np.int64)
        return np.stack([np.asarray(i) for i in images])[:, None], y, np.array([len(t) for t in tables])

    x, y, counts = parse_cache.arrays(f"usps-v{VERSION}", [parse_cache.digest(f) for f in files], 3, parse)
    return parse_cache.domain(name, {"train": int(counts[0]), "test": int(counts[1])}, x, y, classes, folder)


def _found(folder: Path, stem: str) -> Path:
    return folder / stem if (folder / stem).is_file() else folder / f"{stem}.gz"


def _unpacked(file: Path) -> bytes:
    held = parse_cache.read(file)
    try:
        return gzip.decompress(held) if file.suffix == ".gz" else held
    except (OSError, EOFError, zlib.error) as error:
        raise UsageError(f"{file}: broken gzip ({error}); get it again") from None


def _idx(file: Path, rank: int) -> Array:
    """The array of unsigned bytes in an idx file: two zeros, 8, the rank, the shape, then the values."""
    held = _unpacked(file)
    start = 4 + 4 * rank
    if held[:4] != bytes([0, 0, 8, rank]) or len(held) < start:
        raise UsageError(f"{file}: begins with {held[:4].hex(' ')}; an idx file of bytes begins with 00 00 08 0{rank}")
    shape = struct.unpack(f">{rank}I", held[4:start])
    if len(held) - start != math.prod(shape):
        raise UsageError(f"{file}: holds {len(held) - start} values, its header says {math.prod(shape)}; get it again")
    return np.frombuffer(held, np.uint8, offset=start).reshape(shape)


def _digits(file: Path) -> Array:
    """(n, 257) label and values of each line."""
    rows = []
    for number, line in enumerate(_unpacked(file).splitlines(), 1):
        try:
            row = np.array(line.split(), dtype=np.float64)
        except ValueError:
            raise UsageError(f"{file}:{number}: not numbers alone; a digit and 256 values are needed") from None
        if len(row) != 257:
            raise UsageError(f"{file}:{number}: holds {len(row)} numbers; a digit and 256 values are needed")
        if row[0] not in range(10) or not (np.abs(row[1:]) <= 1).all():
            raise UsageError(f"{file}:{number}: needs a digit from 0 to 9, then values from -1 to 1")
        rows.append(row)
    if not rows:
        raise UsageError(f"{file}: holds no line; get it again")
    return np.stack(rows)
