"""What can be said of a bundle without running it: against itself, the board, our data and our labels."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from tlbench import __version__
from tlbench.methods.digest import code_digest
from tlbench.methods.method import shipped
from tlbench.results import accepted, bundle
from tlbench.results.bundle import SOURCE, Bundle
from tlbench.results.row import Row
from tlbench.results.store import Store
from tlbench.runner import record, scoring
from tlbench.runner.cell import Cell
from tlbench.runner.cell_job import Bench
from tlbench.tasks.card import Budget
from tlbench.verification.submissions import plausibility
from tlbench.verification.submissions.verdict import ACCEPT, QUESTION, REJECT, Check, some

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
            "a score of what was not scored": not r.ok and (r.value, r.correct) != (None, None),
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
    beside = [s for s in accepted.of(store.folder) if s.bundle and (s.folder.name, s.bundle.digest) != itself]
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
        plausibility.copied(b.rows, [*rows, *(r for s in beside if s.bundle for r in s.bundle.rows)], m.name),
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
    odd += [f"commit {c[:12]} is not known here" for c in sorted(commits) if not accepted.known_commit(c)]
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
                      f"{_short(v)}" for n, v in told.items() if getattr(r, n) != v][:1]  # fmt: skip
        except ValueError as error:
            wrong.append(f"{r.task}, k = {r.budget}, seed {r.seed}: {error}")
    if strange:
        wrong.append(f"{len(strange)} predictions are of no row")
    said = f"{len(wrong)} rows: {some(wrong)}" if wrong else f"{len(ok)} rows, each bit"
    return Check("scored again", REJECT if wrong else ACCEPT, said)


def _short(value: object) -> str:
    return f"{value}"[:24]
