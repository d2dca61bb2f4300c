"""How far a row may lie from the same cell run again, how long it may have taken, and whose answers it has.

The same code and seed on another processor or library may round otherwise and so end elsewhere. How far is measured by
what seeds do: two runs with different seeds differ by `sqrt(2) s`, where s is the deviation over the seeds of the same
task and budget. A run of the *same* seed has no reason to lie further off. s is that of the board's methods, in the
median: by rows of the one that is verified, every lie would make room for itself. It is at least what the test set
explains.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import groupby
from statistics import median

import numpy as np
from scipy.stats import binomtest

from tlbench.results.row import Row
from tlbench.runner import machine
from tlbench.tasks.card import Budget
from tlbench.verification.submissions.verdict import ACCEPT, QUESTION, REJECT, Check, merged, some

ODD, IMPOSSIBLE = 2.0, 4.0  # in units of sqrt(2) s: of one cell
TOGETHER = 3.0  # of the mean over all cells, in units of its own error
SLOWER, ABSURD = 4.0, 20.0  # times
LEAST_S = 0.1  # of all fits together: below it clocks and caches are what is measured
LEANING, FEWEST = 1e-3, 5  # a chance of answers that all differ one way; cells that do
LUCKY = 2.5  # errors of the mean of seeds above that of others
ALIKE, FEW = 0.9, 3  # share of cells with another method's very answers; cells that must be comparable


Deviations = dict[tuple[str, Budget], float]


def deviations(board: Iterable[Row]) -> Deviations:
    """(task, budget) -> the deviation over seeds of the board's methods there, in the median."""
    values: dict[tuple[str, Budget, str], list[float]] = {}
    for r in board:
        if r.ok and r.default and r.rule == "default" and r.value is not None:
            values.setdefault((r.task, r.budget, r.method), []).append(r.value)
    found: dict[tuple[str, Budget], list[float]] = {}
    for (task, budget, _), own in values.items():
        if len(own) > 1:
            found.setdefault((task, budget), []).append(float(np.std(own, ddof=1)))
    return {place: median(own) for place, own in found.items()}


def spread(row: Row, known: Deviations) -> float:
    """s of a cell: what seeds do there on the board; at least the error of its test set."""
    value = row.value or 0.0
    floor = math.sqrt(max(value * (1 - value), 0.25 / row.n_test) / row.n_test) if 0 <= value <= 1 else 0.0
    least = 0.01 * abs(value) if row.metric == "neg_mse" else 0.0
    return max(known.get((row.task, row.budget), 0.0), floor, 1e-9, least)


def again(pairs: Sequence[tuple[Row, Row, bool]], known: Deviations) -> Check:
    """Rows beside the same cells run here. Args: (row, run here, whether every answer is the same)."""
    other = [f"{_cell(a)}: {a.status} there, {b.status} here ({b.reason})" for a, b, _ in pairs if a.status != b.status]
    ok = [(a, b, same) for a, b, same in pairs if a.ok and b.ok]
    found = [Check("run again", QUESTION, some(other))] if other else []
    return merged([*found, _beside(ok, known)] if ok or not found else found)


def _beside(ok: Sequence[tuple[Row, Row, bool]], known: Deviations) -> Check:
    """As `again`, of cells that were scored there and here."""
    if not ok:
        return Check("run again", QUESTION, "no cell was run again")
    z = [((a.value or 0) - (b.value or 0)) / (math.sqrt(2) * spread(a, known)) for a, b, _ in ok]
    mean = float(np.sum(z)) / math.sqrt(len(z))
    exact = sum(same for _, _, same in ok)
    said = f"{exact} of {len(ok)} cells answer alike to the last sample"
    far = [f"{_cell(a)}: {a.value:.4f} there, {b.value:.4f} here, {x:+.1f} spreads" for (a, b, _), x in
           zip(ok, z, strict=True) if abs(x) > ODD]  # fmt: skip
    if max(map(abs, z)) > IMPOSSIBLE or abs(mean) > TOGETHER:
        return Check("run again", REJECT, f"{said}; all together {mean:+.1f} errors from here; {some(far)}")
    if far:
        return Check("run again", QUESTION, f"{said}; {some(far)}")
    if told := _leaning(ok, z):
        return Check("run again", QUESTION, f"{said}; {told}")
    unlike = [_cell(a) for a, b, same in ok if not same and (a.machine, a.torch) == (b.machine, b.torch)]
    if unlike:
        return Check("run again", QUESTION, f"{said}; others on the same machine and torch: {some(unlike)}")
    return Check("run again", ACCEPT, f"{said}, the rest within what seeds explain")


