"""Making a bundle: what lacks is run, everything is scored again from its predictions, then the folder is written."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import re
import shutil
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path
from typing import Any

import numpy as np

from tlbench.errors import UsageError
from tlbench.methods.digest import code_digest
from tlbench.methods.method import Description, shipped
from tlbench.results import bundle, predictions
from tlbench.results.bundle import ABOUT, ANSWERS, ROWS, SOURCE
from tlbench.results.editions import Edition, Frozen
from tlbench.results.row import Row
from tlbench.results.store import Store, default_folder
from tlbench.runner import descriptions, experiment, machine, scoring
from tlbench.runner import plan as plans
from tlbench.runner.cell import Cell
from tlbench.runner.cell_job import Bench
from tlbench.runner.executors import Executor
from tlbench.runner.experiment import Options, Tell
from tlbench.runner.plan import Request
from tlbench.runner.sandbox import file_rules
from tlbench.runner.sweep import provenance
from tlbench.tasks import grids, registry
from tlbench.tasks.card import Budget

OPEN = Edition()
LIBRARIES = ("torch", "numpy", "scipy", "scikit-learn", "timm", "torchvision", "POT")


@dataclass(frozen=True)
class Submission:
    """What a bundle is asked to hold.

    Args:
        asked: suites, tasks or one grid; whole suites and grids, unless it is `partial`
        edition: that it is submitted to; of a frozen one its grid and arithmetic hold
        budgets, seeds: None takes the grid's, or the cards' core budgets and all their seeds
        command: the words that asked for it, for who repeats them
        supersedes: an earlier bundle of the method, whose rows are to count no more
    """

    method: str
    asked: tuple[str, ...]
    budgets: tuple[Budget, ...] | None = None
    seeds: tuple[int, ...] | None = None
    partial: bool = False
    name: str | None = None
    out: Path | None = None  # the folder in which the bundle's is made
    command: str = ""
    supersedes: Path | None = None
    reason: str = ""
    options: Options = field(default_factory=Options)
    edition: Edition = field(default_factory=Edition)


def request(method: str, asked: Sequence[str], edition: Edition = OPEN) -> Request:
    """All that is owed of a method on suites, tasks and a grid; `core` is the edition's.

    Raises:
        UsageError: no such method, task or grid, or two grids, or a card of one's own.
    """
    named = [name for name in asked if name in grids.grids()]
    if len(named) > 1:
        raise UsageError(f"--tasks: {' and '.join(named)} are two grids; submit them one by one")
    if own := [name for name in asked if name.endswith(".toml")]:
        raise UsageError(
            f"--tasks {own[0]}: a submission is on tasks that ship; propose the task first (CONTRIBUTING.md)"
        )
    grid = None if not named else edition.grid if named == [grids.BOARD] else named[0]
    return Request(tuple(n for n in asked if n not in named), (method,), full=True, grid=grid)


def owed(made: plans.Plan, method: Description) -> list[Cell]:
    """The method's own cells of a plan, each once."""
    return list(dict.fromkeys(c for e in made.entries if e.method is method for c in e.cells))


def submit(s: Submission, tell: Tell | None = None, progress: Any = None) -> tuple[Path, list[str]]:
    """Write a bundle. Returns its folder, and what is to be known of it.

    Raises:
        UsageError: the grid is not complete, nothing succeeded, a row is not what its predictions say, or the method's
            files do not work from a folder of their own.
    """
    if s.method in shipped():
        raise UsageError(f"submit {s.method}: it ships with tlbench; its rows are published as CONTRIBUTING.md says")
    asked = request(s.method, s.asked, s.edition)
    store = Store(s.options.results or default_folder())
    options = replace(s.options, predictions=predictions.folder(store.folder), edition=s.edition)
    with experiment.started(options, experiment.preloaded([s.method])) as workers:
        bench = experiment.bench(options, progress)
        notes = [*filter(None, [experiment.settled(options, bench.conditions.device, workers)])]
        described = descriptions.describe((s.method,), {}, workers)
        method, whole = described[s.method], plans.make(asked, bench, described)
        some = replace(asked, budgets=s.budgets, seeds=s.seeds)
        chosen = owed(plans.make(some, bench, described), method)
        lacking = [n for n in s.asked if n not in grids.grids() and n not in registry.card_files()] + whole.notices
        _check_whole(s, owed(whole, method), chosen, lacking)
        experiment.swept(chosen, bench, store, workers, options, tell)
        rows = {c: store.rows[bench.key(c)] for c in chosen}
        answers = _checked(rows, bench, options.predictions)
        folder = _place(s, method, store)
        made = _write(folder, s, method, list(rows.values()), answers, workers, bench)
    return made, notes + _said(s, rows, lacking)


