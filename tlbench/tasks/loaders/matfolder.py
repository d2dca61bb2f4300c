"""One .mat of features an image, in a folder a class: how Office-31's DeCAF features are published."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tlbench.data import Domain
from tlbench.errors import Mistake, suggest
from tlbench.tasks.loaders import parsed

VERSION = 1  # of the parsing: a change of the arrays bumps it


def load(folder: Path, name: str, classes: tuple[str, ...] = ()) -> Domain:
    """The features under `folder/<class>/*.mat`: float32 (n, d).

    Raises:
        Mistake: no such folder, a class is missing or empty, a file without one array of as many features as the rest.
    """
    if not folder.is_dir():
        raise Mistake(f"{folder}: no such folder; domain {name!r} should be there, one folder of .mat files a class")
    there = sorted(p.name for p in folder.iterdir() if p.is_dir())
    names = classes or tuple(there)
    for c in names:
        if c not in there:
            raise Mistake(f"{folder}: class {c!r} of domain {name!r} is missing{suggest(c, there)}")
    listed = [(f, y) for y, c in enumerate(names) for f in sorted((folder / c).glob("*.mat"))]
    y = np.array([label for _, label in listed], np.int64)
    parsed.every_class(y, names, folder)
    digests = [parsed.digest(f) for f, _ in listed]

    def parse() -> tuple[parsed.Array, ...]:
        rows = [_vector(f) for f, _ in listed]
        for (f, _), row in zip(listed, rows, strict=True):
            if len(row) != len(rows[0]):
                raise Mistake(f"{f}: holds {len(row)} features, {listed[0][0].name} holds {len(rows[0])}")
        return (np.stack(rows),)

    (x,) = parsed.arrays(f"matfolder-v{VERSION}", digests, 1, parse)
    ids = tuple(f"{name}/{f.parent.name}/{f.stem}" for f, _ in listed)
    return Domain(name, ids, y, names, parsed.hashes(x), x=x)


def _vector(file: Path) -> parsed.Array:
    from scipy.io import loadmat

    try:
        held = {k: v for k, v in loadmat(file).items() if not k.startswith("__")}
    except Exception as error:  # scipy raises a dozen kinds over a broken file
        raise Mistake(f"{file}: not a MATLAB file that can be read ({error}); get it again") from None
    arrays = [v.ravel() for v in held.values() if np.issubdtype(v.dtype, np.number) and v.size > 1]
    if len(arrays) != 1:
        raise Mistake(f"{file}: should hold one vector of features; holds {', '.join(held) or 'nothing'}")
    return np.asarray(arrays[0], np.float32)
