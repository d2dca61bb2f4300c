"""The command line as a user meets it: real processes, one line for a mistake, exit code 2."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tlbench import _moved

TINY = ("--set", "steps=3", "--budgets", "0,1", "--seeds", "0")


def tlbench(*words: str, cwd: Path | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tlbench.cli", *words],
        capture_output=True, text=True, cwd=cwd, env={**os.environ, **env}, timeout=240, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with one small run in it."""
    folder = tmp_path_factory.mktemp("run") / "results"
    done = tlbench("run", "-t", "digits/fonts-photos", "-m", "dann", *TINY, "--results", str(folder))
    assert done.returncode == 0, done.stderr
    assert "4 cells computed" in done.stdout
    return folder


def test_the_same_command_again_computes_nothing_and_prints_the_same_table(results: Path) -> None:
    words = ("run", "-t", "digits/fonts-photos", "-m", "dann", *TINY, "--results", str(results))
    first, second = tlbench(*words), tlbench(*words)
    assert "0 cells computed, 4 found" in second.stdout
    assert first.stdout == second.stdout
    for part in ("dann", "source_only", "target_only", "accuracy %", "negative transfer", "not tested"):
        assert part in second.stdout


def test_json_holds_lines_rows_and_notices(results: Path) -> None:
    done = tlbench("run", "-t", "digits/fonts-photos", "-m", "dann", *TINY, "--results", str(results), "--json")
    said = json.loads(done.stdout)
    assert said["computed"] == 0
    assert {line["method"] for line in said["lines"]} == {"dann", "source_only", "target_only"}
    assert all(row["status"] == "ok" for row in said["rows"])


def test_a_dry_run_says_what_it_would_take_and_runs_nothing(results: Path) -> None:
    before = (results / "rows.jsonl").read_bytes()
    words = ("run", "-t", "digits/fonts-photos", "-m", "dann", "-m", "coral", *TINY, "--results", str(results))
    told = json.loads(tlbench(*words, "--dry-run", "--json").stdout)
    assert (told["cells"], told["there"], told["to_run"], told["guessed"]) == (6, 4, 2, 2)  # coral's are new
    assert told["by_suite"] == {"digits": 2}
    assert 0 < told["hours"] < 1
    assert told["memory_mib"] > 0
    said = tlbench(*words, "--dry-run").stdout
    assert "6 cells: 4 in the store, 0 to be refused, 2 to run (digits 2)" in said
    assert "(a guess for 2 cells, whose methods have no row on their suite" in said
    assert (results / "rows.jsonl").read_bytes() == before


def test_a_dry_run_knows_that_trials_whose_scores_are_gone_are_run_again(tmp_path: Path) -> None:
    words = (
        "run",
        "-t",
        "wdbc_shift",
        "-m",
        "coral",
        "--rule",
        "cv",
        "--trials",
        "2",
        "--budgets",
        "2",
        "--seeds",
        "0",
    )
    words += ("--results", str(tmp_path))
    foretold = json.loads(tlbench(*words, "--dry-run", "--json").stdout)
    ran = json.loads(tlbench(*words, "--json").stdout)
    assert ran["computed"] == foretold["to_run"] > 0
    assert tlbench(*words, "--dry-run").stdout.strip().endswith("nothing to run")
    kept = list((tmp_path / "trials").iterdir())
    for file in kept:
        file.unlink()
    again = json.loads(tlbench(*words, "--dry-run", "--json").stdout)
    assert again["to_run"] == len(kept) <= ran["computed"]
    assert again["disk_mib"] > 4 * 2 * len(kept) * 400 / 2**20  # scores of two classes for all test samples, at least
    assert again["guessed"] == 0


def test_a_dry_run_says_that_a_time_on_another_suite_is_a_guess(results: Path) -> None:
    words = ("run", "-t", "wdbc_shift", "-m", "dann", "--budgets", "1", "--seeds", "0", "--results", str(results))
    told = json.loads(tlbench(*words, "--dry-run", "--json").stdout)
    assert told["guessed"] == told["to_run"] == 3


