"""Editions: frozen with all that their board rests on, the same whatever the code does later."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from held import over, references, refused, store, tlbench
from test_answers import Copy

from tlbench.board import changes, comparison, explain, freezing, markdown, recommend, similarity
from tlbench.board.board import Board
from tlbench.errors import UsageError
from tlbench.methods import versions
from tlbench.results import editions
from tlbench.results.editions import Edition, Frozen
from tlbench.results.index import Index
from tlbench.results.row import Row
from tlbench.results.store import Store
from tlbench.tasks import grids, split_digests
from tlbench.tasks.card import Budget
from tlbench.tasks.grids import Named, Part

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "results"
PAIRS = ("digits/fonts-photos", "wdbc_shift/wdbc_biased-wdbc")
GRID = Named(name="core", seeds=5, part=(Part(budgets=(5,), tasks=PAIRS),))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A grid of two tasks, on splits that nobody froze."""
    monkeypatch.setattr(grids, "named", lambda name: GRID)
    monkeypatch.setattr(split_digests, "differs", lambda suite, where, digest: False)
    monkeypatch.setattr(split_digests, "digests", lambda suite: {})


def measured(dann: int, version: int | None, budgets: Sequence[Budget] = (5,), **changed: Any) -> list[Row]:
    """Rows of two methods and the references on the grid, of a version of dann."""
    found: list[Row] = []
    for i, task in enumerate(PAIRS):
        known = Edition().suite(task.partition("/")[0])
        assert known is not None
        told = {"method_digest": None, "method_version": 1, "version": known.version, **changed}
        found += [replace(r, **told) for r in references(task, target=60 + i)]
        for k in budgets:
            own = over("dann", task, k, [dann + s for s in range(5)], **{**told, "method_version": version})
            found += [*own, *over("coral", task, k, [62 + s for s in range(5)], **told)]
    return found


def frozen_at(folder: Path, name: str, rows: Sequence[Row]) -> Frozen:
    """A store whose open edition holds these rows, frozen."""
    store(folder, rows)
    freezing.freeze(folder, name)
    return editions.all_of(folder)[name]


def opened(folder: Path, edition: Edition) -> Board:
    return Board(editions.opened(folder, edition), edition=edition)


# the committed one


def test_the_first_edition_has_the_ranks_and_gains_that_it_was_frozen_with() -> None:
    edition = editions.all_of(RESULTS)["2026.11"]
    board = opened(RESULTS, edition)
    assert freezing.lost(board) == ""
    assert (edition.made.rows, len(board.store.rows)) == (21370, 21370)
    assert len(edition.made.commits) == 12
    assert set(edition.made.commits) >= {c for c in board.rows["commit"].astype(str) if c}
    assert edition.made.protocol.features == "bf16"


def test_a_changed_row_is_seen_in_the_digest(tmp_path: Path, small: None) -> None:
    edition = frozen_at(tmp_path, "2027.03", measured(70, 1))
    assert freezing.lost(opened(tmp_path, edition)) == ""
    packed = next((tmp_path / "editions/2027.03/packed").glob("*.parquet"))
    rows = [r for r in Store(edition.folder).rows.every() if not (r.method == "dann" and r.seed == 0)]
    packed.unlink()
    store(edition.folder, rows)
    assert "frozen as" in freezing.lost(opened(tmp_path, edition))


