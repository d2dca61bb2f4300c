"""All that one run of the suites is held against: of the theory's own learners, or of the methods that ship."""

from __future__ import annotations

from dataclasses import dataclass

from tlbench.verification.known_truth import cells, families, winners
from tlbench.verification.known_truth.cells import Cell
from tlbench.verification.known_truth.checks import SEEDS, Check, Comparison
from tlbench.verification.known_truth.expected import CHECKS

CRASH = Cell("cal10", (), "target", "controls:Crash", 5)
PERMUTED = (
    cells.target("cal1", 5), cells.fused("cal1", 5, "rot45"), cells.plain("cal2", "source", "prior90", "prior:BBSE"),
    cells.fused("cal9", 5, "rot0", "rot60", "rot300"),
)  # fmt: skip


@dataclass(frozen=True)
class Demands:
    """Means that are known, orders that are known, and the controls of the harness."""

    checks: tuple[Check, ...]
    comparisons: tuple[Comparison, ...]
    seeds: int
    permuted: tuple[Cell, ...] = ()  # cells that samples and classes in another order must not change
    crashing: tuple[Cell, ...] = ()  # cells that fail on a fifth of the seeds

    def cells(self, suite: str) -> list[Cell]:
        """All cells that a suite's demands speak of, each once."""
        asked = [c.cell for c in self.checks]
        asked += [x for c in self.comparisons for x in (c.better, c.worse)]
        return [c for c in dict.fromkeys(asked) if c.suite == suite]

    @property
    def suites(self) -> tuple[str, ...]:
        asked = (*(c.cell for c in self.checks), *(c.better for c in self.comparisons))
        return tuple(dict.fromkeys(c.suite for c in asked))

    @property
    def methods(self) -> list[str]:
        """As the harness is asked for them."""
        return sorted({c.method for suite in self.suites for c in self.cells(suite)})


def of_learners() -> Demands:
    """Of the learners that the closed forms speak of."""
    return Demands(CHECKS, winners.comparisons(), SEEDS, PERMUTED, (CRASH,))


def of_methods() -> Demands:
    """Of the methods that ship."""
    return Demands((), families.comparisons(), families.SEEDS)
