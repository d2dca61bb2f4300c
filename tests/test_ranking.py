"""Rankings: counted by hand, held against scipy and brute force, and blind to what must not matter."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from resampled import bootstrap
from scipy import stats as scipy_stats

from tlbench.results.ranking import (
    Bootstrap,
    holm,
    iqm,
    probability_of_improvement,
    rank_intervals,
    ranks,
    tie_groups,
    widened,
    wilcoxon_holm,
    win_tie_loss,
)

tables = arrays(float, st.tuples(st.integers(1, 5), st.integers(1, 6)), elements=st.integers(-3, 3).map(float))
seeds = st.integers(0, 10_000)


# the middle half


def test_the_interquartile_mean_is_of_the_middle_half_of_all_runs() -> None:
    assert iqm([[100.0, 1.0, 2.0, 3.0], [4.0, -100.0, 5.0, 0.0]]) == pytest.approx((1 + 2 + 3 + 4) / 4)
    assert iqm([[7.0]]) == 7.0


@given(table=arrays(float, (4, 5), elements=st.floats(-100, 100)), seed=seeds)
def test_outliers_and_order_do_not_move_an_interquartile_mean(table: np.ndarray, seed: int) -> None:
    middle = np.sort(table, axis=None)[5:15]
    assert iqm(table) == pytest.approx(middle.mean(), abs=1e-9)
    assert iqm(np.random.default_rng(seed).permuted(table.ravel())) == pytest.approx(iqm(table), abs=1e-9)
    higher = table.ravel().copy()
    higher[np.argsort(higher)[-5:]] += 1000
    assert iqm(higher) == pytest.approx(iqm(table), abs=1e-9)


def test_methods_have_an_interquartile_mean_each() -> None:
    scores = np.random.default_rng(0).normal(0, 1, (3, 4, 5))
    assert iqm(scores).tolist() == [pytest.approx(iqm(one)) for one in scores]
    scores[1, 2, 3] = math.nan  # not trimmed away as if it were the best
    assert np.isnan(iqm(scores)).tolist() == [False, True, False]


# who beats whom


def test_an_improvement_counted_by_hand() -> None:
    # first task: 2 beats 1, ties 2 -> 3/4; 0 loses to both -> 0. Second: both of one seed beat the other's -> 1
    assert probability_of_improvement([[2.0, 0.0], [5.0, 5.0]], [[1.0, 2.0], [0.0, 0.0]]) == pytest.approx(
        (1.5 / 4 + 1) / 2
    )


@settings(max_examples=50, deadline=None)
@given(a=arrays(float, (3, 4), elements=st.integers(0, 5)), b=arrays(float, (3, 6), elements=st.integers(0, 5)))
def test_an_improvement_is_mann_and_whitneys(a: np.ndarray, b: np.ndarray) -> None:
    u = [scipy_stats.mannwhitneyu(x, y, method="asymptotic").statistic / 24 for x, y in zip(a, b, strict=True)]
    assert probability_of_improvement(a, b) == pytest.approx(np.mean(u))
    assert probability_of_improvement(a, b) + probability_of_improvement(b, a) == pytest.approx(1)
    assert probability_of_improvement(a, a) == pytest.approx(0.5)
    assert probability_of_improvement(np.exp(a), np.exp(b)) == pytest.approx(probability_of_improvement(a, b))


def test_a_run_that_is_missing_beats_nobody_and_loses_to_nobody() -> None:
    assert np.isnan(probability_of_improvement([[1.0, math.nan]], [[0.0]]))
    assert np.isnan(probability_of_improvement([[1.0]], [[math.nan, 2.0]]))


def test_half_a_point_is_neither_won_nor_lost() -> None:
    assert win_tie_loss([0.51, 0.5, 0.0, -0.5, -0.51, 9.0, math.nan]) == (2, 3, 1)
    assert win_tie_loss([0.51, 0.5, -3.0], margin=0.0) == (2, 0, 1)


# ranks


def test_ranks_counted_by_hand() -> None:
    means = np.array([[90.0, 50.0, 7.0], [80.0, 60.0, 7.0], [70.0, 60.0, 7.0]])
    assert ranks(means).tolist() == [[1.0, 3.0, 2.0], [2.0, 1.5, 2.0], [3.0, 1.5, 2.0]]
    assert ranks(means).mean(1).tolist() == [2.0, pytest.approx(5.5 / 3), pytest.approx(6.5 / 3)]


def test_what_floating_point_adds_does_not_break_a_tie() -> None:
    means = np.array([[0.1 + 0.2], [0.3]])
    assert means[0, 0] != means[1, 0]
    assert ranks(means).tolist() == [[1.5], [1.5]]
    assert ranks(means + np.array([[2e-6], [0.0]])).tolist() == [[1.0], [2.0]]


def test_a_task_that_somebody_was_not_run_on_ranks_nobody() -> None:
    found = ranks(np.array([[1.0, 2.0], [math.nan, 3.0]]))
    assert np.isnan(found[:, 0]).all()
    assert found[:, 1].tolist() == [2.0, 1.0]


@settings(max_examples=100, deadline=None)
@given(means=tables, seed=seeds)
def test_ranks_are_shared_out_and_know_no_names(means: np.ndarray, seed: int) -> None:
    m = len(means)
    found = ranks(means)
    assert found.sum(0) == pytest.approx(np.full(means.shape[1], m * (m + 1) / 2))
    beaten = (means[None] > means[:, None]).sum(1) + ((means[None] == means[:, None]).sum(1) + 1) / 2
    assert found == pytest.approx(beaten)
    order = np.random.default_rng(seed).permutation(m)
    assert ranks(means[order]) == pytest.approx(found[order])
    assert ranks(3 * means + 7) == pytest.approx(found)


def test_mean_ranks_depend_on_who_else_is_there() -> None:
    random = np.random.default_rng(0)
    a, b = random.normal(0, 1, 24), random.normal(0, 1, 24)
    clones = [b - 1e-3 * (i + 1) for i in range(6)]
    alone, crowded = ranks(np.stack([a, b])).mean(1), ranks(np.stack([a, b, *clones])).mean(1)
    assert crowded[0] - crowded[1] > 2 > alone[0] - alone[1]


# resampling


def test_methods_are_resampled_together() -> None:
    """Two methods that differ by one point on every seed differ by one point in every resample."""
    random = np.random.default_rng(0)
    one = random.normal(50, 10, (1, 6, 5))
    both = np.concatenate([one, one + 1])
    for shared in (True, False):
        draws = bootstrap(lambda v: v.mean((1, 2)), both, np.random.default_rng(1), 200, shared=shared).draws
        assert draws.shape == (200, 2)
        assert draws[:, 1] - draws[:, 0] == pytest.approx(np.ones(200))
        assert draws[:, 0].std() > 0.5


def test_tasks_are_resampled_together_only_where_they_share_seeds() -> None:
    values = np.array([[0.0, 1.0, 2.0], [0.0, 1.0, 2.0]])  # (tasks, seeds), the same noise on both
    together = bootstrap(lambda v: v[0].mean() - v[1].mean(), values, np.random.default_rng(0), 100)
    apart = bootstrap(lambda v: v[0].mean() - v[1].mean(), values, np.random.default_rng(0), 100, shared=False)
    assert together.draws == pytest.approx(np.zeros(100))
    assert apart.draws.std() > 0.3


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("student_t", [True, False])
def test_draws_spread_as_the_mean_of_as_many_seeds_does(shared: bool, student_t: bool) -> None:
    """All resamples of three seeds are counted; their variance is (S - 1) / S of the mean's, which widening mends."""
    values = np.random.default_rng(3).normal(0, 1, (4, 3))
    found = bootstrap(np.mean, values, np.random.default_rng(0), 20_000, shared=shared, student_t=student_t)
    variance = values.mean(0).var(ddof=1) / 3 if shared else (values.var(1, ddof=1) / 3).sum() / 16
    if student_t:
        variance *= (scipy_stats.t.ppf(0.975, 2 if shared else 8) / scipy_stats.norm.ppf(0.975)) ** 2
    assert float(found.value) == pytest.approx(values.mean())
    assert found.draws.var() == pytest.approx(variance, rel=6 * math.sqrt(2 / 20_000))


