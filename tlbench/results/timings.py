"""Timings: one JSON line a timed cell in `timings.jsonl`, and what methods take as multiples of their reference.

`results/README.md` documents every column.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tlbench.methods import references
from tlbench.results.rounding import steady
from tlbench.results.row import check_columns, kinds
from tlbench.results.store import append_lines, parsed
from tlbench.tasks.card import FULL, Budget

if TYPE_CHECKING:
    import pandas as pd

FILE = "timings.jsonl"
DRIFT = 0.05  # of the machine's score within a session, beyond which it is noisy
DRAWS = 2000  # of the bootstrap
LEVEL = 95.0


@dataclass(frozen=True)
class Timing:
    """A timed cell: alone on its device, between two measurements of the machine."""

    session: str
    key: str  # of the cell, as in rows.jsonl
    suite: str
    task: str
    sources: tuple[str, ...]
    target: str
    budget: Budget
    seed: int
    method: str
    family: str
    config: dict[str, Any]
    default: bool
    method_digest: str | None
    setup_s: float
    fit_s: float
    predict_s: float
    rest_s: float
    child_s: float
    total_s: float | None
    first_step_s: float | None
    step_ms: float | None
    train_samples_per_s: float | None
    infer_samples_per_s: float | None
    infer_latency_ms: float | None
    infer_latency_p95_ms: float | None
    step_gflops: float | None
    energy_j: float | None
    peak_rss_mib: float | None
    peak_gpu_mib: float | None
    arithmetic: str | None
    device: str
    threads: int
    machine: str
    machine_class: str
    cores: int
    gpu: str | None
    cuda: str | None
    driver: str | None
    score_before: float  # ms, of the machine
    score_after: float | None
    r0_s: float
    noisy: bool
    others: float  # cores that others kept busy meanwhile
    runs: int  # of tlbench beside this one
    contended: bool
    protocol: int
    tlbench: str
    torch: str
    python: str
    commit: str | None
    dirty: bool | None
    time: str
    method_version: int | None = None

    @property
    def counts(self) -> bool:
        """Whether it may be compared."""
        return not self.noisy and not self.contended


COLUMNS = tuple(f.name for f in fields(Timing))
KINDS = kinds(Timing)
LATER = frozenset({"method_version"})  # null in older timings


def is_noisy(before: float, after: float | None) -> bool:
    """Whether the machine's score changed by more than 5 %, or was not measured again."""
    return after is None or abs(after - before) > DRIFT * min(before, after)


def read_timing(values: Any) -> Timing:
    """From parsed JSON.

    Raises:
        ValueError: it is none; says which column.
    """
    check_columns(values, KINDS, LATER)
    if not all(type(s) is str for s in values["sources"]):
        raise ValueError(f"column 'sources' is {values['sources']!r}, not a list of texts")
    for name in ("fit_s", "predict_s", "child_s", "score_before", "r0_s"):
        if not values[name] > 0:
            raise ValueError(f"column {name!r} is {values[name]!r}, not a positive number")
    return Timing(**{**values, "sources": tuple(values["sources"])})


@dataclass
class Timings:
    """Those under a folder, and what was wrong with lines that are none."""

    folder: Path
    found: list[Timing] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not self.file.exists():
            return
        for number, line in enumerate(self.file.read_bytes().split(b"\n"), 1):
            if not line.strip():
                continue
            try:
                self.found.append(read_timing(parsed(line)))
            except (ValueError, TypeError, KeyError, RecursionError) as error:
                self.warnings.append(f"{self.file}:{number}: skipped, not a timing ({str(error)[:120]})")

    @property
    def file(self) -> Path:
        return self.folder / FILE

    def extend(self, timings: Sequence[Timing]) -> None:
        """Whole and synced as rows are, and all or none.

        Raises:
            UsageError: the file cannot be written.
        """
        if timings:
            safe = f"the {len(self.found)} timings written before are safe"
            append_lines(self.file, [asdict(t) for t in timings], safe)
        self.found += timings


