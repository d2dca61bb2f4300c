"""Intervals: right in the cases that can be counted by hand, and honest in a simulation of what they are for."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import optimize
from scipy import stats as scipy_stats

from tlbench.results import stats
from tlbench.results.editions import Protocol
from tlbench.results.ranking import TIE
from tlbench.results.stats import (
    MARGIN,
    SEEDS_TO_TEST,
    Estimate,
    benjamini_hochberg,
    cvar,
    family_means,
    harm,
    harmful_from,
    over_families,
    over_seeds,
    p_greater,
    pooled_t,
    rate,
    severity,
    two_way,
    two_way_packed,
    verdict,
    worst,
)

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


def right_or_wrong(groups: int, seeds: int, examples: int, seed: int) -> np.ndarray:
    """(groups, seeds, examples) of bool, some groups all wrong or all right."""
    random = np.random.default_rng(seed)
    return np.asarray(random.random((groups, seeds, examples)) < random.choice([0.0, 0.3, 0.9, 1.0], (groups, 1, 1)))


@settings(max_examples=150, deadline=None)
@given(
    shape=st.tuples(st.integers(0, 5), st.integers(1, 7), st.integers(1, 40)), seed=st.integers(0, 999), at=st.data()
)
def test_packed_groups_have_the_estimate_that_each_has_by_itself(
    shape: tuple[int, int, int], seed: int, at: st.DataObject
) -> None:
    a, b = right_or_wrong(*shape, seed), right_or_wrong(*shape, seed + 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stats, "BITS_AT_ONCE", at.draw(st.sampled_from([1, 64, 1 << 21])))
        mean, se, df = two_way_packed(np.packbits(a, axis=2), np.packbits(b, axis=2), shape[2])
    singly = [two_way(100 * (x.astype(float) - y)) for x, y in zip(a, b, strict=True)]
    assert mean.shape == se.shape == df.shape == (shape[0],)
    assert mean == pytest.approx([e.mean for e in singly], abs=1e-11)
    assert se**2 == pytest.approx([e.se**2 for e in singly], abs=1e-9, nan_ok=True)
    assert df == pytest.approx([e.df for e in singly])
    assert (se[(a == b).all((1, 2))] == 0).all() or shape[1] == shape[2] == 1  # exactly: it decides a p-value


def test_many_seeds_do_not_overflow_the_counts() -> None:
    a, b = np.ones((1, 300, 9), dtype=bool), np.zeros((1, 300, 9), dtype=bool)
    b[0, 0, 0] = True
    mean, se, _ = two_way_packed(np.packbits(a, axis=2), np.packbits(b, axis=2), 9)
    whole = two_way(100 * (a[0].astype(float) - b[0]))
    assert (mean[0], se[0]) == (pytest.approx(whole.mean), pytest.approx(whole.se))


def test_packed_bits_must_be_of_as_many_examples() -> None:
    a = np.zeros((2, 3, 2), dtype=np.uint8)
    for b, n in ((a, 8), (a, 17), (a[:1], 16), (a[0], 16)):
        with pytest.raises(ValueError, match="examples"):
            two_way_packed(a, b, n)


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


def test_noise_of_each_task_by_itself_is_pooled() -> None:
    estimate = pooled_t([[1.0, 3.0, 8.0], [10.0, 20.0, 30.0]])
    assert estimate.mean == pytest.approx(12.0)
    assert estimate.se**2 == pytest.approx((13 + 100) / 2 / (2 * 3))  # the pooled variance over six values
    assert estimate.df == 4


@settings(max_examples=50, deadline=None)
@given(values=arrays(float, st.tuples(st.integers(1, 6), st.integers(2, 5)), elements=st.integers(-50, 50)))
def test_equal_weights_are_no_weights(values: np.ndarray) -> None:
    plain, weighted = pooled_t(values), pooled_t(values, np.full(len(values), 3.0))
    assert plain.df == pytest.approx(len(values) * (values.shape[1] - 1))
    assert (weighted.mean, weighted.se, weighted.df) == pytest.approx((plain.mean, plain.se, plain.df))
    one = pooled_t(values, np.eye(len(values))[0])  # all weight on one task: that task's t interval
    low, high = one.mean - one.half_width(), one.mean + one.half_width()
    if values[0].std() > 0:
        expected = scipy_stats.ttest_1samp(values[0], 0).confidence_interval(0.95)
        assert (low, high) == (pytest.approx(expected.low), pytest.approx(expected.high))


def test_families_weigh_the_same_and_so_do_their_tasks() -> None:
    values, groups = [1.0, 3.0, 10.0, 4.0], ["digits", "digits", "eeg", "digits"]
    assert family_means(values, groups).tolist() == [pytest.approx(8 / 3), 10.0]  # in the order of their first task
    assert np.isnan(family_means([1.0, math.nan, 2.0], ["a", "a", "b"])).tolist() == [True, False]


def test_new_families_are_a_sample_and_their_tasks_are_not() -> None:
    values, groups = [1.0, 3.0, 10.0, 4.0, 5.0], ["a", "a", "b", "c", "c"]
    estimate = over_families(values, groups)
    expected = scipy_stats.ttest_1samp([2.0, 10.0, 4.5], 0)
    assert (estimate.mean, estimate.df) == (pytest.approx(5.5), 2)
    assert estimate.mean - estimate.half_width() == pytest.approx(expected.confidence_interval(0.95).low)
    doubled = over_families(values * 2, groups * 2)  # more tasks of the same families say nothing new
    assert (doubled.mean, doubled.se, doubled.df) == pytest.approx((estimate.mean, estimate.se, 2))


def test_one_family_and_one_seed_have_no_interval() -> None:
    assert np.isnan(over_families([1.0, 2.0], ["a", "a"]).se)
    assert over_families([1.0, 2.0], ["a", "a"]).mean == 1.5
    assert np.isnan(pooled_t([[1.0], [2.0]]).half_width())


# the words


@pytest.mark.parametrize("seeds", range(1, SEEDS_TO_TEST))
def test_with_too_few_seeds_nothing_is_tested(seeds: int) -> None:
    assert verdict(Estimate(9.0, 0.01, max(1, seeds - 1)), seeds) == "yes, not tested"
    assert verdict(Estimate(-9.0, 0.01, max(1, seeds - 1)), seeds) == "not tested"


def test_harm_is_more_than_the_margin_and_more_than_noise() -> None:
    assert (MARGIN, SEEDS_TO_TEST) == (1.0, 5)
    assert verdict(Estimate(1.01, 0.1, 4), 5) == "yes"
    assert verdict(Estimate(9.0, 9.0, 4), 5) == "unclear"
    assert verdict(Estimate(MARGIN, 0.001, 4), 5) == "no"  # surely harmful, and too little to count
    assert verdict(Estimate(0.0, 5.0, 4), 5) == "no"
    assert verdict(Estimate(-9.0, 0.1, 9), 10) == "no"


def test_an_edition_may_have_another_margin_and_the_protocols_own_is_the_default() -> None:
    assert (Protocol().margin, Protocol().tie) == (MARGIN, TIE)
    assert verdict(Estimate(3.0, 0.1, 4), 5, margin=4.0) == "no"
    assert verdict(Estimate(3.0, 0.1, 4), 5, margin=2.0) == "yes"


def test_harm_is_tested_at_five_per_cent() -> None:
    at = 2.131847  # Student's t with 4 degrees of freedom, one-sided 5 %
    assert verdict(Estimate(2.0, 2.0 / (at + 0.001), 4), 5) == "yes"
    assert verdict(Estimate(2.0, 2.0 / (at - 0.001), 4), 5) == "unclear"


# many tasks at once


@settings(max_examples=100, deadline=None)
@given(p=st.lists(st.floats(0, 1) | st.just(math.nan), max_size=9), q=st.floats(0.001, 0.999))
def test_adjusted_p_values_reject_what_the_step_up_procedure_rejects(p: list[float], q: float) -> None:
    known = sorted(x for x in p if not math.isnan(x))
    below = [x for i, x in enumerate(known, 1) if x * len(known) <= q * i * (1 + 1e-12)]
    limit = max(below, default=-1.0)
    adjusted = benjamini_hochberg(p)
    assert np.isnan(adjusted).tolist() == [math.isnan(x) for x in p]
    for x, y in zip(p, adjusted, strict=True):
        if abs(y - q) > 1e-9:
            assert (y <= q) == (x <= limit)


def test_adjusted_p_values_counted_by_hand() -> None:
    assert benjamini_hochberg([0.01, math.nan, 0.04, 0.03]) == pytest.approx([0.03, math.nan, 0.04, 0.04], nan_ok=True)


@settings(max_examples=50, deadline=None)
@given(mean=st.floats(-9, 9), se=st.just(0.0) | st.floats(0.01, 9), df=st.integers(1, 99))
def test_p_values_of_arrays_are_those_of_estimates(mean: float, se: float, df: int) -> None:
    assert p_greater([mean], [se], [df])[0] == pytest.approx(Estimate(mean, se, df).p_greater())
    assert np.isnan(p_greater([mean, math.nan], [math.nan, 0.0], df)).all()


def test_harm_counted_by_hand() -> None:
    gain = [-9.0, -1.0, -0.5, 0.0, 1.01, 9.0, -9.0, 9.0, math.nan]
    error = [0.1, 0.01, 0.01, 0.0, 0.01, 0.1, 90.0, math.nan, 0.1]
    words = ["negative", "inconclusive", "inconclusive", "inconclusive", "positive", "positive", "inconclusive"]
    assert harm(gain, error, 9.0, 10).tolist() == [*words, "not tested", "not tested"]
    assert harm(gain, error, 9.0, 10, margin=0.4)[2] == "negative"
    assert set(harm(gain, error, 3.0, 4)) == {"not tested"}


def test_a_task_with_too_few_seeds_is_no_part_of_the_correction() -> None:
    at = scipy_stats.t.isf(0.03, 4)  # p = 0.03: found alone, not beside a task without harm
    assert harm([-2.0, 0.0], [2.0 / at, 1.0], 4, 5).tolist() == ["inconclusive", "inconclusive"]
    assert harm([-2.0, 0.0], [2.0 / at, 1.0], 4, [5, 4]).tolist() == ["negative", "not tested"]


@settings(max_examples=50, deadline=None)
@given(gain=arrays(float, 6, elements=st.floats(-5, 5)), seed=st.integers(0, 99))
def test_harm_is_gain_in_the_mirror(gain: np.ndarray, seed: int) -> None:
    error = np.random.default_rng(seed).uniform(0.01, 2, 6)
    mirror = {"negative": "positive", "positive": "negative"}
    words, mirrored = harm(gain, error, 4.0, 5), harm(-gain, error, 4.0, 5)
    assert [mirror.get(w, w) for w in words] == mirrored.tolist()
    order = np.random.default_rng(seed).permutation(6)
    assert harm(gain[order], error[order], 4.0, 5).tolist() == words[order].tolist()


# rates


def families(*harmed: int, of: int = 10) -> tuple[np.ndarray, list[str]]:
    """So many of ten cells harmed in each family."""
    cells = np.concatenate([np.arange(of) < k for k in harmed])
    return cells, [str(g) for g in range(len(harmed)) for _ in range(of)]


def test_a_rate_weighs_families_and_too_few_bound_nothing() -> None:
    found = rate([True, False, False, False, True], ["a", "a", "a", "a", "b"])
    assert (found.value, found.cells, found.families) == (pytest.approx((1 / 4 + 1) / 2), 5, 2)
    assert found.low is found.high is found.low_conservative is found.high_conservative is None
    assert rate(*families(*[1] * 7)).low is None
    assert rate(*families(*[1] * 8)).low is not None


def effective(harmed: tuple[int, ...], of: int = 10) -> tuple[float, float]:
    """(rate, cells worth) by loops, as METHODOLOGY 1.5 writes it."""
    x = [k / of for k in harmed]
    g, p = len(x), sum(x) / len(x)
    n = float(g)
    if p not in (0, 1):
        between = sum((y - p) ** 2 for y in x) / (g - 1) / g
        n = g * of / max(1, between / (p * (1 - p) / (g * of)))
    return p, min(max(n, 1), g * of) * (1.959964 / scipy_stats.t.ppf(0.975, g - 1)) ** 2


CASES = [(0,) * 8, (10,) * 9, (1,) * 8, (10, 0) * 5, (0, 1, 0, 2, 9, 0, 0, 1, 3), (3, 4, 5, 2, 3, 4, 5, 3)]


@pytest.mark.parametrize("harmed", CASES)
def test_wilsons_interval_solves_its_equation(harmed: tuple[int, ...]) -> None:
    """Both ends are rates that lie z standard errors of their own from what was found."""
    found, (p, n) = rate(*families(*harmed)), effective(harmed)
    assert found.value == pytest.approx(p)

    def off(pi: float) -> float:
        return (p - pi) ** 2 - 1.959964**2 * pi * (1 - pi) / n

    assert found.low == pytest.approx(optimize.brentq(off, 0, p - 1e-9) if p > 0 else 0, abs=1e-6)
    assert found.high == pytest.approx(optimize.brentq(off, p + 1e-9, 1) if p < 1 else 1, abs=1e-6)


@pytest.mark.parametrize("harmed", CASES)
def test_clopper_and_pearsons_interval_solves_its_equation(harmed: tuple[int, ...]) -> None:
    """Its ends are where so many or more, so many or fewer, have a chance of 2.5 %; of counts that are not whole."""
    found, (p, n) = rate(*families(*harmed)), effective(harmed)
    low, high = found.low_conservative, found.high_conservative
    assert low is not None
    assert high is not None
    assert low <= p <= high
    if p > 0:
        assert scipy_stats.beta.cdf(low, p * n, n - p * n + 1) == pytest.approx(0.025)
    if p < 1:
        assert scipy_stats.beta.cdf(high, p * n + 1, n - p * n) == pytest.approx(0.975)


def test_both_intervals_are_scipys_where_cells_are_independent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stats, "_effective", lambda x, cells: float(cells))
    found = rate(*families(3, 4, 5, 2, 3, 4, 5, 3))
    test = scipy_stats.binomtest(29, 80)
    wilson, exact = test.proportion_ci(method="wilson"), test.proportion_ci(method="exact")
    assert (found.low, found.high) == (pytest.approx(wilson.low), pytest.approx(wilson.high))
    assert (found.low_conservative, found.high_conservative) == (pytest.approx(exact.low), pytest.approx(exact.high))


@settings(max_examples=50, deadline=None)
@given(harmed=st.lists(st.integers(0, 10), min_size=8, max_size=12), seed=st.integers(0, 99))
def test_intervals_hold_their_rate_and_mirror_its_complement(harmed: list[int], seed: int) -> None:
    cells, groups = families(*harmed)
    found, other = rate(cells, groups), rate(~cells, groups)
    order = np.random.default_rng(seed).permutation(len(cells))
    shuffled = rate(cells[order], [groups[i] for i in order])
    assert found.low is not None
    assert found.high is not None
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert other.low == pytest.approx(1 - found.high, abs=1e-9)
    assert other.high_conservative == pytest.approx(1 - (found.low_conservative or 0.0), abs=1e-9)
    assert (shuffled.low, shuffled.high) == (pytest.approx(found.low, abs=1e-12), pytest.approx(found.high, abs=1e-12))


def test_families_that_agree_within_themselves_widen_an_interval() -> None:
    alike, mixed = rate(*families(*[10, 0] * 5)), rate(*families(*[5] * 10))
    assert alike.value == mixed.value == 0.5
    assert alike.low is not None
    assert mixed.low is not None
    assert alike.low < mixed.low - 0.1


# how bad


def test_how_bad_it_is_counted_by_hand() -> None:
    gap = [3.0, -2.0, 0.5, 8.0, -9.0, 1.0, 0.0, 0.0, -1.0, 2.0]
    assert severity(gap) == pytest.approx((3 + 0.5 + 8 + 1 + 2) / 10)
    assert cvar(gap) == pytest.approx((8 + 3) / 2)
    assert cvar(gap, 0.3) == pytest.approx((8 + 3 + 2) / 3)
    assert cvar(gap[:4]) == worst(gap[:4]) == worst(gap) == 8  # a fifth of four tasks is one
    assert cvar(gap, 1.0) == pytest.approx(np.mean(gap))
    assert cvar([-5.0, -3.0]) == worst([-5.0, -3.0]) == -3  # the worst may be a gain


def test_a_task_that_was_not_run_is_not_forgotten() -> None:
    assert all(np.isnan(f([9.0, math.nan, 1.0])) for f in (severity, cvar, worst))


@settings(max_examples=50, deadline=None)
@given(gap=st.lists(st.floats(-50, 50), min_size=1, max_size=30))
def test_the_worst_is_worse_than_the_worst_fifth_than_the_mean(gap: list[float]) -> None:
    assert worst(gap) + 1e-9 >= cvar(gap) >= np.mean(gap) - 1e-9
    assert severity(gap) >= max(0, float(np.mean(gap))) - 1e-9


def test_the_budget_from_which_a_source_harms() -> None:
    assert harmful_from([1, 5, 20, 100], [-20.0, -0.6, 0.6, 12.0]) == 20
    assert harmful_from([100, 1, 20, 5], [12.0, -20.0, 0.6, -0.6]) == 20
    assert harmful_from([1, 5, 20], [4.4, -0.1, 7.0]) == 1
    assert harmful_from([1, 5], [-1.0, 0.0]) is None
    assert harmful_from([1, 5, 20], [-1.0, math.nan, 3.0]) == 20
    assert harmful_from([], []) is None
