"""`tlbench selftest`: the calibration suite through the whole harness, predicted against measured.

Cells are planned, run in workers, scored and stored as any others, in a store and a cache of their own. Nothing here
knows a closed form: `closed_forms` does.
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

from tlbench.data import Domain
from tlbench.errors import UsageError, suggest
from tlbench.methods.method import Description, shipped
from tlbench.results.row import Row
from tlbench.results.store import Store
from tlbench.runner import descriptions, places
from tlbench.runner import plan as plans
from tlbench.runner.cell import Cell, Conditions
from tlbench.runner.cell_job import Bench
from tlbench.runner.executors import Executor
from tlbench.runner.sandbox.sandbox import Limits, memory_share
from tlbench.runner.sweep import Sweep, default_jobs, threads_for
from tlbench.tasks import registry
from tlbench.tasks.card import Card
from tlbench.tasks.synthetic import draw
from tlbench.verification.known_truth import checks
from tlbench.verification.known_truth.checks import Comparison, below_ceiling, ceiling
from tlbench.verification.known_truth.demands import Demands, of_learners

Tell = Callable[[int, int, float | None, str], None]
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
    demands: Demands = field(default_factory=of_learners)
    values: dict[checks.Cell, list[float]] = field(default_factory=dict)
    rows: dict[checks.Cell, list[Row]] = field(default_factory=dict)

    def run(self) -> Iterator[Finding]:
        """Run suite by suite and yield the findings."""
        modules = _modules(self.demands.methods)
        with _own_cache() as folder, places.executor(modules=modules, threads=threads_for(self.jobs)) as workers:
            for suite in self.suites:
                self._run(self.demands.cells(suite), Bench(_conditions(self.jobs)), Store(folder / suite), workers)
                yield from self.findings(suite)
            yield from self._crashes(folder, workers)
            yield from self._permuted(folder, workers)

    def _run(self, wanted: Sequence[checks.Cell], bench: Bench, store: Store, workers: Executor) -> None:
        made = {c: [_cell(c, seed, workers) for seed in range(self.demands.seeds)] for c in wanted}
        limits = Limits(memory_mib=memory_share(self.jobs))
        once = list(dict.fromkeys(x for group in made.values() for x in group))
        Sweep(once, bench, store, workers, self.jobs, limits, tell=self.tell).run()
        for c, group in made.items():
            self.rows[c] = [store.rows[bench.key(x)] for x in group]
            sign = -1 if c.suite in checks.REGRESSION else 1
            self.values[c] = [sign * r.value for r in self.rows[c] if r.value is not None]

    def findings(self, suite: str) -> Iterator[Finding]:
        """Every demand on one suite."""
        for check in (c for c in self.demands.checks if c.cell.suite == suite):
            holds = self._whole(check.cell) and check.holds(self.values[check.cell])
            yield Finding(suite, str(check.cell), f"{check.form():.4f}", self._measured(check.cell), holds)
        for c in (c for c in self.demands.comparisons if c.better.suite == suite):
            yield self._compared(c)
        for cell, values in self.values.items():
            if cell.suite == suite and suite not in checks.REGRESSION and self._whole(cell):
                best = ceiling(suite, cell.target)
                holds = below_ceiling(values, best, cell.n_test)
                yield Finding(suite, f"ceiling: {cell}", f"at most {best:.4f}", _mean(values), holds)

    def _compared(self, c: Comparison) -> Finding:
        holds = self._whole(c.better, c.worse) and c.holds(self.values[c.better], self.values[c.worse])
        what = f"{c.where}: {c.better} against {c.worse}"
        measured = " against ".join(map(self._measured, (c.better, c.worse)))
        return Finding(c.better.suite, what, f"better by {c.margin:g}", measured, holds)

    def _whole(self, *asked: checks.Cell) -> bool:
        """Whether every seed of the cells has a value."""
        return all(len(self.values.get(cell, ())) == self.demands.seeds for cell in asked)

    def _measured(self, cell: checks.Cell) -> str:
        """The mean of a cell, or what became of it where it lacks values."""
        if self._whole(cell):
            return _mean(self.values[cell])
        failed = (f"seed {r.seed} {r.status}: {r.reason}" for r in self.rows.get(cell, ()) if not r.ok)
        return next(failed, "not measured")

    def _crashes(self, folder: Path, workers: Executor) -> Iterator[Finding]:
        """A method that raises on a fifth of the seeds is a fifth failed rows, and never a success."""
        for cell in (c for c in self.demands.crashing if c.suite in self.suites):
            self._run([cell], Bench(_conditions(self.jobs)), Store(folder / "crash"), workers)
            failed = [r.seed for r in self.rows[cell] if r.status == "failed" and "crash injected" in (r.reason or "")]
            ok = [r.seed for r in self.rows[cell] if r.ok]
            measured = f"failed at seeds {failed}, {len(ok)} others ok"
            yield Finding(cell.suite, f"control: {cell}", "failed at seeds [4, 9], 8 others ok", measured,
                          failed == [4, 9] and len(ok) == self.demands.seeds - 2)  # fmt: skip

    def _permuted(self, folder: Path, workers: Executor) -> Iterator[Finding]:
        """Samples, and the classes' names, in another order change nothing."""
        wanted = [c for c in self.demands.permuted if c.suite in self.suites]
        before = {c: self.values[c] for c in wanted}
        for name, change in (("samples", _shuffled), ("classes", _renamed)):
            self._run(wanted, _Changed(_conditions(self.jobs), change=change), Store(folder / name), workers)
            for c in wanted:
                what, asked = f"control: {name} in another order: {c}", f"within {ROUNDING:g}"
                if len(before[c]) == self.demands.seeds and self._whole(c):
                    apart = max(abs(a - b) for a, b in zip(before[c], self.values[c], strict=True))
                    yield Finding(c.suite, what, asked, f"largest change {apart:.5f}", apart <= ROUNDING)
                else:
                    yield Finding(c.suite, what, asked, self._measured(c), False)
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


def chosen(names: Iterable[str], demands: Demands) -> tuple[str, ...]:
    """Suites by name; all of which something is demanded when none is named.

    Raises:
        UsageError: nothing is demanded of one.
    """
    known = demands.suites
    for name in names:
        if name not in known:
            raise UsageError(f"selftest {name}: nothing is demanded of a suite called that{suggest(name, known)}")
    return tuple(names) or known


def jobs_here() -> int:
    return default_jobs("cpu")


def _modules(methods: Iterable[str]) -> list[str]:
    """What the workers' server imports once: modules of ours, never foreign code."""
    places = {m.partition(":")[0] for m in methods}
    return [f"tlbench_baselines.{p}" if p in shipped() else p for p in sorted(places) if not p.endswith(".py")]


def _cell(c: checks.Cell, seed: int, workers: Executor) -> Cell:
    """The harness's cell of one of the suite's."""
    key = c.method, c.settings
    if key not in _described:
        _described[key] = descriptions.described(c.method, dict(c.settings), workers)
    return plans.cell(registry.named(c.task), _described[key], c.k, seed)


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