def test_an_interval_is_of_percentiles_widened_about_the_value() -> None:
    values = np.array([[0.0, 1.0, 5.0, 6.0]])
    found = bootstrap(np.mean, values, np.random.default_rng(0), 50_000)
    counted = [np.mean(drawn) for drawn in product(values[0], repeat=4)]
    low, high = (3 + math.sqrt(4 / 3) * (q - 3) for q in np.quantile(counted, [0.025, 0.975]))
    assert found.interval() == (pytest.approx(low, abs=0.3), pytest.approx(high, abs=0.3))
    wider = bootstrap(np.mean, values, np.random.default_rng(0), 50_000, level=0.99).interval()
    assert wider[0] < low < high < wider[1]


def test_resampling_is_repeatable_and_one_seed_says_nothing() -> None:
    values = np.random.default_rng(0).normal(0, 1, (3, 4, 5))
    one, two = (bootstrap(mean_of, values, np.random.default_rng(7), 50).draws for _ in range(2))
    assert (one == two).all()
    alone = bootstrap(mean_of, values[:, :, :1], np.random.default_rng(7), 50)
    assert alone.value == pytest.approx(values[:, :, 0].mean(1))
    assert np.isnan(alone.interval()).all()


def mean_of(values: np.ndarray) -> np.ndarray:
    return np.asarray(values.mean((1, 2)))


