"""Jobs on this machine, one after the other, each in a new Python process that imports everything itself.

Slower than `local` by an import of torch a job. It tells whether an answer depends on the warm server: what it
imported, what a fork of it inherits. Each job is a command line of its own to look at, see `once`.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tlbench.runner.executors import Ended, Executor, Job, usable_cores
from tlbench.runner.sandbox.sandbox import Limits, resolve
from tlbench.runner.worker import watchdog
from tlbench.runner.worker.launch import launch

DIED = {"code": None, "fate": "took the process that watched it down with it"}


@dataclass
class Fresh(Executor):
    """A context that runs one job at a time. Its arguments are those of `local.Workers`; it does not use `modules`."""

    modules: Sequence[str] = ()
    cores: int = 0
    threads: int = 1
    jail: int | None = None
    hidden: Sequence[Path] = ()
    slots: int | None = 1
    _waiting: deque[Job] = field(default_factory=deque)
    _running: tuple[Job, subprocess.Popen[bytes]] | None = None
    _unclaimed: deque[Ended] = field(default_factory=deque)  # ended while another job was waited for
    _next: int = 0
    _scratch: Path = Path()

    def __enter__(self) -> Fresh:
        self.cores = self.cores or usable_cores()
        if self.jail is None:
            self.jail = resolve("auto")[0]
        self._scratch = Path(tempfile.mkdtemp(prefix="tlbench-"))
        return self

    def close(self) -> None:
        if self._running is not None:
            watchdog.kill(self._running[1].pid)
            self._running[1].wait()
            self._running = None
        watchdog.remove(self._scratch)

    def folder(self) -> Path:
        self._next += 1
        folder = self._scratch / str(self._next)
        folder.mkdir()
        return folder

    def submit(self, job: dict[str, Any], folder: Path, limits: Limits) -> int:
        made = Job.written(job, folder, limits, int(self.jail or 0))
        order = {"id": made.id, "folder": str(folder), "limits": asdict(limits), "jail": made.jail}
        folder.with_suffix(".json").write_text(json.dumps(order))
        self._waiting.append(made)
        self._start()
        return made.id

    def _start(self) -> None:
        """Start the next job, unless one runs."""
        if self._running is None and self._waiting:
            job = self._waiting.popleft()
            words = [str(job.folder.with_suffix(".json"))]
            command, environment = launch(
                "tlbench.runner.worker.once", words, self.threads, job.jail, self._scratch, self.hidden
            )
            null = subprocess.DEVNULL
            process = subprocess.Popen(command, stdin=null, stdout=null, env=environment, start_new_session=True)
            self._running = job, process

    def poll(self, seconds: float, only: int | None = None) -> Ended | None:
        if only is None and self._unclaimed:
            return self._unclaimed.popleft()
        if self._running is None:
            return None
        job, process = self._running
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None
        self._running = None
        self._start()
        seen = job.folder.with_suffix(".ended")
        ended = Ended.of(job.folder, job, json.loads(seen.read_text()) if seen.exists() else DIED)
        if only in (None, ended.id):
            return ended
        self._unclaimed.append(ended)
        return None
