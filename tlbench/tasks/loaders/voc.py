"""Pascal VOC's layout: JPEGImages/, Annotations/ with one XML an image, ImageSets/Main/ with the splits.

One folder makes domains of three kinds: `images` to find objects in, `cells`, crops of single objects to classify, and
`tiles`, each of which shows several classes or none. All mark what comes from the images of the publisher's test split,
so that no crop of a test image is trained on.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tlbench.data import Domain
from tlbench.errors import UsageError, suggest
from tlbench.tasks.loaders import parse_cache
from tlbench.tasks.loaders.parse_cache import Array

SHOWN = 40  # pixels a side of a tile as it is given
VERSION = 1  # of the parsing: a change of the arrays bumps it
CORNERS = ("xmin", "ymin", "xmax", "ymax")


@dataclass(frozen=True)
class Annotation:
    """What one XML file says of its image."""

    stem: str
    size: tuple[int, int]  # width, height in pixels
    names: tuple[str, ...]  # of the objects that have an area
    corners: NDArray[np.float32]  # (m, 4) x1, y1, x2, y2 in pixels of the image as published
    dropped: tuple[str, ...]  # a line for each object that has none


def images(folder: Path, name: str, classes: tuple[str, ...] = (), scale: int = 4) -> Domain:
    """The images of the splits trainval and test, each pixel the mean of `scale` x `scale` published ones.

    Corners are taken as they stand, though VOC counts pixels from 1. Boxes are clipped to the image; one that has no
    width or no height left is dropped (see `dropped`).

    Returns:
        x uint8 (n, 3, h, w), boxes in those pixels, y zeros; the official test set is the split "test".

    Raises:
        UsageError: a file or image that is missing, broken or of another size than its XML says, an unknown class.
    """
    notes, official = _annotations(folder)
    names = classes or tuple(sorted({c for note in notes for c in note.names}))
    boxes = tuple(
        np.column_stack([n.corners / scale, _labels(n, names, folder)]).astype(np.float32).reshape(-1, 5) for n in notes
    )
    x, contents = _pixels(folder, notes, scale)
    hashes = tuple(hashlib.sha256(f"{c} v{VERSION} 1/{scale}".encode()).hexdigest() for c in contents)
    ids = tuple(f"{name}/{n.stem}" for n in notes)
    return Domain(name, ids, np.zeros(len(x), np.int64), names, hashes, x=x, official_test=official, boxes=boxes)


def cells(folder: Path, name: str, classes: tuple[str, ...] = (), scale: int = 4, side: int = 32) -> Domain:
    """One crop of `side` x `side` pixels around the centre of each box of `images`; its label is the object's class.

    Where a crop reaches over the edge of its image, the edge's pixels are repeated. A crop shows its neighbours too.

    Returns:
        x uint8 (n, 3, side, side); the official test set is the crops of test images.

    Raises:
        UsageError: as `images`, and a class without a box.
    """
    whole = images(folder, name, classes, scale)
    owner = np.repeat(np.arange(len(whole)), [len(b) for b in whole.boxes])  # (n,) the image of each crop
    boxes = np.concatenate(whole.boxes)
    y = boxes[:, 4].astype(np.int64)
    parse_cache.every_class(y, whole.classes, folder)
    corners = np.rint((boxes[:, :2] + boxes[:, 2:4]) / 2).astype(np.int64)  # (n, 2) of the crop, once padded
    said = [f"{whole.hashes[i]} {left} {top} {side}" for i, (left, top) in zip(owner, corners, strict=True)]

    def parse() -> tuple[Array, ...]:
        assert whole.x is not None
        half = side // 2
        padded = np.pad(whole.x, ((0, 0), (0, 0), (half, side - half), (half, side - half)), mode="edge")
        cut = zip(owner, corners, strict=True)
        return (np.stack([padded[i, :, top : top + side, left : left + side] for i, (left, top) in cut]),)

    (x,) = parse_cache.arrays(f"voc-cells-v{VERSION}", said, 1, parse)
    assert whole.official_test is not None
    ids = tuple(f"{whole.ids[i]}/{k:03d}" for i, b in enumerate(whole.boxes) for k in range(len(b)))
    hashes = tuple(hashlib.sha256(s.encode()).hexdigest() for s in said)
    return Domain(name, ids, y, whole.classes, hashes, x=x, official_test=whole.official_test[owner])


def tiles(
    folder: Path, name: str, classes: tuple[str, ...] = (), splits: tuple[str, ...] = (), side: int = 160
) -> Domain:
    """Square tiles of `side` published pixels, `SHOWN` pixels wide as they are given; each says which classes it shows.

    The images are cut from the upper left corner without overlap; what is left at an edge is left out. A tile shows an
    object of which it holds a quarter, or which fills a quarter of it.

    Args:
        splits: of ImageSets/Main, whose images are cut; () takes trainval and test. "test" is the official test set

    Returns:
        x uint8 (n, 3, SHOWN, SHOWN), y (n, C) 0 or 1.

    Raises:
        UsageError: as `images`; a side that is no multiple of SHOWN; an image that is smaller than a tile.
    """
    if side % SHOWN:
        raise UsageError(f"{name}: tiles have {side} pixels a side; a multiple of {SHOWN} is needed")
    notes, official = _annotations(folder, splits or ("trainval", "test"))
    names = classes or tuple(sorted({c for note in notes for c in note.names}))
    x, contents = _pixels(folder, notes, side // SHOWN)
    down, across = (n // SHOWN for n in x.shape[2:])
    if not down or not across:
        raise UsageError(f"{folder}: images of {x.shape[3]}x{x.shape[2]} pixels hold no tile of {SHOWN}")
    cut = x[:, :, : down * SHOWN, : across * SHOWN].reshape(len(x), 3, down, SHOWN, across, SHOWN)
    made = cut.transpose(0, 2, 4, 1, 3, 5).reshape(-1, 3, SHOWN, SHOWN)
    places = [(top * side, left * side) for top in range(down) for left in range(across)]
    y = np.array([_shown(n, _labels(n, names, folder), p, side, len(names)) for n in notes for p in places])
    told = [f"{c} v{VERSION} {side} {top} {left}" for c in contents for top, left in places]
    hashes = tuple(hashlib.sha256(text.encode()).hexdigest() for text in told)
    ids = tuple(f"{name}/{n.stem}/{i:02d}" for n in notes for i in range(len(places)))
    tested = np.repeat(official, len(places))
    return Domain(name, ids, y, names, hashes, x=made, official_test=tested if tested.any() else None)


def _shown(note: Annotation, labels: list[int], place: tuple[int, int], side: int, n: int) -> NDArray[np.int64]:
    """(n,) whether a tile of `side` pixels at a place, top and left, shows each class."""
    top, left = place
    x1, y1, x2, y2 = note.corners.T
    width, height = np.minimum(x2, left + side) - np.maximum(x1, left), np.minimum(y2, top + side) - np.maximum(y1, top)
    inside = width.clip(0) * height.clip(0)
    seen = inside >= np.minimum((x2 - x1) * (y2 - y1), side * side) / 4
    found = np.zeros(n, np.int64)
    found[np.array(labels, np.int64)[seen]] = 1
    return found


def dropped(folder: Path) -> tuple[str, ...]:
    """A line for each object that `images` and `cells` leave out, because its box has no area within its image."""
    return tuple(line for note in _annotations(folder)[0] for line in note.dropped)


def _annotations(
    folder: Path, splits: tuple[str, ...] = ("trainval", "test")
) -> tuple[list[Annotation], NDArray[np.bool_]]:
    """Of the images of each split, in their order; and which are of test."""
    split: dict[str, bool] = {}
    for part in splits:
        file = folder / "ImageSets" / "Main" / f"{part}.txt"
        for number, line in enumerate(parse_cache.read(file).decode("utf-8", "replace").splitlines(), 1):
            stem = line.strip()
            if stem in split:
                raise UsageError(f"{file}:{number}: {stem!r} is listed before; an image is in one split, once")
            if not (folder / "Annotations" / f"{stem}.xml").is_file():
                raise UsageError(f"{file}:{number}: there is no Annotations/{stem}.xml; get the data again")
            split[stem] = part == "test"
    if not split:
        raise UsageError(f"{folder}: ImageSets/Main/{'.txt, '.join(splits)}.txt list no image")
    return [_annotation(folder / "Annotations" / f"{stem}.xml") for stem in split], np.array([*split.values()])


def _annotation(file: Path) -> Annotation:
    try:
        root = ElementTree.fromstring(parse_cache.read(file))
        width, height = (int(_text(root, f"size/{k}")) for k in ("width", "height"))
        found = [(_text(o, "name"), [float(_text(o, f"bndbox/{k}")) for k in CORNERS]) for o in root.iter("object")]
    except (ElementTree.ParseError, ValueError) as error:
        raise UsageError(f"{file}: not a VOC annotation ({error}); get it again") from None
    corners = np.array([c for _, c in found], np.float32).reshape(-1, 4)
    kept = corners.clip(0, (width, height, width, height))
    area = ((kept[:, 2:] - kept[:, :2]) > 0).all(axis=1)
    lines = [
        f"{file.name}: object {i} ({found[i][0]}) has no area within its image: {found[i][1]}"
        for i in np.flatnonzero(~area)
    ]
    names = tuple(c for (c, _), sound in zip(found, area, strict=True) if sound)
    return Annotation(file.stem, (width, height), names, kept[area].astype(np.float32), tuple(lines))


def _text(node: ElementTree.Element, path: str) -> str:
    """Raises ValueError where there is none."""
    if not (text := node.findtext(path, "").strip()):
        raise ValueError(f"{node.tag} has no {path}")
    return text


def _labels(note: Annotation, classes: tuple[str, ...], folder: Path) -> list[int]:
    for c in note.names:
        if c not in classes:
            raise UsageError(f"{folder / 'Annotations' / note.stem}.xml: no class is called {c!r}{suggest(c, classes)}")
    return [classes.index(c) for c in note.names]


def _pixels(folder: Path, notes: list[Annotation], scale: int) -> tuple[Array, list[str]]:
    """(n, 3, h, w) of all images, and the SHA-256 of each file."""
    files = [folder / "JPEGImages" / f"{n.stem}.jpg" for n in notes]
    contents = [parse_cache.digest(f) for f in files]

    def parse() -> tuple[Array, ...]:
        made = [_reduced(f, n.size, scale) for f, n in zip(files, notes, strict=True)]
        for file, image in zip(files, made, strict=True):
            if image.shape != made[0].shape:
                raise UsageError(f"{file}: is of another size than {files[0].name}; images of one size are needed")
        return (np.stack(made),)

    return parse_cache.arrays(f"voc-v{VERSION}-{scale}", contents, 1, parse)[0], contents


def _reduced(file: Path, size: tuple[int, int], scale: int) -> Array:
    """(3, h, w) of one image."""
    try:
        with Image.open(file) as image:
            rgb = image.convert("RGB")
    except (OSError, SyntaxError, ValueError) as error:
        raise UsageError(f"{file}: broken image ({' '.join(str(error).split())}); get it again") from None
    if rgb.size != size:
        raise UsageError(f"{file}: is {rgb.size[0]}x{rgb.size[1]}, its XML says {size[0]}x{size[1]}")
    return np.asarray(rgb.reduce(scale)).transpose(2, 0, 1)
