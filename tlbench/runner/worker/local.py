"""Jobs on this machine: a client of the worker server, several children at a time."""

from __future__ import annotations

import json
import queue
import subprocess
import tempfile
import threading
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

from tlbench.runner.executors import Ended, Executor, Job, ServerDied, forget, usable_cores
from tlbench.runner.sandbox.sandbox import Limits, resolve
from tlbench.runner.worker.launch import launch
from tlbench.runner.worker.watchdog import remove

__all__ = ["Ended", "ServerDied", "Workers", "forget", "usable_cores"]


@dataclass
class Workers(Executor):
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
    slots: int | None = None
    _server: subprocess.Popen[bytes] | None = None
    _ended: queue.Queue[dict[str, Any] | None] = field(default_factory=queue.Queue)
    _running: dict[int, Job] = field(default_factory=dict)
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

    def close(self) -> None:
        self._stop()
        if self._outside is not None:
            self._outside.close()
        if self._scratch is not None:
            remove(self._scratch)

    def _start(self) -> None:
        assert self._scratch is not None
        command, environment = launch(
            "tlbench.runner.worker.server", (), self.threads, int(self.jail or 0), self._scratch, self.hidden
        )
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
        self._running.clear()
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
        made = Job.written(job, folder, limits, int(self.jail or 0))
        self._running[made.id] = made
        self._send({"id": made.id, "folder": str(folder), "limits": asdict(limits), "jail": made.jail})
        return made.id

    def outside(self) -> Workers:
        """The workers for our own code, which needs the data: these, but at level 2, where there are none."""
        if self.jail != 2:
            return self
        if self._outside is None:
            self._outside = Workers(cores=self.cores, threads=self.threads, jail=1).__enter__()
        return self._outside

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
        job = self._running.pop(message["id"])
        ended = Ended.of(job.folder, job, message)
        if only in (None, ended.id):
            return ended
        self._unclaimed.append(ended)
        return None


def _listen(stream: IO[bytes], ended: queue.Queue[dict[str, Any] | None]) -> None:
    try:
        for line in stream:
            ended.put(json.loads(line))
    except ValueError:
        pass  # the server died in the middle of a line, or its pipe was closed
    ended.put(None)
