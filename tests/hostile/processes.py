"""Methods that try to reach other processes and other machines."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import torch


class Did(Exception):
    """Raised when an attack succeeds; its message becomes the row's reason."""


@dataclass(frozen=True)
class Connects:
    """opens a socket to another machine"""

    place: str = ""  # a port

    def fit(self, train, seed):
        socket.create_connection(("127.0.0.1", int(self.place)), timeout=5).close()
        raise Did("connected")


@dataclass(frozen=True)
class Signals:
    """signals its parent"""

    def fit(self, train, seed):
        os.kill(os.getppid(), 0)
        raise Did("may signal it")


@dataclass(frozen=True)
class Traces:
    """traces its parent"""

    def fit(self, train, seed):
        libc, seize = ctypes.CDLL(None, use_errno=True), 0x4206
        if libc.ptrace(seize, os.getppid(), None, None):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        raise Did("traced it")


@dataclass(frozen=True)
class ReadsEnvironment:
    """reads its parent's environment"""

    def fit(self, train, seed):
        raise Did(f"read {len(Path(f'/proc/{os.getppid()}/environ').read_bytes())} bytes")


@dataclass(frozen=True)
class ReadsMemory:
    """reads its parent's memory"""

    def fit(self, train, seed):
        maps = Path(f"/proc/{os.getppid()}/maps").read_text()
        start = int(next(line for line in maps.splitlines() if " rw-p" in line).split("-")[0], 16)
        with Path(f"/proc/{os.getppid()}/mem").open("rb", buffering=0) as memory:
            memory.seek(start)
            raise Did(f"read {len(memory.read(64))} bytes")


@dataclass(frozen=True)
class RunsProgram:
    """starts a program"""

    def fit(self, train, seed):
        subprocess.run(["true"], check=True)
        raise Did("ran it")


@dataclass(frozen=True)
class ForksForever:
    """forks forever"""

    def fit(self, train, seed):
        for _ in range(500):  # enough to be caught, and the machine survives a test that fails
            if not os.fork():
                time.sleep(60)
        raise Did("has 500 children")


@dataclass(frozen=True)
class ForksAway:
    """leaves behind a process outside its group"""

    place: str = ""

    def fit(self, train, seed):
        child = os.fork()
        if not child:
            os.setsid()
            time.sleep(1000)
        Path(self.place, "away").write_text(str(child))
        time.sleep(0.2)
        return lambda x: torch.zeros(len(x), train.n_classes)


@dataclass(frozen=True)
class Hangs:
    """hangs and ignores requests to stop"""

    def fit(self, train, seed):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(1000)
