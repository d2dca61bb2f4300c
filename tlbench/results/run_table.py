"""Rows -> the table a command prints: accuracy, gain over the references, harm and cost, per task and budget."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median

import numpy as np

from tlbench.methods import references
from tlbench.methods.references import SOURCE_ONLY, TARGET_FULL, TARGET_ONLY
from tlbench.results.rounding import fixed
from tlbench.results.row import Row
from tlbench.results.stats import MARGIN, Estimate, over_seeds, two_way, verdict
from tlbench.tasks.card import Budget
from tlbench.tasks.problems import METRICS
from tlbench.tasks.task_name import suite_of

UNJUDGED = ("–", "baseline", "upper bound")


@dataclass(frozen=True)
class Line:
    """One line of the table. Points are percentage points; None where there is nothing to compare."""

    task: str
    budget: Budget
    method: str
    seeds: int
    accuracy: float | None
    accuracy_pm: float | None
    over_target: float | None
    over_target_pm: float | None
    over_source: float | None
    over_source_pm: float | None
    negative_transfer: str
    fit_s: float | None
    samples_per_s: float | None
    peak_mib: float | None
    note: str = ""
    metric: str = "accuracy"
    rule: str = "default"
    metrics: dict[str, float] = field(default_factory=dict)  # 100 times each metric that the rows hold, mean over seeds


@dataclass(frozen=True)
class Gap:
    """How far a rule's choice stays below the oracle's, in points: mean over the seeds that have both."""

    task: str
    budget: Budget
    method: str
    oracle: float  # what the oracle's choice scores on the test samples
    below: dict[str, float | None]  # by rule


@dataclass(frozen=True)
class Asked:
    """A line of the table before it is filled: which rows belong to it, and to its references, seed by seed."""

    task: str
    budget: Budget
    method: str
    rows: Sequence[Row | None]
    target_only: Sequence[Row | None]
    source_only: Sequence[Row | None]
    rule: str = "default"

    @property
    def beside(self) -> Sequence[Row | None]:
        """The rows of the reference at this budget."""
        return self.source_only if references.of(self.budget) == SOURCE_ONLY else self.target_only


def line(asked: Asked, margin: float = MARGIN) -> Line:
    """Aggregate a line over its seeds. A method more than `margin` points below its reference shows negative
    transfer."""
    ok = [r for r in asked.rows if r and r.ok]
    accuracy = two_way(np.stack([r.points for r in ok])) if ok else None
    over_t, over_s = paired(asked.rows, asked.target_only), paired(asked.rows, asked.source_only)
    harm, reference = "–", references.of(asked.budget)
    judged = over_s if reference == SOURCE_ONLY else over_t
    if asked.method == reference:
        harm = "baseline"
    elif asked.method == TARGET_FULL:
        harm = "upper bound"
    elif judged is not None:
        gain, seeds = judged
        harm = verdict(Estimate(-gain.mean, gain.se, gain.df), seeds, margin)
    return Line(
        task=asked.task,
        budget=asked.budget,
        method=asked.method,
        seeds=len(ok),
        accuracy=accuracy.mean if accuracy else None,
        accuracy_pm=accuracy.half_width() if accuracy else None,
        over_target=_mean(over_t) if asked.method != TARGET_ONLY else None,
        over_target_pm=_pm(over_t) if asked.method != TARGET_ONLY else None,
        over_source=_mean(over_s) if asked.method != SOURCE_ONLY else None,
        over_source_pm=_pm(over_s) if asked.method != SOURCE_ONLY else None,
        negative_transfer=harm,
        fit_s=_median(r.fit_s for r in ok),
        samples_per_s=_median(r.train_samples_per_s for r in ok),
        peak_mib=max((r.peak_rss_mib or 0.0 for r in ok), default=None),
        note=_note(asked.rows),
        metric=next((r.metric for r in asked.rows if r), "accuracy"),
        rule=asked.rule,
        metrics=_metrics(ok),
    )


def gap(oracle: Asked, others: Sequence[Asked]) -> Gap | None:
    """The selection gap of other rules' lines of the same method, task and budget."""
    ok = [r for r in oracle.rows if r and r.ok]
    if not ok:
        return None
    below = {}
    for other in others:
        found = paired(oracle.rows, other.rows)
        below[other.rule] = found[0].mean if found else None
    return Gap(oracle.task, oracle.budget, oracle.method, float(np.mean([r.points.mean() for r in ok])), below)


def paired(rows: Sequence[Row | None], references: Sequence[Row | None]) -> tuple[Estimate, int] | None:
    """Gain of rows over references in points, on the same seeds and test examples, from the same inputs."""
    pairs = [(a, b) for a, b in zip(rows, references, strict=True) if a and b and a.ok and b.ok and comparable(a, b)]
    if not pairs:
        return None
    return two_way(np.stack([a.points - b.points for a, b in pairs])), len(pairs)


def comparable(a: Row, b: Row) -> bool:
    """Whether two rows stand on the same test samples and the same network's inputs."""
    if not a.sources or not b.sources:  # target-only may start without the source's weights
        return (a.split, a.backbone, a.precision) == (b.split, b.backbone, b.precision)
    return (a.split, a.backbone, a.weights, a.precision) == (b.split, b.backbone, b.weights, b.precision)


