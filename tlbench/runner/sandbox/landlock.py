"""Landlock: a process gives up, for good, all files but those it names. Linux 5.13 and later, without privileges.

What a kernel cannot do yet is left out: moving files between folders (ABI 2), cutting them off (3), TCP (4), devices'
controls (5), signals and abstract sockets to the world outside (6). Sources: landlock(7), linux/landlock.h.
"""

from __future__ import annotations

import ctypes
import os
import stat
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from struct import pack
from typing import Any

CREATE, ADD, RESTRICT = 444, 445, 446  # system calls: the same numbers on every architecture
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR, REMOVE_DIR, REMOVE_FILE = (1 << i for i in range(6))
MAKE_CHAR, MAKE_DIR, MAKE_REG, MAKE_SOCK, MAKE_FIFO, MAKE_BLOCK, MAKE_SYM = (1 << i for i in range(6, 13))
REFER, TRUNCATE, IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
HANDLED = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}  # rights, from an ABI on
OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV  # the others are of folders
READ = READ_FILE | READ_DIR
LIST = READ_DIR
DEVICE = READ_FILE | WRITE_FILE | READ_DIR | IOCTL_DEV
OWN = READ | WRITE_FILE | TRUNCATE | REMOVE_DIR | REMOVE_FILE | MAKE_DIR | MAKE_REG | REFER  # no links, pipes, devices
TCP = 0b11  # bind and connect
SCOPES = 0b11  # abstract sockets and signals
Rule = tuple[Path, int]  # what lies at or below a path, and what may be done with it


def abi() -> int:
    """The version of Landlock that this kernel has; 0 where there is none, or it is switched off."""
    if sys.platform != "linux":
        return 0
    return max(0, _create(b"", 0, 1))


@cache
def _syscall(number: int, *kinds: Any) -> Callable[..., int]:
    """A system call by its number; some hundred rules a job are worth looking it up once."""
    call = ctypes.CFUNCTYPE(ctypes.c_long, ctypes.c_long, *kinds, use_errno=True)(("syscall", ctypes.CDLL(None)))
    return partial(call, number)


def _create(attribute: bytes, size: int, flags: int) -> int:
    return _syscall(CREATE, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint32)(attribute or None, size, flags)


def handled(version: int) -> int:
    """The rights that an ABI rules on."""
    return HANDLED[max(v for v in HANDLED if v <= version)]


def apply(rules: Iterable[Rule]) -> None:
    """Bind the calling thread, and those it will start, to the rules. Paths that are not there are left out.

    Raises:
        OSError: the kernel does not take them.
    """
    version = abi()
    if not version:
        raise OSError("Landlock: this kernel has none")
    rights = handled(version)
    words = [rights, *([TCP] if version >= 4 else []), *([SCOPES] if version >= 6 else [])]
    attribute = pack(f"{len(words)}Q", *words)
    ruleset = _checked(_create(attribute, len(attribute), 0))
    try:
        for path, allowed in rules:
            with suppress(FileNotFoundError, NotADirectoryError, PermissionError):
                _admit(ruleset, path, allowed & rights)
        _checked(_syscall(RESTRICT, ctypes.c_int, ctypes.c_uint32)(ruleset, 0))
    finally:
        os.close(ruleset)


def _admit(ruleset: int, path: Path, allowed: int) -> None:
    fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        if not stat.S_ISDIR(os.fstat(fd).st_mode):
            allowed &= OF_FILES
        if allowed:
            add = _syscall(ADD, ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint32)
            _checked(add(ruleset, 1, pack("=Qi", allowed, fd), 0))
    finally:
        os.close(fd)


def _checked(result: int) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), f"Landlock: {os.strerror(ctypes.get_errno())}")
    return result
