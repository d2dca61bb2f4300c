"""`tlbench check`: the checks that every method must pass, each in a worker's child of its own, then real tasks."""

from __future__ import annotations

import json
import shlex
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tlbench.errors import UsageError, suggest
from tlbench.methods import method as methods
from tlbench.methods.method import Description
from tlbench.results.store import Store
from tlbench.runner import descriptions, places, plan
from tlbench.runner import plan as plans
from tlbench.runner.cell import Cell, Conditions
from tlbench.runner.cell_job import Bench
from tlbench.runner.executors import Executor
from tlbench.runner.sandbox.sandbox import Limits, memory_share
from tlbench.runner.sweep import Sweep, default_jobs, threads_for
from tlbench.tasks import card, registry
from tlbench.tasks.card import Budget, Task
from tlbench.verification.checks import CHECKS

PASS, FAIL, SKIP, INFO = "pass", "FAIL", "skip", "info"
HARNESS = Limits()  # where a method names no limit of its own
PATIENCE = Limits(seconds=300.0, memory_mib=8192)  # for a fit on a few dozen samples

START_S = 5.0  # that a worker may take before it calls the method
PRELOADED = (
    "tlbench.runner.worker.child",
    "tlbench.verification.proof",
)  # many short jobs: what each would import again


@dataclass(frozen=True)
class Finding:
    """The outcome of one check."""

    check: str  # its name, or a task's name
    said: str  # what the method must do, of "the method …"
    outcome: str  # pass, FAIL, skip (not applicable, as the method itself declares), info (a measurement alone)
    happened: str
    again: str  # the command that repeats it


@dataclass
class Examination:
    """One method before the workers: described once, then asked check by check.

    Raises:
        UsageError: no method is called that, it needs what is not installed, or a setting is none of its fields.
    """

    spec: str
    settings: Mapping[str, str]
    workers: Executor
    described: Description | None = None
    unfit: str = ""  # why it cannot be described

    def __post_init__(self) -> None:
        methods.check_name(self.spec)
        try:
            self.described = descriptions.described(self.spec, {}, self.workers, PATIENCE)
        except UsageError as mistake:
            self.unfit = str(mistake)
            return
        if lacking := plan.lacks(self.described):
            raise UsageError(lacking)
        if self.settings:
            self.described = descriptions.described(self.spec, dict(self.settings), self.workers, PATIENCE)

    def checked(self, name: str) -> Finding:
        """The outcome of a check.

        Raises:
            UsageError: there is no such check.
        """
        if name not in CHECKS:
            raise UsageError(f"--only {name}: unknown{suggest(name, CHECKS)}")
        d = self.described
        if d is None:
            outcome = (FAIL, self.unfit) if name == "frozen" else (INFO, "not checked: the method cannot be described")
        else:
            outcome = ASKED.get(name, _plain)(self, d, name)
        return Finding(name, CHECKS[name], *outcome, self.command(f"--only {name}"))

    def command(self, rest: str) -> str:
        settings = "".join(f" --set {shlex.quote(f'{k}={v}')}" for k, v in self.settings.items())
        return f"tlbench check {shlex.quote(self.spec)}{settings} {rest}"

    def ask(self, d: Description, check: str, limits: Limits = PATIENCE, seed: int = 7) -> dict[str, Any]:
        """A worker's report; `broken` is there whatever became of the worker."""
        job = {
            "kind": "tlbench.verification.proof:check", "method": descriptions.absolute(self.spec), "config": d.config,
            "check": check,
            "seed": seed, "needs": d.needs, "ignores": d.ignores, "regimes": d.regimes,
        }  # fmt: skip
        report = self.workers.ask(job, limits)
        return report if report["status"] in ("ok", "refused") else {**report, "broken": report["reason"]}


def _judged(report: dict[str, Any], kept: str = "") -> tuple[str, str]:
    if report["status"] == "refused":
        return SKIP, str(report["reason"])
    return (FAIL, str(report["broken"])) if report["broken"] else (PASS, kept)


def _plain(e: Examination, d: Description, name: str) -> tuple[str, str]:
    return _judged(e.ask(d, name))


def _shape(e: Examination, d: Description, name: str) -> tuple[str, str]:
    """A method may refuse what it does not fit, but not all that it says it fits."""
    outcome, said = _judged(e.ask(d, name))
    none = outcome == SKIP and not said.startswith("there is no set of")
    return (FAIL, f"it refuses an ordinary task of its regimes: {said}") if none else (outcome, said)


def _same_seed(e: Examination, d: Description, name: str) -> tuple[str, str]:
    first, second = e.ask(d, name), e.ask(d, name)
    same = first.get("digest") == second.get("digest")
    return _judged(first) if same else (FAIL, "two processes with seed 7 gave different scores")


def _other_seed(e: Examination, d: Description, name: str) -> tuple[str, str]:
    first, second = e.ask(d, name, seed=7), e.ask(d, name, seed=8)
    outcome, said = _judged(first)
    if outcome != PASS:
        return outcome, said
    same = first.get("digest") == second.get("digest")
    return INFO, f"another seed gives {'the same' if same else 'other'} scores"


