"""The board's tables as markdown: standings at a budget, harm over budgets, a suite task by task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tlbench.methods import references
from tlbench.methods.references import AGAIN, COPY, TARGET_FULL
from tlbench.results import stats
from tlbench.results.editions import Protocol
from tlbench.results.grid import CHANCE, Grid
from tlbench.results.rounding import fixed, settled, significant, tiers
from tlbench.results.standings import Harm, Standing
from tlbench.results.stats import Estimate
from tlbench.tasks.card import Budget
from tlbench.tasks.task_name import TaskName

if TYPE_CHECKING:
    import pandas as pd

MARGINS = Protocol().margins
DAGGER = " †"  # after a method whose code has changed since it was measured
FLOOR = " (A/A floor)"  # after a second copy of a reference


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]], left: int = 2) -> str:
    """A table; all but the first `left` columns to the right."""
    rule = ["---" if i < left else "---:" for i in range(len(header))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, rule, *rows))


def interval(x: Estimate, digits: int = 1) -> str:
    """A gain with the half-width of its 95 % interval."""
    half = x.half_width() if np.isfinite(x.se) else np.nan
    return fixed(x.mean, digits, True) + (f" ± {fixed(half, digits)}" if np.isfinite(half) else "")


STANDING = (
    "method", "family", "rank", "group", "gain ± (these tasks)", "± (new tasks)", "accuracy", "value added", "harmed",
    "of these sure", "CVaR20", "won/tied/lost", "mean rank", "IQM", "better in", "time", "failed",
)  # fmt: skip


def standing(rows: Sequence[Standing], times: dict[str, float], changed: set[str]) -> str:
    """Methods at one budget, the best first. `times` are ratios to the reference's time."""
    return markdown(STANDING, [_standing(s, times, changed) for s in rows])


def _standing(s: Standing, times: dict[str, float], changed: set[str]) -> tuple[str, ...]:
    beyond = s.beyond.half_width() if np.isfinite(s.beyond.se) else np.nan
    return (
        s.method + DAGGER * (s.method in changed) + FLOOR * (s.method in AGAIN),
        s.family,
        f"{s.rank[0]}–{s.rank[1]}" if s.rank else "–",
        fixed(None if s.group is None else s.group + 1, 0),
        interval(s.gain),
        fixed(beyond),
        fixed(s.accuracy),
        fixed(s.added, sign=True),
        f"{s.harm.counts[1]} of {s.harm.tasks}" if s.harm else "–",
        _sure(s.harm),
        fixed(None if s.harm is None else -s.harm.cvar, sign=True),
        "–" if s.won is None else "/".join(map(str, s.won)),
        fixed(s.mean_rank),
        fixed(s.iqm, 2),
        fixed(None if s.improves is None else 100 * s.improves, 0),
        fixed(times.get(s.method), 2),
        f"{s.imputed} of {s.owed}" if s.imputed else "",
    )


def _percent(share: float) -> str:
    return f"{fixed(100 * share, 0)} %"


def _sure(h: Harm | None) -> str:
    if h is None:
        return "–"
    return str(h.negative) if h.tested == h.tasks else f"{h.negative}, {h.tasks - h.tested} not tested"


def short(rows: Sequence[Standing], changed: set[str]) -> str:
    """The same in seven columns."""
    header = ("method", "rank", "gain ± (these tasks)", "accuracy", "harmed", "of these sure", "failed")
    place = [STANDING.index(name) for name in header]
    return markdown(header, [[_standing(s, {}, changed)[i] for i in place] for s in rows], left=1)


def claim(grid: Grid, method: str, k: Budget) -> tuple[str, ...]:
    """A line of what a submission says of itself at one budget."""
    i = grid.methods.index(method)
    there = ~np.isnan(grid.gain[i])
    value = np.nanmean(grid.value[i]) if there.any() else np.nan
    gain = grid.gain[i][there].mean() if there.any() else np.nan
    return method, str(k), f"{there.sum()} of {there.size}", fixed(float(value)), fixed(float(gain), 1, True)


