"""Is a bundle what it says? Named checks, from reading it to running a part of it again: docs/submit.md has the rules.

Nothing of `source/` is imported here; only jailed workers run it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from tlbench.errors import UsageError
from tlbench.methods import versions
from tlbench.methods.method import Description
from tlbench.results import bundle, editions, predictions
from tlbench.results.bundle import FOLDER, SOURCE, Bundle
from tlbench.results.editions import Edition
from tlbench.results.row import Row
from tlbench.results.store import Store
from tlbench.runner import descriptions, experiment, machine
from tlbench.runner import plan as plans
from tlbench.runner.cell import Cell
from tlbench.runner.cell_job import Bench
from tlbench.runner.executors import Executor
from tlbench.runner.experiment import Options, Tell
from tlbench.verification.submissions import controls, inspection
from tlbench.verification.submissions.inspection import (
    ACCEPT,
    QUESTION,
    REJECT,
    Check,
    as_written,
    complete,
    merged,
    on_the_board,
    place,
    provenance,
    rescored,
    told_again,
    worst,
)
from tlbench.verification.submissions.submit import owed, request

UNOWNED = (1_000_000, 2_000_000)  # seeds that no card asks for
RENAMED_MOST = 3  # cells of the sample that are run with renamed labels
LEAST_JAIL = 1  # below it nothing of a bundle is run


@dataclass
class Verification:
    """One bundle on its way to a verdict.

    Args:
        sample: cells that are run again
        seed: of their draw
        store: the board's rows
    """

    folder: Path
    options: Options
    store: Store
    sample: int
    seed: int
    tell: Tell | None = None
    checks: list[Check] = field(default_factory=list)
    bundle: Bundle | None = None
    cells: dict[str, Cell] = field(default_factory=dict)  # of a row's key
    edition: Edition = field(default_factory=Edition)  # the bundle's
    known: Store = field(init=False)  # rows that tell how far seeds lie apart
    earlier: bool = False  # whether it was built on an earlier toolkit than the one that is here

    def run(self) -> str:
        """All checks, the cheap ones first; nothing is run of a bundle that these reject. Returns the verdict."""
        try:
            self.bundle = b = bundle.read(self.folder)
        except ValueError as error:
            self._say("well-formed", REJECT, str(error))
            return REJECT
        self._say("well-formed", ACCEPT, f"{len(b.rows)} rows of {b.about.method.name}")
        try:
            self.edition = editions.named(self.store.folder, self._belongs(b))
        except UsageError as mistake:
            self._say("edition", REJECT, str(mistake))
            return REJECT
        self.options = replace(self.options, edition=self.edition)
        root = self.store.folder
        self.store = self.known = editions.opened(root, self.edition)
        if not len(self.store.rows):  # of a young open edition nothing tells how far seeds lie apart: the last one does
            self.known = editions.opened(root, editions.named(root, None))
        self.checks += [*as_written(b), *on_the_board(b, self.store), provenance(b)]
        if worst(self.checks) != REJECT:
            with experiment.started(self.options) as workers:
                if (workers.jail or 0) < LEAST_JAIL:
                    raise UsageError(
                        f"verify: the jail is at level {workers.jail}; a bundle is run at {LEAST_JAIL} or above"
                    )
                try:
                    self._with(b, workers)
                except UsageError as mistake:
                    self._say("run here", QUESTION, str(mistake))
        return worst(self.checks)

    def _belongs(self, b: Bundle) -> str:
        """The edition in whose folder it lies: one that was made for the open edition was frozen with it."""
        place = self.folder.resolve().parents
        own = place[0].name == FOLDER and place[2] == (self.store.folder / editions.FOLDER).resolve()
        return place[1].name if own else b.about.edition

    def _say(self, name: str, verdict: str, said: str) -> None:
        self.checks.append(Check(name, verdict, said))

    def _with(self, b: Bundle, workers: Executor) -> None:
        spec = f"{self.folder.resolve() / SOURCE / b.about.method.file}:{b.about.method.cls}"
        asked, bench = request(spec, b.about.asked, self.edition), experiment.bench(self.options)
        described = descriptions.describe((spec,), {}, workers)
        method = replace(described[spec], name=b.about.method.name, version=self._toolkit(b))
        plan = plans.make(asked, bench, {**described, spec: method})
        found = {(c.task.name, c.budget, c.seed): c for c in owed(plan, method)}
        self.checks += complete(b, found, plan.notices)
        self.cells = {r.key: found[place(r)] for r in b.rows if place(r) in found}
        self.checks += [*told_again(b, self.cells, bench), rescored(b, self.cells, bench)]
        if worst(self.checks) == REJECT:
            self._say("run again", QUESTION, "not run: rejected before")
            return
        with tempfile.TemporaryDirectory(prefix="tlbench-verify-") as scratch:
            self._run_again(b, bench, workers, method, Path(scratch))

    def _toolkit(self, b: Bundle) -> int | None:
        """The version of the toolkit that a bundle's rows were made with, which is in their keys.

        In a frozen edition it may be an earlier one than here: then what runs otherwise here is asked about.
        """
        here, told = versions.toolkit(), {r.method_version for r in b.rows}
        if told == {here}:
            return here
        said = f"made with toolkit {', '.join(map(str, sorted(told, key=str)))}; here it is {here}"
        one = next(iter(told)) if len(told) == 1 else None
        self.earlier = self.edition.frozen and one is not None and one < here
        remedy = f"run it again at commit {b.about.commit}" if self.earlier else "run it again for the open edition"
        self._say("toolkit", QUESTION if self.earlier else REJECT, f"{said}: {remedy}")
        return one if self.earlier else here

    def _run_again(self, b: Bundle, bench: Bench, workers: Executor, method: Description, scratch: Path) -> None:
        draw = np.random.default_rng(self.seed)
        told = [r for r in b.rows if r.key in self.cells]
        ran, refused = ([r for r in told if (r.status == "refused") is said] for said in (False, True))
        drawn = [rows[i] for rows in (ran, refused) for i in sorted(draw.permutation(len(rows))[: self.sample])]
        here = self._swept([self.cells[r.key] for r in drawn], bench, workers, scratch / "again")
        known = inspection.deviations(self.known.rows.every())
        pairs = [(r, here[r.key], self._same(b, r, scratch / "again")) for r in drawn]
        again = inspection.again(pairs, known)
        self.checks.append(replace(again, verdict=QUESTION) if self.earlier and again.verdict == REJECT else again)
        if b.about.calibration and drawn:
            speed = machine.calibrated(workers, bench.conditions.device, 1, whole=False)
            self.checks.append(inspection.times([(a, h) for a, h, _ in pairs], b.about.calibration, speed))
        else:
            self._say("times", QUESTION, "the bundle does not say how fast its machine is")
        ran_again = [*here.values(), *self._elsewhere(b, drawn, bench, workers, draw, known, scratch / "elsewhere")]
        ran_again += self._renamed([r for r in drawn if r.ok], bench, workers, known, scratch / "renamed")
        placebo = controls.placebo_cell(method, int(draw.integers(*UNOWNED)))
        done = self._swept([placebo], bench, workers, scratch / "placebo")
        self.checks.append(controls.placebo(done[bench.key(placebo)]))
        self._confined([*ran_again, *done.values()])

    def _elsewhere(
        self, b: Bundle, drawn: Sequence[Row], bench: Bench, workers: Executor, draw: np.random.Generator,
        known: inspection.Deviations, folder: Path,
    ) -> list[Row]:  # fmt: skip
        """The drawn tasks and budgets with seeds that nobody could choose the code for."""
        places = {(r.task, r.budget): self.cells[r.key] for r in drawn if r.ok}
        cells = {place: replace(c, seed=int(draw.integers(*UNOWNED))) for place, c in places.items()}
        rows = self._swept(list(cells.values()), bench, workers, folder)
        told = [([r for r in b.rows if (r.task, r.budget) == p], rows[bench.key(c)]) for p, c in cells.items()]
        self.checks.append(inspection.elsewhere(told, known))
        return list(rows.values())

    def _renamed(
        self, ok: Sequence[Row], bench: Bench, workers: Executor, known: inspection.Deviations, folder: Path
    ) -> list[Row]:
        """Some of the cells under other names of their classes."""
        other = controls.Renamed(bench.conditions, by=1)
        fit = [r for r in ok if controls.renames(self.cells[r.key])][:RENAMED_MOST]
        rows = self._swept([self.cells[r.key] for r in fit], other, workers, folder)
        checks, falls = list[Check](), list[float]()
        for r in fit:
            answers, again = predictions.read(predictions.file(predictions.folder(folder), r.key)), rows[r.key]
            if not again.ok or answers is None:
                checks.append(Check("labels renamed", QUESTION, f"{r.task}: {again.status}: {again.reason}"))
                continue
            check, fall = controls.renamed(self.cells[r.key], r, again, answers, other, known)
            checks.append(check)
            falls.append(fall)
        lacking = [] if fit else [Check("labels renamed", QUESTION, "no cell of the sample has classes to rename")]
        self.checks.append(merged([*checks, *controls.fall(falls), *lacking]))
        return list(rows.values())

    def _swept(self, cells: Sequence[Cell], bench: Bench, workers: Executor, folder: Path) -> dict[str, Row]:
        """The one place where a bundle's code is run on a task."""
        options = replace(self.options, predictions=predictions.folder(folder), jobs=1)
        store = Store(folder)
        experiment.swept(cells, bench, store, workers, options, self.tell)
        return {bench.key(c): store.rows[bench.key(c)] for c in cells}

    def _same(self, b: Bundle, row: Row, folder: Path) -> bool:
        here = predictions.read(predictions.file(predictions.folder(folder), row.key))
        return row.ok and here is not None and np.array_equal(b.answers(row.key), here)

    def _confined(self, rows: Sequence[Row]) -> None:
        levels = {r.jail for r in rows if r.ok}
        if any(level is None or level < LEAST_JAIL for level in levels):
            raise UsageError(
                f"the jail was at level {levels}; a bundle is run at {LEAST_JAIL} or above: see tlbench doctor"
            )
        self._say("jail", ACCEPT if levels else QUESTION, f"levels {', '.join(map(str, levels)) or 'none'}")
