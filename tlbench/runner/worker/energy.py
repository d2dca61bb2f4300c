"""Joules by the hardware's own counters: NVML's of a GPU, RAPL's of the processors. Nothing is estimated.

NVML: nvmlDeviceGetTotalEnergyConsumption, millijoules since the driver was loaded, Volta and later. RAPL: the Linux
powercap files, microjoules, which start again at 0 beyond their range; most systems let only root read them.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

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
