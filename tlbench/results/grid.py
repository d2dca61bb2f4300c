"""What was measured at one label budget: methods by tasks by seeds, every gain paired with its reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tlbench.methods.references import REFERENCES, TARGET_FULL, held_at
from tlbench.results.editions import Edition
from tlbench.results.frame import OPEN, by_itself, words
from tlbench.results.stats import two_way, two_way_packed
from tlbench.tasks.card import FULL, Budget
from tlbench.tasks.task_name import suite_of

if TYPE_CHECKING:
    import pandas as pd

Cube = NDArray[np.floating[Any]]
POOLED, CHANCE = "source_plus_target", "chance"
COLUMNS = [  # of a frame, that a grid is made of
    "task", "sources", "budget", "seed", "method", "family", "paradigm", "regime",
    "status", "value", "correct", "n_test", "episodes",
]  # fmt: skip


@dataclass(frozen=True, eq=False)
class Grid:
    """M methods (the references among them) on T tasks with S seeds, at one budget.

    Points are percentage points of the metric. The reference is target-only at k >= 1 and source-only at k = 0: the
    two answer different questions, so the budgets are never mixed.
    """

    budget: Budget
    methods: tuple[str, ...]  # M names
    families: tuple[str, ...]  # M: the algorithm family of each
    tasks: tuple[str, ...]  # T: 'suite/source-target'
    groups: tuple[str, ...]  # T: the dataset family; its tasks are no independent samples
    paradigms: tuple[str, ...]  # T
    seeds: tuple[int, ...]  # S
    value: Cube  # (M, T, S) points; NaN where the cell was not run or refused
    imputed: NDArray[np.bool_]  # (M, T, S) where the cell failed, and `value` is the worst of the references and chance
    gain: Cube  # (M, T, S) over the reference
    added: Cube  # (M, T, S) over source + target pooled: does the clever part help?
    mean: Cube  # (M, T) of the gain over seeds and test examples
    se: Cube  # (M, T) its standard error, when both are samples
    df: Cube  # (M, T) its degrees of freedom
    chance: Cube  # (T,) points of a guess
    skyline: Cube  # (T,) points of target-only with every label; NaN where it was not run
    reference: str  # of the edition at this budget
    regimes: tuple[str, ...] = ()  # T: points of different metrics are never meaned
    sheets: tuple[Sheet, ...] = ()  # T: what is known of every test sample
    edition: Edition = OPEN  # whose rules hold


def grids(frame: pd.DataFrame, edition: Edition = OPEN) -> dict[Budget, Grid]:
    """A grid for every budget that a task with a source was measured at, of `frame.standing` rows."""
    frame = frame[COLUMNS]  # rows are taken out of it again and again
    pairs = frame[words(frame["sources"]) != ""]
    found = [b for b in set(words(pairs["budget"])) if b != FULL]
    budgets: list[Budget] = sorted(int(b) for b in found)
    return {k: grid for k in budgets if (grid := of(frame, k, edition)).tasks}


def of(frame: pd.DataFrame, budget: Budget, edition: Edition = OPEN) -> Grid:
    """The grid of one budget: every task that has its reference there."""
    reference = edition.protocol.reference_at(budget)
    method, at = words(frame["method"]), words(frame["budget"])
    bears = at == str(budget)
    for m in (m for m in set(method) if held_at(m, budget) != budget):
        bears |= (method == m) & (at == str(held_at(m, budget)))
    own = frame[bears]
    task = words(own["task"])
    places = {name: np.asarray(rows) for name, rows in own.groupby(task, sort=False).indices.items()}
    paired = (words(own["budget"]) == str(budget)) & (words(own["sources"]) != "")
    tables = [(pair, own.iloc[_of_task(places, pair)]) for pair in sorted(set(task[paired]))]
    tables = [(pair, rows) for pair, rows in tables if reference in words(rows["method"])]
    return _filled(budget, edition, [pair for pair, _ in tables], [rows for _, rows in tables])


def _of_task(places: dict[str, NDArray[np.int64]], pair: str) -> NDArray[np.int64]:
    """Where the rows of a pair are, and those that were run without its source."""
    return np.sort(np.concatenate([places[name] for name in (pair, by_itself(pair)) if name in places]))


def _filled(budget: Budget, edition: Edition, pairs: Sequence[str], tables: Sequence[pd.DataFrame]) -> Grid:
    reference = edition.protocol.reference_at(budget)
    few = [t[["method", "family"]].drop_duplicates() for t in tables]
    family = {m: f for t in few for m, f in zip(words(t["method"]), words(t["family"]), strict=True)}
    methods, seeds = sorted(family), sorted({int(s) for t in tables for s in t["seed"].unique()})
    shape = (len(methods), len(pairs), len(seeds))
    value, imputed = np.full(shape, np.nan), np.zeros(shape, bool)
    estimate = np.full((3, *shape[:2]), np.nan)
    sheets = tuple(Sheet.of(rows, methods, seeds, reference) for rows in tables)
    for j, sheet in enumerate(sheets):
        value[:, j], imputed[:, j] = sheet.value, sheet.imputed
        estimate[:, :, j] = sheet.estimates(sheet.reference)
    at = {m: i for i, m in enumerate(methods)}

    def over(name: str) -> Cube:
        return value - value[at[name]] if name in at else np.full(shape, np.nan)

    def constant(name: str) -> Cube:
        own = value[at[name]] if name in at else np.full(shape[1:], np.nan)
        return np.array([np.nan if np.isnan(seeds).all() else np.nanmean(seeds) for seeds in own])

    return Grid(
        budget, tuple(methods), tuple(family[m] for m in methods), tuple(pairs),
        tuple(edition.family(suite_of(pair)) for pair in pairs),
        tuple(str(t["paradigm"].iloc[0]) for t in tables), tuple(seeds),
        value, imputed, over(reference), over(POOLED) if budget else np.full(shape, np.nan),
        estimate[0], estimate[1], estimate[2], constant(CHANCE), constant(TARGET_FULL), reference,
        tuple(str(t["regime"].iloc[0]) for t in tables), sheets, edition,
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Sheet:
    """One task at one budget: M methods by S seeds, and the rows behind them."""

    value: Cube  # (M, S) points; NaN where not run or refused
    imputed: NDArray[np.bool_]  # (M, S)
    bits: NDArray[np.object_]  # (M, S) packed answers, None where there are none
    reference: int  # which method
    n_test: int
    episodes: int  # 0 unless there are episodes

    @classmethod
    def of(cls, rows: pd.DataFrame, methods: Sequence[str], seeds: Sequence[int], reference: str) -> Sheet:
        """Fill in; a failed cell gets the worst of the references and chance, as it would to somebody who fell back."""
        at, when = {m: i for i, m in enumerate(methods)}, {s: i for i, s in enumerate(seeds)}
        i = np.array([at[m] for m in words(rows["method"])], int)
        j = np.array([when[int(s)] for s in rows["seed"].to_numpy()], int)
        status = words(rows["status"])
        ok, failed = status == "ok", status == "failed"
        value, bits = np.full((len(at), len(when)), np.nan), np.full((len(at), len(when)), None, object)
        value[i[ok], j[ok]] = 100.0 * rows["value"].to_numpy(float)[ok]
        bits[i[ok], j[ok]] = rows["correct"].to_numpy(object)[ok]
        imputed = np.zeros(value.shape, bool)
        imputed[i[failed], j[failed]] = True
        fallback = [value[at[m]] for m in (*REFERENCES, CHANCE) if m in at]
        worst = np.fmin.reduce(fallback) if fallback else np.full(len(when), np.nan)
        value = np.where(imputed, worst, value)
        references = rows[
            (words(rows["method"]) == reference) & ok
        ]  # nobody else's row says how many samples there are
        own = references if len(references) else rows
        return cls(
            value, imputed, bits, at[reference], int(own["n_test"].iloc[0]), int(own["episodes"].fillna(0).max())
        )

    def estimates(self, other: int, methods: Sequence[int] | None = None) -> Cube:
        """(3, m) mean, standard error and degrees of freedom of gains over a method `other` in points; of all methods,
        or of those named.

        Over seeds and test examples where every answer is known, else over seeds alone; on the seeds that both have.
        """
        rows = np.arange(len(self.value)) if methods is None else np.asarray(methods, int)
        out = np.full((3, len(rows)), np.nan)
        both = ~np.isnan(self.value[rows]) & ~np.isnan(self.value[other])
        told = both & (self.bits[rows] != None) & (self.bits[other] != None)  # noqa: E711  (elementwise)
        for seeds in {tuple(row) for row in told[both.any(1)]}:
            alike = np.flatnonzero((told == seeds).all(1) & (both == told).all(1) & any(seeds))
            if len(alike) and not self.episodes:
                out[:, alike] = self._packed(rows[alike], other, np.flatnonzero(seeds))
        for m in np.flatnonzero(both.any(1) & np.isnan(out[0])):
            found = two_way(self._points(int(rows[m]), other, np.flatnonzero(both[m])))
            out[:, m] = found.mean, found.se, found.df
        return out

    def _packed(self, methods: NDArray[np.int64], other: int, seeds: NDArray[np.int64]) -> Cube:
        own, theirs = self._bytes(methods, seeds), self._bytes(np.array([other]), seeds)
        return np.stack(two_way_packed(own, np.broadcast_to(theirs, own.shape), self.n_test))

    def _bytes(self, methods: NDArray[np.int64], seeds: NDArray[np.int64]) -> NDArray[np.uint8]:
        joined = b"".join(self.bits[np.ix_(methods, seeds)].ravel())
        return np.frombuffer(joined, np.uint8).reshape(len(methods), len(seeds), -1)

    def _points(self, m: int, other: int, seeds: NDArray[np.int64]) -> Cube:
        """(S, episodes) differences of an episode's accuracy; (S, 1) of the value where there are no episodes."""
        told = all(self.bits[k, s] is not None for k in (m, other) for s in seeds)
        if not self.episodes or not told:
            return np.asarray(self.value[m, seeds] - self.value[other, seeds])[:, None]
        right = np.unpackbits(self._bytes(np.array([m, other]), seeds), axis=2, count=self.n_test)
        score = 100.0 * right.reshape(2, len(seeds), self.episodes, -1).mean(3)
        return np.asarray(score[0] - score[1])
