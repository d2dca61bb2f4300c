"""The process a method lives in: a warm server without labels, and the children it forks, one a cell.

`python -m tlbench.worker` imports torch once and then reads one JSON line a job, {"id", "folder"}; the folder holds
job.json. It forks; the child runs the job, writes report.json beside it and is gone. The server answers one JSON
line when a child ends. It holds no array, no label and no name of a class; a child holds what its own job lists:
the training arrays, the shots' labels, and, once `fit` has returned, the test inputs. The scorer stays with the
process that asked. What is not stopped here is a method that goes looking for files: that takes a jail.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import selectors
import signal
import sys
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tlbench.jail import Limits, confine, resident_mib

TICK_S = 0.05  # how often memory and time of running children are looked at
PR_SET_PDEATHSIG = 1


@dataclass
class Child:
    """A running job as the server sees it."""

    id: int
    limits: Limits
    deadline: float
    fate: str = ""  # why the server killed it


def serve() -> None:
    """The server's loop; ends, with its children, when its standard input does."""
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever else prints must not break the protocol
    with os.fdopen(os.dup(0), "rb", buffering=0) as first:  # unbuffered: the next line is for select
        preload(json.loads(first.readline()))
    print(json.dumps({"ready": os.getpid()}), file=out)
    children: dict[int, Child] = {}
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    os.set_blocking(wake_read, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    ready = selectors.DefaultSelector()
    polled = [ready.fileno()] if hasattr(ready, "fileno") else []  # of epoll: a child could change what it watches
    ready.register(0, selectors.EVENT_READ, "jobs")
    ready.register(wake_read, selectors.EVENT_READ, "deaths")
    pending = b""
    while True:
        for key, _ in ready.select(TICK_S if children else None):
            if key.data == "deaths":
                with suppress(BlockingIOError):
                    os.read(wake_read, 4096)
                continue
            data = os.read(0, 1 << 16)
            if not data:
                for pid in children:
                    _kill(pid)
                return
            *lines, pending = (pending + data).split(b"\n")
            for line in lines:
                _fork(json.loads(line), children, (out.fileno(), wake_read, wake_write, *polled))
        _watch(children)
        for ended in _reap(children):
            print(json.dumps(ended), file=out)


def preload(wanted: dict[str, Any]) -> None:
    """Import what every child would import again: torch, the numerics, the shipped baselines of the plan."""
    for name in (
        "torch",
        "numpy",
        "tlbench.nets",
        "tlbench.descent",
        "tlbench.embed",
        *wanted.get("modules", ()),
    ):
        with suppress(ImportError):  # the child that needs it will say so in its report
            importlib.import_module(name)
    torch = sys.modules["torch"]
    torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)  # the first optimiser imports half of torch


def _fork(job: dict[str, Any], children: dict[int, Child], ours: tuple[int, ...]) -> None:
    limits = Limits(**job["limits"])
    pid = os.fork()
    if pid:
        children[pid] = Child(job["id"], limits, time.monotonic() + limits.seconds)
        return
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        for fd in ours:
            os.close(fd)
        code = run_job(Path(job["folder"]), limits)
    except BaseException:
        with suppress(BaseException):
            traceback.print_exc()
    finally:
        with suppress(BaseException):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _watch(children: dict[int, Child]) -> None:
    now = time.monotonic()
    for pid, child in children.items():
        if not child.fate and now > child.deadline:
            child.fate = f"took longer than the limit of {child.limits.seconds:g} s"
        elif not child.fate and resident_mib(pid) > child.limits.memory_mib + 1024:
            child.fate = f"used more memory than the limit of {child.limits.memory_mib} MiB"
        else:
            continue
        _kill(pid)


def _kill(pid: int) -> None:
    for kill in (os.killpg, os.kill):  # its whole group; itself, if it has no group of its own yet
        with suppress(ProcessLookupError, PermissionError):
            kill(pid, signal.SIGKILL)


def _reap(children: dict[int, Child]) -> list[dict[str, Any]]:
    ended = []
    while children:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            break
        child = children.pop(pid, None)
        if child is None:
            continue
        _kill(pid)  # what it left behind in its group
        code = os.waitstatus_to_exitcode(status)
        fate = child.fate or (f"was killed by {signal.Signals(-code).name}" if code < 0 else "")
        ended.append({"id": child.id, "code": code, "fate": fate})
    return ended


def run_job(folder: Path, limits: Limits) -> int:
    """The child: bind it, run the job, write the report. Returns the exit code."""
    started = time.perf_counter()
    job = json.loads((folder / "job.json").read_text())
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    confine(limits, job.get("device", "cpu"))
    log = os.open(folder / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    null = os.open(os.devnull, os.O_RDONLY)
    for old, new in ((null, 0), (log, 1), (log, 2)):
        os.dup2(old, new)
    os.close(log)
    os.close(null)
    os.chdir(folder)
    jobs = importlib.import_module("tlbench.jobs")
    report = jobs.run({**job, "started": started}, folder)
    used = os.times()
    report["cpu_s"] = used.user + used.system + used.children_user + used.children_system
    if "done" in report:  # of a cell: what comes after its predictions, to the last
        report["rest_s"] += time.perf_counter() - report.pop("done")
    report["child_s"] = time.perf_counter() - started
    temporary = folder / "report.tmp"
    temporary.write_text(json.dumps(report))
    temporary.rename(folder / "report.json")
    return 0


if __name__ == "__main__":
    serve()
