"""The yardstick `benchmarks/against.py` on this tree: against a slower copy of itself, and against a plain one."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CELL = shlex.split(
    "run --task digits/fonts-photos --method source_only --seeds 0 --budgets 0 --set steps=20 --jobs 1 --device cpu"
)
FIT = '"""Train from the seed\'s initial weights and return the classifier."""'
SLOWER = """import time
        end = time.process_time() + 2
        while time.process_time() < end:
            pass
        time.sleep(2)"""


def script(*words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, ROOT / "benchmarks/against.py", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def copied(place: Path, instead: str = "") -> Path:
    """A copy of this tree's code; `instead` begins every gradient method's training."""
    for part in ("tlbench", "baselines", "tasks"):
        shutil.copytree(ROOT / part, place / part, ignore=shutil.ignore_patterns("__pycache__"))
    if instead:
        file = place / "tlbench/training/trainer.py"
        code = file.read_text()
        assert FIT in code
        file.write_text(code.replace(FIT, f"{FIT}\n        {instead}"))
    return place


@pytest.mark.timeout(1200)  # a dozen starts, on a machine that may have other work
def test_a_slower_trainer_is_seen(tmp_path: Path) -> None:
    """One cell a run, with two seconds of work and two of sleep more."""
    done = script(ROOT, copied(tmp_path / "new", SLOWER), "--json", "--repeats", "5", "--", *CELL)
    assert done.returncode == 0, done.stderr
    (result,) = json.loads(done.stdout)["results"]
    cpu, wall = result["cpu_s"], result["wall_s"]
    assert cpu["ratio"]["median"] > 1
    assert cpu["new"]["median"] - cpu["old"]["median"] > 1  # of 2, in a forked child of the worker server
    assert wall["new"]["median"] - wall["old"]["median"] > 2  # of 4
    assert result["work"]["OLD"] == result["work"]["NEW"] == {"cells": 1, "steps": 20}


@pytest.mark.timeout(1200)
def test_a_copy_costs_what_the_tree_costs(tmp_path: Path) -> None:
    done = script(ROOT, copied(tmp_path / "new"), "--json", "--repeats", "5", "--", *CELL)
    assert done.returncode == 0, done.stderr
    (result,) = json.loads(done.stdout)["results"]
    assert 0.7 < result["cpu_s"]["ratio"]["median"] < 1.4
