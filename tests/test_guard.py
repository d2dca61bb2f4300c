"""What a pull request may change of the results: real repositories, real commits."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from held import over, store, tlbench

from tlbench.guard import guard
from tlbench.markdown import BEGIN, END
from tlbench.mistake import Mistake
from tlbench.store import Store, pack
from tlbench.verdict import worst

NEW = "results/submissions/mine"
OLD = "results/submissions/old"
ROWS = over("dann", "digits/fonts-photos", 5, (60, 61, 62))


def git(root: Path, *words: str) -> None:
    names = ("-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *names, *words], cwd=root, check=True, capture_output=True)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository with a board, rows, packed rows, timings and a bundle."""
    store(tmp_path / "results", ROWS[:2])
    pack(tmp_path / "results")
    store(tmp_path / "results", ROWS[2:])
    (tmp_path / "results" / "timings.jsonl").write_text("{}\n{}\n")
    (tmp_path / "leaderboard.md").write_text(f"By hand.\n{BEGIN}\nbefore\n{END}\nBy hand.\n")
    write(tmp_path, f"{OLD}/bundle.json", "{}")
    git(tmp_path, "init", "-q", "-b", "main")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-qm", "base")
    git(tmp_path, "checkout", "-qb", "proposal")
    return tmp_path


def write(root: Path, name: str, text: str) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text)


def bundle(root: Path) -> None:
    for name in ("bundle.json", "rows.jsonl", "source/mine.py"):
        write(root, f"{NEW}/{name}", "{}")


def said(root: Path) -> tuple[str, str]:
    """The verdict on all that was changed, and what the checks say."""
    git(root, "add", "-A")
    git(root, "commit", "-qm", "proposal")
    checks = guard(root, "main")
    return worst(checks), " ".join(c.said for c in checks if c.verdict != "accept")


def test_a_bundle_and_the_board_that_follows_from_it_may_be_added(root: Path) -> None:
    bundle(root)
    board = root / "leaderboard.md"
    board.write_text(board.read_text().replace("before", "after"))
    assert said(root) == ("accept", "")


def remove(name: str) -> Callable[[Path], None]:
    return lambda root: (root / name).unlink()


def edit(name: str, text: str = "{ }") -> Callable[[Path], None]:
    return lambda root: write(root, name, text)


def edit_line(root: Path) -> None:
    file = root / "results" / "rows.jsonl"
    file.write_text(file.read_text().replace('"value": 0.62', '"value": 0.99'))


def edit_packed(root: Path) -> None:
    held = Store(root / "results").rows.packed
    rows = held.rows()
    held.files[0].unlink()
    store(root / "results" / "x", [replace(rows[0], value=0.99), rows[1]])
    file, _ = pack(root / "results" / "x")
    assert file is not None
    file.rename(root / "results" / "packed" / file.name)
    (root / "results" / "x" / "rows.jsonl").unlink()


def newer(root: Path) -> None:
    """A second row under a key that is there: the board would take the newer."""
    again = replace(ROWS[0], value=0.01, time="2030-01-01T00:00:00+00:00")
    store(root / "results", [ROWS[2], again])


def link(root: Path) -> None:
    bundle(root)
    (root / NEW / "source" / "link.py").symlink_to("/etc/passwd")


def board_link(root: Path) -> None:
    board = root / "leaderboard.md"
    text = board.read_text()
    board.unlink()
    board.symlink_to(text)


def both(*edits: Callable[[Path], None]) -> Callable[[Path], None]:
    return lambda root: [e(root) for e in edits] and None


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (remove(f"{OLD}/bundle.json"), "is deleted"),
        (edit(f"{OLD}/bundle.json"), "is changed"),
        (edit(f"{OLD}/more.py"), "is added to a bundle that is there"),
        (both(bundle, edit(f"{NEW}/verification.json")), "a verdict on itself"),
        (both(bundle, edit("results/submissions/second/bundle.json")), "2 bundles at once"),
        (both(bundle, edit("tlbench/scoring.py")), "changes tlbench/scoring.py too"),
        (both(bundle, edit(".github/workflows/submission.yml")), "submission.yml too"),
        (both(bundle, edit("results/board.csv")), "board.csv too"),
        (both(bundle, edit("leaderboard.md", f"Ours.\n{BEGIN}\nafter\n{END}\n")), "outside its markers"),
        (link, "no plain file"),
        (edit("results/submissions/old mine/bundle.json"), "'old mine' is no bundle's name"),
        (edit("results/submissions/*/bundle.json"), "'*' is no bundle's name"),
        (edit(f"{OLD}/source/verification.json"), "is added to a bundle that is there"),
        (board_link, "no plain file"),
        (edit_line, "rows are lost or changed"),
        (remove("results/rows.jsonl"), "rows are lost or changed"),
        (edit_packed, "rows are lost or changed"),
        (newer, "rows are lost or changed"),
        (edit("results/timings.jsonl", "{}\n"), "lines are changed or gone"),
    ],
)
def test_what_takes_from_others_is_rejected(root: Path, change: Callable[[Path], None], why: str) -> None:
    change(root)
    verdict, told = said(root)
    assert verdict == "reject"
    assert why in told


def test_rows_may_move_from_the_lines_into_a_segment(root: Path) -> None:
    pack(root / "results")
    assert said(root) == ("accept", "")


def test_what_only_maintainers_do_is_a_question(root: Path) -> None:
    store(root / "results", [ROWS[2], *over("coral", "digits/fonts-photos", 5, (50,))])
    write(root, f"{OLD}/verification.json", "{}")
    write(root, "results/timings.jsonl", "{}\n{}\n{}\n")
    verdict, told = said(root)
    assert verdict == "question"
    assert "timings.jsonl: new lines, for maintainers only" in told
    assert "1 new rows without a bundle" in told
    assert "verification.json: for maintainers only" in told


def test_a_base_that_moved_on_is_no_fault_of_the_proposal(root: Path) -> None:
    bundle(root)
    git(root, "add", "-A")
    git(root, "commit", "-qm", "proposal")
    git(root, "checkout", "-q", "main")
    store(root / "results", ROWS[2:] + over("coral", "digits/fonts-photos", 5, (50,)))
    git(root, "commit", "-qam", "more rows")
    git(root, "checkout", "-q", "proposal")
    assert worst(guard(root, "main")) == "accept"


def test_the_command_exits_with_the_verdict(root: Path) -> None:
    remove(f"{OLD}/bundle.json")(root)
    git(root, "commit", "-qam", "less")
    done = tlbench("guard", "main", "--results", root / "results")
    assert done.returncode == 1
    assert "| bundles | reject |" in done.stdout
    with pytest.raises(Mistake, match="merge-base"):
        guard(root, "nowhere")


def test_the_workflow_judges_with_the_bases_code_and_runs_all_three_commands() -> None:
    text = (Path(__file__).parent.parent / ".github" / "workflows" / "submission.yml").read_text()
    assert "ref: ${{ github.event.pull_request.base.sha }}" in text
    for words in (
        "tlbench guard",
        'tlbench verify "results/submissions/$name" < /dev/null',
        "tlbench leaderboard --check",
    ):
        assert f"uv run {words}" in text
    assert "pull_request_target" not in text  # it would hand strangers the project's rights
