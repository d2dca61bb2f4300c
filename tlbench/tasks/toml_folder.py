"""A folder of TOML files that ships with tlbench, where each file says all about one thing and is called as it is."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from tlbench.errors import UsageError, suggest

CARDS = Path(str(files("tlbench_tasks")))  # with the cards of tasks in it; the folders inside hold the other things


@dataclass(frozen=True)
class TomlFolder:
    """The things in one folder.

    Args:
        path: inside the folder of cards; '' is that folder itself
        unknown: what to say of a name that no file has, with '{name}' or '{name!r}' in it
        give: what to name instead of a file that cannot be read
        also: further names that somebody may have meant
    """

    path: str
    unknown: str
    give: str = "a name"
    also: tuple[str, ...] = ()

    def files(self) -> dict[str, Path]:
        """Name -> file of everything in the folder, in alphabetical order."""
        return _files(self.path)

    def file(self, name: str, asked: str = "") -> Path:
        """The file of a name.

        Args:
            asked: the words that the name was taken from, which the mistake repeats

        Raises:
            UsageError: there is none; says what is close.
        """
        known = self.files()
        if name not in known:
            raise UsageError(self.unknown.format(name=asked or name) + suggest(name, [*known, *self.also]))
        return known[name]

    def read(self, file: Path) -> tuple[dict[str, Any], str]:
        """What a file says, one that ships or another, and its text.

        Raises:
            UsageError: it cannot be read, or is not TOML.
        """
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{file}: cannot be read ({error}); give {self.give}") from None
        try:
            return tomllib.loads(text), text
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            raise UsageError(f"{file}: not valid TOML: {error}") from None


@cache
def _files(path: str) -> dict[str, Path]:
    return {file.stem: file for file in sorted((CARDS / path).glob("*.toml"))}
