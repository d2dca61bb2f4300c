"""The row that a cell leaves: of a finished job, or of a cell that was never run.

A job's own clocks are held against its life as its server and the kernel measured it from outside.
"""

from __future__ import annotations

import math
from typing import Any

from tlbench import PROTOCOL
from tlbench.results.row import Row
from tlbench.runner.cell import Cell
from tlbench.runner.cell_job import Bench
from tlbench.runner.executors import Ended
from tlbench.runner.scoring import scored

OWN = ("setup_s", "fit_s", "predict_s", "rest_s")  # what a job says it spent its life with; the rest holds the extras
LEAST_S, SHARE = 2.0, 0.1  # to be born and to die, on a busy machine
SETUP_S = 60.0  # to import a method and open its inputs, from a cold disk
LONGEST_S = 1e9  # NaN, infinity and whole numbers beyond all floats are no seconds
CPU_LEAST_S = 1.0  # of processors, which a busy machine does not add to


def check_clocks(ended: Ended, threads: int) -> None:
    """Hold what a job says against what was seen.

    It may leave 2 s and a tenth of its life unexplained: its start, its end, waiting for a processor; as much beside
    fitting and predicting, unless it was asked for more; and a minute beyond the time of those before it fits. Of
    processors it may have had 1 s more than its threads and two of a library's could use in the time that it names: a
    clock that was set back cannot hide work from the kernel.

    Raises:
        ValueError: its clocks do not count what it ran for; says both.
    """
    if ended.lived_s is None or ended.cpu_s is None:
        return
    told = [ended.report.get(name, 0.0) for name in (*OWN, "extra_s")]
    if not all(isinstance(t, int | float) and 0 <= t <= LONGEST_S for t in told):
        raise ValueError("the report is not one of a worker's: a time is no number of seconds")
    setup, fit, predict, rest, extra = map(float, told)
    own, free = setup + fit + predict + rest, LEAST_S + SHARE * ended.lived_s
    if abs(ended.lived_s - own) > free:
        raise ValueError(f"its own clock counts {own:.1f} s of the {ended.lived_s:.1f} s that it ran")
    if ended.cpu_s > CPU_LEAST_S + own * (threads + 2):
        raise ValueError(f"its own clock counts {own:.1f} s, in which it cannot have used {ended.cpu_s:.1f} s of CPU")
    if not ended.more and max(rest, extra) > free:
        raise ValueError(f"it spent {max(rest, extra):.1f} s beside fitting and predicting")
    if setup > SETUP_S + fit + predict:
        raise ValueError(f"it spent {setup:.1f} s before it fitted")


TIMED = ("first_step_s", "step_ms", "infer_latency_ms", "infer_latency_p95_ms", "step_gflops", "energy_j")


def row(bench: Bench, cell: Cell, ended: Ended, provenance: dict[str, Any], jobs: int, wall_s: float) -> Row:
    """Score a finished job. The labels are here and were never there."""
    status, reason = ended.report.get("status"), ended.report.get("reason")
    measured: dict[str, Any] = {}
    if status == "ok":
        try:
            check_clocks(ended, bench.conditions.threads)
            split = bench.split(cell.task, cell.seed)
            score = scored(ended.folder / "scores.npy", split, cell.budget)
            measured = {**score, **costs(ended.report, int(score["n_test"]), wall_s)}
            reason = unsettled(ended.report)
        except ValueError as error:
            status, reason = "failed", str(error)
    if status not in ("ok", "refused"):  # a 'mistake' too: the store knows no fourth status
        status = "failed"
    measured["jail"] = ended.jail
    return described(bench, cell, status, printable(reason), provenance, jobs, measured)


