"""What methods may try, and what stops each: at level 0 and at level 1 of the sandbox."""

from __future__ import annotations

import ast
import os
import re
import shutil
import socket
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tlbench.methods.method import Description
from tlbench.results.row import Row
from tlbench.results.store import Store
from tlbench.runner import experiment
from tlbench.runner.cell import Cell
from tlbench.runner.descriptions import absolute, described
from tlbench.runner.experiment import Options
from tlbench.runner.plan import Request
from tlbench.runner.sandbox import sandbox
from tlbench.runner.sandbox.sandbox import Limits
from tlbench.runner.sweep import Sweep

HERE = Path(__file__).parent / "hostile"
DOCUMENT = Path(__file__).parent.parent / "docs" / "security.md"
MARKS = "<!-- hostile methods -->", "<!-- end -->"
LIMITS = Limits(seconds=60, memory_mib=300, file_mib=8, scratch_mib=64, threads=100)
TASK = "wdbc_shift/wdbc_biased-wdbc"
needs_level_1 = pytest.mark.skipif(bool(sandbox.missing()), reason=f"no level 1 here: {sandbox.missing()}")


def deeds() -> dict[str, tuple[Path, str]]:
    """Every hostile method: its file, and what it does."""
    found = {}
    for file in (HERE / f"{name}.py" for name in ("files", "processes", "resources", "answers")):
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.ClassDef) and node.name != "Did":
                found[node.name] = file, str(ast.get_docstring(node))
    return found


STOPPED = {  # what a row's reason says, at level 0 and at level 1; None: it is an ok row, and the deed was in vain
    "LooksUp": (None, r"PermissionError: .*sklearn/datasets/data.*"),
    "ReadsStore": (r"Did: read \d+ bytes .*", r"PermissionError: .*rows\.jsonl.*"),
    "ReadsData": (r"Did: read tumour .*", r"PermissionError: .*secret\.csv.*"),
    "ListsData": (r"Did: saw .*secret\.csv.*", r"PermissionError: .*"),
    "ReadsOthers": (r"Did: saw \d+ folders .*", r"PermissionError: .*"),
    "WritesOutside": (r"Did: wrote .*", r"PermissionError: .*left here.*"),
    "TampersStore": (r"Did: wrote .*", r"PermissionError: .*rows\.jsonl.*"),
    "LocksStore": (r"Did: changed them .*", r"PermissionError: \[Errno 1\].*"),
    "CutsStore": (r"Did: cut it off .*", r"PermissionError: .*rows\.jsonl.*"),
    "LinksOut": (r"Did: linked .*", r"PermissionError: .*link.*"),
    "Marks": (r"Did: marked it .*", r"PermissionError: \[Errno 1\].*"),
    "Walks": (None, None),
    "Connects": (r"Did: connected .*", r"PermissionError: \[Errno 1\].*"),
    "Signals": (r"Did: may signal it .*", r"PermissionError: \[Errno 1\].*"),
    "Traces": (r"Did: traced it .*", r"PermissionError: \[Errno 1\].*"),
    "ReadsEnvironment": (r"Did: read \d+ bytes .*", r"PermissionError: .*environ.*"),
    "ReadsMemory": (r"Did: read 64 bytes .*", r"PermissionError: .*maps.*"),
    "RunsProgram": (r"Did: ran it .*", r"PermissionError: \[Errno 1\].*"),
    "ForksForever": (r"had more processes and threads than the limit of 100", r"PermissionError: \[Errno 1\].*"),
    "ForksAway": (None, r"PermissionError: \[Errno 1\].*"),
    "Hangs": (r"took longer than the limit of 2 s",) * 2,
    "FillsDisk": (r"filled its folder beyond the limit of 64 MiB .*",) * 2,
    "FillsUnseen": (r"filled its folder beyond the limit of 64 MiB .*",) * 2,
    "Allocates": (r"ran out of its memory.*",) * 2,
    "Prints": (r"OSError: \[Errno 27\] File too large.*",) * 2,
    "LetsGo": (r"Did: held it .*", r"PermissionError: \[Errno 1\].*"),
    "Nests": (r"filled its folder beyond the limit of 64 MiB .*",) * 2,
    "StopsClock": (r"its own clock counts 0\.\d s of the \d\.\d s that it ran",) * 2,
    "PatchesHarness": (r"it spent \d\.\d s beside fitting and predicting",) * 2,
    "Forges": (r"its own clock counts 0\.\d s of the \d\.\d s that it ran",) * 2,
    "NestsReport": (r"ended with code 0 and without a report",) * 2,
    "Exceeds": (r"the report is not one of a worker's: a time is no number of seconds",) * 2,
    "Archives": (r"no readable scores \(an archive of arrays\)",) * 2,
    "Escapes": (r"no\?\[2J \?!{492}",) * 2,
    "Leaves": (r"ended with code 0 and without a report",) * 2,
    "OtherRows": (r"ValueError: the predictor returned shape \(114, 2\) for 113 inputs.*",) * 2,
    "Permutes": (None, None),
    "PatchesTorch": (r"no readable scores .*",) * 2,
}


@dataclass(frozen=True)
class Tried:
    """The rows of every hostile method at each level, and where they could do harm."""

    rows: dict[tuple[str, int], Row]
    places: dict[int, Path]


@pytest.fixture(scope="module")
def tried(tmp_path_factory: pytest.TempPathFactory) -> Tried:
    rows, places, methods = {}, {}, dict[str, Description]()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        for level in (0,) if sandbox.missing() else (0, 1):
            places[level] = tmp_path_factory.mktemp(f"level{level}")
            rows |= {(name, level): row for name, row in attempts(places[level], level, listening, methods).items()}
    return Tried(rows, places)


