"""Target-only: the k labels a class and nothing else.

Empirical risk minimisation on the shots with the card's network, recipe and number of steps; the harness takes
the sources away before the method sees them. What a transfer method must beat to be worth its source (the
A(∅, T) of Wang et al., CVPR 2019, equation 2).
"""

from dataclasses import dataclass
from typing import ClassVar

from tlbench.descent import ERM


@dataclass(frozen=True)
class TargetOnly(ERM):
    """Train on the labelled target samples only."""

    family: ClassVar[str] = "reference"
    paper: ClassVar[str] = "Wang et al., Characterizing and avoiding negative transfer, CVPR 2019"
    needs: ClassVar[frozenset[str]] = frozenset({"shots"})
    regimes: ClassVar[frozenset[str]] = frozenset({"classification", "regression", "detection", "episodes"})
    ignores: ClassVar[frozenset[str]] = frozenset({"sources"})
    takes: ClassVar[str] = "l"
    search: ClassVar[dict[str, tuple[object, ...]]] = {
        "lr": ("log", 1e-3, 1e-1),
        "weight_decay": ("log", 1e-5, 1e-2),
    }
