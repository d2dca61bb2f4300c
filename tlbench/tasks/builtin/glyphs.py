"""A character of one of matplotlib's own fonts, from outline to print."""

from __future__ import annotations

import itertools
import os
from functools import lru_cache
from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.ft2font import FT2Font

GRID = 4  # sample points a pixel along each axis: ink comes in sixteenths
PIECES = 8  # straight pieces a curve is cut into

Levels = NDArray[np.uint8]  # grey or colour, 0..255
Points = NDArray[np.float64]


def outline(font: str, character: str) -> Points:
    """The outline as straight edges, (n, 2 ends, 2 coordinates): y down, centred on the origin, the longer side 1.

    Loaded at as many pixels as the font has units to the em, FreeType scales by exactly one: the
    coordinates are the file's own, whatever FreeType's version.
    """
    from matplotlib import ft2font

    # Before matplotlib 3.10 flags were FreeType's own numbers; since then a number is deprecated.
    unhinted: Any = ft2font.LoadFlags.NO_HINTING if hasattr(ft2font, "LoadFlags") else 2
    face = _face(font)
    face.load_char(ord(character), flags=unhinted)
    vertices, codes = face.get_path()
    edges = _flatten(vertices, codes.tolist())
    low, high = edges.min((0, 1)), edges.max((0, 1))
    return np.asarray((edges - (low + high) / 2) / (high - low).max() * (1, -1))


def printed(edges: Points, random: Random, side: int, light: float = 0.5) -> Levels:
    """One print of an outline: jittered, then ink on paper of random greys, (side, side).

    Turned by at most 15 degrees, sheared by 0.2, stretched in width by 15 %, its longer side 60 to 80 % of the
    frame's before the stretch, and moved by at most 7.5 %. The share `light` of prints has light ink on dark paper.
    """
    draw = random.random
    unit = side / 20
    t = 0.13 * (2 * draw() - 1)  # tan(angle / 2), at most 15 degrees: cosine and sine are rational in it
    cos, sin = (1 - t * t) / (1 + t * t), 2 * t / (1 + t * t)
    shear, stretch, height = 0.4 * draw() - 0.2, 0.85 + 0.3 * draw(), 12 * unit + 4 * unit * draw()  # height in pixels
    shift = [side / 2 + 3 * unit * draw() - 1.5 * unit for _ in "xy"]
    y = edges[..., 1]
    x = edges[..., 0] * stretch + y * shear
    ink = coverage(np.stack([cos * x - sin * y, sin * x + cos * y], -1) * height + shift, side)
    contrast = 96 + int(160 * draw())
    dark = int((256 - contrast) * draw())
    paper, stroke = (dark, dark + contrast) if draw() < light else (dark + contrast, dark)
    return ((paper * (GRID**2 - ink) + stroke * ink) // GRID**2).astype(np.uint8)


def coverage(edges: Points, side: int) -> NDArray[np.int64]:
    """How many of each pixel's 16 sample points lie inside the outline, (side, side).

    Inside is where the contours' winding number is not zero, as TrueType has it: holes run the other way.
    """
    n = side * GRID
    (x0, y0), (x1, y1) = edges[:, 0].T * GRID, edges[:, 1].T * GRID
    y = np.arange(n)[:, None] + 0.5  # (n, 1) the rows of sample points
    down, up = (y0 <= y) & (y < y1), (y1 <= y) & (y < y0)
    row, k = np.nonzero(down | up)  # edge k crosses that row
    x = x0[k] + (y[row, 0] - y0[k]) * (x1 - x0)[k] / (y1 - y0)[k]
    first = np.ceil(x - 0.5).astype(np.int64).clip(0, n)  # the first sample point right of the crossing
    turns = np.zeros((n, n + 1), np.int64)
    np.add.at(turns, (row, first), np.where(down[row, k], 1, -1))
    inside = turns.cumsum(1)[:, :n] != 0
    return np.asarray(inside.reshape(side, GRID, side, GRID).sum((1, 3)))


@lru_cache(maxsize=32)
def _face(font: str) -> FT2Font:
    import matplotlib
    from matplotlib import ft2font

    face = ft2font.FT2Font(os.path.join(matplotlib.get_data_path(), "fonts", "ttf", f"{font}.ttf"))
    face.set_size(face.units_per_EM, 72)  # at 72 dots per inch a point is a pixel
    return face


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
