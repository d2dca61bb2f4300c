"""Submitting and verifying: an honest bundle passes, and every kind of tampering meets its check."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tampered
from held import refused
from tampered import CASES, Bundled, copy_of, made, rejected

from tlbench.board import freezing
from tlbench.errors import UsageError
from tlbench.methods import versions  # fmt: skip
from tlbench.results import bundle, predictions
from tlbench.results.row import Row, packed_bits
from tlbench.results.store import Store
from tlbench.runner import descriptions, scoring
from tlbench.runner.experiment import Options
from tlbench.runner.worker.local import Workers
from tlbench.tasks import problems
from tlbench.verification.submissions import controls, inspection, submit
from tlbench.verification.submissions.inspection import on_the_board
from tlbench.verification.submissions.verify import Verification

DOCS = Path(__file__).parent.parent / "docs" / "submit.md"


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Bundled:
    return Bundled.of(made(tmp_path_factory.mktemp("author")))


def verified(folder: Path, store: Path, sample: int = 3) -> Verification:
    done = Verification(folder, Options(device="cpu", jobs=1), Store(store), sample, seed=0)
    done.run()
    return done


def test_an_honest_bundle_is_rejected_by_no_check(honest: Bundled, tmp_path: Path) -> None:
    done = verified(honest.folder, tmp_path)
    assert rejected(done.checks) == set(), done.checks
    by = {c.name: c for c in done.checks}
    for name in ("files", "source", "keys", "data", "splits", "scored again", "run again", "labels renamed", "placebo"):
        assert by[name].verdict == "accept", by[name]
    assert by["complete"].verdict == "question"  # it says that it is partial
    assert "3 of 3 cells answer alike to the last sample" in by["run again"].said


@pytest.mark.parametrize("what", CASES)
def test_each_kind_of_tampering_meets_its_check(what: str, honest: Bundled, tmp_path: Path) -> None:
    tamper, check = CASES[what]
    folder = copy_of(honest.folder, tmp_path / "copy")
    tamper(folder)
    assert check in rejected(honest.inspect(folder, tmp_path / "store"))
    assert not Path("/tmp/tlbench-unpickled").exists()


def test_the_documents_table_names_every_case_and_its_check() -> None:
    text = DOCS.read_text()
    for what, (_, check) in CASES.items():
        assert f"| {what} | reject | {check} |" in text


@pytest.mark.slow
def test_answers_that_no_run_gives_are_found_by_running_again(honest: Bundled, tmp_path: Path) -> None:
    folder = copy_of(honest.folder, tmp_path / "copy")
    tampered.true_answers(folder, honest.bench, honest.found)
    assert rejected(honest.inspect(folder, tmp_path / "s")) == set()  # every digest and score is right
    assert "run again" in rejected(verified(folder, tmp_path / "s").checks)


@pytest.mark.slow
def test_cells_that_are_said_to_be_refused_are_run_too(honest: Bundled, tmp_path: Path) -> None:
    folder = copy_of(honest.folder, tmp_path / "copy")
    tampered.refused_where_it_is_weak(folder)
    assert rejected(honest.inspect(folder, tmp_path / "s")) == set()  # nothing that is told contradicts it
    by = {c.name: c for c in verified(folder, tmp_path / "s", 1).checks}
    assert by["run again"].verdict == "question"
    assert "refused there, ok here" in by["run again"].said


@pytest.mark.slow
def test_a_method_that_ships_the_test_labels_is_found_by_renaming_the_classes(honest: Bundled, tmp_path: Path) -> None:
    code = tampered.leak_code(honest.bench, next(iter(honest.found.values())))
    folder = made(tmp_path / "cheat", code)
    assert {r.value for r in bundle.read(folder).rows} == {1.0}
    done = verified(folder, tmp_path / "s", 1)
    assert rejected(done.checks) == {"labels renamed"}  # nothing else can tell: it is deterministic, and fast


def test_predictions_and_rows_of_another_method_are_rejected_or_questioned(honest: Bundled, tmp_path: Path) -> None:
    theirs = {(c.task.name, c.budget, c.seed): None for c in honest.found.values()}
    draw = np.random.default_rng(0)
    answers = {p: draw.integers(0, 2, bundle.read(honest.folder).rows[0].n_test) for p in theirs}
    folder = copy_of(honest.folder, tmp_path / "copy")
    tampered.somebody_elses(folder, honest.bench, honest.found, answers)
    rows = bundle.read(folder).rows
    board = [replace(r, method="dann") for r in rows]
    assert inspection.copied(rows, board, "means:Means").verdict == "question"
    pairs = [(a, b, False) for a, b in zip(rows, bundle.read(honest.folder).rows, strict=True)]
    assert inspection.again(pairs, {}).verdict == "reject"


FORGER = """
import json, os
from pathlib import Path
told = {"status": "ok", "description": {"name": 3}, "files": ["/etc/passwd"], "class": "A"}
Path("report.json").write_text(json.dumps(told))
os._exit(0)
"""


def test_a_module_that_forges_what_it_is_has_no_other_file_copied(honest: Bundled, tmp_path: Path) -> None:
    (tmp_path / "forger.py").write_text(FORGER)
    spec = f"{tmp_path / 'forger.py'}:A"
    with Workers() as workers:
        with pytest.raises(UsageError, match="no description"):
            descriptions.described(spec, {}, workers)
        with pytest.raises(UsageError, match=r"/etc/passwd as its code"):
            submit._copy(tmp_path, spec, honest.method, workers)


def test_an_error_beyond_all_numbers_is_no_value() -> None:
    domain = SimpleNamespace(boxes=None, classes=(), y=np.zeros(2))
    problem = problems.of("regression")
    card = SimpleNamespace(problem=problem, measured=problem.metrics, metric=problem.metrics[0].name)
    test = SimpleNamespace(test=np.arange(2))
    split = SimpleNamespace(domain=domain, partition=test, task=SimpleNamespace(card=card))
    with pytest.raises(ValueError, match="beyond all numbers"):
        scoring.measured(np.full(2, 1e200), split, 5)


def test_times_that_no_machine_explains_are_questioned_or_rejected(honest: Bundled) -> None:
    rows = [replace(r, fit_s=2.0) for r in bundle.read(honest.folder).rows]
    probes = {"gemm_fp32_1024": 0.1, "r0_300": 0.4}

    def told(times: float, speed: float = 1.0) -> str:
        pairs = [(replace(r, fit_s=2.0 * times), r) for r in rows]
        return inspection.times(pairs, {n: s * speed for n, s in probes.items()}, probes).verdict

    assert [told(1), told(5), told(1 / 5), told(50), told(1 / 50)] == [
        "accept", "question", "question", "reject", "reject"
    ]  # fmt: skip
    assert told(5, speed=5) == "accept"  # theirs is the slower machine
    assert inspection.times([(replace(rows[0], fit_s=-1.0), rows[0])], probes, probes).verdict == "reject"


def test_other_hardware_may_differ_as_much_as_seeds_do(honest: Bundled) -> None:
    rows = bundle.read(honest.folder).rows
    known = inspection.deviations(on_a_board(rows))
    s = inspection.spread(rows[0], known)

    def told(by: float, n: int = 1) -> str:
        here = [replace(r, value=(r.value or 0) - by * s, machine="another") for r in rows[:n]]
        return inspection.again([(a, b, False) for a, b in zip(rows, here, strict=False)], known).verdict

    assert [told(0.5), told(3.5), told(9)] == ["accept", "question", "reject"]
    assert told(2.4, n=6) != "accept"  # a little too good everywhere


def on_a_board(rows: Sequence[Row]) -> list[Row]:
    """Three other methods that are where `rows` are, give or take a point from seed to seed."""
    values = {m: [0.9 + size * s for s in range(3)] for m, size in (("a", 0.005), ("b", 0.01), ("c", 0.5))}
    places = {(r.task, r.budget): r for r in rows}.values()
    return [
        replace(r, method=m, value=v, seed=s, default=True, rule="default")
        for r in places for m, own in values.items() for s, v in enumerate(own)
    ]  # fmt: skip


@pytest.mark.parametrize("lies", [1, 2, 3])
def test_a_lie_makes_no_room_for_itself(honest: Bundled, lies: int) -> None:
    row = replace(bundle.read(honest.folder).rows[0], value=0.6, n_test=500)
    known = inspection.deviations(on_a_board([row]))
    assert known[row.task, row.budget] == pytest.approx(0.01)  # the median: one that leaps about widens nothing
    here = [replace(row, seed=s, value=0.6 + 0.01 * s, machine="another") for s in range(5)]
    told = [replace(r, value=(r.value or 0) + 0.3 * (r.seed < lies)) for r in here]
    pairs = [(a, b, a.value == b.value) for a, b in zip(told, here, strict=True)]
    assert inspection.again(pairs, known).verdict == "reject"
    refused = replace(row, seed=9, status="refused", value=None)
    assert inspection.again([*pairs, (refused, here[0], False)], known).verdict == "reject"
    assert inspection.again([(refused, here[0], False)], known).verdict == "question"


def test_a_kept_prediction_gives_the_rows_value_and_bits_again(honest: Bundled) -> None:
    b = bundle.read(honest.folder)
    for r in b.rows:
        told = scoring.measured(b.answers(r.key), honest.bench.split(honest.found[tampered.place(r)].task, 0), r.budget)
        assert (told["value"], told["correct"]) == (r.value, r.correct)


@pytest.mark.slow
def test_an_incomplete_grid_is_refused_unless_it_is_said(tmp_path: Path) -> None:
    (tmp_path / "m.py").write_text(tampered.METHOD)
    words = ("submit", "m.py:Means", "--tasks", "wdbc_shift", "--seeds", "0", "--results", "r")
    said = refused(*words, cwd=tmp_path)
    assert "36 cells of 40 would be left out" in said
    assert "--partial" in said
    assert "ships with tlbench" in refused("submit", "coral", "--tasks", "wdbc_shift", cwd=tmp_path)


@pytest.mark.slow
def test_a_row_without_predictions_is_run_again_and_no_other(honest: Bundled) -> None:
    author = honest.folder.parent.parent.parent
    kept = sorted((author / "results" / "predictions").glob("*.npy"))
    lines = (author / "results" / "rows.jsonl").read_text()
    kept[0].unlink()
    before = kept[1].stat().st_mtime_ns
    made(author, name="again")
    assert kept[0].exists()
    assert kept[1].stat().st_mtime_ns == before
    assert (author / "results" / "rows.jsonl").read_text() == lines


def test_only_a_record_of_this_very_bundle_accepts_it(honest: Bundled, tmp_path: Path) -> None:
    place = tmp_path / "submissions" / "one"
    folder = copy_of(honest.folder, place)
    assert bundle.verified(bundle.committed_in(tmp_path)) == []
    tampered.forged_record(folder)
    assert bundle.verified(bundle.committed_in(tmp_path)) == []
    record = json.loads((folder / "verification.json").read_text()) | {"bundle": bundle.read(folder).digest}
    (folder / "verification.json").write_text(json.dumps(record))
    assert len(bundle.verified(bundle.committed_in(tmp_path))) == 6
    tampered.changed_value(folder)
    assert bundle.verified(bundle.committed_in(tmp_path)) == []


def test_a_copy_on_the_board_is_the_bundle_itself_but_for_another_name(honest: Bundled, tmp_path: Path) -> None:
    b = bundle.read(honest.folder)
    copy_of(honest.folder, tmp_path / "submissions" / honest.folder.name)
    assert on_the_board(b, Store(tmp_path))[0].verdict == "accept"
    copy_of(honest.folder, tmp_path / "submissions" / "another")
    assert on_the_board(b, Store(tmp_path))[0].verdict == "reject"


def test_who_tells_every_cell_a_little_higher_leans_one_way(honest: Bundled) -> None:
    random, here = np.random.default_rng(0), list[Row]()
    for seed in range(6):
        hits = random.random(200) < 0.8
        plain = bundle.read(honest.folder).rows[0]
        here.append(replace(plain, seed=seed, n_test=200, correct=packed_bits(hits), value=float(hits.mean())))

    def moved(r: Row, up: int, down: int) -> Row:
        hits = r.bits()
        hits[np.flatnonzero(~hits)[:up]] = True
        hits[np.flatnonzero(r.bits())[:down]] = False
        return replace(r, correct=packed_bits(hits), value=float(hits.mean()), machine="another")

    known = {(here[0].task, here[0].budget): 0.03}

    def told(up: int, down: int) -> str:
        return inspection.again([(moved(r, up, down), r, up == down == 0) for r in here], known).verdict

    assert told(0, 0) == "accept"
    assert told(5, 5) == "accept"  # another processor
    assert told(3, 0) == "question"  # 1.5 points each, half a spread: the mean alone would let it pass


def test_luck_that_was_chosen_does_not_carry_over_to_other_seeds(honest: Bundled) -> None:
    row = replace(bundle.read(honest.folder).rows[0], n_test=2000)
    known = {(row.task, row.budget): 0.02}

    def told(above: float) -> str:
        own = [replace(row, seed=s, value=0.8 + above) for s in range(5)]
        fresh = [(own, replace(row, seed=1_000_000 + i, value=0.8 + 0.01 * (-1) ** i)) for i in range(6)]
        return inspection.elsewhere(fresh, known).verdict

    assert [told(0.0), told(0.01), told(0.04), told(-0.2)] == ["accept", "accept", "question", "accept"]
    assert inspection.elsewhere([([row], replace(row, status="failed", value=None))], known).verdict == "question"


def test_a_method_cannot_see_that_labels_are_renamed(honest: Bundled, tmp_path: Path) -> None:
    cell = next(iter(honest.found.values()))
    plain, other = tmp_path / "plain", tmp_path / "other"
    with Workers() as workers:
        for folder in (plain, other):
            folder.mkdir()
        first = honest.bench.job(cell, workers, plain)
        second = controls.Renamed(honest.bench.conditions, by=1).job(cell, workers, other)
    assert {p.name for p in plain.iterdir()} == {p.name for p in other.iterdir()}
    mine, theirs = Path(first["sources"][0]["y"]), Path(second["sources"][0]["y"])
    assert (mine.parent, len(mine.name)) == (theirs.parent, len(theirs.name))
    np.testing.assert_array_equal((np.load(mine) + 1) % 2, np.load(theirs))
    assert controls.fall([1.0, 1.2]) == []
    assert controls.fall([2.0, 1.9, 1.8])[0].verdict == "question"  # a little in every cell


def test_superseding_asks_and_leaves_no_cell_out(honest: Bundled, tmp_path: Path) -> None:
    old = copy_of(honest.folder, tmp_path / "store" / "submissions" / "old")
    keys = [r.key for r in bundle.read(old).rows]

    def corrected(rows: list[dict[str, object]], name: str) -> str:
        folder = copy_of(honest.folder, tmp_path / name)
        for i, r in enumerate(rows):
            r["key"] = f"{i + 1:064x}"
        tampered.write_rows(folder, rows)
        tampered.seal(folder, supersedes=dict.fromkeys(keys, "better now"))
        return next(c.verdict for c in on_the_board(bundle.read(folder), Store(tmp_path / "store")) if c.name == "new")

    assert corrected(tampered.rows_of(honest.folder), "whole") == "question"
    assert corrected(tampered.rows_of(honest.folder)[:1], "one") == "reject"


@pytest.mark.slow
def test_a_correction_is_a_new_bundle_that_says_why(honest: Bundled, tmp_path: Path) -> None:
    old = copy_of(honest.folder, tmp_path / "submissions" / "old")
    made_again = tampered.METHOD.replace("1e-6", "1e-5")
    with pytest.raises(UsageError, match="--reason"):
        made(tmp_path / "author", made_again, supersedes=old)
    new = made(tmp_path / "author", made_again, supersedes=old, reason="a wrong constant", name="new")
    new = copy_of(new, tmp_path / "submissions" / "new")
    for folder in (old, new):
        tampered.forged_record(folder)
        record = json.loads((folder / "verification.json").read_text()) | {"bundle": bundle.read(folder).digest}
        (folder / "verification.json").write_text(json.dumps(record))
    left = bundle.verified(bundle.committed_in(tmp_path))
    assert {r.key for r in left} == {r.key for r in bundle.read(new).rows}
    assert set(bundle.read(new).about.supersedes.values()) == {"a wrong constant"}


def test_a_pack_of_the_same_predictions_has_the_same_bytes(tmp_path: Path) -> None:
    answers = {f"{i:064x}": np.arange(i + 1, dtype=np.uint8) for i in range(3)}
    submit.pack(tmp_path / "a", answers)
    submit.pack(tmp_path / "b", dict(reversed(answers.items())))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    for array in (np.array([1.5], np.float64), np.zeros((2, 3, 6), np.float32), np.array([300], np.uint16)):
        predictions.keep(tmp_path / "x.npy", array)
        np.testing.assert_array_equal(predictions.read(tmp_path / "x.npy"), array)


@pytest.mark.slow
def test_a_bundle_of_an_edition_that_was_frozen_since_still_verifies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was made for the open edition, frozen with it, and the toolkit got a new version afterwards."""
    folder = tmp_path / "author" / "results"
    place = made(tmp_path / "author", out=folder / "submissions")
    about = json.loads((place / "bundle.json").read_text())
    assert about["edition"] == "open"
    freezing.freeze(folder, "2027.03")
    place = folder / "editions" / "2027.03" / "submissions" / place.name
    before = verified(place, folder, sample=1)
    assert rejected(before.checks) == set(), before.checks
    assert not before.earlier
    monkeypatch.setattr(versions, "toolkit", lambda: 2)
    after = verified(place, folder, sample=1)
    by = {c.name: c for c in after.checks}
    assert rejected(after.checks) == set(), after.checks
    assert (by["keys"].verdict, by["toolkit"].verdict) == ("accept", "question")
    assert f"made with toolkit 1; here it is 2: run it again at commit {about['commit']}" in by["toolkit"].said


@pytest.mark.slow
def test_in_the_open_edition_rows_of_an_earlier_toolkit_are_run_again(
    honest: Bundled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(versions, "toolkit", lambda: 2)
    done = verified(honest.folder, tmp_path)
    assert "toolkit" in rejected(done.checks)


def test_an_edition_that_is_not_here_is_no_bundles(honest: Bundled, tmp_path: Path) -> None:
    place = copy_of(honest.folder, tmp_path / "copy")
    seal(place, "2031.01")
    assert rejected(verified(place, tmp_path).checks) == {"edition"}


def seal(place: Path, edition: str) -> None:
    about = json.loads((place / "bundle.json").read_text())
    (place / "bundle.json").write_text(json.dumps({**about, "edition": edition}))
