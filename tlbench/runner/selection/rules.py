"""Rules of model selection: which of a method's trials is its answer, and which labels say so.

Trials are run once, each a cell with a row of its own, and their predictions are kept (see `search`). A rule is an
offline reduction of them: it trains nothing, sees no test label, and is handed no label but those that it `touches`.
The references are chosen by the same rule from as many trials; one that the rule cannot be asked of (target-only has no
source to be validated on) keeps its published default.

To add a rule, add a `Rule` to `RULES`: every command reads what is there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlbench.errors import UsageError, suggest
from tlbench.results.row import DEFAULT, ORACLES, Row
from tlbench.results.store import Store
from tlbench.runner.cell import Cell
from tlbench.runner.cell_job import Bench
from tlbench.runner.executors import Executor
from tlbench.runner.selection import search
from tlbench.runner.selection import validators as v
from tlbench.runner.selection.leave_one_dataset_out import alone, gains
from tlbench.runner.selection.search import UNLABELED_MOST, Kept
from tlbench.tasks import problems
from tlbench.tasks.metrics import accuracy
from tlbench.tasks.split import sha

VERSION = 1  # of the rules; part of the key of every row that they make
Array = NDArray[Any]


@dataclass(frozen=True)
class Evidence:
    """What a rule is shown of one trial: the parts that it looks at, and of them the labels that it touches."""

    scores: dict[str, Array]  # (n, classes) by part
    labels: dict[str, Array]  # (n,) by part
    weights: Callable[[], Array]  # (n,) how much likelier the source's validation samples are in the target

    def losses(self, part: str) -> Array:
        """(n,) log-losses, or squared errors where the labels are numbers."""
        y = self.labels[part]
        return v.squared_errors(self.scores[part], y) if y.dtype.kind == "f" else v.log_losses(self.scores[part], y)


@dataclass(frozen=True)
class Elsewhere:
    """How a rule chooses that looks at no prediction on the task at hand, but at rows of other tasks."""

    scores: Callable[[Sequence[Cell], Sequence[Row], Iterable[Row]], tuple[list[float], list[str]]]
    """Of the trials of a cell, their rows and all rows: one score a trial, and the keys of the rows that say so."""
    why_not: Callable[[Sequence[Cell], Iterable[tuple[Cell, ...]], Store], str | None]
    """Of the trials of a cell, all trials of the plan and the store: why nothing can be learnt; None where it can."""


@dataclass(frozen=True)
class Rule:
    """One way to choose a trial: the one of the highest score, ties to the smaller index."""

    name: str
    touches: str  # the labels that it looks at, in words
    summary: str
    labels: tuple[str, ...] = ()  # parts whose labels it is shown
    looks: tuple[str, ...] = ()  # parts whose scores it is shown
    score: Callable[[Evidence], float] | None = None  # the higher the better; None: it looks at no prediction
    regimes: tuple[str, ...] = ("classification",)
    elsewhere: Elsewhere | None = None  # where there is no score; None: it chooses nothing

    @property
    def ranked(self) -> bool:
        return not self.name.startswith(ORACLES)

    def why_not(self, cell: Cell) -> str | None:
        """Why the rule cannot be asked of a cell; None where it can."""
        card, where = cell.task.card, f"{cell.method.name} on {cell.task.name} at budget {cell.budget}"
        if card.regime not in self.regimes:
            return f"it is for {' and '.join(self.regimes)}; {cell.task.name} is {card.regime}"
        if "shots" in self.looks and not search.n_folds(cell):
            return f"it needs 2 labels a class of the target; {where} has fewer"
        if "source_val" in self.looks and not cell.task.sampled:
            return f"it needs labelled source samples; {where} has none"
        if "source_val" in self.looks and not card.same_task:
            return f"it needs sources that have the target's classes; those of {cell.task.name} have others"
        if {"source_val", "oracle_val"} & set(self.looks) and card.protocol == "published":
            return f"the published protocol of {cell.task.name} sets no sample aside for it"
        return None

    def choose(self, scores: Sequence[float]) -> int:
        """The index of the highest score; what is not finite comes last, ties go to the smaller index."""
        finite = [s if math.isfinite(s) else -math.inf for s in scores]
        return max(range(len(finite)), key=lambda i: (finite[i], -i))


def _over(part: str, validator: Callable[[Array], float]) -> Callable[[Evidence], float]:
    return lambda e: validator(e.scores[part])


def _minus_loss(part: str) -> Callable[[Evidence], float]:
    return lambda e: -float(e.losses(part).mean())


def _dev(e: Evidence) -> float:
    weights = v.domain_weights(e.scores["source_val"], e.scores["unlabeled"])
    return -v.dev_risk(e.losses("source_val"), weights)


def _accuracy(part: str) -> Callable[[Evidence], float]:
    """Minus the squared error where the labels are numbers."""

    def score(e: Evidence) -> float:
        y = e.labels[part]
        return accuracy(e.scores[part], y) if y.dtype.kind != "f" else -float(e.losses(part).mean())

    return score


EVERY = tuple(problems.PROBLEMS)
BOTH = tuple(name for name, p in problems.PROBLEMS.items() if p.keeps_trials)  # of whose trials predictions are kept
SOURCE = "source validation"
RULES = {
    rule.name: rule
    for rule in (
        Rule(DEFAULT, "none", "the published hyperparameters", regimes=EVERY),
        Rule("cv", "the k shots", "log-loss of each fold of the shots told by the others; the full fit is the answer",
             ("shots",), ("shots",), _minus_loss("shots"), BOTH),
        Rule("cv_accuracy", "the k shots", "accuracy on the same folds: log-loss prefers the hardly trained",
             ("shots",), ("shots",), _accuracy("shots")),
        Rule("lodo", "none of this group of datasets", "mean paired gain on the other groups at the same k",
             regimes=EVERY, elsewhere=Elsewhere(gains, alone)),
        Rule("source_val", SOURCE, "log-loss on the sources' validation samples",
             ("source_val",), ("source_val",), _minus_loss("source_val"), BOTH),
        Rule("iwcv", SOURCE, "the same, weighted by how much likelier the inputs are in the target",
             ("source_val",), ("source_val",), lambda e: -v.iw_risk(e.losses("source_val"), e.weights()), BOTH),
        Rule("dev", SOURCE, "the same, weighted by the model's outputs, with a control variate",
             ("source_val",), ("source_val", "unlabeled"), _dev),
        Rule("im", "none", "mutual information of unlabelled target inputs and predictions",
             (), ("unlabeled",), _over("unlabeled", v.mutual_information)),
        Rule("bnm", "none", "nuclear norm of the predictions on unlabelled target inputs",
             (), ("unlabeled",), _over("unlabeled", v.nuclear_norm)),
        Rule("snd", "none", "soft neighbourhood density of the predictions on unlabelled target inputs",
             (), ("unlabeled",), _over("unlabeled", v.neighbourhood_density)),
        Rule("oracle_last", "validation labels of the target beyond the k", "accuracy on them, after the last step",
             ("oracle_val",), ("oracle_val",), _accuracy("oracle_val"), BOTH),
    )
}  # fmt: skip


def named(name: str) -> Rule:
    """Raises:
    UsageError: there is no such rule.
    """
    if name not in RULES:
        raise UsageError(f"--rule {name}: unknown{suggest(name, RULES)}; `tlbench list rules` has all")
    return RULES[name]


@dataclass
class Reduction:
    """Reduces trials that were run to the row that a rule makes of them."""

    bench: Bench
    store: Store
    workers: Executor
    kept: dict[str, Kept | None] = field(default_factory=dict)
    _weights: dict[Any, Array] = field(default_factory=dict)

    def row(self, rule: Rule, own: Sequence[Cell]) -> Row | None:
        """The row of a rule over the trials of one cell, which is stored; trial 0's own where the rule is `default` or
        cannot be asked. None where a trial was not run, or nothing says which is better."""
        rows = [self.store.rows.get(self.bench.key(c)) for c in own]
        first = rows[0] if rows else None
        if rule.name == DEFAULT or first is None or rule.why_not(own[0]) or first.status == "refused":
            return first
        found = [row for row in rows if row is not None]
        if len(found) < len(rows):
            return None
        scores, beside = self.scores(rule, own, found)
        if not scores:
            return None
        if not any(row.ok for row in found):
            return first
        made = self._made(rule, found, rule.choose(scores), own, beside)
        if not any(map(math.isfinite, scores)):
            why = f"rule {rule.name}: no trial has a finite score"
            made = replace(made, status="failed", reason=why, value=None, correct=None, metrics=None)
        before = self.store.rows.get(made.key)
        if before is None or (made.ok and not before.ok):
            self.store.append(made)
        return self.store.rows[made.key]

    def scores(self, rule: Rule, own: Sequence[Cell], rows: Sequence[Row]) -> tuple[list[float], list[str]]:
        """One score a trial, a failed one's minus infinity, and the keys of what else was looked at."""
        if rule.elsewhere:
            return rule.elsewhere.scores(own, rows, self.store.rows.values())
        found = []
        for cell, row in zip(own, rows, strict=True):
            evidence = self.evidence(rule, cell) if row.ok else None
            with np.errstate(all="ignore"):
                found.append(rule.score(evidence) if rule.score and evidence else -math.inf)
        return found, []

    def evidence(self, rule: Rule, cell: Cell) -> Evidence | None:
        """What the rule is shown of a trial; None where a part that it looks at is not kept, as of a fold that failed,
        or is not finite."""
        key = self.bench.key(cell)
        if key not in self.kept:
            expected = search.sizes(self.bench, cell, self.workers)
            self.kept[key] = search.read(search.file(self.store.folder, key), expected)
        kept = self.kept[key]
        if kept is None or not all(p in kept.scores and np.isfinite(kept.scores[p]).all() for p in rule.looks):
            return None
        scores = {part: kept.scores[part].astype(np.float64) for part in rule.looks}
        labels = {part: self._truth(cell, part) for part in rule.labels}
        return Evidence(scores, labels, lambda: self.weights(cell))

    def _truth(self, cell: Cell, part: str) -> Array:
        if part == "shots":
            split = self.bench.split(cell.task, cell.seed)
            y = split.domain.y[split.shots(cell.budget)]
        else:
            y = self.bench.held_back(cell, self.workers)["source_y" if part == "source_val" else "oracle_y"]
        return np.asarray(y, np.float64 if y.dtype.kind == "f" else np.int64)

    def weights(self, cell: Cell) -> Array:
        """Of the source's validation samples, by their inputs and the unlabelled target's: the same for every trial."""
        place = (cell.task, cell.seed)
        if place not in self._weights:
            paths = self.bench.held_back(cell, self.workers)["source_val"]
            xs = np.concatenate([np.load(p, mmap_mode="r", allow_pickle=False) for p in paths])
            xt = self.bench.unlabeled(cell, UNLABELED_MOST, self.workers)
            self._weights[place] = v.domain_weights(*v.reduced(xs, xt))
        return self._weights[place]

    def _made(self, rule: Rule, rows: Sequence[Row], chosen: int, own: Sequence[Cell], others: list[str]) -> Row:
        """The chosen trial's row under the rule's name, with what choosing it took."""
        row = rows[chosen]
        kept = [self.kept.get(self.bench.key(c)) for c in own] if "shots" in rule.looks else []
        folds = sum(k.folds_s for k in kept if k)
        fits = sum(r.fit_s or 0.0 for i, r in enumerate(rows) if i != chosen) if rule.score else 0.0
        tune = round(fits + folds, 6)
        return replace(
            row,
            key=sha("tlbench/rule", VERSION, rule.name, *(r.key for r in rows), *others),
            rule=rule.name,
            default=False,  # the board's rows are of nothing chosen
            trial=chosen,
            trials=len(rows),
            tune_s=tune,
            total_s=round(tune + (row.fit_s or 0.0), 6),
        )


def check(
    names: Sequence[str], cells: Sequence[tuple[Cell, ...]], references: Sequence[Cell], store: Store
) -> list[str]:
    """What to tell of rules that cannot be asked of some of the cells.

    Args:
        cells: of the methods that were asked for, each with its trials

    Raises:
        UsageError: a rule can be asked of none of them.
    """
    notices = []
    for rule in map(named, names):
        other = rule.elsewhere
        why = [rule.why_not(own[0]) or (other.why_not(own, cells, store) if other else None) for own in cells]
        if cells and all(why):
            raise UsageError(f"--rule {rule.name}: {why[0]}")
        notices += [f"left out under rule {rule.name}: {said}" for said in dict.fromkeys(why) if said]
        kept = dict.fromkeys((c.method.name, c.budget) for c in references if rule.why_not(c))
        notices += [f"under rule {rule.name} {name} keeps its default at budget {k}" for name, k in kept]
    return notices
