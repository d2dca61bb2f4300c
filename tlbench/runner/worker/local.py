"""Jobs on this machine: a client of the worker server, several children at a time."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from tlbench import cache
from tlbench.files import plain
from tlbench.runner.sandbox import bubblewrap
from tlbench.runner.sandbox.sandbox import Limits, clean_environment, resolve
from tlbench.runner.worker.watchdog import remove
from tlbench.tasks.datasets.pretrained import weight_roots

OURS = ("extract", "device", "calibrate", "bf16")  # jobs that run no code of others, and are not locked up


class ServerDied(Exception):
    """The worker server is gone, and its children with it."""


@dataclass(frozen=True)
class Ended:
    """A job's end: its report, and its folder until `forget` is called."""

    id: int
    folder: Path
    report: dict[str, Any]
    jail: int | None = None  # the level it ran at
    lived_s: float | None = None  # from its birth to its end, by the server's clock
    cpu_s: float | None = None  # of processors, by the kernel's account
    more: bool = False  # whether it was asked for more than to fit and to predict


@dataclass
class Workers:
    """A context that owns one worker server, started with the first job. Jobs are submitted and their ends waited for.

    Args:
        modules: what the server imports beforehand; shipped code only
        cores: threads for a job that is alone; 0 takes all of this process's
        threads: of the linear algebra under numpy, scipy and scikit-learn, for one job of several
        jail: the level at which foreign code runs; None takes the highest of 0 and 1 that there is
        hidden: folders that are not there at level 2, beside those that are known
    """

    modules: Sequence[str] = ()
    cores: int = 0
    threads: int = 1
    jail: int | None = None
    hidden: Sequence[Path] = ()
    _server: subprocess.Popen[bytes] | None = None
    _ended: queue.Queue[dict[str, Any] | None] = field(default_factory=queue.Queue)
    _folders: dict[int, Path] = field(default_factory=dict)
    _asked: dict[int, tuple[int, bool]] = field(default_factory=dict)  # the level, and whether for more
    _next: int = 0
    _ready: bool = False
    _scratch: Path | None = None
    _outside: Workers | None = None  # for our own code, where foreign code is in namespaces of its own
    _unclaimed: deque[Ended] = field(default_factory=deque)  # ended while another job was waited for

    def __enter__(self) -> Workers:
        self.cores = self.cores or usable_cores()
        if self.jail is None:
            self.jail = resolve("auto")[0]
        self._scratch = Path(tempfile.mkdtemp(prefix="tlbench-"))
        return self

    def warm(self, wait: bool = False) -> None:
        """Start the server now, if it is not up; otherwise the first job does. `wait` until it takes jobs.

        Raises:
            ServerDied: it did not come up.
        """
        if self._server is None:
            self._start()
        if wait and not self._ready:
            message = self._ended.get()
            if message is None:
                raise ServerDied
            self._ready = True

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._stop()
        if self._outside is not None:
            self._outside.__exit__(None, None, None)
        if self._scratch is not None:
            remove(self._scratch)

    def _start(self) -> None:
        # Read once, when these libraries are loaded: limiting a loaded one takes longer than a short cell.
        blas = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(self.threads))
        environment = {**clean_environment(dict(os.environ)), **blas}
        command = [sys.executable, "-m", "tlbench.runner.worker.server"]
        if self.jail == 2 and self._scratch is not None:
            bubblewrap.check()
            environment["TMPDIR"] = str(self._scratch)  # the one place that it may write to
            command = bubblewrap.command(command, [*hidden(), *self.hidden], shown(), self._scratch)
        self._server = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, start_new_session=True
        )
        self._ended, self._ready = queue.Queue(), False
        self._send({"modules": list(self.modules), "jail": self.jail})
        assert self._server.stdout is not None
        threading.Thread(target=_listen, args=(self._server.stdout, self._ended), daemon=True).start()

    def _stop(self) -> None:
        if self._server is None:
            return
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        with suppress(BrokenPipeError):
            self._server.stdin.close()
        try:
            self._server.wait(timeout=2)
        except subprocess.TimeoutExpired:  # still importing: it holds nothing worth a wait
            self._server.kill()
            self._server.wait()
        self._server.stdout.close()
        self._server = None

    def restart(self) -> None:
        """A fresh server after the death of one; what it ran is forgotten."""
        self._stop()
        self._folders.clear()
        self._asked.clear()
        self._unclaimed.clear()
        self.warm()

    def _send(self, message: dict[str, Any]) -> None:
        assert self._server is not None
        assert self._server.stdin is not None
        try:
            self._server.stdin.write(json.dumps(message).encode() + b"\n")
            self._server.stdin.flush()
        except BrokenPipeError:
            raise ServerDied from None

    def folder(self) -> Path:
        """An empty folder for a job's files."""
        assert self._scratch is not None
        self._next += 1
        folder = self._scratch / str(self._next)
        folder.mkdir()
        return folder

    def submit(self, job: dict[str, Any], folder: Path, limits: Limits) -> int:
        """Start a job now. Returns its number."""
        self.warm()
        number = int(folder.name)
        (folder / "job.json").write_text(json.dumps({**job, "memory_mib": limits.memory_mib}))
        self._folders[number] = folder
        level = self._level(job)
        self._asked[number] = level, bool(job.get("timed") or job.get("kept"))
        self._send({"id": number, "folder": str(folder), "limits": asdict(limits), "jail": level})
        return number

    def _level(self, job: dict[str, Any]) -> int:
        return 0 if job["kind"] in OURS else int(self.jail or 0)

    def outside(self) -> Workers:
        """The workers for our own code, which needs the data: these, but at level 2, where there are none."""
        if self.jail != 2:
            return self
        if self._outside is None:
            self._outside = Workers(cores=self.cores, threads=self.threads, jail=1).__enter__()
        return self._outside

    def wait(self) -> Ended:
        """The next job to end.

        Raises:
            ServerDied: the server went first.
        """
        while (ended := self.poll(3600)) is None:
            pass
        return ended

    def poll(self, seconds: float, only: int | None = None) -> Ended | None:
        """The next job to end within `seconds`, else None; with `only`, that job: others are kept for later.

        Raises:
            ServerDied: the server went first.
        """
        if only is None and self._unclaimed:
            return self._unclaimed.popleft()
        try:
            message = self._ended.get(timeout=seconds)
        except queue.Empty:
            return None
        if message is None:
            raise ServerDied
        if "ready" in message:
            self._ready = True
            return self.poll(seconds, only)
        folder = self._folders.pop(message["id"])
        level, more = self._asked.pop(message["id"])
        report = _report(folder, message)
        ended = Ended(message["id"], folder, report, level, message["lived_s"], message["cpu_s"], more)
        if only in (None, ended.id):
            return ended
        self._unclaimed.append(ended)
        return None

    def ask(self, job: dict[str, Any], limits: Limits | None = None) -> dict[str, Any]:
        """One job's report, waited for while nothing else runs."""
        if job["kind"] in OURS and self.jail == 2:
            return self.outside().ask(job, limits)
        try:
            self.submit(job, self.folder(), limits or Limits())
            ended = self.wait()
        except ServerDied:
            self.restart()
            return {"status": "failed", "reason": "took the worker server down with it"}
        forget(ended)
        return ended.report


