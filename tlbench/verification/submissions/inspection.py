"""What can be said of a bundle without running it: against itself, the board, our data and our labels.

It comes as named checks, each with a verdict; the worst of them is the whole's. The same code and seed on another
processor or library may round otherwise and so end elsewhere. How far is measured by what seeds do: two runs with
different seeds differ by `sqrt(2) s`, where s is the deviation over the seeds of the same task and budget. A run of the
*same* seed has no reason to lie further off. s is that of the board's methods, in the median: by rows of the one that
is verified, every lie would make room for itself. It is at least what the test set explains.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import median
from typing import Any

import numpy as np
from scipy.stats import binomtest

from tlbench import __version__
from tlbench.board.tables import escaped
from tlbench.methods.digest import code_digest
from tlbench.methods.method import shipped
from tlbench.results import bundle
from tlbench.results.bundle import SOURCE, Bundle
from tlbench.results.row import Row
from tlbench.results.store import Store
from tlbench.runner import machine, record, scoring
from tlbench.runner.cell import Cell
from tlbench.runner.cell_job import Bench
from tlbench.tasks.card import Budget
from tlbench.tasks.problems import METRICS

ACCEPT, QUESTION, REJECT = "accept", "question", "reject"
_ORDER = (ACCEPT, QUESTION, REJECT)


@dataclass(frozen=True)
class Check:
    """One line of a report."""

    name: str
    verdict: str
    said: str

    @property
    def line(self) -> str:
        """Of a Markdown table; what a bundle said in it cannot leave its cell."""
        return f"| {self.name} | {self.verdict} | {escaped(self.said)} |"


def worst(checks: Sequence[Check]) -> str:
    """The verdict on the whole."""
    return max((c.verdict for c in checks), key=_ORDER.index, default=QUESTION)


def merged(checks: Sequence[Check]) -> Check:
    """Several checks of one name in one line: the worst first, and its verdict."""
    order = sorted(checks, key=lambda c: -_ORDER.index(c.verdict))
    return Check(order[0].name, order[0].verdict, some([c.said for c in order]))


def table(checks: Sequence[Check]) -> str:
    """All checks in Markdown."""
    return "\n".join(["| check | verdict | what was found |", "|---|---|---|", *(c.line for c in checks)])


def some(names: Sequence[str], most: int = 3) -> str:
    """The first few, and how many more."""
    more = len(names) - most
    return "; ".join(names[:most]) + (f"; and {more} more" if more > 0 else "")


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
    least = 0.0 if METRICS[row.metric].in_percent else 0.01 * abs(value)
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


PARTS = {  # columns that are told again here without running anything
    "data": ("data", "source_data"),
    "splits": ("split", "n_shots", "episodes"),
    "weights": ("backbone", "weights", "precision"),
    "code": ("method_digest", "method_version"),
    "cells": ("suite", "version", "paradigm", "regime", "sources", "target", "rule", "trial", "family", "config",
              "default", "metric", "protocol"),
    "keys": ("key",),
}  # fmt: skip
LONGEST = 500  # letters of a row's text


def place(r: Row) -> tuple[str, Budget, int]:
    return r.task, r.budget, r.seed


def _names(rows: Sequence[Row]) -> str:
    return some([f"{r.task}, k = {r.budget}, seed {r.seed}" for r in rows])


def as_written(b: Bundle) -> list[Check]:
    """What the folder says of itself: digests of files, a record of somebody else's, the method in its rows."""
    wrong = bundle.differing(b)
    checks = [Check("files", REJECT if wrong else ACCEPT, f"changed since the bundle was made: {some(wrong)}" if wrong
                    else f"{len(b.about.files)} files as listed")]  # fmt: skip
    if b.record is not None and b.record.bundle != b.digest:
        checks.append(Check("record", REJECT, "verification.json is about another bundle"))
    m = b.about.method
    try:
        digest = code_digest(b.folder / SOURCE / m.file, m.cls)
    except Exception as error:  # whatever reading hostile Python raises, it is no method
        return [*checks, Check("source", REJECT, f"{m.file} cannot be read: {type(error).__name__}: {error}")]
    same = digest == m.digest
    checks.append(Check("source", ACCEPT if same else REJECT, "the code is the one whose digest is told" if same else
                        "the code in source/ is not the code that bundle.json names"))  # fmt: skip
    others = [r for r in b.rows if (r.method, r.method_digest, r.family) != (m.name, m.digest, m.family)]
    if others:
        checks.append(Check("method", REJECT, f"{len(others)} rows are of another method or code: {_names(others)}"))
    checks.append(_columns(b.rows))
    places = [place(r) for r in b.rows]
    if len(set(places)) < len(places):
        checks.append(Check("method", REJECT, f"{len(places) - len(set(places))} cells stand twice"))
    return checks


