"""A task of the user's own through the real command line, and the how-to: everything in it runs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tlbench.tasks import own

ROOT = Path(__file__).parent.parent
GUIDE = ROOT / "docs" / "add_a_task.md"


def tlbench(*words: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tlbench.cli", *words],
        capture_output=True, text=True, cwd=cwd, env={**os.environ, **env}, timeout=240, check=False,
    )  # fmt: skip


def refused(*words: str, cwd: Path, **env: str) -> str:
    """What is said of a user's mistake: one line, and exit code 2."""
    done = tlbench(*words, cwd=cwd, **env)
    assert (done.returncode, done.stdout) == (2, ""), done.stdout + done.stderr
    lines = [line for line in done.stderr.splitlines() if not re.search(r"\d+ of \d+", line)]  # progress
    assert len(lines) == 1, done.stderr
    return lines[0]


def test_mistakes_of_a_card_and_its_data_are_one_line_and_exit_code_two(tmp_path: Path) -> None:
    for name in ("photos", "drawings"):
        for k, c in enumerate(("cat", "dog")):
            (tmp_path / name / c).mkdir(parents=True)
            for i in range(12):
                Image.new("RGB", (30, 20), (90 * k, 9 * i, 60)).save(tmp_path / name / c / f"ä {i}.JPG", "JPEG")
    (tmp_path / "my.toml").write_text('source = "photos/"\ntarget = "drawings/"\n')
    words = ("run", "-t", "my.toml", "-m", "source_only", "--budgets", "0", "--seeds", "0", "--results", "results")
    none = {"TLBENCH_WEIGHTS": "", "XDG_DATA_HOME": str(tmp_path)}
    broken = tmp_path / "photos" / "cat" / "ä 3.JPG"
    broken.write_bytes(broken.read_bytes()[:300])
    assert refused(*words, cwd=tmp_path, **none).startswith(f"tlbench: {broken}: broken image (")
    shutil.rmtree(tmp_path / "drawings" / "dog")
    assert refused(*words, cwd=tmp_path, **none).startswith(
        f"tlbench: {tmp_path}/my.toml:2: 'drawings' holds one class"
    )
    shutil.rmtree(tmp_path / "photos")
    said = refused("show", "my.toml", cwd=tmp_path)
    assert said.startswith("tlbench: my.toml:1: source 'photos/': there is no ")


def test_a_new_card_is_never_written_over_another(tmp_path: Path) -> None:
    assert "written" in tlbench("new", "task", "pets", cwd=tmp_path).stdout
    before = (tmp_path / "pets.toml").read_text()
    assert "is there already" in refused("new", "task", "pets.toml", cwd=tmp_path)
    assert (tmp_path / "pets.toml").read_text() == before


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A copy of the project's own packages, since the how-to adds to them."""
    for folder, package in {"tlbench": "tlbench", "baselines": "tlbench_baselines", "tasks": "tlbench_tasks"}.items():
        shutil.copytree(ROOT / folder, tmp_path / "lib" / package, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "tasks").symlink_to(tmp_path / "lib" / "tlbench_tasks")
    return tmp_path


@pytest.mark.slow
def test_everything_in_the_how_to_runs(copied: Path) -> None:
    env = {"PYTHONPATH": str(copied / "lib"), "TLBENCH_RESULTS": str(copied / "results")}
    for language, block in re.findall(r"```(\w+)\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL):
        if language == "toml":
            (copied / block.splitlines()[0].removeprefix("# ")).write_text(block, encoding="utf-8")
        elif language == "python":
            subprocess.run([sys.executable, "-c", block], cwd=copied, check=True, timeout=60)
        else:
            for line in block.strip().splitlines():
                program, *words = line.split()
                assert program == "tlbench"
                done = tlbench(*words, cwd=copied, **env)
                assert done.returncode == 0, f"{line}\n{done.stderr}"
    assert (copied / "tasks" / "splits" / "letters_in_photos.json").is_file()
    assert not (ROOT / "tasks" / "letters_in_photos.toml").exists()


def test_the_how_to_names_every_kind_of_file_that_is_read() -> None:
    text = GUIDE.read_text(encoding="utf-8")
    for suffix in set(own.READ_BY) - {".libsvm"}:
        assert suffix in text
