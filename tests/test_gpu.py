"""What only a GPU can show; skipped where there is none."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import torch
from torch import nn

import tlbench
from tlbench.runner.experiment import Options
from tlbench.runner.machine import about, calibrated, rates
from tlbench.runner.worker.local import Workers
from tlbench.runner.worker.stopwatch import SHORTEST_S, Energy, StepWatch, arithmetic
from tlbench.training.meter import Meter

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")


def run(folder: Path, device: str, amp: bool = False) -> dict[tuple[str, int], dict[str, object]]:
    options = Options(results=folder, device=device, jobs=1, amp=amp)
    frame = tlbench.run("digits/fonts-photos", "dann", [0, 5], [0], settings={"steps": 200}, options=options)
    return {(row["method"], row["budget"]): dict(row) for row in frame.to_dict("records")}


def test_a_cell_on_a_gpu_has_its_columns_and_the_processors_answer(tmp_path: Path) -> None:
    gpu, cpu = run(tmp_path / "gpu", "cuda:0"), run(tmp_path / "cpu", "cpu")
    assert gpu.keys() == cpu.keys()
    for name, row in gpu.items():
        assert row["status"] == "ok", row["reason"]
        assert row["device"] == "cuda:0"
        assert row["key"] == cpu[name]["key"]  # the hardware is no part of a cell
        assert float(str(row["peak_gpu_mib"])) > 0
        assert row["arithmetic"] in ("tf32", "fp32")
        assert 0 < float(str(row["step_ms"])) < 1e3
        assert abs(float(str(row["value"])) - float(str(cpu[name]["value"]))) < 0.1


def test_mixed_precision_runs_on_a_gpu(tmp_path: Path) -> None:
    rows = run(tmp_path, "cuda:0", amp=True)
    assert {(row["status"], row["arithmetic"]) for row in rows.values()} == {("ok", "bf16")}


def test_steps_are_timed_by_events_and_add_up_to_the_wall() -> None:
    net = nn.Sequential(nn.Linear(2048, 2048), nn.ReLU(), nn.Linear(2048, 2048)).cuda()
    x, optimizer, meter = torch.randn(4096, 2048, device="cuda"), torch.optim.SGD(net.parameters(), 1e-3), Meter()
    net(x).square().mean().backward()
    torch.cuda.synchronize()
    start = time.perf_counter()
    with StepWatch("cuda:0", meter) as watch:
        for _ in range(50):
            optimizer.zero_grad()
            net(x).square().mean().backward()
            optimizer.step()
        queued = time.perf_counter() - start
    torch.cuda.synchronize()
    wall, ends = time.perf_counter() - start, watch.seconds()
    assert queued < wall  # nothing waited inside the loop
    assert ends[-1] == pytest.approx(wall, rel=0.1)


def test_joules_come_from_the_gpus_own_counter() -> None:
    window, x = Energy.of("cuda:0"), torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16)
    end = time.perf_counter() + SHORTEST_S + 0.5
    while time.perf_counter() < end:
        for _ in range(20):
            x @ x
        torch.cuda.synchronize()
    joules = window.joules()
    if window.counter is None:
        pytest.skip("NVML has no counter of energy here")
    assert joules is not None
    assert 50 < joules / SHORTEST_S < 1500  # watts


def test_a_gpus_probes_know_tf32_from_fp32() -> None:
    with Workers() as workers:
        described, probes = about(workers, "cuda:0"), calibrated(workers, "cuda:0", 1)
    assert described["machine_class"] == torch.cuda.get_device_name(0)
    if torch.cuda.get_device_capability(0) < (8, 0):
        assert arithmetic("cuda:0") == "fp32"
        return
    assert arithmetic("cuda:0") == "tf32"  # of convolutions, by torch's default
    found = {name: rate for name, (rate, _) in rates(probes).items()}
    assert found["gemm_tf32_8192"] > 1.5 * found["gemm_fp32_4096"]
    assert found["gemm_bf16_8192"] > 1.2 * found["gemm_tf32_8192"]
    assert found["launch_1000"] < 100  # µs
