"""Steps are timed from outside, however many players take them; operations and joules are counted, not estimated."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from tlbench.runner.machine import busy_seconds, machine_class, other_runs, rates, score
from tlbench.runner.worker import stopwatch
from tlbench.runner.worker.stopwatch import (
    Energy,
    StepWatch,
    arithmetic,
    latencies,
    loops_of,
    rapl,
    step_gflops,
    step_seconds,
)
from tlbench.training.meter import Meter


def looped(meter: Meter, steps: int, turns: int, told: bool = True) -> nn.Linear:
    """A training loop of so many optimiser calls a step, which may tell the meter."""
    net = nn.Linear(8, 4)
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    for _ in range(steps * turns):
        optimizer.zero_grad()
        net(torch.ones(16, 8)).sum().backward()
        optimizer.step()
    if told:
        meter.add(steps, steps, 0.1)
    return net


def test_players_turns_are_one_step() -> None:
    meter = Meter()
    with StepWatch("cpu", meter) as watch:
        looped(meter, 5, 1)
        looped(meter, 4, 3)
        looped(meter, 2, 1, told=False)
    looped(meter, 7, 1)  # the hook is gone
    assert loops_of(meter)[:3] == [(0, 5, 1), (5, 17, 3), (17, 19, 1)]
    assert len(watch.seconds()) == 19
    columns = watch.columns()
    assert columns["first_step_s"] is not None
    assert columns["step_ms"] is not None
    assert 0 < columns["first_step_s"] < watch.seconds()[-1]


def test_a_method_without_steps_has_no_step() -> None:
    with StepWatch("cpu", Meter()) as watch:
        pass
    assert watch.columns() == {"first_step_s": None, "step_ms": None}


def test_the_first_ten_steps_of_a_loop_are_left_out_of_the_median() -> None:
    ends = [float(i + 1) for i in range(10)] + [10.0 + 5.0 * (i + 1) for i in range(3)]
    assert step_seconds(ends, [(0, 13, 1)]) == 5.0
    assert step_seconds(ends[:4], [(0, 4, 1)]) == 1.0  # the mean of fewer
    assert step_seconds(ends[:10] * 1, [(0, 10, 5)]) == 5.0


@pytest.mark.parametrize("turns", [1, 3])
def test_operations_of_a_step_are_those_of_its_products(turns: int) -> None:
    """A linear layer of 8 by 4 on 16 samples: 2 * 16 * 8 * 4 there, and as much for its weights' gradient."""
    meter = Meter()
    with StepWatch("cpu", meter):
        looped(meter, 5, turns)
    found = step_gflops(lambda: looped(Meter(), 5, turns), loops_of(meter))
    assert found == pytest.approx(turns * 2 * 2 * 16 * 8 * 4 / 1e9)


def test_operations_are_counted_in_the_longest_loop() -> None:
    def fit(meter: Meter) -> None:
        looped(meter, 3, 1)
        looped(meter, 9, 2)

    meter = Meter()
    with StepWatch("cpu", meter):
        fit(meter)
    assert step_gflops(lambda: fit(Meter()), loops_of(meter)) == pytest.approx(2 * 2 * 2 * 16 * 8 * 4 / 1e9)
    assert step_gflops(lambda: None, []) is None
    assert step_gflops(lambda: None, [(0, 1, 1)]) is None


def test_latency_is_of_one_sample() -> None:
    seen = []

    def predict(x: torch.Tensor) -> torch.Tensor:
        seen.append(len(x))
        return x

    found = latencies(predict, torch.zeros(3, 2))
    assert seen == [1] * 220
    assert 0 < found["infer_latency_ms"] <= found["infer_latency_p95_ms"]


def test_a_processor_computes_in_fp32() -> None:
    assert arithmetic("cpu") == "fp32"


def powercap(root: Path, microjoules: int) -> Path:
    for name in ("intel-rapl:0", "intel-rapl:1", "intel-rapl:0:0"):  # the last is a part of the first
        (root / name).mkdir(parents=True, exist_ok=True)
        (root / name / "energy_uj").write_text(f"{microjoules}\n")
        (root / name / "max_energy_range_uj").write_text("100000000\n")
    return root