def claims(lines: Sequence[tuple[str, ...]]) -> str:
    """What submissions say of themselves."""
    return markdown(("method (bundle)", "k", "cells", "accuracy", "gain"), lines, 1)


def summary(standings: Mapping[Budget, Sequence[Standing]]) -> str:
    """A line a budget: how many ranked methods help and harm, and the floor under that. What is its reference in every
    cell, as several ways to pool sources are where there is one, is no method here."""
    header = ("k", "ranked", "above the reference", "harm some task", "surely", "mean rate of harm", "A/A floor")
    rows = []
    for k, own in standings.items():
        ranked = [s for s in own if s.ranked and s.harm and not s.same]
        harms = [s.harm for s in ranked if s.harm]
        floor = [s.harm.rate.value for s in own if s.method == COPY[references.of(k)] and s.harm]
        if ranked:
            cells = (len(ranked), sum(settled(s.gain.mean) > 0 for s in ranked), sum(h.counts[1] > 0 for h in harms))
            rate = _percent(float(np.mean([h.rate.value for h in harms])))
            sure = str(sum(h.negative > 0 for h in harms))
            rows.append([str(k), *map(str, cells), sure, rate, _percent(floor[0]) if floor else "–"])
    return markdown(header, rows, left=1)


def by_family(standings: Mapping[Budget, Sequence[Standing]]) -> str:
    """Algorithm family by budget: the mean gain of its ranked methods, and the best of them."""
    found: dict[str, dict[Budget, list[Standing]]] = {}
    for k, own in standings.items():
        for s in own:
            if s.ranked:
                found.setdefault(s.family, {}).setdefault(k, []).append(s)
    rows = []
    for family, at in sorted(found.items()):
        cells = []
        for k in standings:
            own = at.get(k, [])
            best = own[int(np.argmin(tiers([s.gain.mean for s in own])))] if own else None
            mean = fixed(float(np.mean([s.gain.mean for s in own])) if own else None, sign=True)
            cells.append(f"{mean} ({best.method} {fixed(best.gain.mean, sign=True)})" if best else "–")
        rows.append([family, *cells])
    return markdown(["family", *(f"k = {k}" for k in standings)], rows, left=1)


def harm(standings: Sequence[Standing], turns: Mapping[str, str], margins: Sequence[float] = MARGINS) -> str:
    """Negative transfer at one budget: how often, how sure, how much. The A/A floor first, then the most harmful.

    Args:
        turns: method -> in words, the budgets from which its sources harm; empty: no such column
        margins: points below the reference that harm is counted at
    """
    than = "/".join(f"{m:g}" for m in margins)
    header = [
        "method", f"harmed by > {than}", "rate [95 %]", "sure: −/+", "sure rate", "severity", "CVaR20", "worst",
    ]  # fmt: skip
    known = [(s.method, s.harm) for s in standings if s.harm and s.method not in (CHANCE, TARGET_FULL)]
    rates, losses = tiers([h.rate.value for _, h in known]), tiers([h.severity for _, h in known])
    place = {m: (rate, loss) for (m, _), rate, loss in zip(known, rates, losses, strict=True)}
    known.sort(key=lambda x: (x[0] not in AGAIN, *place[x[0]], x[0]))
    rows = []
    for method, h in known:
        name = f"**{method}**{FLOOR}" if method in AGAIN else method
        turn = "–" if method in AGAIN else turns.get(method, "–")  # a copy of the reference has no source
        rows.append([name, *_harm(h), *([turn] if turns else [])])
    return markdown([*header, *(["harms from"] if turns else [])], rows, left=1)


def _harm(h: Harm) -> list[str]:
    rate = _percent(h.rate.value)
    if h.rate.low is not None and h.rate.high is not None:
        rate += f" [{fixed(100 * h.rate.low, 0)}, {fixed(100 * h.rate.high, 0)}]"
    else:
        rate += " (not tested)"
    sure = f"{h.negative}/{h.positive}" if h.tested else "not tested"
    surely = "not tested" if h.sure_rate is None else _percent(h.sure_rate)
    worst = f"{fixed(-h.worst, sign=True)} ({h.worst_task})"
    counts = f"{'/'.join(map(str, h.counts))} of {h.tasks}"
    return [counts, rate, sure, surely, fixed(h.severity), fixed(-h.cvar, sign=True), worst]


