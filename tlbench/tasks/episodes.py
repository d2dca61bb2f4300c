"""Few-shot episodes: frozen and hashed like budgets, the same for every seed.

An episode is a few classes that no source holds, some labelled samples of each (the support) and some to be told
(the queries). Episode e takes the first `ways` classes in the order of  h("tlbench/episode/1", task, e, class)  and
of each class, ordered by  h("tlbench/support/1", task, e, id),  first the queries and then the shots: the queries
are the same at every budget and the shots are nested. Where the publisher fixed episodes, those are it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tlbench.data import Domain
from tlbench.errors import UsageError
from tlbench.tasks.card import Budget, Task
from tlbench.tasks.split import Draw, Indices, Partition, Split, hash_order, sha, target_name


@dataclass(frozen=True)
class Episode:
    """Rows of the target domain, with labels 0..ways-1 of the episode's own."""

    support: Indices  # (ways * shots,)
    support_y: Indices
    queries: Indices  # (ways * queries a class,)
    query_y: Indices


@dataclass(frozen=True)
class EpisodicSplit(Split):
    """The test of a few-shot learner: nothing of the target is given to `fit`."""

    @cached_property
    def unlabeled(self) -> Indices:
        return np.zeros(0, np.int64)

    def shots(self, k: Budget) -> Indices:
        """No row: the shots are inside the episodes.

        Raises:
            UsageError: the classes have too few samples for episodes with `k` shots.
        """
        self.episodes(k)
        return np.zeros(0, np.int64)

    def episodes(self, k: Budget) -> tuple[Episode, ...]:
        """The episodes with `k` shots a class.

        Raises:
            UsageError: no class has enough samples, or fewer than an episode's ways have; budget 0 or 'full'.
        """
        if not isinstance(k, int) or k < 1:
            raise UsageError(f"{self.task.name}: budget {k}: an episode needs 1 shot a class or more")
        if self.domain.episodes:
            return self._published(k)
        rule = self.task.card.episodes
        return tuple(self._episode(e, k) for e in range(rule.count))

    def _episode(self, e: int, k: int) -> Episode:
        rule, name = self.task.card.episodes, target_name(self.task)
        classes = self._ordered(e, rule.queries + max(k, *self.task.card.budgets))  # the same at every budget
        support, queries = [], []
        for c in classes:
            rows = hash_order(self.domain, self._rows[c], "tlbench/support/1", name, e)
            queries.append(rows[: rule.queries])
            support.append(rows[rule.queries : rule.queries + k])
        return self._made(support, queries, e)

    def _ordered(self, e: int, needed: int) -> list[int]:
        rule, name = self.task.card.episodes, target_name(self.task)
        rich = [c for c in range(len(self.domain.classes)) if len(self._rows[c]) >= needed]
        if len(rich) < rule.ways:
            raise UsageError(
                f"{self.task.name}: {len(rich)} classes have the {needed} samples that an episode takes of each; "
                f"{rule.ways} are needed"
            )
        return sorted(rich, key=lambda c: sha("tlbench/episode/1", name, e, self.domain.classes[c]))[: rule.ways]

    @cached_property
    def _rows(self) -> list[Indices]:
        return [np.flatnonzero(self.domain.y == c) for c in range(len(self.domain.classes))]

    def _published(self, k: int) -> tuple[Episode, ...]:
        made = []
        for e, (support, queries) in enumerate(self.domain.episodes):
            classes = list(dict.fromkeys(self.domain.y[support].tolist()))
            by_class = [support[self.domain.y[support] == c] for c in classes]
            if min(map(len, by_class)) != k:
                raise UsageError(f"{self.task.name}: its published episodes have {len(by_class[0])} shots, not {k}")
            made.append(self._made(by_class, [queries[self.domain.y[queries] == c] for c in classes], e))
        return tuple(made)

    def _made(self, support: list[Indices], queries: list[Indices], e: int) -> Episode:
        """With the classes' samples mixed: an order by class would tell the class."""

        def mixed(parts: list[Indices]) -> tuple[Indices, Indices]:
            rows, y = np.concatenate(parts), np.repeat(np.arange(len(parts)), [len(p) for p in parts])
            order = sorted(range(len(rows)), key=lambda i: sha("tlbench/mixed/1", e, self.domain.ids[rows[i]]))
            return rows[order], y[order]

        return Episode(*mixed(support), *mixed(queries))

    @cached_property
    def manifest(self) -> dict[str, object]:
        """The split's manifest with every episode at the card's largest budget."""
        ids = self.domain.ids
        listed = [
            {"support": [ids[i] for i in x.support], "queries": [ids[i] for i in x.queries]}
            for x in self.episodes(max(self.task.card.budgets))
        ]
        return {**super().manifest, "episodes": listed, "seed": None}


def split(task: Task, domain: Domain, seed: int) -> EpisodicSplit:
    """The episodes on a target; the same for every seed."""
    nothing = np.zeros(0, np.int64)
    everything = hash_order(domain, np.arange(len(domain)), "tlbench/order/1", target_name(task))
    return EpisodicSplit(task, domain, Partition(everything, nothing, nothing), Draw((), "balanced"), seed)
