"""`tlbench selftest`: the calibration suite through the whole harness, predicted against measured.

Cells are planned, run in workers, scored and stored as any others, in a store and a cache of their own. Nothing here
knows a closed form: `calibration` does.
"""

from __future__ import annotations

import os
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tlbench import card
from tlbench import plan as plans
from tlbench.calibration import cells, draw
from tlbench.calibration.checks import SEEDS, Comparison, below_ceiling, ceiling
from tlbench.calibration.expected import CHECKS
from tlbench.calibration.winners import comparisons
from tlbench.card import Card
from tlbench.cell import Bench, Cell, Conditions
from tlbench.data import Domain
from tlbench.executors.local import Workers
from tlbench.jail import Limits, memory_share
from tlbench.method import Description
from tlbench.mistake import Mistake, suggest
from tlbench.row import Row
from tlbench.store import Store
from tlbench.sweep import Sweep, default_jobs, threads_for

Tell = Callable[[int, int, float | None, str], None]
CRASH = cells.Cell("cal10", (), "target", "controls:Crash", 5)
PERMUTED = (
    cells.target("cal1", 5), cells.fused("cal1", 5, "rot45"), cells.plain("cal2", "source", "prior90", "prior:BBSE"),
    cells.fused("cal9", 5, "rot0", "rot60", "rot300"),
)  # fmt: skip
ROUNDING = 5e-4  # ten of 20,000 answers: a sum in another order may turn a tie


@dataclass(frozen=True)
class Finding:
    """One demand of the suite and what came of it. Accuracies in 0..1; risks where a number is predicted."""

    suite: str
    what: str
    predicted: str
    measured: str
    holds: bool


@dataclass
class Selftest:
    """The suites, run once; `findings` compares."""

    suites: tuple[str, ...]
    jobs: int
    tell: Tell = field(default=lambda done, of, left, label: None)
    values: dict[cells.Cell, list[float]] = field(default_factory=dict)
    rows: dict[cells.Cell, list[Row]] = field(default_factory=dict)

    def run(self) -> Iterator[Finding]:
        """Run suite by suite and yield the findings."""
        with _own_cache() as folder, Workers(modules=_learners(), threads=threads_for(self.jobs)) as workers:
            for suite in self.suites:
                self._run(_cells(suite), Bench(_conditions(self.jobs)), Store(folder / suite), workers)
                yield from self.findings(suite)
            if "cal10" in self.suites:
                yield from self._crashes(folder, workers)
            yield from self._permuted(folder, workers)

    def _run(self, wanted: Sequence[cells.Cell], bench: Bench, store: Store, workers: Workers) -> None:
        made = {c: [_cell(c, seed, workers) for seed in range(SEEDS)] for c in wanted}
        limits = Limits(memory_mib=memory_share(self.jobs))
        Sweep([x for group in made.values() for x in group], bench, store, workers, self.jobs, limits,
              tell=self.tell).run()  # fmt: skip
        for c, group in made.items():
            self.rows[c] = [store.rows[bench.key(x)] for x in group]
            sign = -1 if c.suite in cells.REGRESSION else 1
            self.values[c] = [sign * r.value for r in self.rows[c] if r.value is not None]

    def findings(self, suite: str) -> Iterator[Finding]:
        """Every demand on one suite."""
        for check in (c for c in CHECKS if c.cell.suite == suite):
            values = self._of(check.cell)
            holds = len(values) == SEEDS and check.holds(values)
            measured = _mean(values) if len(values) == SEEDS else self._why(check.cell)
            yield Finding(suite, str(check.cell), f"{check.form():.4f}", measured, holds)
        for c in (c for c in comparisons() if c.better.suite == suite):
            yield self._compared(c)
        for cell, values in self.values.items():
            if cell.suite == suite and suite not in cells.REGRESSION and len(values) == SEEDS:
                best = ceiling(suite, cell.target)
                holds = below_ceiling(values, best, cell.n_test)
                yield Finding(suite, f"ceiling: {cell}", f"at most {best:.4f}", _mean(values), holds)

    def _compared(self, c: Comparison) -> Finding:
        better, worse = self._of(c.better), self._of(c.worse)
        holds = len(better) == len(worse) == SEEDS and c.holds(better, worse)
        what = f"{c.where}: {c.better} against {c.worse}"
        return Finding(
            c.better.suite, what, f"better by {c.margin:g}", f"{_mean(better)} against {_mean(worse)}", holds
        )

    def _of(self, cell: cells.Cell) -> list[float]:
        return self.values.get(cell, [])

    def _why(self, cell: cells.Cell) -> str:
        """What became of a cell that lacks values."""
        return next((f"seed {r.seed} {r.status}: {r.reason}" for r in self.rows[cell] if not r.ok), "not measured")

    def _crashes(self, folder: Path, workers: Workers) -> Iterator[Finding]:
        """A method that raises on a fifth of the seeds is a fifth failed rows, and never a success."""
        self._run([CRASH], Bench(_conditions(self.jobs)), Store(folder / "crash"), workers)
        failed = [r.seed for r in self.rows[CRASH] if r.status == "failed" and "crash injected" in (r.reason or "")]
        ok = [r.seed for r in self.rows[CRASH] if r.ok]
        measured = f"failed at seeds {failed}, {len(ok)} others ok"
        yield Finding("cal10", f"control: {CRASH}", "failed at seeds [4, 9], 8 others ok", measured,
                      failed == [4, 9] and len(ok) == SEEDS - 2)  # fmt: skip

    def _permuted(self, folder: Path, workers: Workers) -> Iterator[Finding]:
        """Samples, and the classes' names, in another order change nothing."""
        wanted = [c for c in PERMUTED if c.suite in self.suites]
        before = {c: self.values[c] for c in wanted}
        for name, change in (("samples", _shuffled), ("classes", _renamed)):
            self._run(wanted, _Changed(_conditions(self.jobs), change=change), Store(folder / name), workers)
            for c in wanted:
                what, asked = f"control: {name} in another order: {c}", f"within {ROUNDING:g}"
                if len(before[c]) == len(self.values[c]) == SEEDS:
                    apart = max(abs(a - b) for a, b in zip(before[c], self.values[c], strict=True))
                    yield Finding(c.suite, what, asked, f"largest change {apart:.5f}", apart <= ROUNDING)
                else:
                    yield Finding(c.suite, what, asked, self._why(c), False)
            self.values.update(before)


