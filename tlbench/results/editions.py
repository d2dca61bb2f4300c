"""Editions: frozen sets of rows with all that their board rests on, and the open one, which is in the making.

`results/editions/<name>/` holds the rows and timings of a frozen edition, `edition.json`, which says how they were
measured and which of them count, and `digests.json`, what their data and splits were. Its board is rebuilt from these
alone: no later card, method or rule changes it. The rows of the store itself are the open edition's.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tlbench import PROTOCOL
from tlbench.errors import UsageError, suggest
from tlbench.methods import references, versions
from tlbench.methods.method import shipped
from tlbench.methods.versions import coded
from tlbench.results import archive
from tlbench.results.store import Store
from tlbench.tasks import grids, problems, registry, split_digests
from tlbench.tasks.card import Budget
from tlbench.tasks.task_name import suite_of

FOLDER, ABOUT, DIGESTS = "editions", "edition.json", "digests.json"
OPEN = "open"  # the name of the edition in the making
NAME = r"^[0-9]{4}\.(0[1-9]|1[0-2])(\.[0-9]+)?$"  # year and month, and a number where a month has several
_MODEL = ConfigDict(extra="forbid", frozen=True)


class Protocol(BaseModel):
    """How an edition turns rows into ranks."""

    model_config = _MODEL
    number: int = PROTOCOL  # of the harness that made the rows
    reference: str = references.of(1)  # that gains are over, from one label on
    reference_without_labels: str = references.of(0)
    headline: str = "gain over the reference"
    margins: tuple[float, float, float] = (0.0, 1.0, 2.0)  # points below the reference; the second is negative transfer
    features: Literal["fp32", "bf16"] = "fp32"  # the arithmetic of images' features from a frozen network
    tie: float = 0.5  # points of gain that are neither a win nor a loss
    metrics: dict[str, str] = {name: p.metrics[0].name for name, p in problems.PROBLEMS.items()}  # that are ranked

    @property
    def margin(self) -> float:
        """Points below the reference from which on a method shows negative transfer."""
        return self.margins[1]

    def reference_at(self, budget: Budget) -> str:
        """The method that gains are over."""
        return self.reference_without_labels if budget == 0 else self.reference


class Suite(BaseModel):
    """What a board must know of a card."""

    model_config = _MODEL
    version: int
    family: str  # of datasets
    ranked: bool
    same_task: bool
    regime: str
    generated: bool  # its truth is known
    summary: str


class Counted(BaseModel):
    """Which rows of a method count: those of one version of its code."""

    model_config = _MODEL
    code: str  # as `row.coded` tells it
    version: int | None  # of a method that ships


class Made(BaseModel):
    """A frozen edition's own account."""

    model_config = _MODEL
    name: Annotated[str, Field(pattern=NAME)]
    release: str  # of tlbench
    frozen: str  # date
    commits: tuple[str, ...]  # that made the rows
    commit: str | None = None  # to check out to run them again with the code of then
    rows: int
    protocol: Protocol
    grid: grids.Named  # that methods are ranked on
    suites: dict[str, Suite]
    methods: dict[str, Counted]
    toolkit: int  # its version, that methods which do not ship were run with
    digest: str = ""  # of its ranks and gains


@dataclass(frozen=True)
class Edition:
    """The rules by which rows count and are ranked: here those of the open edition."""

    name: str = OPEN

    @property
    def frozen(self) -> bool:
        return False

    @property
    def protocol(self) -> Protocol:
        return Protocol()

    @property
    def grid(self) -> grids.Named:
        return grids.named(grids.BOARD)

    def suite(self, name: str) -> Suite | None:
        """What is known of a suite; None of one that does not ship."""
        return _suite(name)

    def family(self, suite: str) -> str:
        """The dataset family of a suite; one that does not ship is its own."""
        known = self.suite(suite)
        return known.family if known else suite

    def ranks(self, task: str) -> bool:
        """Whether every method of classification can be asked about a task."""
        known = self.suite(suite_of(task))
        return known is not None and known.same_task and problems.of(known.regime).headline

    def differs(self, suite: str, where: str, digest: str) -> bool:
        """Whether data or a split are others than this edition's."""
        return split_digests.differs(suite, where, digest)

    def counts(self, method: str, code: str) -> bool | None:
        """Whether rows of this code are the method's; None where nothing says so."""
        return coded(None, versions.of(method)) == code if method in shipped() else None

    def outdated(self, method: str, code: str) -> bool:
        """Whether a shipped method has another version than this code."""
        return self.counts(method, code) is False


