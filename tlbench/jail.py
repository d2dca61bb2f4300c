"""What a method's process is forbidden. So far: its own session, no core files, bounded memory, time and files."""

from __future__ import annotations

import os
import resource
import sys
from contextlib import suppress
from dataclasses import dataclass


def memory_share(jobs: int) -> int:
    """MiB a cell may take when `jobs` run at a time: four fifths of the machine's memory, shared out."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for file in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with suppress(OSError, ValueError), open(file) as limit:  # a container's own, where it has one ('max' is none)
            total = min(total, int(limit.read()))
    return int(0.8 * total / jobs) >> 20


@dataclass(frozen=True)
class Limits:
    """Of one cell."""

    seconds: float = 3600.0
    memory_mib: int = 8192  # beyond what the warm process already holds
    file_mib: int = 1024  # the largest file it may write


def clean_environment(environ: dict[str, str]) -> dict[str, str]:
    """What of the user's environment a worker is given: where libraries are, nothing of tlbench's."""
    kept = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "VIRTUAL_ENV", "PYTHONPATH")
    clean = {name: environ[name] for name in kept if name in environ}
    clean.update({n: v for n, v in environ.items() if n.startswith(("CUDA_", "NVIDIA_", "HF_HOME", "TORCH_HOME"))})
    # Training frees and asks for the same large blocks at every step: keep them instead of giving them back.
    keep = {"MALLOC_MMAP_THRESHOLD_": str(1 << 30), "MALLOC_TRIM_THRESHOLD_": str(1 << 30)}
    return {**clean, **keep, "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}


def confine(limits: Limits, device: str) -> None:
    """Bind the calling process. On CUDA the memory limit is left to the watchdog: drivers reserve terabytes."""
    os.setsid()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    size = limits.file_mib << 20
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    if sys.platform == "linux" and device == "cpu":
        most = _data_bytes() + (limits.memory_mib << 20)
        with suppress(ValueError):  # a hard limit below ours stands
            resource.setrlimit(resource.RLIMIT_DATA, (most, most))


def _data_bytes() -> int:
    """Private writable memory that the kernel counts against RLIMIT_DATA."""
    with open("/proc/self/status") as status:
        line = next(s for s in status if s.startswith("VmData"))
    return int(line.split()[1]) << 10


def resident_mib(pid: int) -> float:
    """Memory of a process's own, MiB; 0 when it is gone or the system does not tell.

    Pages of mapped files do not count: the system takes them back when it needs them.
    """
    try:
        with open(f"/proc/{pid}/statm") as statm:
            resident, shared = map(int, statm.read().split()[1:3])
            return (resident - shared) * os.sysconf("SC_PAGE_SIZE") / 2**20
    except (OSError, IndexError, ValueError):
        return 0.0
