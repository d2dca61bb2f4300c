"""What `tlbench profile` and `tlbench calibrate` do: words to values, and a table at the end."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from tlbench.cli.commands.console import bar
from tlbench.errors import UsageError
from tlbench.results.store import default_folder
from tlbench.results.timings import Timing, Timings, ratios
from tlbench.runner import experiment, machine, places
from tlbench.runner.executors import usable_cores
from tlbench.runner.experiment import Options
from tlbench.runner.plan import Request
from tlbench.runner.sandbox.sandbox import Limits, memory_share
from tlbench.runner.sweep import resolve_device
from tlbench.runner.timing_runs import Session, cells, refusals, requested

if TYPE_CHECKING:
    import pandas as pd


def time(request: Request, options: Options, threads: int, json_wanted: bool) -> int:
    """Time a request's cells and their references one by one. Returns 1 when one failed."""
    check_threads(threads)
    request = requested(request)
    with bar() as shown, experiment.started(options, experiment.preloaded(request.methods), threads) as workers:
        plan, bench = experiment.prepared(request, options, workers, shown.extraction)
        bench.conditions = replace(bench.conditions, threads=threads)
        timings = Timings(options.results or default_folder())
        limits = Limits(options.time_limit, options.memory_limit or memory_share(1))
        session = Session(bench, workers, limits, shown.tell)
        made = session.run(cells(plan, request), timings)
    for text in (*plan.notices, *timings.warnings, *refusals(plan), *session.refused, *session.failed):
        print(f"note: {text}", file=sys.stderr)
    if json_wanted:
        print(json.dumps([asdict(t) for t in made], ensure_ascii=False))
    else:
        show(ratios(made, marked=True))
        print(footer(made, timings))
    return int(bool(session.failed))


def check_threads(threads: int) -> None:
    """Raises:
    UsageError: there are not so many cores.
    """
    if threads > usable_cores():
        raise UsageError(f"--threads {threads}: this machine gives {usable_cores()} cores; choose at most that")


COLUMNS = {  # of the table: its title, and the digits after the point
    "method": ("method", 0), "budget": ("k", 0), "ratio": ("times the baseline", 2), "low": ("from", 2),
    "high": ("to", 2), "compared": ("cells", 0), "fit_s": ("fit s", 3), "step_ms": ("step ms", 3),
    "train_samples_per_s": ("samples/s", 0), "infer_latency_ms": ("latency ms", 3),
    "infer_latency_p95_ms": ("p95", 3), "peak_rss_mib": ("peak MiB", 0), "peak_gpu_mib": ("GPU MiB", 0),
    "step_gflops": ("GFLOP a step", 6),
}  # fmt: skip


def show(frame: pd.DataFrame) -> None:
    """The table on stdout; a dash for what was not measured."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    drawn = Table(box=SIMPLE_HEAD, pad_edge=False)
    for title, _ in COLUMNS.values():
        drawn.add_column(title, justify="left" if title == "method" else "right", no_wrap=True)
    for line in frame.to_dict("records"):
        drawn.add_row(*(_cell(line[name], digits) for name, (_, digits) in COLUMNS.items()))
    (Console() if sys.stdout.isatty() else Console(width=180)).print(drawn)


def _cell(value: object, digits: int) -> str:
    if isinstance(value, str):
        return value
    number = float(value)  # type: ignore[arg-type]
    return "–" if number != number else f"{number:.{digits}f}"


def footer(made: list[Timing], timings: Timings) -> str:
    said = [f"{len(made)} cells timed, appended to {timings.file}."]
    if made:
        t = made[0]
        scores = [t.score_before, *{t.seed: t.score_after for t in made}.values()]
        told = ", ".join(f"{score:.3g}" if score else "not measured" for score in scores)
        said.append(f"{t.machine_class}, {t.threads} threads; machine's score before and after each repeat: {told} ms.")
    if noisy := sum(t.noisy for t in made):
        said.append(
            f"NOISY: {noisy} cells are of repeats around which the machine's score changed by more than 5 %; they are "
            "ranked nowhere, repeat them."
        )
    if beside := sum(t.contended for t in made):
        said.append(
            f"CONTENDED: {beside} cells ran beside other work; they are ranked nowhere, repeat them on a quiet machine."
        )
    return "\n".join(said)


def calibrate(device: str, threads: int, json_wanted: bool) -> None:
    """Measure this machine and print what its probes say."""
    check_threads(threads)
    device = resolve_device(device)
    with places.executor(threads=threads) as workers:
        about = machine.about(workers, device)
        probes = machine.calibrated(workers, device, threads)
    score = machine.score(probes)
    if json_wanted:
        print(json.dumps({**about, "device": device, "threads": threads, "score_ms": score, "seconds": probes}))
        return
    for name, (value, unit) in machine.rates(probes).items():
        print(f"{name:<16} {value:>12.4g} {unit:<12} {1e3 * probes[name]:>10.3f} ms")
    print(f"score {score:.4g} ms on {device}, {threads} threads ({about['machine_class']}); smaller is faster")