def _columns(rows: Sequence[Row]) -> Check:
    """What no run could have put into a row: nothing compares these columns, and the board shows some of them."""
    wrong = []
    for r in rows:
        texts = (r.machine, r.torch, r.python, r.tlbench, r.time, r.reason or "")
        odd = {
            "a choice among trials": (r.trials, r.tune_s) != (None, None),
            "a score of what was not scored": not r.ok and (r.value, r.correct, r.metrics) != (None,) * 3,
            "a total that is not the fit's": r.ok and r.total_s is not None and r.total_s != r.fit_s,
            "jobs, threads or a jail that none has": r.jobs < 1 or r.threads < 1 or r.jail not in (None, 0, 1, 2),
            "a device of no such name": not re.fullmatch(r"cpu|cuda(:\d{1,2})?", r.device),
            "text of more than a line": any(len(t) > LONGEST or not t.isprintable() for t in texts),
        }
        wrong += [f"{r.task}, k = {r.budget}, seed {r.seed}: {what}" for what, is_so in odd.items() if is_so]
    return Check("columns", REJECT if wrong else ACCEPT, some(wrong) if wrong else "nothing that a run does not write")


def on_the_board(b: Bundle, store: Store) -> list[Check]:
    """Whether it is on the board already, under this name or another."""
    m, rows = b.about.method, store.rows.every()
    itself = (b.folder.resolve().name, b.digest)  # there, or a copy of it elsewhere
    beside = [s for s in bundle.committed_in(store.folder) if s.bundle and (s.folder.name, s.bundle.digest) != itself]
    named = [s for s in beside if s.bundle and s.bundle.about.method.name == m.name]
    codes = {r.method_digest: r.method for r in rows if r.method != m.name and r.method_digest}
    codes |= {s.bundle.about.method.digest: s.folder.name for s in beside if s.bundle and s not in named}
    earlier = {r.key: s for s in named if s.bundle for r in s.bundle.rows}
    shape = {_shape(name): name for name in shipped()}
    wrong = [f"{m.name} is, or looks like, {shape[_shape(m.name)]}, which ships"] if _shape(m.name) in shape else []
    wrong += [f"family {m.family!r} is the harness's own"] if m.family == "reference" else []
    wrong += [f"its code is that of {codes[m.digest]}"] if m.digest in codes else []
    new = any(r.key not in earlier for r in b.rows)
    wrong += [f"{m.name} is on the board by {s.folder.name}; --supersedes corrects it" for s in named
              if s.bundle and not {r.key for r in s.bundle.rows} <= set(b.about.supersedes)]  # fmt: skip
    wrong += (
        ["it supersedes rows that are no earlier rows of its method"] if set(b.about.supersedes) - set(earlier) else []
    )
    wrong += ["it supersedes rows by themselves"] if b.about.supersedes and not new else []
    gone = {place(r) for s in named if s.bundle for r in s.bundle.rows if r.key in b.about.supersedes}
    wrong += ["it supersedes cells that it does not measure again"] if gone - {place(r) for r in b.rows} else []
    there = [r for r in b.rows if r.key in store.rows and store.rows[r.key].method != m.name]
    wrong += [f"{len(there)} rows are on the board under another name"] if there else []
    asks = [f"it takes {len(b.about.supersedes)} rows of {m.name} off the board: is it from the same author?"]
    asks = asks if b.about.supersedes else []
    first = Check(
        "new", REJECT if wrong else QUESTION if asks else ACCEPT,
        some(wrong or asks or ["no such method, code or row on the board"]),
    )  # fmt: skip
    return [
        first,
        copied(b.rows, [*rows, *(r for s in beside if s.bundle for r in s.bundle.rows)], m.name),
    ]


