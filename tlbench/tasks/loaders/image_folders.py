"""Image files with labels: one folder a class, list files, annotation files.

Folders: Office-31 (`amazon/images/mug/…`) and Office-Caltech (`amazon/mug/…`). Lists of "path label" a line: VisDA-2017
(image_list.txt) and DomainNet (clipart_train.txt). Annotation files with the official split: CUB-200-2011 and
FGVC-Aircraft.
"""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from tlbench.data import IMAGE_SUFFIXES, Domain
from tlbench.errors import UsageError, suggest
from tlbench.tasks.datasets.digests import is_safe
from tlbench.tasks.loaders import parse_cache
from tlbench.tasks.own import visible


def folder(folder: Path, name: str, classes: tuple[str, ...] = ()) -> Domain:
    """The images under `folder/<class>/`, not yet decoded.

    Args:
        classes: the class folders that must be there, in order; () takes what is there

    Raises:
        UsageError: no such folder, a class is missing or empty, a folder that is no class or lies in one, no image at
            all, a name that no list of files can hold.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder; domain {name!r} should be there, one folder a class")
    there = [p.name for p in visible(folder) if p.is_dir()]
    wanted = classes or tuple(there)
    if not wanted:
        raise UsageError(f"{folder}: domain {name!r} is empty; one folder of images a class should be there")
    for c in wanted:
        if c not in there:
            raise UsageError(f"{folder}: class {c!r} of domain {name!r} is missing{suggest(c, there)}")
    for c in there:
        if c not in wanted:
            raise UsageError(f"{folder / c}: no class of this task is called {c!r}{suggest(c, wanted)}")
    listed = [(_images(folder / c), c) for c in wanted]
    for images, c in listed:
        if not images:
            raise UsageError(f"{folder / c}: class {c!r} of domain {name!r} holds no image")
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
            raise UsageError(f"{f}: a folder inside class {folder.name!r}; the images of a class lie in one folder")
        if "\n" in str(f) or not _is_text(str(f)):
            raise UsageError(f"{str(f)!r}: a name with a line break, or that is no UTF-8; rename it")
    return [f for f in inside if f.suffix.lower() in IMAGE_SUFFIXES]


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def listed(images: Path, train: Path, test: Path | None, name: str, classes: tuple[str, ...] = ()) -> Domain:
    """The images listed in `train`, and in `test` as the publisher's own test set; not yet decoded.

    Args:
        images: the folder that the listed paths start from
        classes: in label order; () takes each image's folder as the name of its label

    Raises:
        UsageError: file and line of what is no path and label, is listed twice, is not there, or lies in the folder of
            another class than its label's.
    """
    listed: dict[str, int] = {}  # path below images -> label
    counts = []
    for file in filter(None, (train, test)):
        before = len(listed)
        for number, path, label in _entries(file):
            where = f"{file}:{number}"
            if path in listed:
                raise UsageError(f"{where}: {path!r} is listed before; an image is listed once")
            if not (images / path).is_file():
                raise UsageError(f"{where}: there is no {images / path}; get the data again, or correct the list")
            if classes and label >= len(classes):
                raise UsageError(f"{where}: label {label}; the {len(classes)} classes are 0 to {len(classes) - 1}")
            folder = Path(path).parent.name
            if folder in classes and folder != classes[label]:
                raise UsageError(f"{where}: label {label} is class {classes[label]!r}, the image lies in {folder!r}")
            listed[path] = label
        counts.append(len(listed) - before)
    if not listed:
        raise UsageError(f"{train}: lists no image; lines '<path> <label>' are needed")
    y = np.array([*listed.values()], np.int64)
    names = classes or _folders(listed, train)
    parse_cache.every_class(y, names, train)
    files = tuple(images / path for path in listed)
    with ThreadPoolExecutor() as pool:
        hashes = tuple(pool.map(lambda f: hashlib.sha256(parse_cache.read(f)).hexdigest(), files))
    official = np.repeat([False, True], counts) if test is not None else None
    return Domain(name, tuple(f"{name}/{p}" for p in listed), y, names, hashes, files=files, official_test=official)


def _entries(file: Path) -> list[tuple[int, str, int]]:
    """Line, path and label of each entry; a path may hold blanks."""
    entries = []
    for number, line in enumerate(parse_cache.read(file).decode("utf-8", "replace").split("\n"), 1):
        if line.strip():
            pair = line.rsplit(maxsplit=1)
            if len(pair) != 2 or not pair[1].isdecimal() or not is_safe(pair[0].strip()):
                raise UsageError(f"{file}:{number}: {line[:80]!r} should be '<path below the images> <label>'")
            entries.append((number, pair[0].strip(), int(pair[1])))
    return entries


def _folders(listed: dict[str, int], train: Path) -> tuple[str, ...]:
    """The name of each label: the folder that its images lie in."""
    found: dict[int, str] = {}
    for path, label in listed.items():
        folder = Path(path).parent.name
        if found.setdefault(label, folder) != folder:
            both = f"{found[label]!r} and {folder!r}"
            raise UsageError(f"{train}: images of label {label} lie in {both}; name the classes in label order")
    if max(found) >= len(found):
        raise UsageError(
            f"{train}: has {len(found)} labels up to {max(found)}; labels are numbers from 0, none left out"
        )
    return tuple(found[i] for i in range(len(found)))


CUB_FILES = ("images.txt", "image_class_labels.txt", "train_test_split.txt")


def cub(folder: Path, name: str, classes: tuple[str, ...] = ()) -> Domain:
    """CUB-200-2011 as published (Wah et al. 2011): `images/<class>/<file>`, and files that number images and classes.

    Args:
        folder: it holds `images/`, `classes.txt` and what `CUB_FILES` names
        classes: those that must be there, in order; () takes those of `classes.txt`

    Raises:
        UsageError: a file is missing or says something else than its fellows; file and line where there is one.
    """
    paths, labels, training = (_pairs(folder / file) for file in CUB_FILES)
    names = _pairs(folder / "classes.txt")
    for file, other in zip(CUB_FILES[1:], (labels, training), strict=True):
        if lost := next((i for i in paths if i not in other), None):
            raise UsageError(f"{folder / file}: says nothing of image {lost}; get the data again")
    if unknown := next((label for label in labels.values() if label not in names), None):
        raise UsageError(f"{folder / 'classes.txt'}: has no class {unknown}; get the data again")
    if odd := next((t for t in training.values() if t not in ("0", "1")), None):
        raise UsageError(
            f"{folder / CUB_FILES[2]}: says {odd!r} of an image; 1 is training, 0 test; get the data again"
        )
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
        UsageError: file and line of what is no number and variant; what is missing, listed twice or of no class.
    """
    taught, tested = ({f"{i}.jpg": variant for i, variant in _pairs(file).items()} for file in (train, test))
    if twice := next((path for path in tested if path in taught), None):
        raise UsageError(f"{test}: {twice} is in {train.name} too; an image is for training or for testing")
    told = taught | tested
    return _domain(images, name, told, set(tested), classes or tuple(sorted(set(told.values()))), train)


