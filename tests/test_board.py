"""The board: what it ranks on, what it says of itself, and that the same rows make the same text."""

from __future__ import annotations

import random
import re
import runpy
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made import stored, study

from tlbench.board import columns, exports, figures, markdown, sections
from tlbench.board.board import Board
from tlbench.board.columns import Column
from tlbench.board.figures import Figure, Picture, Shown
from tlbench.board.markdown import BEGIN, END
from tlbench.board.sections import SECTIONS, Section
from tlbench.results.rounding import settled
from tlbench.results.row import Row
from tlbench.tasks import grids, split_digests
from tlbench.tasks.grids import Named, Part

ROOT = Path(__file__).parent.parent
PAIRS = (
    "digits/fonts-photos",
    "digits/photos-fonts",
    "wdbc_shift/wdbc_biased-wdbc",
    "digits_parity/fonts_source-fonts",
)
OTHER = "digits/handwritten-fonts"  # measured, and not of the grid
METHODS = ("target_only", "source_only", "source_plus_target", "dann", "coral", "target_again", "chance", "target_full")


@pytest.fixture(autouse=True)
def _small_core(monkeypatch: pytest.MonkeyPatch) -> None:
    """A core grid of four tasks, on splits that nobody froze."""
    small = Named(
        name="core", seeds=5, part=(Part(budgets=(0, 5), tasks=PAIRS[:3]), Part(budgets=(5,), tasks=PAIRS[3:]))
    )
    monkeypatch.setattr(grids, "named", lambda name: small)
    monkeypatch.setattr(split_digests, "differs", lambda suite, where, digest: False)


def rows(seeds: int = 5, tasks: tuple[str, ...] = PAIRS) -> list[Row]:
    draw = np.random.default_rng(0)
    found = []
    for task in tasks:
        paradigm = "same-domain-different-task" if "parity" in task else "different-domain-same-task"
        answers = {m: draw.random((1, seeds, 60)) < 0.3 + 0.07 * j for j, m in enumerate(METHODS)}
        if "parity" in task:
            del answers["source_only"]
        found += study(answers, (task,), paradigm=paradigm, suite=task.partition("/")[0])
        if "parity" not in task:
            del answers["target_only"], answers["source_only"]
            found += study(answers, (task,), budget=0, paradigm=paradigm)
    return found


def test_methods_are_ranked_on_the_core_grids_tasks_that_everybody_can_do(tmp_path: Path) -> None:
    found = Board(stored(tmp_path, [*rows(), *rows(tasks=(OTHER,))]))
    assert {k: g.tasks for k, g in found.core.items()} == {0: PAIRS[:3], 5: (*PAIRS[:2], PAIRS[3], PAIRS[2])}
    for k, standings in found.same_task.items():
        assert {s.owed for s in standings} == {15}
        by = {s.method: s for s in standings}
        assert by["dann"].ranked
        assert by["dann"].harm is not None
        assert by["dann"].harm.tasks == 3
        assert by["source_only" if k == 0 else "target_only"].gain.mean == 0
    text = markdown.text(found)
    assert "## In short" in text
    harmed = sum(s.harm is not None and s.harm.counts[1] > 0 for s in found.same_task[5] if s.ranked)
    ranked = [s for s in found.same_task[5] if s.ranked and s.harm]
    assert f"| 5 | {len(ranked)} | {sum(s.gain.mean > 0 for s in ranked)} | {harmed} |" in text
    assert "### no label" in text
    assert "### 5 labels per class" in text
    assert "3 tasks of 2 dataset families (digits, wdbc), 5 seeds; gains over target_only" in text
    assert "**target_again** (A/A floor)" in text
    assert "too few tasks to distinguish any pair" in text
    assert "#### same domain, different task, 5 labels per class" in text
    assert "handwritten-fonts" in text  # with its suite
    assert "nan" not in text.lower().replace("finance", "")


def test_a_task_outside_the_grid_changes_no_rank(tmp_path: Path) -> None:
    few, more = Board(stored(tmp_path / "1", rows())), Board(stored(tmp_path / "2", [*rows(), *rows(tasks=(OTHER,))]))
    assert repr(few.same_task) == repr(more.same_task)


def test_seeds_beyond_the_grids_change_no_rank(tmp_path: Path) -> None:
    many = rows(7)
    few = [r for r in many if r.seed < 5]
    assert repr(Board(stored(tmp_path / "1", few)).same_task) == repr(Board(stored(tmp_path / "2", many)).same_task)


