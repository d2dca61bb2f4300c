"""A worker's predictions against the truth: the only place where both are."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlbench.results.row import Row, packed_bits
from tlbench.tasks.card import Budget
from tlbench.tasks.split import Split

Array = NDArray[Any]


def scored(file: Path, split: Split, budget: Budget) -> dict[str, Any]:
    """The columns value, n_test, metrics and correct, from the scores in `file`.

    Raises:
        ValueError: the scores are not what the task asks for; says what they are instead.
    """
    return measured(predicted(file, split, budget), split, budget)


def predicted(file: Path, split: Split, budget: Budget) -> Array:
    """What the scores in `file` say, no more than the metrics look at: (n,) classes as whole numbers, (n,) predicted
    numbers as they came, or (n, q, 6) boxes as float32.

    Raises:
        ValueError: the scores are not what the task asks for; says what they are instead.
    """
    return split.task.card.problem.read(file, split, budget)


def measured(predictions: Array, split: Split, budget: Budget) -> dict[str, Any]:
    """The columns value, n_test, metrics and correct, from predictions as `predicted` makes them.

    Raises:
        ValueError: they are not such predictions; says what they are instead.
    """
    card = split.task.card
    truth = card.problem.truth(split, budget)
    found = card.problem.check(predictions, truth, card.problem.outputs(split.domain, card))
    with np.errstate(over="ignore"):
        metrics = {m.name: m.of(found, truth) for m in card.measured}
    if not all(map(math.isfinite, metrics.values())):
        raise ValueError("predictions are so far off that their error is beyond all numbers")
    bits = {"correct": packed_bits(found == truth)} if card.measured[0].per_answer else {}
    return {"value": metrics[card.metric], "n_test": len(truth), "metrics": metrics, **bits}


def differing(row: Row, told: dict[str, Any]) -> list[str]:
    """The columns of a row that are not what `measured` tells. A metric that the row does not hold came after it."""
    held = row.metrics or {}
    then = {**told, "metrics": {name: value for name, value in told["metrics"].items() if name in held} or row.metrics}
    return [name for name, value in then.items() if getattr(row, name) != value]
