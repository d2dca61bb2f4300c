"""What a fit costs: optimiser steps timed from outside, latency, operations, and joules.

A hook that torch calls after every optimiser's step marks the time: on a CPU by the clock, on a GPU by an event that
is read when all is done, so that nothing waits inside a loop. Joules are the hardware's own counters', nothing is
estimated. NVML: nvmlDeviceGetTotalEnergyConsumption, millijoules since the driver was loaded, Volta and later. RAPL:
the Linux powercap files, microjoules, which start again at 0 beyond their range; most systems let only root read them.
"""

from __future__ import annotations

import ctypes
import statistics
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.utils.flop_counter import FlopCounterMode

from tlbench.training.meter import METER, Meter

WARM_UP = 10  # steps of a loop that are not timed: kernels are chosen and caches filled
LATENCY_WARM_UP, LATENCIES = 20, 200


class StepWatch:
    """A context around `fit`: when it began, and when each optimiser's step in it was done."""

    def __init__(self, device: str, meter: Meter = METER) -> None:
        self.meter, self.cuda, self.marks = meter, device if device.startswith("cuda") else None, list[Any]()
        self.meter.calls, self.meter.loops = 0, []

    def __enter__(self) -> StepWatch:
        self.marks.append(self._now())
        self._handle = register_optimizer_step_post_hook(self._stepped)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._handle.remove()

    def _now(self) -> Any:
        if self.cuda is None:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record(torch.cuda.current_stream(self.cuda))
        return event

    def _stepped(self, *_: object) -> None:
        self.marks.append(self._now())
        self.meter.calls += 1

    def seconds(self) -> list[float]:
        """From the start until the end of each optimiser's step, once the device is synchronised."""
        if self.cuda is None:
            return [mark - self.marks[0] for mark in self.marks[1:]]
        return [self.marks[0].elapsed_time(mark) / 1e3 for mark in self.marks[1:]]

    def columns(self) -> dict[str, float | None]:
        """first_step_s and step_ms; null for a method that takes no step."""
        ends, loops = self.seconds(), loops_of(self.meter)
        if not ends:
            return {"first_step_s": None, "step_ms": None}
        return {"first_step_s": ends[loops[0][2] - 1], "step_ms": 1e3 * step_seconds(ends, loops)}


