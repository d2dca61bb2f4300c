"""The data that cells share, each made once: domains, splits, and inputs as arrays on the disk."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tlbench.data import Domain
from tlbench.runner import inputs
from tlbench.runner.cell import Cell, Conditions
from tlbench.runner.inputs import Transform
from tlbench.runner.worker.local import Workers
from tlbench.tasks import episodes, loaders, split_digests
from tlbench.tasks import split as splits
from tlbench.tasks.card import Card, Task
from tlbench.tasks.datasets import pretrained
from tlbench.tasks.split import Partition, Split

Place = tuple[Card, str, int]  # of a domain: its card, its name, and the seed where it is drawn anew


@dataclass
class Samples:
    """Domains, partitions, splits and inputs under the conditions of a command."""

    conditions: Conditions
    progress: inputs.Progress = field(default=lambda what, done, of: None)
    _cuts: dict[Task, Partition] = field(default_factory=dict)
    _splits: dict[tuple[Task, int], Split] = field(default_factory=dict)
    _digests: dict[Place, str] = field(default_factory=dict)
    _contents: dict[Place, str] = field(default_factory=dict)
    _sources: dict[Place, tuple[Domain, splits.Indices, dict[str, str]]] = field(default_factory=dict)
    _untested: dict[tuple[Place, Place], splits.Indices] = field(default_factory=dict)
    _held: dict[tuple[Task, int], dict[str, Any]] = field(default_factory=dict)

    def domain(self, card: Card, name: str, seed: int) -> Domain:
        return loaders.load(card, name, self.conditions.data_root, seed)

    def split(self, task: Task, seed: int) -> Split:
        """The target's split; the same for every source."""
        task = task.without_sources()
        if (task, seed) not in self._splits:
            made = self._split(task, self.domain(task.card, task.target, seed), seed)
            if not self.conditions.changed_data:
                split_digests.check(made)
            self._splits[task, seed] = made
        return self._splits[task, seed]

    def _split(self, task: Task, target: Domain, seed: int) -> Split:
        if task.card.regime == "episodes":
            return episodes.split(task, target, seed)
        if loaders.drawn_anew(task.card, task.target):
            return splits.split(task, target, seed)
        if task not in self._cuts:
            self._cuts[task] = splits.cut_of(task, target)
        return splits.split(task, target, seed, self._cuts[task])

    def backbone(self, card: Card) -> pretrained.Backbone | None:
        """The pretrained network of a card, or of the command; None for built-in ones and for plain features."""
        names = (self.conditions.backbone,) if self.conditions.backbone else card.backbone
        names = (names,) if isinstance(names, str) else names
        return None if names[0] in pretrained.BUILT_IN else pretrained.at_hand(names)

    def transform(self, card: Card) -> Transform | None:
        return Transform.of(card, self.backbone(card), self.conditions.features)

    @staticmethod
    def _place(card: Card, name: str, seed: int) -> Place:
        return card, name, seed if loaders.drawn_anew(card, name) else 0

    def _raw_key(self, place: Place) -> str:
        if place not in self._digests:
            self._content(place)  # which refuses data that are not the published results'
            self._digests[place] = inputs.raw_key(self.domain(*place), self.transform(place[0]))
        return self._digests[place]

    def _content(self, place: Place) -> str:
        if place not in self._contents:
            digest = splits.content_digest(self.domain(*place))
            if not self.conditions.changed_data:
                split_digests.check_data(place[0], place[1], digest)
            self._contents[place] = digest
        return self._contents[place]

    def contents(self, task: Task, seed: int) -> tuple[str, ...]:
        """Digests of what a task's sources hold."""
        return tuple(self._content(self._place(task.card, name, seed)) for name in task.sampled)

    def prepare(self, cells: Iterable[Cell], workers: Workers) -> None:
        """Decode and extract what the cells need, while no cell runs: it takes all cores."""
        needed = {
            self._place(c.task.card, name, c.seed): None for c in cells for name in (*c.task.sampled, c.task.target)
        }
        for place in needed:
            if not loaders.drawn_anew(*place[:2]):
                self._inputs(place, workers)

    def _inputs(self, place: Place, workers: Workers) -> np.ndarray[Any, Any]:
        domain, transform = self.domain(*place), self.transform(place[0])
        return inputs.arrays(domain, transform, workers, self.conditions.device, self.progress)

    def _packed(self, place: Place, rows: splits.Indices, role: str, workers: Workers) -> Path:
        return inputs.pack(self._inputs(place, workers), rows, self._raw_key(place), role)

    def _source(
        self, place: Place, target: Place, split: Split, workers: Workers
    ) -> tuple[dict[str, str], splits.Indices, tuple[str, ...]]:
        """Paths of a source's arrays, the positions of its training rows there, its classes."""
        published = place[0].protocol == "published"
        if place not in self._sources:
            domain = self.domain(*place)
            held = 0.0 if published else splits.SOURCE_VALIDATION
            train, _ = splits.source_rows(domain, f"{place[0].name}/{place[1]}", held)
            x = self._packed(place, train, "source", workers)
            y = inputs.pack(domain.y, train, splits.order_digest(domain), "labels")
            self._sources[place] = domain, train, {"x": str(x), "y": str(y)}
        domain, train, paths = self._sources[place]
        if (place, target) not in self._untested:
            self._untested[place, target] = (
                np.arange(len(train)) if published else splits.untested(domain, train, split.domain, split.partition)
            )
        return paths, self._untested[place, target], domain.classes

    def held_back(self, cell: Cell, workers: Workers) -> dict[str, Any]:
        """Paths of the inputs that a rule of selection may look at, and their labels: the validation part of each
        source that has the target's classes, and the oracle's part of the target."""
        if (cell.task, cell.seed) not in self._held:
            self._held[cell.task, cell.seed] = self._held_back(cell.task, cell.seed, workers)
        return self._held[cell.task, cell.seed]

    def _held_back(self, task: Task, seed: int, workers: Workers) -> dict[str, Any]:
        card, split = task.card, self.split(task, seed)
        target, oracle = split.domain, split.partition.oracle_val
        place = self._place(card, task.target, seed)
        paths, labels = [], [target.y[:0]]
        for name in task.sampled if card.same_task and card.protocol != "published" else ():
            source = self._place(card, name, seed)
            domain = self.domain(*source)
            _, rows = splits.source_rows(domain, f"{card.name}/{name}")
            rows = rows[splits.untested(domain, rows, target, split.partition)]
            if len(rows):
                paths.append(str(self._packed(source, rows, "validation", workers)))
                labels.append(domain.y[rows])
        return {
            "source_val": paths,
            "source_y": np.concatenate(labels),
            "oracle_val": [str(self._packed(place, oracle, "oracle", workers))] if len(oracle) else [],
            "oracle_y": target.y[oracle],
        }

    def unlabeled(self, cell: Cell, most: int, workers: Workers) -> np.ndarray[Any, Any]:
        """The first unlabelled inputs of a cell, at most `most`."""
        place = self._place(cell.task.card, cell.task.target, cell.seed)
        taken: np.ndarray[Any, Any] = self._inputs(place, workers)[self.split(cell.task, cell.seed).unlabeled[:most]]
        return taken
