"""Printed characters of ten scripts, for episodes over classes never trained on: uint8 (1, 28, 28), as Omniglot's.

`BASE` and `NOVEL` share no script, and no two characters of them all look alike. Two characters look alike when in any
font that has both their outlines, stretched to the same square, share 7/10 of the ink that either has: the sum over
pixels of the lesser coverage against that of the greater. What should count as alike does: Latin, Greek and Cyrillic A
share 1.00, O and o 0.93, U and u, least of the Latin pairs that differ by size alone, 0.87, Latin Q and Tifinagh YARR
0.73. So does some that a reader would tell apart, for bold strokes fill a square: a class too few costs nothing, a
class seen in training costs the task. Through the scripts in the order below, capitals first, a character stayed when
it looked like none that had stayed; the tests derive it again.

Ink is always lighter than paper: were it not, the mean of a few prints of a character would be grey.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping

from tlbench.tasks.builtin.glyphs import outline, printed
from tlbench.tasks.builtin.samples import Samples, chance

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