@pytest.mark.slow
def test_a_frozen_board_is_rebuilt_by_later_code(tmp_path: Path) -> None:
    """A trainer's module is renamed, a card gets a new version, a method another default."""
    copy = Copy(tmp_path)
    (copy.folder / "tlbench/training/trainer.py").rename(copy.folder / "tlbench/trainer.py")
    for file in copy.folder.rglob("*.py"):
        text = file.read_text().replace("tlbench.training.trainer", "tlbench.trainer")
        file.write_text(text.replace("import descent", "import trainer as descent"))
    copy.change("tlbench_tasks/digits.toml", "version = 1", "version = 7")
    copy.change("tlbench_tasks/grids/core.toml", "seeds = 5", "seeds = 3")
    copy.change("tlbench_baselines/dann.py", "weight: float = 1.0", "weight: float = 0.9")
    words = ("leaderboard", "--edition", "2026.11", "--check", "--results", str(RESULTS))
    done = copy.run(*words, "--file", str(ROOT / "leaderboard.md"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "unchanged, 21370 rows, edition 2026.11" in done.stdout


# freezing


def test_freezing_moves_the_open_edition_and_leaves_an_empty_one(tmp_path: Path, small: None) -> None:
    rows = measured(70, 1)
    edition = frozen_at(tmp_path, "2027.03", rows)
    assert len(Store(tmp_path).rows) == 0
    assert {r.key for r in editions.opened(tmp_path, edition).rows.every()} == {r.key for r in rows}
    made = edition.made
    assert (made.name, made.rows, made.grid, made.commits) == ("2027.03", len(rows), GRID, ("c" * 40,))
    assert made.methods["dann"].model_dump() == {"code": "version 1", "version": 1}
    assert made.toolkit == versions.toolkit()
    assert editions.named(tmp_path, None) == edition
    assert editions.named(tmp_path, "open") == Edition()


@pytest.mark.parametrize(
    ("name", "said"),
    [("spring", "named by year and month"), ("2027.03", "frozen already"), ("2027.04", "nothing to freeze")],
)
def test_what_cannot_be_frozen_is_told_in_a_line(name: str, said: str, tmp_path: Path, small: None) -> None:
    frozen_at(tmp_path, "2027.03", measured(70, 1))
    (tmp_path / "timings.jsonl").write_text("{}\n")
    with pytest.raises(UsageError, match=said):
        freezing.freeze(tmp_path, name)
    assert (tmp_path / "timings.jsonl").read_text() == "{}\n"
    assert list(editions.all_of(tmp_path)) == ["2027.03"]
    assert not (tmp_path / "editions/2027.04").exists()


def test_freezing_that_was_killed_goes_on_and_loses_nothing(tmp_path: Path, small: None) -> None:
    store(tmp_path, measured(70, 1))
    (tmp_path / "timings.jsonl").write_text("earlier\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(freezing, "digest", lambda board: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            freezing.freeze(tmp_path, "2027.03")
    assert editions.all_of(tmp_path) == {}
    (tmp_path / "timings.jsonl").write_text("later\n")
    assert freezing.freeze(tmp_path, "2027.03").rows == len(measured(70, 1))
    assert (tmp_path / "editions/2027.03/timings.jsonl").read_text() == "earlier\nlater\n"


def test_what_comes_later_changes_nothing_of_a_frozen_edition(
    tmp_path: Path, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    edition = frozen_at(tmp_path, "2027.03", measured(70, 1))
    before = markdown.text(opened(tmp_path, edition))
    assert "| +11.5 ± " in before
    monkeypatch.setattr(grids, "named", lambda name: replace_seeds(GRID))
    monkeypatch.setattr(editions, "_suite", lambda name: None)
    monkeypatch.setattr(split_digests, "differs", lambda suite, where, digest: True)
    monkeypatch.setattr(versions, "of", lambda method: 9)
    after = editions.all_of(tmp_path)["2027.03"]
    assert markdown.text(opened(tmp_path, after)) == before
    assert freezing.lost(opened(tmp_path, after)) == ""


def replace_seeds(grid: Named) -> Named:
    return grid.model_copy(update={"seeds": 1})


def test_in_the_open_edition_rows_of_an_earlier_version_do_not_stand_beside_later_ones(
    tmp_path: Path, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(versions, "of", lambda method: 2 if method == "dann" else 1)
    later = [replace(r, key=f"{r.key} 2") for r in measured(80, 2) if r.method == "dann"]
    board = Board(Store(store(tmp_path, [*measured(70, 1), *later])))
    (dann,) = (s for s in board.same_task[5] if s.method == "dann")
    assert dann.accuracy == pytest.approx(82)
    assert board.changed == set()
    old = Board(Store(store(tmp_path / "old", measured(70, 1))))
    assert old.changed == {"dann"}


def test_questions_take_the_margin_and_the_tie_from_the_edition(tmp_path: Path, small: None) -> None:
    """dann lies 8 points above coral and 12 above target-only, and jan lies 8 below target-only."""
    plain = frozen_at(tmp_path, "2027.03", measured(70, 1))
    task, below = PAIRS[0], over("jan", PAIRS[0], 5, [52] * 5, method_version=1, method_digest=None)
    rows = [*Store(plain.folder).rows.every(), *below]
    assert answers(rows, plain, task) == ("win", "yes", ["jan"], False)
    file = plain.folder / editions.ABOUT
    made = json.loads(file.read_text())
    made["protocol"] |= {"margins": [0.0, 13.0, 26.0], "tie": 10.0}
    file.write_text(json.dumps(made))
    wide = editions.all_of(tmp_path)["2027.03"]
    assert wide.protocol.margin == 13
    assert answers(rows, wide, task) == ("tie", "no", [], True)
    coral = next(s for s in opened(tmp_path, wide).same_task[5] if s.method == "coral")
    assert coral.won == (0, 2, 0)  # the board has always asked the edition
    assert "more than 13 points below target_only's" in markdown.text(opened(tmp_path, wide))


def answers(rows: Sequence[Row], edition: Edition, task: str) -> tuple[str, str, list[str], bool]:
    """What becomes of dann beside coral; whether jan shows negative transfer; whom the advice warns of; and whether it
    finds no gain over the reference."""
    index = Index.of(rows, edition=edition)
    (compared,) = comparison.of_index(index, "dann", "coral", [task], 5)
    line = explain.trace(rows, "jan", task, 5, edition=edition).line
    sketch = similarity.of_name(index.examples[task], None)
    advice = recommend.recommend(index, sketch, [sketch], 5)
    risky = [c.method for c in advice.risky if c.family != "reference"]
    safe = any("no method is shown to gain" in note for note in advice.notes)
    return compared.duels[0].outcome, line.negative_transfer, risky, safe


# what changed


def test_the_page_of_changes_says_what_became_of_every_method_and_why(
    tmp_path: Path, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = frozen_at(tmp_path, "2027.03", measured(70, 1))
    entry = {"version": 3, "why": [[1, "first"], [2, "momentum as in the paper"], [3, "its own schedule"]]}
    held = {"libraries": {}, "methods": {**versions.recorded()["methods"], "dann": entry}}
    monkeypatch.setattr(versions, "recorded", lambda: held)
    other = Named(name="core", seeds=4, part=(Part(budgets=(1, 5), tasks=PAIRS[:1]),))
    monkeypatch.setattr(grids, "named", lambda name: other)
    rows = [r for r in measured(90, 3, (1, 5)) if r.seed < 4]
    rows += [replace(r, method="adda", key=f"adda {r.key}", method_version=1) for r in rows if r.method == "coral"]
    rows += [replace(r, budget=1, key=f"{r.key} 1") for r in rows if r.method == "target_only"]
    new = frozen_at(tmp_path, "2027.09", rows)
    page = changes.page(tmp_path, old, new)
    assert "# From edition 2027.03 to 2027.09" in page
    assert "- seeds: 5 → 4" in page
    assert f"- `{PAIRS[1]}` is ranked on no more" in page
    assert f"- `{PAIRS[0]}`: budgets 5 → 1, 5" in page
    assert "- adda: new" in page
    (line,) = (line for line in page.splitlines() if line.startswith("| dann | 5 |"))
    assert "| 1 | 3 |" in line
    assert "| +11.5 | +31.5 |" in line
    assert line.endswith("| momentum as in the paper; its own schedule |")
    (line,) = (line for line in page.splitlines() if line.startswith("| coral | 5 |"))
    assert line.endswith("| unchanged |")


# commands


def test_commands_read_the_newest_frozen_edition_unless_told(tmp_path: Path, small: None) -> None:
    folder = tmp_path / "results"
    frozen_at(folder, "2027.03", measured(70, 1))
    frozen_at(folder, "2027.09", measured(80, 1))
    store(folder, measured(90, 1))
    (tmp_path / "leaderboard.md").write_text(f"{markdown.BEGIN}\n{markdown.END}\n")
    found = {}
    for name in (None, "2027.03", "open"):
        board, place, _ = markdown.board_of(folder, None, name)
        found[name] = next(s for s in board.same_task[5] if s.method == "dann").accuracy, place
    assert {name: accuracy for name, (accuracy, _) in found.items()} == pytest.approx(
        {None: 82, "2027.03": 72, "open": 92}
    )
    assert found[None][1] == tmp_path / "leaderboard.md"
    assert found["open"][1] == folder / "boards/open/leaderboard.md"


def test_an_edition_that_is_not_there_is_told_with_those_that_are() -> None:
    said = refused("compare", "dann", "coral", "--edition", "2026.12")
    assert said.startswith(f"tlbench: --edition: no edition '2026.12' in {RESULTS}")
    assert said.endswith("there are: 2026.11, open")


@pytest.mark.slow
def test_why_names_the_commit_whose_code_made_the_rows() -> None:
    done = tlbench("explain", "dann", "wdbc_shift/wdbc_biased-wdbc", "5", "--json")
    found = json.loads(done.stdout)
    (commit,) = {row["commit"] for row in found["rows"]}
    words = "--task wdbc_shift/wdbc_biased-wdbc --method dann --budgets 5 --seeds 0-4 --results again"
    assert found["again"] == f"git checkout {commit} && tlbench run {words}"
    assert f"again: {found['again']}\n" in tlbench("explain", "dann", "wdbc_shift/wdbc_biased-wdbc", "5").stdout


def test_a_method_that_a_frozen_edition_lacks_is_looked_for_in_the_open_one() -> None:
    said = refused("compare", "mine:Mine", "coral")
    assert "in edition 2026.11 (--edition open has the store's own)" in said


def test_the_editions_of_a_store_are_listed() -> None:
    done = tlbench("edition", "list")
    assert "2026.11: frozen 2026-11-30, tlbench 0.1.0, 21,370 rows" in done.stdout
