"""Timing passes in real processes, the lines they leave, and what is made of them. No time is held against a limit."""

from __future__ import annotations

import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made import stored, study
from test_cli import tlbench
from test_resume import HEEDING_CTRL_C, until

from tlbench.board import markdown, sections, tables
from tlbench.board.board import Board
from tlbench.errors import UsageError
from tlbench.results.store import Store
from tlbench.results.timings import Timing, Timings, interval, is_noisy, ratios, read_timing
from tlbench.runner import experiment, machine
from tlbench.runner.experiment import Options
from tlbench.tasks import split_digests

QUICK = ("--set", "steps=12", "--seeds", "0-1", "--device", "cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A session on a small task: a method that steps, one of two players, and their references."""
    folder = tmp_path_factory.mktemp("timed")
    done = tlbench(
        "profile", "-t", "wdbc_shift", "-m", "coral", "-m", "adda", "-m", "tca", "--budgets", "0,1", *QUICK,
        "--results", str(folder),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "times the baseline" in done.stdout
    return folder


@pytest.fixture(scope="module")
def made(folder: Path) -> list[Timing]:
    timings = Timings(folder)
    assert timings.warnings == []
    return timings.found


def test_a_session_has_its_references_at_every_budget_and_seed(made: list[Timing]) -> None:
    cells = {(t.method, t.budget, t.seed) for t in made}
    assert {("target_only", 1, s) for s in (0, 1)} | {("source_only", 0, s) for s in (0, 1)} <= cells
    assert len(made) == len(cells)
    assert len({t.session for t in made}) == 1
    assert [t.seed for t in made] == sorted(t.seed for t in made)  # repeats are spread over the session
    assert all(t.threads == 1 for t in made)


def test_the_clocks_of_a_cell_add_up_to_its_total(made: list[Timing]) -> None:
    for t in made:
        assert t.setup_s + t.fit_s + t.predict_s + t.rest_s == pytest.approx(t.child_s, rel=0.02)


SLEEPER = """
import time
from dataclasses import dataclass
from typing import ClassVar

import torch

from tlbench import Predictor, Train

time.sleep(0.4)


@dataclass(frozen=True)
class Sleeper:
    family: ClassVar[str] = "feature-based"
    paper: ClassVar[str] = "none"
    needs: ClassVar[frozenset[str]] = frozenset()
    regimes: ClassVar[frozenset[str]] = frozenset({"classification"})

    def fit(self, train: Train, seed: int) -> Predictor:
        time.sleep(0.6)
        pauses = [0.3]  # the first time it is asked only: a latency is of many times

        def predict(x: torch.Tensor) -> torch.Tensor:
            time.sleep(pauses.pop() if pauses else 0)
            return torch.zeros(len(x), train.n_classes)

        return predict
"""


@pytest.mark.slow
def test_every_clock_has_the_seconds_that_were_slept_in_its_part(tmp_path: Path) -> None:
    (tmp_path / "sleeper.py").write_text(SLEEPER)
    words = ("-t", "wdbc_shift", "-m", f"{tmp_path}/sleeper.py:Sleeper", "--budgets", "1", "--seeds", "0")
    start = time.perf_counter()
    done = tlbench("profile", *words, "--device", "cpu", "--results", str(tmp_path / "store"))
    outside = time.perf_counter() - start
    assert done.returncode == 0, done.stderr
    (t,) = (t for t in Timings(tmp_path / "store").found if t.method != "target_only")
    assert t.setup_s >= 0.4
    assert t.fit_s >= 0.6
    assert t.predict_s >= 0.3
    assert t.setup_s + t.fit_s + t.predict_s + t.rest_s == pytest.approx(t.child_s, rel=0.02)
    assert t.child_s <= outside


def test_what_is_measured_of_a_step(made: list[Timing]) -> None:
    for t in made:
        assert t.infer_latency_ms is not None
        assert t.infer_latency_p95_ms is not None
        assert 0 < t.infer_latency_ms <= t.infer_latency_p95_ms
        assert (t.arithmetic, t.peak_gpu_mib, t.gpu, t.driver, t.cuda) == ("fp32", None, None, None, None)
        assert t.energy_j is None  # no fit here takes 10 seconds
        assert t.total_s == t.fit_s
        if t.first_step_s is not None:
            assert t.step_ms is not None
            assert 0 < t.first_step_s <= t.fit_s


def test_the_machine_is_measured_before_and_after(made: list[Timing]) -> None:
    for t in made:
        assert t.score_after is not None
        assert t.noisy == is_noisy(t.score_before, t.score_after)
        assert t.contended == (t.runs > 0 or t.others > machine.MOST_BUSY)


def test_a_timed_cell_is_the_cell_of_the_accuracy_pass(made: list[Timing], tmp_path: Path) -> None:
    options = Options(results=tmp_path, jobs=1, device="cpu")
    frame = experiment.run("wdbc_shift", "coral", budgets=[1], seeds=[0, 1], settings={"steps": 12}, options=options)
    timed = {t.key for t in made if t.method in ("coral", "target_only") and t.budget == 1}
    assert timed <= set(frame.key)
    assert all(0 < r.first_step_s <= r.fit_s and r.total_s == r.fit_s for r in Store(tmp_path).rows.values())
    assert all(r.infer_latency_ms is None and r.step_gflops is None for r in Store(tmp_path).rows.values())


def test_a_session_leaves_rows_alone(folder: Path) -> None:
    assert [f.name for f in folder.iterdir()] == ["timings.jsonl"]


@pytest.mark.slow
def test_a_cell_that_fails_or_does_not_fit_is_told_and_the_rest_is_timed(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text(
        "from dataclasses import dataclass\n\n\n@dataclass(frozen=True)\nclass Bad:\n"
        "    def fit(self, train, seed):\n        raise ValueError('no')\n"
    )
    words = ("-t", "wdbc_shift", "-m", f"{tmp_path}/bad.py:Bad", "-m", "maml", "--budgets", "1", "--seeds", "0-1")
    done = tlbench("profile", *words, "--device", "cpu", "--results", str(tmp_path / "store"))
    assert done.returncode == 1
    assert done.stderr.count("ValueError: no") == 2
    assert done.stderr.count("note: maml does episodes; wdbc_shift/wdbc_biased-wdbc is classification") == 1
    assert [t.method for t in Timings(tmp_path / "store").found] == ["target_only"] * 2


@pytest.mark.parametrize("way", [signal.SIGKILL, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_session_that_is_stopped_keeps_its_finished_repeats(tmp_path: Path, way: signal.Signals) -> None:
    command = [
        sys.executable, "-c", HEEDING_CTRL_C, sys.executable, "-m", "tlbench.cli", "profile",
        "-t", "wdbc_shift", "-m", "coral", "--budgets", "1", "--set", "steps=2", "--seeds", "0-99",
        "--device", "cpu", "--results", str(tmp_path),
    ]  # fmt: skip
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True
    ) as running:
        until(lambda: bool(Timings(tmp_path).found) or running.poll() is not None, 120)
        assert running.poll() is None, "it ended before it was stopped"
        os.killpg(running.pid, way)
    timings = Timings(tmp_path)
    assert timings.warnings == []
    whole = [t for t in timings.found if t.score_after is not None]
    repeats = {seed: [t.method for t in whole if t.seed == seed] for seed in range(len({t.seed for t in whole}))}
    assert repeats
    assert all(sorted(methods) == ["coral", "target_only"] for methods in repeats.values())
    cut = [t for t in timings.found if t.score_after is None]  # of the repeat under way, which Ctrl-C keeps
    assert all(t.noisy and t.seed == len(repeats) for t in cut)


@pytest.mark.slow
def test_methods_may_be_all_in_a_session_too(tmp_path: Path) -> None:
    done = tlbench("profile", "-t", "cal7", "--method", "all", "--budgets", "10", "--seeds", "0", "--set", "steps=2",
                   "--device", "cpu", "--results", str(tmp_path))  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "stochnorm on cal7/source-target, budget 10, seed 0: the backbone has no batch norm" in done.stderr
    assert len({t.method for t in Timings(tmp_path).found}) == 27  # those of regression, but the one that was refused


@pytest.mark.slow
def test_calibrate_prints_every_probe(tmp_path: Path) -> None:
    found = json.loads(tlbench("calibrate", "--device", "cpu", "--json").stdout)
    assert set(found["seconds"]) == {
        "gemm_fp32_1024", "gemm_fp32_4096", "conv_block", "triad_64mib", "tiny_mlp_200", "r0_300",
    }  # fmt: skip
    assert all(s > 0 for s in found["seconds"].values())
    assert found["score_ms"] == pytest.approx(machine.score(found["seconds"]))


def test_more_threads_than_cores_are_a_mistake() -> None:
    done = tlbench("calibrate", "--threads", "4096")
    assert done.returncode == 2
    assert "--threads 4096" in done.stderr


def test_timings_are_read_as_they_were_written(made: list[Timing], tmp_path: Path) -> None:
    again = Timings(tmp_path)
    again.extend(made)
    assert Timings(tmp_path).found == made


BROKEN: dict[str, dict[str, Any]] = {
    "more": {"more": 1}, "text": {"fit_s": "1"}, "negative": {"fit_s": -1.0}, "sources": {"sources": [1]},
    "flag": {"noisy": 1}, "budget": {"budget": 1.5},
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_line_that_is_no_timing_is_skipped_and_named(made: list[Timing], tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="column"):
        read_timing({**json.loads(json.dumps(asdict(made[0]))), **BROKEN[name]})
    (tmp_path / "timings.jsonl").write_text('{"torn": tr\n')
    timings = Timings(tmp_path)
    timings.extend(made[:1])
    assert Timings(tmp_path).found == [made[0]]
    assert "timings.jsonl:1: skipped" in Timings(tmp_path).warnings[0]


def test_a_store_that_cannot_be_written_is_a_mistake(made: list[Timing], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="written before are safe"):
        Timings(tmp_path / "file" / "below").extend(made[:1])


def grid(one: Timing) -> Iterator[Timing]:
    """Two suites of two tasks each, by two sessions, the second of which has twice the time: ratios 2, 2, 8, 8."""
    one = replace(one, noisy=False, contended=False, budget=1, seed=0)
    for session, slow in (("a", 1.0), ("b", 2.0)):
        for suite, ratio in (("s", 2.0), ("t", 8.0)):
            for target in ("x", "y"):
                for seed, noise in enumerate((1.0, 0.5, 40.0)):  # whose median is 1
                    at = replace(one, session=session, suite=suite, target=target, task=f"{suite}/{target}", seed=seed)
                    yield replace(at, method="target_only", fit_s=slow * noise)
                    yield replace(at, method="m", task=f"{suite}/z-{target}", fit_s=ratio * slow * noise)


def test_ratios_are_geometric_means_within_sessions(made: list[Timing]) -> None:
    frame = ratios(list(grid(made[0]))).set_index("method")
    assert frame.ratio["m"] == pytest.approx(4.0)
    assert frame.ratio["target_only"] == pytest.approx(1.0)
    assert (frame.low["m"], frame.high["m"]) == pytest.approx((2.0, 8.0))
    assert (frame.compared["m"], frame.groups["m"], frame.left_out["m"]) == (8, 2, 0)
    together = ratios(list(grid(made[0])), {"s": "one", "t": "one"}).set_index("method")
    assert math.isnan(together.low["m"])


def test_ratios_leave_out_what_was_noisy_or_contended(made: list[Timing]) -> None:
    timings = [replace(t, noisy=t.suite == "t", contended=t.session == "b") for t in grid(made[0])]
    frame = ratios(timings).set_index("method")
    assert frame.ratio["m"] == pytest.approx(2.0)
    assert (frame.timed["m"], frame.left_out["m"]) == (6, 18)
    assert ratios(timings, marked=True).set_index("method").ratio["m"] == pytest.approx(4.0)


def test_ratios_of_other_machines_stay_apart(made: list[Timing]) -> None:
    timings = [replace(t, machine_class="gpu" if t.session == "b" else "cpu-small") for t in grid(made[0])]
    assert len(ratios(timings)) == 4
    assert len(ratios([])) == 0


def test_the_reference_of_budget_0_is_source_only(made: list[Timing]) -> None:
    timings = [replace(t, budget=0) for t in grid(made[0])]
    assert ratios(timings).ratio.isna().all()
    named = [replace(t, method="source_only") if t.method == "target_only" else t for t in timings]
    assert ratios(named).set_index("method").ratio["m"] == pytest.approx(4.0)


def test_ratios_of_two_budgets_are_never_one(made: list[Timing]) -> None:
    one = list(grid(made[0]))
    five = [replace(t, budget=5, fit_s=t.fit_s * (10 if t.method == "m" else 1)) for t in one]
    frame = ratios([*five, *one])
    assert frame[["method", "budget"]].to_numpy().tolist() == [
        ["target_only", 1], ["m", 1], ["target_only", 5], ["m", 5],
    ]  # fmt: skip
    assert frame.ratio.tolist() == pytest.approx([1, 4, 1, 40])


def test_the_table_of_costs_has_a_budget_a_line_and_digits_enough(made: list[Timing]) -> None:
    one = [replace(t, step_gflops=8.192e-5, fit_s=t.fit_s / 1000) for t in grid(made[0])]
    header, _, *lines = tables.costs(ratios([*one, *(replace(t, budget=5) for t in one)]), {"m"}).splitlines()
    names = header.split(" | ")
    assert names[:3] == ["| method", "k", "ratio"]
    cells = [dict(zip(names, line.split(" | "), strict=True)) for line in lines]
    assert [c["k"] for c in cells] == ["1", "1", "5", "5"]
    assert {c["step_mflop"] for c in cells} == {"0.0819"}
    assert cells[1]["ratio"] == "4.00 [2.00, 8.00]"
    assert [c["| method"] for c in cells] == ["| target_only", "| m †", "| target_only", "| m †"]
    assert float(cells[0]["fit_s"]) > 0
    assert [tables.significant(x) for x in (0.00149, 28.21, 113330.2, 0.0, math.nan)] == [
        "0.00149", "28.2", "113330", "0", "–",
    ]  # fmt: skip


def test_where_the_references_alone_were_timed_the_board_does_not_claim_a_time(
    made: list[Timing], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(split_digests, "differs", lambda suite, where, digest: False)
    task, draw = "wdbc_shift/wdbc_biased-wdbc", np.random.default_rng(0)
    rows = study({m: draw.random((1, 5, 30)) < 0.5 for m in ("source_only", "coral")}, (task,), budget=0)

    def said(*methods: str) -> str:
        held = Timings(tmp_path / methods[-1])
        for t in made:
            if t.method in methods and t.budget == 0:
                held.extend([replace(t, default=True, noisy=False, contended=False)])
        (found,) = re.findall(r"Time was .*", markdown.text(Board(stored(held.folder, rows))))
        return str(found)

    assert said("target_only") == "Time was not measured here."
    assert said("source_only") == "Time was not measured here, except for the baselines."
    assert said("source_only", "coral") == f"Time was measured on {task}."


def test_the_board_takes_times_of_one_code_and_marks_what_has_changed(made: list[Timing], tmp_path: Path) -> None:
    held = Timings(tmp_path)
    timings = [replace(t, noisy=False, contended=False, default=True) for t in made if t.budget == 1]
    old = [replace(t, method_digest="0" * 64, fit_s=100 * t.fit_s) for t in timings if t.method == "coral"]
    foreign = [replace(t, protocol=t.protocol + 1) for t in timings]
    held.extend([*old, *old, *timings, *foreign])
    found = Board(Store(tmp_path))
    assert len(found.timed) == len(timings)  # of coral the code that ships, though the other has more
    assert found.recoded == set()
    stale = Timings(tmp_path / "stale")
    stale.extend([t for t in timings if t.method != "coral"] + old)
    found = Board(Store(tmp_path / "stale"))
    assert found.recoded == {"coral"}
    assert "| coral † | 1 |" in "\n".join(sections._costs(found))


def test_an_interval_needs_two_groups() -> None:
    import numpy as np

    assert all(math.isnan(v) for v in interval([np.zeros(5)]))


@pytest.mark.parametrize(("after", "noisy"), [(1.04, False), (0.97, False), (1.06, True), (0.9, True), (None, True)])
def test_a_session_is_noisy_beyond_5_percent(after: float | None, noisy: bool) -> None:
    assert is_noisy(1.0, after) is noisy


def test_the_board_shows_what_counts_as_a_ratio_to_the_reference(
    made: list[Timing], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = np.random.default_rng(0)
    answers = {m: draw.random((1, 5, 30)) < 0.5 for m in ("target_only", "source_only", "coral")}
    held = Timings(tmp_path)
    for t in made:
        fit = {"coral": 3.0, "adda": 7.0}.get(t.method, 2.0)
        held.extend([replace(t, default=True, noisy=False, contended=t.method == "adda", fit_s=fit)])
    shown = markdown.text(Board(stored(tmp_path, study(answers, ("wdbc_shift/wdbc_biased-wdbc",)))))
    assert "No rows yet" in shown  # their splits are invented
    monkeypatch.setattr(split_digests, "differs", lambda suite, where, digest: False)
    text = markdown.text(Board(stored(tmp_path, study(answers, ("wdbc_shift/wdbc_biased-wdbc",)))))
    assert "## Cost" in text
    cost = text.partition("## Cost")[2]
    assert "| coral | 1 | 1.50 |" in cost
    assert "| target_only | 1 | 1.00 |" in cost
    assert "| source_only | 0 | 1.00 |" in cost
    assert "| adda |" not in cost.partition("\n## ")[0]
    assert f"{sum(t.method == 'adda' for t in made)} noisy or contended timings are left out" in text
