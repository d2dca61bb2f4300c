"""Three domains of digits that need no download: handwritten, fonts, photos.

All images are uint8 (n, 3, 20, 20), the classes "0" to "9". The bytes depend on nothing but `VERSION`
and the package data they are made of: randomness comes from SHA-256 by way of `random.Random.random`,
whose stream Python keeps (numpy's generators promise no such thing), and every other step is integer
arithmetic or IEEE's + - * /, which round alike everywhere (sine, cosine and BLAS do not).
"""

from __future__ import annotations

import itertools
import os
import tempfile
from collections.abc import Iterator
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from random import Random
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from tlbench.data import Domain
from tlbench.mistake import Mistake, suggest

VERSION = 1  # any change that moves a byte bumps it
SIDE = 20  # pixels
GRID = 4  # sample points a pixel along each axis: ink comes in sixteenths
PIECES = 8  # straight pieces a curve is cut into
COPIES = 10  # prints of one digit in one font
CLASSES = tuple("0123456789")
# Named one by one, so that a font added to matplotlib does not change the data. Left out: the fonts of
# symbols, which have no digits, and cmti10, which not every release that we allow brings along.
FONTS = (
    *("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSans-BoldOblique"),
    *("DejaVuSansMono", "DejaVuSansMono-Bold", "DejaVuSansMono-Oblique", "DejaVuSansMono-BoldOblique"),
    *("DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-Italic", "DejaVuSerif-BoldItalic"),
    *("STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic", "STIXGeneralBolIta"),
    *("cmb10", "cmmi10", "cmr10", "cmss10", "cmtt10"),
)
# The packages whose data each domain is made of; Pillow decodes the photographs.
_MADE_OF = {"handwritten": ["scikit-learn"], "fonts": ["matplotlib"], "photos": ["scikit-learn", "pillow"]}

Levels = NDArray[np.uint8]  # grey or colour, 0..255
Points = NDArray[np.float64]
Samples = Iterator[tuple[str, int, Levels]]  # id, label, (20, 20) or (3, 20, 20)


def names() -> tuple[str, ...]:
    """The domains that `load` knows."""
    return tuple(_MADE_OF)


def load(name: str, cache: Path | None = None) -> Domain:
    """The domain `name`, read from the folder `cache` when it is there, else drawn (and then kept there).

    - handwritten: one half of scikit-learn's 8x8 digits (Alpaydin & Kaynak 1998), enlarged.
    - fonts: the digits of matplotlib's own fonts, turned, sheared, scaled and shifted at random.
    - photos: the other half, blended into photographs as in MNIST-M (Ganin & Lempitsky 2015).

    Raises Mistake on an unknown name.
    """
    if name not in _MADE_OF:
        raise Mistake(f"no embedded domain is called {name!r}{suggest(name, _MADE_OF)}")
    made_of = "".join(f"-{package}-{version(package)}" for package in _MADE_OF[name])
    file = cache / f"embedded-{name}-v{VERSION}{made_of}.npz" if cache else None
    held = _kept(file) if file else None
    if held is None:
        held = _draw(name)
        if file:
            _keep(file, *held)
    x, y, ids = held
    hashes = tuple(sha256(image.tobytes()).hexdigest() for image in x)
    return Domain(name, tuple(ids.tolist()), y, CLASSES, hashes, x)


def _kept(file: Path) -> tuple[Levels, NDArray[np.int64], NDArray[np.str_]] | None:
    """What an earlier load kept; None where there is nothing that can be read."""
    try:
        with np.load(file, allow_pickle=False) as kept:
            return kept["x"], kept["y"], kept["ids"]
    except (FileNotFoundError, BadZipFile, ValueError, EOFError, KeyError):
        return None


