"""Ties, signs and printed digits that float noise cannot move."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlbench.results.rounding import DECIMALS, fixed, settled, significant, steady, tiers, weighted

NOISE = 1e-9


@given(n=st.integers(-10_000, 10_000), of=st.integers(1, 20), noise=st.floats(-NOISE, NOISE))
def test_noise_moves_no_fraction_with_a_small_denominator(n: int, of: int, noise: float) -> None:
    assert settled(n / of + noise) == settled(n / of)
    assert fixed(n / of + noise) == fixed(n / of)


@pytest.mark.parametrize("of", [2**a * 5**b for a in range(12) for b in range(4)])
def test_noise_of_an_addition_moves_no_share_of_a_test_set(of: int) -> None:
    """Shares with a power of two below them lie half-way between two digits, where other rounding wavers."""
    for n in range(1, of, max(1, of // 97)):
        points = 100 * n / of
        assert {settled(points + e) for e in (-1e-12, 0.0, 1e-12)} == {settled(points)}


@given(x=st.floats(-1e6, 1e6))
def test_settling_moves_nothing_farther_than_a_unit_of_the_last_digit(x: float) -> None:
    assert abs(settled(x) - x) <= 10**-DECIMALS
    assert settled(-x) == -settled(x)
    assert settled(settled(x)) == settled(x)


def test_the_greatest_comes_first_and_equals_share_a_place() -> None:
    assert tiers([1.0, 3.0, 2.0, 3.0 - 1e-9, math.nan]).tolist() == [2, 0, 1, 0, 3]
    assert tiers(np.array([[1.0, 5.0], [2.0, 5.0]])).tolist() == [[1, 0], [0, 0]]
    assert tiers([]).tolist() == []


@given(shares=st.lists(st.integers(0, 40), min_size=1, max_size=12), noise=st.integers(0, 2**32 - 1))
def test_noise_parts_no_tie_and_joins_nothing(shares: list[int], noise: int) -> None:
    x = 100 * np.array(shares) / 40
    moved = x + np.random.default_rng(noise).uniform(-NOISE, NOISE, len(x))
    assert tiers(moved).tolist() == tiers(x).tolist() == [sorted(set(shares), reverse=True).index(s) for s in shares]


def test_what_is_no_number_stays() -> None:
    assert np.isnan(settled(np.array([math.nan, 1.0]))).tolist() == [True, False]
    assert settled(math.inf) == math.inf
    assert math.copysign(1, settled(-1e-12)) == 1


@pytest.mark.parametrize(
    ("x", "digits", "said"),
    [
        (11.45, 1, "11.5"), (-10.25, 1, "-10.3"), (0.05, 1, "0.1"), (-0.04, 1, "0.0"), (-1e-13, 1, "0.0"),
        (2.5, 0, "3"), (1e6, 0, "1000000"), (math.nan, 1, "–"), (None, 1, "–"), (99.95, 1, "100.0"),
    ],
)  # fmt: skip
def test_halves_are_printed_away_from_nought(x: float | None, digits: int, said: str) -> None:
    assert fixed(x, digits) == said


def test_a_sign_is_said_where_it_is_wanted() -> None:
    assert [fixed(x, sign=True) for x in (1.0, 0.0, -0.01, -1.0)] == ["+1.0", "+0.0", "+0.0", "-1.0"]


@given(n=st.integers(0, 10**7), of=st.integers(1, 1000), digits=st.integers(0, 3))
def test_a_printed_number_is_the_nearest_with_its_digits(n: int, of: int, digits: int) -> None:
    said = Decimal(fixed(n / of, digits))
    assert abs(Fraction(said) - Fraction(n, of)) <= Fraction(1, 2 * 10**digits) + Fraction(1, 10**DECIMALS)


def test_three_digits_and_every_one_before_the_point() -> None:
    assert [significant(x) for x in (1000.0, 999.6, 12.345, 0.00012345, 0.0, math.nan)] == [
        "1000", "1000", "12.3", "0.000123", "0", "–",
    ]  # fmt: skip
    assert significant(math.nextafter(1000.0, 0)) == "1000"


def test_nine_digits_are_left_of_a_logarithm() -> None:
    assert steady(math.nextafter(0.3, 1)) == 0.3


def test_a_weighted_sum_is_added_from_the_left() -> None:
    x, w = np.array([[1e16, 1.0, -1e16], [1.0, 2.0, 3.0]]), [1.0, 1.0, 1.0]
    assert weighted(x, w).tolist() == [(1e16 + 1.0) - 1e16, 6.0]
    assert weighted([1.0, 3.0], [0.25, 0.75]) == 2.5
