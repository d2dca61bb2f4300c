"""Metrics against scikit-learn, and what a row keeps of them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import sklearn.metrics as theirs
from hypothesis import given, settings
from hypothesis import strategies as st
from test_cli import tlbench
from test_store import row

from tlbench.errors import UsageError
from tlbench.results import archive
from tlbench.results.row import Row, read_row
from tlbench.results.run_table import Asked, line
from tlbench.runner import scoring
from tlbench.tasks import registry
from tlbench.tasks.metrics import correct
from tlbench.tasks.problems import METRICS, PROBLEMS

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:sklearn")  # of classes that are absent
ORACLES = {
    "accuracy": theirs.accuracy_score,
    "balanced_accuracy": theirs.balanced_accuracy_score,
    "macro_f1": lambda y, found: theirs.f1_score(y, found, average="macro", zero_division=0),
}
answers = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=40)


@pytest.mark.parametrize("name", [m.name for m in PROBLEMS["classification"].metrics])
@settings(max_examples=100, deadline=None)
@given(answers)
def test_a_metric_of_classes_is_scikit_learns(name: str, pairs: list[tuple[int, int]]) -> None:
    """Drawn at random: classes that no sample has, that nobody tells, and that are told of no sample that has them."""
    found, y = (np.array(column) for column in zip(*pairs, strict=True))
    assert METRICS[name].of(found.astype(np.uint8), y) == pytest.approx(ORACLES[name](y, found), abs=1e-12)


@pytest.mark.parametrize("name", [m.name for m in PROBLEMS["classification"].metrics])
def test_a_tie_goes_to_the_lower_class_whatever_the_metric(name: str) -> None:
    scores, y = np.array([[1.0, 1.0, 0.0], [0.0, 2.0, 2.0], [3.0, 3.0, 3.0]]), np.array([1, 1, 0])
    told = scores.argmax(1)
    assert told.tolist() == [0, 1, 0]
    assert correct(scores, y).tolist() == [False, True, True]
    assert METRICS[name].of(told, y) == pytest.approx(ORACLES[name](y, told))


def test_each_metric_is_named_once_and_its_bounds_hold_what_it_gives() -> None:
    for metrics in (p.metrics for p in PROBLEMS.values()):
        assert metrics[0].higher_is_better
        for m in metrics:
            assert METRICS[m.name] == m
            assert m.low < m.high
    assert METRICS["neg_mse"].of(np.array([1.0, 3.0]), np.array([1.0, 1.0])) == -2.0
    assert not METRICS["neg_mse"].holds(0.1)
    assert not METRICS["accuracy"].holds(1.1)


def test_a_card_ranks_the_first_metric_that_it_names_and_a_row_holds_all() -> None:
    card = registry.find("digits")[0].card
    assert [m.name for m in card.measured] == [m.name for m in PROBLEMS["classification"].metrics]
    assert card.metric == "accuracy"
    other = type(card).model_validate({**card.model_dump(exclude_unset=True), "metrics": ("balanced_accuracy",)})
    assert other.metric == "balanced_accuracy"
    assert {m.name for m in other.measured} == {m.name for m in PROBLEMS["classification"].metrics}
    assert "metrics" not in card.model_dump()  # so that digests of cards stay


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('metrics = ["accurcy"]', r"metric 'accurcy': classification has accuracy, .*; did you mean 'accuracy'\?"),
        ('metrics = ["ap50"]', "metric 'ap50': classification has accuracy"),
    ],
)
def test_a_metric_that_the_problem_type_lacks_is_a_mistake_in_the_card(tmp_path: Path, line: str, said: str) -> None:
    text = registry.card_files()["wdbc_shift"].read_text().replace('"wdbc_shift"', '"mine"', 1)
    file = tmp_path / "mine.toml"
    file.write_text(text.replace("version =", f"{line}\nversion =", 1))
    with pytest.raises(UsageError, match=said):
        registry.read(file)


def both(**metrics: float) -> Row:
    return replace(row("a"), metrics=metrics)


def test_a_row_keeps_its_metrics_as_json_and_packed() -> None:
    plain = both(accuracy=row("a").value or 0.0, balanced_accuracy=0.25)
    assert read_row(json.loads(json.dumps(plain.values()))) == plain
    [back] = archive.table([plain]).to_pylist()
    assert archive.row_of(back) == plain


@pytest.mark.parametrize(
    ("metrics", "said"),
    [
        ({"accuracy": 0.111}, "column 'metrics' has 0.111 as accuracy, column 'value'"),
        ({"balanced_accuracy": 1.5}, "column 'metrics' has 1.5 as balanced_accuracy, not a number in 0..1"),
        ({"balanced_accuracy": "high"}, "not a number"),
        ({"balanced_accuracy": True}, "not a number"),
        ({}, "has None as accuracy"),
        ([0.5], r"column 'metrics' is \[0.5\]"),
    ],
)
def test_a_row_whose_metrics_are_none_is_no_row(metrics: object, said: str) -> None:
    values = json.loads(json.dumps(row("a").values()))
    full = {"accuracy": values["value"], **metrics} if isinstance(metrics, dict) and metrics else metrics
    with pytest.raises(ValueError, match=said):
        read_row({**values, "metrics": full})


def test_rows_that_were_packed_before_there_were_metrics_are_read(tmp_path: Path) -> None:
    held = archive.table([row("a"), row("b")]).drop_columns(["metrics"])
    (tmp_path / archive.FOLDER).mkdir()
    pq.write_table(held, tmp_path / archive.FOLDER / "old.parquet")
    found = archive.Packed(tmp_path).rows()
    assert [r.metrics for r in found] == [None, None]
    assert archive.Packed(tmp_path).row("a") == row("a")


def test_a_row_is_held_only_against_the_metrics_that_it_holds() -> None:
    value = row("a").value or 0.0
    told = {"value": value, "metrics": {"accuracy": value, "balanced_accuracy": 0.25}}
    assert scoring.differing(row("a"), told) == []
    assert scoring.differing(both(accuracy=value), told) == []
    assert scoring.differing(both(accuracy=value, balanced_accuracy=0.25), told) == []
    assert scoring.differing(both(accuracy=value, balanced_accuracy=0.3), told) == ["metrics"]
    assert scoring.differing(both(accuracy=value, made_up=0.3), told) == ["metrics"]


def test_a_line_has_the_means_of_what_all_its_rows_hold() -> None:
    value = row("a").value or 0.0
    one, other = both(accuracy=value, balanced_accuracy=0.2), both(accuracy=value, balanced_accuracy=0.4)
    asked = Asked("toy/a-b", 5, "m", [one, other], [None, None], [None, None])
    assert line(asked).metrics == pytest.approx({"accuracy": 100 * value, "balanced_accuracy": 30.0})
    assert line(replace(asked, rows=[one, row("a")])).metrics == {}


def test_a_run_holds_every_metric_and_shows_them_as_json(tmp_path: Path) -> None:
    ran = tlbench("run", "--task", "wdbc_shift", "--method", "chance", "--budgets", "5", "--seeds", "0", "--json",
                  "--results", str(tmp_path))  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    rows = [json.loads(r) for r in (tmp_path / "rows.jsonl").read_text().splitlines()]
    for r in rows:
        assert list(r["metrics"]) == [m.name for m in PROBLEMS["classification"].metrics]
        assert r["metrics"]["accuracy"] == r["value"]
    chance = next(r for r in rows if r["method"] == "chance")
    assert chance["metrics"]["balanced_accuracy"] == 0.5  # the commonest class, of two
    shown = next(x for x in json.loads(ran.stdout)["lines"] if x["method"] == "chance")
    assert shown["metrics"]["balanced_accuracy"] == 50.0
