"""The user's mistakes: one line that says where, what, and what instead."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class Mistake(Exception):
    """Something the user can put right. The command line prints it as one line and exits with 2."""


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
