"""Methods: what one must offer, where one is found, and what the harness must know before it runs.

A method's code is foreign. It is imported and described in the worker's process (see `loader`), never in the one that
holds labels; the harness deals in `Description`s. Installed methods are found by their distributions' metadata, under
the entry-point group `tlbench.methods`, and called DISTRIBUTION/ENTRY-POINT, the distribution in its normal form
(PEP 503), as `tlbench-mymethod/mymethod`: that can be no shipped method's name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from importlib.resources import files
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from tlbench.data import Learner, Predictor, Train
from tlbench.errors import UsageError, suggest
from tlbench.methods.versions import coded

GROUP = "tlbench.methods"


def installed() -> dict[str, EntryPoint]:
    """Name -> entry point of every method that an installed distribution offers, in the names' order."""
    named = (
        (f"{re.sub(r'[-_.]+', '-', e.dist.name).lower()}/{e.name}", e) for e in entry_points(group=GROUP) if e.dist
    )
    return dict(sorted(named, key=lambda pair: pair[0]))


def suggestion(word: str, shipped: set[str]) -> str:
    """What may have been meant, of the shipped and the installed methods; a plugin's bare name means the plugin."""
    names = [*installed()]
    bare = [name for name in names if name.rpartition("/")[2] == word]
    return f"; did you mean {bare[0]!r}?" if bare else suggest(word, [*shipped, *names])


@runtime_checkable
class Method(Protocol):
    """A frozen dataclass; its fields are its hyperparameters and its defaults the published ones.

    Class variables say the rest: `family`, `paper`; `needs`, a frozenset of 'sources', 'shots', 'same task' (the
    sources' labels mean the target's classes) and 'every label' (of the target's pool, which makes it a skyline): what
    must be there; `ignores`, of 'sources' and 'shots': what is taken away before `fit` sees it; `regimes`, what it can
    do, by default 'classification' only; `requires`, modules that it imports beyond tlbench's own, and `extra`, which
    of tlbench's extras installs them; `search`, where each hyperparameter is looked for when one is selected: field ->
    ('log' or 'linear', low, high) or ('choice', one, another, ...); `seconds` and `memory_mib`, what a cell takes at
    most, to which `tlbench check` holds it.
    """

    def fit(self, train: Train, seed: int) -> Predictor | Learner: ...


@dataclass(frozen=True)
class Field:
    """One hyperparameter."""

    name: str
    type: str
    default: Any
    help: str = ""


@dataclass(frozen=True, eq=False)  # one object a method and command: cells compare it by identity
class Description:
    """All the harness knows of a method."""

    spec: str  # how it was asked for: 'dann', 'distribution/plugin', 'package.module:Class', 'file.py:Class'
    name: str
    family: str
    summary: str
    paper: str
    needs: tuple[str, ...]
    ignores: tuple[str, ...]
    regimes: tuple[str, ...]
    requires: tuple[str, ...]
    extra: str
    fields: tuple[Field, ...]
    config: dict[str, Any]
    search: dict[str, tuple[Any, ...]]  # field -> ('log' | 'linear', low, high) or ('choice', *values)
    digest: str | None  # of the code of a method that does not ship
    seconds: float | None = None  # that a cell takes at most, where the method says so
    memory_mib: int | None = None
    version: int | None = None  # of one that ships, else of the toolkit; see `versions`

    @property
    def ships(self) -> bool:
        """Whether its version tells its code."""
        return self.digest is None

    @property
    def code(self) -> str:
        """What of its code a row's key holds."""
        return coded(self.digest, self.version)

    @classmethod
    def of(cls, values: dict[str, Any]) -> Description:
        """From JSON."""
        own = {f.name: values[f.name] for f in fields(cls)}
        own["fields"] = tuple(Field(**f) for f in values["fields"])
        own["search"] = {name: tuple(space) for name, space in values["search"].items()}
        return cls(**{**own, **{name: tuple(own[name]) for name in ("needs", "ignores", "regimes", "requires")}})


@cache
def shipped() -> dict[str, Path]:
    """Name -> file of every baseline that ships with tlbench; nothing is imported."""
    folder = Path(str(files("tlbench_baselines")))
    return {file.stem: file for file in sorted(folder.glob("*.py")) if not file.stem.startswith("_")}


def check_name(spec: str) -> None:
    """Refuse a name that cannot mean a method, before any process is started for it.

    Raises:
        UsageError: unknown name, or a file that is not there.
    """
    place, colon, _ = spec.partition(":")
    if not colon and place not in shipped() and place not in installed():
        raise UsageError(
            f"unknown method {spec!r}{suggestion(spec, {*shipped()})} "
            "(a method of yours is package.module:Class or path/to/file.py:Class)"
        )
    if colon and place.endswith(".py") and not Path(place).is_file():
        raise UsageError(f"method {spec!r}: there is no file {place}")


def aim(spec: str) -> str:
    """`module:Class` of an installed method; what else is named says it itself.

    Raises:
        UsageError: the plugin's entry point names a module only.
    """
    entry = None if ":" in spec else installed()[spec]
    if entry is not None and not entry.attr:
        raise UsageError(
            f"method {spec!r}: its entry point {entry.value!r} names no class; write 'package.module:Class'"
        )
    return spec if entry is None else f"{entry.module}:{entry.attr}"
