"""The machine that cells are timed on: what it is, how fast it is now, and who else uses it."""

from __future__ import annotations

import math
import os
import shutil
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tlbench.errors import UsageError
from tlbench.runner.executors import Executor, usable_cores
from tlbench.runner.sandbox.sandbox import Limits

TICK = os.sysconf("SC_CLK_TCK")
CPU_SMALL = 8  # cores, at most, of what is called a small machine
MOST_BUSY = 0.25  # cores that others may keep busy beside a cell
PROC = Path("/proc")
RUNNERS = {b"tlbench.runner.worker.server", b"tlbench.runner.worker.once"}  # modules of the processes that run jobs
TRIAD = 1 << 24  # numbers in an array of the triad


def calibrated(workers: Executor, device: str, threads: int, whole: bool = True) -> dict[str, float]:
    """Seconds of each probe, measured in a worker's child as a cell is.

    Raises:
        UsageError: a probe could not be run.
    """
    job = {"kind": "calibrate", "device": device, "threads": threads, "whole": whole}
    report = workers.ask(job, Limits(seconds=600))
    if report["status"] != "ok":
        raise UsageError(f"this machine cannot be measured: {report['reason']}")
    return {name: float(seconds) for name, seconds in report["probes"].items()}


def score(probes: dict[str, float]) -> float:
    """Milliseconds: the geometric mean of the probes that every calibration has; smaller is faster."""
    every = [s for name, s in probes.items() if not name.endswith(("4096", "8192"))]
    return 1e3 * math.exp(sum(map(math.log, every)) / len(every))


def rates(probes: dict[str, float]) -> dict[str, tuple[float, str]]:
    """What the seconds of each probe mean: a figure and its unit."""
    found = {}
    for name, seconds in probes.items():
        kind, last = name.partition("_")[0], name.rpartition("_")[2]
        if kind == "gemm":
            found[name] = 2 * int(last) ** 3 / seconds / 1e9, "GFLOP/s"
        elif kind == "triad":
            found[name] = 3 * 4 * TRIAD / seconds / 1e9, "GB/s"
        elif last.isdigit():
            found[name] = 1e6 * seconds / int(last), "µs a launch" if kind == "launch" else "µs a step"
        else:
            found[name] = 1e3 * seconds, "ms"
    return found


def machine_class(device: str, gpu: str | None, cores: int) -> str:
    """Within which times are compared: a GPU's model, cpu-small (at most 8 cores) or cpu-server."""
    if device.startswith("cuda"):
        return gpu or "gpu"
    return "cpu-small" if cores <= CPU_SMALL else "cpu-server"


def about(workers: Executor, device: str) -> dict[str, Any]:
    """The columns that say what a session computes with; those of a GPU are null without one."""
    report = workers.ask({"kind": "device"})
    on_gpu = device.startswith("cuda")
    gpu = report["cuda"][int(device.partition(":")[2] or 0)] if on_gpu else None
    return {"gpu": gpu, "cuda": report.get("runtime") if on_gpu else None, "driver": driver() if on_gpu else None,
            "cores": usable_cores(), "machine_class": machine_class(device, gpu, usable_cores())}  # fmt: skip


def driver() -> str | None:
    """Version of NVIDIA's driver."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None
    done = subprocess.run([tool, "--query-gpu=driver_version", "--format=csv,noheader"], capture_output=True, text=True)
    return done.stdout.strip().split("\n")[0] or None


@dataclass(frozen=True)
class Look:
    """Seconds that this process's cores were busy since the machine started; None where the system does not tell."""

    busy: float | None
    own: float  # of them this process's

    @classmethod
    def now(cls) -> Look:
        used = os.times()
        return cls(busy_seconds(), used.user + used.system)


def busy_seconds(stat: Path = PROC / "stat") -> float | None:
    """By anyone on the cores this process may use; what a hypervisor took of them counts too."""
    try:
        mine = {f"cpu{i}" for i in os.sched_getaffinity(0)}
        lines = [line.split() for line in stat.read_text().splitlines()]
        counted = [list(map(int, words[1:9])) for words in lines if words and words[0] in mine]
    except (OSError, ValueError, AttributeError):
        return None
    return sum(sum(times) - times[3] - times[4] for times in counted) / TICK if counted else None


def others(before: Look, after: Look, cell_s: float, wall_s: float, threads: int) -> float:
    """Cores that others kept busy between two looks, a cell of `cell_s` CPU seconds left out.

    Where the system does not tell, the load average of the last minute less the cell's own threads.
    """
    if before.busy is None or after.busy is None:
        return max(0.0, os.getloadavg()[0] - threads)
    theirs = after.busy - before.busy - (after.own - before.own) - cell_s
    return max(0.0, theirs - 4 / TICK) / wall_s  # the counters' own grain


def other_runs(proc: Path = PROC) -> int:
    """Processes that run jobs of tlbench on this machine and are not this process's own."""
    found = 0
    for folder in proc.glob("[0-9]*"):
        with suppress(OSError, ValueError, IndexError):
            words = (folder / "cmdline").read_bytes().split(b"\0")
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            forked = RUNNERS & {*(proc / str(parent) / "cmdline").read_bytes().split(b"\0")}
            found += bool(RUNNERS & {*words}) and not forked and parent != os.getpid()
    return found
