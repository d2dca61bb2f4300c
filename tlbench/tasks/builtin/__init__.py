"""The domains that need no download, by name: digits, letters, characters of many scripts, a clinical table.

The bytes depend on nothing but `VERSION` and the package data they are made of: randomness comes from SHA-256
(`digits.chance`), and every other step is integer arithmetic or IEEE's + - * /, which round alike everywhere
(sine, cosine, exponential and BLAS do not).
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from tlbench.data import Domain
from tlbench.errors import UsageError, suggest
from tlbench.tasks.builtin import digits, glyphs, wdbc
from tlbench.tasks.builtin.digits import Samples

VERSION = 1  # any change that moves a byte of a published domain bumps it

Held = tuple[NDArray[Any], NDArray[np.int64], NDArray[np.str_]]  # x, y, ids


@dataclass(frozen=True)
class _Origin:
    samples: Callable[[], Samples]
    classes: tuple[str, ...]
    packages: tuple[str, ...]  # whose data it is made of, or which decode it


_ORIGINS = {
    "handwritten": _Origin(digits.handwritten, digits.CLASSES, ("scikit-learn",)),
    "fonts": _Origin(glyphs.fonts, digits.CLASSES, ("matplotlib",)),
    "photos": _Origin(digits.photos, digits.CLASSES, ("scikit-learn", "pillow")),
    "letters": _Origin(glyphs.letters, glyphs.LETTERS, ("matplotlib",)),
    "scripts_base": _Origin(glyphs.base, glyphs.names(glyphs.BASE), ("matplotlib",)),
    "scripts_novel": _Origin(glyphs.novel, glyphs.names(glyphs.NOVEL), ("matplotlib",)),
    "wdbc_biased": _Origin(wdbc.biased, wdbc.CLASSES, ("scikit-learn",)),
    "wdbc": _Origin(wdbc.unbiased, wdbc.CLASSES, ("scikit-learn",)),
}


def names() -> tuple[str, ...]:
    """The domains that `load` knows."""
    return tuple(_ORIGINS)


def load(name: str, cache: Path | None = None) -> Domain:
    """The domain `name`, read from the folder `cache` when it is there, else drawn (and then kept there).

    Images, uint8 (n, 3, 20, 20):

    - handwritten: one half of scikit-learn's 8x8 digits (Alpaydin & Kaynak 1998), enlarged.
    - fonts: the digits of matplotlib's own fonts, turned, sheared, scaled and shifted at random.
    - photos: the other half, blended into photographs as in MNIST-M (Ganin & Lempitsky 2015).
    - letters: the capitals A to Z, printed as fonts are.

    Images, uint8 (n, 1, 28, 28), 20 a class:

    - scripts_base, scripts_novel: characters of four and of six scripts; none of one looks like one of the other.

    Measurements, float32 (n, 30):

    - wdbc_biased, wdbc: tumours (Street, Wolberg & Mangasarian 1993), typical ones and any (Huang et al. 2006).

    Raises UsageError on an unknown name.
    """
    if name not in _ORIGINS:
        raise UsageError(f"no embedded domain is called {name!r}{suggest(name, _ORIGINS)}")
    origin = _ORIGINS[name]
    made_of = "".join(f"-{package}-{version(package)}" for package in origin.packages)
    file = cache / f"embedded-{name}-v{VERSION}{made_of}.npz" if cache else None
    held = _kept(file) if file else None
    if held is None:
        held = _draw(origin.samples())
        if file:
            _keep(file, *held)
    x, y, ids = held
    hashes = tuple(sha256(sample.tobytes()).hexdigest() for sample in x)
    return Domain(name, tuple(ids.tolist()), y, origin.classes, hashes, x)


def _kept(file: Path) -> Held | None:
    """What an earlier load kept; None where there is nothing that can be read."""
    try:
        with np.load(file, allow_pickle=False) as kept:
            return kept["x"], kept["y"], kept["ids"]
    except (FileNotFoundError, BadZipFile, ValueError, EOFError, KeyError):
        return None


def _draw(samples: Samples) -> Held:
    ids, labels, inputs = zip(*samples, strict=True)
    return np.stack(inputs), np.array(labels, np.int64), np.array(ids)


def _keep(file: Path, x: NDArray[Any], y: NDArray[np.int64], ids: NDArray[np.str_]) -> None:
    """Writes apart and renames: no other process ever reads half of it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=file.parent) as folder:
        part = Path(folder) / file.name
        np.savez(part, x=x, y=y, ids=ids)
        os.replace(part, file)
