"""Source-only: what the source alone teaches, unadapted.

Empirical risk minimisation on the source labels (Vapnik, 1991) with the card's network and recipe. It is the
reference at k = 0, where there is no target label to learn from, and it ignores the shots at every budget.
"""

from dataclasses import dataclass
from typing import ClassVar

from tlbench.descent import ERM


@dataclass(frozen=True)
class SourceOnly(ERM):
    """Train on the source labels and hope."""

    family: ClassVar[str] = "reference"
    paper: ClassVar[str] = "Vapnik, Principles of risk minimization, NIPS 1991"
    needs: ClassVar[frozenset[str]] = frozenset({"sources", "same task"})
    regimes: ClassVar[frozenset[str]] = frozenset({"classification", "regression"})
    ignores: ClassVar[frozenset[str]] = frozenset({"shots"})
    takes: ClassVar[str] = "s"
    search: ClassVar[dict[str, tuple[object, ...]]] = {
        "lr": ("log", 1e-3, 1e-1),
        "weight_decay": ("log", 1e-5, 1e-2),
    }
