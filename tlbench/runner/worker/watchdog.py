"""What a running job takes, seen from outside: its processes, their memory and threads, its folder on the disk."""

from __future__ import annotations

import os
import signal
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain, repeat
from pathlib import Path

from tlbench.runner.sandbox.sandbox import Limits

LONGEST = 2048  # letters of a folder's path


@dataclass
class Child:
    """A running job as the server sees it."""

    id: int
    pid: int
    folder: Path
    limits: Limits
    born: float = field(default_factory=time.monotonic)
    fate: str = ""  # why the server killed it
    _look: float = 0.0  # at its folder: not before then

    def judged(self) -> str:
        """Why it must end; empty while it keeps to its limits."""
        now, limits = time.monotonic(), self.limits
        if now - self.born > limits.seconds:
            return f"took longer than the limit of {limits.seconds:g} s{limits.why and ', ' + limits.why}"
        family = [self.pid, *descendants(self.pid)]
        taken = [of_process(pid) for pid in family]
        if sum(threads for _, threads in taken) > limits.threads:
            return f"had more processes and threads than the limit of {limits.threads}"
        memory = taken[0][0] if len(family) == 1 else sum(map(part_of_memory, family))
        if memory > limits.memory_mib + 1024:
            return f"used more memory than the limit of {limits.memory_mib} MiB"
        if now < self._look:
            return ""
        used, files = scratch(self.folder, self.pid, limits.scratch_files)
        self._look = now + 20 * (time.monotonic() - now)  # a large folder takes a while: not all of the server's time
        if used > limits.scratch_mib << 20 or files > limits.scratch_files:
            return f"filled its folder beyond the limit of {limits.scratch_mib} MiB or {limits.scratch_files} files"
        return ""


def of_process(pid: int) -> tuple[float, int]:
    """Memory of a process's own in MiB, shared memory that it made included, and its threads; 0 when it is gone.

    Pages of mapped files do not count: the system takes them back when it needs them.
    """
    try:
        with open(f"/proc/{pid}/status") as status:
            said = dict(line.split(":", 1) for line in status)
        memory = sum(int(said.get(name, "0").split()[0]) for name in ("RssAnon", "RssShmem"))
        return memory / 2**10, int(said["Threads"])
    except (OSError, IndexError, ValueError, KeyError):
        return 0.0, 0


def part_of_memory(pid: int) -> float:
    """As the first of `of_process`, but pages that processes share are shared out among them."""
    try:
        with open(f"/proc/{pid}/smaps_rollup") as rollup:
            said = [line.split() for line in rollup]
        return sum(int(words[1]) for words in said if words[0] in ("Pss_Anon:", "Pss_Shmem:")) / 2**10
    except (OSError, IndexError, ValueError):
        return 0.0


def descendants(pid: int) -> Iterator[int]:
    """Processes under a process, near and far, where the system tells (Linux)."""
    for child in _children(pid):
        yield child
        yield from descendants(child)


def _children(pid: int) -> list[int]:
    found: list[int] = []
    with suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            with suppress(OSError), open(f"/proc/{pid}/task/{task}/children") as listed:
                found += map(int, listed.read().split())
    return found


def scratch(folder: Path, pid: int, most: int) -> tuple[int, int]:
    """Bytes and files in a folder, and those that the process holds open without a name; a count ends beyond `most`."""
    used = files = 0
    for found in chain(_held(pid), _walk(folder, most)):
        used, files = used + found.st_blocks * 512, files + 1
        if files > most:
            break
    return used, files


def _walk(folder: Path, most: int) -> Iterator[os.stat_result]:
    """All that is in a folder; the folder itself over and over, more than `most` times, where paths are too long."""
    todo = [str(folder)]
    while todo:
        place = todo.pop()
        if len(place) > LONGEST:  # what lies much deeper could not be seen
            yield from repeat(os.stat(folder), most + 1)
        with suppress(OSError), os.scandir(place) as entries:
            for entry in entries:
                yield entry.stat(follow_symlinks=False)
                if entry.is_dir(follow_symlinks=False):
                    todo.append(entry.path)


def remove(folder: Path) -> None:
    """Remove a folder as a job may leave it: deeper than paths are long and than Python calls itself."""
    todo, moved = [folder], 0
    while todo:
        place = todo.pop()
        with suppress(OSError), os.scandir(place) as entries:
            for entry in [*entries]:
                with suppress(OSError):
                    if not entry.is_dir(follow_symlinks=False):
                        os.unlink(entry.path)
                        continue
                    os.chmod(entry.path, 0o700)
                    moved += 1
                    todo.append(folder.with_name(f"{folder.name}~{moved}"))
                    os.rename(entry.path, todo[-1])
            os.rmdir(place)


def _held(pid: int) -> list[os.stat_result]:
    found: list[os.stat_result] = []
    with suppress(OSError):
        for name in os.listdir(f"/proc/{pid}/fd"):
            with suppress(OSError):
                status = os.stat(f"/proc/{pid}/fd/{name}")
                if stat.S_ISREG(status.st_mode) and status.st_nlink == 0:
                    found.append(status)
    return found


def kill(pid: int) -> None:
    """A job's process, its group, and all under it, whatever groups they have made themselves."""
    for under in [*descendants(pid)]:
        _kill(under)
    for end in (os.killpg, os.kill):  # its whole group; itself, if it has no group of its own yet
        with suppress(ProcessLookupError, PermissionError):
            end(pid, signal.SIGKILL)


def kill_strays(children: set[int]) -> None:
    """Processes that a job left behind: the server is whom they fall to, and none of its jobs."""
    for _ in range(100):  # one that forks as it dies leaves another
        strays = [pid for pid in _children(os.getpid()) if pid not in children]
        if not strays:
            return
        for pid in strays:
            kill(pid)
            with suppress(ChildProcessError):
                os.waitpid(pid, 0)


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)