def _pairs(file: Path) -> dict[str, str]:
    """The lines of a file of '<number> <text>'; the text may hold blanks."""
    found: dict[str, str] = {}
    for number, line in enumerate(parse_cache.read(file).decode("utf-8", "replace").splitlines(), 1):
        pair = line.split(maxsplit=1)
        if pair and (len(pair) != 2 or not pair[0].isdecimal()):
            raise UsageError(f"{file}:{number}: {line[:80]!r} should be '<number> <text>'")
        if pair and pair[0] in found:
            raise UsageError(f"{file}:{number}: {pair[0]} is listed before; once is enough")
        found |= {pair[0]: pair[1].strip()} if pair else {}
    if not found:
        raise UsageError(f"{file}: lists nothing; get the data again")
    return found


def _domain(
    images: Path, name: str, told: dict[str, str], tested: set[str], classes: tuple[str, ...], where: Path
) -> Domain:
    """The images of `told`, path below `images` -> class, not yet decoded; `tested` is the publisher's test set."""
    for path, c in told.items():
        if c not in classes:
            raise UsageError(f"{where}: {path} is of class {c!r}, which this task has not{suggest(c, classes)}")
        if not is_safe(path) or not (images / path).is_file():
            raise UsageError(f"{where}: there is no {images / path}; get the data again")
    index = {c: i for i, c in enumerate(classes)}
    y = np.array([index[c] for c in told.values()], np.int64)
    parse_cache.every_class(y, classes, where)
    files = tuple(images / path for path in told)
    with ThreadPoolExecutor() as pool:
        hashes = tuple(pool.map(lambda f: hashlib.sha256(parse_cache.read(f)).hexdigest(), files))
    official = np.array([path in tested for path in told])
    return Domain(name, tuple(f"{name}/{p}" for p in told), y, classes, hashes, files=files, official_test=official)
