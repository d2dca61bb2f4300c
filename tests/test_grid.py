"""Rows -> grid: every gain is the one that its rows give when they are taken one by one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made import answered, failure, stored, study

from tlbench.methods import versions
from tlbench.results import frame, grid, run_table, store
from tlbench.results.grid import Grid
from tlbench.results.row import Row
from tlbench.results.stats import two_way
from tlbench.results.store import Store

TASKS = ("toy/a-b", "toy/b-a", "other/x+y-z")
SEEDS, N = 5, 37


def draws(seed: int = 0, tasks: int = len(TASKS)) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    names = ("target_only", "source_only", "dann", "coral", "source_plus_target", "chance", "target_full")
    return {m: random.random((tasks, SEEDS, N)) < 0.3 + 0.08 * i for i, m in enumerate(names)}


def made(tmp_path: Path, rows: list[Row], budget: int = 5) -> Grid:
    return grid.of(frame.standing(frame.load(stored(tmp_path, rows))), budget)


def place(rows: list[Row], method: str, task: str, budget: int) -> list[Row]:
    return [r for r in rows if (r.method, r.task, r.budget) == (method, task, budget)]


def test_gains_are_those_of_the_rows_taken_one_by_one(tmp_path: Path) -> None:
    rows = study(draws(), TASKS)
    found = made(tmp_path, rows)
    assert found.tasks == tuple(sorted(TASKS))
    assert found.reference == "target_only"
    for method in ("dann", "coral", "source_only", "source_plus_target"):
        i = found.methods.index(method)
        for t, task in enumerate(found.tasks):
            own = place(rows, method, task, 0 if method == "source_only" else 5)
            alone = f"{task.partition('/')[0]}/{task.rpartition('-')[2]}"
            paired = run_table.paired(own, place(rows, "target_only", alone, 5))
            assert paired is not None
            expected, n = paired
            assert n == SEEDS
            assert found.mean[i, t] == pytest.approx(expected.mean, abs=1e-9)
            assert found.se[i, t] == pytest.approx(expected.se, abs=1e-9)
            assert found.df[i, t] == expected.df
            np.testing.assert_allclose(found.value[i, t], [100 * (r.value or 0) for r in own])
            np.testing.assert_allclose(found.gain[i, t].mean(), expected.mean)
    at = {m: i for i, m in enumerate(found.methods)}
    np.testing.assert_allclose(found.added, found.value - found.value[at["source_plus_target"]])
    np.testing.assert_allclose(found.chance, found.value[at["chance"]].mean(1))


def test_without_labels_the_reference_is_source_only(tmp_path: Path) -> None:
    answers = {m: b for m, b in draws().items() if m != "target_only"}
    found = made(tmp_path, study(answers, TASKS, budget=0), 0)
    assert found.reference == "source_only"
    i, j = found.methods.index("dann"), found.methods.index("source_only")
    np.testing.assert_allclose(found.gain[i], found.value[i] - found.value[j])
    assert np.isnan(found.added).all()
    both = grid.grids(frame.standing(frame.load(stored(tmp_path / "2", study(draws(), TASKS)))))
    assert {k: g.reference for k, g in both.items()} == {0: "source_only", 5: "target_only"}


def test_a_failed_cell_is_worth_the_worst_of_the_references_and_chance(tmp_path: Path) -> None:
    answers = draws()
    rows = [r for r in study(answers, TASKS) if (r.method, r.task, r.seed) != ("dann", "toy/a-b", 2)]
    rows.append(failure("dann", 2, task="toy/a-b", n=N))
    found = made(tmp_path, rows)
    i, t = found.methods.index("dann"), found.tasks.index("toy/a-b")
    worst = min(100 * answers[m][0, 2].mean() for m in ("target_only", "source_only", "chance"))
    assert found.value[i, t, 2] == pytest.approx(worst)
    assert found.imputed.sum() == 1
    assert found.imputed[i, t, 2]
    gain = found.value[i, t] - found.value[found.methods.index("target_only"), t]
    assert found.mean[i, t] == pytest.approx(two_way(gain[:, None]).mean)
    assert found.se[i, t] == pytest.approx(two_way(gain[:, None]).se)


def test_a_method_with_fewer_seeds_is_compared_on_those_it_has(tmp_path: Path) -> None:
    rows = [r for r in study(draws(), TASKS) if r.method != "dann" or r.seed < 3]
    found = made(tmp_path, rows)
    i = found.methods.index("dann")
    assert np.isnan(found.value[i, :, 3:]).all()
    expected = run_table.paired(place(rows, "dann", "toy/a-b", 5), place(rows, "target_only", "toy/b", 5)[:3])
    assert expected is not None
    t = found.tasks.index("toy/a-b")
    assert found.mean[i, t] == pytest.approx(expected[0].mean)
    assert (found.se[i, t], found.df[i, t]) == (pytest.approx(expected[0].se), 2)


def test_of_episodes_an_example_is_an_episode(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    answers = {m: random.random((1, SEEDS, 40)) < 0.5 for m in ("target_only", "dann")}
    rows = study(answers, ("toy/a-b",), episodes=8, regime="episodes")
    found = made(tmp_path, rows)
    expected = run_table.paired(place(rows, "dann", "toy/a-b", 5), place(rows, "target_only", "toy/b", 5))
    assert expected is not None
    i = found.methods.index("dann")
    assert (found.mean[i, 0], found.se[i, 0]) == (pytest.approx(expected[0].mean), pytest.approx(expected[0].se))
    assert found.regimes == ("episodes",)


def test_where_no_answer_is_right_or_wrong_only_seeds_are_a_sample(tmp_path: Path) -> None:
    rows = study(draws(), TASKS[:1], correct=None, metric="ap50", regime="detection")
    found = made(tmp_path, rows)
    i = found.methods.index("dann")
    expected = two_way(found.gain[i, 0][:, None])
    assert (found.mean[i, 0], found.se[i, 0]) == (pytest.approx(expected.mean), pytest.approx(expected.se))


# which rows stand


def test_of_a_cell_the_newest_ok_row_stands(tmp_path: Path) -> None:
    rows = study(draws(), TASKS)
    right, wrong = np.ones(N, bool), np.zeros(N, bool)
    later = answered("dann", 0, right, budget=5, time="2026-01-01T00:00:00+00:00")
    latest = failure("dann", 0, n=N, budget=5, time="2027-01-01T00:00:00+00:00")
    older = answered("dann", 0, wrong, budget=5, time="2020-01-01T00:00:00+00:00")
    found = made(tmp_path, [*rows, latest, older, later])
    assert found.value[found.methods.index("dann"), found.tasks.index("toy/a-b"), 0] == 100


@pytest.mark.parametrize(
    "changed", [{"default": False}, {"protocol": 0}, {"rule": "cv"}, {"backbone": "other"}, {"method_digest": "old"}]
)
def test_rows_made_otherwise_do_not_stand(tmp_path: Path, changed: dict[str, object]) -> None:
    rows = study(draws(), TASKS)
    other = [answered("dann", 9, np.ones(N, bool), **changed)]
    assert len(frame.standing(frame.load(stored(tmp_path, [*rows, *other])))) == len(rows)


def test_of_a_method_that_ships_the_version_that_ships_stands(tmp_path: Path) -> None:
    ours = versions.of("dann")
    rows = study(draws(), TASKS)
    told = {"method_digest": None, "method_version": ours, "time": "2026-01-01T00:00:00+00:00"}
    mine = answered("dann", 0, np.ones(N, bool), **told)
    kept = frame.standing(frame.load(stored(tmp_path, [*rows, mine])))
    own = kept[frame.words(kept["method"]) == "dann"]
    assert own["method_version"].tolist() == [ours]  # one row, against fifteen of other code
    assert "dann" not in frame.changed_since(kept)
    assert "coral" in frame.changed_since(kept)


def test_target_only_may_start_without_the_weights_that_are_the_source(tmp_path: Path) -> None:
    rows = [replace(r, weights="w" * 64 if r.sources else None) for r in study(draws(), TASKS)]
    assert len(frame.standing(frame.load(stored(tmp_path, rows)))) == len(rows)


def test_rows_of_another_split_or_version_of_a_card_that_ships_do_not_stand(tmp_path: Path) -> None:
    task = "digits/fonts-photos"
    rows = study({m: b for m, b in draws(tasks=1).items() if m != "target_full"}, (task,))
    assert len(frame.standing(frame.load(stored(tmp_path, rows)))) == 0  # their splits are invented


def test_packed_rows_count_as_lines_do(tmp_path: Path) -> None:
    rows = study(draws(), TASKS)
    held = Store(tmp_path)
    for i, one in enumerate(rows):
        held.append(one)
        if i == len(rows) // 2:
            store.pack(tmp_path)
            held = Store(tmp_path)
    packed = grid.of(frame.standing(frame.load(Store(tmp_path))), 5)
    plain = made(tmp_path / "plain", rows)
    assert packed.methods == plain.methods
    np.testing.assert_array_equal(packed.value, plain.value)
    np.testing.assert_allclose(packed.se, plain.se)
