"""What comes of looking at a submission: named checks, each with a verdict; the worst of them is the whole's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tlbench.board.tables import escaped

ACCEPT, QUESTION, REJECT = "accept", "question", "reject"
_ORDER = (ACCEPT, QUESTION, REJECT)


@dataclass(frozen=True)
class Check:
    """One line of a report."""

    name: str
    verdict: str
    said: str

    @property
    def line(self) -> str:
        """Of a Markdown table; what a bundle said in it cannot leave its cell."""
        return f"| {self.name} | {self.verdict} | {escaped(self.said)} |"


def worst(checks: Sequence[Check]) -> str:
    """The verdict on the whole."""
    return max((c.verdict for c in checks), key=_ORDER.index, default=QUESTION)


def merged(checks: Sequence[Check]) -> Check:
    """Several checks of one name in one line: the worst first, and its verdict."""
    order = sorted(checks, key=lambda c: -_ORDER.index(c.verdict))
    return Check(order[0].name, order[0].verdict, some([c.said for c in order]))


def table(checks: Sequence[Check]) -> str:
    """All checks in Markdown."""
    return "\n".join(["| check | verdict | what was found |", "|---|---|---|", *(c.line for c in checks)])


def some(names: Sequence[str], most: int = 3) -> str:
    """The first few, and how many more."""
    more = len(names) - most
    return "; ".join(names[:most]) + (f"; and {more} more" if more > 0 else "")