def test_joules_are_the_packages_own_and_wrap_around(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopwatch, "SHORTEST_S", 0.0)
    window = Energy(*counted(tmp_path, 90_000_000))
    powercap(tmp_path, 95_000_000)
    assert window.joules() == pytest.approx(10.0)
    powercap(tmp_path, 5_000_000)
    assert window.joules() == pytest.approx(30.0)


def counted(root: Path, start: int) -> tuple[stopwatch.Counter, list[tuple[float, float]]]:
    counter = rapl(powercap(root, start))
    assert counter is not None
    return counter, counter()


def test_a_short_window_and_a_machine_without_counters_have_no_joules(tmp_path: Path) -> None:
    assert Energy(*counted(tmp_path, 1)).joules() is None
    assert rapl(tmp_path / "nothing") is None
    assert Energy(None).joules() is None
    assert Energy.of("cuda:0").joules() is None  # no such library, or no such window


def test_busy_seconds_are_of_the_cores_one_may_use(tmp_path: Path) -> None:
    (tmp_path / "stat").write_text("cpu  9 9 9 9 9 9 9 9 0 0\n" + "".join(
        f"cpu{i} 100 0 100 5000 700 0 0 100 50 0\n" for i in range(512)
    ))  # fmt: skip
    import os

    assert busy_seconds(tmp_path / "stat") == pytest.approx(
        len(os.sched_getaffinity(0)) * 300 / os.sysconf("SC_CLK_TCK")
    )
    assert busy_seconds(tmp_path / "none") is None


def process(root: Path, pid: int, parent: int, *words: str) -> None:
    (root / str(pid)).mkdir()
    (root / str(pid) / "cmdline").write_bytes(b"\0".join(w.encode() for w in words) + b"\0")
    (root / str(pid) / "stat").write_text(f"{pid} (a (odd) name) S {parent} 0 0")


def test_other_runs_are_told_from_ones_own_and_from_their_children(tmp_path: Path) -> None:
    import os

    process(tmp_path, 1, 0, "init")
    process(tmp_path, os.getpid(), 1, "python", "-m", "tlbench.cli")
    process(tmp_path, 99990001, os.getpid(), "python", "-m", "tlbench.runner.worker.server")
    process(tmp_path, 99990002, 1, "python", "-m", "tlbench.runner.worker.server")
    process(tmp_path, 99990003, 99990002, "python", "-m", "tlbench.runner.worker.server")
    process(tmp_path, 99990004, 1, "python", "-m", "tlbench.runner.worker.once", "1.json")
    process(tmp_path, 99990005, 99990004, "python", "-m", "tlbench.runner.worker.once", "1.json")
    assert other_runs(tmp_path) == 2


def test_a_score_is_of_the_probes_every_calibration_has() -> None:
    probes = {"gemm_fp32_1024": 0.001, "r0_300": 0.1}
    assert score(probes) == pytest.approx(10.0)
    assert score({**probes, "gemm_fp32_4096": 5.0}) == pytest.approx(10.0)


def test_rates_say_what_seconds_mean() -> None:
    found = rates({"gemm_fp32_1024": 1.0, "launch_1000": 0.005, "tiny_mlp_200": 0.1, "conv_block": 0.02})
    assert found["gemm_fp32_1024"] == (pytest.approx(2.147, abs=1e-3), "GFLOP/s")
    assert found["launch_1000"] == (pytest.approx(5.0), "µs a launch")
    assert found["tiny_mlp_200"] == (pytest.approx(500.0), "µs a step")
    assert found["conv_block"] == (pytest.approx(20.0), "ms")


def test_machines_are_compared_within_classes() -> None:
    assert machine_class("cpu", None, 2) == "cpu-small"
    assert machine_class("cpu", None, 64) == "cpu-server"
    assert machine_class("cuda:0", "A100", 64) == "A100"
