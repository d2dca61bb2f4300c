"""Errors with one line that says where, what, and what instead."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable


class UsageError(Exception):
    """Something the user can put right. The command line prints it as one line and exits with 2."""


class NotApplicable(Exception):
    """Raised by a method that does not fit a task; its message is the row's reason."""


def suggest(word: str, known: Iterable[str]) -> str:
    """`"; did you mean 'dann'?"` when something close to `word` is known, else what there is.

    Lists at most eight names: more would not be read.
    """
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    if close:
        return f"; did you mean {close[0]!r}?"
    if not names:
        return ""
    more = f", … ({len(names)} in all)" if len(names) > 8 else ""
    return f"; there are: {', '.join(names[:8])}{more}"


def position(where: str, text: str, *keys: str) -> str:
    """`where:line` of a key in TOML text, or of the table that holds it; `where` alone if neither is found.

    Args:
        keys: the names of the tables down to the key, as ("at", "photos", "path")
    """
    for depth in range(len(keys), 0, -1):
        table, key = ".".join(keys[: depth - 1]), keys[depth - 1]
        within = ""
        for number, line in enumerate(text.splitlines(), 1):
            if header := re.match(r"\s*\[\s*([^\[\]]+?)\s*\]", line):
                within = header[1]
                if within == ".".join(keys[:depth]):
                    return f"{where}:{number}"
            elif within == table and re.match(rf"\s*{re.escape(key)}\s*=", line):
                return f"{where}:{number}"
    return where
