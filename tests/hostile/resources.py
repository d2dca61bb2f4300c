"""Methods that exhaust a resource."""

from __future__ import annotations

import mmap
import os
from dataclasses import dataclass
from pathlib import Path

import torch


class Did(Exception):
    """Raised when an attack succeeds; its message becomes the row's reason."""


@dataclass(frozen=True)
class FillsDisk:
    """fills the disk"""

    def fit(self, train, seed):
        for i in range(400):
            Path(f"file{i}").write_bytes(bytes(1 << 20))
        os.read(os.pipe()[0], 1)


@dataclass(frozen=True)
class FillsUnseen:
    """fills the disk with unlinked files"""

    def fit(self, train, seed):
        held = []
        for i in range(400):
            held.append(open(f"file{i}", "wb"))  # noqa: SIM115
            held[-1].write(bytes(1 << 20))
            os.unlink(f"file{i}")
        os.read(os.pipe()[0], 1)


@dataclass(frozen=True)
class Allocates:
    """allocates memory without end"""

    def fit(self, train, seed):
        held = []
        while True:
            held.append(torch.ones(10 << 18))


@dataclass(frozen=True)
class Prints:
    """prints gigabytes"""

    def fit(self, train, seed):
        while True:
            print("LOUD " * 200_000)


@dataclass(frozen=True)
class LetsGo:
    """holds shared memory whose pages it has released, which page counts miss"""

    def fit(self, train, seed):
        held = mmap.mmap(-1, 1 << 20)
        held.write(bytes(1 << 20))
        held.madvise(mmap.MADV_DONTNEED)
        raise Did("held it")


@dataclass(frozen=True)
class Nests:
    """fills folders nested too deeply for any path to name"""

    def fit(self, train, seed):
        for _ in range(2500):
            os.mkdir("d")
            os.chdir("d")
        os.read(os.pipe()[0], 1)