def _shape(name: str) -> str:
    """Of a method's own name, what letters that look alike leave of it."""
    return re.split(r"[/:]", name)[-1].casefold().translate(str.maketrans("1i0", "llo")).replace("-", "_")


def provenance(b: Bundle) -> Check:
    """Commit known and clean, version ours."""
    odd = []
    if versions := {r.tlbench for r in b.rows} - {__version__}:
        odd.append(f"made with tlbench {', '.join(sorted(versions))}; this is {__version__}")
    if any(r.dirty for r in b.rows) or b.about.dirty:
        odd.append("made from a checkout with uncommitted changes")
    if b.about.commit is None or any(r.commit is None or r.dirty is None for r in b.rows):
        odd.append("it does not say of which commit all its rows are")
    commits = {r.commit for r in b.rows if r.commit} | ({b.about.commit} if b.about.commit else set())
    odd += [f"commit {c[:12]} is not known here" for c in sorted(commits) if not bundle.known_commit(c)]
    return Check("made with", QUESTION if odd else ACCEPT, some(odd) if odd else "a version and commit that are known")


def complete(b: Bundle, found: dict[tuple[str, Budget, int], Cell], notices: Sequence[str]) -> list[Check]:
    """Whether all cells of what was asked for are there, and no others."""
    has = {place(r) for r in b.rows}
    lacking, foreign = sorted(map(str, set(found) - has)), [r for r in b.rows if place(r) not in found]
    checks = []
    if notices:
        checks.append(Check("data here", QUESTION, some(list(notices), 2)))
    if foreign:
        said = f"{len(foreign)} rows are of no cell that is asked for here: {_names(foreign)}"
        checks.append(Check("complete", QUESTION if notices else REJECT, said))
    if lacking:
        said = f"{len(lacking)} of {len(found)} cells are missing: {some(lacking)}"
        checks.append(Check("complete", QUESTION if b.about.partial else REJECT, said))
    elif b.about.partial:
        checks.append(Check("complete", QUESTION, "it says that it is partial"))
    return checks or [Check("complete", ACCEPT, f"{len(found)} of {len(found)} cells")]


def told_again(b: Bundle, cells: dict[str, Cell], bench: Bench) -> list[Check]:
    """Columns that need no run, told again from our data, splits, weights and the code."""
    wrong: dict[str, list[Row]] = {name: [] for name in PARTS}
    for r in b.rows:
        if r.key not in cells:
            continue
        made = dict.fromkeys(("tlbench", "torch", "python", "machine", "commit", "dirty", "time"), "")
        here: Any = record.described(bench, cells[r.key], r.status, r.reason, made)
        other = {n for n in PARTS if any(getattr(r, c) != getattr(here, c) for c in PARTS[n])}
        if not r.ok and r.n_test != here.n_test:  # an ok row's is told with its score
            other.add("splits")
        for name in other:
            wrong[name].append(r)
    return [Check(n, REJECT if rows else ACCEPT, f"{len(rows)} rows differ from what is told here: {_names(rows)}"
                  if rows else f"as told here: {', '.join(PARTS[n][:3])}") for n, rows in wrong.items()]  # fmt: skip


def rescored(b: Bundle, cells: dict[str, Cell], bench: Bench) -> Check:
    """Every ok row from its predictions, against our labels."""
    wrong, ok = [], [r for r in b.rows if r.ok]
    strange = b.keys - {r.key for r in ok}
    for r in (r for r in ok if r.key in cells):
        try:
            told = scoring.measured(b.answers(r.key), bench.split(cells[r.key].task, r.seed), r.budget)
            wrong += [f"{r.task}, k = {r.budget}, seed {r.seed}: {n} is {_short(getattr(r, n))}, its predictions say "
                      f"{_short(told[n])}" for n in scoring.differing(r, told)][:1]  # fmt: skip
        except ValueError as error:
            wrong.append(f"{r.task}, k = {r.budget}, seed {r.seed}: {error}")
    if strange:
        wrong.append(f"{len(strange)} predictions are of no row")
    said = f"{len(wrong)} rows: {some(wrong)}" if wrong else f"{len(ok)} rows, each bit"
    return Check("scored again", REJECT if wrong else ACCEPT, said)


def _short(value: object) -> str:
    return f"{value}"[:24]
