"""rows -> how methods stand, and board.csv and board.parquet of it: the same rows give the same text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from itertools import compress
from typing import TYPE_CHECKING

import numpy as np

from tlbench.board import columns, figures, selection
from tlbench.board.columns import Entry
from tlbench.results import bundle, frame, standings
from tlbench.results.bundle import Bundle
from tlbench.results.editions import Edition
from tlbench.results.frame import OPEN
from tlbench.results.grid import Grid, grids
from tlbench.results.standings import Standing
from tlbench.results.store import Store
from tlbench.results.timings import Timing, Timings, ratios
from tlbench.tasks.card import PARADIGMS, RANKED_FIRST, Budget, titled

if TYPE_CHECKING:
    import pandas as pd

Placed = dict[Budget, list[Standing]]


class Board:
    """All that is shown of a store."""

    def __init__(
        self, store: Store, previewed: Sequence[Bundle] = (), edition: Edition = OPEN, submitted: bool = True
    ) -> None:
        """Args:
        previewed: bundles to be shown as if they were accepted, marked as not verified
        edition: by whose rules; `store` holds its rows
        submitted: take the submissions in that lie with the rows
        """
        self.edition = edition
        self.all = frame.load(store)
        self.rows = frame.standing(self.all, edition)
        found = bundle.committed_in(store.folder) if submitted else []
        self.pending = [c for c in found if not (c.bundle and c.bundle.accepted)]
        newcomers = bundle.verified(found) + [r for b in previewed for r in bundle.marked(b)]
        self.joined = frame.joining(newcomers, self.rows)
        if self.joined:
            self.all = frame.load(store, self.joined)
            self.rows = frame.standing(self.all, edition)
        self.store = store
        self.changed = frame.changed_since(self.rows, edition)
        self.grids = grids(self.rows, edition)
        self.core = {k: g for k, g in grids(of_core(self.rows, edition), edition).items() if measured(g).any()}
        self.timed = timed(store, edition)
        self.recoded = frame.changed_since(_codes(self.timed), edition)
        self.costs = _costs(self.timed, edition)
        at = {k: self.costs[self.costs["budget"] == k] for k in self.grids}
        self.times = {k: dict(zip(c["method"], c["ratio"], strict=True)) for k, c in at.items()}
        self.timed_on = {k: _timed_on(self.timed, k) for k in self.grids}
        self.same_task = {k: standings.standings(g, measured(g) & same_task(g)) for k, g in self.core.items()}

    @cached_property
    def chosen(self) -> pd.DataFrame:
        """What rules of selection chose, beside the defaults."""
        return selection.valued(self.all, self.rows, self.edition)

    @cached_property
    def pictures(self) -> list[figures.Picture]:
        """Of the tasks that the ranks stand on, and of those of other paradigms and regimes by themselves; where the
        core grid has no row yet, of all tasks."""
        held = {k: standings.part(g, measured(g)) for k, g in self.core.items()} or self.grids
        headline = {k: standings.part(g, same_task(g)) for k, g in held.items()}
        others = parted({k: standings.part(g, ~same_task(g)) for k, g in held.items()})
        return figures.pictures(headline, others, self.times, self.timed_on)

    def table(self) -> pd.DataFrame:
        """One line a (budget, set of tasks, method): every figure of the tables, unrounded."""
        import pandas as pd

        placed = [(RANKED_FIRST, self.same_task), *self.by_paradigm.items()]
        entries = [Entry(s, k, tasks) for tasks, held in placed for k, rows in held.items() for s in rows]
        own = columns.files(self.edition.protocol.margins)
        table = pd.DataFrame([{c.name: c.of(e) for c in own} for e in entries])
        empty = table.columns[table.isna().all()]  # has the type of numbers, as where some row has one
        return table.astype(dict.fromkeys(empty, float))

    @cached_property
    def paradigms(self) -> dict[str, dict[Budget, Grid]]:
        """The core grid's tasks of each paradigm, a regime by itself, at every budget."""
        return parted({k: standings.part(g, measured(g)) for k, g in self.core.items()})

    @cached_property
    def by_paradigm(self) -> dict[str, Placed]:
        """How methods stand on these."""
        return {title: {k: self._placed(k, g) for k, g in own.items()} for title, own in self.paradigms.items()}

    def _placed(self, k: Budget, g: Grid) -> list[Standing]:
        """Of the tasks of the ranks themselves nothing is computed twice."""
        held = self.core[k]
        ranked = tuple(compress(held.tasks, measured(held) & same_task(held)))
        return self.same_task[k] if g.tasks == ranked else standings.standings(g)


def parted(held: dict[Budget, Grid]) -> dict[str, dict[Budget, Grid]]:
    """The tasks of each paradigm, a regime by itself, by their title."""
    found: dict[str, dict[Budget, Grid]] = {}
    for name in PARADIGMS:
        for k, g in held.items():
            for regime in sorted(set(g.regimes)):
                mask = np.array([p == name and r == regime for p, r in zip(g.paradigms, g.regimes, strict=True)])
                if mask.any():
                    found.setdefault(titled(name, regime), {})[k] = standings.part(g, mask)
    return found


def timed(store: Store, edition: Edition = OPEN) -> list[Timing]:
    """Timings at the published settings, of one version of each method's code, on the kind of machine that most were
    made on."""
    found = [t for t in Timings(store.folder).found if t.default and t.protocol == edition.protocol.number]
    most = Counter(t.machine_class for t in found if t.counts).most_common(1)
    found = [t for t in found if most and t.machine_class == most[0][0]]
    return list(compress(found, frame.one_code(_codes(found), edition))) if found else []


def _codes(found: Sequence[Timing]) -> pd.DataFrame:
    import pandas as pd

    names = ("method", "method_digest", "method_version", "time")
    return pd.DataFrame({name: [getattr(t, name) for t in found] for name in names})


def _timed_on(timed: Sequence[Timing], k: Budget) -> list[str]:
    """The tasks with a source whose times at a budget count."""
    return sorted({t.task for t in timed if t.counts and t.budget == k and t.sources})


def _costs(timed: Sequence[Timing], edition: Edition) -> pd.DataFrame:
    """Ratios of time; of the methods that have one."""
    found = ratios(timed, {t.suite: edition.family(t.suite) for t in timed})
    return found[found["ratio"].notna()]


def of_core(rows: pd.DataFrame, edition: Edition = OPEN) -> pd.DataFrame:
    """Rows of the core grid's tasks and of their targets by themselves, with its seeds."""
    held = edition.grid
    alone = map(frame.by_itself, held.tasks)
    return rows[rows["task"].isin({*held.tasks, *alone}) & (rows["seed"] < held.seeds)]


def measured(g: Grid) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """(T,) tasks that the core grid asks for at this budget and whose reference was measured with every seed."""
    asked = g.edition.grid.at(g.budget)
    whole = ~np.isnan(g.value[g.methods.index(g.reference)]).any(1)
    return np.asarray(np.array([t in asked for t in g.tasks]) & whole)


def same_task(g: Grid) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """(T,) tasks that every method of classification can be asked about."""
    return np.array([g.edition.ranks(t) for t in g.tasks])
