"""A method's trials: which hyperparameters they have, and what is kept of one beside its row.

Trial 0 has the published hyperparameters, the others those of a fixed design, the same for every task, budget and
seed: it sees no data. Before repetitions are left out it is a sliced Latin hypercube (Qian, JASA 2012): trials 1 to 7
are one in each of 7 strata of every knob's range, so are 8 to 14 and 15 to 21, and the 21 together are one in each of
21 strata. A knob's order of strata and the places inside them come from SHA-256 of its name, so that

- methods that share a knob and its range, as most do `lr`, have the same values of it in the same trials;
- the first M trials are those of a run with `--trials M`, whatever came later;
- no library's random stream is asked.

The place in [0, 1) is mapped onto the knob's range in `search`, and floats are rounded to 4 significant digits, so that
the last bit of a logarithm does not make another configuration. A trial that would repeat an earlier one's, as in a
short list of choices, is left out, and the next takes its number.

`<store>/trials/<key>.npz` holds float32 scores (n, classes) by part, as the worker wrote them:

    test        the test samples; no rule looks at them
    unlabeled   of the target, the first 2,000 in hash order
    source_val  the validation part of the sources, one after the other; only where they have the target's classes
    oracle_val  the part of the target that only the oracle's rule may look at
    shots       each labelled target sample, by a fit on the other folds; from 2 labels a class on

and `folds_s`, the seconds of those fits. Labels are in none of them. The scorer writes them, whole or not at all; they
can be computed again, and no row depends on them.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlbench.methods.method import Description, Field
from tlbench.runner.cell import Cell
from tlbench.runner.cell_job import Bench
from tlbench.runner.executors import Ended, Executor
from tlbench.tasks import problems
from tlbench.tasks.problems.answers import read_scores
from tlbench.tasks.split import Indices, Split, hash_order, sha, target_name

FEW, MANY = 8, 20  # trials of a method that takes gradient steps, and of one that does not; the default among them
SLICE, SLICES = 7, 3
MOST = 1 + SLICE * SLICES
SALT = "tlbench/trial/32"  # of 1 to 399, the one under which knobs that ship together move together least


def trials_of(method: Description) -> int:
    """How many trials a method has by default, trial 0 among them."""
    return 1 if not method.search else FEW if descends(method) else MANY


def descends(method: Description) -> bool:
    """Whether a method takes gradient steps, as far as its fields tell."""
    return any(f.name == "steps" for f in method.fields)


def design(method: Description, n: int) -> tuple[Description, ...]:
    """Trials 0 to n - 1 of a method, or fewer where its search has no more: itself, then with its knobs moved.

    A knob that `--set` has moved already stays where it was set.

    Args:
        n: 1 to `MOST`
    """
    if not 1 <= n <= MOST:
        raise ValueError(f"{n} trials; the design has 1 to {MOST}")
    return _design(method)[:n]


@cache  # by identity: a cell's method is compared by it
def _design(method: Description) -> tuple[Description, ...]:
    known = {f.name: f for f in method.fields}
    knobs = [name for name in sorted(method.search) if method.config[name] == known[name].default]
    configs = [method.config]
    for i in range(1, MOST if knobs else 1):
        moved = {k: value(known[k], method.search[k], position(k, i)) for k in knobs}
        if {**method.config, **moved} not in configs:
            configs.append({**method.config, **moved})
    return (method, *(replace(method, config=config) for config in configs[1:]))


def value(field: Field, space: tuple[Any, ...], u: float) -> Any:
    """The value at `u` in [0, 1) of a knob's range: ('log' or 'linear', low, high), or ('choice', one, another, ...).

    A whole number stays one: every whole number of a linear range has an equal share.
    """
    kind, *ends = space
    if kind == "choice":
        return ends[int(u * len(ends))]
    low, high = ends
    whole = "int" in field.type and "float" not in field.type
    if kind == "linear":
        return math.floor(low + u * (high - low + 1)) if whole else _rounded(low + u * (high - low))
    found = math.exp(math.log(low) + u * (math.log(high) - math.log(low)))
    return min(high, max(low, round(found))) if whole else _rounded(found)


def _rounded(x: float) -> float:
    return float(f"{x:.4g}")


def position(knob: str, i: int) -> float:
    """Where trial `i` >= 1 is in a knob's range, in [0, 1)."""
    part, place = divmod(i - 1, SLICE)
    stratum = _order(SLICE, "strata", knob, part)[place]
    within = _order(SLICES, "within", knob, stratum)[part]
    jitter = int(sha(SALT, "jitter", knob, i)[:12], 16) / 16**12
    return (stratum + (within + jitter) / SLICES) / SLICE


def _order(n: int, *salt: object) -> list[int]:
    """0 to n - 1 in the order of their hashes."""
    return sorted(range(n), key=lambda j: sha(SALT, *salt, j))


PARTS = ("unlabeled", "source_val", "oracle_val", "shots")
FOLDS_MOST = 5
PATIENCE, AT_LEAST_S = 10.0, 60.0  # a trial may take so many times its reference's median, and always so long
UNLABELED_MOST = 2000
Array = NDArray[Any]