def test_a_dry_run_without_rows_does_not_know_the_time(tmp_path: Path) -> None:
    words = ("run", "--grid", "core", "-t", "digits/fonts-photos", "-m", "dann", "--seeds", "0", "--dry-run")
    done = tlbench(*words, "--results", str(tmp_path), TLBENCH_DATA=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "time unknown: the store has no row to tell by" in done.stdout
    assert "wdbc_shift" in done.stdout  # the grid's tasks that need no data
    assert "office_caltech10" in done.stderr  # whose files are not here


MISTAKES = {
    "nothing": ((), "name a --task (or --grid core) and a --method"),
    "grid": (("--grid", "cor", "-m", "dann"), "unknown grid 'cor'; did you mean 'core'?"),
    "task": (("-t", "digts", "-m", "dann"), "unknown task 'digts'; did you mean 'digits'?"),
    "pair": (("-t", "digits/fonts-photo", "-m", "dann"), "did you mean 'digits/fonts-photos'?"),
    "method": (("-t", "digits", "-m", "dannn"), "unknown method 'dannn'; did you mean 'dann'?"),
    "method file": (("-t", "digits", "-m", "nowhere.py:M"), "there is no file nowhere.py"),
    "budget": (("-t", "digits", "-m", "dann", "--budgets", "5,many"), "'many' is no budget"),
    "budget too large": (("-t", "digits/fonts-photos", "-m", "dann", "--budgets", "5000"), "use at most"),
    "seeds": (("-t", "digits", "-m", "dann", "--seeds", "4-1"), "'4-1' is neither a seed nor a range"),
    "field": (("-t", "digits", "-m", "dann", "--set", "stps=3"), "has no field 'stps'; did you mean 'steps'?"),
    "type": (("-t", "digits", "-m", "dann", "--set", "steps=ten"), "DANN.steps takes int | None, not 'ten'"),
    "assignment": (("-t", "digits", "-m", "dann", "--set", "steps"), "write name=value"),
    "device": (("-t", "digits", "-m", "dann", "--device", "cuda:9"), "this machine shows 0 GPUs"),
    "card": (("-t", "nowhere.toml", "-m", "dann"), "nowhere.toml: cannot be read"),
    "backbone": (("-t", "office_caltech10", "-m", "dann", "--backbone", "resnt50"), "did you mean 'resnet50'?"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_line_and_exit_code_two(name: str, tmp_path: Path) -> None:
    words, said = MISTAKES[name]
    if name == "device" and Path("/proc/driver/nvidia/gpus").exists():
        pytest.skip("this machine has GPUs")
    if name == "backbone" and not os.environ.get("TLBENCH_DATA"):
        pytest.skip("no real data here: the missing data would be said first")
    done = tlbench("run", *words, "--results", str(tmp_path))
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_unknown_commands_of_the_catalog_are_mistakes_too() -> None:
    for words in (("list", "task"), ("show", "dannn"), ("data", "pull", "office13"), ("data", "where", "offic31")):
        done = tlbench(*words)
        assert done.returncode == 2, done.stdout
        assert "did you mean" in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1


def test_a_results_file_with_a_corrupt_line_is_read_around(results: Path, tmp_path: Path) -> None:
    lines = (results / "rows.jsonl").read_text().splitlines()
    (tmp_path / "rows.jsonl").write_text("\n".join([lines[0], "{broken", *lines[1:]]) + "\n")
    words = ("run", "-t", "digits/fonts-photos", "-m", "dann", *TINY, "--results", str(tmp_path))
    done = tlbench(*words)
    assert "0 cells computed, 4 found" in done.stdout
    assert f"{tmp_path / 'rows.jsonl'}:2: skipped, not a row" in done.stderr


def test_help_answers_within_half_a_second() -> None:
    tlbench("--help")  # the first one compiles
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        assert "run" in tlbench("--help").stdout
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.5


def test_list_and_show_know_everything() -> None:
    for what, name in (
        ("tasks", "office_caltech10"),
        ("methods", "dann"),
        ("budgets", "full"),
        ("backbones", "convnet"),
    ):
        assert name in tlbench("list", what).stdout
        assert name in {str(e["name"]) for e in json.loads(tlbench("list", what, "--json").stdout)}
    shown = json.loads(tlbench("show", "office31", "--json").stdout)
    assert len(shown["tasks"]) == 6
    assert shown["datasets"]["office31"]["counts"]["amazon"] == 2817
    method = tlbench("show", "dann").stdout
    assert "JMLR 2016" in method
    assert "weight" in method


def test_show_split_prints_what_the_rows_name(results: Path) -> None:
    import hashlib

    manifest = tlbench("show", "digits/fonts-photos", "--split", "0").stdout
    rows = [json.loads(line) for line in (results / "rows.jsonl").read_text().splitlines()]
    assert {row["split"] for row in rows} == {hashlib.sha256(manifest.encode()).hexdigest()}


def test_data_where_and_verify(tmp_path: Path) -> None:
    nothing = {"TLBENCH_DATA": "", "XDG_DATA_HOME": str(tmp_path)}
    assert json.loads(tlbench("data", "where", "--json", **nothing).stdout)["office31"] is None
    assert "tlbench data pull office31" in tlbench("data", "where", "office31", **nothing).stdout
    assert tlbench("data", "verify", "office31", **nothing).returncode == 1


def test_real_data_verifies(real_data: Path) -> None:
    done = tlbench("data", "verify", "amazon_reviews")
    assert done.returncode == 0, done.stderr
    assert "every file is as it should be" in done.stdout


def test_doctor_says_what_is_there_and_what_is_missing(results: Path) -> None:
    found = json.loads(tlbench("doctor", "--json", "--results", str(results)).stdout)
    assert found["worker"] == "ok"
    assert found["results"]["rows"] == 4
    assert "torch" in found["versions"]
    assert isinstance(found["missing"], list)


def test_the_leaderboard_is_the_same_bytes_from_the_same_rows(results: Path, tmp_path: Path) -> None:
    board = tmp_path / "leaderboard.md"
    board.write_text("# By hand\n\n<!-- tlbench: generated below -->\n<!-- tlbench: generated above -->\n\nBy hand.\n")
    words = ("leaderboard", "--results", str(results), "--file", str(board))
    assert tlbench(*words, "--check").returncode == 1
    assert "rebuilt" in tlbench(*words).stdout
    first = board.read_bytes()
    assert "unchanged" in tlbench(*words).stdout
    assert board.read_bytes() == first
    assert tlbench(*words, "--check").returncode == 0
    text = first.decode()
    assert text.startswith("# By hand")
    assert text.endswith("By hand.\n")
    assert "dann" in text
    shuffled = tmp_path / "shuffled"
    shutil.copytree(results, shuffled)
    lines = (results / "rows.jsonl").read_text().splitlines()
    (shuffled / "rows.jsonl").write_text("\n".join(reversed(lines)) + "\n")
    assert tlbench("leaderboard", "--results", str(shuffled), "--file", str(board), "--check").returncode == 0


def test_a_leaderboard_without_markers_is_a_mistake(results: Path, tmp_path: Path) -> None:
    (tmp_path / "leaderboard.md").write_text("# nothing\n")
    done = tlbench("leaderboard", "--results", str(results), "--file", str(tmp_path / "leaderboard.md"))
    assert done.returncode == 2
    assert "lacks its markers" in done.stderr


def test_python_gives_a_frame_of_rows(results: Path) -> None:
    script = (
        "import tlbench\nfrom tlbench.runner.experiment import Options\nfrom pathlib import Path\n"
        "f = tlbench.run('digits/fonts-photos', method='dann', budgets=[0, 1], seeds=[0], settings={'steps': 3}, "
        f"options=Options(results=Path({str(results)!r})))\n"
        "assert len(f) == 4 and set(f.method) == {'dann', 'source_only', 'target_only'}, f\n"
        "assert f.value.between(0, 1).all()"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)


def test_a_clear_line_says_what_an_image_task_lacks(tmp_path: Path) -> None:
    done = tlbench("run", "-t", "office31", "-m", "dann", TLBENCH_DATA="", XDG_DATA_HOME=str(tmp_path))
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert "tlbench data pull office31" in done.stderr


def test_old_names_of_commands_and_options_work_with_one_note_and_are_not_in_help(results: Path) -> None:
    asked = ("dann", "digits/fonts-photos", "1", "--results", str(results))
    now, old = tlbench("explain", *asked), tlbench("why", *asked)
    assert (now.returncode, now.stdout) == (old.returncode, old.stdout)  # rows with --set are on no board
    assert old.stderr == f"note: why is now explain; the old name goes with tlbench 0.3\n{now.stderr}"
    told = tlbench("run", "-t", "digits/fonts-photos", "-m", "dann", *TINY, "--results", str(results), "--jail", "0")
    assert told.returncode == 0
    assert told.stderr.count("--jail is now --sandbox") == 1
    commands, options = tlbench("--help").stdout, tlbench("run", "--help").stdout
    assert not {"why", "time"} & {line.split()[0] for line in commands.splitlines() if line.strip()}
    assert "--jail" not in options


def test_an_old_path_of_a_module_works_with_a_warning() -> None:
    code = "from tlbench.descent import ERM; from tlbench import nets; import tlbench.training.trainer as t\n"
    code += "assert ERM is t.ERM and nets.Backbone.__module__ == 'tlbench.training.networks'"
    done = subprocess.run([sys.executable, "-W", "always", "-c", code], capture_output=True, text=True, check=True)
    said = [line.partition("Moved: ")[2] for line in done.stderr.splitlines() if "Moved" in line]
    assert said == [
        "tlbench.descent is now tlbench.training.trainer; the old name goes with tlbench 0.3",
        "tlbench.nets is now tlbench.training.networks; the old name goes with tlbench 0.3",
    ]


def test_every_old_path_leads_to_a_module_that_there_is() -> None:
    lost = {old: new for old, new in _moved.WHERE.items() if importlib.util.find_spec(new) is None}
    assert lost == {}
