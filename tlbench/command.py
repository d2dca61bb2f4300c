"""What `run`, `worker`, `collect` and `leaderboard` do: words to values, progress on the way, a table at the end."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tlbench import api, descriptions, planfile, registry, store
from tlbench.api import Options, Outcome
from tlbench.bench import Bench
from tlbench.card import FULL, Budget
from tlbench.cell import Cell
from tlbench.jail import resolve
from tlbench.method import shipped
from tlbench.mistake import Mistake
from tlbench.report import HEADER, Gap, Line, as_json, cells
from tlbench.request import DEFAULT, Request
from tlbench.selection import RULES
from tlbench.store import Store, default_folder
from tlbench.sweep import Sweep, default_jobs

if TYPE_CHECKING:
    from rich.progress import Progress
    from rich.table import Table


ALL = "all"  # methods


def budgets(text: str | None) -> tuple[Budget, ...] | None:
    """'0,1,5,full' -> (0, 1, 5, 'full').

    Raises:
        Mistake: a part is neither a whole number nor 'full'.
    """
    if text is None:
        return None
    parts = [p.strip() for p in text.split(",")]
    for p in parts:
        if p != FULL and not p.isdigit():
            raise Mistake(f"--budgets: {p!r} is no budget; write labels per class as 0,1,5,20 or full")
    return tuple(dict.fromkeys(budget(p) for p in parts))


def budget(text: str) -> Budget:
    return FULL if text == FULL else int(text)


def seeds(text: str | None) -> tuple[int, ...] | None:
    """'0-4' or '0,3,7' or a mix -> seeds.

    Raises:
        Mistake: a part is neither a whole number nor a range of them.
    """
    if text is None:
        return None
    found: list[int] = []
    for part in (p.strip() for p in text.split(",")):
        low, dash, high = part.partition("-")
        if not low.isdigit() or (dash and not (high.isdigit() and int(high) >= int(low))):
            raise Mistake(f"--seeds: {part!r} is neither a seed nor a range; write 0-4 or 0,3,7")
        found += range(int(low), int(high) + 1) if dash else [int(low)]
    return tuple(dict.fromkeys(found))


def methods(names: Sequence[str]) -> tuple[str, ...]:
    """'all' -> every method that ships; other names stay."""
    return tuple(dict.fromkeys(n for name in names for n in (shipped() if name == ALL else [name])))


def settings(words: Sequence[str]) -> dict[str, str]:
    """['steps=500'] -> {'steps': '500'}.

    Raises:
        Mistake: a word without '='.
    """
    for word in words:
        if "=" not in word:
            raise Mistake(f"--set {word}: write name=value, as --set steps=500")
    return {name.strip(): value.strip() for name, _, value in (w.partition("=") for w in words)}


class Bar:
    """Progress on stderr: a bar with an estimate on a terminal, a line now and then elsewhere."""

    def __init__(self, progress: Progress | None) -> None:
        self.progress, self.said = progress, time.monotonic()
        self.task = progress.add_task("starting", total=None, left="") if progress else None

    def tell(self, done: int, of: int, left: float | None, label: str) -> None:
        about = f"about {_human(left)} left" if left is not None and done < of else ""
        if self.progress is not None and self.task is not None:
            self.progress.update(
                self.task, completed=done, total=max(of, 1), description=label[:60] or "cells", left=about
            )
        elif time.monotonic() - self.said > 10:
            self.said = time.monotonic()
            print(f"{done} of {of} cells, {about}", file=sys.stderr, flush=True)

    def extraction(self, what: str, done: int, of: int) -> None:
        if self.progress is not None and self.task is not None:
            self.progress.update(self.task, completed=done, total=of, description=what, left="")
        elif time.monotonic() - self.said > 10:
            self.said = time.monotonic()
            print(f"{what}: {done} of {of} images", file=sys.stderr, flush=True)


def _human(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


@contextmanager
def bar() -> Iterator[Bar]:
    """A progress display while the block runs."""
    if not sys.stderr.isatty():
        yield Bar(None)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield Bar(progress)


def run(request: Request, options: Options, json_wanted: bool) -> int:
    """Run, print the table, and say what a reader must know of it. Returns the exit code."""
    with bar() as shown:
        outcome = api.execute(request, options, shown.tell, shown.extraction)
    for text in (*outcome.plan.notices, *outcome.store.warnings()):
        print(f"note: {text}", file=sys.stderr)
    if json_wanted:
        print(json.dumps(_as_json(outcome), ensure_ascii=False))
    else:
        for rule in request.rules:
            print_rule(rule, [x for x in outcome.lines if x.rule == rule])
        print_gaps(outcome.gaps)
        print(_footer(outcome))
    return 0


def _as_json(outcome: Outcome) -> dict[str, object]:
    return {
        "provisional": outcome.plan.provisional,
        "computed": outcome.computed,
        "store": str(outcome.store.file),
        "notices": outcome.plan.notices,
        "lines": as_json(outcome.lines),
        "gaps": [asdict(g) for g in outcome.gaps],
        "rows": [row.values() for row in outcome.rows],
    }


def print_rule(name: str, lines: Sequence[Line]) -> None:
    """The table of a rule; one that is not the published default says what was looked at."""
    rule = RULES[name]
    if name != DEFAULT:
        apart = "" if rule.ranked else "; never ranked"
        print(f"rule {name}: {rule.summary} (labels touched: {rule.touches}{apart})")
    print_table(lines)


def print_gaps(gaps: Sequence[Gap]) -> None:
    """What each rule leaves below the oracle's choice."""
    if not gaps:
        return
    print("selection gap: points of each rule below the oracle's choice, on the test samples")
    for g in gaps:
        below = ", ".join(f"{rule} {'–' if x is None else f'{x:.1f}'}" for rule, x in g.below.items())
        print(
            f"  {g.task}, k = {g.budget}, {g.method}: oracle {g.oracle:.1f}; {below or 'no other rule was asked for'}"
        )
    print()