@dataclass(frozen=True)
class Kept:
    """The scores of one trial by part, and the seconds of its folds."""

    scores: dict[str, Array]
    folds_s: float


def keeps(cell: Cell) -> bool:
    """Whether anything is kept of a cell: the scores of episodes and boxes are not."""
    return cell.trial is not None and cell.task.card.problem.keeps_trials


def file(folder: Path, key: str) -> Path:
    return folder / "trials" / f"{key}.npz"


def asked(bench: Bench, cell: Cell, workers: Executor) -> dict[str, Any]:
    """What a trial's worker is given beyond a cell's job: paths of more inputs, and the fold of each shot."""
    held = bench.held_back(cell, workers)
    split = bench.split(cell.task, cell.seed)
    return {
        "source_val": held["source_val"],
        "oracle_val": held["oracle_val"],
        "unlabeled": UNLABELED_MOST,
        "folds": fold_of(split, split.shots(cell.budget), n_folds(cell)).tolist(),
    }


def n_folds(cell: Cell) -> int:
    """2 for a method that takes gradient steps, else as many as the labels a class, at most 5; 0 below 2 labels."""
    if isinstance(cell.budget, int) and cell.budget < 2:
        return 0
    if descends(cell.method):
        return 2
    return FOLDS_MOST if cell.budget == "full" else min(FOLDS_MOST, int(cell.budget))


def patience(cell: Cell, reference_s: Sequence[float]) -> float:
    """Seconds that a trial but the first may take, by what the published default of its reference took, seed by seed.

    A search must not wait for a setting that never ends. The least is there because under it a busy machine would
    decide which trials exist.
    """
    usual = median(reference_s) if reference_s else math.inf
    return max(AT_LEAST_S, PATIENCE * usual) * (1 + n_folds(cell))


def fold_of(split: Split, shots: Indices, n: int) -> Indices:
    """(n_shots,) the fold of each shot; empty for no folds.

    The shots of a class are dealt out in the order of h("tlbench/fold/1", task, id), whatever the seed.
    """
    found = np.zeros(len(shots) if n else 0, np.int64)
    place = {int(row): i for i, row in enumerate(shots)}
    strata = problems.of_domain(split.domain).strata(split.domain)[shots]
    for c in np.unique(strata) if n else ():
        rows = hash_order(split.domain, shots[strata == c], "tlbench/fold/1", target_name(split.task))
        for i, row in enumerate(rows):
            found[place[int(row)]] = i % n
    return found


def sizes(bench: Bench, cell: Cell, workers: Executor) -> dict[str, int]:
    """How many samples each part has; a part of none is not kept."""
    split, held = bench.split(cell.task, cell.seed), bench.held_back(cell, workers)
    return {
        "unlabeled": min(UNLABELED_MOST, len(split.unlabeled)),
        "source_val": len(held["source_y"]),
        "oracle_val": len(held["oracle_y"]),
        "shots": len(split.shots(cell.budget)) if n_folds(cell) else 0,
    }


def about_bytes(bench: Bench, cell: Cell) -> int:
    """What is kept of a trial takes on the disk, without the sources' validation samples."""
    split = bench.split(cell.task, cell.seed)
    n = len(split.partition.test) + min(UNLABELED_MOST, len(split.unlabeled)) + len(split.shots(cell.budget))
    return 4 * n * cell.task.card.problem.outputs(split.domain, cell.task.card)


def keep(to: Path, bench: Bench, cell: Cell, ended: Ended, workers: Executor) -> None:
    """Write what a finished trial told, for `read`.

    Raises:
        ValueError: a part is not an array of scores of its samples; says which.
    """
    split = bench.split(cell.task, cell.seed)
    k, found = cell.task.card.problem.outputs(split.domain, cell.task.card), {}
    found["test"] = read_scores(ended.folder / "scores.npy", len(split.partition.test), k)
    for part, n in sizes(bench, cell, workers).items():
        if n and not (part == "shots" and "folds_reason" in ended.report):
            try:
                found[part] = read_scores(ended.folder / f"kept_{part}.npy", n, k, finite=False)
            except ValueError as error:
                raise ValueError(f"{part}: {error}") from None
    with np.errstate(over="ignore"):
        arrays = {part: scores.astype(np.float32) for part, scores in found.items()}
    to.parent.mkdir(parents=True, exist_ok=True)
    temporary = to.with_name(f"{to.stem}.{os.getpid()}.tmp")
    with temporary.open("wb") as stream:
        np.savez(stream, folds_s=np.float64(ended.report.get("folds_s") or 0.0), **arrays)  # type: ignore[arg-type]
    temporary.replace(to)


def read(of: Path, expected: dict[str, int]) -> Kept | None:
    """What was kept; None where there is nothing readable, or not of as many samples as `expected`."""
    try:
        with np.load(of, allow_pickle=False) as held:
            scores = {part: held[part] for part in PARTS if part in held.files}
            seconds = float(held["folds_s"])
    except (OSError, ValueError, KeyError, EOFError):
        return None
    good = all(s.dtype == np.float32 and s.ndim == 2 and len(s) == expected[part] for part, s in scores.items())
    return Kept(scores, seconds) if good else None
