"""Office-Caltech10 images end to end through a ResNet-50 that is trained, on a GPU: samples a second, and what share
of the machine's own matrix rate that is. Its weights are random: they are for throughput only."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

TASK = "office_caltech10_trained/amazon-webcam"


def printed(*words: str, weights: Path) -> Any:
    """What a command prints as JSON.

    Raises:
        AssertionError: it failed.
    """
    done = subprocess.run(
        [sys.executable, "-m", "tlbench.cli", *words, "--device", "cuda", "--json"],
        env={**os.environ, "TLBENCH_WEIGHTS": str(weights)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("kind", ["tf32", "bf16"])
def test_images_through_a_resnet50(kind: str, tmp_path: Path) -> None:
    if not torch.cuda.is_available():
        pytest.skip("there is no GPU here")
    if not (Path(os.environ.get("TLBENCH_DATA", "")) / "office_caltech10" / "images" / "amazon").is_dir():
        pytest.skip("needs the images of Office-Caltech10 (TLBENCH_DATA)")
    import timm
    from safetensors.torch import save_file

    save_file(timm.create_model("resnet50").state_dict(), tmp_path / "resnet50.safetensors")
    seconds = printed("calibrate", weights=tmp_path)["seconds"]
    rate = 2 * 8192**3 / seconds[f"gemm_{kind}_8192"] / 1e12
    timings = printed(
        "time", "--task", TASK, "--method", "dann", "--method", "finetune", "--budgets", "5", "--seeds", "0",
        "--set", "steps=200", "--backbone", "resnet50", "--results", str(tmp_path), *(["--amp"] * (kind == "bf16")),
        weights=tmp_path,
    )  # fmt: skip
    for t in timings:
        took = t["step_gflops"] / t["step_ms"]  # 10^9 operations a millisecond are 10^12 a second
        print(
            f"\n{t['gpu']}, {kind}, {t['method']}: {t['train_samples_per_s']:.0f} samples/s to train, "
            f"{t['infer_samples_per_s']:.0f} to predict, {t['step_ms']:.1f} ms a step of {t['step_gflops']:.0f} "
            f"GFLOP, {took:.1f} TFLOP/s: {100 * took / rate:.0f} % of {rate:.0f} (products of 8192); "
            f"{t['peak_gpu_mib']:.0f} MiB, {t['energy_j']} J"
        )
        assert 0 < took < rate
        assert t["arithmetic"] == kind
