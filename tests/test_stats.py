"""Intervals: right in the cases that can be counted by hand, and honest in a simulation of what they are for."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tlbench.stats import MARGIN, SEEDS_TO_TEST, Estimate, over_seeds, two_way, verdict

matrices = arrays(float, st.tuples(st.integers(2, 6), st.integers(2, 9)), elements=st.sampled_from([-1.0, 0.0, 1.0]))


def clustered(d: np.ndarray) -> tuple[float, float, float]:
    """(seeds, examples, cells) variances of the mean: sums over clusters of squared sums of residuals.

    Cameron, Gelbach & Miller 2011, equation 2.12, for a regression on a constant; each of the first two is corrected by
    g / (g - 1) for its g clusters.
    """
    s, n = d.shape
    mean = sum(d.flat) / (s * n)
    rows, columns, cells = [0.0] * s, [0.0] * n, 0.0
    for i, j in product(range(s), range(n)):
        rest = d[i, j] - mean
        rows[i] += rest
        columns[j] += rest
        cells += rest**2
    all_ = (s * n) ** 2
    return (
        sum(r**2 for r in rows) / all_ * s / (s - 1),
        sum(c**2 for c in columns) / all_ * n / (n - 1),
        cells / all_,
    )


# two samples at once: seeds and test examples


@settings(max_examples=200, deadline=None)
@given(d=matrices)
def test_the_variance_is_the_two_way_clustered_one(d: np.ndarray) -> None:
    estimate, (rows, columns, cells) = two_way(d), clustered(d)
    assert estimate.mean == pytest.approx(d.mean(), abs=1e-12)
    assert estimate.se**2 == pytest.approx(max(rows + columns - cells, rows, columns), abs=1e-12)
    assert estimate.df == len(d) - 1


def test_equal_differences_leave_no_doubt() -> None:
    estimate = two_way(np.full((5, 8), 0.25))
    assert (estimate.mean, estimate.se, estimate.df) == (0.25, 0, 4)
    assert estimate.half_width() == 0
    assert estimate.p_greater(0.0) == 0
    assert estimate.p_greater(0.25) == 1


def test_a_case_counted_by_hand() -> None:
    # mean 1/4; rows and columns lie 1/4 off it: 2 / 16 / 2 = 1/16 each; cells: (9 + 1 + 1 + 1) / 16 / 16 = 3/64
    estimate = two_way(np.array([[1.0, 0.0], [0.0, 0.0]]))
    assert (estimate.mean, estimate.df) == (0.25, 1)
    assert estimate.se**2 == pytest.approx(1 / 16 + 1 / 16 - 3 / 64, abs=1e-15)


def test_a_variance_is_never_below_that_of_one_sample_alone() -> None:
    crossed = two_way(np.array([[1.0, -1.0], [-1.0, 1.0]]))  # rows and columns say 0, cells would take 1/4 off
    assert (crossed.mean, crossed.se) == (0, 0)
    same_seeds = two_way(np.array([[1.0, 0.0, 0.0, 0.0]] * 3))  # the seeds agree: only examples are in doubt
    assert same_seeds.se**2 == pytest.approx((9 + 1 + 1 + 1) / 16 / (4 * 3), abs=1e-15)
    same_examples = two_way(np.array([[1.0] * 4, [0.0] * 4, [0.0] * 4]))
    assert same_examples.se**2 == pytest.approx((4 + 1 + 1) / 9 / (3 * 2), abs=1e-15)


def test_with_one_seed_only_the_examples_are_a_sample() -> None:
    d = np.array([[1.0, 0.0, -1.0, 0.0, 1.0]])
    estimate = two_way(d)
    assert estimate.se == pytest.approx(np.std(d, ddof=1) / math.sqrt(5), abs=1e-15)
    assert (estimate.mean, estimate.df) == (pytest.approx(0.2), 4)


def test_one_example_is_enough_not_to_crash() -> None:
    assert np.isnan(two_way(np.array([[1.0]])).se)  # one value says nothing of its spread
    assert two_way(np.array([[1.0], [0.0]])).se == pytest.approx(0.5)


@settings(max_examples=50, deadline=None)
@given(d=matrices, seed=st.integers(0, 99))
def test_the_order_of_seeds_and_examples_does_not_matter(d: np.ndarray, seed: int) -> None:
    random = np.random.default_rng(seed)
    shuffled = two_way(d[random.permutation(d.shape[0])][:, random.permutation(d.shape[1])])
    assert shuffled.se == pytest.approx(two_way(d).se, abs=1e-12)
    assert two_way(100 * d).se == pytest.approx(100 * two_way(d).se, abs=1e-10)
    assert two_way(-d).mean == -two_way(d).mean


def differences(
    seeds: int, examples: int, by_seed: float, by_example: float, runs: int, gain: float = 0.0
) -> np.ndarray:
    """(runs, seeds, examples) of one method right less the other right, both alike but for `gain`.

    Whether a method is right is the sign of a draw, an example's difficulty for it and a seed's fortune.
    """
    random = np.random.default_rng([seeds, examples, int(10 * by_seed), int(10 * by_example)])

    def right(mean: float) -> np.ndarray:
        fortune = by_seed * random.standard_normal((runs, seeds, 1), np.float32)
        difficulty = by_example * random.standard_normal((runs, 1, examples), np.float32)
        draw = random.standard_normal((runs, seeds, examples), np.float32)
        return fortune + difficulty + draw + mean > 0

    return right(gain).astype(np.int8) - right(0.0)


SETTINGS = [  # seeds, test examples, spread by seed, spread by example
    (5, 200, 0.3, 1.0),
    (5, 500, 0.1, 2.0),
    (10, 100, 0.1, 1.0),
    (10, 500, 0.0, 2.0),
    (10, 200, 0.3, 0.5),
]


@pytest.mark.parametrize(("seeds", "examples", "by_seed", "by_example"), SETTINGS)
def test_two_equal_methods_are_told_apart_about_one_time_in_twenty(
    seeds: int, examples: int, by_seed: float, by_example: float
) -> None:
    runs = 2000  # standard error of the rate: 0.005
    found = [two_way(d).p_greater() < 0.05 for d in differences(seeds, examples, by_seed, by_example, runs)]
    assert 0.01 <= np.mean(found) <= 0.07


def test_a_test_that_forgets_either_sample_would_fail_this_simulation() -> None:
    d = differences(10, 500, 0.1, 2.0, 300)
    cells = d.mean((1, 2)) / (d.std((1, 2)) / math.sqrt(d[0].size))
    over_seeds = d.mean((1, 2)) / (d.mean(2).std(1, ddof=1) / math.sqrt(10))
    assert np.mean(cells > 1.645) > 0.1  # every cell by itself
    assert np.mean(over_seeds > 1.833) > 0.1  # the test examples taken for all there are


def test_a_method_that_is_better_is_found_out() -> None:
    found = [two_way(d).p_greater() < 0.05 for d in differences(10, 500, 0.1, 1.0, 200, gain=0.4)]
    assert np.mean(found) > 0.9


# an estimate


def test_an_interval_is_students() -> None:
    estimate = Estimate(1.0, 0.5, 4)
    assert estimate.half_width() == pytest.approx(2.776445 * 0.5, abs=1e-6)
    assert estimate.half_width(0.9) == pytest.approx(2.131847 * 0.5, abs=1e-6)
    assert estimate.p_greater(1.0) == pytest.approx(0.5)
    assert estimate.p_greater(1.0 - 0.5 * 2.131847) == pytest.approx(0.05, abs=1e-7)
    assert estimate.p_greater(1.0 + 0.5 * 2.131847) == pytest.approx(0.95, abs=1e-7)


# a suite


def test_a_suites_interval_is_of_new_seeds_on_these_tasks() -> None:
    estimate = over_seeds([[1.0, 3.0, 8.0], [10.0, 20.0, 30.0]])
    assert estimate.mean == pytest.approx(12.0)
    assert estimate.se**2 == pytest.approx(np.var([5.5, 11.5, 19.0], ddof=1) / 3)  # the seeds' means over the tasks
    assert estimate.df == 2


def test_tasks_that_differ_from_each_other_do_not_widen_a_suites_interval() -> None:
    near, far = ([[0.0 + step * i, 1.0 + step * i] for i in range(4)] for step in (0, 50))
    assert over_seeds(near).se == pytest.approx(over_seeds(far).se)


def test_one_seed_has_no_interval_over_seeds() -> None:
    assert np.isnan(over_seeds([[1.0], [2.0]]).half_width())


@pytest.mark.parametrize("shared", [0.0, 2.0])
def test_a_suites_interval_covers_its_mean_as_often_as_it_says(shared: float) -> None:
    """Also when the tasks of a seed share noise, as those do that share a target's shots."""
    random = np.random.default_rng(0)
    means, spread = np.array([-3.0, 0.0, 5.0]), np.array([1.0, 2.0, 1.5])
    hits = 0
    for _ in range(2000):
        noise = spread * random.standard_normal((5, 3)) + shared * random.standard_normal((5, 1))
        estimate = over_seeds((means + noise).T.tolist())
        hits += abs(estimate.mean - means.mean()) <= estimate.half_width()
    assert 0.935 <= hits / 2000 <= 0.965  # standard error 0.005


