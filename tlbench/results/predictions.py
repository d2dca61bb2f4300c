"""What a method answered on the test samples of a cell: all that its row's value can be computed from again.

`<store>/predictions/<key>.npy` holds what `scoring.predicted` makes: a byte a test sample where classes are told, the
numbers or boxes themselves elsewhere. No label is in it. `selection/search.py` keeps more of a search's trials; this is
what a submission carries.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
KINDS = ("uint8", "uint16", "float32", "float64")
MOST = 1 << 28  # bytes of one cell's
HEADER = 4096  # bytes that the head of an .npy file may take


def folder(store: Path) -> Path:
    """Of a store's predictions."""
    return store / "predictions"


def file(where: Path, key: str) -> Path:
    return where / f"{key}.npy"


def keep(to: Path, answers: Array) -> None:
    """Write them whole or not at all."""
    to.parent.mkdir(parents=True, exist_ok=True)
    temporary = to.with_name(f"{to.stem}.{os.getpid()}.tmp")
    with temporary.open("wb") as stream:
        np.save(stream, np.ascontiguousarray(answers), allow_pickle=False)
    temporary.replace(to)


def read(of: Path) -> Array | None:
    """What was kept of a cell; None where there is nothing readable."""
    try:
        with of.open("rb") as stream:
            return parsed(stream)
    except (OSError, ValueError):
        return None


def parsed(stream: IO[bytes], most: int = MOST) -> Array:
    """An .npy file that may come from anywhere: its header is believed only as far as the bytes behind it go.

    Raises:
        ValueError: it is none, of another type, of more than `most` bytes, or not in C order; says which.
    """
    data = stream.read(most + HEADER + 1)
    if len(data) > most + HEADER:
        raise ValueError(f"an array of more than {most} bytes")
    held = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(held)
        if version != (1, 0):
            raise ValueError(f"an .npy file of version {version}")
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(held, max_header_size=HEADER)
    except Exception as error:  # its header is parsed as Python; whatever that raises, it is no header
        raise ValueError(f"no .npy file ({_line(error)})") from None
    return _array(data[held.tell() :], shape, fortran, dtype)


def _array(body: bytes, shape: Sequence[int], fortran: bool, dtype: np.dtype[Any]) -> Array:
    if dtype.hasobject or dtype.name not in KINDS or not dtype.isnative or dtype.shape:
        raise ValueError(f"an array of {str(dtype)[:60]}; {', '.join(KINDS)} are taken")
    if fortran and len(shape) > 1:
        raise ValueError("an array in Fortran's order")
    if len(shape) > 3 or any(n < 0 for n in shape) or math.prod(shape) * dtype.itemsize != len(body):
        raise ValueError(f"an array said to have shape {str(shape)[:60]}, with {len(body)} bytes")
    found: Array = np.frombuffer(body, dtype).reshape(shape)
    return found


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:120]