@dataclass
class _Changed(Bench):
    """A bench whose domains are changed after they are loaded."""

    change: Callable[[Domain], Domain] = field(default=lambda d: d)

    def domain(self, card: Card, name: str, seed: int) -> Domain:
        return self.change(super().domain(card, name, seed))


def _shuffled(domain: Domain) -> Domain:
    return draw.shuffled(domain, 1)


def _renamed(domain: Domain) -> Domain:
    return draw.renamed(domain)


def chosen(names: Iterable[str]) -> tuple[str, ...]:
    """Suites by name; all of them when none is named.

    Raises:
        Mistake: one is no calibration suite.
    """
    known = tuple(dict.fromkeys(c.cell.suite for c in CHECKS))
    for name in names:
        if name not in known:
            raise Mistake(f"selftest {name}: no calibration suite is called that{suggest(name, known)}")
    return tuple(names) or known


def jobs_here() -> int:
    return default_jobs("cpu")


def _cells(suite: str) -> list[cells.Cell]:
    """All cells that a suite's demands speak of."""
    asked = [c.cell for c in CHECKS]
    asked += [x for c in comparisons() for x in (c.better, c.worse)]
    return [c for c in dict.fromkeys(asked) if c.suite == suite]


def _learners() -> list[str]:
    return sorted({c.method.partition(":")[0] for s in chosen(()) for c in _cells(s)})


def _cell(c: cells.Cell, seed: int, workers: Workers) -> Cell:
    """The harness's cell of one of the suite's."""
    key = c.method, c.settings
    if key not in _described:
        _described[key] = plans.described(c.method, dict(c.settings), workers)
    return plans.cell(card.named(c.task), _described[key], c.k, seed)


_described: dict[tuple[str, tuple[tuple[str, str], ...]], Description] = {}


def _conditions(jobs: int) -> Conditions:
    return Conditions(threads=threads_for(jobs))


@contextmanager
def _own_cache() -> Iterator[Path]:
    """A folder for rows, and within it a cache for arrays that nobody will ask for again."""
    before = os.environ.get("TLBENCH_CACHE")
    with tempfile.TemporaryDirectory(prefix="tlbench-selftest-") as name:
        os.environ["TLBENCH_CACHE"] = str(Path(name) / "cache")
        try:
            yield Path(name)
        finally:
            if before is None:
                del os.environ["TLBENCH_CACHE"]
            else:
                os.environ["TLBENCH_CACHE"] = before


def _mean(values: Sequence[float]) -> str:
    if len(values) < 2:
        return "not measured"
    return f"{np.mean(values):.4f} ± {np.std(values, ddof=1) / len(values) ** 0.5:.4f}"


def by_suite(findings: Iterable[Finding]) -> dict[str, list[Finding]]:
    found: dict[str, list[Finding]] = defaultdict(list)
    for f in findings:
        found[f.suite].append(f)
    return found
