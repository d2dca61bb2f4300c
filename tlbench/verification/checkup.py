"""`tlbench check`: the promises of a method one after the other, then real tasks, and what is printed of them."""

from __future__ import annotations

import json
import shlex
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from tlbench.methods import method as methods
from tlbench.results.store import Store
from tlbench.runner import plan as plans
from tlbench.runner import requirements
from tlbench.runner.cell import Cell, Conditions
from tlbench.runner.cell_job import Bench
from tlbench.runner.sandbox.sandbox import Limits, memory_share
from tlbench.runner.sweep import Sweep, default_jobs, threads_for
from tlbench.runner.worker.local import Workers
from tlbench.tasks import card, registry
from tlbench.tasks.card import Budget, Task
from tlbench.verification.contract import BROKEN, HARNESS, KEPT, PRELOADED, REFUSED, Examination, Finding
from tlbench.verification.promises import PROMISES


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
    asked = [(plans.cell(task, d, k, 0), k) for task, k in cells]
    with tempfile.TemporaryDirectory(prefix="tlbench-check-") as folder:
        store = Store(Path(folder))
        Sweep([c for c, _ in asked if not requirements.refusal(c)], bench, store, e.workers, jobs, limits).run()
        for c, k in asked:
            yield Finding(
                c.task.name,
                f"works on {c.task.name} with {k} label{'s' * (k != 1)} a class",
                *_of_cell(c, bench, store),
                f"tlbench run --task {shlex.quote(c.task.file or c.task.name)} --method {shlex.quote(e.spec)} "
                f"--budgets {k} --seeds 0",
            )


def _of_cell(c: Cell, bench: Bench, store: Store) -> tuple[str, str]:
    if why := requirements.refusal(c):
        return REFUSED, why
    row = store.rows[bench.key(c)]
    if row.ok:
        return KEPT, f"{row.metric} {row.value:.3f} in {row.fit_s:.1f} s"
    return REFUSED if row.status == "refused" else BROKEN, row.reason or ""


def check(
    spec: str, settings: Mapping[str, str], tasks: Sequence[str], promises: Sequence[str], quick: bool, jobs: int | None
) -> Iterator[Finding]:
    """Every promise, or those named, one after the other; then the tasks, unless it is to be quick.

    Raises:
        Mistake: no such method, setting, promise or task.
    """
    named = [(t, k) for name in tasks for t in registry.find(name) for k in t.card.quick.budgets]
    shipped = [f"tlbench_baselines.{spec}"] if spec in methods.shipped() else []
    with Workers(modules=[*PRELOADED, *shipped]) as workers:
        e = Examination(spec, settings, workers)
        for name in promises or PROMISES:
            yield (finding := e.promised(name))
            if finding.outcome == BROKEN and finding.happened.startswith("took longer"):
                return  # the others would hang too
        if named or not (quick or promises):
            yield from on_tasks(e, named or embedded(), jobs)


def show(findings: Iterator[Finding], spec: str, as_json: bool) -> int:
    """Print findings as they come. Returns 1 when a promise is broken, else 0."""
    found = []
    for f in findings:
        found.append(f)
        if not as_json:
            print(f"{f.outcome:<7}  {f.said}{f': {f.happened}' if f.happened else ''}", flush=True)
            if f.outcome == BROKEN:
                print(f"         again: {f.again}")
    broken = sum(f.outcome == BROKEN for f in found)
    if as_json:
        print(json.dumps([asdict(f) for f in found], ensure_ascii=False))
    else:
        print(f"{spec}: {f'{broken} of {len(found)} promises are broken' if broken else 'keeps its promises'}")
    return int(broken > 0)
