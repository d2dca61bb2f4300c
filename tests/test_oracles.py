"""The table of oracles: every method is in it, and what it says of a test is so."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest
from agreement import COLUMNS, Agrees, Measured, largest, table

from tlbench.methods import loader
from tlbench.methods import method as methods

TESTS = Path(__file__).parent
WRITE = "run: uv run --isolated --extra meta pytest --oracle-table=docs/oracles.md"


def lines() -> list[dict[str, str]]:
    """The rows of docs/oracles.md."""
    page = (TESTS.parent / "docs" / "oracles.md").read_text(encoding="utf-8")
    rows = [row.strip("| ").split(" | ") for row in page.splitlines() if row.startswith("| ")]
    assert tuple(rows[0]) == COLUMNS
    return [dict(zip(COLUMNS, row, strict=True)) for row in rows[2:]]


def test_every_method_has_an_oracle() -> None:
    assert {row["method"] for row in lines()} == set(methods.shipped()), WRITE
    for row in lines():
        cls = loader.load(row["method"])
        assert (row["family"], row["paper"]) == (cls.family, cls.paper), WRITE


def test_every_oracle_is_a_test_that_records_what_it_measures() -> None:
    shown = {row["test"] for row in lines()}
    recording = set()
    for file in TESTS.glob("test_*.py"):
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and "agrees" in {a.arg for a in node.args.args}:
                recording.add(f"{file.name}::{node.name}")
    assert shown == recording, WRITE


def test_the_difference_is_the_largest_and_shapes_must_agree() -> None:
    assert largest(([1.0, 2.0], np.zeros(3)), ([1.0, 2.5], np.array([0, 0, -0.25]))) == 0.5
    with pytest.raises(AssertionError, match="shapes"):
        largest(np.zeros(3), np.zeros((3, 1)))
    with pytest.raises(AssertionError):
        largest((1.0, 2.0), (1.0, float("nan")))
    with pytest.raises(AssertionError):
        largest(np.nan, np.nan)


def test_a_disagreement_fails_and_the_table_has_the_worst_of_a_tests_cases() -> None:
    found: list[Measured] = []
    agrees = Agrees(found, "test_it.py::test_near")
    for off in (2e-3, 1e-3):
        agrees(["kmm", "dann"], "nobody", [1.0 + off], [1.0], atol=0.01)
    with pytest.raises(AssertionError, match=r"kmm is 1\.0e\+00 away from somebody, more than 1e-02"):
        agrees("kmm", "somebody", 1.0, 2.0, atol=0.01)
    first, second = table(found[:4]).splitlines()[-2:]
    assert first.startswith("| dann | feature-based | Ganin et al.")
    assert second.startswith("| kmm | distribution-based | Huang et al.")
    assert second.endswith("| nobody | 2e-03 | 1e-02 | test_it.py::test_near |")
