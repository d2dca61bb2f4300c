"""What `tlbench explain --curve` does: a cell trained again, a picture of its losses, and a few lines about both."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tlbench.board.curve import Again, again
from tlbench.board.figures.losses import losses
from tlbench.cli.commands.console import bar
from tlbench.cli.commands.questions import opened, points, table
from tlbench.errors import UsageError
from tlbench.results import wording
from tlbench.results.row import Row
from tlbench.runner.experiment import Options
from tlbench.runner.selection import rules
from tlbench.tasks.card import Budget


@dataclass(frozen=True)
class Wanted:
    """A cell as it is asked for."""

    method: str
    task: str
    budget: Budget
    seed: int
    rule: str
    edition: str | None


def curve(
    wanted: Wanted, file: Path, results: Path | None, data_root: Path | None, sandbox: str, json_wanted: bool
) -> int:
    """Train the cell, draw its losses into `file`, print what they came to. Returns 1 where the fit failed.

    Raises:
        UsageError: there is nothing to draw, or no such cell.
    """
    check_file(file)
    rule = rules.named(wanted.rule).name
    store, edition = opened(results, wanted.edition)
    options = Options(results, data_root, jail=sandbox, edition=edition)
    with bar() as shown:
        found = again(
            store, edition, wanted.method, wanted.task, wanted.budget, wanted.seed, rule, options, shown.steps,
            shown.extraction,
        )  # fmt: skip
    for text in found.notices:
        print(f"note: {text}", file=sys.stderr)
    row, seen = found.refit.row, found.refit.curve
    if found.refit.silent:
        raise UsageError(f"{found.refit.silent}; nothing is drawn ({verdict(found)})")
    title = f"{row.method} on {row.task}, {wording.labels(row.budget)}, seed {row.seed}"
    drawn = losses(seen, title, file) if seen.steps else None
    if json_wanted:
        print(json.dumps(_as_json(found, drawn), ensure_ascii=False))
    else:
        _print(found, title, drawn)
    return 0 if row.ok else 1


def check_file(file: Path) -> None:
    """Raises:
    UsageError: no picture can be written there; asked before anything is trained.
    """
    if file.suffix != ".svg":
        raise UsageError(f"--curve {file}: the picture is SVG; name a file that ends in .svg")
    if file.is_dir() or any(p.exists() and not p.is_dir() for p in file.parents):
        raise UsageError(f"--curve {file}: no file can be written there")


def verdict(found: Again) -> str:
    """Whether the value is the stored row's."""
    row, stored = found.refit.row, found.stored
    if not row.ok:
        return f"the fit failed: {row.reason}"
    said = f"{row.metric} {points(_points(row))}"
    if stored is None:
        return f"{said}; no row of seed {row.seed} is stored to hold it against"
    if found.equal is None:
        return f"{said}; the stored row has no value: {stored.status}, {stored.reason}"
    if found.equal:
        answers = "" if row.correct == stored.correct else ", though other samples are right"
        other = "" if found.same_cell else "; the row's key is of other code, data or settings"
        return f"{said}: equal to the stored row's, to the last digit{answers}{other}"
    differs = f"{said} DIFFERS from the stored row's: {_points(row):.6f} and {_points(stored):.6f}"
    if not found.same_cell:
        return f"{differs} ({'; '.join(['the row is of other code, data or settings', *found.apart])})"
    why = "; ".join(found.apart) or "in the same conditions: the method is not deterministic, or its files changed"
    return f"{differs} ({why})"


def _points(row: Row) -> float:
    return 100.0 * (math.nan if row.value is None else row.value)


def _print(found: Again, title: str, drawn: Path | None) -> None:
    seen = found.refit.curve
    header = ("loss", "values", "first", "last", "smallest")
    print(title)
    if seen.losses:
        table("", header, [(name, *_ends(values)) for name, values in seen.losses.items()])
    loops = len(seen.loops)
    print(f"{wording.count(len(seen.steps), 'step')}{f' in {loops} loops, one after the other' if loops > 1 else ''}")
    print(verdict(found))
    print(f"picture: {drawn}" if drawn else "no step was seen, and nothing is drawn")


def _ends(values: Sequence[float]) -> tuple[str, ...]:
    smallest = min((v for v in values if math.isfinite(v)), default=math.nan)
    return str(len(values)), *(f"{v:.4g}" for v in (values[0], values[-1], smallest))


def _as_json(found: Again, drawn: Path | None) -> dict[str, object]:
    row, stored, seen = found.refit.row, found.stored, found.refit.curve
    return {
        "method": row.method,
        "task": row.task,
        "budget": row.budget,
        "seed": row.seed,
        "key": row.key,
        "status": row.status,
        "reason": row.reason,
        "metric": row.metric,
        "value": None if row.value is None else _points(row),
        "stored": None if stored is None or stored.value is None else _points(stored),
        "stored_key": None if stored is None else stored.key,
        "equal": found.equal,
        "apart": found.apart,
        "file": None if drawn is None else str(drawn),
        "steps": len(seen.steps),
        "loops": seen.loops,
        "losses": {n: [v if math.isfinite(v) else None for v in values] for n, values in seen.losses.items()},
        "at": dict(seen.at),
    }