def test_a_task_whose_reference_lacks_a_seed_is_not_ranked_on_yet(tmp_path: Path) -> None:
    some = [r for r in rows() if (r.method, r.task, r.seed) != ("target_only", "digits/photos", 4)]
    found = Board(stored(tmp_path, some))
    assert {s.owed for s in found.same_task[5]} == {10}
    assert "2 tasks of 2 dataset families (digits, wdbc); the grid has 3" in markdown.text(found)


def test_the_same_rows_in_any_order_make_the_same_board(tmp_path: Path) -> None:
    some = rows()
    first = Board(stored(tmp_path / "1", some))
    random.Random(0).shuffle(some)
    second = Board(stored(tmp_path / "2", some))
    assert markdown.text(first) == markdown.text(second)
    pd.testing.assert_frame_equal(first.table(), second.table())


def test_the_tables_are_written_as_csv_and_parquet_too(tmp_path: Path) -> None:
    file = tmp_path / "leaderboard.md"
    file.write_text(f"By hand.\n{BEGIN}\n{END}\nBy hand.\n")
    held = stored(tmp_path / "results", rows())
    assert markdown.rebuild(Board(held), file, write=False)
    assert not (tmp_path / "results" / "board.csv").exists()
    assert markdown.rebuild(Board(held), file)
    assert not markdown.rebuild(Board(held), file)
    assert file.read_text().startswith("By hand.")
    csv = pd.read_csv(tmp_path / "results" / "board.csv")
    whole = pd.read_parquet(tmp_path / "results" / "board.parquet")
    assert list(csv.columns) == list(whole.columns)
    np.testing.assert_allclose(csv["gain"], whole["gain"], rtol=1e-5, atol=1e-9)
    one = whole[(whole.method == "dann") & (whole.budget == "5") & (whole.tasks == "same task")]
    standing = next(s for s in Board(held).same_task[5] if s.method == "dann")
    assert one["gain"].item() == settled(standing.gain.mean, exports.DECIMALS)
    assert one["harmed_by_1"].item() == (standing.harm.counts[1] if standing.harm else None)


def test_files_that_other_libraries_made_are_compared_by_what_they_say(tmp_path: Path) -> None:
    file, folder = tmp_path / "leaderboard.md", tmp_path / "results"
    file.write_text(f"{BEGIN}\n{END}\n")
    board = Board(stored(folder, rows()))
    markdown.rebuild(board, file)
    picture = next((folder / "figures").glob("heatmap_*.svg"))
    drawn = picture.read_text()
    moved = re.sub(r'x="(\d+)', r'x="1\1', drawn, count=1)
    assert moved != drawn
    picture.write_text(moved)  # the same libraries leave no room for that
    assert markdown.rebuild(board, file, write=False) == [f"figures/{picture.name}"]
    picture.write_text(moved.replace("matplotlib ", "matplotlib 0."))
    assert markdown.rebuild(board, file, write=False) == []
    picture.write_text(moved.replace("matplotlib ", "matplotlib 0.").replace(">dann", ">daan"))
    assert markdown.rebuild(board, file, write=False) == [f"figures/{picture.name}"]
    picture.write_text(drawn)
    table = pd.read_parquet(folder / "board.parquet")
    table.to_parquet(folder / "board.parquet", index=False, compression="gzip")
    assert markdown.rebuild(board, file, write=False) == ["board.parquet"]
    text = (folder / "board.csv").read_text()
    (folder / "board.csv").write_text(text.replace("\n", "\r\n", 1))
    assert markdown.rebuild(board, file, write=False) == ["board.csv", "board.parquet"]


def test_a_table_or_picture_that_is_not_the_rows_own_is_named(tmp_path: Path) -> None:
    file, folder = tmp_path / "leaderboard.md", tmp_path / "results"
    file.write_text(f"{BEGIN}\n{END}\n")
    held = stored(folder, rows())
    markdown.rebuild(Board(held), file)
    assert markdown.rebuild(Board(held), file, write=False) == []
    csv, curves, parquet = folder / "board.csv", folder / "figures" / "curves.svg", folder / "board.parquet"
    csv.write_text(csv.read_text().replace("dann", "DANN", 1))
    table = pd.read_parquet(parquet)
    table["gain"] += 1e-6
    table.to_parquet(parquet, index=False)
    left = curves.rename(curves.with_name("left.svg"))
    heat = folder / "figures" / "heatmap_5.svg"
    heat.write_text(heat.read_text().replace(">coral", ">Coral", 1))
    named = ["board.csv", "board.parquet", "figures/curves.svg", "figures/heatmap_5.svg", "figures/left.svg"]
    assert markdown.rebuild(Board(held), file, write=False) == named
    markdown.rebuild(Board(held), file)
    assert markdown.rebuild(Board(held), file, write=False) == []
    assert not left.exists()


