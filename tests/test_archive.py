"""Packed rows: the same rows, in a tenth of the room, whatever happens while they are packed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_store import failed, row, text, write

from tlbench.errors import UsageError
from tlbench.results import archive, store
from tlbench.results.row import Row
from tlbench.results.store import Store
from tlbench.tasks.card import FULL

budgets = st.just(FULL) | st.integers(0, 100)
numbers = st.none() | st.floats(allow_nan=False, allow_infinity=False)
configs = st.dictionaries(st.text(max_size=4), st.none() | st.integers(-9, 9) | st.text(max_size=4), max_size=3)


@settings(max_examples=60, deadline=None)
@given(budgets, numbers, configs, st.lists(st.text(max_size=5), max_size=3), st.none() | st.text(max_size=9))
def test_a_packed_row_comes_back_as_it_was(
    budget: int | str, number: float | None, config: dict, names: list[str], commit: str | None
) -> None:
    plain = row("a", budget=budget, fit_s=number, config=config, sources=tuple(names), commit=commit)
    [back] = archive.table([plain]).to_pylist()
    assert archive.row_of(back) == plain


def test_a_packed_store_has_the_same_rows(tmp_path: Path) -> None:
    rows = {key: row(key, seed=i) for i, key in enumerate("abc")} | {"d": failed("d")}
    write(tmp_path, *map(text, rows.values()))
    file, n = store.pack(tmp_path)
    assert n == 4
    assert file is not None
    assert (tmp_path / "rows.jsonl").read_bytes() == b""
    found = Store(tmp_path)
    assert dict(found.rows) == rows
    assert len(found.rows) == 4
    assert "a" in found.rows
    assert "z" not in found.rows
    with pytest.raises(KeyError):
        found.rows["z"]
    assert store.pack(tmp_path) == (None, 0)


def test_rows_come_on_top_of_packed_ones_and_an_ok_row_takes_the_place_of_a_failed_one(tmp_path: Path) -> None:
    write(tmp_path, text(row("a")), text(failed("b")))
    store.pack(tmp_path)
    held = Store(tmp_path)
    held.append(row("a", seed=9))  # is there already
    held.append(row("b", seed=5))
    held.append(row("c"))
    for _ in range(2):
        found = Store(tmp_path)
        assert {k: (r.ok, r.seed) for k, r in found.rows.items()} == {"a": (True, 0), "b": (True, 5), "c": (True, 0)}
        assert len(found.rows) == 3
        store.pack(tmp_path)  # and once more, when the second segment holds b again
    assert len(list((tmp_path / archive.FOLDER).iterdir())) == 2


def test_a_store_that_was_packed_meanwhile_is_read_on_from_its_start(tmp_path: Path) -> None:
    write(tmp_path, text(row("a")), text(row("b")))
    mine = Store(tmp_path)
    store.pack(tmp_path)
    Store(tmp_path).append(row("c"))
    mine.refresh()
    assert set(mine.rows) == {"a", "b", "c"}


def test_killed_before_the_lines_are_cut_packing_loses_and_doubles_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, text(row("a")), text(row("b")))
    monkeypatch.setattr(store.os, "ftruncate", lambda fd, n: (_ for _ in ()).throw(OSError(5, "killed")))
    with pytest.raises(UsageError, match="no row is lost"):
        store.pack(tmp_path)
    monkeypatch.undo()
    assert set(Store(tmp_path).rows) == {"a", "b"}
    assert len(Store(tmp_path).rows) == 2
    store.pack(tmp_path)
    assert set(Store(tmp_path).rows) == {"a", "b"}


def test_a_line_that_is_no_row_stops_packing_and_is_named(tmp_path: Path) -> None:
    file = write(tmp_path, text(row("a")), "{}")
    before = file.read_bytes()
    with pytest.raises(UsageError, match=r"rows.jsonl:2: skipped"):
        store.pack(tmp_path)
    assert file.read_bytes() == before


def test_a_broken_segment_is_a_mistake_that_names_it(tmp_path: Path) -> None:
    write(tmp_path, text(row("a")))
    file, _ = store.pack(tmp_path)
    assert file is not None
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(UsageError, match="not a segment of rows"):
        len(Store(tmp_path).rows)


def test_a_segment_written_before_a_column_existed_has_null_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pyarrow.parquet as pq

    file = archive.write(tmp_path, [row("a", trial=3)])
    pq.write_table(pq.read_table(file).drop_columns(["trial", "arithmetic"]), file)
    assert Store(tmp_path).rows["a"] == replace(row("a"), trial=None)


def test_the_same_rows_make_the_same_segment(tmp_path: Path) -> None:
    rows: list[Row] = [row(key, seed=i) for i, key in enumerate("abcd")]
    first = archive.write(tmp_path / "1", rows)
    second = archive.write(tmp_path / "2", rows[::-1])
    assert (first.name, first.read_bytes()) == (second.name, second.read_bytes())
