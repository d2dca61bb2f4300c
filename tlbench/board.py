"""rows -> leaderboard.md, board.csv and board.parquet: the same rows give the same text, and nothing of it is typed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tlbench import core, figures, frame, standings, stats, submissions, tables, truths
from tlbench.bundle import Bundle
from tlbench.card import PARADIGMS, Budget
from tlbench.frame import known, words
from tlbench.grid import Grid, grids
from tlbench.mistake import Mistake
from tlbench.standings import Standing
from tlbench.store import Store
from tlbench.timings import Timings, ratios
from tlbench.verdict import plain

if TYPE_CHECKING:
    import pandas as pd

BEGIN, END = "<!-- tlbench: generated below -->", "<!-- tlbench: generated above -->"
METRICS = {"ap50": "AP50", "neg_mse": "minus 100 times the mean squared error", "accuracy": "accuracy in %"}
Placed = dict[Budget, list[Standing]]


def rebuild(store: Store, file: Path, write: bool = True) -> bool:
    """Replace what is between the markers of `file` by the tables of `store`, and write the table's CSV and Parquet
    beside the rows. Returns whether the text changes.

    Raises:
        Mistake: the file is missing or lacks its markers.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise Mistake(f"{file}: cannot be read ({error.strerror}); it must hold the lines {BEGIN} and {END}") from None
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise Mistake(f"{file}: lacks its markers; put the lines {BEGIN} and {END} where the tables go")
    board = Board(store)
    new = f"{head}{BEGIN}\n\n{board.text()}\n{END}{tail}"
    if write:
        board.export(store.folder)
    if new != text and write:
        temporary = file.with_suffix(".tmp")
        temporary.write_text(new, encoding="utf-8")
        temporary.replace(file)
    return new != text


