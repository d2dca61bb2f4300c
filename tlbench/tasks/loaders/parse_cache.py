"""What loaders of published files share: arrays parsed once, and samples named, labelled and hashed alike."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlbench import cache as cachedir
from tlbench.data import Domain
from tlbench.errors import UsageError

Array = NDArray[Any]


def read(file: Path) -> bytes:
    """The bytes of `file`.

    Raises:
        UsageError: it is missing or cannot be read.
    """
    try:
        return file.read_bytes()
    except FileNotFoundError:
        raise UsageError(f"{file}: no such file; get the data again, or correct the path") from None
    except OSError as error:
        raise UsageError(f"{file}: cannot be read ({error.strerror}); a file is needed here") from None


def arrays(kind: str, contents: Sequence[str], n: int, parse: Callable[[], tuple[Array, ...]]) -> tuple[Array, ...]:
    """The `n` arrays that `parse()` makes, memory-mapped; it is called only where they were not kept before.

    Args:
        kind: names the parsing, its version included
        contents: all that the arrays depend on: the SHA-256 of each file, and the settings
    """
    folder = cachedir.folder("parsed")
    key = f"{kind}-{hashlib.sha256(chr(31).join(contents).encode()).hexdigest()[:32]}"
    made = cache(parse)
    return tuple(cachedir.array(folder / f"{key}.{i}.npy", partial(_item, made, i)) for i in range(n))


def _item(made: Callable[[], tuple[Array, ...]], i: int) -> Array:
    return made()[i]


def digest(file: Path) -> str:
    """The SHA-256 of a file, hex. Raises UsageError where it cannot be read."""
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:
        return hashlib.sha256(read(file)).hexdigest()  # it says what is wrong


def domain(name: str, parts: dict[str, int], x: Array, labels: Array, classes: tuple[str, ...], where: Path) -> Domain:
    """The samples of `parts` one after another: named by their place in their part, hashed by their values.

    Args:
        parts: how many samples each part has, in order; "test" is the publisher's own test set
        labels: (n,) whole numbers from 0
        where: the file or folder to name when a label is wrong

    Raises:
        UsageError: a label that is no class, or a class without a sample.
    """
    ids = tuple(f"{name}/{part}/{i:05d}" for part, n in parts.items() for i in range(n))
    official = np.repeat([part == "test" for part in parts], list(parts.values()))
    names = classes or tuple(str(i) for i in range(len(np.unique(labels))))
    wrong = np.flatnonzero((labels < 0) | (labels >= len(names)))
    if len(wrong):
        label, at = int(labels[wrong[0]]), ids[wrong[0]]
        raise UsageError(
            f"{where}: sample {at} has the label {label}; the {len(names)} classes are 0 to {len(names) - 1}"
        )
    y = labels.astype(np.int64)
    every_class(y, names, where)
    return Domain(name, ids, y, names, hashes(x), x=x, official_test=official)


def every_class(y: NDArray[np.int64], classes: tuple[str, ...], where: Path) -> None:
    """Raises UsageError where a class has no sample: the names are then probably not this data's."""
    for c, n in zip(classes, np.bincount(y, minlength=len(classes)), strict=True):
        if not n:
            raise UsageError(f"{where}: no sample of class {c!r}; the classes named must be those of the data")


def hashes(x: Array) -> tuple[str, ...]:
    """The SHA-256 of each sample's values, hex."""
    return tuple(hashlib.sha256(sample.tobytes()).hexdigest() for sample in x)
