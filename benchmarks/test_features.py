"""Images a second of feature extraction against the bare timm loop in float32, on real images, in one run.

Ours is float32 too, as ranked rows are; and bfloat16, the declared option, where there are instructions for it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from tlbench.runner.task_data import native_bf16
from tlbench.runner.worker.extraction import Frozen, Shape, rows
from tlbench.tasks.datasets import pretrained
from tlbench.training.backbones import timm_trunk

IMAGES = 192
ROUNDS = 3


def _images() -> list[Path]:
    root = Path(os.environ.get("TLBENCH_DATA", "")) / "office_caltech10" / "images"
    files = sorted(root.glob("*/*/*.jpg"))
    if not files or pretrained.weights_file("mobilenetv2_100_coral") is None:
        pytest.skip("needs the Office-Caltech10 images (TLBENCH_DATA) and weights (TLBENCH_WEIGHTS)")
    return files[:: len(files) // IMAGES][:IMAGES]


def bare_loop(files: list[Path], net: nn.Module) -> float:
    """What one writes by hand: open, resize, normalise, one float32 forward pass a batch. Seconds."""
    start = time.perf_counter()
    with torch.inference_mode():
        for i in range(0, len(files), 32):
            images = (
                Image.open(f).convert("RGB").resize((224, 224), Image.Resampling.BILINEAR) for f in files[i : i + 32]
            )
            x = torch.from_numpy(np.stack([np.asarray(image) for image in images])).permute(0, 3, 1, 2)
            net(x.float().div(127.5).sub(1))
    return time.perf_counter() - start


def ours(files: list[Path], net: Frozen) -> float:
    """Seconds for the same features by the harness."""
    start = time.perf_counter()
    assert len(list(rows(files, Shape(224, 224, "squash"), net))) == len(files)
    return time.perf_counter() - start


def median_ratio(precision: str, record_property: Callable[[str, object], None]) -> float:
    """Our images a second, in a precision, over the bare float32 loop's."""
    files, spec = _images(), pretrained.at_hand(("mobilenetv2_100_coral",)).spec()
    bare_net, own_net = timm_trunk(spec).eval(), Frozen(spec, 224, precision, "cpu")
    ratios = []
    for _ in range(ROUNDS):  # in turn, so that a slow minute of the machine is shared
        bare, own = bare_loop(files, bare_net), ours(files, own_net)
        ratios.append(bare / own)
        print(f"bare float32 loop {len(files) / bare:.1f} images/s; extraction ({precision}) {len(files) / own:.1f}")
    ratio = sorted(ratios)[len(ratios) // 2]
    record_property(f"ratio_{precision}", ratio)
    print(f"median ratio ({precision}) {ratio:.2f}")
    return ratio


def test_extraction_beats_the_float32_loop_in_float32(record_property: Callable[[str, object], None]) -> None:
    assert median_ratio("fp32", record_property) >= 1.0


def test_extraction_in_declared_bfloat16_is_three_times_the_float32_loop(
    record_property: Callable[[str, object], None],
) -> None:
    if not native_bf16():
        pytest.skip("this processor has no instructions for bfloat16")
    assert median_ratio("bf16", record_property) >= 3.0
