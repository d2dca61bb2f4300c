"""What can be computed again: decoded images, features, parsed tables. Deleting it loses only time."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
from numpy.typing import NDArray


def folder(*parts: str) -> Path:
    """A folder under TLBENCH_CACHE, else under the user's cache folder; made if need be."""
    named = os.environ.get("TLBENCH_CACHE")
    root = Path(named) if named else Path(platformdirs.user_cache_path("tlbench"))
    found = root.joinpath(*parts)
    found.mkdir(parents=True, exist_ok=True)
    return found


def array(file: Path, make: Callable[[], NDArray[Any]]) -> NDArray[Any]:
    """The array in `file`, memory-mapped; `make()` writes it first, whole or not at all, where it is missing."""
    if not file.exists():
        temporary = file.with_name(f"{file.name}.{os.getpid()}.tmp")
        with temporary.open("wb") as stream:
            np.save(stream, make(), allow_pickle=False)
        temporary.replace(file)
    mapped: NDArray[Any] = np.load(file, mmap_mode="r", allow_pickle=False)
    return mapped
