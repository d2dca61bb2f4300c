"""Which bytes files must have: digests, lists of them, and how files differ from them.

A list has lines `<hex>  <relative path>` as sha256sum writes them. A digest is written `"<kind>:<hex>"`; its kind is
told by the length: SHA-256 wherever somebody has published or computed one, else MD5, else the name that git gives the
file's bytes, which a pinned commit fixes without anybody having downloaded them.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

from tlbench.errors import UsageError

SUMS = "SHA256SUMS"  # beside the data: the digests of what the folder is meant to hold
INSIDE = "gunzip-"  # before a kind: the digest is of what a .gz file holds, however it was packed
_KINDS = {32: "md5", 40: "git", 64: "sha256"}  # hexadecimal digits -> kind


def read_sums(file: Path) -> dict[str, str]:
    """Relative path -> digest.

    Raises:
        UsageError: unreadable, or a line that is no digest and safe relative path; with file and line.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file}: cannot be read ({error}); it must list '<sha256>  <relative path>'") from None
    sums: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        found = re.fullmatch(r"([0-9a-f]{32}|[0-9a-f]{40}|[0-9a-f]{64}) [ *](.+)", line)
        if not found or not is_safe(found[2]):
            raise UsageError(f"{file}:{number}: {line[:80]!r} should be '<sha256>  <relative path>'")
        sums[found[2]] = f"{_KINDS[len(found[1])]}:{found[1]}"
    return sums


def write_sums(file: Path, sums: dict[str, str]) -> None:
    """Write path -> digest in sha256sum's format, whole or not at all."""
    draft = file.with_name(f"{file.name}.part")
    lines = [f"{digest.partition(':')[2]}  {path}\n" for path, digest in sorted(sums.items())]
    draft.write_text("".join(lines), encoding="utf-8")
    os.replace(draft, file)


def is_safe(path: str) -> bool:
    """Whether `path` stays below the folder it is put in."""
    pure = PurePosixPath(path)
    return bool(pure.parts) and not pure.is_absolute() and ".." not in pure.parts and not {*"\\\0"} & {*path}


def digest_of(file: Path, kind: str = "sha256") -> str:
    """The digest of a file's bytes, or of what it holds: `"gunzip-sha256:…"`."""
    packed = kind.startswith(INSIDE)
    with gzip.open(file) if packed else file.open("rb") as stream:
        if kind == "git":  # SHA-1 of a header and the bytes
            header = hashlib.sha1(b"blob %d\0" % file.stat().st_size, usedforsecurity=False)
            found = hashlib.file_digest(stream, lambda: header)
        else:
            found = hashlib.file_digest(stream, kind.removeprefix(INSIDE))
    return f"{kind}:{found.hexdigest()}"


def mismatch(file: Path, digest: str | None) -> str:
    """What is wrong with a file's bytes, both digests shortened; empty when they are as they should be.

    Raises:
        OSError: the file cannot be read.
    """
    if digest is None:
        return ""
    kind, _, expected = digest.partition(":")
    try:
        found = digest_of(file, kind).partition(":")[2]
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        return f"not an intact gzip file ({error})"
    return "" if found == expected else f"wrong bytes ({kind} {found[:16]}…, expected {expected[:16]}…)"


def troubles(sums: dict[str, str], folder: Path) -> dict[str, str]:
    """path -> what is wrong with it, for all of `sums` (path -> digest) that `folder` has not or otherwise.

    Raises:
        OSError: a file that is there but cannot be read.
    """

    def trouble(path: str) -> str:
        file = folder / path
        return mismatch(file, sums[path]) if file.is_file() else "missing"

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:  # hashing lets go of the interpreter
        found = zip(sums, pool.map(trouble, sums), strict=True)
        return {path: wrong for path, wrong in found if wrong}