def loops_of(meter: Meter) -> list[tuple[int, int, int]]:
    """Of each loop that called optimisers: its first call, its last (exclusive), and its calls a step.

    Loops that do not report to the meter are one whose every call is a step.
    """
    found, first = [], 0
    for steps, last in meter.loops:
        calls = last - first
        if calls:
            found.append((first, last, calls // steps if steps and calls % steps == 0 else 1))
        first = last
    if meter.calls > first:
        found.append((first, meter.calls, 1))
    return found


def step_seconds(ends: list[float], loops: list[tuple[int, int, int]]) -> float:
    """Median of a step, the first 10 of each loop left out; the mean of all where no loop has more."""
    steady, every = [], []
    for first, last, turns in loops:
        done = ends[first + turns - 1 : last : turns]
        took = np.diff(done, prepend=ends[first - 1] if first else 0.0).tolist()
        steady += took[WARM_UP:]
        every += took
    return float(statistics.median(steady) if steady else statistics.fmean(every))


def latencies(predict: Callable[[Tensor], Tensor], x: Tensor) -> dict[str, float]:
    """Milliseconds of predicting one sample, host to host: median and 95th percentile of 200, after 20 others."""
    took = []
    for i in range(LATENCY_WARM_UP + LATENCIES):
        one = x[i % len(x) : i % len(x) + 1].clone()  # read from its file before the clock starts
        start = time.perf_counter()
        predict(one).detach().cpu()
        took.append(1e3 * (time.perf_counter() - start))
    kept = took[LATENCY_WARM_UP:]
    return {"infer_latency_ms": statistics.median(kept), "infer_latency_p95_ms": float(np.percentile(kept, 95))}


def timed(
    predict: Callable[[Tensor], Tensor], x: Tensor | None, fit: Callable[[], object], loops: list[tuple[int, int, int]]
) -> dict[str, float | None]:
    """What only a timing pass measures, after the clocks have stopped; no latency where there is no `x`."""
    single = latencies(predict, x) if x is not None else {}
    return {**single, "step_gflops": step_gflops(fit, loops)}


class Counted(BaseException):
    """Ends a fit that was begun only to count one of its steps; no method catches it by accident."""


def step_gflops(fit: Callable[[], object], loops: list[tuple[int, int, int]]) -> float | None:
    """10^9 floating-point operations of one step's matrix products, convolutions and attention.

    Args:
        fit: begins the fit once more; it is stopped when the step is done
        loops: of the fit that was timed; counted is the second step of the longest, since what builds the networks is
            no part of it; None where there is no second
    """
    first, last, turns = max(loops, key=lambda loop: (loop[1] - loop[0]) // loop[2], default=(0, 0, 1))
    if last - first < 2 * turns:
        return None
    counter, calls = FlopCounterMode(display=False), 0

    def stepped(*_: object) -> None:
        nonlocal calls
        calls += 1
        if calls == first + turns:
            counter.__enter__()  # type: ignore[no-untyped-call]
        elif calls == first + 2 * turns:
            raise Counted

    handle = register_optimizer_step_post_hook(stepped)
    try:
        fit()
    except Counted:
        return counter.get_total_flops() / 1e9
    finally:
        handle.remove()
        if calls >= first + turns:
            counter.__exit__(None, None, None)  # type: ignore[no-untyped-call]
    return None


def arithmetic(device: str) -> str:
    """What the flags of torch allow float32 products to be computed in: fp32 or tf32.

    TF32 needs an Ampere or later; torch allows it for convolutions unless told otherwise, so that a GPU's training is
    called tf32 even where its networks have none.
    """
    if not device.startswith("cuda") or torch.cuda.get_device_capability(device) < (8, 0):
        return "fp32"
    allowed = torch.backends.cudnn.allow_tf32 or torch.backends.cuda.matmul.allow_tf32
    return "tf32" if allowed else "fp32"


SHORTEST_S = 10.0  # of a window: the counters are updated every 20 to 100 ms
POWERCAP = Path("/sys/class/powercap")
Counter = Callable[[], list[tuple[float, float]]]  # joules now, and the joules after which it starts again, of each


@dataclass
class Energy:
    """A window over whatever counters there are for the device; started when it is made."""

    counter: Counter | None
    start: list[tuple[float, float]] = field(default_factory=list)
    since: float = field(default_factory=time.perf_counter)

    @classmethod
    def of(cls, device: str) -> Energy:
        counter: Counter | None = None
        with suppress(Exception):  # a library or a file that is not as it should be is no counter
            counter = nvml(device) if device.startswith("cuda") else rapl()
            return cls(counter, counter() if counter else [])
        return cls(None)

    def joules(self) -> float | None:
        """Since the start; None without a counter, and for less than 10 seconds."""
        if self.counter is None or time.perf_counter() - self.since < SHORTEST_S:
            return None
        try:
            now = self.counter()
        except Exception:
            return None
        return sum(b - a if b >= a else b - a + most for (a, most), (b, _) in zip(self.start, now, strict=True))


def rapl(root: Path = POWERCAP) -> Counter | None:
    """Of all processor packages; None where none can be read."""
    files = sorted(root.glob("*-rapl:[0-9]*/energy_uj"))
    files = [f for f in files if f.parent.name.count(":") == 1 and _readable(f)]  # a package's cores are in it already

    def read() -> list[tuple[float, float]]:
        return [(_microjoules(f), _microjoules(f.with_name("max_energy_range_uj"))) for f in files]

    return read if files else None


def _microjoules(file: Path) -> float:
    return int(file.read_text()) / 1e6


def _readable(file: Path) -> bool:
    try:
        file.read_text()
    except OSError:
        return False
    return True


def nvml(device: str) -> Counter | None:
    """Of one GPU, found by its UUID: the order of NVML is not that of CUDA."""
    import torch

    library = ctypes.CDLL("libnvidia-ml.so.1")
    handle = ctypes.c_void_p()
    uuid = f"GPU-{torch.cuda.get_device_properties(device).uuid}".encode()
    if library.nvmlInit_v2() or library.nvmlDeviceGetHandleByUUID(uuid, ctypes.byref(handle)):
        return None

    def read() -> list[tuple[float, float]]:
        total = ctypes.c_ulonglong()
        if library.nvmlDeviceGetTotalEnergyConsumption(handle, ctypes.byref(total)):
            raise OSError("the GPU has no counter of energy")
        return [(total.value / 1e3, 0.0)]

    return read
