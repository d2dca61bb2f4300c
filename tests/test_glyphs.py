"""Outlines and prints of single characters: where there is ink, and where there is none."""

from __future__ import annotations

import numpy as np
import pytest

from tlbench.tasks.builtin import glyphs
from tlbench.tasks.builtin.digits import chance
from tlbench.tasks.builtin.glyphs import coverage, outline, printed

SIDE = 20


def enclosed_paper(paper: np.ndarray) -> int:
    """How many pixels of paper cannot be reached from the corner."""
    reached = np.zeros_like(paper)
    reached[0, 0] = True
    for _ in range(paper.size):
        grown = np.pad(reached, 1)
        near = grown[:-2, 1:-1] | grown[2:, 1:-1] | grown[1:-1, :-2] | grown[1:-1, 2:] | reached
        if ((near & paper) == reached).all():
            break
        reached = near & paper
    return int((paper & ~reached).sum())


@pytest.mark.parametrize("digit", ["0", "4", "6", "8", "9"])
def test_a_hole_is_a_hole(digit: str) -> None:
    for font in glyphs.LETTER_FONTS:
        ink = coverage(outline(font, digit) * 17 + SIDE / 2, SIDE)
        assert enclosed_paper(ink == 0) >= 1, f"{digit} in {font}"


def test_a_printed_zero_has_paper_in_its_centre() -> None:
    ink = coverage(outline("DejaVuSans", "0") * 16 + SIDE / 2, SIDE)
    assert ink[9:11, 9:11].max() == 0
    assert ink[9:11].max() == 16


def test_a_printed_one_has_ink_in_its_centre_and_no_hole() -> None:
    ink = coverage(outline("DejaVuSans", "1") * 16 + SIDE / 2, SIDE)
    assert ink[10, 9:12].max() == 16
    assert enclosed_paper(ink == 0) == 0


def test_a_square_covers_its_area_whichever_way_it_winds() -> None:
    corners = np.array([(5.0, 5.0), (15.0, 5.0), (15.0, 10.5), (5.0, 10.5)])
    square = np.stack([corners, np.roll(corners, -1, 0)], 1)  # (4 edges, 2 ends, 2)
    for edges in (square, square[:, ::-1]):
        ink = coverage(edges, SIDE)
        assert ink.sum() == 16 * 10 * 5.5
        assert ink[7, 7] == 16
        assert ink[10, 7] == 8


@pytest.mark.parametrize("character", ["I", "O", "W"])
def test_the_longer_side_of_an_outline_is_one_and_its_middle_the_origin(character: str) -> None:
    edges = outline("DejaVuSerif-Bold", character)
    low, high = edges.min((0, 1)), edges.max((0, 1))
    assert (high - low).max() == pytest.approx(1)
    np.testing.assert_allclose(low + high, 0, atol=1e-12)


def test_a_wide_letter_fits_into_the_frame_upright() -> None:
    ink = coverage(outline("DejaVuSerif-BoldItalic", "M") * 16 + SIDE / 2, SIDE)
    assert ink[8:12].any()
    assert not ink[:, [0, 1, -2, -1]].any()
    assert not ink[[0, 1, -2, -1]].any()


def test_prints_of_one_outline_differ_and_one_name_prints_one_picture() -> None:
    edges = outline("DejaVuSans", "R")
    first, again, other = (printed(edges, chance(name), 28) for name in ("a", "a", "b"))
    assert first.shape == (28, 28)
    np.testing.assert_array_equal(first, again)
    assert (first != other).mean() > 0.2


def test_a_larger_frame_shows_the_same_print_larger() -> None:
    edges = outline("DejaVuSans", "E")
    small, large = (printed(edges, chance("E"), side).astype(float) for side in (20, 40))
    halved = large.reshape(20, 2, 20, 2).mean((1, 3))
    assert np.abs(halved - small).mean() < 0.02 * np.ptp(small)
