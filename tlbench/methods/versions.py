"""Versions of the methods that ship, and the answers that guard them: `answers.json` beside the methods.

A row's key holds a shipped method's name and version. Its answers on small fixed sets are committed; who changes them
gives the method a new version with `tlbench answers --update`, and its rows, and only those, are made anew.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from tlbench.errors import UsageError

FILE = "answers.json"
TOOLKIT = "(toolkit)"  # what methods of one's own are built of: the trainer, fine-tuning, meta-learning, the networks
Answers = dict[
    str, Any
]  # of one method: 'fields', and 'probes': the name of a set -> its scores, or why there are none
NETWORKS = "(networks)"  # that every method is given; where they change, every method gets a new version
LIBRARIES = ("torch", "numpy", "scipy", "scikit-learn", "POT", "timm")  # whose version may move an answer


def place() -> Path:
    """The file of the shipped methods' answers."""
    return Path(str(files("tlbench_baselines"))) / FILE


@cache
def recorded() -> dict[str, Any]:
    """All that the file says: 'libraries', name -> version; 'gone', the last version of what ships no more; 'methods',
    name -> 'version', 'why', 'fields', 'probes'."""
    file = place()
    empty: dict[str, Any] = {"libraries": {}, "gone": {}, "methods": {}}
    try:
        return {**empty, **json.loads(file.read_text(encoding="utf-8"))} if file.is_file() else empty
    except ValueError as error:
        raise UsageError(f"{file}: cannot be read ({error}); mend it, or restore it from version control") from None


def of(method: str) -> int | None:
    """The version of a method that ships; None of one whose answers were never recorded."""
    entry = recorded()["methods"].get(method)
    return entry["version"] if entry else None


def toolkit() -> int:
    """The version of what every other method is built of; it is in the keys of their rows."""
    return of(TOOLKIT) or 0


def reasons(method: str, since: int, until: int) -> list[str]:
    """Why a method has had each version after `since`, to `until`."""
    entry = recorded()["methods"].get(method)
    return [why for version, why in entry["why"] if since < version <= until] if entry else []


def coded(digest: str | None, version: int | None) -> str:
    """One text for what tells a method's code: 'version 2', a digest, or both."""
    return ", ".join([*([digest] if digest else []), *([f"version {version}"] if version is not None else [])])
