"""How methods stand: figures that can be checked by hand, and whom a newcomer may change."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made import failure, stored, study
from resampled import bootstrap

from tlbench.board import tables
from tlbench.results import frame, grid, ranking, standings, stats
from tlbench.results.grid import Grid
from tlbench.results.standings import Standing

TASKS = ("toy/a-b", "toy/b-a", "other/x-y", "third/u-v")


def made(tmp_path: Path, answers: dict[str, np.ndarray]) -> Grid:
    return grid.of(frame.standing(frame.load(stored(tmp_path, study(answers, TASKS)))), 5)


def answers(seed: int = 0, *, seeds: int = 5, n: int = 80, **accuracy: float) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    plain = {"target_only": 0.5, "source_only": 0.4, "chance": 0.1, "target_full": 0.95, **accuracy}
    return {m: random.random((len(TASKS), seeds, n)) < a for m, a in plain.items()}


def by_name(found: list[Standing]) -> dict[str, Standing]:
    return {s.method: s for s in found}


def test_families_weigh_alike_and_the_gain_is_paired(tmp_path: Path) -> None:
    g = made(tmp_path, answers(dann=0.6, coral=0.45))
    dann = by_name(standings.standings(g))["dann"]
    i, j = g.methods.index("dann"), g.methods.index("target_only")
    gain = (g.value[i] - g.value[j]).mean(1)
    of = {name: gain[[k for k, x in enumerate(g.groups) if x == name]].mean() for name in g.groups}
    assert set(of) == {"toy", "other", "third"}
    assert dann.gain.mean == pytest.approx(np.mean(list(of.values())))
    assert dann.beyond.mean == pytest.approx(dann.gain.mean)
    assert dann.beyond.se == pytest.approx(np.std(list(of.values()), ddof=1) / 3**0.5)
    assert dann.beyond.df == 2


def test_adding_a_method_changes_nobodys_primary_figures(tmp_path: Path) -> None:
    few = answers(dann=0.6, coral=0.45)
    more = {**few, **{m: v for m, v in answers(1, best=0.9, worse=0.2, middling=0.5).items() if m not in few}}
    before = by_name(standings.standings(made(tmp_path / "1", few)))
    after = by_name(standings.standings(made(tmp_path / "2", more)))
    for name, one in before.items():
        other = after[name]
        for what in ("accuracy", "gain", "beyond", "harm", "iqm", "improves", "won", "ranked", "measured", "owed"):
            assert getattr(other, what) == getattr(one, what), (name, what)
    assert after["coral"].mean_rank != before["coral"].mean_rank  # what does depend on others


def test_a_copy_of_the_reference_gains_nothing_and_harms_nobody(tmp_path: Path) -> None:
    found = answers()
    copy = by_name(standings.standings(made(tmp_path, {**found, "copy": found["target_only"]})))["copy"]
    assert (copy.gain.mean, copy.gain.se) == (0, 0)
    assert copy.harm is not None
    assert copy.harm.counts == (0, 0, 0)
    assert copy.harm.negative == copy.harm.positive == 0
    assert copy.won == (0, 4, 0)


def test_the_best_comes_first_and_those_without_a_rank_last(tmp_path: Path) -> None:
    found = standings.standings(made(tmp_path, answers(dann=0.8, coral=0.3)))
    assert [s.method for s in found if s.ranked] == ["dann", "target_only", "source_only", "coral"]
    assert {s.method for s in found[4:]} == {"chance", "target_full"}  # a control and the skyline
    assert [s.group for s in found[:4]] == [0, 1, 2, 3]
    assert found[0].rank == (1, 1)
    assert found[3].harm is not None
    assert found[3].harm.negative == 4
    assert found[3].harm.counts[1] == 4


def test_a_method_with_a_hole_is_not_ranked_and_one_with_few_failures_is(tmp_path: Path) -> None:
    g = made(tmp_path, answers(dann=0.6, coral=0.6, jan=0.6))
    value, imputed = g.value.copy(), g.imputed.copy()
    value[g.methods.index("dann"), 0, 0] = np.nan
    imputed[g.methods.index("coral"), 0, :2] = True  # 2 of 20
    imputed[g.methods.index("jan"), 0, :3] = True
    over = value - value[g.methods.index("target_only")]
    found = by_name(standings.standings(replace(g, value=value, imputed=imputed, gain=over)))
    assert not found["dann"].ranked
    assert (found["dann"].measured, found["dann"].owed) == (19, 20)
    assert found["coral"].ranked
    assert found["coral"].imputed == 2
    assert not found["jan"].ranked


def test_with_too_few_seeds_harm_is_not_tested(tmp_path: Path) -> None:
    coral = by_name(standings.standings(made(tmp_path, answers(seeds=3, coral=0.1))))["coral"]
    assert coral.harm is not None
    assert (coral.harm.counts[1], coral.harm.tested, coral.harm.sure_rate) == (4, 0, None)
    assert "0, 4 not tested" in tables.standing([coral], {}, set())
    assert "| 100 % (not tested) | not tested | not tested |" in tables.harm([coral], {})


def test_in_the_rate_of_sure_harm_families_weigh_alike(tmp_path: Path) -> None:
    found = answers(coral=0.5)
    found["coral"][2] = np.random.default_rng(1).random((5, 80)) < 0.1  # one family of three, and one task of four
    coral = by_name(standings.standings(made(tmp_path, found)))["coral"]
    assert coral.harm is not None
    assert (coral.harm.negative, coral.harm.tested) == (1, 4)
    assert coral.harm.sure_rate == pytest.approx(1 / 3)
    assert "| 1/0 | 33 % |" in tables.harm([coral], {})


def test_a_group_holds_those_that_the_same_interval_as_compares_does_not_tell_from_its_best(tmp_path: Path) -> None:
    """Answers on few samples that every seed meets again: over seeds alone the best is far from the next."""
    first = np.tile(np.arange(20) < 12, (4, 5, 1))
    second, third = first.copy(), first.copy()
    second[:, :, 11] = False  # 5 points below on every task and seed, by the same sample
    third[:, :, 4:12] = False  # 40 points
    for s in range(5):  # so that the seeds differ at all
        first[0, s, 12 + s % 2] = True
    base = np.tile(np.arange(20) < 2, (4, 5, 1))
    g = made(tmp_path, {"target_only": base, "source_only": base, "dann": first, "coral": second, "mcc": third})
    found = by_name(standings.standings(g))
    assert [found[m].group for m in ("dann", "coral", "mcc")] == [0, 0, 1]
    places = [g.methods.index(m) for m in ("dann", "coral", "mcc")]
    w = standings.weights(g.groups)
    near, far = standings.differences(g, places[0], places[1:], w)
    assert near.mean < near.half_width()
    assert far.mean > far.half_width()
    seeds = stats.over_seeds([((g.value[places[0]] - g.value[places[1]]).T @ w).tolist()])
    assert seeds.mean > 5 * seeds.half_width()
    assert found["coral"].rank[0] == 1  # ranks know of other test samples too


def test_a_part_of_the_tasks_is_judged_by_itself(tmp_path: Path) -> None:
    g = made(tmp_path, answers(dann=0.6))
    mask = np.array([t.startswith("toy/") for t in g.tasks])
    dann = by_name(standings.standings(g, mask))["dann"]
    i = g.methods.index("dann")
    assert dann.owed == 10
    assert dann.gain.mean == pytest.approx(g.gain[i, mask].mean())
    assert np.isnan(dann.beyond.se)  # one family says nothing of new ones


def test_the_tables_show_every_method_and_mark_changed_code(tmp_path: Path) -> None:
    g = made(tmp_path, answers(dann=0.6))
    found = standings.standings(g)
    for text in (tables.standing(found, {"dann": 1.5}, {"dann"}), tables.short(found, {"dann"})):
        lines = text.splitlines()
        assert len(lines) == 2 + len(found)
        assert len({line.count("|") for line in lines}) == 1
        assert "| dann † |" in text
    assert "| 1.50 |" in tables.standing(found, {"dann": 1.5}, set())
    assert "nan" not in tables.standing(found, {}, set()) + tables.suite(g, set())


def test_the_budget_at_which_the_source_becomes_harmful_is_counted_task_by_task(tmp_path: Path) -> None:
    g = made(tmp_path, answers(dann=0.6))
    i = g.methods.index("dann")
    at = {}
    for k, sign in ((1, (5.0, 5, 5, 5)), (5, (5.0, -5, 5, 5)), (20, (-5.0, -5, 5, -5))):
        mean = g.mean.copy()
        mean[i] = sign
        at[k] = replace(g, budget=k, mean=mean)
    assert tables.turning_points(at)["dann"] == "3 of 4 tasks, median 20"


def test_with_few_families_no_pair_could_be_told_apart_and_with_many_the_sure_ones_are(tmp_path: Path) -> None:
    few = made(tmp_path / "1", answers(dann=0.9))
    assert standings.told_apart(few, ["dann", "target_only"]) is None
    many = tuple(f"toy{i}/a-b" for i in range(8))
    random = np.random.default_rng(0)
    found = {m: random.random((8, 5, 80)) < a for m, a in {"target_only": 0.5, "dann": 0.9, "copy": 0.5}.items()}
    g = grid.of(frame.standing(frame.load(stored(tmp_path / "2", study(found, many)))), 5)
    pairs = standings.told_apart(g, ["dann", "target_only", "copy"])
    assert pairs is not None
    told = {(p.first, p.second): p.adjusted < 0.05 for p in pairs}
    assert told == {("dann", "target_only"): True, ("dann", "copy"): True, ("target_only", "copy"): False}


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 6), st.integers(1, 5), st.integers(2, 6))
def test_the_fast_bootstrap_of_means_is_the_general_one(seed: int, methods: int, tasks: int, seeds: int) -> None:
    random = np.random.default_rng(seed)
    x, w = random.normal(size=(methods, tasks, seeds)), np.full(tasks, 1 / tasks)
    fast = ranking.bootstrap_means(x, w, np.random.default_rng(1), 4000)
    slow = bootstrap(lambda v: v.mean(-1) @ w, x, np.random.default_rng(2), 400, student_t=True)
    np.testing.assert_allclose(fast.value, slow.value)
    spread = fast.draws.std(0)
    np.testing.assert_allclose(fast.draws.mean(0), fast.value, atol=5 * spread.max() / 4000**0.5 + 1e-12)
    np.testing.assert_allclose(slow.draws.std(0), spread, rtol=0.25, atol=1e-12)


def test_the_weights_of_tasks_are_those_of_the_macro_mean() -> None:
    groups = ("a", "b", "a", "c", "a")
    x = np.arange(5.0)
    assert x @ standings.weights(groups) == pytest.approx(stats.family_means(x, groups).mean())


def test_a_gain_is_bounded_for_new_seeds_and_for_new_test_samples(tmp_path: Path) -> None:
    """Few test samples that every seed meets again: the seeds agree, and say too little."""
    easy = np.arange(20) < 12
    rows = {m: np.tile(easy, (4, 5, 1)) for m in ("target_only", "source_only")}
    better = rows["target_only"].copy()
    better[:, :, 12:16] = True  # 20 points, on the same four samples every time
    better[0, 0, 16] = True  # so that seeds differ at all
    g = made(tmp_path, {**rows, "dann": better})
    i = g.methods.index("dann")
    w = standings.weights(g.groups)
    found = by_name(standings.standings(g))["dann"].gain
    assert found.mean == pytest.approx(float(g.gain[i].mean(1) @ w))
    assert found.se == pytest.approx(float(np.sqrt(((w * g.se[i]) ** 2).sum())))
    assert found.half_width() > 5 * stats.pooled_t(g.gain[i], w).half_width()


def test_a_source_turns_harmful_only_where_every_budget_was_measured(tmp_path: Path) -> None:
    at = {}
    for k, right in ((1, 0.9), (5, 0.3)):
        tasks = TASKS if k == 1 else TASKS[:2]
        bits = {
            m: np.tile(np.arange(80) < 80 * a, (len(tasks), 5, 1)) for m, a in (("target_only", 0.5), ("dann", right))
        }
        at[k] = grid.of(frame.standing(frame.load(stored(tmp_path / str(k), study(bits, tasks, budget=k)))), k)
    assert tables.turning_points(at) == {"dann": "2 of 2 tasks, median 5"}


def test_a_failed_row_that_tells_another_test_set_moves_nobody(tmp_path: Path) -> None:
    rows = study(answers(dann=0.6), TASKS)
    odd = failure("aaa", 0, task=TASKS[0], n=80)
    plain, other = (
        standings.standings(grid.of(frame.standing(frame.load(stored(tmp_path / name, [extra, *rows]))), 5))
        for name, extra in (("1", odd), ("2", replace(odd, n_test=1000)))
    )
    assert repr(plain) == repr(other)


def test_an_improvement_weighs_families_alike(tmp_path: Path) -> None:
    bits = answers(dann=0.5)
    bits["dann"][:2] = True  # on both tasks of one family
    bits["dann"][2:] = False
    found = by_name(standings.standings(made(tmp_path, bits)))["dann"]
    assert found.improves == pytest.approx(1 / 3)