def _draw(name: str) -> tuple[Levels, NDArray[np.int64], NDArray[np.str_]]:
    samples = {"handwritten": _handwritten, "fonts": _fonts, "photos": _photos}[name]()
    ids, labels, images = zip(*samples, strict=True)
    x = np.stack([np.broadcast_to(image, (3, SIDE, SIDE)) for image in images])  # grey is colour thrice
    return x, np.array(labels, np.int64), np.array(ids)


def _keep(file: Path, x: Levels, y: NDArray[np.int64], ids: NDArray[np.str_]) -> None:
    """Writes apart and renames: no other process ever reads half of it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=file.parent) as folder:
        part = Path(folder) / file.name
        np.savez(part, x=x, y=y, ids=ids)
        os.replace(part, file)


def _random(text: str) -> Random:
    return Random(int(sha256(text.encode()).hexdigest(), 16))


def _handwritten() -> Samples:
    return ((f"handwritten/{i:04}", label, levels) for i, label, levels in _digits(for_photos=False))


def _photos() -> Samples:
    """The absolute difference, channel by channel, of a digit and a random patch of a photograph."""
    from sklearn.datasets import load_sample_images

    photographs = load_sample_images().images  # china and flower, (427, 640, 3)
    for i, label, levels in _digits(for_photos=True):
        name = f"photos/{i:04}"
        draw = _random(name).random
        photograph = photographs[int(draw() * len(photographs))]
        top, left = (int(draw() * (length - SIDE + 1)) for length in photograph.shape[:2])
        patch = photograph[top : top + SIDE, left : left + SIDE].transpose(2, 0, 1)  # (3, 20, 20)
        yield name, label, np.abs(patch.astype(np.int16) - levels).astype(np.uint8)


def _digits(for_photos: bool) -> Iterator[tuple[int, int, Levels]]:
    """(index, label, (20, 20) levels) of one half of scikit-learn's digits, class by class a half.

    The index's hash decides the half. Its place must not: one writer's digits follow one another, so
    the halves would differ in their writers too.
    """
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)  # (1797, 64) levels 0..16
    half: set[int] = set()
    for label in range(10):
        members = sorted(np.flatnonzero(labels == label).tolist(), key=lambda i: sha256(b"%d" % i).digest())
        half.update(members[: len(members) // 2])
    for i, (image, label) in enumerate(zip(images, labels.tolist(), strict=True)):
        if (i in half) == for_photos:
            yield i, label, _enlarge(image.reshape(8, 8).astype(np.int64))


def _enlarge(image: NDArray[np.int64]) -> Levels:
    """(8, 8) levels 0..16 -> (20, 20) levels 0..255: a pixel of margin, then twice the size (Keys 1981)."""
    padded = np.pad(image, 3)  # 1 of margin, 2 for the kernel's reach
    rows = np.zeros((SIDE, 14), np.int64)
    for k in range(SIDE // 2):  # two output pixels, a quarter pixel before and after input pixel k
        rows[2 * k, k : k + 4] = -3, 29, 111, -9  # Keys's cubic, a = -1/2, in 128ths
        rows[2 * k + 1, k + 1 : k + 5] = -9, 111, 29, -3
    full = 128 * 128 * 16
    return ((rows @ padded @ rows.T).clip(0, full) * 255 // full).astype(np.uint8)


def _fonts() -> Samples:
    for font, digit in itertools.product(FONTS, CLASSES):
        edges = _edges(font, digit)
        for copy in range(COPIES):
            name = f"fonts/{font}/{digit}/{copy:02}"
            yield name, int(digit), _print(edges, _random(name))


def _edges(font: str, digit: str) -> Points:
    """The outline as straight edges, (n, 2 ends, 2 coordinates): y down, height 1, centred on the origin.

    Loaded at as many pixels as the font has units to the em, FreeType scales by exactly one: the
    coordinates are the file's own, whatever FreeType's version.
    """
    import matplotlib
    from matplotlib import ft2font

    # Before matplotlib 3.10 flags were FreeType's own numbers; since then a number is deprecated.
    unhinted: Any = ft2font.LoadFlags.NO_HINTING if hasattr(ft2font, "LoadFlags") else 2
    face = ft2font.FT2Font(os.path.join(matplotlib.get_data_path(), "fonts", "ttf", f"{font}.ttf"))
    face.set_size(face.units_per_EM, 72)  # at 72 dots per inch a point is a pixel
    face.load_char(ord(digit), flags=unhinted)
    vertices, codes = face.get_path()
    edges = _flatten(vertices, codes.tolist())
    low, high = edges.min((0, 1)), edges.max((0, 1))
    return np.asarray((edges - (low + high) / 2) / (high[1] - low[1]) * (1, -1))


def _flatten(vertices: Points, codes: list[int]) -> Points:
    """matplotlib's path of lines and quadratic curves -> (n, 2, 2) straight edges, each contour closed."""
    edges: list[tuple[Points, Points]] = []
    start = here = vertices[0]
    path = zip(codes, vertices, strict=True)
    for code, vertex in path:
        line = [here, vertex]  # code 2, LINETO
        if code == 1:  # MOVETO
            start, line = vertex, [vertex]
        elif code == 3:  # CURVE3: `vertex` bends it, the next one ends it
            _, end = next(path)
            steps = [k / PIECES for k in range(PIECES + 1)]
            line = [(1 - t) * (1 - t) * here + 2 * t * (1 - t) * vertex + t * t * end for t in steps]
        elif code == 79:  # CLOSEPOLY, whose own vertex means nothing
            line = [here, start]
        edges += itertools.pairwise(line)
        here = line[-1]
    return np.array(edges)