def _leaning(ok: Sequence[tuple[Row, Row, bool]], z: Sequence[float]) -> str:
    """What is said where differences are all to the bundle's good: rounding takes no side."""
    more = fewer = 0
    for a, b, _ in ok:
        if a.correct and b.correct and (a.n_test, len(a.correct)) == (b.n_test, len(b.correct)):
            there, here = a.bits(), b.bits()
            more, fewer = more + int((there & ~here).sum()), fewer + int((here & ~there).sum())
    if more and binomtest(more, more + fewer, alternative="greater").pvalue < LEANING:
        return f"where answers differ, {more} are right in the bundle and {fewer} here"
    apart = [x for x in z if x]
    if len(apart) >= FEWEST and min(apart) > 0:
        return f"all {len(apart)} cells that differ are better in the bundle"
    return ""


def elsewhere(told: Sequence[tuple[Sequence[Row], Row]], known: Deviations) -> Check:
    """The bundle's seeds beside others that nobody could choose.

    Args:
        told: (the bundle's rows of a task and budget, the same with another seed here)
    """
    z = []
    for own, here in told:
        values = [r.value for r in own if r.ok and r.value is not None]
        if here.ok and here.value is not None and values:
            s = spread(here, known) * math.sqrt(1 + 1 / len(values))
            z.append((sum(values) / len(values) - here.value) / s)
    if not z:
        return Check("other seeds", QUESTION, "none could be run")
    together = sum(z) / math.sqrt(len(z))
    said = f"the bundle's means lie {together:+.1f} errors from {len(z)} runs with seeds that nobody chose"
    return Check("other seeds", QUESTION if together > LUCKY else ACCEPT, said)


def times(pairs: Sequence[tuple[Row, Row]], there: dict[str, float], here: dict[str, float]) -> Check:
    """Seconds of fits beside those measured here, each machine's speed divided out."""
    if odd := [_cell(a) for a, _ in pairs if not (a.fit_s or 0) >= 0 or not (a.predict_s or 0) >= 0]:
        return Check("times", REJECT, f"less than no time: {some(odd)}")
    same = [(a.fit_s or 0.0, b.fit_s or 0.0) for a, b in pairs if a.ok and b.ok and a.device == b.device]
    shared = sorted(set(there) & set(here))
    if not same or not shared or min(there[n] for n in shared) <= 0:
        return Check("times", QUESTION, "nothing to compare: another kind of device, or a machine not measured")
    speed = machine.score({n: there[n] for n in shared}) / machine.score({n: here[n] for n in shared})
    claimed, seen = (sum(x) for x in zip(*same, strict=True))
    if max(claimed, seen) < LEAST_S:
        return Check("times", ACCEPT, f"too short to tell: {claimed:.3f} s there, {seen:.3f} s here")
    ratio = max(claimed, 1e-6) / max(seen, 1e-6) / speed
    said = f"{claimed:.2f} s of fitting there, {seen:.2f} s here, their machine's probes take {speed:.2f} of ours"
    off = max(ratio, 1 / ratio)
    verdict = REJECT if off > ABSURD else QUESTION if off > SLOWER else ACCEPT
    return Check("times", verdict, f"{said}: {ratio:.2f} of what is expected")


def copied(rows: Sequence[Row], board: Iterable[Row], name: str) -> Check:
    """Whether the right and wrong answers are another method's."""
    theirs: dict[tuple[str, str], set[str]] = {}
    for r in board:
        if r.ok and r.correct and r.method != name and r.default:
            theirs.setdefault((r.split, r.correct), set()).add(r.method)
    telling = [r for r in rows if r.ok and r.correct and 0 < (r.value or 0) < 1]
    found = [m for r in telling for m in theirs.get((r.split, r.correct or ""), ())]
    for method, own in groupby(sorted(found)):
        n = len(list(own))
        if len(telling) >= FEW and n >= ALIKE * len(telling):
            return Check("copies", QUESTION, f"right and wrong where {method} is, on {n} of {len(telling)} cells")
    return Check("copies", ACCEPT, f"no method of the board has the same right answers on {ALIKE:.0%} of the cells")


def _cell(r: Row) -> str:
    return f"{r.task}, k = {r.budget}, seed {r.seed}"
