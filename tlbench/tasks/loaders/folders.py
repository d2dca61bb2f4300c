"""Image folders: one folder a class. Office-31 (`amazon/images/mug/…`) and Office-Caltech (`amazon/mug/…`)."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from tlbench.data import IMAGE_SUFFIXES, Domain
from tlbench.errors import Mistake, suggest
from tlbench.tasks.file_formats import visible


def load(folder: Path, name: str, classes: tuple[str, ...] = ()) -> Domain:
    """The images under `folder/<class>/`, not yet decoded.

    Args:
        classes: the class folders that must be there, in order; () takes what is there

    Raises:
        Mistake: no such folder, a class is missing or empty, a folder that is no class or lies in one, no image at
            all, a name that no list of files can hold.
    """
    if not folder.is_dir():
        raise Mistake(f"{folder}: no such folder; domain {name!r} should be there, one folder a class")
    there = [p.name for p in visible(folder) if p.is_dir()]
    wanted = classes or tuple(there)
    if not wanted:
        raise Mistake(f"{folder}: domain {name!r} is empty; one folder of images a class should be there")
    for c in wanted:
        if c not in there:
            raise Mistake(f"{folder}: class {c!r} of domain {name!r} is missing{suggest(c, there)}")
    for c in there:
        if c not in wanted:
            raise Mistake(f"{folder / c}: no class of this task is called {c!r}{suggest(c, wanted)}")
    listed = [(_images(folder / c), c) for c in wanted]
    for images, c in listed:
        if not images:
            raise Mistake(f"{folder / c}: class {c!r} of domain {name!r} holds no image")
    paths = [f for images, _ in listed for f in images]
    y = np.repeat(np.arange(len(wanted)), [len(images) for images, _ in listed])
    with ThreadPoolExecutor() as pool:
        hashes = tuple(pool.map(lambda f: hashlib.sha256(f.read_bytes()).hexdigest(), paths))
    ids = tuple(f"{name}/{f.parent.name}/{f.name}" for f in paths)
    return Domain(name, ids, y.astype(np.int64), tuple(wanted), hashes, files=tuple(paths))


def _images(folder: Path) -> list[Path]:
    """The images of one class, in order."""
    inside = visible(folder)
    for f in inside:
        if f.is_dir():
            raise Mistake(f"{f}: a folder inside class {folder.name!r}; the images of a class lie in one folder")
        if "\n" in str(f) or not _is_text(str(f)):
            raise Mistake(f"{str(f)!r}: a name with a line break, or that is no UTF-8; rename it")
    return [f for f in inside if f.suffix.lower() in IMAGE_SUFFIXES]


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