def test_harm_is_told_of_every_paradigm(tmp_path: Path) -> None:
    text = markdown.text(Board(stored(tmp_path, [*rows(), *rows(tasks=(OTHER,))])))
    _, _, paradigms = text.partition("## By transfer setting")
    for title in ("different domain, same task", "same domain, different task"):
        table = paradigms.partition(f"Negative transfer, {title}, 5 labels per class:")[2].strip().splitlines()
        assert table[0].startswith("| method | NT > 0/1/2 | rate [95 %] |")
        assert any(line.startswith("| dann |") for line in table)


def documents() -> dict[str, str]:
    """The documents as `python docs/board.py` writes them."""
    made = runpy.run_path(str(ROOT / "docs" / "board.py"))
    return {name: made["written"](name) for name in made["blocks"]()}


@pytest.mark.parametrize("name", ["docs/read_the_board.md", "results/README.md"])
def test_the_documents_explain_the_columns_that_there_are(name: str) -> None:
    assert (ROOT / name).read_text(encoding="utf-8") == documents()[name], "run: python docs/board.py"


def test_every_heading_of_the_tables_is_documented_and_no_other(tmp_path: Path) -> None:
    section = (ROOT / "results/README.md").read_text().partition("## The board's table")[2].partition("\n## ")[0]
    lines = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    documented = [name for line in lines for name in re.findall(r"`(\w+)`", line)]
    assert sorted(documented) == sorted(Board(stored(tmp_path, rows())).table().columns)


