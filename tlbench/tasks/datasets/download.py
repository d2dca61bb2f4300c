"""Bytes over HTTP into a file: resumed after a cut, checked, and only then given their name.

A repository on a Hugging Face hub goes through huggingface_hub, cached tokens and all. Of an archive, which nobody here
has looked into, only regular files with safe names are taken, one by one: nothing lands outside its folder, and each
gets its name only when it is whole.
"""

from __future__ import annotations

import gzip
import http.client
import lzma
import os
import re
import shutil
import stat
import tarfile
import time
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from email.message import Message
from fnmatch import fnmatch
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from tlbench.tasks.datasets.digests import digest_of, is_safe, mismatch

if TYPE_CHECKING:
    from tlbench.tasks.datasets.mirrors import Mirror

TIMEOUT = 20.0  # seconds without a byte
STALLS = 5  # connections in a row that bring nothing new, before an address is given up
CONNECTIONS = 100  # for one file in all: a server that cuts after every byte must not hold us for ever
BACKOFF = 0.2  # seconds before the first new connection; doubled at every stall
CHUNK = 1 << 16
BUSY = (429, 503)  # the server asks us to come back, so we do

Tick = Callable[[int], None]
"""Told of every number of bytes that arrives; negative when bytes turn out to be worthless."""


class Refused(Exception):
    """An address did not deliver. The text is short: it stands in a list with other mirrors'."""

    def __init__(self, reason: str, dead: bool = False) -> None:
        super().__init__(reason)
        self.dead = dead  # nobody answers there, so asking for other files is in vain


class _Cut(Exception):
    """The connection ended early; another one may bring the rest."""


