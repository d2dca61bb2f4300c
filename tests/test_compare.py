"""Two methods side by side: differences that can be counted by hand, and no verdict where there is too little."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from held import failed, over, references, refused, row, store, tlbench
from scipy.stats import t as student

import tlbench as facade
from tlbench.board.comparison import Comparison, of_index
from tlbench.errors import UsageError
from tlbench.results.frame import OPEN
from tlbench.results.index import Index
from tlbench.results.row import Row

SUITES = ("birds", "cars", "coins", "leaves")  # none ships, so each is a family of its own


def several(gains: dict[str, int], seeds: int = 5) -> list[Row]:
    """dann better than coral by so many samples of 100 in each suite, whatever the seed."""
    rows = []
    for suite, gain in gains.items():
        rows += over("dann", f"{suite}/a-b", 5, [70 + gain] * seeds) + over("coral", f"{suite}/a-b", 5, [70] * seeds)
    return rows


def compared(rows: list[Row], *names: str) -> Comparison:
    (found,) = of_index(Index.of(rows), "dann", "coral", names)
    return found


def test_the_mean_over_families_has_a_t_interval_over_them() -> None:
    found = compared(several({"birds": 1, "cars": 2, "coins": 3, "leaves": 4}))
    assert (found.families, found.mean) == (4, pytest.approx(2.5))
    assert found.new_pm == pytest.approx(student.ppf(0.975, 3) * (5 / 3) ** 0.5 / 2)
    assert (found.outcome, found.wins, found.ties, found.losses, found.cells) == ("first", 4, 0, 0, 20)
    assert found.verdict == (
        "dann is better than coral at 5 labels per class: +2.5 ± 2.1 points on 4 tasks of 4 dataset families"
    )


def test_the_better_is_named_first_whatever_the_order_asked() -> None:
    rows = several({"birds": 1, "cars": 2, "coins": 3, "leaves": 4})
    (found,) = of_index(Index.of(rows), "coral", "dann")
    assert (found.outcome, found.mean, found.losses) == ("second", pytest.approx(-2.5), 4)
    assert found.verdict.startswith("dann is better than coral at 5 labels per class: +2.5")


def test_what_the_families_disagree_on_cannot_be_told_apart() -> None:
    found = compared(several({"birds": -9, "cars": 8, "coins": 0, "leaves": 3}))
    assert (found.outcome, found.wins, found.ties, found.losses) == ("alike", 2, 1, 1)
    assert found.verdict.startswith("dann and coral cannot be distinguished at 5 labels per class: +0.5 ± ")


def test_families_weigh_alike_however_many_tasks_they_have() -> None:
    rows = several({"birds": 0})
    for pair in ("a-c", "b-c", "c-b"):
        rows += over("dann", f"birds/{pair}", 5, [80] * 5) + over("coral", f"birds/{pair}", 5, [80] * 5)
    assert compared(rows + several({"cars": 8})).mean == pytest.approx(4)


def test_fewer_families_are_judged_on_their_own_tasks_only() -> None:
    found = compared(over("dann", "birds/a-b", 5, [80, 82, 84, 86, 88]) + over("coral", "birds/a-b", 5, [60] * 5))
    assert found.new_pm is None
    assert found.outcome == "first"
    assert found.verdict.endswith("on 1 task of 1 dataset family; these tasks only: 1 family cannot speak for others")
    (only,) = found.duels
    assert (only.first, only.second, only.difference) == pytest.approx((84, 60, 24))
    assert found.suite_pm == pytest.approx(only.pm)


def test_the_interval_on_these_tasks_is_never_below_that_of_the_test_examples() -> None:
    found = compared(
        several({"birds": 10}) + over("dann", "birds/b-a", 5, [80] * 5) + over("coral", "birds/b-a", 5, [70] * 5)
    )
    assert all(d.se > 0 for d in found.duels)  # all seeds agree, and still other test samples might not
    assert found.suite_pm == pytest.approx(student.ppf(0.975, 8) * found.duels[0].se / 2**0.5)


@pytest.mark.parametrize("seeds", [1, 3, 4])
def test_too_few_seeds_on_too_few_families_are_insufficient(seeds: int) -> None:
    found = compared(several({"birds": 20, "cars": 20}, seeds))
    assert found.outcome == "insufficient"
    assert found.verdict.startswith("insufficient to distinguish dann from coral at 5 labels per class: ")
    assert "on 2 tasks of 2 dataset families" in found.verdict


def test_only_cells_that_both_have_are_counted_and_failures_are_said() -> None:
    rows = several(dict.fromkeys(SUITES, 3))
    rows += [failed(row("dann", "birds/a-b", 5, 7, 0)), row("coral", "birds/a-b", 5, 7, 70)]
    rows += over("dann", "birds/c-b", 5, [90] * 5)  # coral has none
    found = compared(rows)
    assert (len(found.duels), found.cells) == (4, 20)
    assert found.duels[0].failed == (1, 0)
    assert found.verdict.endswith("1 failed cell left out, which flatters")


def test_rows_on_another_split_are_no_pair() -> None:
    rows = (
        several({"birds": 3})
        + over("dann", "cars/a-b", 5, [80] * 5)
        + over("coral", "cars/a-b", 5, [70] * 5, split="x")
    )
    assert [d.task for d in compared(rows).duels] == ["birds/a-b"]


def test_references_are_found_where_they_were_run() -> None:
    rows = references("birds/a-b", target=60, source=50) + over("dann", "birds/a-b", 5, [70] * 5)
    index = Index.of(rows)
    assert of_index(index, "dann", "target_only")[0].mean == pytest.approx(10)
    (found,) = [c for c in of_index(index, "dann", "source_only") if c.budget == 5]
    assert found.mean == pytest.approx(20)


def test_errors_in_a_unit_of_their_own_are_in_no_mean() -> None:
    changed = {"metric": "neg_mse", "regime": "regression", "correct": None}
    rows = [
        row(m, "prices/a-b", 5, s, 0, value=v, **changed)
        for m, v in (("dann", -2.0), ("coral", -9.0))
        for s in range(5)
    ]
    assert compared(rows).outcome == "insufficient"
    points, errors = of_index(Index.of(rows + several({"birds": 3})), "dann", "coral")
    assert (points.kind, points.mean) == ("same task", pytest.approx(3))
    assert (errors.kind, errors.mean) == ("different domain, same task: regression", None)


def test_paradigms_are_never_meaned_with_each_other() -> None:
    """As on the board, whose first tables leave out tasks of other classes than the source's."""
    other = [replace(r, paradigm="same-domain-different-task", key=r.key + "x") for r in several({"fish": -9})]
    same, different = of_index(Index.of(several({"birds": 3}) + other), "dann", "coral")
    assert (same.kind, same.mean) == ("same task", pytest.approx(3))
    assert (different.kind, different.mean) == ("same domain, different task", pytest.approx(-9))