def test_a_column_is_added_in_one_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A made-up one: the number of tasks on which negative transfer is significant."""
    made_up = Column("made up", "tasks", lambda e: e.standing.harm and e.standing.harm.negative, "a made-up column")
    files, harm = columns.files, columns.harm
    monkeypatch.setattr(columns, "RANKS", (*columns.RANKS, made_up))
    monkeypatch.setattr(columns, "files", lambda margins=columns.MARGINS: (*files(margins), made_up))
    monkeypatch.setattr(columns, "harm", lambda *settings: (*harm(*settings), made_up))
    board = Board(stored(tmp_path / "results", rows()))
    file = tmp_path / "leaderboard.md"
    markdown.start(file)
    markdown.rebuild(board, file)
    negative = {s.method: s.harm.negative if s.harm else None for s in board.same_task[5]}
    assert negative["chance"] == 0
    ranks, harmed = (
        part.partition("5 labels per class")[2] for part in file.read_text().split("\n## Negative transfer")
    )
    for table, method in ((ranks, "dann"), (ranks, "target_only"), (harmed, "dann")):
        header, _, *lines = [line for line in table.splitlines() if line.startswith("|")]
        assert header.endswith("| made up |")
        told = "–" if negative[method] is None else negative[method]
        assert any(line.startswith(f"| {method} ") and line.endswith(f"| {told} |") for line in lines)
    for table in (pd.read_csv(tmp_path / "results/board.csv"), pd.read_parquet(tmp_path / "results/board.parquet")):
        own = table[(table.budget.astype(str) == "5") & (table.tasks == "same task")].set_index("method")["made_up"]
        assert own.dropna().to_dict() == {method: n for method, n in negative.items() if n is not None}
    assert documents()["docs/read_the_board.md"].count("| made up | tasks | a made-up column |") == 2
    assert "| `made_up` | tasks | a made-up column |" in documents()["results/README.md"]


def test_a_figure_of_the_tables_is_empty_where_the_documentation_says_so(tmp_path: Path) -> None:
    some = [r for r in rows() if (r.method, r.task, r.seed) != ("coral", PAIRS[0], 4)]
    table = Board(stored(tmp_path, some)).table()
    own = table[(table.budget == "5") & (table.tasks == "same task")].set_index("method")
    empty = {m: {c for c in own.columns if pd.isna(own.loc[m, c])} for m in own.index}
    few = {"rate_low", "rate_high", "rate_low_conservative", "rate_high_conservative"}
    incomplete = {"accuracy", "gain", "gain_half_width", "beyond", "beyond_half_width", "added"}
    unranked = {"rank_best", "rank_worst", "group", "mean_rank", "iqm", "improves"}
    unranked |= {"tasks_won", "tasks_tied", "tasks_lost"}
    assert empty["dann"] == few
    assert empty["coral"] == few | incomplete | unranked | {"harm_sure_rate"}  # one of its tasks has four seeds
    assert empty["chance"] == few | unranked
    assert empty["target_only"] == {c for c in own.columns if c.startswith(("harm", "rate_"))}
    assert set(table[table.budget == "0"]["added"].isna()) == {True}


def test_the_pictures_are_of_the_tasks_that_the_ranks_stand_on(tmp_path: Path) -> None:
    file = tmp_path / "leaderboard.md"
    file.write_text(f"{BEGIN}\n{END}\n")
    held = stored(tmp_path / "results", [*rows(), *rows(tasks=(OTHER,))])
    markdown.rebuild(Board(held), file)
    drawn = {f.name: f.read_text() for f in (tmp_path / "results" / "figures").iterdir()}
    other = "heatmap_same-domain-different-task_5.svg"
    assert set(drawn) == {"curves.svg", "heatmap_0.svg", "heatmap_5.svg", other}
    assert set(re.findall(r"\(results/figures/([^)]+)\)", file.read_text())) == set(drawn)
    found = Board(held)
    for s in found.same_task[5]:
        if s.method not in ("target_only", "target_full"):
            assert f">{s.method} {s.gain.mean:+.1f}<" in drawn["heatmap_5.svg"]
    assert PAIRS[3] not in drawn["heatmap_5.svg"]
    assert all(task in drawn["heatmap_5.svg"] for task in PAIRS[:3])
    assert [task in drawn[other] for task in (*PAIRS, OTHER)] == [False, False, False, True, False]


def test_a_section_is_added_in_one_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lines(board: Board) -> list[str]:
        return [f"There are {len(board.rows)} rows.", ""] if board.core else []

    made_up = Section("A made-up section", lines)
    monkeypatch.setattr(sections, "SECTIONS", (*SECTIONS[:2], made_up, *SECTIONS[2:]))
    board = Board(stored(tmp_path / "1", rows()))
    text = markdown.text(board)
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert headings[:3] == ["In short", "A made-up section", "Ranks, where the source has the target's classes"]
    assert f"\n\n## A made-up section\n\nThere are {len(board.rows)} rows.\n\n## Ranks" in text
    nothing = markdown.text(Board(stored(tmp_path / "2", rows(tasks=(OTHER,)))))
    assert "A made-up section" not in nothing


def test_a_figure_is_added_in_one_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A made-up one, a picture a budget that says how many tasks it has."""

    def drawn(n: int, file: Path) -> Path:
        file.write_text(f"<svg><text>{n} tasks</text></svg>", encoding="utf-8")
        return file

    def made_up(shown: Shown) -> Iterator[Picture]:
        for g in shown.grids:
            yield Picture(f"count_{g.budget}.svg", f"tasks, k = {g.budget}", partial(drawn, len(g.tasks)))

    figure = Figure("count_K.svg", made_up, "how many tasks there are.")
    monkeypatch.setattr(figures, "FIGURES", (*figures.FIGURES, figure))
    file = tmp_path / "leaderboard.md"
    markdown.start(file)
    markdown.rebuild(Board(stored(tmp_path / "results", rows())), file)
    assert "![tasks, k = 5](results/figures/count_5.svg)" in file.read_text()
    assert (tmp_path / "results/figures/count_5.svg").read_text() == "<svg><text>3 tasks</text></svg>"
    assert "- `count_K.svg`: how many tasks there are.\n" in documents()["docs/read_the_board.md"]


def test_a_store_without_rows_says_how_to_make_some(tmp_path: Path) -> None:
    assert "No rows yet" in markdown.text(Board(stored(tmp_path, [])))


def test_rows_that_are_not_the_grids_are_shown_and_rank_nobody(tmp_path: Path) -> None:
    text = markdown.text(Board(stored(tmp_path, rows(tasks=(OTHER,)))))
    assert "no method is ranked" in text
    assert "handwritten-fonts" in text


def by_rule(method: str, shares: dict[str, float], trials: int = 8, time: str = "2026") -> list[Row]:
    """Rows that rules chose, with such shares of right answers."""
    found = []
    for rule, right in shares.items():
        answers = {method: np.tile(np.arange(60) < 60 * right, (1, 5, 1))}
        more = {"rule": rule, "default": False, "trial": 3, "trials": trials, "time": f"{time}-{rule}"}
        found += study(answers, PAIRS[:1], suite="digits", **more)
    return found


def test_another_oracle_stands_last_and_is_none_of_the_rules_that_one_could_use(tmp_path: Path) -> None:
    chosen = by_rule("dann", {"zeal": 0.25, "oracle_last": 0.75, "oracle_other": 0.9})
    chosen += by_rule("target_only", {"zeal": 0.2})
    text = markdown.text(Board(stored(tmp_path, [*rows(), *chosen])))
    assert "| method | k | task-seeds | default | zeal | oracle_last | oracle_other |" in text
    assert re.search(r"and from (\S+) \(zeal\) to \1 \(zeal\) by the rules", text)