def ratios(
    timings: Sequence[Timing], groups: Mapping[str, str] | None = None, marked: bool = False, seed: int = 0
) -> pd.DataFrame:
    """What each method takes, a line a (budget, method, settings, machine class): by budget, cheapest first.

    `ratio` is the geometric mean over tasks of fit_s over the reference's fit_s on the same target, at the
    same budget, in the same session: target-only's, at budget 0 source-only's, each the median over repeats. `low` and
    `high` bound its 95 % interval by the bootstrap over groups of tasks on the same data, which are no independent
    samples; NaN with one. The other columns are medians. Noisy and contended timings are left out, and counted in
    `left_out`.

    Args:
        groups: of suites, by their names; a suite that is not in it is a group of its own
        marked: take noisy and contended timings too, to show a session to whoever ran it
    """
    import pandas as pd

    if not timings:
        return pd.DataFrame(columns=["method", "config", "machine_class", "budget", "ratio"])
    frame = pd.DataFrame([asdict(t) | {"counts": t.counts or marked} for t in timings])
    frame["group"] = [(groups or {}).get(t.suite, t.suite) for t in timings]
    frame["config"] = [json.dumps(t.config, sort_keys=True) for t in timings]
    frame["place"] = [
        json.dumps([t.session, t.machine, t.device, t.threads, t.suite, t.target, t.budget]) for t in timings
    ]
    keys = ["method", "config", "machine_class", "budget"]
    lines = pd.DataFrame(
        {**dict(zip(keys, names, strict=True)), **_line(own, frame, seed)}
        for names, own in frame.groupby(keys, sort=False)
    )
    order = lines.assign(labels=[np.inf if k == FULL else float(k) for k in lines["budget"]])
    by = ["machine_class", "labels", "ratio", "method", "config"]
    return order.sort_values(by, na_position="last", ignore_index=True).drop(columns="labels")


MEDIANS = ("fit_s", "first_step_s", "step_ms", "train_samples_per_s", "infer_samples_per_s", "infer_latency_ms",
           "infer_latency_p95_ms", "peak_rss_mib", "peak_gpu_mib", "step_gflops", "energy_j")  # fmt: skip


def _line(own: pd.DataFrame, every: pd.DataFrame, seed: int) -> dict[str, object]:
    kept, all_kept = own[own.counts], every[every.counts]
    names = all_kept.budget.map(references.of)
    reference = all_kept[all_kept.method == names].groupby("place").fit_s.median()
    took = kept.groupby(["place", "group", "task"]).fit_s.median().reset_index()
    took["log"] = np.log(took.fit_s / took.place.map(reference).astype(float))
    known = took.dropna(subset="log")
    low, high = interval([g.log.to_numpy() for _, g in known.groupby("group")], seed)
    return {
        "ratio": steady(float(np.exp(known.log.mean()))) if len(known) else float("nan"), "low": low, "high": high,
        "compared": len(known), "groups": known.group.nunique(), "timed": len(kept), "left_out": len(own) - len(kept),
        **{name: kept[name].astype(float).median() if len(kept) else float("nan") for name in MEDIANS},
    }  # fmt: skip


def interval(groups: Sequence[NDArray[np.floating[Any]]], seed: int = 0) -> tuple[float, float]:
    """95 % bootstrap interval of the geometric mean, whole groups of logarithms drawn anew; NaN of fewer than two."""
    if len(groups) < 2:
        return float("nan"), float("nan")
    sums, sizes = np.array([g.sum() for g in groups]), np.array([len(g) for g in groups])
    drawn = np.random.default_rng(seed).integers(len(groups), size=(DRAWS, len(groups)))
    means = sums[drawn].sum(1) / sizes[drawn].sum(1)
    low, high = np.exp(np.percentile(means, [50 - LEVEL / 2, 50 + LEVEL / 2]))
    return steady(float(low)), steady(float(high))
