"""The documents: every command in them is one that there is, and what they say to type works when it is typed.

A block marked `sh` is typed line by line into one shell a document, in an empty folder, with an environment and a store
of its own, `checkout` beside them. `<!-- not run: why -->` above one takes it out; its commands are held against the
options that there are.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from tlbench.cli import app

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
ELSEWHERE = {"add_a_task.md"}  # its own test writes its cards too: tests/test_own_cli.py
BLOCK = re.compile(r"(?:<!-- not run: (?P<why>[^>]+) -->\n)?^```sh\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)


def blocks(file: Path, run_only: bool = False) -> list[str]:
    found = BLOCK.finditer(file.read_text(encoding="utf-8"))
    return [m["text"] for m in found if not (run_only and m["why"])]


def commands(file: Path) -> Iterator[str]:
    """Every command of tlbench in a document: the lines of its blocks, and what stands between backquotes."""
    text = file.read_text(encoding="utf-8")
    for block in blocks(file):
        yield from (line.removeprefix("uv run ") for line in block.splitlines() if "tlbench " in line)
    plain = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    yield from (" ".join(m.split()) for m in re.findall(r"`(tlbench [^`]+)`", plain))


def wrong(words: list[str]) -> str:
    """What of a command there is not: a sub-command or an option."""
    at: Any = typer.main.get_command(app)
    while words and hasattr(at, "commands"):
        name, *words = words
        if name not in at.commands:
            return f"no command {name!r}"
        at = at.commands[name]
    known = {option for p in at.params for option in (*p.opts, *p.secondary_opts)} | {"--help"}
    lacking = [w for w in words if w.startswith("-") and w.partition("=")[0] not in known]
    return f"no option {lacking[0]!r}" if lacking else ""


@pytest.mark.parametrize("file", DOCUMENTS, ids=lambda p: p.name)
def test_every_command_in_a_document_is_one_that_there_is(file: Path) -> None:
    said = {line: wrong(shlex.split(line, comments=True)[1:]) for line in commands(file) if line.startswith("tlbench ")}
    assert {line: why for line, why in said.items() if why} == {}


def test_a_command_that_there_is_not_would_be_found() -> None:
    assert wrong(["rum", "--task", "digits"]) == "no command 'rum'"
    assert wrong(["data", "pul"]) == "no command 'pul'"
    assert wrong(["run", "--tsk", "digits"]) == "no option '--tsk'"
    assert [len(blocks(ROOT / "docs" / "write_a_method.md", only)) > 2 for only in (True, False)] == [True, True]


@pytest.fixture
def shell(tmp_path: Path) -> dict[str, str]:
    """What a reader has: an environment of their own with tlbench in it, and no rows yet; no network."""
    if shutil.which("uv") is None:
        pytest.skip("no uv here")
    home = tmp_path / "environment"
    subprocess.run(["uv", "venv", "-q", "--offline", "--python", sys.executable, str(home)], check=True, timeout=120)
    site = next((home / "lib").glob("python*/site-packages"))
    (site / "beneath.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
    for name, module in {"tlbench": "tlbench.cli", "pytest": "pytest -p no:cacheprovider"}.items():
        script = home / "bin" / name
        script.write_text(f'#!/bin/sh\nexec "{home}/bin/python" -m {module} "$@"\n')
        script.chmod(0o755)
    beneath = "".join(f"{name} ; python_version < '0'\n" for name in ("tlbench", "pytest"))  # they are there, beneath
    (tmp_path / "overrides.txt").write_text(beneath)
    kept = {k: v for k, v in os.environ.items() if k not in ("TLBENCH_RESULTS", "PYTHONPATH")}
    uv = {"UV_OFFLINE": "1", "UV_NO_BUILD_ISOLATION": "1", "UV_OVERRIDE": str(tmp_path / "overrides.txt")}
    own = {"VIRTUAL_ENV": str(home), "PATH": f"{home}/bin:{os.environ['PATH']}", "XDG_DATA_HOME": str(tmp_path)}
    return {**kept, **uv, **own}


def typed(lines: str, folder: Path, env: dict[str, str], seconds: float) -> str:
    """What the shell says to lines that all must succeed; `set -x` shows the one that did not."""
    (folder / "empty").mkdir()
    (folder / "empty" / "checkout").symlink_to(ROOT)
    lines = re.sub(r"^(tlbench verify .*)$", r"\1 || [ $? = 3 ]", lines, flags=re.MULTILINE)  # changes are asked about
    command = ["bash", "-euxo", "pipefail", "-c", lines]
    done = subprocess.run(
        command, cwd=folder / "empty", env=env, capture_output=True, text=True, timeout=seconds, check=False
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def test_the_tutorial_starts_with_a_method_that_works(tmp_path: Path, shell: dict[str, str]) -> None:
    said = typed(blocks(ROOT / "docs" / "write_a_method.md", run_only=True)[0], tmp_path, shell, 240)
    assert "mymethod: written" in said
    assert "Classify by the nearest class mean" in said


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    "file", [f for f in DOCUMENTS if blocks(f, run_only=True) and f.name not in ELSEWHERE], ids=lambda p: p.name
)
def test_what_a_document_says_to_type_works(file: Path, tmp_path: Path, shell: dict[str, str]) -> None:
    said = typed("".join(blocks(file, run_only=True)), tmp_path, shell, 1800)
    assert "accuracy" in said
    if file.name == "write_a_method.md":
        assert "| tlbench-mymethod/mymethod (unverified) | feature-based |" in said


@pytest.mark.slow
def test_the_readme_is_short_and_its_first_method_runs(tmp_path: Path) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 150
    (block,) = re.findall(r"^```python\n(# mine\.py\n.*?)^```$", text, re.DOTALL | re.MULTILINE)
    (tmp_path / "mine.py").write_text(block)
    words = [
        "run",
        "--task",
        "digits/fonts-photos",
        "--method",
        "mine.py:NearestMean",
        "--budgets",
        "5",
        "--seeds",
        "0",
    ]
    command = [sys.executable, "-m", "tlbench.cli", *words, "--json", "--results", str(tmp_path / "results")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    assert {line["method"] for line in json.loads(done.stdout)["lines"]} >= {"mine:NearestMean", "target_only"}, (
        done.stdout[:300]
    )
