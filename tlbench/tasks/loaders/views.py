"""A domain seen otherwise: some of its samples, some of its classes, classes under new names."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from tlbench.data import Domain, Rows
from tlbench.errors import Mistake, suggest
from tlbench.tasks.place import Place, View
from tlbench.tasks.split import hash_order


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
        Mistake: the view names a class that the domain lacks.
    """
    groups = view.groups or {c: (c,) for c in view.keep}
    if not groups:
        return domain
    for old in (c for members in groups.values() for c in members):
        if old not in domain.classes:
            raise Mistake(f"{where}: its view names class {old!r}{suggest(old, domain.classes)}")
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
        raise Mistake(f"{where}: 'take' is {place.take}, but the domain holds {len(domain)} samples")
    order = hash_order(domain, np.arange(len(domain)), "tlbench/take/1")
    if domain.official_test is not None:  # the publisher's test samples are not among the taken, and all stay
        order = np.concatenate([order[~domain.official_test[order]][: place.take], order[domain.official_test[order]]])
        return subset(domain, np.sort(order))
    return subset(domain, np.sort(order[: place.take]))
