"""Rows are written whole or not at all, and whatever else a store holds is skipped and said."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tlbench.errors import UsageError
from tlbench.results import store
from tlbench.results.row import COLUMNS, LATER, Row, packed_bits
from tlbench.results.store import Store

BITS = np.array([True, False, True, True, False, False, True, False, True, True, False])


def row(key: str, **changed: Any) -> Row:
    """An ok row; `changed` columns are taken as they are."""
    plain = Row(
        key=key, status="ok", reason=None, suite="digits", task="digits/fonts-photos", version=1,
        paradigm="different-domain-same-task", regime="classification", sources=("fonts",), target="photos", budget=5,
        seed=0, rule="default", method="dann", family="adversarial", config={"weight": 1.0, "layers": [1, 2]},
        default=True, metric="accuracy", value=float(BITS.mean()), n_test=len(BITS), episodes=None, n_shots=50,
        correct=packed_bits(BITS), fit_s=1.5, predict_s=0.1, overhead_s=0.05, train_samples_per_s=100.0, step_ms=2.0,
        infer_samples_per_s=1000.0, peak_rss_mib=400.0, peak_gpu_mib=None, device="cpu", threads=1, jobs=2,
        backbone="convnet", weights=None, precision=None, data="d" * 64, source_data=("c" * 64,), split="e" * 64,
        method_digest="f" * 64, protocol=1, tlbench="0.1.0", torch="2.6.0", python="3.11.7",
        machine="a processor, 2 cores, Linux", commit=None, dirty=None, time="2025-01-01T00:00:00+00:00",
    )  # fmt: skip
    return replace(plain, **changed)


def failed(key: str) -> Row:
    return row(key, status="failed", reason="ValueError: no", value=None, correct=None)


def text(r: Row) -> str:
    return json.dumps(r.values())


def write(folder: Path, *lines: str | bytes, name: str = "rows.jsonl", end: bytes = b"\n") -> Path:
    """A store file of these lines; `end` follows the last one."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / name
    file.write_bytes(b"\n".join(x.encode() if isinstance(x, str) else x for x in lines) + end)
    return file


