"""Printed digits and printed capital letters, in the same fonts and jittered alike: uint8 (3, 20, 20), grey."""

from __future__ import annotations

import itertools
import string

import numpy as np

from tlbench.tasks.builtin import digits
from tlbench.tasks.builtin.glyphs import outline, printed
from tlbench.tasks.builtin.samples import Samples, chance

LETTERS = tuple(string.ascii_uppercase)
COPIES = 10  # prints of one character in one font
# Named one by one, so that a font added to matplotlib does not change the data. Left out: the fonts of
# symbols, which have no digits, and cmti10, which not every release that we allow brings along.
FONTS = (
    *("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSans-BoldOblique"),
    *("DejaVuSansMono", "DejaVuSansMono-Bold", "DejaVuSansMono-Oblique", "DejaVuSansMono-BoldOblique"),
    *("DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-Italic", "DejaVuSerif-BoldItalic"),
    *("STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic", "STIXGeneralBolIta"),
    *("cmb10", "cmmi10", "cmr10", "cmss10", "cmtt10"),
)


def fonts() -> Samples:
    """The digits 0 to 9."""
    return _prints("fonts", digits.CLASSES)


def letters() -> Samples:
    """The capitals A to Z."""
    return _prints("letters", LETTERS)


def _prints(domain: str, characters: tuple[str, ...]) -> Samples:
    for font, (label, character) in itertools.product(FONTS, enumerate(characters)):
        edges = outline(font, character)
        for copy in range(COPIES):
            name = f"{domain}/{font}/{character}/{copy:02}"
            image = printed(edges, chance(name), digits.SIDE)
            yield name, label, np.broadcast_to(image, (3, digits.SIDE, digits.SIDE))
