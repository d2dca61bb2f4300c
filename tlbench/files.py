"""Where tlbench's own files lie, and what is a file like any other."""

from __future__ import annotations

import stat
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
CHECKOUT = PACKAGE.parent  # where tlbench runs from a clone; the folder of installed packages where it does not


def plain(file: Path, most: int) -> Path:
    """`file`, if it is a regular file of at most `most` bytes: a child may have left anything there.

    Raises:
        OSError: it is none.
    """
    found = file.lstat()
    if not stat.S_ISREG(found.st_mode) or found.st_size > most:
        raise OSError(f"{file.name} is no regular file of at most {most} bytes")
    return file
