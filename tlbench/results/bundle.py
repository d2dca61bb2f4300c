"""A submission as a folder for a pull request: what it holds, and how one is read that anybody may have made.

    bundle.json        what was run and by what: `About`, with the SHA-256 of every other file
    rows.jsonl         the method's rows, as in a store; its references' are the board's own
    predictions.npz    `<key>.npy` of every ok row, as `predictions` keeps them
    source/            the files that the method's digest covers; never imported but in a worker
    verification.json  what `tlbench verify --record` found; a maintainer's, not a part of the submission

Nothing of it is believed: names, sizes and types are checked before anything is read, nothing is unpickled. Its rows
count once a maintainer's record accepts them.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import struct
import subprocess
import zipfile
import zlib
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tlbench.files import CHECKOUT, plain
from tlbench.results import predictions
from tlbench.results.editions import NAME as EDITION_NAME
from tlbench.results.editions import OPEN
from tlbench.results.predictions import Array
from tlbench.results.row import Row, read_row

ABOUT, ROWS, ANSWERS, SOURCE, RECORD = "bundle.json", "rows.jsonl", "predictions.npz", "source", "verification.json"
MOST = {ABOUT: 4 << 20, ROWS: 64 << 20, ANSWERS: 64 << 20, RECORD: 1 << 20}  # bytes
MOST_SOURCE, MOST_SOURCES = 1 << 20, 50  # bytes a file; files
MOST_ROWS = 20_000
MOST_LISTED = 4 << 20  # bytes of the list of members at the end of predictions.npz
MOST_OPENED = 1 << 30  # bytes of all predictions, decompressed
NAME = r"[a-z0-9][a-z0-9_.-]{0,63}"  # of a bundle, and so of its folder
EDITION = f"{EDITION_NAME}|^{OPEN}$"
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Text = Annotated[str, Field(max_length=2000)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Model = TypeVar("Model", bound=BaseModel)
_MODEL = ConfigDict(extra="forbid", frozen=True, strict=True)


class Submitted(BaseModel):
    """The method of a bundle: `file` in source/ and the class in it."""

    model_config = _MODEL
    name: str = Field(pattern=r"^[A-Za-z0-9_.:/-]{1,120}$")
    spec: Text
    family: str = Field(pattern=r"^[A-Za-z0-9_ +-]{1,60}$")
    summary: Text
    file: str = Field(pattern=r"^\w{1,80}\.py$")
    cls: str = Field(pattern=r"^[A-Za-z_][\w.]{0,120}$")
    digest: Digest
    distribution: Text | None
    version: Text | None


class About(BaseModel):
    """bundle.json."""

    model_config = _MODEL
    format: Literal[1]
    name: str = Field(pattern=f"^{NAME}$")
    method: Submitted
    edition: str = Field(default=OPEN, pattern=EDITION)  # that it is submitted to
    asked: list[Text] = Field(min_length=1, max_length=200)  # suites, tasks and grids
    partial: bool
    files: dict[str, Digest] = Field(max_length=MOST_SOURCES + 2)
    environment: dict[str, Text] = Field(max_length=50)
    commit: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")] | None
    dirty: bool | None
    commands: list[Text] = Field(min_length=1, max_length=20)
    calibration: dict[str, Finite] = Field(max_length=20)  # seconds of each probe of the machine
    supersedes: dict[Digest, Text] = Field(max_length=MOST_ROWS)  # key of a row that no longer counts -> why


class Record(BaseModel):
    """verification.json: a verdict, bound to the digest of the bundle.json that it is about."""

    model_config = _MODEL
    format: Literal[1]
    bundle: Digest
    verdict: str = Field(pattern=r"^(accept|question|reject)$")
    checks: list[tuple[Text, Text, Text]] = Field(max_length=100)  # name, verdict, what was said
    seed: int
    jail: int
    tlbench: Text
    commit: Text | None
    time: Text


@dataclass(frozen=True)
class Bundle:
    """A folder that is well-formed. What it says may still be wrong: `tlbench verify` asks."""

    folder: Path
    about: About
    rows: tuple[Row, ...]
    digest: str  # SHA-256 of bundle.json, and so of all that it lists
    record: Record | None = None
    sources: tuple[str, ...] = field(default=())

    @cached_property
    def keys(self) -> frozenset[str]:
        """Whose predictions are there."""
        return frozenset(m.filename.removesuffix(".npy") for m in members(self.folder / ANSWERS))

    def answers(self, key: str) -> Array:
        """The predictions of a row.

        Raises:
            ValueError: there are none, or no array of them.
        """
        try:
            with zipfile.ZipFile(self.folder / ANSWERS) as held, held.open(f"{key}.npy") as stream:
                return predictions.parsed(stream)
        except KeyError:
            raise ValueError("no predictions of it") from None
        except (OSError, zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, RuntimeError) as error:
            raise ValueError(f"{ANSWERS} cannot be read ({_line(error)})") from None

    @property
    def accepted(self) -> bool:
        """Whether a maintainer's record accepts this very bundle."""
        return self.record is not None and self.record.bundle == self.digest and self.record.verdict == "accept"


