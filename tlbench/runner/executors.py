"""A place where jobs run, as the rest of the code sees it; `places` lists the places that there are.

A job is a dictionary (`worker.child` names the kinds) and a folder with the files that go with it. A place runs the job
in a process of its own under limits and hands the folder back with the report; the process that asked keeps the test
labels and scores. Jobs read shared arrays from the cache by their paths, so that a place on other machines needs the
cache and its own folders on a disk that both sides see. Such a place may gather jobs in `submit` and send them as one
array with the next `poll`; `slots` says how many it takes at a time.
"""

from __future__ import annotations

import json
import os
from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from tlbench.files import plain
from tlbench.runner.sandbox.sandbox import Limits
from tlbench.runner.worker.watchdog import remove

OURS = ("extract", "device", "calibrate", "bf16")  # jobs that run no code of others, and are not locked up


class ServerDied(Exception):
    """What ran the jobs is gone, and the jobs with it; `restart` makes the place ready again."""


@dataclass(frozen=True)
class Ended:
    """A job's end: its report, and its folder until `forget` is called."""

    id: int
    folder: Path
    report: dict[str, Any]
    jail: int | None = None  # the level it ran at
    lived_s: float | None = None  # from its birth to its end, measured from outside
    cpu_s: float | None = None  # of processors, by the kernel's account
    more: bool = False  # whether it was asked for more than to fit and to predict

    @classmethod
    def of(cls, folder: Path, job: Job, seen: dict[str, Any]) -> Ended:
        """Args:
        seen: what a watcher saw of the job's process: code, fate, lived_s, cpu_s; see `server`
        """
        return cls(job.id, folder, _report(folder, seen), job.jail, seen.get("lived_s"), seen.get("cpu_s"), job.more)


@dataclass(frozen=True)
class Job:
    """A job that was submitted: its number, the level that it is locked up at, whether it was asked for more."""

    id: int
    folder: Path
    jail: int
    more: bool

    @classmethod
    def written(cls, job: dict[str, Any], folder: Path, limits: Limits, jail: int) -> Job:
        """Write job.json into the folder, whose name is the job's number."""
        (folder / "job.json").write_text(json.dumps({**job, "memory_mib": limits.memory_mib}))
        level = 0 if job["kind"] in OURS else jail
        return cls(int(folder.name), folder, level, bool(job.get("timed") or job.get("kept")))


class Executor(Protocol):
    """A context in which jobs are submitted and their ends waited for.

    A place must have the three attributes and write `folder`, `submit`, `poll` and `close`; the rest may stay as it is.
    """

    cores: int  # of one job that is alone
    jail: int | None  # the level at which foreign code runs
    slots: int | None  # jobs at a time; None: as many as are submitted

    @abstractmethod
    def folder(self) -> Path:
        """Make an empty folder for a job's files; its name is the job's number."""

    @abstractmethod
    def submit(self, job: dict[str, Any], folder: Path, limits: Limits) -> int:
        """Start a job, now or with the next poll. Returns its number.

        Raises:
            ServerDied: the place is gone.
        """

    @abstractmethod
    def poll(self, seconds: float, only: int | None = None) -> Ended | None:
        """The next job to end within `seconds`, else None; with `only`, that job: others are kept for later.

        Raises:
            ServerDied: the place went first.
        """

    @abstractmethod
    def close(self) -> None:
        """End what still runs and remove the jobs' folders."""

    def warm(self, wait: bool = False) -> None:
        """Start what takes a while to start; `wait` until it takes jobs, so that no job's time counts it."""

    def restart(self) -> None:
        """Make the place ready again after ServerDied; what it ran is forgotten."""

    def outside(self) -> Executor:
        """The place for our own code, which needs the data: this one, unless its processes cannot reach them."""
        return self

    def wait(self) -> Ended:
        """The next job to end.

        Raises:
            ServerDied: the place went first.
        """
        while (ended := self.poll(3600)) is None:
            pass
        return ended

    def ask(self, job: dict[str, Any], limits: Limits | None = None) -> dict[str, Any]:
        """One job's report, waited for while nothing else runs."""
        if job["kind"] in OURS and self.outside() is not self:
            return self.outside().ask(job, limits)
        try:
            self.submit(job, self.folder(), limits or Limits())
            ended = self.wait()
        except ServerDied:
            self.restart()
            return {"status": "failed", "reason": "took the worker server down with it"}
        forget(ended)
        return ended.report

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def usable_cores() -> int:
    """Cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def forget(ended: Ended) -> None:
    """Remove a job's files."""
    remove(ended.folder)


def _report(folder: Path, seen: dict[str, Any]) -> dict[str, Any]:
    """What the child wrote, or why it did not."""
    if seen["fate"]:
        return {"status": "failed", "reason": seen["fate"]}
    try:
        report = json.loads(plain(folder / "report.json", 1 << 20).read_text())
        assert isinstance(report, dict)
        return report
    except (OSError, ValueError, AssertionError, RecursionError):  # the last: nested without end
        tail = _tail(folder / "log.txt")
        return {"status": "failed", "reason": f"ended with code {seen['code']} and without a report{tail}"}


def _tail(log: Path) -> str:
    try:
        with plain(log, 1 << 40).open("rb") as stream:
            stream.seek(max(0, log.stat().st_size - 2000))
            lines = stream.read().decode(errors="replace").split("\n")
    except OSError:
        return ""
    said = [line.strip() for line in lines if line.strip()]
    return f": {said[-1][:300]}" if said else ""
