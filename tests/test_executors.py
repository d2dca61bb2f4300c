"""Cells run at any place alike, and a new place needs nothing but its own file and its name."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from tlbench.cli.app import app
from tlbench.errors import UsageError
from tlbench.results.row import Row
from tlbench.runner import experiment, places
from tlbench.runner.executors import Ended, Executor, Job, forget
from tlbench.runner.experiment import Options
from tlbench.runner.plan import Request
from tlbench.runner.sandbox.sandbox import Limits
from tlbench.runner.worker.watchdog import remove

PAIR = "digits/handwritten-fonts"
SAME = ("key", "status", "reason", "value", "correct", "n_test")
METHODS = '''
from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Kills:
    """Kill what watches it."""

    def fit(self, train, seed):
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(1000)


@dataclass(frozen=True)
class Sleeps:
    """Never end."""

    def fit(self, train, seed):
        time.sleep(1000)
'''


@dataclass
class Array(Executor):
    """A place as a scheduler of a cluster is one: it gathers jobs and sends them as one array with the next poll."""

    modules: Any = ()
    cores: int = 1
    threads: int = 1
    jail: int | None = None
    hidden: Any = ()
    slots: int | None = 100
    scratch: Path = field(default_factory=lambda: Path(tempfile.mkdtemp()))
    gathered: list[Job] = field(default_factory=list)
    sent: list[int] = field(default_factory=list)  # jobs in each array
    running: dict[Path, Job] = field(default_factory=dict)

    def folder(self) -> Path:
        folder = self.scratch / str(len(list(self.scratch.glob("*.json"))) + 1)
        folder.mkdir()
        return folder

    def submit(self, job: dict[str, Any], folder: Path, limits: Limits) -> int:
        made = Job.written(job, folder, limits, 0)
        order = {"id": made.id, "folder": str(folder), "limits": asdict(limits), "jail": 0}
        folder.with_suffix(".json").write_text(json.dumps(order))
        self.gathered.append(made)
        return made.id

    def poll(self, seconds: float, only: int | None = None) -> Ended | None:
        if self.gathered:
            orders = [job.folder.with_suffix(".json") for job in self.gathered]
            for order in orders:
                subprocess.run([sys.executable, "-m", "tlbench.runner.worker.once", str(order)], check=True)
            self.running |= {o.with_suffix(".ended"): j for o, j in zip(orders, self.gathered, strict=True)}
            self.sent.append(len(orders))
            self.gathered = []
        for file, job in self.running.items():
            if file.exists() and only in (None, job.id):
                del self.running[file]
                return Ended.of(job.folder, job, json.loads(file.read_text()))
        return None

    def close(self) -> None:
        remove(self.scratch)


def rows(on: str, folder: Path) -> dict[str, Row]:
    """Of real cells that were run at a place."""
    request = Request((PAIR,), ("source_only",), (1,), (0,), {"steps": "5"})
    outcome = experiment.execute(request, Options(folder, device="cpu", on=on, jobs=2))
    assert outcome.computed == 2
    return {row.method: row for row in outcome.rows}


def test_cells_have_the_same_rows_at_every_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arrays: list[Array] = []

    def made(**settings: Any) -> Array:
        arrays.append(Array(**settings))
        return arrays[-1]

    monkeypatch.setitem(places.PLACES, "array", made)
    local, *others = (rows(on, tmp_path / on) for on in places.PLACES)
    assert [row.status for row in local.values()] == ["ok", "ok"]
    for found in others:
        for method, row in local.items():
            assert {n: getattr(found[method], n) for n in SAME} == {n: getattr(row, n) for n in SAME}
    assert {row.jobs for row in others[0].values()} == {1}, "a fresh process runs alone"
    assert max(arrays[0].sent) == 2, "the two cells went as one array"


@pytest.mark.slow
def test_a_fresh_process_that_is_killed_or_hangs_leaves_a_row_that_says_so(tmp_path: Path) -> None:
    (tmp_path / "methods.py").write_text(METHODS)
    names = tuple(f"{tmp_path / 'methods.py'}:{name}" for name in ("Kills", "Sleeps"))
    options = Options(tmp_path / "results", device="cpu", on="fresh", jail="0", time_limit=2)
    outcome = experiment.execute(Request((PAIR,), names, (1,), (0,), {}), options)
    said = {row.method.rpartition(":")[2]: row.reason for row in outcome.rows if row.status == "failed"}
    assert said["Kills"] == "took the process that watched it down with it"
    assert said["Sleeps"] == "took longer than the limit of 2 s"


@pytest.mark.parametrize("on", ["local", "fresh"])
def test_jobs_can_be_waited_for_out_of_order(on: str) -> None:
    with places.executor(on) as executor:
        first = executor.submit({"kind": "device"}, executor.folder(), Limits())
        second = executor.submit({"kind": "device"}, executor.folder(), Limits())
        while (ended := executor.poll(60, second)) is None:
            pass
        assert ended.id == second
        assert (other := executor.wait()).id == first
        assert (ended.report["status"], other.report["status"]) == ("ok", "ok")
        forget(ended)
        assert not ended.folder.exists()
        assert executor.ask({"kind": "nonsense"})["status"] == "failed"


def test_an_unknown_place_is_a_mistake_that_names_the_others() -> None:
    with pytest.raises(UsageError, match=r"--on slrum: no such place; .*local"):
        places.executor("slrum")


def test_help_names_every_place() -> None:
    said = " ".join(CliRunner().invoke(app, ["run", "--help"]).output.split())
    assert all(name in said for name in places.PLACES)


@pytest.mark.slow
def test_scores_of_a_fresh_process_are_those_of_a_fork_bit_by_bit(tmp_path: Path) -> None:
    scores = []
    for on in ("local", "fresh"):
        with places.executor(on) as executor:
            request = Request((PAIR,), ("source_only",), (1,), (0,), {"steps": "5"})
            plan, bench = experiment.prepared(request, Options(tmp_path, device="cpu"), executor)
            cell = next(c for c in plan.cells if c.method.name == "source_only")
            folder = executor.folder()
            executor.submit(bench.job(cell, executor, folder), folder, Limits())
            ended = executor.wait()
            assert ended.report["status"] == "ok", ended.report
            scores.append(np.load(ended.folder / "scores.npy"))
    assert np.array_equal(*scores)
