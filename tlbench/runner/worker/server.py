"""The process a method lives in: a warm server without labels, and the children it forks, one a cell.

`python -m tlbench.runner.worker.server` imports torch once and then reads one JSON line a job, {"id", "folder"}; the
folder holds job.json. It forks; the child runs the job, writes report.json beside it and is gone. The server answers
one JSON line when a child ends. It holds no array, no label and no name of a class; a child holds what its own job
lists: the training arrays, the shots' labels, and, once `fit` has returned, the test inputs. The scorer stays with the
process that asked. A child that runs foreign code is sandboxed first (see `sandbox`); where that fails, nothing runs.
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
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

from tlbench.runner.sandbox import sandbox
from tlbench.runner.sandbox.sandbox import Limits
from tlbench.runner.worker.watchdog import Child, kill, kill_strays

TICK_S = 0.05  # how often running children are looked at
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36


def serve() -> None:
    """The server's loop; ends, with its children, when its standard input does."""
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever else prints must not break the protocol
    with os.fdopen(os.dup(0), "rb", buffering=0) as first:  # unbuffered: the next line is for select
        preload(json.loads(first.readline()))
    adopt_strays()
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
                    kill(pid)
                kill_strays(set())
                return
            *lines, pending = (pending + data).split(b"\n")
            for line in lines:
                fork(json.loads(line), children, (out.fileno(), wake_read, wake_write, *polled))
        watch(children)
        for ended in reap(children):
            print(json.dumps(ended), file=out)


def preload(wanted: dict[str, Any]) -> None:
    """Import what every child would import again: torch, the numerics, the shipped baselines of the plan."""
    sys.dont_write_bytecode = False  # of shipped code: compiled once and not at every start, which takes seconds
    for name in (
        "torch",
        "numpy",
        "tlbench.training.networks",
        "tlbench.training.trainer",
        "tlbench.training.features",
        "tlbench.runner.worker.child",
        *wanted.get("modules", ()),
    ):
        with suppress(ImportError):  # the child that needs it will say so in its report
            importlib.import_module(name)
    if wanted.get("jail"):
        from tlbench.runner.sandbox import file_rules

        file_rules.libraries()  # looked for once
    torch = sys.modules["torch"]
    torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)  # the first optimiser imports half of torch
    sys.dont_write_bytecode = True
    # The threads that a fork leaves behind are those of linear algebra, which start anew in the child.
    warnings.filterwarnings("ignore", message=".*multi-threaded, use of fork", category=DeprecationWarning)


def adopt_strays() -> None:
    """Make processes that a job leaves behind children of this process, which ends them."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def fork(job: dict[str, Any], children: dict[int, Child], ours: tuple[int, ...]) -> None:
    """Start a job in a child, which closes the file descriptors that are `ours`."""
    limits, folder = Limits(**job["limits"]), Path(job["folder"])
    pid = os.fork()
    if pid:
        children[pid] = Child(job["id"], pid, folder, limits)
        return
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        for fd in ours:
            os.close(fd)
        code = run_job(folder, limits, int(job["jail"]))
    except BaseException:
        with suppress(BaseException):
            traceback.print_exc()
    finally:
        with suppress(BaseException):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def watch(children: dict[int, Child]) -> None:
    """End the children that broke a limit."""
    for child in children.values():
        if not child.fate and (fate := child.judged()):
            child.fate = fate
            kill(child.pid)


def reap(children: dict[int, Child]) -> list[dict[str, Any]]:
    """What was seen of the children that ended since the last call: code, fate, lived_s, cpu_s."""
    ended = []
    while children:
        pid, status, used = os.wait4(-1, os.WNOHANG)
        if pid == 0:
            break
        child = children.pop(pid, None)
        if child is None:
            continue
        lived = time.monotonic() - child.born
        kill(pid)  # what it left behind in its group
        kill_strays(set(children))
        code = os.waitstatus_to_exitcode(status)
        fate = child.fate or (f"was killed by {signal.Signals(-code).name}" if code < 0 else "")
        seen = {"lived_s": lived, "cpu_s": used.ru_utime + used.ru_stime}
        ended.append({"id": child.id, "code": code, "fate": fate, **seen})
    return ended


def run_job(folder: Path, limits: Limits, level: int) -> int:
    """The child: bind it, lock it up, run the job, write the report. Returns the exit code."""
    started = time.perf_counter()
    job = json.loads((folder / "job.json").read_text())
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    sandbox.confine(limits, job.get("device", "cpu"))
    log = os.open(folder / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    null = os.open(os.devnull, os.O_RDONLY)
    for old, new in ((null, 0), (log, 1), (log, 2)):
        os.dup2(old, new)
    os.close(log)
    os.close(null)
    os.chdir(folder)
    if level and (why := lock(job, folder)):
        _write(folder, {"status": "failed", "reason": why})
        return 1
    jobs = importlib.import_module("tlbench.runner.worker.child")
    report = jobs.run({**job, "started": started}, folder)
    used = os.times()
    report["cpu_s"] = used.user + used.system + used.children_user + used.children_system
    if "done" in report:  # of a cell: what comes after its predictions, to the last
        report["rest_s"] += time.perf_counter() - report.pop("done")
    report["child_s"] = time.perf_counter() - started
    _write(folder, report)
    return 0


def lock(job: dict[str, Any], folder: Path) -> str:
    """Lock the process up. Returns why that cannot be done: the job must not run then."""
    try:
        from tlbench.runner.sandbox import file_rules

        device, inputs = job.get("device", "cpu"), file_rules.inputs_of(job)
        sandbox.lock(file_rules.rules(folder, inputs, job.get("method"), device), folder, device)
    except Exception as error:
        return f"it could not be locked up, so it was not run: {error}"
    return ""


def _write(folder: Path, report: dict[str, Any]) -> None:
    temporary = folder / "report.tmp"
    temporary.write_text(json.dumps(report))
    temporary.rename(folder / "report.json")


if __name__ == "__main__":
    serve()
