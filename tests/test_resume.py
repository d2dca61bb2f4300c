"""A sweep may be stopped at any moment, in any way: the same command goes on, and no cell is lost or run twice."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tlbench.results.store import Store

ASKED = ["-t", "digits", "-m", "chance", "-m", "source_only", "--set", "steps=2", "--budgets", "0,1", "--seeds"]
CELLS = 21  # a seed: chance at two budgets and source-only once on 6 pairs, target-only once on 3 targets
# A shell that runs tests in the background has them ignore Ctrl-C, and programs inherit that.
HEEDING_CTRL_C = (
    "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); os.execv(sys.argv[1], sys.argv[1:])"
)


@dataclass
class Sweeps:
    """Starts the command line, each time in a process group of its own, and leaves none behind."""

    folder: Path
    environment: dict[str, str]
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def file(self) -> Path:
        return self.folder / "results" / "rows.jsonl"

    def start(self, seeds: int, *words: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tlbench.cli", "run", *ASKED, f"0-{seeds - 1}", *words]
        command += ["--results", str(self.file.parent)]
        with (self.folder / f"{len(self.started)}.err").open("w") as err:
            running = subprocess.Popen(
                [sys.executable, "-c", HEEDING_CTRL_C, *command], env=self.environment, cwd=self.folder,
                stdout=subprocess.PIPE, stderr=err, text=True, start_new_session=True,
            )  # fmt: skip
        self.started.append(running)
        return running

    def said(self, running: subprocess.Popen[str]) -> str:
        """What it wrote to stderr."""
        return (self.folder / f"{self.started.index(running)}.err").read_text()

    def end(self, running: subprocess.Popen[str]) -> str:
        """Its stdout, once it has run to its end."""
        out, _ = running.communicate(timeout=200)
        assert running.returncode == 0, self.said(running)[-3000:]
        return out

    def lines(self) -> list[bytes]:
        """The whole lines of the store."""
        return self.file.read_bytes().split(b"\n")[:-1] if self.file.exists() else []

    def wait_for(self, rows: int, running: subprocess.Popen[str]) -> None:
        until(lambda: len(self.lines()) >= rows or running.poll() is not None, 120)
        assert running.poll() is None, f"it ended before it was stopped: {self.said(running)[-3000:]}"


def until(so: Callable[[], bool], seconds: float) -> None:
    """Wait for `so`, and fail if it does not come."""
    end = time.monotonic() + seconds
    while not so():
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.01)


@pytest.fixture
def sweeps(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sweeps]:
    home = tmp_path_factory.getbasetemp()
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TLBENCH_")}
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    places = {"TLBENCH_CACHE": home / "cache", "XDG_DATA_HOME": home / "home", "TMPDIR": scratch}
    made = Sweeps(tmp_path, {**kept, **{name: str(place) for name, place in places.items()}})
    yield made
    for running in made.started:
        with suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGKILL)
        running.communicate()


def descendants(pid: int) -> set[int]:
    """Of a process, by the system's own table."""
    parents: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parents.setdefault(int(stat.read_text().rpartition(")")[2].split()[1]), []).append(int(stat.parent.name))
    found: set[int] = set()
    todo = [pid]
    while todo:
        children = parents.get(todo.pop(), [])
        found.update(children)
        todo += children
    return found


def alive(pid: int) -> bool:
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def kept(before: list[bytes], after: list[bytes]) -> None:
    """Rows only grow, each is a whole row of its own cell, and all are ok."""
    assert after[: len(before)] == before
    rows = [json.loads(line) for line in after if line]
    assert len({row["key"] for row in rows}) == len(rows)
    assert {row["status"] for row in rows} <= {"ok"}


def kill(sweeps: Sweeps, running: subprocess.Popen[str]) -> None:
    running.kill()
    assert running.wait(10) == -signal.SIGKILL


def kill_group(sweeps: Sweeps, running: subprocess.Popen[str]) -> None:
    os.killpg(running.pid, signal.SIGKILL)
    assert running.wait(10) == -signal.SIGKILL


def press_ctrl_c(sweeps: Sweeps, running: subprocess.Popen[str]) -> None:
    """Which is one line and exit code 130."""
    running.send_signal(signal.SIGINT)
    out, _ = running.communicate(timeout=30)
    assert (running.returncode, out) == (130, "")
    said = [line for line in sweeps.said(running).splitlines() if not line.endswith(" left")]  # without the progress
    assert said == ["tlbench: stopped; what was finished is stored, the same command goes on from here"]
    assert list((sweeps.folder / "scratch").glob("tlbench*")) == []  # the workers' files are gone


Moment = Callable[[subprocess.Popen[str]], None]
Stop = Callable[[Sweeps, subprocess.Popen[str]], None]


def goes_on_where_it_was(sweeps: Sweeps, seeds: int, stops: list[tuple[Moment, Stop]]) -> None:
    """Run it and stop it over and over, then let it end: no cell is lost, none is run twice, no process is left."""
    before: list[bytes] = []
    for moment, stop in stops:
        running = sweeps.start(seeds)
        moment(running)
        below = descendants(running.pid)
        stop(sweeps, running)
        until(lambda pids=below: not any(map(alive, pids)), 30)  # type: ignore[misc]
        kept(before, after := sweeps.lines())
        before = after
    assert 0 < len(before) < seeds * CELLS, "it was stopped too late or too early to try anything"
    outcome = json.loads(sweeps.end(sweeps.start(seeds, "--json")))
    kept(before, after := sweeps.lines())
    whole = [line for line in after if line]
    assert len(whole) == len(outcome["rows"]) == len(Store(sweeps.file.parent).rows) == seeds * CELLS
    assert outcome["computed"] == seeds * CELLS - len([line for line in before if line])


def test_a_sweep_that_is_stopped_goes_on_where_it_was(sweeps: Sweeps) -> None:
    def after_three(running: subprocess.Popen[str]) -> None:
        sweeps.wait_for(len(sweeps.lines()) + 3, running)
        assert descendants(running.pid)

    goes_on_where_it_was(sweeps, 2, [(after_three, press_ctrl_c), (after_three, kill)])


@pytest.mark.slow
def test_a_sweep_that_is_killed_at_ten_random_moments_goes_on_where_it_was(sweeps: Sweeps) -> None:
    draw = random.Random(0)

    def at_random(running: subprocess.Popen[str]) -> None:
        if draw.random() < 0.3:  # while it plans, or its server starts
            time.sleep(draw.uniform(0, 6))
        else:
            sweeps.wait_for(len(sweeps.lines()) + draw.randint(1, 5), running)
            time.sleep(draw.uniform(0, 0.2))

    goes_on_where_it_was(sweeps, 5, [(at_random, kill_group if i % 2 else kill) for i in range(10)])


@pytest.mark.slow
def test_two_runs_at_once_store_every_cell_once_and_a_third_finds_it_done(sweeps: Sweeps) -> None:
    both = [sweeps.start(2), sweeps.start(2)]
    first, second = (sweeps.end(running).partition(" cells computed, ") for running in both)
    tables, computed = zip(*(before.rsplit("\n", 1) for before, _, _ in (first, second)), strict=True)
    found = Store(sweeps.file.parent)
    assert found.warnings() == []
    assert len(found.rows) == 2 * CELLS
    assert all(row.ok for row in found.rows.values())
    assert len(sweeps.lines()) == 2 * CELLS
    assert min(map(int, computed)) > 0, "they took no turns: nothing was tried"
    table, n = sweeps.end(sweeps.start(2)).partition(" cells computed, ")[0].rsplit("\n", 1)
    assert n == "0"
    assert tables == (table, table)
    assert "source_only" in table
