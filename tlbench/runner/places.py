"""The places where jobs can run, by name. A new place is a file with an `Executor`, and a line here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from tlbench.errors import UsageError, suggest
from tlbench.runner.executors import Executor
from tlbench.runner.worker.fresh import Fresh
from tlbench.runner.worker.local import Workers


class Factory(Protocol):
    """What makes an executor; the context that it is opens and closes the place."""

    def __call__(
        self, *, modules: Sequence[str], cores: int, threads: int, jail: int | None, hidden: Sequence[Path]
    ) -> Executor: ...


PLACES: dict[str, Factory] = {
    "local": Workers,
    "fresh": Fresh,
}
DEFAULT = "local"


def executor(
    place: str = DEFAULT,
    *,
    modules: Sequence[str] = (),
    cores: int = 0,
    threads: int = 1,
    jail: int | None = None,
    hidden: Sequence[Path] = (),
) -> Executor:
    """The executor of a place.

    Args:
        modules: what is imported beforehand, where anything is; shipped code only
        cores: threads for a job that is alone; 0 takes all of this process's
        threads: of the linear algebra under numpy, scipy and scikit-learn, for one job of several
        jail: the level at which foreign code runs; None takes the highest of 0 and 1 that there is
        hidden: folders that are not there at level 2, beside those that are known

    Raises:
        UsageError: there is no such place.
    """
    if place not in PLACES:
        raise UsageError(f"--on {place}: no such place{suggest(place, PLACES)}")
    return PLACES[place](modules=modules, cores=cores, threads=threads, jail=jail, hidden=hidden)