def attempts(place: Path, level: int, listening: socket.socket, methods: dict[str, Description]) -> dict[str, Row]:
    """One row a hostile method."""
    (place / "rows.jsonl").write_text("true labels\n")
    (place / "secret.csv").write_text("tumour")
    where = {"Connects": str(listening.getsockname()[1])}
    options = Options(place / "results", device="cpu", jail=str(level))
    with experiment.started(options, ["sklearn.datasets"]) as workers:
        plan, bench = experiment.prepared(Request((TASK,), ("chance",), (5,), (0,)), options, workers)
        task, cells = next(c.task for c in plan.cells if c.method.name == "chance"), {}
        for name, (file, _) in deeds().items():
            if name not in methods:  # once for all levels
                methods[name] = described(absolute(f"{file}:{name}"), {}, workers)
            method = methods[name]
            config = {"place": where.get(name, str(place))} if method.config else {}
            cells[Cell(task, replace(method, config=config), 5, 0)] = name
        store, found = Store(place / "results"), {}
        for hangs, limits in ((False, LIMITS), (True, replace(LIMITS, seconds=2))):
            chosen = [cell for cell, name in cells.items() if (name == "Hangs") == hangs]
            sweep = Sweep(chosen, bench, store, workers, jobs=2, limits=limits)
            sweep.run()
            found |= {row.method.rpartition(":")[2]: row for row in sweep.computed}
    return found


def test_every_hostile_method_is_judged() -> None:
    assert list(deeds()) == list(STOPPED)


@needs_level_1
@pytest.mark.parametrize("level", [0, 1])
@pytest.mark.parametrize("name", STOPPED)
def test_a_hostile_method_is_caught_or_harmless_and_the_row_says_why(tried: Tried, name: str, level: int) -> None:
    row, said = tried.rows[name, level], STOPPED[name][level]
    assert row.jail == level
    assert row.status == ("refused" if name == "Escapes" else "failed" if said else "ok"), row.reason
    assert said is None or re.fullmatch(said, row.reason or ""), row.reason


@needs_level_1
def test_looking_the_test_inputs_up_is_worth_a_full_score_at_level_0(tried: Tried) -> None:
    assert tried.rows["LooksUp", 0].value == 1.0
    assert tried.rows["LooksUp", 1].value is None


@needs_level_1
def test_nothing_is_changed_outside_at_level_1(tried: Tried) -> None:
    assert (tried.places[0] / "left here").exists()
    assert {p.name for p in tried.places[1].iterdir()} == {"rows.jsonl", "secret.csv", "results"}
    assert (tried.places[1] / "rows.jsonl").read_text() == "true labels\n"


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="processes are found through /proc")
def test_a_process_that_left_its_group_does_not_outlive_its_cell(tried: Tried) -> None:
    pid = int((tried.places[0] / "away").read_text())
    until = time.monotonic() + 10
    while os.path.exists(f"/proc/{pid}") and time.monotonic() < until:
        time.sleep(0.05)
    assert not os.path.exists(f"/proc/{pid}")


def table(rows: dict[tuple[str, int], Row]) -> str:
    """What each hostile method does, and what stopped it, in Markdown."""
    lines = ["| The method | level 0 | level 1 |", "|---|---|---|"]
    lines += [f"| {does} | {verdict(rows[n, 0])} | {verdict(rows[n, 1])} |" for n, (_, does) in deeds().items()]
    return "\n".join(lines)


def verdict(row: Row) -> str:
    """A row's outcome, without what changes from run to run."""
    if row.status == "ok":
        return "all answers right: **1.0**" if row.value == 1.0 else "no effect: an ordinary row"
    reason = re.sub(r" \([^()]+:\d+\)$| \(300 MiB.*", "", row.reason or "")
    reason = re.sub(r": '[^']*'( -> '[^']*')?", "", reason)
    reason = re.sub(r"\d+\.\d s", "… s", re.sub(r"read \d+ bytes|saw \d+ folders", "…", reason))
    return re.sub(r"^Did: (.*)", r"**done**", reason).replace("|", "/")[:110]


@needs_level_1
def test_the_table_of_the_document_is_what_happens(tried: Tried) -> None:
    text, made = DOCUMENT.read_text(), table(tried.rows)
    before, start, rest = text.partition(MARKS[0])
    _, end, after = rest.partition(MARKS[1])
    if os.environ.get("WRITE_HOSTILE_TABLE"):
        DOCUMENT.write_text(f"{before}{start}\n{made}\n{end}{after}")
    else:
        assert rest.partition(MARKS[1])[0].strip() == made


@pytest.mark.slow
@pytest.mark.skipif(bool(sandbox.missing()) or not shutil.which("bwrap"), reason="no level 2 here")
def test_at_level_2_what_is_hidden_cannot_even_be_asked_for(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("")
    options = Options(tmp_path, device="cpu", jail="2")
    with experiment.started(options) as workers:
        plan, bench = experiment.prepared(Request((TASK,), ("chance",), (5,), (0,)), options, workers)
        honest = next(c for c in plan.cells if c.method.name == "chance")
        method = described(f"{HERE / 'hidden.py'}:Stats", {}, workers)
        hostile = replace(honest, method=replace(method, config={"place": str(tmp_path)}))
        sweep = Sweep([hostile, honest], bench, Store(tmp_path), workers)
        sweep.run()
    stopped, done = sweep.computed
    assert (stopped.status, done.status, stopped.jail, done.jail) == ("failed", "ok", 2, 2)
    assert re.fullmatch(r"FileNotFoundError: .*rows\.jsonl.*", stopped.reason or "")
