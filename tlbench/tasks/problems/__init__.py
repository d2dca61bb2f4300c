"""Problem types: one object each, in a file of its own. A new one is a file here and its name in `TYPES`."""

from __future__ import annotations

from tlbench.data import Domain
from tlbench.errors import UsageError, suggest
from tlbench.tasks.metrics import Metric
from tlbench.tasks.problems.classification import Classification
from tlbench.tasks.problems.detection import Detection
from tlbench.tasks.problems.episodes import Episodes
from tlbench.tasks.problems.multilabel import Multilabel
from tlbench.tasks.problems.problem import Problem
from tlbench.tasks.problems.regression import Regression

TYPES: tuple[type[Problem], ...] = (Classification, Regression, Detection, Episodes, Multilabel)
PROBLEMS: dict[str, Problem] = {make.name: make() for make in TYPES}
METRICS: dict[str, Metric] = {m.name: m for p in PROBLEMS.values() for m in p.metrics}


def of(regime: str) -> Problem:
    """The problem type that a card, a row or a method calls by a name.

    Raises:
        UsageError: there is none of that name.
    """
    if regime not in PROBLEMS:
        raise UsageError(
            f"problem type {regime!r}: unknown{suggest(regime, PROBLEMS)}; there are {', '.join(PROBLEMS)}"
        )
    return PROBLEMS[regime]


def of_domain(domain: Domain) -> Problem:
    """The problem type of a domain's own labels. A source may have another than its card: crops that each show one
    class, for a target of boxes."""
    return next(p for p in PROBLEMS.values() if p.fits(domain))
