"""Clocks, throughput and memory of one cell."""

from __future__ import annotations

import resource
import sys
import time
from dataclasses import dataclass


@dataclass
class Meter:
    """What the training loop reports of itself while a method fits."""

    samples: int = 0  # of any domain, seen by optimiser steps
    steps: int = 0
    loop_s: float = 0.0

    def add(self, samples: int, steps: int, seconds: float) -> None:
        self.samples += samples
        self.steps += steps
        self.loop_s += seconds


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