def python(script: str, *words: object, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", script, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, **options)


def test_a_row_is_read_as_it_was_written(tmp_path: Path) -> None:
    rows = [row("a"), failed("b"), row("c", reason='Ünïcode, "quotes", and\na line\rbreak \u2028 \x00', budget="full")]
    writer = Store(tmp_path / "deep" / "er")
    for r in rows:
        writer.append(r)
    reader = Store(tmp_path / "deep" / "er")
    assert list(reader.rows.values()) == rows == list(writer.rows.values())
    assert reader.warnings() == []
    assert (reader.rows["a"].bits() == BITS).all()
    assert len(reader.file.read_bytes().split(b"\n")) == 4  # a line each, and nothing after the last


def test_a_reason_with_half_a_character_is_stored_all_the_same(tmp_path: Path) -> None:
    Store(tmp_path).append(row("a", reason="no file \udcff.png"))
    assert Store(tmp_path).rows["a"].reason == "no file ?.png"


def test_a_store_sees_what_another_one_appended_since(tmp_path: Path) -> None:
    mine, theirs = Store(tmp_path), Store(tmp_path)
    theirs.append(row("a"))
    assert mine.rows == {}
    mine.refresh()
    assert set(mine.rows) == {"a"}
    theirs.append(row("b"))
    mine.append(row("c"))
    assert set(mine.rows) == {"a", "b", "c"}


def test_an_absent_store_is_empty_and_reading_makes_no_file(tmp_path: Path) -> None:
    found = Store(tmp_path / "none")
    assert (found.rows, found.warnings()) == ({}, [])
    assert list(tmp_path.iterdir()) == []


def test_a_torn_last_line_is_skipped_and_said(tmp_path: Path) -> None:
    file = write(tmp_path, text(row("a")), text(row("b"))[:200], end=b"")
    found = Store(tmp_path)
    assert set(found.rows) == {"a"}
    assert found.warnings() == [f"{file}:2: skipped, a torn last line"]


def test_the_next_append_does_not_glue_onto_a_torn_line(tmp_path: Path) -> None:
    torn = text(row("b"))[:200]
    file = write(tmp_path, text(row("a")), torn, end=b"")
    Store(tmp_path).append(row("c"))
    found = Store(tmp_path)
    assert set(found.rows) == {"a", "c"}
    assert file.read_text().splitlines()[1] == torn
    assert len(found.warnings()) == 1
    assert found.warnings()[0].startswith(f"{file}:2: skipped, not a row")


def test_a_line_that_was_torn_for_one_reader_is_read_when_it_is_whole(tmp_path: Path) -> None:
    whole = text(row("b"))
    file = write(tmp_path, text(row("a")), whole[:200], end=b"")
    found = Store(tmp_path)
    with file.open("a") as stream:
        stream.write(whole[200:] + "\n")
    found.refresh()
    assert set(found.rows) == {"a", "b"}
    assert found.warnings() == []


@pytest.mark.parametrize(
    "junk",
    [
        b"not json", b"\xff\xfe\x00\x01", b"{}", b"[1, 2]", b"null", b"3", b'"text"', b"{" * 100_000, b"[" * 100_000,
        b'{"key": "b"', b"a\rb", b"\r", b"\x00" * 5000, b"9" * 5000, b'{"a": 1}\r{"b": 2}', "\u2028\x85".encode(),
    ],
    ids=lambda junk: repr(junk[:12]),
)  # fmt: skip
def test_a_corrupt_line_is_skipped_and_named_and_the_rows_around_it_are_read(tmp_path: Path, junk: bytes) -> None:
    file = write(tmp_path, text(row("a")), text(row("b")), junk, text(row("c")))
    found = Store(tmp_path)
    assert set(found.rows) == {"a", "b", "c"}
    said = [] if not junk.strip() else [f"{file}:3: skipped, not a row ("]
    assert [w[: len(said[0])] for w in found.warnings()] == said
    Store(tmp_path).append(row("d"))
    assert set(Store(tmp_path).rows) == {"a", "b", "c", "d"}


def test_every_corrupt_line_is_counted(tmp_path: Path) -> None:
    file = write(tmp_path, "x", text(row("a")), "", "y", text(row("b")), "z")
    places = [w.partition(": skipped")[0] for w in Store(tmp_path).warnings()]
    assert places == [f"{file}:1", f"{file}:4", f"{file}:6"]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("key", 3), ("key", None), ("task", []), ("method", None), ("seed", "0"), ("seed", 1.5), ("seed", True),
        ("n_test", "11"), ("n_test", None), ("n_test", 12345), ("config", []), ("config", "{}"), ("status", "great"),
        ("status", None), ("status", {}), ("value", "0.5"), ("value", None), ("value", -0.1), ("value", 1.01),
        ("value", float("nan")), ("value", float("inf")), ("value", [0.5]), ("correct", None), ("correct", 7),
        ("correct", "AAAA"), ("correct", "not base64"), ("sources", 3), ("sources", None), ("surprise", 1),
        ("sources", [3]), ("fit_s", "1"), ("fit_s", float("nan")), ("fit_s", True), ("reason", 3), ("dirty", 1),
        ("config", {"weight": float("nan")}), ("budget", None),
    ],
)  # fmt: skip
def test_a_row_with_a_column_of_the_wrong_type_is_skipped(tmp_path: Path, column: str, value: object) -> None:
    write(tmp_path, text(row("a")), json.dumps({**row("b").values(), column: value}), text(row("c")))
    found = Store(tmp_path)
    assert set(found.rows) == {"a", "c"}
    assert len(found.warnings()) == 1


def test_a_number_too_large_to_be_one_is_skipped_and_does_not_stop_collect(tmp_path: Path) -> None:
    write(tmp_path / "shards", text(row("a")).replace('"fit_s": 1.5', '"fit_s": 1e999'), text(row("b")), name="x.jsonl")
    new, warnings = store.collect(tmp_path)
    assert (new, list(Store(tmp_path).rows)) == (1, ["b"])
    assert "column 'fit_s' is inf" in warnings[0]


@pytest.mark.parametrize("column", sorted(LATER))
def test_an_older_row_lacks_a_later_column_and_has_null_there(tmp_path: Path, column: str) -> None:
    values = row("a").values()
    del values[column]
    write(tmp_path, json.dumps(values))
    assert getattr(Store(tmp_path).rows["a"], column) is None


@pytest.mark.parametrize("column", [c for c in COLUMNS if c not in LATER])
def test_a_row_without_one_of_its_columns_is_skipped_and_the_column_is_named(tmp_path: Path, column: str) -> None:
    values = row("a").values()
    del values[column]
    write(tmp_path, json.dumps(values))
    found = Store(tmp_path)
    assert found.rows == {}
    assert f"missing column '{column}'" in found.warnings()[0]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
