"""Characters of many scripts: which there are, that none looks like another, what episodes of them are worth."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from functools import cache

import numpy as np
import pytest

from tlbench.data import Domain
from tlbench.tasks import builtin
from tlbench.tasks.builtin import glyphs
from tlbench.tasks.builtin.glyphs import coverage, outline

ALIKE = 0.7  # the share of common ink from which two characters look alike
SIDE = 20
SCRIPTS = glyphs.BASE | glyphs.NOVEL


def letters(*spans: tuple[int, int]) -> str:
    return "".join(chr(point) for first, last in spans for point in range(first, last + 1))


ALPHABETS = {  # all that matplotlib's fonts have of each, capitals first
    "LATIN": letters((0x41, 0x5A), (0x61, 0x7A)),
    "GREEK": letters((0x391, 0x3A1), (0x3A3, 0x3A9), (0x3B1, 0x3C9)),
    "CYRILLIC": letters((0x410, 0x44F)),
    "GEORGIAN": letters((0x10A0, 0x10C5), (0x10D0, 0x10F0)),
    "ARMENIAN": letters((0x531, 0x556), (0x561, 0x586)),
    "HEBREW": letters((0x5D0, 0x5EA)),
    "ARABIC": letters((0x621, 0x63A), (0x641, 0x64A)),
    "NKO": letters((0x7CA, 0x7E7)),
    "TIFINAGH": letters((0x2D30, 0x2D65)),
    "LAO": "ກຂຄງຈຊຍດຕຖທນບປຜຝພຟມຢຣລວສຫອຮ",
}


@cache
def stretched(font: str, character: str) -> np.ndarray:
    """(400,) coverage of the outline stretched to a square, without jitter."""
    edges = outline(font, character)
    return coverage(edges / np.ptp(edges, (0, 1)) * SIDE + SIDE / 2, SIDE).ravel().astype(np.int16)


def common_ink(a: str, b: str) -> float:
    """The greatest share over the fonts that have both characters, 0..1."""
    fonts = [font for font in glyphs.FONTS[script_of(a)] if font in glyphs.FONTS[script_of(b)]]
    pairs = [(stretched(font, a), stretched(font, b)) for font in fonts]
    return max(np.minimum(p, q).sum() / np.maximum(p, q).sum() for p, q in pairs)


def script_of(character: str) -> str:
    return next(script for script, alphabet in ALPHABETS.items() if character in alphabet)


def unlike_all_before() -> Iterator[str]:
    stayed: list[str] = []
    for character in "".join(ALPHABETS.values()):
        if all(common_ink(character, other) < ALIKE for other in stayed):
            stayed.append(character)
            yield character


@pytest.fixture(scope="module")
def novel() -> Domain:
    return builtin.load("scripts_novel")


@pytest.mark.slow
def test_the_characters_are_those_that_look_like_none_before_them() -> None:
    assert "".join(SCRIPTS.values()) == "".join(unlike_all_before())


@pytest.mark.parametrize("twins", ["AΑ", "AА", "Oo", "Oօ", "Vv", "Uu", "hհ", "Фф", "ΦФ", "Qⵕ", "Վվ", "oס"])
def test_twins_across_scripts_and_sizes_are_one_shape(twins: str) -> None:
    assert common_ink(*twins) >= ALIKE
    assert len(set(twins) & set("".join(SCRIPTS.values()))) <= 1


@pytest.mark.parametrize("pair", ["AB", "kK", "ЖX", "βB", "ФЖ", "ԱЧ"])
def test_what_a_reader_tells_apart_can_be_two_shapes(pair: str) -> None:
    assert common_ink(*pair) < ALIKE


def test_the_novel_scripts_are_not_among_the_base_ones() -> None:
    assert not set(glyphs.BASE) & set(glyphs.NOVEL)


def test_a_class_is_named_by_unicode_and_belongs_to_its_script() -> None:
    for script, alphabet in SCRIPTS.items():
        assert set(alphabet) <= set(ALPHABETS[script])
        assert all(unicodedata.name(character).startswith(f"{script} ") for character in alphabet)
    assert "CYRILLIC CAPITAL LETTER ZHE" in builtin.load("scripts_base").classes


def test_every_font_named_for_a_script_has_all_of_it() -> None:
    from matplotlib import font_manager, ft2font

    faces = {entry.fname.rpartition("/")[2]: entry.fname for entry in font_manager.fontManager.ttflist}
    for script, fonts in glyphs.FONTS.items():
        for font in fonts:
            assert set(map(ord, SCRIPTS[script])) <= set(ft2font.FT2Font(faces[f"{font}.ttf"]).get_charmap())


def test_a_class_has_twenty_prints_dealt_evenly_round_its_fonts(novel: Domain) -> None:
    assert (np.bincount(novel.y) == glyphs.PRINTS).all()
    prints = [id.split("/")[1] for id, y in zip(novel.ids, novel.y, strict=True) if y == 0]
    counts = [prints.count(font) for font in glyphs.FONTS["ARMENIAN"]]
    assert sum(counts) == glyphs.PRINTS
    assert max(counts) - min(counts) <= 1


def test_an_id_holds_the_code_point_of_its_class(novel: Domain) -> None:
    for id, y in zip(novel.ids, novel.y, strict=True):
        assert unicodedata.name(chr(int(id.split("/")[2].removeprefix("U+"), 16))) == novel.classes[y]


def test_ink_is_lighter_than_paper(novel: Domain) -> None:
    frame = np.ones((28, 28), bool)
    frame[1:-1, 1:-1] = False
    paper = np.median(novel.x[:, 0, frame], axis=1)
    assert (paper == novel.x.min((1, 2, 3))).all()


def test_five_way_episodes_on_pixels_are_neither_hopeless_nor_easy(novel: Domain) -> None:
    pixels, random = novel.x.reshape(len(novel), -1) / 255, np.random.default_rng(0)
    right = []
    for _ in range(200):
        classes = random.choice(len(novel.classes), 5, replace=False)
        rows = np.stack([random.permutation(np.flatnonzero(novel.y == c)) for c in classes])  # (5, 20)
        support, queries = pixels[rows[:, 0]], pixels[rows[:, 1:]]  # (5, d), (5, 19, d)
        nearest = ((queries[:, :, None] - support) ** 2).sum(-1).argmin(-1)
        right.append((nearest == np.arange(5)[:, None]).mean())
    error = np.std(right) / len(right) ** 0.5
    assert np.mean(right) - 5 * error > 0.25  # chance is 0.2
    assert np.mean(right) + 5 * error < 0.6