@dataclass(frozen=True)
class Frozen(Edition):
    """The rules of a frozen edition, which are in its folder."""

    folder: Path = field(default_factory=Path)

    @property
    def frozen(self) -> bool:
        return True

    @cached_property
    def made(self) -> Made:
        """Raises:
        UsageError: edition.json is none.
        """
        file = self.folder / ABOUT
        try:
            return Made.model_validate_json(file.read_bytes())
        except (OSError, ValidationError) as error:
            said = " ".join(str(error).split())[:200]
            raise UsageError(
                f"{file}: not the account of an edition ({said}); restore it from version control"
            ) from None

    @cached_property
    def _digests(self) -> dict[str, dict[str, str]]:
        file = self.folder / DIGESTS
        try:
            return dict(json.loads(file.read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            raise UsageError(f"{file}: cannot be read ({error}); restore it from version control") from None

    @property
    def protocol(self) -> Protocol:
        return self.made.protocol

    @property
    def grid(self) -> grids.Named:
        return self.made.grid

    def suite(self, name: str) -> Suite | None:
        return self.made.suites.get(name)

    def differs(self, suite: str, where: str, digest: str) -> bool:
        return self._digests.get(suite, {}).get(where, digest) != digest

    def counts(self, method: str, code: str) -> bool | None:
        held = self.made.methods.get(method)
        return held.code == code if held else None

    def outdated(self, method: str, code: str) -> bool:
        return False


@cache
def _suite(name: str) -> Suite | None:
    file = registry.card_files().get(name)
    if file is None:
        return None
    card = registry.read(file)
    return Suite(
        version=card.version, family=card.group, ranked=card.ranked, same_task=card.same_task, regime=card.regime,
        generated=card.loader == "generated", summary=card.summary,
    )  # fmt: skip


def all_of(store: Path) -> dict[str, Frozen]:
    """Name -> frozen edition of a store, the oldest first."""
    return {name: Frozen(name, store / FOLDER / name) for name in _names(store)}


def _names(store: Path) -> Iterator[str]:
    yield from sorted((file.parent.name for file in (store / FOLDER).glob(f"*/{ABOUT}")), key=order)


def order(name: str) -> tuple[int, ...]:
    """Of editions' names: the later is the greater."""
    return tuple(int(part) for part in name.split(".") if part.isdigit())


def halves(store: Path) -> list[str]:
    """Names of editions whose freezing was killed: rows have moved, and there is no account yet."""
    found = (store / FOLDER).iterdir() if (store / FOLDER).is_dir() else ()
    return sorted(f.name for f in found if (f / archive.FOLDER).is_dir() and not (f / ABOUT).exists())


def named(store: Path, name: str | None) -> Edition:
    """An edition of a store: the newest frozen one unless told, and where there is none the open one.

    Raises:
        UsageError: there is none of that name.
    """
    known = all_of(store)
    if name is None:
        return next(reversed(known.values()), Edition())
    if name != OPEN and name not in known:
        there = ", ".join([*known, OPEN])
        raise UsageError(
            f"--edition: no edition {name!r} in {store}{suggest(name, [*known, OPEN])}; there are: {there}"
        )
    return known.get(name, Edition())


def opened(store: Path, edition: Edition) -> Store:
    """An edition's rows, of a store."""
    return Store(edition.folder if isinstance(edition, Frozen) else store)


def version_of(method: str, code: str, store: Path) -> int | None:
    """The version of a shipped method that a code is, by what the frozen editions say; None where none does."""
    if code.startswith("version "):
        return int(code.removeprefix("version "))
    held = [e.made.methods.get(method) for e in all_of(store).values()]
    return next((h.version for h in held if h is not None and h.code == code), None)
