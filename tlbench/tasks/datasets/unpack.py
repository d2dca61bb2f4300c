"""Files out of an archive that nobody here has looked into: nothing lands outside its folder.

Only regular files with safe names are taken, one by one, and each gets its name only when it is whole.
"""

from __future__ import annotations

import gzip
import lzma
import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

from tlbench.tasks.datasets.download import Refused
from tlbench.tasks.datasets.manifest import digest_of, is_safe, mismatch

BROKEN = (
    tarfile.TarError,
    zipfile.BadZipFile,
    gzip.BadGzipFile,
    lzma.LZMAError,
    zlib.error,
    EOFError,
    NotImplementedError,  # a zip packed in a way Python cannot read
    RuntimeError,  # a zip with a password
)
Name = Callable[[str], str | None]
"""A member's name in the archive -> its relative path in the folder, or None to leave it there."""


def unpack(archive: Path, folder: Path, name: Name, digests: dict[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Write the archive's members into `folder`: those in `digests`, or all when `digests` is empty.

    Returns:
        path -> SHA-256 of what was written, and path -> reason of what was refused for its bytes.

    Raises:
        Refused: no archive, or a broken one; without digests, what it gave is taken back.
        OSError: the disk is full, the folder not writable.
    """
    written: dict[str, str] = {}
    wrong: dict[str, str] = {}
    try:
        with closing(_members(archive)) as members:
            for member, opened in members:
                path = name(member)
                if path is None or (digests and path not in digests):
                    continue
                with opened() as stream:
                    found, why = _place(stream, folder / path, digests.get(path))
                if why:
                    wrong[path] = why
                else:
                    written[path] = found
    except BROKEN as error:
        for path in () if digests else written:
            (folder / path).unlink()
        raise Refused(f"not an intact archive ({error})") from None
    return written, wrong


def placer(archive: Path, inside: str, select: str, marks: Iterable[str]) -> Name:
    """How the archive's names become paths: `select` instead of `inside`, hidden files left out.

    An `inside` that begins with `*/` stands for one top folder of any name, or none: whichever
    has one of `marks` in it.
    """
    if inside.startswith("*/"):
        try:
            with closing(_members(archive)) as members:
                inside = _top([_plain(member) for member, _ in members], inside[2:], list(marks)) + inside[2:]
        except BROKEN as error:
            raise Refused(f"not an intact archive ({error})") from None

    def name(member: str) -> str | None:
        plain = _plain(member)
        path = select + plain.removeprefix(inside)
        hidden = any(step.startswith(".") for step in PurePosixPath(path).parts)
        return path if plain.startswith(inside) and is_safe(member) and is_safe(path) and not hidden else None

    return name


def _top(names: list[str], below: str, marks: list[str]) -> str:
    """The folder at the archive's top that holds everything, with its slash; "" when there is none."""
    tops = ["", *sorted({name.split("/")[0] + "/" for name in names if "/" in name})]
    if not marks:
        return tops[1] if len(tops) == 2 and all("/" in name for name in names) else ""
    for top in tops:
        if any(name.startswith(top + below + mark) for name in names for mark in marks):
            return top
    return ""


def _plain(member: str) -> str:
    while member.startswith("./"):
        member = member[2:]
    return member


def _members(archive: Path) -> Generator[tuple[str, Callable[[], IO[bytes]]], None, None]:
    """Name and opener of each regular file. Links and devices do not exist, as far as we are concerned."""
    if tarfile.is_tarfile(archive):
        with tarfile.open(archive) as box:
            for member in box:
                if member.isreg():
                    yield member.name, partial(_content, box, member)
    else:
        with zipfile.ZipFile(archive) as box_:
            for info in box_.infolist():
                if not info.is_dir() and not stat.S_ISLNK(info.external_attr >> 16):
                    yield info.filename, partial(box_.open, info)


def _content(box: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    stream = box.extractfile(member)
    assert stream is not None  # it is None for what is no regular file, and those were left out
    return stream


def _place(stream: IO[bytes], file: Path, digest: str | None) -> tuple[str, str]:
    """Write `file`, unless its bytes are not the ones expected. Returns their SHA-256, and what is wrong."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f"{file.name}.part")
    try:
        with part.open("wb") as sink:
            shutil.copyfileobj(stream, sink)
        found = digest_of(part)
        wrong = "" if digest in (None, found) else mismatch(part, digest)
        if not wrong:
            os.replace(part, file)
        return found, wrong
    finally:
        part.unlink(missing_ok=True)
