"""A solver that stops at its limit says so, by a warning of its own kind; a run keeps the words."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager


class NotConverged(UserWarning):
    """A solver stopped at its limit, short of its tolerance; the message says which."""


@contextmanager
def heard(kind: type[Warning] = NotConverged) -> Iterator[list[str]]:
    """Within, warnings of a kind are kept and not shown; afterwards the list holds their texts, each once.

    Those of other kinds are shown afterwards, where the filters show them.
    """
    texts: list[str] = []
    caught: list[warnings.WarningMessage] = []
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", kind)
            yield texts
    finally:
        for w in caught:
            if not issubclass(w.category, kind):
                warnings.warn_explicit(w.message, w.category, w.filename, w.lineno, source=w.source)
            elif str(w.message) not in texts:
                texts.append(str(w.message))


@contextmanager
def scikit_learns(what: str) -> Iterator[None]:
    """Within, scikit-learn's warning that a fit did not converge is held back, and ours given once at the end."""
    from sklearn.exceptions import ConvergenceWarning  # workers of other methods do not load it

    with heard(ConvergenceWarning) as said:
        yield
    if said:
        warnings.warn(NotConverged(f"{what} did not converge"), stacklevel=3)