# intervals of ranks, and ties


def draws(*columns: list[float]) -> Bootstrap:
    """The draws of each method, the value its mean."""
    table = np.array(columns).T
    return Bootstrap(table.mean(0), table, 0.95)


def agreed(best: int, others: Sequence[int]) -> int | None:
    """The other interval says what the draws say."""
    return others[0] if others else None


def test_rank_intervals_counted_by_hand() -> None:
    third = [0.0] * 20
    found = rank_intervals(draws([9.0] * 20, [5.0, 1.0] * 10, [3.0] * 20, third))
    assert found.tolist() == [[1, 1], [2, 3], [2, 3], [4, 4]]


def test_ties_share_a_rank_interval() -> None:
    assert rank_intervals(draws([1.0] * 9, [1.0] * 9)).tolist() == [[1, 2], [1, 2]]


def test_tie_groups_counted_by_hand() -> None:
    steady, other = [1.0] * 20, [0.0] * 20
    assert tie_groups(draws(other, steady), agreed).tolist() == [1, 0]
    noisy = [-2.0, 3.0] * 10  # mean 1/2: not told from either
    assert tie_groups(draws(steady, noisy), agreed).tolist() == [0, 0]
    assert tie_groups(draws(other, noisy, steady), agreed).tolist() == [1, 0, 0]  # compared with the group's best alone


def test_who_is_told_apart_by_the_draws_alone_stays_in_the_group() -> None:
    steady = draws([3.0] * 20, [2.0] * 20, [1.0] * 20, [0.0] * 20)
    asked = []

    def third(best: int, others: Sequence[int]) -> int | None:
        asked.append((best, list(others)))
        return next((m for m in others if best == 0 and m == 2), None)

    assert tie_groups(steady, third).tolist() == [0, 0, 1, 1]
    assert asked == [(0, [1, 2, 3]), (2, [3])]


def test_draws_are_widened_to_an_interval_and_never_narrowed() -> None:
    random = np.random.default_rng(0)
    scores = Bootstrap(np.array([5.0, 5.0, 1.0]), random.normal((5, 5, 1), (1, 1, 0), (40_000, 3)), 0.95)
    low, high = widened(scores, [4.0, 0.5, math.nan], random).interval()
    assert ((high - low) / 2).tolist() == [pytest.approx(4, rel=0.02), pytest.approx(1.96, rel=0.02), 0]