def _costs(e: Examination, d: Description, name: str) -> tuple[str, str]:
    measure, unit = ("seconds", "s") if name == "time" else ("memory_mib", "MiB")
    most = getattr(d, measure)
    own = {"time": Limits(seconds=(most or 0) + START_S), "memory": Limits(memory_mib=most or 0)}[name]
    report = e.ask(d, name, own if most else PATIENCE)
    outcome, said = _judged(report)
    if outcome == PASS:
        said = f"{report[measure]:.3g} {unit}"
        outcome = INFO if most is None else FAIL if report[measure] > most else PASS
    if most is None:
        return outcome, f"{said}; it names no limit, so the harness's holds ({getattr(HARNESS, measure):g} {unit})"
    return outcome, f"{said}; it names {most:g} {unit}"


ASKED: dict[str, Callable[[Examination, Description, str], tuple[str, str]]] = {
    "shape": _shape, "same_seed": _same_seed, "other_seed": _other_seed, "time": _costs, "memory": _costs,
}  # fmt: skip


def embedded() -> list[tuple[Task, Budget]]:
    """The first task of every suite that needs no download, at the least and the most labels of its quick profile."""
    found: list[tuple[Task, Budget]] = []
    for file in registry.card_files().values():
        c = registry.read(file)
        if all(c.place(d).loader in ("embedded", "generated") for d in c.all_domains):
            ends = dict.fromkeys((c.quick.budgets[0], c.quick.budgets[-1]))
            found += [(card.tasks_of(c)[0], k) for k in ends]
    return found


def on_tasks(e: Examination, cells: Sequence[tuple[Task, Budget]], jobs: int | None) -> Iterator[Finding]:
    """What comes of real cells of seed 0, each as `tlbench run` runs it, under the method's own limits."""
    d, jobs = e.described, jobs or default_jobs("cpu")
    if d is None:
        return
    limits = Limits(d.seconds or HARNESS.seconds, d.memory_mib or memory_share(jobs))
    bench = Bench(Conditions(threads=threads_for(jobs)))
    asked = [plans.cell(task, d, k, 0) for task, k in cells]
    with tempfile.TemporaryDirectory(prefix="tlbench-check-") as folder:
        store = Store(Path(folder))
        Sweep([c for c in asked if not plan.refusal(c)], bench, store, e.workers, jobs, limits).run()
        for c in asked:
            _, k = c.asked or (c.task, c.budget)
            yield Finding(
                c.task.name,
                f"works on {c.task.name} with {k} label{'s' * (k != 1)} a class",
                *_of_cell(c, bench, store),
                f"tlbench run --task {shlex.quote(c.task.file or c.task.name)} --method {shlex.quote(e.spec)} "
                f"--budgets {k} --seeds 0",
            )


def _of_cell(c: Cell, bench: Bench, store: Store) -> tuple[str, str]:
    if why := plan.refusal(c):
        return SKIP, why
    row = store.rows[bench.key(c)]
    if row.ok:
        return PASS, f"{row.metric} {row.value:.3f} in {row.fit_s:.1f} s"
    return SKIP if row.status == "refused" else FAIL, row.reason or ""


def check_method(
    spec: str, settings: Mapping[str, str], tasks: Sequence[str], checks: Sequence[str], quick: bool, jobs: int | None
) -> Iterator[Finding]:
    """Every check, or those named, one after the other; then the tasks, unless it is to be quick.

    Raises:
        UsageError: no such method, setting, check or task.
    """
    named = [(t, k) for name in tasks for t in registry.find(name) for k in t.card.quick.budgets]
    shipped = [f"tlbench_baselines.{spec}"] if spec in methods.shipped() else []
    with places.executor(modules=[*PRELOADED, *shipped]) as workers:
        e = Examination(spec, settings, workers)
        for name in checks or CHECKS:
            yield (finding := e.checked(name))
            if finding.outcome == FAIL and finding.happened.startswith("took longer"):
                return  # the others would hang too
        if named or not (quick or checks):
            yield from on_tasks(e, named or embedded(), jobs)


def show_findings(findings: Iterator[Finding], spec: str, as_json: bool) -> int:
    """Print findings as they come. Returns 1 if a check failed, else 0."""
    found = []
    for f in findings:
        found.append(f)
        if not as_json:
            print(f"{f.outcome:<7}  {f.said}{f': {f.happened}' if f.happened else ''}", flush=True)
            if f.outcome == FAIL:
                print(f"         again: {f.again}")
    broken = sum(f.outcome == FAIL for f in found)
    if as_json:
        print(json.dumps([asdict(f) for f in found], ensure_ascii=False))
    else:
        print(f"{spec}: {f'{broken} of {len(found)} checks failed' if broken else 'passes all checks'}")
    return int(broken > 0)
