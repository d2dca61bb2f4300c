"""Feature tables: MATLAB's .mat (`fts` or `feas`, `labels`) and svmlight text.

One .mat of features an image, in a folder a class: how Office-31's DeCAF features are published.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlbench import cache
from tlbench.data import Domain
from tlbench.errors import UsageError, suggest
from tlbench.tasks.loaders import parse_cache

Array = NDArray[Any]
VERSION = 1  # of the parsing: a change of the arrays bumps it
FEATURES, LABELS = ("fts", "feas", "X", "x"), ("labels", "label", "Y", "y")


def load(file: Path, test: Path | None, name: str, kind: str, classes: tuple[str, ...]) -> Domain:
    """The samples of `file`, and of `test` as the publisher's own test set. Parsed once, memory-mapped after.

    Raises:
        UsageError: a file that does not hold what its kind should, or another number of classes than the card says.
    """
    parts = [_parsed(f, kind) for f in (file, test) if f is not None]
    x = parts[0][0] if len(parts) == 1 else _joined([p[0] for p in parts], file, kind)
    labels = np.concatenate([p[1] for p in parts])
    values, y = np.unique(labels, return_inverse=True)
    names = classes or tuple(f"{v:g}" for v in values)
    if len(names) != len(values):
        raise UsageError(f"{file}: holds {len(values)} classes, the card names {len(names)}")
    counts = [len(p[1]) for p in parts]
    ids = tuple(f"{name}/{part}/{i:05d}" for part, n in zip(("train", "test"), counts, strict=False) for i in range(n))
    official = np.repeat([False, True], counts) if test is not None else None
    hashes = tuple(hashlib.sha256(row.tobytes()).hexdigest() for row in x)
    return Domain(name, ids, y.astype(np.int64), names, hashes, x=x, official_test=official)


def _parsed(file: Path, kind: str) -> tuple[Array, Array]:
    """(n, d) features and (n,) labels, from the cache when the file was parsed before."""
    key = f"v{VERSION}-{kind}-{hashlib.sha256(file.read_bytes()).hexdigest()[:32]}"
    made: list[tuple[Array, Array]] = []

    def parse() -> tuple[Array, Array]:
        if not made:
            made.append((_mat if kind == "mat" else _svmlight)(file))
        return made[0]

    folder = cache.folder("tables")
    return (
        cache.array(folder / f"{key}.x.npy", lambda: parse()[0]),
        cache.array(folder / f"{key}.y.npy", lambda: parse()[1]),
    )


def _joined(tables: list[Array], file: Path, kind: str) -> Array:
    """Tables below each other, the narrower ones widened with zeros, as one memory-mapped array."""
    width = max(t.shape[1] for t in tables)
    key = f"v{VERSION}-" + hashlib.sha256("\x1f".join(_key(t) for t in tables).encode()).hexdigest()[:32]

    def make() -> Array:
        return np.concatenate([np.pad(t, ((0, 0), (0, width - t.shape[1]))) for t in tables])

    return cache.array(cache.folder("tables") / f"{key}.joined.npy", make)


def _key(table: Array) -> str:
    return str(getattr(table, "filename", None) or hashlib.sha256(table.tobytes()).hexdigest())


def _mat(file: Path) -> tuple[Array, Array]:
    from scipy.io import loadmat  # slow to import, and only needed the first time

    try:
        held = loadmat(file)
    except Exception as error:  # scipy raises a dozen kinds over a broken file
        raise UsageError(f"{file}: not a MATLAB file that can be read ({error}); get it again") from None
    x = next((held[k] for k in FEATURES if k in held), None)
    y = next((held[k] for k in LABELS if k in held), None)
    if x is None or y is None:
        there = ", ".join(k for k in held if not k.startswith("__"))
        raise UsageError(
            f"{file}: needs features under one of {FEATURES} and labels under one of {LABELS}; has {there}"
        )
    return _compact(np.asarray(x), file), y.ravel().astype(np.float64)


def _svmlight(file: Path) -> tuple[Array, Array]:
    from sklearn.datasets import load_svmlight_file

    try:
        x, y = load_svmlight_file(str(file), zero_based=True)
    except ValueError as error:
        raise UsageError(f"{file}: not svmlight text ({error}); get it again") from None
    return _compact(x.toarray(), file), np.asarray(y, dtype=np.float64)


def _compact(x: Array, file: Path) -> Array:
    """uint8 where that loses nothing (counts), float32 otherwise.

    Raises:
        UsageError: a value that is no finite number.
    """
    if x.ndim != 2 or not len(x):
        raise UsageError(f"{file}: features have shape {x.shape}; a table of samples by features is needed")
    if not np.isfinite(x).all():
        raise UsageError(
            f"{file}: row {int(np.flatnonzero(~np.isfinite(x).all(1))[0])} holds a value that is not finite"
        )
    whole = x.min() >= 0 and x.max() <= 255 and bool((x == np.floor(x)).all())
    return x.astype(np.uint8 if whole else np.float32)


MATFOLDER_VERSION = 1  # of the parsing: a change of the arrays bumps it


def matfolder(folder: Path, name: str, classes: tuple[str, ...] = ()) -> Domain:
    """The features under `folder/<class>/*.mat`: float32 (n, d).

    Raises:
        UsageError: no such folder, a class is missing or empty, a file without one array of as many features as the
            rest.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder; domain {name!r} should be there, one folder of .mat files a class")
    there = sorted(p.name for p in folder.iterdir() if p.is_dir())
    names = classes or tuple(there)
    for c in names:
        if c not in there:
            raise UsageError(f"{folder}: class {c!r} of domain {name!r} is missing{suggest(c, there)}")
    listed = [(f, y) for y, c in enumerate(names) for f in sorted((folder / c).glob("*.mat"))]
    y = np.array([label for _, label in listed], np.int64)
    parse_cache.every_class(y, names, folder)
    digests = [parse_cache.digest(f) for f, _ in listed]

    def parse() -> tuple[parse_cache.Array, ...]:
        rows = [_vector(f) for f, _ in listed]
        for (f, _), row in zip(listed, rows, strict=True):
            if len(row) != len(rows[0]):
                raise UsageError(f"{f}: holds {len(row)} features, {listed[0][0].name} holds {len(rows[0])}")
        return (np.stack(rows),)

    (x,) = parse_cache.arrays(f"matfolder-v{MATFOLDER_VERSION}", digests, 1, parse)
    ids = tuple(f"{name}/{f.parent.name}/{f.stem}" for f, _ in listed)
    return Domain(name, ids, y, names, parse_cache.hashes(x), x=x)


def _vector(file: Path) -> parse_cache.Array:
    from scipy.io import loadmat

    try:
        held = {k: v for k, v in loadmat(file).items() if not k.startswith("__")}
    except Exception as error:  # scipy raises a dozen kinds over a broken file
        raise UsageError(f"{file}: not a MATLAB file that can be read ({error}); get it again") from None
    arrays = [v.ravel() for v in held.values() if np.issubdtype(v.dtype, np.number) and v.size > 1]
    if len(arrays) != 1:
        raise UsageError(f"{file}: should hold one vector of features; holds {', '.join(held) or 'nothing'}")
    return np.asarray(arrays[0], np.float32)