def _check_whole(s: Submission, all_cells: Sequence[Cell], chosen: Sequence[Cell], lacking: Sequence[str]) -> None:
    missing = len({_where(c) for c in all_cells} - {_where(c) for c in chosen})
    if (missing or lacking) and not s.partial:
        what = f"{missing} cells of {len(all_cells)}" if missing else f"parts of what was asked for ({lacking[0]})"
        raise UsageError(f"submit: {what} would be left out; submit whole suites or grids, or say --partial")


def _where(c: Cell) -> tuple[str, Budget, int]:
    return c.task.name, c.budget, c.seed


def _checked(rows: Mapping[Cell, Row], bench: Bench, kept: Path | None) -> dict[str, predictions.Array]:
    """The predictions of every ok row, each held against its row."""
    assert kept is not None
    if not any(r.ok for r in rows.values()):
        first = next(iter(rows.values()))
        raise UsageError(f"submit: no cell succeeded, there is nothing to rank ({first.status}: {first.reason})")
    found = {}
    for cell, row in rows.items():
        if not row.ok:
            continue
        answer = predictions.read(predictions.file(kept, row.key))
        if answer is None:
            raise UsageError(f"submit: no readable predictions of {cell.label}; repeat the command")
        score = scoring.measured(answer, bench.split(cell.task, cell.seed), cell.budget)
        if scoring.differing(row, score):
            raise UsageError(
                f"submit: {cell.label} answers otherwise than its row in {kept.parent}, which another machine or "
                "version made; give an empty store with --results"
            )
        found[row.key] = answer
    return found


def _place(s: Submission, method: Description, store: Store) -> Path:
    name = s.name or re.sub(r"[^a-z0-9_.]+", "-", method.name.lower()).strip("-.")[:64]
    if not re.fullmatch(bundle.NAME, name):
        raise UsageError(f"--name {name}: a bundle's name is of small letters, digits, '-', '_' and '.'")
    beside = s.edition.folder if isinstance(s.edition, Frozen) else store.folder
    folder = (s.out or beside / bundle.FOLDER) / name
    if folder.exists():
        raise UsageError(f"{folder}: is there already; bundles are never edited: choose another --name or --out")
    return folder


def _write(
    folder: Path, s: Submission, method: Description, rows: Sequence[Row], answers: Mapping[str, predictions.Array],
    workers: Executor, bench: Bench,
) -> Path:  # fmt: skip
    (folder / SOURCE).mkdir(parents=True)
    try:
        file, cls = _copy(folder / SOURCE, s.method, method, workers)
        ordered = sorted(rows, key=lambda r: (r.task, str(r.budget), r.seed, r.key))
        lines = (json.dumps(r.values(), separators=(",", ":"), ensure_ascii=False) + "\n" for r in ordered)
        (folder / ROWS).write_text("".join(lines), encoding="utf-8", errors="replace")
        pack(folder / ANSWERS, answers)
        about = {
            "format": 1,
            "name": folder.name,
            "method": {"name": method.name, "spec": _portable(s.method), "family": method.family,
                       "summary": method.summary[:2000], "file": file, "cls": cls, "digest": method.digest,
                       **_distribution(s.method)},
            "edition": s.edition.name,
            "asked": list(s.asked),
            "partial": s.partial,
            "environment": environment(),
            **{name: provenance()[name] for name in ("commit", "dirty")},
            "commands": [s.command],
            "calibration": machine.calibrated(workers, bench.conditions.device, 1, whole=False),
            "supersedes": superseded(s, method),
        }  # fmt: skip
        seal(folder, about)
    except BaseException:
        shutil.rmtree(folder)
        raise
    return folder


