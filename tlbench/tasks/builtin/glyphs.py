"""Printed characters in matplotlib's own fonts, from outline to print: digits, letters, and ten scripts for episodes.

Digits and capital letters are uint8 (3, 20, 20), grey; characters of scripts uint8 (1, 28, 28), as Omniglot's. Ink is
always lighter than paper: were it not, the mean of a few prints of a character would be grey.

`BASE` and `NOVEL` share no script, and no two characters of them all look alike. Two characters look alike when in any
font that has both their outlines, stretched to the same square, share 7/10 of the ink that either has: the sum over
pixels of the lesser coverage against that of the greater. What should count as alike does: Latin, Greek and Cyrillic A
share 1.00, O and o 0.93, U and u, least of the Latin pairs that differ by size alone, 0.87, Latin Q and Tifinagh YARR
0.73. So does some that a reader would tell apart, for bold strokes fill a square: a class too few costs nothing, a
class seen in training costs the task. Through the scripts in the order below, capitals first, a character stayed when
it looked like none that had stayed; the tests derive it again.
"""

from __future__ import annotations

import itertools
import os
import string
import unicodedata
from collections.abc import Mapping
from functools import lru_cache
from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tlbench.tasks.builtin import digits
from tlbench.tasks.builtin.digits import Samples, chance

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


LETTERS = tuple(string.ascii_uppercase)
COPIES = 10  # prints of one character in one font
# Named one by one, so that a font added to matplotlib does not change the data. Left out: the fonts of
# symbols, which have no digits, and cmti10, which not every release that we allow brings along.
LETTER_FONTS = (
    *("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSans-BoldOblique"),
    *("DejaVuSansMono", "DejaVuSansMono-Bold", "DejaVuSansMono-Oblique", "DejaVuSansMono-BoldOblique"),
    *("DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-Italic", "DejaVuSerif-BoldItalic"),
    *("STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic", "STIXGeneralBolIta"),
    *("cmb10", "cmmi10", "cmr10", "cmss10", "cmtt10"),
)


def fonts() -> Samples:
    """The digits 0 to 9."""
    return _letter_prints("fonts", digits.CLASSES)


def letters() -> Samples:
    """The capitals A to Z."""
    return _letter_prints("letters", LETTERS)


def _letter_prints(domain: str, characters: tuple[str, ...]) -> Samples:
    for font, (label, character) in itertools.product(LETTER_FONTS, enumerate(characters)):
        edges = outline(font, character)
        for copy in range(COPIES):
            name = f"{domain}/{font}/{character}/{copy:02}"
            image = printed(edges, chance(name), digits.SIDE)
            yield name, label, np.broadcast_to(image, (3, digits.SIDE, digits.SIDE))


SIDE = 28  # pixels
PRINTS = 20  # of each character, dealt round its fonts

_SANS = ("DejaVuSans", "DejaVuSans-Bold")
_SLANTED = ("DejaVuSans-Oblique", "DejaVuSans-BoldOblique")
_MONO = ("DejaVuSansMono", "DejaVuSansMono-Bold")
_MONO_SLANTED = ("DejaVuSansMono-Oblique", "DejaVuSansMono-BoldOblique")
_SERIF = ("DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-Italic", "DejaVuSerif-BoldItalic")
_STIX = ("STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic", "STIXGeneralBolIta")
_ALL = _SANS + _SLANTED + _MONO + _MONO_SLANTED + _SERIF + _STIX

# Characters and fonts are named one by one, so that what is added to matplotlib does not change the data.
BASE = {
    "LATIN": "ABCFJKLMOTVWXYZbdfgkmpt",
    "GREEK": "ΞΦΨαβδεζηλςω",
    "CYRILLIC": "ДЖЙЦЧЩЪЫЭЯ",
    "GEORGIAN": "ႢႥႧႨႩႪႫႭႮႴႵႸႼႽႿჁჄჅადეკლორტფშჭჯჰ",
}
NOVEL = {
    "ARMENIAN": "ԱԳԶԸԹԽԾՀՃՆՉՊՎՒՔՖխձմշչպփ",
    # Written from right to left: an editor would show them in another order than they have.
    "HEBREW": "\u05d0\u05d1\u05d4\u05dc\u05e2\u05e7\u05e9",
    "ARABIC": "\u0621\u0622\u0623\u0624\u0626\u0628\u0629\u062a\u062b\u062c\u062e\u0630\u0631\u0632\u0633\u0634"
    "\u0636\u0637\u0639\u063a\u0641\u0642\u0643\u0645\u0648\u0649\u064a",
    "NKO": "\u07cf\u07d0\u07d1\u07d2\u07d4\u07d6\u07d7\u07d9\u07da\u07dd\u07df\u07e2\u07e4",
    "TIFINAGH": "ⴳⴻⴾⴿⵃⵄⵆⵋⵐⵘⵛⵜⵢⵥ",
    "LAO": "ຊຕນຜຝສ",
}
FONTS = {  # that have the whole script
    "LATIN": _ALL,
    "GREEK": _ALL,
    "CYRILLIC": _ALL,
    "GEORGIAN": _SANS + _SLANTED + _SERIF,
    "ARMENIAN": _SANS + _SLANTED + _MONO + _MONO_SLANTED + _SERIF,
    "HEBREW": _SANS + _SLANTED,
    "ARABIC": _SANS + _MONO,
    "NKO": _SANS,
    "TIFINAGH": _SANS,
    "LAO": _SANS + _SLANTED + _MONO + _MONO_SLANTED,
}


def base() -> Samples:
    """The classes to train on."""
    return _prints("scripts_base", BASE)


def novel() -> Samples:
    """The classes to be told apart in episodes, of scripts that `base` has nothing of."""
    return _prints("scripts_novel", NOVEL)


def names(alphabets: Mapping[str, str]) -> tuple[str, ...]:
    """Unicode's name of each character, in the order of the labels."""
    return tuple(unicodedata.name(character) for character in "".join(alphabets.values()))


def _prints(domain: str, alphabets: Mapping[str, str]) -> Samples:
    characters = [(script, character) for script, alphabet in alphabets.items() for character in alphabet]
    for label, (script, character) in enumerate(characters):
        fonts = FONTS[script]
        outlines = [outline(font, character) for font in fonts]
        for i in range(PRINTS):
            name = f"{domain}/{fonts[i % len(fonts)]}/U+{ord(character):04X}/{i:02}"
            yield name, label, printed(outlines[i % len(fonts)], chance(name), SIDE, light=1)[None]