damaged_rows = st.dictionaries(st.sampled_from([*COLUMNS, "more"]), json_values, min_size=1, max_size=3).map(
    lambda changed: json.dumps({**row("b").values(), **changed}).encode()
)
cut_rows = st.integers(0, len(text(row("b")))).map(lambda n: text(row("b"))[:n].encode())
some_lines = st.lists(
    st.binary(max_size=60) | json_values.map(lambda v: json.dumps(v).encode()) | damaged_rows | cut_rows
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(some_lines, st.sampled_from([b"", b"\n"]))
def test_no_line_ever_crashes_the_store_or_hides_a_row(tmp_path: Path, lines: list[bytes], end: bytes) -> None:
    write(tmp_path, *lines, text(row("first of all")), *lines, end=end)
    Store(tmp_path).append(row("at the end"))
    found = Store(tmp_path)
    assert {"first of all", "at the end"} <= set(found.rows)
    assert all(isinstance(r, Row) for r in found.rows.values())
    assert all("skipped" in w for w in found.warnings())


WRITER = """
import sys
from pathlib import Path
from test_store import row
from tlbench.results.store import Store

folder, who = Path(sys.argv[1]), sys.argv[2]
mine = Store(folder)
print("ready", flush=True)
sys.stdin.readline()
for i in range(200):
    mine.append(row(f"{who}{i}", reason=who * (i * 37 % 900)))
assert sum(key.startswith(who) for key in mine.rows) == 200
"""


def test_two_processes_that_append_at_once_lose_and_corrupt_nothing(tmp_path: Path) -> None:
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path), who],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parent,
        )
        for who in ("x", "y")
    ]  # fmt: skip
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"ready\n"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write(b"go\n")
        writer.stdin.flush()
    for writer in writers:
        writer.communicate(timeout=60)
    assert [writer.returncode for writer in writers] == [0, 0]
    lines = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert sorted(x["key"] for x in lines) == sorted(f"{who}{i}" for who in "xy" for i in range(200))
    order = "".join(x["key"][0] for x in lines)
    assert order not in ("x" * 200 + "y" * 200, "y" * 200 + "x" * 200), "they took no turns: nothing was tried"
    assert Store(tmp_path).warnings() == []


FILLED = """
import resource, sys
from pathlib import Path
from test_store import row
from tlbench.errors import UsageError
from tlbench.results.store import Store

folder, most = Path(sys.argv[1]), int(sys.argv[2])
if most:
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
mine, n = Store(folder), 0
while n < 1000:
    try:
        mine.append(row(f"r{n}"))
    except UsageError as mistake:
        print(n, mistake)
        break
    n += 1
try:
    mine.append(row("once more"))
except UsageError:
    print("refused again")
again = Store(folder)
assert list(again.rows) == [f"r{i}" for i in range(n)] == list(mine.rows), list(again.rows)
assert again.warnings() == [], again.warnings()
"""


def full_disk_is_one_mistake(done: subprocess.CompletedProcess[str], folder: Path) -> None:
    assert done.returncode == 0, done.stderr
    said, again = done.stdout.splitlines()
    n = int(said.partition(" ")[0])
    assert n > 3
    assert said.startswith(f"{n} {folder}/rows.jsonl: the disk is full; the {n} rows written before are safe")
    assert again == "refused again"


def test_a_file_that_may_not_grow_is_one_mistake_and_the_rows_before_are_whole(tmp_path: Path) -> None:
    done = python(FILLED, tmp_path, 10_000, cwd=Path(__file__).parent)
    full_disk_is_one_mistake(done, tmp_path)
    kept = Store(tmp_path)
    kept.append(row("there is room again"))
    assert set(kept.rows) > {"r0", "r1", "r2", "there is room again"}
    assert kept.warnings() == []


def test_a_full_disk_is_one_mistake_and_the_rows_before_are_whole(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    alone = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    mount = 'mount -t tmpfs -o size=64k none "$0" && '
    if not shutil.which("unshare") or subprocess.run([*alone, f"{mount} true", disk], capture_output=True).returncode:
        pytest.skip("a small disk of one's own cannot be mounted here")
    command = [*alone, f'{mount} exec "$@" "$0" 0', disk, sys.executable, "-c", FILLED]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=Path(__file__).parent)
    full_disk_is_one_mistake(done, disk)


def test_a_store_that_cannot_be_made_is_a_mistake_that_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"file/rows.jsonl: .*choose another store with --results"):
        Store(tmp_path / "file").append(row("a"))


def test_a_failed_row_never_replaces_an_ok_one_and_an_ok_one_replaces_a_failed_one(tmp_path: Path) -> None:
    kept = Store(tmp_path)
    for r in (row("a"), failed("a"), failed("b"), row("b"), failed("b"), row("a", value=0.5)):
        kept.append(r)
    for found in (kept, Store(tmp_path)):
        assert found.rows == {"a": row("a"), "b": row("b")}
    assert len(kept.file.read_text().splitlines()) == 3  # what is there already, and is ok, is not written again
    merged = [row("a"), failed("a"), row("a", value=0.5), failed("b"), row("b"), failed("b")]  # of two stores, by hand
    write(tmp_path / "merged", *map(text, merged))
    assert Store(tmp_path / "merged").rows == {"a": row("a"), "b": row("b")}