def test_one_seed_tells_nobody_apart() -> None:
    alone = bootstrap(mean_of, np.arange(6.0).reshape(3, 2, 1), np.random.default_rng(0), 9)
    assert rank_intervals(alone).tolist() == [[1, 3]] * 3
    assert tie_groups(alone, agreed).tolist() == [0, 0, 0]


def test_ties_are_of_differences_and_not_of_overlapping_intervals() -> None:
    shared = np.random.default_rng(0).normal(0, 10, 200)
    assert tie_groups(draws(list(shared + 1), list(shared)), agreed).tolist() == [0, 1]


@settings(max_examples=50, deadline=None)
@given(seed=seeds)
def test_groups_follow_the_order_of_the_methods(seed: int) -> None:
    random = np.random.default_rng(seed)
    values = random.normal(0, 1, (5, 4, 6)) + random.normal(0, 1, (5, 1, 1))
    scores = bootstrap(mean_of, values, random, 100)
    groups, intervals = tie_groups(scores, agreed), rank_intervals(scores)
    best_first = groups[np.argsort(-scores.value)]
    assert (np.diff(best_first) >= 0).all()
    assert sorted(set(groups)) == list(range(groups.max() + 1))
    assert (intervals[:, 0] <= intervals[:, 1]).all()
    assert intervals.min() >= 1
    assert intervals.max() <= 5


# tests over families


@pytest.mark.parametrize(("methods", "families"), [(2, 6), (3, 7), (8, 11)])
def test_too_few_families_are_told_before_any_test(methods: int, families: int) -> None:
    """As many as METHODOLOGY 4.2 and 4.3 say: one family fewer, and the clearest win of all would not be found."""
    names = [f"m{i}" for i in range(methods)]
    table = np.arange(methods)[:, None] * 10.0 + np.random.default_rng(0).normal(0, 1, (methods, families))
    assert wilcoxon_holm(table[:, 1:], names) is None
    found = wilcoxon_holm(table, names)
    assert found is not None
    assert min(pair.adjusted for pair in found) < 0.05


def test_a_signed_rank_test_counted_by_brute_force() -> None:
    random = np.random.default_rng(5)
    table = random.normal(0, 1, (3, 9)) + np.array([[0.0], [0.5], [2.0]])
    found = wilcoxon_holm(table, "abc")
    assert found is not None
    assert [(pair.first, pair.second) for pair in found] == list(combinations("abc", 2))
    for pair in found:
        d = table["abc".index(pair.first)] - table["abc".index(pair.second)]
        size = scipy_stats.rankdata(abs(d))
        sums = np.array([size @ signs for signs in product([0, 1], repeat=9)])
        extreme = abs(sums - size.sum() / 2) >= abs(size @ (d > 0) - size.sum() / 2) - 1e-9
        assert pair.p == pytest.approx(extreme.mean())


def test_methods_that_are_the_same_are_never_told_apart() -> None:
    table = np.random.default_rng(0).normal(0, 1, (1, 10)).repeat(2, axis=0)
    found = wilcoxon_holm(table, ["a", "b"])
    assert found is not None
    assert found[0].p == found[0].adjusted == 1


def test_families_without_a_difference_are_left_out() -> None:
    gains = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 0.0])
    found = wilcoxon_holm(np.stack([gains, np.zeros(8)]), ["a", "b"])
    assert found is not None
    assert found[0].p == pytest.approx(2 / 2**7)


@settings(max_examples=100, deadline=None)
@given(p=st.lists(st.floats(0, 1), min_size=1, max_size=8), seed=seeds)
def test_holm_is_the_closed_test_of_bonferroni(p: list[float], seed: int) -> None:
    """A hypothesis is rejected when Bonferroni rejects every intersection that it is part of."""
    among = range(len(p))
    sets = [s for size in range(1, len(p) + 1) for s in combinations(among, size)]
    closed = [max(min(1.0, len(s) * min(p[j] for j in s)) for s in sets if i in s) for i in among]
    assert holm(p) == pytest.approx(closed)
    order = np.random.default_rng(seed).permutation(len(p))
    assert holm(np.array(p)[order]) == pytest.approx(holm(p)[order])