def download(url: str, file: Path, digest: str | None, tick: Tick) -> None:
    """Put what `url` serves into `file`. `digest` is `"sha256:…"`, say; None where none is known.

    An unfinished `<file>.part` is resumed, and left behind when the connection cannot be had again.

    Raises:
        Refused: nothing came, or the wrong bytes; wrong bytes are deleted.
        OSError: the disk is full, the folder not writable.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f"{file.name}.part")
    found_there = _size(part)
    tick(found_there)
    try:
        _fill(url, part, tick)
        wrong = mismatch(part, digest)
        if wrong and found_there:  # perhaps only what lay there was wrong: once more from the first byte
            _discard(part, tick)
            _fill(url, part, tick)
            wrong = mismatch(part, digest)
    except Refused:
        tick(-_size(part))  # it stays, to be resumed, but this address has not delivered it
        raise
    if wrong:
        _discard(part, tick)
        raise Refused(wrong)
    os.replace(part, file)


def _fill(url: str, part: Path, tick: Tick) -> None:
    """Connect until `part` is whole."""
    stalls = 0
    for _ in range(CONNECTIONS):
        before = _size(part)
        try:
            return _receive(url, part, before, tick)
        except _Cut as cut:
            stalls = 0 if _size(part) > before else stalls + 1
            reason = str(cut)
        if stalls == STALLS:
            break
        time.sleep(BACKOFF * 2**stalls)
    raise Refused(f"{reason}, again and again")


def _receive(url: str, part: Path, have: int, tick: Tick) -> None:
    """One connection: everything after the first `have` bytes, or _Cut."""
    response = _open(url, part, have, tick)
    if response is None:
        return
    with response:
        page = response.headers.get_content_type() == "text/html"
        if page and not part.name.endswith((".html.part", ".htm.part")):
            raise Refused("answered with a web page instead of the file")
        resumed = response.status == 206
        total = _total(response.headers, have if resumed else None)
        if total == -1:
            _discard(part, tick)
            raise _Cut("sent another range than asked for")
        if have and not resumed:  # the server knows no ranges: the file comes whole, from its first byte
            tick(-have)
        with part.open("ab" if resumed else "wb") as sink:
            while chunk := _read(response):
                sink.write(chunk)
                tick(len(chunk))
    if total is not None and _size(part) < total:
        raise _Cut(f"cut off after {_size(part):,} of {total:,} bytes")


def _open(url: str, part: Path, have: int, tick: Tick) -> Any:
    """The server's answer, or None when it says that `part` already holds every byte."""
    headers = {"User-Agent": "tlbench", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    try:
        return urlopen(Request(url, headers=headers), timeout=TIMEOUT)
    except HTTPError as error:
        with error:
            if error.code == 416 and have:
                if error.headers.get("Content-Range", f"bytes */{have}") == f"bytes */{have}":
                    return None
                _discard(part, tick)
                raise _Cut("has a shorter file than the part already here") from None
            if error.code in BUSY:
                raise _Cut(f"HTTP {error.code} {error.reason}") from None
            raise Refused(f"HTTP {error.code} {error.reason}") from None
    except ConnectionError as error:  # it had let us in, then hung up without an answer
        raise _Cut(_said(error)) from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise Refused(_said(error), dead=True) from None


def _total(headers: Message, resumed_at: int | None) -> int | None:
    """How long the whole file is; None when the server does not say, -1 for a range not asked for."""
    if resumed_at is None:
        length = headers.get("Content-Length", "")
        return int(length) if length.isdigit() else None
    found = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", headers.get("Content-Range", ""))
    if not found or int(found[1]) != resumed_at:
        return -1
    return int(found[2]) + 1 if found[3] == "*" else int(found[3])


def _read(response: Any) -> bytes:
    """The next bytes. The network's errors end here, so that an OSError elsewhere is the disk's."""
    try:
        return bytes(response.read(CHUNK))
    except (OSError, http.client.HTTPException) as error:
        raise _Cut(_said(error)) from None


def _said(error: Exception) -> str:
    """A network error in a few words."""
    cause = error.reason if isinstance(error, URLError) else error
    if isinstance(cause, TimeoutError):
        return f"no answer for {TIMEOUT:g} s"
    return str(getattr(cause, "strerror", None) or cause or type(cause).__name__).lower()


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def _discard(part: Path, tick: Tick) -> None:
    size = _size(part)
    part.unlink(missing_ok=True)
    tick(-size)


def snapshot(mirror: Mirror, wanted: dict[str, str], stage: Path, jobs: int) -> dict[str, str]:
    """Bring the files that match the mirror's patterns into `stage`; what lies there half done is resumed.

    The hub asked is that of HF_ENDPOINT where it is set, else the one in the mirror's address.

    Args:
        wanted: path in the repository -> digest, where we know better than the hub.

    Returns:
        path in the repository -> what is wrong with it, empty for a file that lies in `stage` as wanted.

    Raises:
        Refused: the hub does not answer, has no such revision or files, is switched off by HF_HUB_OFFLINE, or
            sends other bytes than it publishes for the revision.
        OSError: the disk is full, the folder not writable.
    """
    from huggingface_hub import HfApi, snapshot_download  # a second of imports, for few pulls
    from tqdm import tqdm  # type: ignore[import-untyped]

    class Silent(tqdm):  # type: ignore[misc]
        """No bars beside that of the pull."""

        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **{k: v for k, v in options.items() if k != "name"} | {"disable": True})

    home, _, name = mirror.url.partition("/datasets/")
    endpoint = os.environ.get("HF_ENDPOINT") or home
    at: dict[str, Any] = {"repo_type": "dataset", "revision": mirror.revision}
    to: dict[str, Any] = {"local_dir": stage, "max_workers": jobs, "tqdm_class": Silent, "endpoint": endpoint}
    try:
        # Asked for by us too: where snapshot_download cannot reach the hub, it returns what happens to lie there.
        published = _published(HfApi(endpoint).list_repo_tree(name, recursive=True, **at), mirror.patterns)
        if published:
            snapshot_download(name, allow_patterns=mirror.patterns or None, **at, **to)
    except Exception as error:  # which library's errors these are changes with huggingface_hub's version
        if isinstance(error, OSError) and error.errno and not isinstance(error, ConnectionError | TimeoutError):
            raise
        raise Refused(_hub_said(error), dead=True) from None
    lost = [path for path in published if not (stage / path).is_file()]
    if lost or not published:
        raise Refused(f"did not deliver {lost[0]}" if lost else "has no such files")
    wrong = {path: mismatch(stage / path, wanted.get(path, digest)) for path, digest in published.items()}
    for path in filter(wrong.get, wrong):
        (stage / path).unlink()  # huggingface_hub would take it for finished
        if path not in wanted:
            raise Refused(f"{path}: {wrong[path]}")
    return wrong


def _published(tree: Iterable[Any], patterns: list[str]) -> dict[str, str]:
    """Path -> digest of the files in a listing: the hub knows large ones by SHA-256, small ones as git does."""
    files = [entry for entry in tree if hasattr(entry, "blob_id") and is_safe(entry.path)]
    kept = [file for file in files if not patterns or any(fnmatch(file.path, pattern) for pattern in patterns)]
    return {file.path: f"sha256:{file.lfs.sha256}" if file.lfs else f"git:{file.blob_id}" for file in kept}


def _hub_said(error: Exception) -> str:
    """A hub's error in a few words: its first line, without the addresses."""
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0].partition(" for url")[0].partition(" (Request ID")[0][:120]


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
