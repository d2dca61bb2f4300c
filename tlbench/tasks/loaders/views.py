"""A domain seen otherwise: some of its samples or classes, classes under new names; and whether domains go together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tlbench.data import Domain, Rows
from tlbench.errors import UsageError, position, suggest
from tlbench.tasks.card import Place, Task, View
from tlbench.tasks.split import hash_order

OTHER_TASK = "paradigm = 'different-domain-different-task'"


def check_compatible(task: Task, load: Callable[[str], Domain]) -> None:
    """Load the domains of a task and compare them.

    Raises:
        UsageError: a domain of fewer than two classes; other classes, columns or shapes in a source than in the target;
            with the line of the card that names the domain.
    """
    target = load(task.target)
    _two_classes(task, target)
    for name in task.sampled:
        source = load(name)
        _two_classes(task, source)
        if task.card.same_task and source.classes != target.classes:
            raise _mistake(task, name, _other(source, target))
        if source.columns and target.columns and source.columns != target.columns:
            raise _mistake(task, name, _columns(source, target))
        if source.x is not None and target.x is not None and source.x.shape[1:] != target.x.shape[1:]:
            shapes = f"{source.x.shape[1:]}, those of target {target.name!r} {target.x.shape[1:]}"
            raise _mistake(task, name, f"samples of source {name!r} have shape {shapes}; make them the same")


def _two_classes(task: Task, domain: Domain) -> None:
    if len(domain.classes) < task.card.problem.least_classes:
        only = f"{domain.name!r} holds one class, {domain.classes[0]!r}"
        raise _mistake(task, domain.name, f"{only}; two or more are needed to tell apart")


def _other(source: Domain, target: Domain) -> str:
    extra = [c for c in source.classes if c not in target.classes]
    missing = [c for c in target.classes if c not in source.classes]
    if not extra and not missing:
        return f"source {source.name!r} has the target's classes in another order; say classes = [...] in the card"
    said = f"source {source.name!r} " + (
        f"has class {extra[0]!r}, which target {target.name!r} lacks"
        if extra
        else f"lacks class {missing[0]!r} of target {target.name!r}"
    )
    return f"{said}; give both the same classes, or say {OTHER_TASK}"


def _columns(source: Domain, target: Domain) -> str:
    extra = [c for c in source.columns if c not in target.columns]
    missing = [c for c in target.columns if c not in source.columns]
    has, lacks, column = (source, target, extra[0]) if extra else (target, source, missing[0])
    remedy = f"add it there, or say drop = [{column!r}] under [at.{has.name}]"
    return f"{has.name!r} has column {column!r}, which {lacks.name!r} lacks; {remedy}"


def _mistake(task: Task, domain: str, said: str) -> UsageError:
    if not task.file:
        return UsageError(f"{task.name}: {said}")
    text = Path(task.file).read_text(encoding="utf-8")
    keys = ("target",) if domain == task.target else ("source", "sources")
    places = (position(task.file, text, key) for key in (*keys, "pairs", "domains"))
    return UsageError(f"{next((p for p in places if p != task.file), task.file)}: {said}")


def subset(domain: Domain, rows: Rows) -> Domain:
    """The samples `rows` of a domain, in that order."""

    def of(values: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(values[i] for i in rows) if values else ()

    return replace(
        domain,
        ids=of(domain.ids),
        y=domain.y[rows],
        hashes=of(domain.hashes),
        x=None if domain.x is None else domain.x[rows],
        files=of(domain.files),
        texts=of(domain.texts),
        boxes=of(domain.boxes),
        official_test=None if domain.official_test is None else domain.official_test[rows],
    )


def viewed(domain: Domain, view: View, where: str) -> Domain:
    """The domain under `view`: kept classes in the view's order, groups as classes of their own.

    Raises:
        UsageError: the view names a class that the domain lacks.
    """
    groups = view.groups or {c: (c,) for c in view.keep}
    if not groups:
        return domain
    if domain.y.ndim != 1:
        raise UsageError(f"{where}: a view is of samples with one class each; leave it out")
    for old in (c for members in groups.values() for c in members):
        if old not in domain.classes:
            raise UsageError(f"{where}: its view names class {old!r}{suggest(old, domain.classes)}")
    new = np.full(len(domain.classes), -1, np.int64)
    for i, members in enumerate(groups.values()):
        for old in members:
            new[domain.classes.index(old)] = i
    y = new[domain.y.astype(np.int64)]
    rows = np.flatnonzero(y >= 0)
    return replace(subset(domain, rows), y=y[rows], classes=tuple(groups))


def placed(domain: Domain, name: str, place: Place, where: str) -> Domain:
    """A loaded domain as its place has it: under the card's name for it, viewed, and cut to `take` samples."""
    domain = replace(viewed(domain, place.view, where), name=name)
    if place.take is None:
        return domain
    if place.take > len(domain):
        raise UsageError(f"{where}: 'take' is {place.take}, but the domain holds {len(domain)} samples")
    order = hash_order(domain, np.arange(len(domain)), "tlbench/take/1")
    if domain.official_test is not None:  # the publisher's test samples are not among the taken, and all stay
        order = np.concatenate([order[~domain.official_test[order]][: place.take], order[domain.official_test[order]]])
        return subset(domain, np.sort(order))
    return subset(domain, np.sort(order[: place.take]))