def test_rules_are_shown_beside_the_oracle_and_rank_nobody(tmp_path: Path) -> None:
    chosen = by_rule("dann", {"cv": 0.5, "im": 0.25, "oracle_last": 0.75})
    chosen += by_rule("target_only", {"cv": 0.6, "im": 0.2})  # nothing under the oracle: its default stands in
    chosen += by_rule("target_only", {"cv": 0.1}, trials=5, time="2027")  # of fewer trials: does not count
    plain = Board(stored(tmp_path / "1", rows()))
    found = Board(stored(tmp_path / "2", [*rows(), *chosen]))
    assert repr(found.same_task) == repr(plain.same_task)
    assert "## Selection" not in markdown.text(plain)
    text = markdown.text(found)

    def default(method: str) -> float:
        own = [r.value or 0 for r in rows() if (r.method, r.budget, r.target) == (method, 5, "photos")]
        return 100 * sum(own) / len(own)

    assert "run in 8 trials" in text
    assert "| method | k | task-seeds | default | cv | im | oracle_last |" in text
    dann, reference = default("dann"), default("target_only")
    assert f"| dann | 5 | 5 | {dann:.1f} ({75 - dann:.1f}) | 50.0 (25.0) | 25.0 (50.0) | 75.0 |" in text
    assert f"| target_only | 5 | 5 | {reference:.1f} | 60.0 | 20.0 | – |" in text
    means = f"{dann - reference:+.1f} | -10.0 | +5.0 | {75 - reference:+.1f} |"
    bare = re.sub(r" ± [0-9.]+", "", text)
    assert f"| dann | 5 | 5 | {means}" in bare
    assert f"| mean of 1 | 5 |  | {means}" in bare
    assert f"{dann - reference:+.1f} at the defaults on digits at k = 5, and from -10.0 (cv) to +5.0 (im)" in text
    assert "| -10.0 ± 0.0 |" in text  # all seeds alike


def test_tasks_of_known_truth_say_who_was_harmed_and_rank_nobody(tmp_path: Path) -> None:
    right = {"target_only": 0.5, "coral": 0.8, "dann": 0.2, "finetune": 0.5, "target_again": 0.1, "target_full": 0.9}
    answers = {m: np.tile(np.arange(200) < 200 * share, (1, 5, 1)) for m, share in right.items()}
    truth = study(answers, ("cal1/rot180-target",), version=1)
    published = study(answers, ("office31_decaf/amazon-dslr",), version=1)
    found = Board(stored(tmp_path / "1", [*rows(), *truth, *published]))
    plain = Board(stored(tmp_path / "2", rows()))
    assert repr(found.same_task) == repr(plain.same_task)
    assert "## Known truth" not in markdown.text(plain)
    text = markdown.text(found).partition("## Known truth")[2].partition("\n## ")[0]
    assert "- `cal1`: Known truth" in text
    assert "| cal1/rot180-target | 5 | 50.0 | 90.0 | 3 | 1 | 1 | 1 | coral +30.0 | dann -30.0 |" in text
    assert "office31_decaf" not in text


def test_what_lies_below_chance_or_above_every_label_is_listed(tmp_path: Path) -> None:
    right = {"target_only": 0.5, "chance": 0.3, "coral": 0.8, "dann": 0.2, "target_again": 0.1, "target_full": 0.7}
    answers = {m: np.tile(np.arange(200) < 200 * share, (1, 5, 1)) for m, share in right.items()}
    answers["finetune"] = np.random.default_rng(0).random((1, 5, 200)) < 0.29  # below, by less than seeds can tell
    text = markdown.text(Board(stored(tmp_path / "1", study(answers, PAIRS[:1]))))
    table = text.partition("## Out of bounds")[2].partition("\n## ")[0]
    found = [line for line in table.splitlines() if line.startswith(f"| {PAIRS[0]} |")]
    lines = [re.sub(r" ± [0-9.]+", "", line) for line in found]
    assert lines == [
        f"| {PAIRS[0]} | 5 | below chance | 30.0 | 2 | 1 | dann -10.0 | dann |",
        f"| {PAIRS[0]} | 5 | above the upper bound | 70.0 | 1 | 1 | coral +10.0 | coral |",
    ]
    within = study({m: answers[m] for m in ("target_only", "chance", "target_full")}, PAIRS[:1])
    assert "## Out of bounds" not in markdown.text(Board(stored(tmp_path / "2", within)))
