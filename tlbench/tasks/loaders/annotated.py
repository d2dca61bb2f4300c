"""Photographs whose labels and official split lie in annotation files: CUB-200-2011 and FGVC-Aircraft."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from tlbench.data import Domain
from tlbench.errors import Mistake, suggest
from tlbench.tasks.datasets.manifest import is_safe
from tlbench.tasks.loaders import parsed

CUB_FILES = ("images.txt", "image_class_labels.txt", "train_test_split.txt")


def cub(folder: Path, name: str, classes: tuple[str, ...] = ()) -> Domain:
    """CUB-200-2011 as published (Wah et al. 2011): `images/<class>/<file>`, and files that number images and classes.

    Args:
        folder: it holds `images/`, `classes.txt` and what `CUB_FILES` names
        classes: those that must be there, in order; () takes those of `classes.txt`

    Raises:
        Mistake: a file is missing or says something else than its fellows; file and line where there is one.
    """
    paths, labels, training = (_pairs(folder / file) for file in CUB_FILES)
    names = _pairs(folder / "classes.txt")
    for file, other in zip(CUB_FILES[1:], (labels, training), strict=True):
        if lost := next((i for i in paths if i not in other), None):
            raise Mistake(f"{folder / file}: says nothing of image {lost}; get the data again")
    if unknown := next((label for label in labels.values() if label not in names), None):
        raise Mistake(f"{folder / 'classes.txt'}: has no class {unknown}; get the data again")
    if odd := next((t for t in training.values() if t not in ("0", "1")), None):
        raise Mistake(f"{folder / CUB_FILES[2]}: says {odd!r} of an image; 1 is training, 0 test; get the data again")
    told = {paths[i]: names[labels[i]] for i in paths}
    tested = {paths[i] for i in paths if training[i] == "0"}
    return _domain(folder / "images", name, told, tested, classes or tuple(names.values()), folder / CUB_FILES[0])


def aircraft(images: Path, train: Path, test: Path, name: str, classes: tuple[str, ...] = ()) -> Domain:
    """FGVC-Aircraft as published (Maji et al. 2013): `<number>.jpg`, and lists of number and variant.

    The copyright line of 20 pixels at the foot of each photograph is left on.

    Args:
        images: the folder of the photographs
        train, test: `images_variant_trainval.txt` and `images_variant_test.txt`
        classes: those that must be there, in order; () takes those listed, sorted

    Raises:
        Mistake: file and line of what is no number and variant; what is missing, listed twice or of no class.
    """
    taught, tested = ({f"{i}.jpg": variant for i, variant in _pairs(file).items()} for file in (train, test))
    if twice := next((path for path in tested if path in taught), None):
        raise Mistake(f"{test}: {twice} is in {train.name} too; an image is for training or for testing")
    told = taught | tested
    return _domain(images, name, told, set(tested), classes or tuple(sorted(set(told.values()))), train)


def _pairs(file: Path) -> dict[str, str]:
    """The lines of a file of '<number> <text>'; the text may hold blanks."""
    found: dict[str, str] = {}
    for number, line in enumerate(parsed.read(file).decode("utf-8", "replace").splitlines(), 1):
        pair = line.split(maxsplit=1)
        if pair and (len(pair) != 2 or not pair[0].isdecimal()):
            raise Mistake(f"{file}:{number}: {line[:80]!r} should be '<number> <text>'")
        if pair and pair[0] in found:
            raise Mistake(f"{file}:{number}: {pair[0]} is listed before; once is enough")
        found |= {pair[0]: pair[1].strip()} if pair else {}
    if not found:
        raise Mistake(f"{file}: lists nothing; get the data again")
    return found


def _domain(
    images: Path, name: str, told: dict[str, str], tested: set[str], classes: tuple[str, ...], where: Path
) -> Domain:
    """The images of `told`, path below `images` -> class, not yet decoded; `tested` is the publisher's test set."""
    for path, c in told.items():
        if c not in classes:
            raise Mistake(f"{where}: {path} is of class {c!r}, which this task has not{suggest(c, classes)}")
        if not is_safe(path) or not (images / path).is_file():
            raise Mistake(f"{where}: there is no {images / path}; get the data again")
    index = {c: i for i, c in enumerate(classes)}
    y = np.array([index[c] for c in told.values()], np.int64)
    parsed.every_class(y, classes, where)
    files = tuple(images / path for path in told)
    with ThreadPoolExecutor() as pool:
        hashes = tuple(pool.map(lambda f: hashlib.sha256(parsed.read(f)).hexdigest(), files))
    official = np.array([path in tested for path in told])
    return Domain(name, tuple(f"{name}/{p}" for p in told), y, classes, hashes, files=files, official_test=official)
