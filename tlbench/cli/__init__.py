"""The command line: thin. Torch is never imported here, and nothing slow before a command needs it."""

from __future__ import annotations

import sys
import warnings
from typing import TextIO

from tlbench._moved import Moved
from tlbench.cli.app import app
from tlbench.errors import UsageError

# isort: off
from tlbench.cli import runs, submission, board, catalog, data  # noqa: F401  # each brings its commands, in this order
# isort: on

__all__ = ["app", "main"]


OLD_COMMANDS = {"why": "explain", "time": "profile"}  # of 0.1: they work for one release
OLD_OPTIONS = {"--jail": "--sandbox", "--promise": "--only"}


def main() -> None:
    """Run the command line; a user's mistake is one line and exit code 2, Ctrl-C is 130."""
    warnings.showwarning = _shown
    try:
        code = app(renamed(sys.argv[1:]), standalone_mode=False)
    except KeyboardInterrupt:
        code = 130
    except Exception as error:
        said = _one_line(error)
        if said is None:
            raise
        if said:  # else the help was printed
            print(f"tlbench: {said}", file=sys.stderr)
        code = 2
    if code == 130:
        print("tlbench: stopped; what was finished is stored, the same command goes on from here", file=sys.stderr)
    raise SystemExit(code)


def renamed(words: list[str]) -> list[str]:
    """A command line of 0.1 in today's names; a note on stderr says which were old."""
    new = [OLD_COMMANDS.get(word, word) if i == 0 else word for i, word in enumerate(words)]
    for i, word in enumerate(new):
        name, equals, value = word.partition("=")
        new[i] = f"{OLD_OPTIONS[name]}{equals}{value}" if name in OLD_OPTIONS else word
    for old, now in dict.fromkeys((a.partition("=")[0], b.partition("=")[0]) for a, b in zip(words, new, strict=True)):
        if old != now:
            print(f"note: {old} is now {now}; the old name goes with tlbench 0.3", file=sys.stderr)
    return new


def _shown(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, file: TextIO | None = None,
    line: str | None = None,
) -> None:  # fmt: skip
    """Print a warning on stderr; that of a method's old names is for its author, as a note."""
    old = issubclass(category, Moved)
    text = f"note: {message}\n" if old else warnings.formatwarning(message, category, filename, lineno, line)
    print(text, end="", file=file or sys.stderr)


def _one_line(error: Exception) -> str | None:
    """What to tell a user of an error that is theirs or the machine's; None for one that is ours."""
    if isinstance(error, UsageError):
        return str(error)
    if hasattr(error, "format_message"):  # typer's own, which it takes from click or from a copy of it
        said = " ".join(str(error.format_message()).split())
        return f"{said} (see --help)" if said else ""
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}" if error.filename else str(error)
    return None
