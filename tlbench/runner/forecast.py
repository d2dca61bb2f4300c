"""What a plan will cost, by what the store's rows of the same methods cost: `tlbench run --dry-run`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tlbench.results import archive, editions
from tlbench.results.store import Store
from tlbench.runner import plan
from tlbench.runner.cell import Cell
from tlbench.runner.cell_job import Bench
from tlbench.runner.selection import search

if TYPE_CHECKING:
    import pandas as pd

ROW_BYTES = 1500  # a line of JSON


@dataclass(frozen=True)
class Forecast:
    """Of the cells of a plan that are not in the store. None: no row of the store tells."""

    cells: int
    there: int  # in the store already
    refused: int  # known to be, before they are run
    to_run: int
    guessed: int  # of those, cells whose method the store has no row of on their suite: taken for it on other suites
    hours: float | None  # of wall clock
    memory_mib: float | None  # the most that the cells run at the same time have taken
    disk_mib: float  # of rows and of what is kept of trials; features and decoded images come on top, in the cache
    free_mib: float  # of the store's disk
    by_suite: dict[str, int]  # cells to run


def forecast(
    cells: Sequence[Cell], todo: Sequence[Cell], bench: Bench, store: Store, jobs: int, free_mib: float
) -> Forecast:
    """The cost of `todo`, what is left of `cells`, when `jobs` run at a time on a machine like that of the rows."""
    refused = [c for c in todo if plan.refusal(c)]
    run = [c for c in todo if not plan.refusal(c)]
    known = _costs(store)
    taken = [_of(known, c) for c in run]
    hours = None if known.empty else sum(t * fits(c) for c, (t, _) in zip(run, taken, strict=True)) / jobs / 3600
    memory = None if known.empty or not run else float(sum(sorted((m for _, m in taken), reverse=True)[:jobs]))
    guessed = sum((c.task.card.name, c.method.name) not in known.index for c in run)
    kept = sum(search.about_bytes(bench, c) for c in run if search.keeps(c))
    return Forecast(
        len(cells), len(cells) - len(todo), len(refused), len(run), guessed, hours, memory,
        (len(todo) * ROW_BYTES + kept) / 2**20, free_mib, dict(Counter(c.task.card.name for c in run)),
    )  # fmt: skip


def fits(cell: Cell) -> int:
    """How often a cell's method is fitted: a trial once more for every fold."""
    return 1 + search.n_folds(cell) if search.keeps(cell) else 1


def _costs(store: Store) -> pd.DataFrame:
    """(suite, method) -> median seconds of a cell, all in, and its largest memory, of the store's rows and of those of
    its newest frozen edition."""
    import pandas as pd

    names = ("status", "suite", "method", "fit_s", "predict_s", "overhead_s", "peak_rss_mib")
    before = editions.opened(store.folder, editions.named(store.folder, None))
    every = [store] if before.folder == store.folder else [store, before]
    parts = [t for s in every for t in (s.rows.packed.columns(names), archive.table(s.rows.lines.values(), names))]
    rows = pd.concat([p.to_pandas().astype({"suite": str, "method": str}) for p in parts])
    ok = rows[rows["status"] == "ok"]
    ok = ok.assign(seconds=ok["fit_s"] + ok["predict_s"] + ok["overhead_s"])
    costs: pd.DataFrame = ok.groupby(["suite", "method"]).agg(
        seconds=("seconds", "median"), mib=("peak_rss_mib", "max")
    )
    return costs


def _of(known: pd.DataFrame, cell: Cell) -> tuple[float, float]:
    """Seconds and MiB of a cell: of its method on its suite, else of its method, else of all; 0 where nothing is
    known."""
    if known.empty:
        return 0.0, 0.0
    place = (cell.task.card.name, cell.method.name)
    if place in known.index:
        found = known.loc[[place]]
    else:
        own = known[known.index.get_level_values("method") == cell.method.name]
        found = known if own.empty else own
    return float(found["seconds"].mean()), float(found["mib"].max())


def sentence(f: Forecast) -> str:
    """The forecast in words."""
    if not f.to_run:
        return f"{f.cells} cells, {f.there} in the store, {f.refused} to be refused: nothing to run"
    time = "time unknown: the store has no row to tell by" if f.hours is None else f"about {_hours(f.hours)}"
    memory = "" if f.memory_mib is None else f", {f.memory_mib:,.0f} MiB of memory"
    guess = (
        f" (a guess for {f.guessed} cells, whose methods have no row on their suite: they may take many times that)"
        if f.guessed and f.hours is not None
        else ""
    )
    suites = ", ".join(f"{name} {n}" for name, n in sorted(f.by_suite.items()))
    return (
        f"{f.cells} cells: {f.there} in the store, {f.refused} to be refused, {f.to_run} to run ({suites})\n"
        f"{time}{guess}{memory}, {f.disk_mib:,.1f} MiB in the store on a disk with {f.free_mib:,.0f} free "
        "(features and decoded images come on top, in the cache)"
    )


def _hours(hours: float) -> str:
    return f"{hours:.1f} h" if hours >= 1 else f"{60 * hours:.0f} min" if hours >= 1 / 60 else f"{3600 * hours:.0f} s"