class Board:
    """All that is shown of a store."""

    def __init__(self, store: Store, previewed: Sequence[Bundle] = ()) -> None:
        """Args: previewed, bundles to be shown as if they were accepted, marked as not verified."""
        self.all = frame.load(store)
        self.rows = frame.standing(self.all)
        found = submissions.of(store.folder)
        self.pending = [c for c in found if not (c.bundle and c.bundle.accepted)]
        newcomers = submissions.verified(found) + [r for b in previewed for r in submissions.marked(b)]
        self.joined = frame.joining(newcomers, self.rows)
        if self.joined:
            self.all = frame.load(store, self.joined)
            self.rows = frame.standing(self.all)
        self.store = store
        self.changed = frame.changed_since(self.rows)
        self.grids = grids(self.rows)
        self.core = {k: g for k, g in grids(_of_core(self.rows)).items() if _measured(g).any()}
        self.costs, self.untimed = _costs(store)
        self.times = dict(zip(self.costs["method"], self.costs["ratio"], strict=True))
        self.same_task = {k: standings.standings(g, _measured(g) & _same_task(g)) for k, g in self.core.items()}

    def text(self) -> str:
        """Everything between the markers."""
        if not self.grids:
            return "No rows yet: `tlbench run --task digits --method dann` makes some.\n"
        parts = [
            self._provenance(),
            *self._short(),
            *self._headlines(),
            *self._harm(),
            *self._pictures(),
            *self._costs(),
        ]
        more = [*self._selection(), *truths.section(self.all), *self._paradigms(), *self._suites(), *self._pending()]
        return "\n".join([*parts, *more])

    def export(self, folder: Path) -> None:
        """The standings at every budget as `board.csv` and `board.parquet`."""
        folder.mkdir(parents=True, exist_ok=True)
        costs = self.costs[["method", "ratio"]].rename(columns={"ratio": "time_ratio"})
        figures.draw(self.core or self.grids, costs, folder / "figures")
        table = self.table()
        table.to_csv(folder / "board.csv", index=False, float_format="%.6g", lineterminator="\n")
        table.to_parquet(folder / "board.parquet", index=False)

    def table(self) -> pd.DataFrame:
        """One line a (budget, set of tasks, method): every figure of the tables, unrounded."""
        import pandas as pd

        lines = [_flat(k, "same task", s) for k, rows in self.same_task.items() for s in rows]
        for paradigm, placed in self._by_paradigm().items():
            lines += [_flat(k, paradigm, s) for k, rows in placed.items() for s in rows]
        return pd.DataFrame(lines)

    def _provenance(self) -> str:
        rows, tasks = self.rows, {t for g in self.grids.values() for t in g.tasks}
        counts = Counter(words(rows["status"]))
        said = ", ".join(f"{counts.get(s, 0):,} {s}" for s in ("ok", "failed", "refused"))
        groups = {x for g in self.grids.values() for x in g.groups}
        pairs = rows[["tlbench", "torch"]].drop_duplicates()
        versions = " and ".join(sorted(f"{ours} on torch {torch}" for ours, torch in pairs.astype(str).to_numpy()))
        machines = "; ".join(sorted(set(words(rows["machine"]))))
        commits = ", ".join(sorted({c[:7] for c in set(words(rows["commit"])) if c})) or "none"
        dirty = int((rows["dirty"] == True).sum())  # noqa: E712  (null is neither)
        uncommitted = f", {dirty:,} rows with changes uncommitted" if dirty else ""
        dagger = f" {len(self.changed)} methods marked † have changed since." if self.changed else ""
        return (
            f"{len(rows):,} rows ({said}) of {len(self.all):,} in the store; {rows['method'].nunique()} methods, "
            f"{len(tasks)} tasks, {len(groups)} dataset families. tlbench {versions}; {machines}; commits {commits}"
            f"{uncommitted}.{dagger} Selection rule: default, the published hyperparameters.\n"
        )

    def _short(self) -> list[str]:
        if not any(self.same_task.values()):
            return []
        families = "Mean gain of each algorithm family's ranked methods, and in brackets the best of them:"
        tops = [tables.summary(self.same_task), "", families, "", tables.by_family(self.same_task)]
        return ["## In short", "", *tops, ""]

    def _headlines(self) -> list[str]:
        if not any(self.same_task.values()):
            return ["Nothing of the core grid is measured yet, so nobody is ranked.\n"]
        parts = ["## Ranks, where the source has the target's classes", ""]
        for k, rows in self.same_task.items():
            if rows:
                own = standings.part(self.core[k], _measured(self.core[k]) & _same_task(self.core[k]))
                parts += [
                    f"### {_labels(k)}",
                    "",
                    f"{_of(own, k)} {_apart(own, rows)}",
                    "",
                    tables.standing(rows, self.times, self.changed),
                    "",
                ]
        return parts

    def _harm(self) -> list[str]:
        if not any(self.same_task.values()):
            return []
        turns, parts = tables.turning_points(self.core), ["## Negative transfer", ""]
        for k, rows in self.same_task.items():
            if rows:
                families = {g for t, g in zip(self.core[k].tasks, self.core[k].groups, strict=True) if _for_all(t)}
                few = len(families) < stats.FAMILIES_TO_BOUND
                why = (
                    f"; no interval of a rate with fewer than {stats.FAMILIES_TO_BOUND} dataset families" if few else ""
                )
                said = f"A task is harmed where the mean over seeds is below {self.core[k].reference}'s{why}."
                parts += [f"### Harm with {_labels(k)}", "", said, "", tables.harm(rows, turns), ""]
        return parts

    def _pictures(self) -> list[str]:
        names = [f"heatmap_{k}.svg" for k in self.core] + [f"pareto_{k}.svg" for k in self.core if len(self.costs)]
        links = [f"![{n.removesuffix('.svg').replace('_', ', k = ')}](results/figures/{n})" for n in names]
        return (
            ["## Pictures", "", *links, "![accuracy against labels](results/figures/curves.svg)", ""] if links else []
        )

    def _costs(self) -> list[str]:
        if not len(self.costs):
            return []
        said = (
            "Measured one cell at a time, apart from the accuracies; time is a ratio to the reference's on the same "
            "target in the same session, its interval over dataset families. "
            f"{self.untimed} noisy or contended timings are left out."
        )
        return ["## Cost", "", said, "", tables.costs(self.costs), ""]

    def _selection(self) -> list[str]:
        import pandas as pd

        ok = self.all[words(self.all["status"]) == "ok"]
        chosen = ok[(words(ok["rule"]) != "default") & ok["trials"].notna()]
        if not len(chosen):
            return []
        place = ["task", "method", "budget", "seed"]
        plain = ok[ok["default"] & (words(ok["rule"]) == "default")].merge(chosen[place].drop_duplicates(), on=place)
        said = (
            "Mean of the metric where a rule chose among the same trials of every method and reference; `default` "
            "chose nothing. `oracle_last` looks at held-out labels of the target: a ceiling, never ranked; the gap is "
            "what a rule loses against it."
        )
        return ["## Selection", "", said, "", tables.selection(pd.concat([chosen, plain])), ""]

    def _pending(self) -> list[str]:
        """Submissions that nobody has verified: what they say of themselves, ranked nowhere."""
        if not self.pending:
            return []
        said = (
            "What bundles say of themselves that no maintainer's record accepts: means over those cells of the core "
            "grid that they hold. They are ranked nowhere, and change nothing above."
        )
        rows = [r for c in self.pending if c.bundle for r in submissions.marked(c.bundle, c.bundle.about.name)]
        joined = frame.joining(rows, self.rows)
        held = frame.standing(frame.load(self.store, joined)) if joined else self.rows
        names = {r.method for r in joined}
        lines = [tables.claim(g, m, k) for k, g in grids(_of_core(held)).items() for m in g.methods if m in names]
        wrong = [f"- `{plain(c.folder.name)}` is no bundle: {plain(c.wrong)}" for c in self.pending if c.bundle is None]
        return ["## Not verified", "", said, "", *([tables.claims(lines), ""] if lines else []), *wrong, ""]

    def _by_paradigm(self) -> dict[str, Placed]:
        found: dict[str, Placed] = {}
        for name in PARADIGMS:
            for k, g in self.core.items():
                for regime in sorted(set(g.regimes)):
                    mask = np.array([p == name and r == regime for p, r in zip(g.paradigms, g.regimes, strict=True)])
                    if (mask & _measured(g)).any():
                        title = PARADIGMS[name] if regime == "classification" else f"{PARADIGMS[name]}: {regime}"
                        placed = found.setdefault(title, {})
                        placed[k] = standings.standings(g, mask & _measured(g))
        return found

    def _paradigms(self) -> list[str]:
        found = self._by_paradigm()
        if not found:
            return []
        parts = ["## By paradigm", ""]
        for title, placed in found.items():
            parts += [f"<details><summary>{title}</summary>", ""]
            for k, rows in placed.items():
                parts += [f"#### {title}, {_labels(k)}", "", tables.short(rows, self.changed), ""]
            parts += ["</details>", ""]
        return parts

    def _suites(self) -> list[str]:
        parts = ["## By suite", ""]
        suites = sorted({t.partition("/")[0] for g in self.grids.values() for t in g.tasks})
        for name in suites:
            parts += [f"<details><summary>{name}</summary>", "", _suite_caption(name, self.rows), ""]
            for k, g in self.grids.items():
                mask = np.array([t.partition("/")[0] == name for t in g.tasks])
                if mask.any():
                    own = standings.part(g, mask)
                    parts += [f"#### {name}, {_labels(k)}", "", tables.suite(own, self.changed), ""]
            parts += ["</details>", ""]
        return parts


