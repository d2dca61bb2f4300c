"""Behind a cell of the board: which rows, what they come to, and the command that makes them again."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from held import failed, over, references, refused, row, store, tlbench

from tlbench.board.explain import command, ranges, trace
from tlbench.errors import UsageError
from tlbench.results.row import Row
from tlbench.results.store import Store
from tlbench.results.timings import Timings
from tlbench.tasks import registry

ROOT = Path(__file__).parent.parent
TASK = "birds/a-b"
RIGHT = [64, 65, 66, 67, 68]
ROWS = references(TASK, target=60, source=50) + over("dann", TASK, 5, RIGHT) + over("dann", TASK, 0, [40] * 5)


def test_every_seed_stands_beside_its_reference() -> None:
    found = trace(ROWS, "dann", TASK, 5)
    assert found.reference == "target_only"
    assert [e.value for e in found.rows] == [pytest.approx(v) for v in RIGHT]
    assert {e.reference for e in found.rows} == {60.0}
    assert {e.reference_key for e in found.rows} == {r.key for r in ROWS if r.method == "target_only"}
    assert (found.line.accuracy, found.line.over_target) == (pytest.approx(66), pytest.approx(6))
    assert found.line.negative_transfer == "no"


def test_without_labels_the_reference_is_source_only() -> None:
    found = trace(ROWS, "dann", "birds", 0)
    assert found.reference == "source_only"
    assert found.line.over_source == pytest.approx(-10)
    assert found.line.negative_transfer == "yes"


def test_a_reference_is_found_where_it_was_run_and_is_not_its_own_reference() -> None:
    found = trace(ROWS, "target_only", TASK, 5)
    assert [e.value for e in found.rows] == [60.0] * 5
    assert {e.reference for e in found.rows} == {None}
    assert "--budgets 0" in trace(ROWS, "source_only", TASK, 5).again


def test_rows_that_do_not_count_are_counted() -> None:
    tuned = over("dann", TASK, 5, RIGHT, default=False)
    older = over("dann", TASK, 5, RIGHT, protocol=0)
    assert trace([*ROWS, *tuned, *older], "dann", TASK, 5).others == 10


def test_a_rules_choices_stand_beside_the_references_that_it_chose() -> None:
    def by(method: str, rule: str, right: list[int]) -> list[Row]:
        task = TASK if method == "dann" else "birds/b"
        more = {"rule": rule, "default": False, "trial": 2, "trials": 8, "key": f"{method} {rule}"}
        return [replace(r, key=f"{r.key} {r.seed}") for r in over(method, task, 5, right, **more)]

    tuned = [*by("dann", "cv", [70] * 5), *by("target_only", "cv", [68] * 5), *by("dann", "im", [50] * 5)]
    found = trace([*ROWS, *tuned], "dann", TASK, 5, "cv")
    assert [(e.value, e.reference) for e in found.rows] == [(70.0, 68.0)] * 5
    assert found.again.endswith("--rule cv --trials 8 --results again")
    beside = trace([*ROWS, *tuned], "dann", TASK, 5, "im")
    assert [(e.value, e.reference) for e in beside.rows] == [(50.0, 60.0)] * 5  # target-only's default
    with pytest.raises(UsageError, match="no rows"):
        trace(ROWS, "dann", TASK, 5, "cv")


def test_a_reference_that_a_rule_chose_for_some_seeds_stands_for_those_alone() -> None:
    chosen = [
        replace(r, key=f"{r.key} cv", rule="cv", default=False, trial=1, trials=8)
        for r in over("target_only", "birds/b", 5, [20, 30], family="reference")
    ]
    found = trace([*ROWS, *chosen], "target_only", TASK, 5, "cv")
    assert [(e.seed, e.value) for e in found.rows] == [(0, 20.0), (1, 30.0)]  # not with the default's other three seeds


def test_a_task_that_ranks_nobody_has_its_evidence_too() -> None:
    task, version = "cal1/rot45-target", registry.named("cal1/rot45-target").card.version
    rows = [replace(r, version=version) for r in references(task) + over("dann", task, 5, RIGHT)]
    assert trace(rows, "dann", task, 5).line.over_target == pytest.approx(6)


def test_a_later_row_that_is_ok_stands_for_a_failed_one() -> None:
    first = failed(row("jan", TASK, 5, 0, 0, time="2026-01-01T00:00:00+00:00"))
    rows = [*ROWS, first, row("jan", TASK, 5, 0, 70)]
    found = trace(rows, "jan", TASK, 5)
    assert ([e.status for e in found.rows], found.others) == (["ok"], 1)
    assert trace([*ROWS, first], "jan", TASK, 5).rows[0].reason == "ValueError: no"


def test_the_command_names_what_a_shell_needs() -> None:
    digits = over("dann", "digits/fonts-photos", 5, RIGHT)
    assert command(digits, "dann", "digits/fonts-photos", 5) == (
        "tlbench run --task digits/fonts-photos --method dann --budgets 5 --seeds 0-4"
    )
    own = over("Mine", TASK, 5, RIGHT)
    assert trace(own, "Mine", TASK, 5).again == (
        "tlbench run --task path/to/birds.toml --method path/to/file.py:Mine --budgets 5 --seeds 0-4 --results again"
    )
    assert ranges([0, 1, 2, 5, 7, 8]) == "0-2,5,7-8"


@pytest.mark.slow
def test_the_command_that_why_prints_finds_every_cell(tmp_path: Path) -> None:
    words = ("--task", "wdbc_shift", "--method", "coral", "--budgets", "5", "--seeds", "0", "--results", tmp_path)
    assert tlbench("run", *words).returncode == 0
    said = json.loads(tlbench("explain", "coral", "wdbc_shift", "5", "--results", tmp_path, "--json").stdout)
    again = tlbench(*said["again"].split()[1:], cwd=tmp_path)
    assert " 0 found in again/rows.jsonl" in again.stdout
    first, second = Store(tmp_path).rows, Store(tmp_path / "again").rows
    assert {k: r.value for k, r in first.items()} == {k: r.value for k, r in second.items()}


def test_the_command_prints_rows_mean_and_gain(tmp_path: Path) -> None:
    folder = store(tmp_path, ROWS)
    said = tlbench("explain", "dann", "birds", "5", "--results", folder).stdout
    for part in (
        "over target_only +6.0",
        "mean 66.0",
        "a processor",
        "cccccccccc",
        ROWS[-6].key[:12],
        "again: tlbench run",
    ):
        assert part in said


def test_a_line_says_from_which_budget_its_method_harms() -> None:
    rows = references(TASK, budgets=(1, 5, 20)) + over("dann", TASK, 1, [61] * 5) + over("dann", TASK, 20, [58] * 5)
    found = trace([*rows, *over("dann", TASK, 5, [60] * 5)], "dann", TASK, 5)
    assert (found.harms_from, found.labelled) == (20, (1, 5, 20))
    assert trace([*rows, *over("dann", TASK, 5, [59] * 5)], "dann", TASK, 1).harms_from == 5
    fine = trace(ROWS, "dann", TASK, 5)
    assert (fine.harms_from, fine.labelled) == (None, (5,))
    assert trace(ROWS, "target_only", TASK, 5).labelled == ()


@pytest.mark.slow
def test_a_time_of_the_board_has_its_repeats_and_their_command(tmp_path: Path) -> None:
    told = json.loads(tlbench("explain", "mcc", "wdbc_shift", "5", "--results", ROOT / "results", "--json").stdout)
    held = [
        t
        for t in Timings(ROOT / "results" / "editions" / "2026.11").found
        if (t.method, t.suite, t.budget) == ("mcc", "wdbc_shift", 5)
    ]
    assert [(t["seed"], t["fit_s"], t["key"]) for t in told["timed"]] == [(t.seed, t.fit_s, t.key) for t in held]
    again = "tlbench time --task wdbc_shift/wdbc_biased-wdbc --method mcc --budgets 5 --seeds 0-2"
    assert told["time_again"] == f"git checkout {held[-1].commit} && {again}"
    assert "Timing passes" not in tlbench("explain", "dann", "birds", "5", "--results", store(tmp_path, ROWS)).stdout


def test_mistakes_are_one_line_and_exit_code_two(tmp_path: Path) -> None:
    where = ("--results", store(tmp_path, ROWS + over("dann", "birds/b-a", 5, RIGHT)))
    assert "did you mean 'dann'?" in refused("explain", "dannn", TASK, "5", *where)
    assert "did you mean 'birds/a-b'?" in refused("explain", "dann", "birds/ab", "5", *where)
    assert "'birds' names 2 tasks" in refused("explain", "dann", "birds", "5", *where)
    assert "it has budgets 0, 5" in refused("explain", "dann", TASK, "20", *where)
    assert "write labels per class" in refused("explain", "dann", TASK, "many", *where)


def test_a_method_without_a_row_on_the_task_says_so() -> None:
    with pytest.raises(UsageError, match="it has none on birds/a-b"):
        trace([*ROWS, *over("jan", "cars/a-b", 5, RIGHT)], "jan", TASK, 5)