def print_table(lines: Sequence[Line]) -> None:
    """The table on stdout."""
    from rich.console import Console

    console = Console() if sys.stdout.isatty() else Console(width=180)
    console.print(table(lines))


def table(lines: Sequence[Line]) -> Table:
    """The lines, one section a task and budget."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    drawn = Table(box=SIMPLE_HEAD, pad_edge=False)
    for i, title in enumerate(HEADER):
        drawn.add_column(title, justify="left" if i in (0, 2) else "right", no_wrap=True)
    before: Line | None = None
    for x in lines:
        if before and (before.task, before.budget) != (x.task, x.budget):
            drawn.add_section()
        text = cells(x)
        drawn.add_row(*(text if not before or before.task != x.task else ("", *text[1:])))
        before = x
    return drawn


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
    with api.started(options) as workers:
        made, bench = api.prepared(request, options, workers)
        rows = Store(options.results or default_folder()).rows
        todo = [c for c in made.cells if bench.key(c) not in rows]
        planfile.write(file, todo, bench)
    for text in made.notices:
        print(f"note: {text}", file=sys.stderr)
    print(f"{file}: {len(todo)} cells to run, {len(made.cells) - len(todo)} in the store already")


def forecast(request: Request, options: Options, json_wanted: bool) -> None:
    """Say what a request would take: cells, time, memory, disk."""
    from tlbench import forecast as forecasts

    with api.started(options) as workers:
        made, bench = api.prepared(request, options, workers)
    held = Store(options.results or default_folder())
    jobs = options.jobs or default_jobs(bench.conditions.device)
    folder = next(p for p in (held.folder, *held.folder.absolute().parents) if p.exists())
    found = forecasts.forecast(made.cells, bench, held, jobs, shutil.disk_usage(folder).free / 2**20)
    for text in made.notices:
        print(f"note: {text}", file=sys.stderr)
    print(json.dumps(asdict(found)) if json_wanted else forecasts.sentence(found))


def worker(file: Path, index: int, results: Path | None, jail: str = "auto") -> int:
    """Run one cell of a plan. Returns 1 when the cell failed."""
    line = planfile.read(file, index)
    options = Options(results, line["conditions"].data_root, jail=jail)
    with api.started(options, api.preloaded([line["method"]]), line["conditions"].threads) as workers:
        bench = Bench(line["conditions"])
        notes = [resolve(jail)[1], api.settled(options, bench.conditions.device, workers)]
        described = descriptions.describe([line["method"]], {}, workers)[line["method"]]
        task = registry.named(line["task"], line["card"])
        cell = Cell(task, replace(described, config=line["config"]), line["budget"], line["seed"], line["trial"])
        if bench.key(cell) != line["key"]:
            raise Mistake(
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


def leaderboard(results: Path | None, file: Path | None, check: bool) -> int:
    """Rebuild the board, or with `check` say whether it would change."""
    from tlbench import board

    folder = results or default_folder()
    rows, place = Store(folder), file or folder.parent / "leaderboard.md"
    for text in rows.warnings():
        print(f"note: {text}", file=sys.stderr)
    changed = board.rebuild(rows, place, write=not check)
    said = "unchanged" if not changed else "would change" if check else "rebuilt"
    print(f"{place}: {said}, {len(rows.rows)} rows")
    return int(check and changed)


def reproduce(names: Sequence[str], options: Options, words: Sequence[str], check: bool) -> int:
    """Run published tables and write what came of them. With `check`, 1 when the document would change."""
    from tlbench import reproduce as tables

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
    from tlbench.calibration.demands import of_learners, of_methods
    from tlbench.selftest import Selftest, by_suite, chosen, jobs_here

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