def _print(edges: Points, random: Random) -> Levels:
    """One print of the outline: jittered, then ink on paper of random greys, (20, 20)."""
    draw = random.random
    t = 0.13 * (2 * draw() - 1)  # tan(angle / 2), at most 15 degrees: cosine and sine are rational in it
    cos, sin = (1 - t * t) / (1 + t * t), 2 * t / (1 + t * t)
    shear, stretch, height = 0.4 * draw() - 0.2, 0.85 + 0.3 * draw(), 12 + 4 * draw()  # height in pixels
    shift = [SIDE / 2 + 3 * draw() - 1.5 for _ in "xy"]
    y = edges[..., 1]
    x = edges[..., 0] * stretch + y * shear
    ink = _coverage(np.stack([cos * x - sin * y, sin * x + cos * y], -1) * height + shift)
    contrast = 96 + int(160 * draw())
    dark = int((256 - contrast) * draw())
    paper, stroke = (dark, dark + contrast) if draw() < 0.5 else (dark + contrast, dark)
    return ((paper * (GRID**2 - ink) + stroke * ink) // GRID**2).astype(np.uint8)


def _coverage(edges: Points) -> NDArray[np.int64]:
    """How many of each pixel's 16 sample points lie inside the outline, (20, 20).

    Inside is where the contours' winding number is not zero, as TrueType has it: holes run the other way.
    """
    n = SIDE * GRID
    (x0, y0), (x1, y1) = edges[:, 0].T * GRID, edges[:, 1].T * GRID
    y = np.arange(n)[:, None] + 0.5  # (n, 1) the rows of sample points
    down, up = (y0 <= y) & (y < y1), (y1 <= y) & (y < y0)
    row, k = np.nonzero(down | up)  # edge k crosses that row
    x = x0[k] + (y[row, 0] - y0[k]) * (x1 - x0)[k] / (y1 - y0)[k]
    first = np.ceil(x - 0.5).astype(np.int64).clip(0, n)  # the first sample point right of the crossing
    turns = np.zeros((n, n + 1), np.int64)
    np.add.at(turns, (row, first), np.where(down[row, k], 1, -1))
    inside = turns.cumsum(1)[:, :n] != 0
    return np.asarray(inside.reshape(SIDE, GRID, SIDE, GRID).sum((1, 3)))
