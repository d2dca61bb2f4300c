"""Clocks, throughput and memory of one cell."""

from __future__ import annotations

import resource
import sys
import time
from dataclasses import dataclass, field


@dataclass
class Meter:
    """What the training loops report of themselves while a method fits."""

    samples: int = 0  # of any domain, seen by optimiser steps
    steps: int = 0
    loop_s: float = 0.0
    calls: int = 0  # of optimisers' `step`; several players make several of them a step of the loop
    loops: list[tuple[int, int]] = field(default_factory=list)  # of each loop: its steps, and `calls` when it ended

    def add(self, samples: int, steps: int, seconds: float) -> None:
        """What a loop says when it has ended."""
        self.samples += samples
        self.steps += steps
        self.loop_s += seconds
        self.loops.append((steps, self.calls))


METER = Meter()  # one cell a process: the worker reads it after `fit`


def synchronized(device: str) -> float:
    """Seconds on a monotonic clock, once the device has done what it was asked."""
    if device.startswith("cuda"):
        import torch

        torch.cuda.synchronize(device)
    return time.perf_counter()


def peak_rss_mib() -> float:
    """Peak resident memory of this process, MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10  # bytes there, KiB here
