"""What `run`, `worker`, `collect` and `leaderboard` do, and what they print."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from tlbench.cli.commands.arguments import settings
from tlbench.cli.commands.console import bar, print_gaps, print_rule
from tlbench.errors import UsageError, suggest
from tlbench.methods import versions
from tlbench.results import editions, store
from tlbench.results.run_table import as_json, unsettled
from tlbench.results.store import Store, default_folder
from tlbench.runner import descriptions, experiment, places
from tlbench.runner.cell import Cell
from tlbench.runner.cell_job import Bench
from tlbench.runner.experiment import Options, Outcome
from tlbench.runner.plan import Request, check_bf16, read_plan, write_plan
from tlbench.runner.sandbox.sandbox import resolve
from tlbench.runner.sweep import Sweep, default_jobs
from tlbench.tasks import registry


def run(request: Request, options: Options, json_wanted: bool) -> int:
    """Run, print the table, and say what a reader must know of it. Returns the exit code."""
    with bar() as shown:
        outcome = experiment.execute(request, options, shown.tell, shown.extraction)
    for text in (*_notices(outcome), *outcome.store.warnings()):
        print(f"note: {text}", file=sys.stderr)
    if json_wanted:
        print(json.dumps(_as_json(outcome), ensure_ascii=False))
    else:
        for rule in request.rules:
            print_rule(rule, [x for x in outcome.lines if x.rule == rule])
        print_gaps(outcome.gaps)
        print(_footer(outcome))
    return 0


def _notices(outcome: Outcome) -> list[str]:
    return [*outcome.plan.notices, *unsettled(outcome.rows)]


def _as_json(outcome: Outcome) -> dict[str, object]:
    return {
        "provisional": outcome.plan.provisional,
        "computed": outcome.computed,
        "store": str(outcome.store.file),
        "notices": _notices(outcome),
        "lines": as_json(outcome.lines),
        "gaps": [asdict(g) for g in outcome.gaps],
        "rows": [row.values() for row in outcome.rows],
    }


def _footer(outcome: Outcome) -> str:
    seeds = sorted({x.seeds for x in outcome.lines})
    found = len(outcome.plan.cells) - outcome.computed
    said = [
        f"{outcome.computed} cells computed, {found} found in {outcome.store.file}.",
        "± is a 95 % interval over seeds and test examples; gains are in points, paired by seed and example; negative "
        "transfer: more than 1 point below target-only (at k = 0: source-only).",
    ]
    if outcome.plan.provisional:
        said.append(f"PROVISIONAL: {min(seeds)} seeds cannot test a difference; --full runs all budgets and seeds.")
    failed = [x for x in outcome.lines if x.note]
    said += [f"{x.task}, k = {x.budget}, {x.method}: {x.note}" for x in failed[:10]]
    if len(failed) > 10:
        said.append(f"… and {len(failed) - 10} more lines with failed or refused cells")
    if any(r.status == "failed" for r in outcome.rows):
        said.append("Failed cells are kept as they are; --retry-failed runs them again.")
    return "\n".join(said)


def plan(request: Request, options: Options, file: Path) -> None:
    """Write the cells of a request that are not in the store."""
    with experiment.started(options) as workers:
        made, bench = experiment.prepared(request, options, workers)
        held = Store(options.results or default_folder())
        todo = Sweep(made.cells, bench, held, workers, retry_failed=options.retry_failed).missing()
        write_plan(file, todo, bench)
    for text in made.notices:
        print(f"note: {text}", file=sys.stderr)
    print(f"{file}: {len(todo)} cells to run, {len(made.cells) - len(todo)} in the store already")


def forecast(request: Request, options: Options, json_wanted: bool) -> None:
    """Say what a request would take: cells, time, memory, disk."""
    from tlbench.runner import forecast as forecasts

    with experiment.started(options) as workers:
        made, bench = experiment.prepared(request, options, workers)
        held = Store(options.results or default_folder())
        todo = Sweep(made.cells, bench, held, workers, retry_failed=options.retry_failed).missing()
    jobs = options.jobs or default_jobs(bench.conditions.device)
    folder = next(p for p in (held.folder, *held.folder.absolute().parents) if p.exists())
    found = forecasts.forecast(made.cells, todo, bench, held, jobs, shutil.disk_usage(folder).free / 2**20)
    for text in made.notices:
        print(f"note: {text}", file=sys.stderr)
    print(json.dumps(asdict(found)) if json_wanted else forecasts.sentence(found))


def worker(file: Path, index: int, results: Path | None, jail: str = "auto") -> int:
    """Run one cell of a plan. Returns 1 when the cell failed."""
    line = read_plan(file, index)
    options = Options(results, line["conditions"].data_root, jail=jail)
    with experiment.started(options, experiment.preloaded([line["method"]]), line["conditions"].threads) as workers:
        bench = Bench(line["conditions"])
        notes = [resolve(jail)[1], experiment.settled(options, bench.conditions.device, workers)]
        described = descriptions.describe([line["method"]], {}, workers)[line["method"]]
        task = registry.named(line["task"], line["card"])
        notes += check_bf16(bench, [task], workers)
        cell = Cell(task, replace(described, config=line["config"]), line["budget"], line["seed"], line["trial"])
        if bench.key(cell) != line["key"]:
            raise UsageError(
                f"{file}:{index + 1}: {cell.label}: data, weights or code here differ from where the plan was made; "
                "bring both to the same state and write the plan anew"
            )
        part = store.shard(results or default_folder(), index)
        sweep = Sweep([cell], bench, part, workers, kept=results or default_folder())
        sweep.run()
    row = part.rows[bench.key(cell)]
    for note in filter(None, notes):
        print(f"note: {note}", file=sys.stderr)
    print(f"{cell.label}: {row.status}{f', {row.reason}' if row.reason else ''}; row in {part.file}")
    return 0 if row.ok else 1


def collect(results: Path | None) -> None:
    """Fold shards in and say how many rows were new."""
    folder = results or default_folder()
    new, warnings = store.collect(folder)
    for text in warnings:
        print(f"note: {text}", file=sys.stderr)
    print(f"{folder / 'rows.jsonl'}: {new} new rows")


def pack(results: Path | None) -> None:
    """Pack the store and say what became of it."""
    file, n = store.pack(results or default_folder())
    print(f"{file}: {n} rows, {file.stat().st_size / 2**20:.1f} MiB" if file else "nothing to pack")


def leaderboard(results: Path | None, file: Path | None, check: bool, name: str | None = None) -> int:
    """Rebuild an edition's board, or with `check` say whether it would change, and whether a frozen edition's ranks and
    gains are still the ones that it was frozen with."""
    from tlbench.board import freezing, markdown

    board, place, own = markdown.board_of(results or default_folder(), file, name)
    for text in board.store.warnings():
        print(f"note: {text}", file=sys.stderr)
    if not check and not place.exists() and board.edition.name in place.parts:
        markdown.start(place)
    changed, lost = markdown.rebuild(board, place, own, write=not check), freezing.lost(board)
    said = "unchanged" if not changed else f"would change: {', '.join(changed)}" if check else "rebuilt"
    print(f"{place}: {said}, {len(board.store.rows)} rows, edition {board.edition.name}")
    if lost:
        print(f"edition {board.edition.name}: its ranks and gains are not those that it was frozen with ({lost})")
    return int((check and bool(changed)) or bool(lost))


def editions_of(results: Path | None, json_wanted: bool) -> None:
    """Say which editions a store has."""
    folder = results or default_folder()
    found = [e.made for e in editions.all_of(folder).values()]
    if json_wanted:
        print(json.dumps([m.model_dump(exclude={"suites", "methods", "grid"}) for m in found]))
        return
    for m in found:
        print(f"{m.name}: frozen {m.frozen}, tlbench {m.release}, {m.rows:,} rows, {len(m.methods)} methods, "
              f"{len(m.grid.tasks)} tasks in its grid, code of {len(m.commits)} commits")  # fmt: skip
    print(f"{editions.OPEN}: {len(Store(folder).rows):,} rows")


def freeze(name: str, results: Path | None) -> None:
    """Freeze the open edition under a name."""
    from tlbench.board import freezing

    made = freezing.freeze(results or default_folder(), name)
    print(f"edition {made.name}: {made.rows:,} rows, {len(made.methods)} methods, digest {made.digest[:16]}; now: "
          "tlbench leaderboard, and commit results/ and leaderboard.md")  # fmt: skip


def changes(old: str, new: str, results: Path | None, file: Path | None) -> None:
    """Write or print what changed from one edition to another."""
    from tlbench.board import changes as between

    folder = results or default_folder()
    text = between.page(folder, editions.named(folder, old), editions.named(folder, new))
    if file is None:
        print(text)
    else:
        file.write_text(text, encoding="utf-8")
        print(f"{file}: changes from edition {old} to {new}")


def answers(names: Sequence[str], why: str | None) -> int:
    """Hold methods' answers against the recorded ones, or with `why` record what moved. Returns 1 where they moved and
    the libraries are the recorded ones."""
    from tlbench.verification import answers as guarded

    if unknown := [name for name in names if name not in guarded.names()]:
        raise UsageError(f"answers: no method {unknown[0]!r} ships{suggest(unknown[0], guarded.names())}")
    asked = list(names or guarded.names())
    with places.executor() as workers, bar() as shown:
        start = time.monotonic()

        def tell(done: int, name: str) -> None:
            left = (time.monotonic() - start) * (len(asked) / done - 1)
            shown.tell(done, len(asked), left, f"answers of {name}")

        found = guarded.asked(asked, workers, tell)
    new = guarded.unrecorded(found)
    moved = guarded.update(found, why) if why is not None else guarded.compared(found)
    for name in new:
        print(f"{name}: {len(new[name])} new sets {'not recorded yet' if why is None else 'recorded'}")
    for m in moved:
        by = f" by {m.by:.1e} of the largest score" if m.by < float("inf") else ""
        said = f"now version {versions.of(m.method)}" if why is not None else "needs a new version"
        print(f"{m.method}: {m.why}{by}: {said}")
    others = guarded.libraries() != versions.recorded()["libraries"]
    if others and why is None:
        said = f"recorded with other libraries ({guarded.other_libraries()}); what moved is no failure"
        print(f"note: {said}", file=sys.stderr)
    print(f"{len(asked) - len(moved)} of {len(asked)} answer as recorded")
    return int(bool(moved or new) and why is None and not others)


def reproduce(names: Sequence[str], options: Options, words: Sequence[str], check: bool) -> int:
    """Run published tables and write what came of them. With `check`, 1 when the document would change."""
    from tlbench.verification import reproduce as tables

    work = tables.Reproduction(tables.chosen(names), options, settings(words))
    if check:
        rows = Store(tables.folder(options.results))
    else:
        with bar() as shown:
            rows = work.run(shown.tell, shown.extraction)
    for text in (*work.notices, *rows.warnings()):
        print(f"note: {text}", file=sys.stderr)
    file = tables.place(options.results)
    changed = tables.document(rows, file, write=not check)
    print(f"{file}: {'unchanged' if not changed else 'would change' if check else 'rebuilt'}, {len(rows.rows)} rows")
    return int(check and changed)


def selftest(suites: Sequence[str], methods: bool, jobs: int | None, every: bool, json_wanted: bool) -> int:
    """Run the calibration suites. Returns 1 when a demand does not hold."""
    from tlbench.verification.known_truth.demands import of_learners, of_methods
    from tlbench.verification.known_truth.selftest import Selftest, by_suite, chosen, jobs_here

    demands = of_methods() if methods else of_learners()
    with bar() as shown:
        found = list(Selftest(chosen(suites, demands), jobs or jobs_here(), shown.tell, demands).run())
    failed = [f for f in found if not f.holds]
    if json_wanted:
        print(json.dumps([asdict(f) for f in found], ensure_ascii=False))
        return int(bool(failed))
    for suite, own in by_suite(found).items():
        print(f"{suite:<6} {sum(f.holds for f in own)} of {len(own)} demands hold")
        for f in own if every else [x for x in own if not x.holds]:
            print(f"  {'ok  ' if f.holds else 'FAIL'} {f.what}: predicted {f.predicted}, measured {f.measured}")
    print(f"{len(found) - len(failed)} of {len(found)} demands hold.")
    return int(bool(failed))
