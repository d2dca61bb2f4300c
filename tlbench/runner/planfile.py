"""A plan on disk: one JSON line a cell, for other machines to run one by one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tlbench.errors import Mistake
from tlbench.runner.cell import Cell, Conditions
from tlbench.runner.cell_job import Bench


def write(file: Path, cells: Sequence[Cell], bench: Bench) -> None:
    """One JSON line a cell: all that another machine needs to run it."""
    c = bench.conditions
    where = {**asdict(c), "data_root": str(c.data_root.resolve()) if c.data_root else None}
    lines = [
        {
            "task": x.task.name,
            "card": x.task.file,
            "method": x.method.spec,
            "config": x.method.config,
            "budget": x.budget,
            "seed": x.seed,
            "trial": x.trial,
            "key": bench.key(x),
            "conditions": where,
        }
        for x in cells
    ]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))


def read(file: Path, index: int) -> dict[str, Any]:
    """Line `index` of a plan.

    Raises:
        Mistake: no such file or line, or it is no line of a plan.
    """
    try:
        lines = file.read_text().splitlines()
    except OSError as error:
        raise Mistake(f"{file}: cannot be read ({error.strerror}); write it with `tlbench run … --plan-only`") from None
    if not 0 <= index < len(lines):
        raise Mistake(f"{file}: has cells 0 to {len(lines) - 1}; there is no cell {index}")
    try:
        line = json.loads(lines[index])
        wanted = {name: line[name] for name in ("task", "card", "method", "config", "budget", "seed", "key")}
        wanted["trial"] = line.get("trial")
        return {**wanted, "conditions": Conditions(**{**line["conditions"], "data_root": _path(line)})}
    except (ValueError, KeyError, TypeError):
        raise Mistake(f"{file}:{index + 1}: not a line of a plan; write it anew with --plan-only") from None


def _path(line: dict[str, Any]) -> Path | None:
    root = line["conditions"]["data_root"]
    return Path(root) if root else None
