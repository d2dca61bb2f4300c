"""How fast a machine is: a handful of probes, each the fastest of blocks of 5, in the process that would train.

The minimum is what the machine can do; what is above it is what else the machine did. On a virtual machine of two
cores a single product varies by 8.5 %, the minimum of five by 1.6 %.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tlbench.data import Labeled, Recipe, Train, Unlabeled
from tlbench.methods import loader
from tlbench.training import networks
from tlbench.training.meter import synchronized

BLOCKS = 5
ENOUGH_S = 8.0  # a probe this slow is not repeated further
REFERENCE = "target_only"
Probe = Callable[[], object]


def measured(device: str, whole: bool) -> dict[str, float]:
    """Seconds of each probe; `whole` adds the large products, which say more and take longer."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = {**products(device, whole), **kernels(device), **loops(device)}
        return {name: fastest(probe, device) for name, probe in made.items()}


def fastest(probe: Probe, device: str) -> float:
    """Seconds of the fastest of 5, after one that is not counted."""
    begun, best = time.perf_counter(), float("inf")
    probe()
    for _ in range(BLOCKS):
        start = synchronized(device)
        probe()
        best = min(best, synchronized(device) - start)
        if time.perf_counter() - begun > ENOUGH_S:
            break
    return best


def products(device: str, whole: bool) -> dict[str, Probe]:
    """Square matrix products: fp32 of 1024 and 4096, on a GPU also TF32 and bf16 of 8192."""

    def product(n: int, kind: torch.dtype, tf32: bool) -> Probe:
        x = torch.randn(n, n, device=device, dtype=kind)

        def run() -> None:
            before = torch.backends.cuda.matmul.allow_tf32
            torch.backends.cuda.matmul.allow_tf32 = tf32
            x @ x
            torch.backends.cuda.matmul.allow_tf32 = before

        return run

    found = {"gemm_fp32_1024": product(1024, torch.float32, False)}
    if whole:
        found["gemm_fp32_4096"] = product(4096, torch.float32, False)
    if whole and device.startswith("cuda"):
        found["gemm_tf32_8192"] = product(8192, torch.float32, True)
        found["gemm_bf16_8192"] = product(8192, torch.bfloat16, False)
    return found


def kernels(device: str) -> dict[str, Probe]:
    """A block of convolutions there and back, a triad through memory, on a GPU 1000 launches of an empty kernel."""
    x = torch.randn(16, 32, 28, 28, device=device)
    block = nn.Sequential(
        nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.Conv2d(64, 64, 3, padding=1)
    ).to(device)
    a, b = torch.randn(2, 1 << 24, device=device)
    out, one = torch.empty_like(a), torch.zeros(1, device=device)

    def convolve() -> None:
        block(x).square().mean().backward()

    def launch() -> None:
        for _ in range(1000):
            one.add_(1)

    found: dict[str, Probe] = {"conv_block": convolve, "triad_64mib": lambda: torch.add(a, b, alpha=3.0, out=out)}
    return {**found, "launch_1000": launch} if device.startswith("cuda") else found


def loops(device: str) -> dict[str, Probe]:
    """200 steps of a tiny network, which measure Python, and R0: 300 of the reference on a CAL-1 task's shape."""
    x, y = torch.randn(200, 20, device=device), (torch.arange(200, device=device) % 2)
    net = nn.Sequential(nn.Linear(20, 16), nn.ReLU(), nn.Linear(16, 2)).to(device)
    optimizer = torch.optim.SGD(net.parameters(), 0.01)

    def tiny() -> None:
        for _ in range(200):
            optimizer.zero_grad()
            cross_entropy(net(x[:32]), y[:32]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()

    fit, train = loader.load(REFERENCE)(), cal1(x.cpu(), y.cpu(), device)
    return {"tiny_mlp_200": tiny, "r0_300": lambda: fit.fit(train, 0)}


def cal1(x: Tensor, y: Tensor, device: str) -> Train:
    """Inputs of 20 numbers in 2 classes, 20 labels a class."""
    spec: dict[str, Any] = {"kind": "bottleneck", "width": 256, "scale": "none"}
    return Train(
        (), Unlabeled(x[40:]), Labeled(x[:40], y[:40]), 2, lambda: networks.build(spec, [x], 0), Recipe(300), device
    )  # fmt: skip
