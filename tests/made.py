"""Stores made by hand: rows whose answers are known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from test_store import row

from tlbench.results.row import Row, packed_bits
from tlbench.results.store import Store


def answered(method: str, seed: int, bits: np.ndarray, *, task: str = "toy/a-b", **changed: Any) -> Row:
    """An ok row of a method with these answers (n,) of booleans; a task without '-' has no source."""
    suite, _, pair = task.partition("/")
    source, _, target = pair.rpartition("-")
    plain = row(
        "", suite=suite, task=task, sources=tuple(source.split("+")) if source else (), target=target, method=method,
        family="alignment", seed=seed, value=float(np.mean(bits)), n_test=len(bits), correct=packed_bits(bits),
        split=f"split of {target} {seed}", source_data=("c" * 64,) * (1 + source.count("+") if source else 0),
    )  # fmt: skip
    values = {**plain.values(), **changed}
    values["key"] = "/".join(map(str, (values["method"], values["task"], values["budget"], seed, values["time"])))
    return Row(**values)


def failure(method: str, seed: int, **changed: Any) -> Row:
    """A row of a cell that failed."""
    no = {"status": "failed", "reason": "ValueError: no", "value": None, "correct": None}
    return answered(method, seed, np.zeros(changed.pop("n", 11), bool), **no, **changed)


def study(
    answers: Mapping[str, np.ndarray], tasks: Sequence[str] = ("toy/a-b",), budget: int = 5, **changed: Any
) -> list[Row]:
    """Rows of methods on tasks: `answers[method]` is (tasks, seeds, n) of booleans. target_only has no source;
    source_only is at budget 0."""
    rows = []
    for method, bits in answers.items():
        for t, task in enumerate(tasks):
            place = f"{task.partition('/')[0]}/{task.rpartition('-')[2]}" if method == "target_only" else task
            k = 0 if method == "source_only" else budget
            rows += [answered(method, s, b, task=place, budget=k, **changed) for s, b in enumerate(bits[t])]
    return rows


def stored(folder: Path, rows: Sequence[Row]) -> Store:
    """A store of these rows."""
    held = Store(folder)
    for one in rows:
        held.rows.put(one)
    return held
