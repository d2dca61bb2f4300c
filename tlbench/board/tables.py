"""The board's tables as markdown: standings at a budget, harm over budgets, a suite task by task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tlbench.board import columns
from tlbench.board.columns import DAGGER, MARGINS, Column, Entry, interval, percent
from tlbench.methods import references
from tlbench.methods.references import AGAIN, COPY, TARGET_FULL
from tlbench.results import stats
from tlbench.results.grid import CHANCE, Grid
from tlbench.results.rounding import fixed, settled, significant, tiers
from tlbench.results.standings import Standing
from tlbench.results.stats import Estimate
from tlbench.tasks.card import Budget
from tlbench.tasks.task_name import TaskName

if TYPE_CHECKING:
    import pandas as pd


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]], left: int = 2) -> str:
    """A table; all but the first `left` columns to the right."""
    rule = ["---" if i < left else "---:" for i in range(len(header))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, rule, *rows))


def standing(rows: Sequence[Standing], times: dict[str, float], changed: set[str]) -> str:
    """Methods at one budget, the best first. `times` are ratios to the reference's time."""
    entries = [Entry(s, time=times.get(s.method), changed=s.method in changed) for s in rows]
    return filled(columns.RANKS, entries, left=2)


def short(rows: Sequence[Standing], changed: set[str]) -> str:
    """The same in few columns."""
    by_title = {c.title: c for c in columns.RANKS}
    entries = [Entry(s, changed=s.method in changed) for s in rows]
    return filled([by_title[title] for title in columns.SHORT], entries)


def filled(held: Sequence[Column], entries: Sequence[Entry], left: int = 1) -> str:
    """A table of these columns."""
    return markdown([c.title for c in held], [[c.text(e) for c in held] for e in entries], left)


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
    header = ("k", "ranked", "above the baseline", "NT on some task", "significant", "mean NT rate", "A/A floor")
    rows = []
    for k, own in standings.items():
        ranked = [s for s in own if s.ranked and s.harm and not s.same]
        harms = [s.harm for s in ranked if s.harm]
        floor = [s.harm.rate.value for s in own if s.method == COPY[references.of(k)] and s.harm]
        if ranked:
            cells = (len(ranked), sum(settled(s.gain.mean) > 0 for s in ranked), sum(h.counts[1] > 0 for h in harms))
            rate = percent(float(np.mean([h.rate.value for h in harms])))
            sure = str(sum(h.negative > 0 for h in harms))
            rows.append([str(k), *map(str, cells), sure, rate, percent(floor[0]) if floor else "–"])
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
    known = [(s, s.harm) for s in standings if s.harm and s.method not in (CHANCE, TARGET_FULL)]
    rates, losses = tiers([h.rate.value for _, h in known]), tiers([h.severity for _, h in known])
    place = {s.method: (rate, loss) for (s, _), rate, loss in zip(known, rates, losses, strict=True)}
    order = sorted((s for s, _ in known), key=lambda s: (s.method not in AGAIN, *place[s.method], s.method))
    entries = [Entry(s, turn=turns.get(s.method, "–")) for s in order]
    return filled(columns.harm(margins, bool(turns)), entries)


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