def hidden() -> list[Path]:
    """Where data and what is made of them may lie; shown again of that: weights, and the inputs of jobs."""
    roots = [Path(p) for p in os.environ.get("TLBENCH_DATA", "").split(os.pathsep) if p]
    return [*roots, weight_roots()[-1].parent, cache.folder()]


def shown() -> list[Path]:
    """What of the hidden folders a job may be given."""
    return [cache.folder("packs"), *weight_roots()]


def usable_cores() -> int:
    """Cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def forget(ended: Ended) -> None:
    """Remove a job's files."""
    remove(ended.folder)


def _report(folder: Path, message: dict[str, Any]) -> dict[str, Any]:
    """What the child wrote, or why it did not."""
    if message["fate"]:
        return {"status": "failed", "reason": message["fate"]}
    try:
        report = json.loads(plain(folder / "report.json", 1 << 20).read_text())
        assert isinstance(report, dict)
        return report
    except (OSError, ValueError, AssertionError, RecursionError):  # the last: nested without end
        tail = _tail(folder / "log.txt")
        return {"status": "failed", "reason": f"ended with code {message['code']} and without a report{tail}"}


def _tail(log: Path) -> str:
    try:
        with plain(log, 1 << 40).open("rb") as stream:
            stream.seek(max(0, log.stat().st_size - 2000))
            lines = stream.read().decode(errors="replace").split("\n")
    except OSError:
        return ""
    said = [line.strip() for line in lines if line.strip()]
    return f": {said[-1][:300]}" if said else ""


def _listen(stream: IO[bytes], ended: queue.Queue[dict[str, Any] | None]) -> None:
    try:
        for line in stream:
            ended.put(json.loads(line))
    except ValueError:
        pass  # the server died in the middle of a line, or its pipe was closed
    ended.put(None)
