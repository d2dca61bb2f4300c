"""What was measured at one label budget: methods by tasks by seeds, every gain paired with its reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlbench.card import Budget

Cube = NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class Grid:
    """M methods (the references among them) on T tasks with S seeds, at one budget.

    Points are percentage points of the metric. The reference is target-only at k >= 1 and source-only at k = 0: the
    two answer different questions, so the budgets are never mixed.
    """

    budget: Budget
    methods: tuple[str, ...]  # M names
    families: tuple[str, ...]  # M: the algorithm family of each
    tasks: tuple[str, ...]  # T: 'suite/source-target'
    groups: tuple[str, ...]  # T: the dataset family; its tasks are no independent samples
    paradigms: tuple[str, ...]  # T
    seeds: tuple[int, ...]  # S
    value: Cube  # (M, T, S) points; NaN where the cell was not run or refused
    imputed: NDArray[np.bool_]  # (M, T, S) where the cell failed, and `value` is the worst of the references and chance
    gain: Cube  # (M, T, S) over the reference
    added: Cube  # (M, T, S) over source + target pooled: does the clever part help?
    mean: Cube  # (M, T) of the gain over seeds and test examples
    se: Cube  # (M, T) its standard error, when both are samples
    df: Cube  # (M, T) its degrees of freedom
    chance: Cube  # (T,) points of a guess
    skyline: Cube  # (T,) points of target-only with every label; NaN where it was not run
    reference: str  # 'target_only' or 'source_only'
