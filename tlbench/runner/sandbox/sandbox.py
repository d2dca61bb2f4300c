"""What a method's process is forbidden, by levels; docs/security.md says what each one stops.

0: its own session, a clean environment, bounded memory, time, processes and files. 1: also no new privileges, files
only as `file_rules` says (Landlock), no network, no new process, no look at another (seccomp). 2: also in a namespace
of its own where the store and the data are not there at all (bubblewrap).
"""

from __future__ import annotations

import ctypes
import os
import resource
import shutil
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from struct import pack

from tlbench.errors import UsageError
from tlbench.runner.sandbox import landlock, seccomp
from tlbench.runner.sandbox.landlock import Rule

KEPT = 1 << 1 | 1 << 2  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH: of what is admitted, root reads what others own
PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 24, 38, 47, 4
CAPSET = {"x86_64": 126, "aarch64": 91}
HOMES = ("HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "MPLCONFIGDIR", "TORCH_HOME",
         "HF_HOME", "TRITON_CACHE_DIR", "NUMBA_CACHE_DIR")  # fmt: skip


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
    scratch_mib: int = 4096  # all that it may hold in its folder, files that have lost their name included
    scratch_files: int = 20_000
    threads: int = 1024  # of all its processes
    why: str = ""  # the seconds are what they are


def missing() -> str:
    """Why level 1 cannot be had here; empty where it can."""
    if sys.platform != "linux":
        return f"{sys.platform} has no Landlock"
    if not seccomp.known():
        return f"no table of {os.uname().machine}'s system calls"
    return "" if landlock.abi() else "this kernel has no Landlock, or keeps it switched off"


def resolve(wanted: str) -> tuple[int, str]:
    """'auto', '0', '1' or '2' -> the level, and a note where that is less than one would expect.

    Raises:
        UsageError: there is no such level, or it cannot be had here.
    """
    if wanted not in ("auto", "0", "1", "2"):
        raise UsageError(f"--sandbox {wanted}: choose auto, 0, 1 or 2")
    lacking = missing() if wanted != "0" else ""
    if wanted == "auto":
        note = f"{lacking}: methods run at jail level 0 and could read any file of yours; run only code you trust"
        return (0, note) if lacking else (1, "")
    if lacking:
        raise UsageError(f"--sandbox {wanted}: {lacking}; choose --sandbox 0, and run only code you trust")
    if wanted == "2" and not shutil.which("bwrap"):
        raise UsageError("--sandbox 2: bubblewrap (bwrap) is not installed; install it, or choose --sandbox 1")
    return int(wanted), ""


def clean_environment(environ: dict[str, str]) -> dict[str, str]:
    """What of the user's environment a worker is given: where libraries are, nothing of tlbench's."""
    kept = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "VIRTUAL_ENV", "PYTHONPATH")
    clean = {name: environ[name] for name in kept if name in environ}
    clean.update({n: v for n, v in environ.items() if n.startswith(("CUDA_", "NVIDIA_", "HF_HOME", "TORCH_HOME"))})
    # Training frees and asks for the same large blocks at every step: keep them instead of giving them back.
    keep = {"MALLOC_MMAP_THRESHOLD_": str(1 << 30), "MALLOC_TRIM_THRESHOLD_": str(1 << 30)}
    return {**clean, **keep, "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}


def confine(limits: Limits, device: str) -> None:
    """Bind the calling process: level 0. On CUDA memory is left to the watchdog: drivers reserve terabytes."""
    os.setsid()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    size = limits.file_mib << 20
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    if sys.platform == "linux" and device == "cpu":
        most = _data_bytes() + (limits.memory_mib << 20)
        with suppress(ValueError):  # a hard limit below ours stands
            resource.setrlimit(resource.RLIMIT_DATA, (most, most))


def lock(rules: Sequence[Rule], folder: Path, device: str) -> None:
    """What level 1 adds, for good: the process, and all threads that it will have, keep to the rules.

    Raises:
        OSError: the kernel refuses a part of it; nothing foreign may run then.
    """
    os.environ.update(dict.fromkeys(HOMES, str(folder)))
    tempfile.tempdir = None
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "no_new_privs is refused")
    _drop_capabilities(libc)
    landlock.apply(rules)
    seccomp.apply(device.startswith("cuda"))


def _drop_capabilities(libc: ctypes.CDLL) -> None:
    """All but the two that read files: root is then a user like others."""
    libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    for capability in range(64):
        if not 1 << capability & KEPT:
            libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
    with open("/proc/self/status") as status:
        held = int(next(line for line in status if line.startswith("CapPrm")).split()[1], 16) & KEPT
    header, data = pack("Ii", 0x20080522, 0), pack("6I", held, held, 0, 0, 0, 0)
    if libc.syscall(CAPSET[os.uname().machine], header, data):
        raise OSError(ctypes.get_errno(), "capabilities cannot be given up")


def _data_bytes() -> int:
    """Private writable memory that the kernel counts against RLIMIT_DATA."""
    with open("/proc/self/status") as status:
        line = next(s for s in status if s.startswith("VmData"))
    return int(line.split()[1]) << 10