def _costs(store: Store) -> tuple[pd.DataFrame, int]:
    """Ratios of time at the published settings, on the kind of machine that most were timed on; timings left out."""
    timed = [t for t in Timings(store.folder).found if t.default]
    found = ratios(timed, {t.suite: frame.group(t.suite) for t in timed})
    if not len(found):
        return found, 0
    most = found.groupby("machine_class")["timed"].sum().idxmax()
    found = found[found["machine_class"] == most]
    return found[found["ratio"].notna()], int(found["left_out"].sum())


def _of_core(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of the core grid's tasks and of their targets by themselves, with its seeds."""
    held = core.named(core.BOARD)
    alone = {f"{t.partition('/')[0]}/{t.rpartition('-')[2]}" for t in held.tasks}
    return rows[rows["task"].isin({*held.tasks, *alone}) & (rows["seed"] < held.seeds)]


def _measured(g: Grid) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """(T,) tasks that the core grid asks for at this budget and whose reference was measured with every seed."""
    asked = core.named(core.BOARD).at(g.budget)
    whole = ~np.isnan(g.value[g.methods.index(g.reference)]).any(1)
    return np.asarray(np.array([t in asked for t in g.tasks]) & whole)


def _same_task(g: Grid) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """(T,) tasks that every method of classification can be asked about."""
    return np.array([_for_all(t) for t in g.tasks])


def _for_all(task: str) -> bool:
    card = known(task.partition("/")[0])
    return card is not None and card.same_task and card.regime == "classification"


def _labels(k: Budget) -> str:
    return "no label" if k == 0 else "1 label a class" if k == 1 else f"{k} labels a class"


def _of(g: Grid, k: Budget) -> str:
    asked = sum(map(_for_all, core.named(core.BOARD).at(k)))
    least = f"; {asked} are asked for" if len(g.tasks) < asked else ""
    return (
        f"{len(g.tasks)} tasks of {len(set(g.groups))} dataset families ({', '.join(sorted(set(g.groups)))}){least}, "
        f"{len(g.seeds)} seeds; gains over {g.reference}."
    )


def _apart(g: Grid, rows: list[Standing]) -> str:
    ranked = [s.method for s in rows if s.ranked]
    pairs = standings.told_apart(g, ranked)
    said = f"Wilcoxon's test with Holm's correction over dataset families, {len(ranked)} ranked methods"
    if pairs is None:
        return f"{said}: insufficient tasks, no pair could be told apart."
    return f"{said}: {sum(p.adjusted < 0.05 for p in pairs)} of {len(pairs)} pairs are told apart."


def _suite_caption(name: str, rows: pd.DataFrame) -> str:
    own = rows[rows["suite"] == name]
    backbones = ", ".join(sorted(set(words(own["backbone"]))))
    metric = METRICS[str(own["metric"].iloc[0])]
    return f"{metric}, and in brackets the gain over the reference with its 95 % interval; backbone {backbones}."


def _flat(k: Budget, tasks: str, s: Standing) -> dict[str, object]:
    """A standing as one line of a table."""
    values = asdict(s)
    harm = values.pop("harm") or {}
    for name in ("gain", "beyond"):
        one = getattr(s, name)
        values[name] = one.mean
        values[f"{name}_half_width"] = one.half_width() if np.isfinite(one.se) else None
    for name, n in (("rank", 2), ("won", 3)):
        found = values.pop(name)
        labels = ("rank_best", "rank_worst") if n == 2 else ("tasks_won", "tasks_tied", "tasks_lost")
        values |= dict(zip(labels, found or [None] * n, strict=True))
    counts = harm.pop("counts", [None] * len(standings.MARGINS))
    rate = harm.pop("rate", None) or {}
    values |= {f"harmed_by_{m:g}": c for m, c in zip(standings.MARGINS, counts, strict=True)}
    values |= {f"rate_{name}": v for name, v in rate.items()} | {f"harm_{name}": v for name, v in harm.items()}
    return {"budget": str(k), "tasks": tasks, **values}