def turning_points(grids: dict[Budget, Grid]) -> dict[str, str]:
    """Method -> on how many tasks its source becomes harmful, and at which budget in the median; of those tasks that it
    was measured on at every budget of labels, for elsewhere the budget that harms may be one that is not there."""
    labelled = [k for k in grids if isinstance(k, int) and k > 0]
    found: dict[str, str] = {}
    if len(labelled) < 2:
        return found  # nothing turns
    for method in {m for k in labelled for m in grids[k].methods}:
        gaps: dict[str, dict[int, float]] = {}
        for k in labelled:
            g = grids[k]
            if method in g.methods and method != g.reference:
                for t, mean in zip(g.tasks, g.mean[g.methods.index(method)], strict=True):
                    gaps.setdefault(t, {})[k] = -mean
        whole = [v for v in gaps.values() if len(v) == len(labelled) and not np.isnan(list(v.values())).any()]
        points = [stats.harmful_from(list(v), list(v.values())) for v in whole]
        turned = sorted(k for k in points if k is not None)
        if whole:
            median = f", median {turned[(len(turned) - 1) // 2]}" if turned else ""
            found[method] = f"{len(turned)} of {len(whole)} tasks{median}"
    return found


def suite(grid: Grid, changed: set[str]) -> str:
    """One suite's tasks: each method's points, and its gain with a 95 % interval where there is one."""
    rows, seeds = [], (~np.isnan(grid.value)).sum(2)
    means = np.nansum(grid.value, axis=2) / np.maximum(seeds, 1)
    order = np.argsort(tiers(np.nan_to_num(grid.value, nan=-1e9).mean((1, 2))), kind="stable")
    for i in order:
        if not np.isnan(grid.value[i]).all():
            cells = [_cell(grid, int(i), t, seeds[i, t], means[i, t]) for t in range(len(grid.tasks))]
            rows.append([grid.methods[i] + DAGGER * (grid.methods[i] in changed), *cells])
    return markdown(["method", *(TaskName.parse(t).pair for t in grid.tasks)], rows, left=1)


COSTS = (
    "ratio", "fit_s", "first_step_s", "step_ms", "train_samples_per_s", "infer_samples_per_s", "infer_latency_ms",
    "infer_latency_p95_ms", "peak_rss_mib", "peak_gpu_mib", "step_mflop", "energy_j",
)  # fmt: skip


def costs(frame: pd.DataFrame, changed: set[str]) -> str:
    """What methods take, by budget and the cheapest first: of `timings.ratios`."""
    rows = []
    for one in frame.assign(step_mflop=1e3 * frame["step_gflops"]).to_dict("records"):
        low, high = float(one["low"]), float(one["high"])
        bounds = f" [{significant(low)}, {significant(high)}]" if np.isfinite(low) else ""
        cells = [significant(float(one[c])) for c in COSTS]
        name = f"{one['method']}{DAGGER * (one['method'] in changed)}"
        rows.append([name, f"{one['budget']}", cells[0] + bounds, *cells[1:], f"{one['timed']}"])
    return markdown(["method", "k", *COSTS, "timings"], rows, left=1)


def _cell(grid: Grid, i: int, t: int, seeds: int, mean: float) -> str:
    if not seeds:
        return "–"
    failed = " (failed)" if grid.imputed[i, t].any() else ""
    few = f" ({seeds} seeds)" if seeds < len(grid.seeds) else ""
    text = fixed(mean)
    if grid.methods[i] == grid.reference or np.isnan(grid.mean[i, t]):
        return text + failed + few
    return f"{text} ({interval(Estimate(grid.mean[i, t], grid.se[i, t], grid.df[i, t]))}){failed}{few}"


def escaped(text: str) -> str:
    """A text of a stranger's for Markdown: on one line, bounded, without marks of its own."""
    short = " ".join(text.encode(errors="replace").decode()[:600].split())
    return "".join(f"\\{c}" if c in "\\|[" else {"<": "&lt;", "`": "'"}.get(c, c) for c in short)
