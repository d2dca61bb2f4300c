"""Images named in list files, "path label" a line: VisDA-2017 (image_list.txt) and DomainNet (clipart_train.txt)."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from tlbench.data import Domain
from tlbench.errors import Mistake
from tlbench.tasks.datasets.manifest import is_safe
from tlbench.tasks.loaders import parsed


def load(images: Path, train: Path, test: Path | None, name: str, classes: tuple[str, ...] = ()) -> Domain:
    """The images listed in `train`, and in `test` as the publisher's own test set; not yet decoded.

    Args:
        images: the folder that the listed paths start from
        classes: in label order; () takes each image's folder as the name of its label

    Raises:
        Mistake: file and line of what is no path and label, is listed twice, is not there, or lies in the folder of
            another class than its label's.
    """
    listed: dict[str, int] = {}  # path below images -> label
    counts = []
    for file in filter(None, (train, test)):
        before = len(listed)
        for number, path, label in _entries(file):
            where = f"{file}:{number}"
            if path in listed:
                raise Mistake(f"{where}: {path!r} is listed before; an image is listed once")
            if not (images / path).is_file():
                raise Mistake(f"{where}: there is no {images / path}; get the data again, or correct the list")
            if classes and label >= len(classes):
                raise Mistake(f"{where}: label {label}; the {len(classes)} classes are 0 to {len(classes) - 1}")
            folder = Path(path).parent.name
            if folder in classes and folder != classes[label]:
                raise Mistake(f"{where}: label {label} is class {classes[label]!r}, the image lies in {folder!r}")
            listed[path] = label
        counts.append(len(listed) - before)
    if not listed:
        raise Mistake(f"{train}: lists no image; lines '<path> <label>' are needed")
    y = np.array([*listed.values()], np.int64)
    names = classes or _folders(listed, train)
    parsed.every_class(y, names, train)
    files = tuple(images / path for path in listed)
    with ThreadPoolExecutor() as pool:
        hashes = tuple(pool.map(lambda f: hashlib.sha256(parsed.read(f)).hexdigest(), files))
    official = np.repeat([False, True], counts) if test is not None else None
    return Domain(name, tuple(f"{name}/{p}" for p in listed), y, names, hashes, files=files, official_test=official)


def _entries(file: Path) -> list[tuple[int, str, int]]:
    """Line, path and label of each entry; a path may hold blanks."""
    entries = []
    for number, line in enumerate(parsed.read(file).decode("utf-8", "replace").split("\n"), 1):
        if line.strip():
            pair = line.rsplit(maxsplit=1)
            if len(pair) != 2 or not pair[1].isdecimal() or not is_safe(pair[0].strip()):
                raise Mistake(f"{file}:{number}: {line[:80]!r} should be '<path below the images> <label>'")
            entries.append((number, pair[0].strip(), int(pair[1])))
    return entries


def _folders(listed: dict[str, int], train: Path) -> tuple[str, ...]:
    """The name of each label: the folder that its images lie in."""
    found: dict[int, str] = {}
    for path, label in listed.items():
        folder = Path(path).parent.name
        if found.setdefault(label, folder) != folder:
            both = f"{found[label]!r} and {folder!r}"
            raise Mistake(f"{train}: images of label {label} lie in {both}; name the classes in label order")
    if max(found) >= len(found):
        raise Mistake(f"{train}: has {len(found)} labels up to {max(found)}; labels are numbers from 0, none left out")
    return tuple(found[i] for i in range(len(found)))