def test_collect_folds_shards_in_and_removes_them(tmp_path: Path) -> None:
    Store(tmp_path).append(row("a"))
    write(tmp_path / "shards", text(row("b")), text(failed("c")), name="one.jsonl")
    write(tmp_path / "shards", text(row("d")), name="two.jsonl")
    assert store.collect(tmp_path) == (3, [])
    assert list(Store(tmp_path).rows) == ["a", "b", "c", "d"]
    assert list((tmp_path / "shards").iterdir()) == []
    assert store.collect(tmp_path) == (0, [])


def test_collect_repeats_nothing_and_takes_an_ok_row_for_a_failed_one(tmp_path: Path) -> None:
    Store(tmp_path).append(row("a"))
    Store(tmp_path).append(failed("b"))
    shards = tmp_path / "shards"
    write(shards, text(row("a")), text(row("b")), text(row("c")), name="one.jsonl")
    write(shards, text(row("c")), text(failed("a")), text(failed("b")), name="two.jsonl")
    assert store.collect(tmp_path) == (2, [])
    lines = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert [(x["key"], x["status"]) for x in lines] == [("a", "ok"), ("b", "failed"), ("b", "ok"), ("c", "ok")]
    assert all(r.ok for r in Store(tmp_path).rows.values())


@pytest.mark.parametrize("torn", [False, True])
def test_collect_takes_the_rows_of_a_shard_with_a_broken_line_and_keeps_the_shard(tmp_path: Path, torn: bool) -> None:
    lines = (text(row("a")), text(row("b")), "broken") if torn else (text(row("a")), "broken", text(row("b")))
    broken = write(tmp_path / "shards", *lines, name="one.jsonl", end=b"" if torn else b"\n")
    write(tmp_path / "shards", text(row("c")), name="two.jsonl")
    new, warnings = store.collect(tmp_path)
    assert (new, len(warnings)) == (3, 1)
    assert warnings[0].startswith(f"{broken}:{3 if torn else 2}: skipped")
    assert list((tmp_path / "shards").iterdir()) == [broken]
    assert store.collect(tmp_path) == (0, warnings)
    assert set(Store(tmp_path).rows) == {"a", "b", "c"}


def test_collect_leaves_a_shard_that_a_worker_has_made_and_not_yet_written(tmp_path: Path) -> None:
    shard = write(tmp_path / "shards", name="one.jsonl", end=b"")
    assert store.collect(tmp_path) == (0, [])
    Store(shard.parent, shard.name).append(row("a"))
    assert store.collect(tmp_path) == (1, [])
    assert list(shard.parent.iterdir()) == []


def test_collect_keeps_a_shard_that_it_could_not_fold_in(tmp_path: Path) -> None:
    shard = write(tmp_path / "shards", text(row("a")), name="one.jsonl")
    (tmp_path / "rows.jsonl").mkdir()
    with pytest.raises(UsageError, match=r"rows\.jsonl"):
        store.collect(tmp_path)
    assert set(Store(shard.parent, shard.name).rows) == {"a"}


def test_no_two_workers_write_the_same_shard(tmp_path: Path) -> None:
    mine = {store.shard(tmp_path, i).file for i in range(3)}
    script = "import sys; from pathlib import Path; from tlbench.results import store\n"
    script += "print(store.shard(Path(sys.argv[1]), 0).file)"
    theirs = Path(python(script, tmp_path).stdout.strip())
    assert len({*mine, theirs}) == 4
    assert {f.parent for f in (*mine, theirs)} == {tmp_path / "shards"}


def test_the_store_is_the_one_named_else_the_checkout_else_the_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout, elsewhere = tmp_path / "checkout", tmp_path / "elsewhere"
    for folder in (checkout / "tasks", checkout / "docs" / "deep", elsewhere / "tasks"):
        folder.mkdir(parents=True)
    (checkout / "leaderboard.md").write_text("")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    users = Path(platformdirs.user_data_path("tlbench")) / "results"
    monkeypatch.delenv("TLBENCH_RESULTS", raising=False)
    for place, expected in (
        (checkout, checkout / "results"), (checkout / "docs" / "deep", checkout / "results"), (elsewhere, users),
    ):  # fmt: skip
        monkeypatch.chdir(place)
        assert store.default_folder() == expected
    monkeypatch.chdir(checkout)
    monkeypatch.setenv("TLBENCH_RESULTS", str(tmp_path / "named"))
    assert store.default_folder() == tmp_path / "named"
    monkeypatch.setenv("TLBENCH_RESULTS", "")
    assert store.default_folder() == Path(os.getcwd()) / "results"