def seal(folder: Path, about: dict[str, Any]) -> None:
    """Write bundle.json, with the digests of all files that are there.

    Raises:
        UsageError: what was written is no bundle.
    """
    names = [ROWS, ANSWERS, *(f"{SOURCE}/{p.name}" for p in sorted((folder / SOURCE).iterdir()))]
    about = {**about, "files": {n: hashlib.sha256((folder / n).read_bytes()).hexdigest() for n in names}}
    (folder / ABOUT).write_text(json.dumps(about, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    try:
        bundle.read(folder)
    except ValueError as error:
        raise UsageError(f"submit: {error}") from None


def pack(file: Path, answers: Mapping[str, predictions.Array]) -> None:
    """The same predictions make the same bytes."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as held:
        for key, answer in sorted(answers.items()):
            stream = io.BytesIO()
            np.save(stream, np.ascontiguousarray(answer), allow_pickle=False)
            held.writestr(zipfile.ZipInfo(f"{key}.npy"), stream.getvalue(), zipfile.ZIP_DEFLATED)


def _copy(to: Path, spec: str, method: Description, workers: Executor) -> tuple[str, str]:
    """Copy the method's files; they must mean the same where they are now. Returns the file and class to load."""
    report = workers.ask({"kind": "sources", "method": descriptions.absolute(spec)})
    if report["status"] != "ok":
        raise UsageError(f"submit {spec}: {report['reason']}")
    files = [Path(str(f)).resolve() for f in report["files"]]
    own = [p.resolve() for p in file_rules.code_of(descriptions.absolute(spec))]
    if strange := [f for f in files if not any(f == p or p in f.parents for p in own)]:
        raise UsageError(f"submit {spec}: it names {strange[0]} as its code, which it does not import")
    if len({f.name for f in files}) < len(files):
        raise UsageError(f"submit {spec}: two of the method's files have one name; they are copied into one folder")
    for f in files:
        shutil.copyfile(f, to / f.name)
    main, cls = files[0].name, str(report["class"])
    told = workers.ask({"kind": "describe", "method": f"{to.resolve() / main}:{cls}", "settings": {}})
    alone = "the method's own files must lie in one folder and import each other by their bare names"
    if told["status"] != "ok":
        raise UsageError(f"submit {spec}: {told['reason']}; {alone}")
    if code_digest(to / main, cls) != method.digest or told["description"]["digest"] != method.digest:
        raise UsageError(f"submit {spec}: a copy of {main} is not the same method; {alone}")
    return main, cls


def _portable(spec: str) -> str:
    """A spec without the folders of the machine it was made on."""
    place, colon, name = spec.partition(":")
    return f"{Path(place).name}{colon}{name}" if place.endswith(".py") else spec


def _distribution(spec: str) -> dict[str, str | None]:
    """The installed package that a method is of, and its version."""
    place = spec.partition(":")[0]
    if place.endswith(".py"):
        return {"distribution": None, "version": None}
    owner, slash, _ = place.partition("/")  # an installed plugin is named with its distribution
    found = [owner] if slash else packages_distributions().get(place.partition(".")[0], [])
    return {"distribution": found[0] if found else None, "version": version(found[0]) if found else None}


def environment() -> dict[str, str]:
    """Versions and machine."""
    made = provenance()
    found = {**{n: made[n] for n in ("tlbench", "python", "machine")}, "system": platform.platform()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "none"
    return found


def superseded(s: Submission, method: Description) -> dict[str, str]:
    """Key -> reason, of every row of the earlier bundle.

    Raises:
        UsageError: no reason, no bundle, or another method's.
    """
    if s.supersedes is None:
        return {}
    if not s.reason.strip():
        raise UsageError("--supersedes: say why with --reason; the old rows stay where they are and count no more")
    try:
        earlier = bundle.read(s.supersedes)
    except ValueError as error:
        raise UsageError(f"--supersedes {s.supersedes}: {error}") from None
    if earlier.about.method.name != method.name:
        raise UsageError(f"--supersedes {s.supersedes}: its method is {earlier.about.method.name}, not {method.name}")
    return {r.key: s.reason.strip() for r in earlier.rows}


def _said(s: Submission, rows: Mapping[Cell, Row], lacking: Sequence[str]) -> list[str]:
    counts = {st: sum(r.status == st for r in rows.values()) for st in ("ok", "failed", "refused")}
    said = [f"{len(rows)} rows: " + ", ".join(f"{n} {st}" for st, n in counts.items())]
    return [*said, *lacking, *(["PARTIAL: the bundle says so"] if s.partial else [])]