def described(
    bench: Bench,
    cell: Cell,
    status: str,
    reason: str | None,
    provenance: dict[str, Any],
    jobs: int = 1,
    measured: dict[str, Any] | None = None,
) -> Row:
    """A row with all that is known without running the cell, and `measured` where it was run."""
    card, task, split = cell.task.card, cell.task, bench.split(cell.task, cell.seed)
    pretrained, transform = bench.backbone(card), bench.transform(card)
    default = cell.published and bench.full_precision(card)
    nothing = dict.fromkeys(
        ("value", "correct", "metrics", "fit_s", "predict_s", "overhead_s", "train_samples_per_s", "step_ms",
         "infer_samples_per_s", "peak_rss_mib", "peak_gpu_mib")
    )  # fmt: skip
    known = {
        "n_test": len(split.partition.test),
        "episodes": len(split.episodes(cell.budget)) or None,
    }
    return Row(
        key=bench.key(cell),
        status=status,
        reason=reason,
        suite=card.name,
        task=task.name,
        version=card.version,
        paradigm=card.paradigm,
        regime=card.regime,
        sources=task.sources,
        target=task.target,
        budget=cell.budget,
        seed=cell.seed,
        rule="trial" if cell.trial else "default",
        trial=0 if cell.trial is None and default else cell.trial,
        method=cell.method.name,
        family=cell.method.family,
        config=cell.method.config,
        default=default,
        metric=card.metric,
        n_shots=len(split.shots(cell.budget)),
        device=bench.conditions.device,
        threads=bench.conditions.threads,
        jobs=jobs,
        backbone=pretrained.card.name if pretrained else str(card.backbone),
        weights=bench.weights(task),
        precision=transform.precision if transform else None,
        data=str(split.manifest["data"]),
        source_data=bench.contents(task, cell.seed),
        split=split.digest,
        method_digest=cell.method.digest,
        method_version=cell.method.version,
        protocol=PROTOCOL,
        **{**known, **nothing, **(measured or {})},
        **provenance,
    )


def unsettled(report: dict[str, Any]) -> str | None:
    """What solvers said of not having converged; a method may have written the report."""
    said = report.get("unsettled")
    return "; ".join(t for t in said if isinstance(t, str)) if isinstance(said, list) else None


def printable(reason: object) -> str | None:
    """A reason as one short line: a method may have written it, for a terminal to obey."""
    return "".join(c if c.isprintable() else "?" for c in " ".join(str(reason).split())[:500]) if reason else None


def costs(report: dict[str, Any], n: int, wall_s: float) -> dict[str, float | str | None]:
    """The columns of time and memory, from a worker's report on a cell of `n` test samples.

    Raises:
        ValueError: the report lacks a number; a method may have written one of its own.
    """
    try:
        fit, predict, loop, rss = (float(report[k]) for k in ("fit_s", "predict_s", "loop_s", "peak_rss_mib"))
        samples, steps, gpu = int(report["train_samples"]), int(report["train_steps"]), report["peak_gpu_mib"]
        more = {name: None if report.get(name) is None else float(report[name]) for name in TIMED}
        found = {
            "fit_s": round(fit, 6),
            "predict_s": round(predict, 6),
            "overhead_s": round(wall_s - fit - predict - float(report.get("extra_s", 0)), 6),
            "train_samples_per_s": round(samples / loop, 1) if samples else None,
            "infer_samples_per_s": round(n / predict, 1),
            "peak_rss_mib": round(rss, 1),
            "peak_gpu_mib": None if gpu is None else float(gpu),
            "total_s": round(fit, 6),
            **{name: None if v is None else float(f"{v:.6g}") for name, v in more.items()},
        }
        if found["step_ms"] is None and steps:  # taken while predicting, as a few-shot learner does
            found["step_ms"] = round(1e3 * loop / steps, 4)
    except (KeyError, TypeError, ArithmeticError) as error:
        raise ValueError(f"the report is not one of a worker's ({type(error).__name__}: {error})") from None
    if not all(v is None or math.isfinite(v) for v in found.values()):
        raise ValueError("the report is not one of a worker's: a time or size is not finite")
    if any(v is not None and v < 0 for name, v in found.items() if name != "overhead_s"):
        raise ValueError("the report is not one of a worker's: a time or size is less than nothing")
    if report.get("arithmetic") not in (None, "fp32", "tf32", "bf16"):
        raise ValueError("the report is not one of a worker's: nobody computes like that")
    return {**found, "arithmetic": report.get("arithmetic")}