def read(folder: Path) -> Bundle:
    """A bundle, its files bounded, listed and parsed; digests are compared by `differing`.

    Raises:
        ValueError: it is none; says where and what.
    """
    sources = _listed(folder)
    raw = _bytes(folder / ABOUT, MOST[ABOUT])
    about = _model(About, ABOUT, raw)
    record = _model(Record, RECORD, _bytes(folder / RECORD, MOST[RECORD])) if os.path.lexists(folder / RECORD) else None
    owed = {ROWS, ANSWERS, *(f"{SOURCE}/{name}" for name in sources)}
    if set(about.files) != owed:
        raise ValueError(f"{ABOUT}: 'files' does not list what is there ({min(set(about.files) ^ owed)!r})")
    if about.method.file not in sources:
        raise ValueError(f"{SOURCE}/ lacks the method's file {about.method.file!r}")
    members(folder / ANSWERS)
    return Bundle(folder, about, _rows(folder / ROWS), hashlib.sha256(raw).hexdigest(), record, sources)


def _listed(folder: Path) -> tuple[str, ...]:
    """Names of the files in source/; refuses what else there is."""
    try:
        for place in (folder, folder / SOURCE):
            if not stat.S_ISDIR(place.lstat().st_mode):
                raise ValueError(f"{place.name} is no folder (links are not followed)")
        strange = {p.name for p in folder.iterdir()} - {*MOST, SOURCE}
        names = sorted(p.name for p in (folder / SOURCE).iterdir())
    except OSError as error:
        raise ValueError(f"no bundle: {error.filename}: {error.strerror}") from None
    if strange:
        raise ValueError(f"{min(strange)!r} belongs to no bundle")
    if len(names) > MOST_SOURCES:
        raise ValueError(f"{SOURCE}/ has {len(names)} files; at most {MOST_SOURCES} are taken")
    for name in names:
        if not re.fullmatch(r"\w{1,80}\.py", name):
            raise ValueError(f"{SOURCE}/{name!r} is no name of a method's file")
        _plain(folder / SOURCE / name, MOST_SOURCE)
    for name in (ABOUT, ROWS, ANSWERS):
        _plain(folder / name, MOST[name])
    return tuple(names)


def _plain(file: Path, most: int) -> Path:
    try:
        return plain(file, most)
    except OSError as error:
        raise ValueError(f"{file.name}: {error.strerror}" if error.strerror else str(error)) from None


def _bytes(file: Path, most: int) -> bytes:
    with _plain(file, most).open("rb") as stream:
        return stream.read(most)