def test_suites_on_the_same_data_are_one_family() -> None:
    assert OPEN.family("amazon_multi") == OPEN.family("amazon_reviews") == "amazon_reviews"
    assert OPEN.family("digits_parity") == OPEN.family("letters_to_digits") == "digits"
    assert OPEN.family("office_caltech10_surf") != OPEN.family("office_home")
    assert OPEN.family("birds") == "birds"


def test_the_command_prints_the_tasks_the_mean_and_the_verdict(tmp_path: Path) -> None:
    folder = store(tmp_path, several({"birds": 1, "cars": 2, "coins": 3, "leaves": 4}))
    said = tlbench("compare", "dann", "coral", "--results", folder).stdout
    for part in ("birds/a-b", "+1.0", "4 won, 0 tied, 0 lost of 4; 20 pairs", "new tasks +2.5 ± 2.1", "is better than"):
        assert part in said
    one = tlbench("compare", "dann", "coral", "--results", folder, "--suite", "cars", "--budget", "5", "--json")
    (found,) = json.loads(one.stdout)
    assert [d["task"] for d in found["duels"]] == ["cars/a-b"]


def test_python_gives_comparisons_with_frames(tmp_path: Path) -> None:
    (found,) = facade.compare("dann", "coral", task="cars", results=store(tmp_path, several({"birds": 1, "cars": 2})))
    assert list(found.frame()["difference"]) == [pytest.approx(2)]
    with pytest.raises(UsageError, match="share no cell at budget 20"):
        facade.compare("dann", "coral", budget=20, results=tmp_path)


def test_mistakes_are_one_line_and_exit_code_two(tmp_path: Path) -> None:
    folder = store(tmp_path, several({"birds": 1}) + over("jan", "cars/a-b", 5, [80] * 5))
    where = ("--results", folder)
    assert "unknown method 'dannn'; did you mean 'dann'?" in refused("compare", "dannn", "coral", *where)
    assert "no rows of 'kmm' yet" in refused("compare", "dann", "kmm", *where)
    assert "share no cell on any task" in refused("compare", "dann", "jan", *where)
    assert "share no cell at budget 20" in refused("compare", "dann", "coral", "--budget", "20", *where)
    assert "no rows of a task 'brds'; did you mean 'birds'?" in refused(
        "compare", "dann", "coral", "-t", "brds", *where
    )
    assert "'many' is no budget" in refused("compare", "dann", "coral", "--budget", "many", *where)
    assert "named twice" in refused("compare", "dann", "dann", *where)
    assert "no rows of 'dann' yet" in refused("compare", "dann", "coral", "--results", tmp_path / "nowhere")
