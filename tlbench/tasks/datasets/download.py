"""Bytes over HTTP into a file: resumed after a cut, checked, and only then given their name."""

from __future__ import annotations

import http.client
import os
import re
import time
from collections.abc import Callable
from email.message import Message
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from tlbench.tasks.datasets.manifest import mismatch

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
