"""Submissions on the board: verified ones are ranked, others stand apart, and nobody else's figure moves."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from held import refused, tlbench
from made import stored, study
from tampered import seal
from test_board import OTHER, PAIRS, _small_core, rows

from tlbench.board import markdown
from tlbench.board.board import Board
from tlbench.board.markdown import BEGIN, END
from tlbench.results import bundle
from tlbench.results.row import Row
from tlbench.tasks.split import sha

__all__ = ["_small_core"]
NAME = "mine:Mine"


def submitted(changes: dict[str, object] | None = None) -> list[Row]:
    """Rows of a method that is better than all, and of a task, a seed and a budget that the board has not."""
    bits = np.random.default_rng(1).random((1, 6, 60)) < 0.95
    found = []
    for task in (*PAIRS[:3], OTHER):
        for k in (0, 5, 20):
            found += study({NAME: bits}, (task,), budget=k, paradigm="different-domain-same-task")
    return [replace(r, key=sha(r.key), suite=r.task.partition("/")[0], **(changes or {})) for r in found]


def folder(place: Path, own: list[Row], verdict: str | None) -> Path:
    """A bundle of these rows, with a record or without one."""
    (place / "source").mkdir(parents=True)
    (place / "source" / "mine.py").write_text("x = 1\n")
    (place / "rows.jsonl").write_text("".join(json.dumps(r.values()) + "\n" for r in own))
    (place / "predictions.npz").write_bytes(b"PK\5\6" + bytes(18))
    method = {"name": NAME, "spec": "mine.py:Mine", "family": "alignment", "summary": "", "file": "mine.py",
              "cls": "Mine", "digest": "0" * 64, "distribution": None, "version": None}  # fmt: skip
    about = {"format": 1, "name": place.name, "method": method, "asked": ["core"], "partial": False, "environment": {},
             "commit": None, "dirty": None, "commands": ["x"], "calibration": {}, "supersedes": {}}  # fmt: skip
    (place / "bundle.json").write_text(json.dumps(about))
    seal(place)
    if verdict:
        record = {"format": 1, "bundle": bundle.read(place).digest, "verdict": verdict, "checks": [], "seed": 0,
                  "jail": 1, "tlbench": "0.1.0", "commit": None, "time": ""}  # fmt: skip
        (place / "verification.json").write_text(json.dumps(record))
    return place


def figures(found: Board) -> dict[str, str]:
    """Every method's figures that do not depend on who else is there, by budget."""
    return {
        f"{s.method} at {k}": repr((s.gain, s.beyond, s.accuracy, s.added, s.harm, s.measured, s.owed, s.ranked))
        for k, all_of in found.same_task.items()
        for s in all_of
    }


def test_a_verified_bundle_is_ranked_and_changes_nobody_elses_figures(tmp_path: Path) -> None:
    plain = Board(stored(tmp_path / "a", rows()))
    folder(tmp_path / "b" / "submissions" / "mine", submitted(), "accept")
    found = Board(stored(tmp_path / "b", rows()))
    before, after = figures(plain), figures(found)
    assert {m: after[m] for m in before} == before
    assert set(after) - set(before) == {f"{NAME} at 0", f"{NAME} at 5"}
    best = next(s for s in found.same_task[0] if s.ranked)
    assert best.method == NAME
    assert "Not verified" not in markdown.text(found)
    assert OTHER not in markdown.text(found)  # nobody has a reference there


@pytest.mark.parametrize("verdict", [None, "question", "reject"])
def test_a_bundle_without_an_accepting_record_stands_apart(verdict: str | None, tmp_path: Path) -> None:
    plain = Board(stored(tmp_path / "a", rows()))
    folder(tmp_path / "b" / "submissions" / "mine", submitted(), verdict)
    found = Board(stored(tmp_path / "b", rows()))
    above, _, apart = markdown.text(found).partition("## Not verified")
    assert above.strip() == markdown.text(plain).strip()
    assert f"| {NAME} (unverified, mine) | 5 | 15 of 20 |" in apart
    pd.testing.assert_frame_equal(found.table(), plain.table())


def test_rows_on_another_network_or_under_a_name_that_is_taken_join_nobody(tmp_path: Path) -> None:
    for i, change in enumerate(({"backbone": "resnet50"}, {"method": "dann"}, {"weights": "f" * 64})):
        store = tmp_path / str(i)
        folder(store / "submissions" / "mine", submitted(change), "accept")
        assert Board(stored(store, rows())).joined == []


def test_a_folder_that_is_no_bundle_is_named(tmp_path: Path) -> None:
    place = folder(tmp_path / "submissions" / "mine", submitted(), "accept")
    (place / "rows.jsonl").write_text("{}\n")
    assert "- `mine` is no bundle: rows.jsonl:1: " in markdown.text(Board(stored(tmp_path, rows())))


def test_a_preview_marks_the_newcomer_and_touches_no_board(tmp_path: Path) -> None:
    place, board = folder(tmp_path / "mine", submitted(), None), tmp_path / "leaderboard.md"
    found = Board(stored(tmp_path / "a", rows()), [bundle.read(place)])
    assert f"| {NAME} (unverified) |" in markdown.text(found)
    board.write_text(f"{BEGIN}\n{END}\n")
    words = ("leaderboard", "--with", place, "--results", tmp_path / "results")
    assert "is a board; a preview goes elsewhere" in refused(*words, "--file", board)
    done = tlbench(*words)
    assert done.returncode == 0
    assert "No rows yet" in done.stdout
    assert "--results names the board's rows" in done.stderr
    assert not (tmp_path / "results" / "board.csv").exists()