def _model(of: type[Model], name: str, raw: bytes) -> Model:
    try:
        return of.model_validate_json(json.dumps(parsed(raw)), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise ValueError(f"{name}: {where[:80]!r}: {first['msg'][:120]}") from None
    except ValueError as error:
        raise ValueError(f"{name}: {_line(error)}") from None


def parsed(raw: bytes) -> Any:
    """JSON without a key twice, without NaN and infinity, without half characters.

    Raises:
        ValueError: it is none.
    """
    try:
        found = json.loads(raw, object_pairs_hook=_once, parse_constant=_refuse)
        json.dumps(found, ensure_ascii=False, allow_nan=False).encode()
    except RecursionError:
        raise ValueError("nested too deep") from None
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice in an object")
    return found


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _rows(file: Path) -> tuple[Row, ...]:
    lines = _bytes(file, MOST[ROWS]).splitlines()
    if not 0 < len(lines) <= MOST_ROWS:
        raise ValueError(f"{ROWS}: {len(lines)} rows; 1 to {MOST_ROWS} are taken")
    found: dict[str, Row] = {}
    for number, line in enumerate(lines, 1):
        try:
            row = read_row(parsed(line))
            if not re.fullmatch(r"[0-9a-f]{64}", row.key):
                raise ValueError(f"column 'key' is {row.key[:80]!r}, not a SHA-256")
            if row.key in found:
                raise ValueError("the same key as an earlier line")
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise ValueError(f"{ROWS}:{number}: {_line(error)}") from None
        found[row.key] = row
    return tuple(found.values())


def members(file: Path) -> list[zipfile.ZipInfo]:
    """The arrays in predictions.npz, by what its list says; nothing is decompressed.

    Raises:
        ValueError: another kind of file, or names or sizes that no predictions have.
    """
    _check_list(file)
    try:
        with zipfile.ZipFile(_plain(file, MOST[ANSWERS])) as held:
            found = held.infolist()
    except (OSError, zipfile.BadZipFile, NotImplementedError, struct.error, UnicodeDecodeError) as error:
        raise ValueError(f"{ANSWERS} is no .npz file ({_line(error)})") from None
    for m in found:
        if not re.fullmatch(r"[0-9a-f]{64}\.npy", m.filename):
            raise ValueError(f"{ANSWERS}: {m.filename[:80]!r} is no key of a row")
        if m.flag_bits & 1 or m.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError(f"{ANSWERS}: {m.filename} is packed in a way that is not taken")
    if len({m.filename for m in found}) != len(found):
        raise ValueError(f"{ANSWERS}: a name stands twice")
    if (size := sum(m.file_size for m in found)) > MOST_OPENED:
        raise ValueError(f"{ANSWERS} would open to {size} bytes; at most {MOST_OPENED} are taken")
    return found


def _check_list(file: Path) -> None:
    """Refuse a list of members too long to read: it is parsed whole, before any of it can be looked at."""
    with _plain(file, MOST[ANSWERS]).open("rb") as stream:
        stream.seek(max(0, file.stat().st_size - (1 << 16) - 22))
        tail = stream.read()
    at = tail.rfind(b"PK\5\6")
    if at < 0 or len(tail) < at + 22:
        raise ValueError(f"{ANSWERS} is no .npz file")
    if b"PK\6\7" in tail or struct.unpack_from("<L", tail, at + 12)[0] > MOST_LISTED:
        raise ValueError(f"{ANSWERS} lists more members than {MOST_ROWS} rows have")


def differing(bundle: Bundle) -> list[str]:
    """Files whose bytes are not those that bundle.json names."""
    return [name for name, digest in bundle.about.files.items() if digest_of(bundle.folder / name) != digest]


def digest_of(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]


FOLDER = "submissions"


@dataclass(frozen=True)
class Committed:
    """A folder under submissions/: a bundle, or why it is none."""

    folder: Path
    bundle: Bundle | None
    wrong: str = ""


def committed_in(store: Path) -> list[Committed]:
    """Every bundle of a store, by name."""
    place = store / FOLDER
    return [_read(folder) for folder in sorted(place.iterdir()) if folder.is_dir()] if place.is_dir() else []


def _read(folder: Path) -> Committed:
    try:
        found = read(folder)
    except ValueError as error:
        return Committed(folder, None, str(error))
    if changed := differing(found):
        return Committed(folder, None, f"{changed[0]} is not what the bundle lists")
    return Committed(folder, found)


def verified(found: list[Committed]) -> list[Row]:
    """Rows of accepted bundles, without those that a later accepted bundle of the same method supersedes."""
    accepted = [c.bundle for c in found if c.bundle and c.bundle.accepted]
    gone = {(b.about.method.name, key) for b in accepted for key in b.about.supersedes}
    return [r for b in accepted for r in b.rows if (r.method, r.key) not in gone]


def marked(b: Bundle, name: str = "unverified") -> list[Row]:
    """The rows of a bundle, its method's name marked: nobody takes them for verified ones."""
    own = b.about.method.name  # other rows are of another method, and not its own to show
    return [replace(r, method=f"{own} ({name})") for r in b.rows if r.method == own]


def known_commit(commit: str) -> bool:
    """Whether the checkout that tlbench runs from has it."""
    if not re.fullmatch(r"[0-9a-f]{40}", commit):
        return False
    try:
        words = ["git", "cat-file", "-e", f"{commit}^{{commit}}"]
        return subprocess.run(words, cwd=CHECKOUT, capture_output=True, check=False).returncode == 0
    except OSError:
        return False
