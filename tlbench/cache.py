"""What can be computed again: decoded images, features, parsed tables. Deleting it loses only time."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
from numpy.typing import NDArray

from tlbench.errors import UsageError


def folder(*parts: str) -> Path:
    """A folder under TLBENCH_CACHE, else under the user's cache folder; made if need be."""
    named = os.environ.get("TLBENCH_CACHE")
    root = Path(named) if named else Path(platformdirs.user_cache_path("tlbench"))
    found = root.joinpath(*parts)
    found.mkdir(parents=True, exist_ok=True)
    return found


def secret() -> str:
    """This cache's own: what is named by it says nothing to whoever sees the name alone. Made at its first use."""
    file = folder() / "secret"
    if not file.exists():
        own = file.with_name(f"secret.{os.getpid()}.tmp")
        own.write_text(os.urandom(16).hex(), encoding="ascii")
        with contextlib.suppress(FileExistsError):  # another process was faster: one secret for all
            os.link(own, file)
        own.unlink()
    return file.read_text(encoding="ascii")


def readable(file: Path) -> NDArray[Any] | None:
    """The array in `file`, memory-mapped; None where there is none, or a broken one, which is removed."""
    try:
        mapped: NDArray[Any] = np.load(file, mmap_mode="r", allow_pickle=False)
        return mapped
    except FileNotFoundError:
        return None
    except (ValueError, EOFError):
        file.unlink(missing_ok=True)
        return None


def array(file: Path, make: Callable[[], NDArray[Any]]) -> NDArray[Any]:
    """The array in `file`, memory-mapped; `make()` writes it first, whole or not at all, where it is missing."""
    if (found := readable(file)) is not None:
        return found
    temporary = file.with_name(f"{file.name}.{os.getpid()}.tmp")
    with temporary.open("wb") as stream:
        np.save(stream, make(), allow_pickle=False)
    temporary.replace(file)
    mapped: NDArray[Any] = np.load(file, mmap_mode="r", allow_pickle=False)
    return mapped


def reserved(file: Path, dtype: np.dtype[Any], shape: tuple[int, ...]) -> np.memmap[Any, Any]:
    """A new memory-mapped array whose room on the disk is taken at once: a page that does not fit later is a SIGBUS.

    Raises:
        UsageError: the disk is full.
    """
    out: np.memmap[Any, Any] = np.lib.format.open_memmap(file, mode="w+", dtype=dtype, shape=shape)
    try:
        if hasattr(os, "posix_fallocate") and (size := file.stat().st_size):
            with file.open("rb+") as stream:
                os.posix_fallocate(stream.fileno(), 0, size)
    except OSError as error:
        file.unlink(missing_ok=True)
        raise UsageError(
            f"{file.parent}: {error.strerror} ({out.nbytes / 2**20:,.0f} MiB are needed); make room, or put the cache "
            "elsewhere with TLBENCH_CACHE"
        ) from None
    return out