def suite_lines(asked: Iterable[Asked]) -> list[Line]:
    """The mean over a suite's tasks for each (budget, method), where there are several."""
    groups: dict[tuple[str, Budget, str], list[Asked]] = defaultdict(list)
    for a in asked:
        groups[suite_of(a.task), a.budget, a.method].append(a)
    return [_suite_line(*key, group) for key, group in groups.items() if len(group) > 1]


def _suite_line(suite: str, budget: Budget, method: str, group: list[Asked]) -> Line:
    over_t = _suite_gain([(a.rows, a.target_only) for a in group]) if method != TARGET_ONLY else None
    over_s = _suite_gain([(a.rows, a.source_only) for a in group]) if method != SOURCE_ONLY else None
    whole = all(r and r.ok for a in group for r in a.rows)  # a mean over what did not fail would flatter
    accuracy = over_seeds([[100.0 * (r.value or 0.0) for r in a.rows if r] for a in group]) if whole else None
    lines = [line(a) for a in group]
    harmed = [x.negative_transfer.startswith("yes") for x in lines if x.negative_transfer not in UNJUDGED]
    untested = sum(x.negative_transfer.endswith("not tested") for x in lines)
    harm = f"{sum(harmed)} of {len(harmed)}" if harmed else lines[0].negative_transfer
    harm += f", {untested} not tested" if harmed and untested else ""
    return Line(
        task=f"{suite}: mean of {len(group)}",
        budget=budget,
        method=method,
        seeds=min(x.seeds for x in lines),
        accuracy=accuracy.mean if accuracy else None,
        accuracy_pm=accuracy.half_width() if accuracy else None,
        over_target=over_t.mean if over_t else None,
        over_target_pm=over_t.half_width() if over_t else None,
        over_source=over_s.mean if over_s else None,
        over_source_pm=over_s.half_width() if over_s else None,
        negative_transfer=harm,
        fit_s=_median(x.fit_s for x in lines),
        samples_per_s=_median(x.samples_per_s for x in lines),
        peak_mib=max((x.peak_mib or 0.0 for x in lines), default=None),
        note=next((x.note for x in lines if x.note), ""),
        metric=lines[0].metric,
        rule=lines[0].rule,
    )


def _suite_gain(pairs: list[tuple[Sequence[Row | None], Sequence[Row | None]]]) -> Estimate | None:
    gains = []
    for rows, theirs in pairs:
        both = [(a, b) for a, b in zip(rows, theirs, strict=True) if a and b and a.ok and b.ok and comparable(a, b)]
        if not both or len(both) < len(rows):
            return None  # a mean over other tasks or seeds would not be comparable
        gains.append([100.0 * ((a.value or 0.0) - (b.value or 0.0)) for a, b in both])
    return over_seeds(gains)


def _note(rows: Sequence[Row | None]) -> str:
    bad = [r for r in rows if r and not r.ok]
    if not bad:
        return ""
    kinds = {r.status for r in bad}
    return f"{len(bad)} {'/'.join(sorted(kinds))}: {bad[0].reason}"


def unsettled(rows: Iterable[Row]) -> list[str]:
    """What rows that count say of solvers that did not converge, a line a method and task."""
    groups: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        if row.ok:
            groups[row.method, row.task].append(row)
    told = {key: [r.reason for r in group if r.reason] for key, group in groups.items()}
    return [
        f"{method} on {task}: {said[0]} ({len(said)} of {len(groups[method, task])} cells)"
        for (method, task), said in told.items()
        if said
    ]


def _mean(gain: tuple[Estimate, int] | None) -> float | None:
    return gain[0].mean if gain else None


def _pm(gain: tuple[Estimate, int] | None) -> float | None:
    return gain[0].half_width() if gain else None


def _metrics(ok: Sequence[Row]) -> dict[str, float]:
    """Means over the rows, of every metric that each of them holds; {} where one is of the time before there were."""
    held = [r.metrics or {} for r in ok]
    names = [name for name in held[0] if all(name in h for h in held)] if held else []
    return {name: 100.0 * float(np.mean([h[name] for h in held])) for name in names}


def _median(values: Iterable[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return median(known) if known else None


def as_json(lines: Sequence[Line]) -> list[dict[str, object]]:
    return [asdict(x) for x in lines]


HEADER = (
    "task", "k", "method", "accuracy %", "over target-only", "over source-only", "negative transfer",
    "fit s", "samples/s", "MiB",
)  # fmt: skip


def cells(x: Line) -> tuple[str, ...]:
    """A line as text."""
    return (
        x.task,
        str(x.budget),
        x.method,
        METRICS[x.metric].tag + _with_pm(x.accuracy, x.accuracy_pm, x.metric),
        _with_pm(x.over_target, x.over_target_pm, x.metric, sign=True),
        _with_pm(x.over_source, x.over_source_pm, x.metric, sign=True),
        x.negative_transfer,
        "–" if x.fit_s is None else f"{x.fit_s:.2f}",
        "–" if x.samples_per_s is None else f"{x.samples_per_s:,.0f}",
        "–" if not x.peak_mib else f"{x.peak_mib:,.0f}",
    )


def _with_pm(mean: float | None, pm: float | None, metric: str, sign: bool = False) -> str:
    """Points with one decimal; an error in its own unit."""
    if mean is None:
        return "–"
    scale, digits = 100.0 / METRICS[metric].factor, METRICS[metric].digits
    bound = "" if pm is None or pm != pm else f" ± {fixed(pm / scale, digits)}"
    return f"{fixed(mean / scale, digits, sign)}{bound}"
