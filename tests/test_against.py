"""The yardstick `benchmarks/against.py` sees a cost that was put in, and none where nothing was."""

from __future__ import annotations

import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
SCRIPT = ROOT / "benchmarks" / "against.py"
SPEC = importlib.util.spec_from_file_location("against", SCRIPT)
assert SPEC is not None
assert SPEC.loader is not None
against = importlib.util.module_from_spec(SPEC)
sys.modules["against"] = against  # its dataclasses look themselves up
SPEC.loader.exec_module(against)

BURN = "import time\nwhile time.process_time() < 0.2: pass"
IN_A_CHILD = f"import os\nif os.fork() == 0:\n  exec({BURN!r})\n  os._exit(0)\nos.wait()"
CELL = shlex.split(
    "run --task digits/fonts-photos --method source_only --seeds 0 --budgets 0 --set steps=20 --jobs 1 --device cpu"
)
FIT = '"""Train from the seed\'s initial weights and return the classifier."""'


def script(*words: str | Path, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, SCRIPT, *words], cwd=folder, capture_output=True, text=True, check=False)


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


def test_sides_take_turns_and_the_first_run_of_each_is_not_counted() -> None:
    order: list[int] = []

    def take(side: int) -> Any:
        order.append(side)
        return against.Cost(len(order), side)

    old, new = against.interleaved(take, 5, "stand-in")
    assert order == [0, 1, 0, 1, 1, 0, 0, 1, 1, 0, 0, 1]
    assert [cost.cpu_s for cost in old] == [3, 6, 7, 10, 11]
    assert [cost.cpu_s for cost in new] == [4, 5, 8, 9, 12]


def test_ratios_are_of_the_runs_that_stood_side_by_side() -> None:
    old = [against.Cost(a, 1.0) for a in (1.0, 2.0, 4.0)]
    new = [against.Cost(b, 2.0) for b in (2.0, 2.0, 12.0)]
    table = against.compared([old, new])
    assert table["cpu_s"]["old"] == {"median": 2.0, "min": 1.0, "max": 4.0}
    assert table["cpu_s"]["ratio"] == {"median": 2.0, "min": 1.0, "max": 3.0}
    assert table["wall_s"]["ratio"] == {"median": 2.0, "min": 2.0, "max": 2.0}


def test_the_work_of_a_commands_children_is_counted(tmp_path: Path) -> None:
    commands = [[sys.executable, "-S", "-c", code] for code in ("pass", IN_A_CHILD)]
    costs = against.interleaved(lambda i: against.measured(commands[i], dict(os.environ), tmp_path), 5, "stand-in")
    table = against.compared(costs)
    assert table["cpu_s"]["new"]["min"] > 0.2
    assert table["cpu_s"]["ratio"]["min"] > 1


def test_a_command_that_fails_says_its_last_line(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import sys; print('first\\nthe last\\n', file=sys.stderr); sys.exit(3)"]
    with pytest.raises(against.Failure, match=r"^exits with 3: the last$"):
        against.measured(command, dict(os.environ), tmp_path)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere", "."], "against: nowhere is neither a folder with tlbench in it nor a revision of git"),
        ([".", ".", "--repeats", "4"], "against: error: --repeats 4: 5 or more tell a difference from noise"),
        ([".", ".", "--", "list", "--results", "x"], "against: error: --results: each run has a store of its own"),
        ([".", ".", "--", "show", "nothing"], "against: OLD (.): tlbench show exits with 2: tlbench: "),
    ],
)
def test_a_mistake_is_told_without_a_traceback(words: list[str], said: str) -> None:
    done = script(*words)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(said)
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_side_whose_cells_fail_is_not_measured(tmp_path: Path) -> None:
    """A run whose cells fail exits with 0, and is a quick one."""
    done = script(ROOT, copied(tmp_path / "new", "raise ValueError('broken')"), "--", *CELL)
    assert done.returncode == 2
    assert "against: NEW (" in done.stderr
    assert "has failed cells, 1 of them" in done.stderr
    assert "broken" in done.stderr.splitlines()[-1]
