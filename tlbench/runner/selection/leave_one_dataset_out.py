"""Leave one dataset out: how well each trial did on the other groups of datasets, at the same budget.

No label of the group at hand is looked at, of the target's not even the k. The gain is over the published default of
the reference, paired on task, budget and seed: target-only, or source-only where there are no labels. Seeds are
averaged within a task, tasks within a group, and every group weighs alike. A seed of a task counts where every trial
was run.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import cache
from statistics import fmean

from tlbench.methods import references
from tlbench.methods.references import SOURCE_ONLY
from tlbench.results.row import Row
from tlbench.results.run_table import comparable
from tlbench.results.store import Store
from tlbench.runner.cell import Cell
from tlbench.tasks import registry

Place = tuple[str, str, int]  # of a gain: group, task, seed


@cache
def group_of(suite: str) -> str | None:
    """The group of a suite's datasets, its own name where it does not ship; None for one whose truth is made up."""
    file = registry.card_files().get(suite)
    shipped = registry.read(file) if file else None
    return suite if shipped is None else shipped.group if shipped.ranked else None


def gains(own: Sequence[Cell], rows: Sequence[Row], known: Iterable[Row]) -> tuple[list[float], list[str]]:
    """Each trial's mean gain on other groups in points, and the keys of the rows that say so; none where none do."""
    candidates, judges = _beside(own[0], rows[0], known)
    trial = {_said(c.method.config): i for i, c in enumerate(own)}
    found: dict[Place, dict[int, float]] = defaultdict(dict)
    used: dict[Place, list[str]] = defaultdict(list)
    for row in candidates:
        i, reference = trial.get(_said(row.config)), judges.get(_reference_of(row))
        if i is None or reference is None or not comparable(row, reference):
            continue
        place = (str(group_of(row.suite)), row.task, row.seed)
        gain = 100 * ((row.value or 0.0) - (reference.value or 0.0)) if row.ok else -math.inf
        found[place][i] = gain
        used[place] += [row.key, reference.key]
    whole = {place: by for place, by in found.items() if len(by) == len(own)}
    if not whole:
        return [], []
    means = [_macro({place: by[i] for place, by in whole.items()}) for i in range(len(own))]
    return means, sorted({key for place in whole for key in used[place]})


def _beside(cell: Cell, row: Row, known: Iterable[Row]) -> tuple[list[Row], dict[tuple[object, ...], Row]]:
    """The trials' rows of a cell's method on other groups, and the references' published defaults there."""
    name = references.of(cell.budget)
    candidates, judges = [], {}
    for r in known:
        if group_of(r.suite) in (None, cell.task.card.group) or r.metric != row.metric or r.protocol != row.protocol:
            continue
        if r.method == name and r.default and r.ok:
            judges[_reference_of(r)] = r
        alike = (r.method, r.code, r.budget) == (row.method, row.code, row.budget)
        if alike and r.rule in ("default", "trial") and r.status != "refused":
            candidates.append(r)
    return candidates, judges


def _reference_of(row: Row) -> tuple[object, ...]:
    """What a row and its reference share: of target-only the target, of source-only the task."""
    place = row.task if references.of(row.budget) == SOURCE_ONLY else row.target
    return (row.suite, row.version, place, row.budget, row.seed)


def _said(config: dict[str, object]) -> str:
    return json.dumps(config, sort_keys=True)


def _macro(gains: dict[Place, float]) -> float:
    """Seeds within tasks within groups."""
    tasks: dict[tuple[str, str], list[float]] = defaultdict(list)
    for (group, task, _), gain in gains.items():
        tasks[group, task].append(gain)
    groups: dict[str, list[float]] = defaultdict(list)
    for (group, _), values in tasks.items():
        groups[group].append(fmean(values))
    return fmean(fmean(values) for values in groups.values())


def alone(own: Sequence[Cell], planned: Iterable[tuple[Cell, ...]], store: Store) -> str | None:
    """Why nothing can be learnt from other groups: no trials of the method at its budget, stored or to be run."""
    mine, known = own[0], {_said(c.method.config) for c in own[1:]}
    group = mine.task.card.group
    for c in (others[0] for others in planned):
        same = (c.method.name, c.budget) == (mine.method.name, mine.budget)
        if same and c.task.card.ranked and c.task.card.group != group:
            return None
    alike = (r for r in store.rows.values() if (r.method, r.budget) == (mine.method.name, mine.budget))
    if any(_said(r.config) in known and group_of(r.suite) not in (None, group) for r in alike):
        return None
    return (
        f"no group of datasets but {group!r} has trials of {mine.method.name} at budget {mine.budget}; "
        "name a task of another group too"
    )