# the words


@pytest.mark.parametrize("seeds", range(1, SEEDS_TO_TEST))
def test_with_too_few_seeds_nothing_is_tested(seeds: int) -> None:
    assert verdict(Estimate(9.0, 0.01, max(1, seeds - 1)), seeds) == "yes, not tested"
    assert verdict(Estimate(-9.0, 0.01, max(1, seeds - 1)), seeds) == "no, not tested"


def test_harm_is_more_than_the_margin_and_more_than_noise() -> None:
    assert (MARGIN, SEEDS_TO_TEST) == (1.0, 5)
    assert verdict(Estimate(1.01, 0.1, 4), 5) == "yes"
    assert verdict(Estimate(9.0, 9.0, 4), 5) == "unclear"
    assert verdict(Estimate(MARGIN, 0.001, 4), 5) == "no"  # surely harmful, and too little to count
    assert verdict(Estimate(0.0, 5.0, 4), 5) == "no"
    assert verdict(Estimate(-9.0, 0.1, 9), 10) == "no"


def test_harm_is_tested_at_five_per_cent() -> None:
    at = 2.131847  # Student's t with 4 degrees of freedom, one-sided 5 %
    assert verdict(Estimate(2.0, 2.0 / (at + 0.001), 4), 5) == "yes"
    assert verdict(Estimate(2.0, 2.0 / (at - 0.001), 4), 5) == "unclear"
