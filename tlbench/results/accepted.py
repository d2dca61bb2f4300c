"""The bundles that lie with a store, and which of their rows count: those that a maintainer's record accepts."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

from tlbench.files import CHECKOUT
from tlbench.results import bundle
from tlbench.results.bundle import Bundle
from tlbench.results.row import Row

FOLDER = "submissions"


@dataclass(frozen=True)
class Committed:
    """A folder under submissions/: a bundle, or why it is none."""

    folder: Path
    bundle: Bundle | None
    wrong: str = ""


def of(store: Path) -> list[Committed]:
    """Every bundle of a store, by name."""
    place = store / FOLDER
    return [_read(folder) for folder in sorted(place.iterdir()) if folder.is_dir()] if place.is_dir() else []


def _read(folder: Path) -> Committed:
    try:
        found = bundle.read(folder)
    except ValueError as error:
        return Committed(folder, None, str(error))
    if changed := bundle.differing(found):
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
