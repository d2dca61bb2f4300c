"""The data that cells share, each made once: domains, splits, and inputs as arrays that a method may be given.

Image files are decoded, or run through the frozen backbone, once per (data, weights, transform, precision). The
precision is what the command says, never what the processor is good at: a row is the same on every machine. What a
method's process opens are memory-mapped copies in hash order without names: a file's place in its folder tells its
class, a row's place here tells nothing.
"""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlbench import cache
from tlbench.data import Domain
from tlbench.errors import UsageError
from tlbench.runner.cell import Cell, Conditions
from tlbench.runner.executors import Executor, forget
from tlbench.runner.sandbox.sandbox import Limits
from tlbench.runner.worker import text_encoding
from tlbench.tasks import episodes, loaders, split_digests
from tlbench.tasks import split as splits
from tlbench.tasks.card import IMAGE_LOADERS, Card, Task
from tlbench.tasks.datasets import pretrained
from tlbench.tasks.datasets.pretrained import Backbone
from tlbench.tasks.split import Indices, Partition, Split, order_digest, sha

LARGE = 1 << 28  # bytes; more than that is never copied whole into memory
VERSION = 1  # of decoding and extraction; part of every key
Array = NDArray[Any]
Progress = Callable[[str, int, int], None]  # what, done, of


def native_bf16() -> bool:
    """Whether this CPU multiplies bfloat16 by instructions of its own: it tells of speed, and decides no number."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.machine() == "arm64"  # Apple's since 2022; Linux tells below
    flags = next((line for line in text.splitlines() if line.startswith(("flags", "Features"))), "").split()
    return bool({"avx512_bf16", "amx_bf16", "bf16"} & set(flags))


@dataclass(frozen=True)
class Transform:
    """How a card's image files become arrays, and the key of that."""

    shape: dict[str, Any]  # resize, crop, fit: see `features.Shape`
    net: dict[str, Any] | None  # a timm spec; None keeps the pixels
    precision: str  # of what the network is given: 'fp32', 'bf16' where the command declares it, or 'uint8'
    digest: str  # of the weights, or 'pixels'

    @classmethod
    def of(cls, card: Card, backbone: Backbone | None, features: str = "fp32") -> Transform | None:
        """None when the card's data are arrays already.

        Args:
            features: the precision in which a frozen network computes an image's features: 'fp32' or 'bf16'
        """
        if card.text_encoded:
            if backbone is None:
                return cls({}, None, "uint8", "hashed")
            return cls({}, backbone.spec(), "fp32", backbone.digest)
        if not any(card.place(d).loader in IMAGE_LOADERS for d in card.all_domains):
            return cls({"scale": "domain"}, None, "fp32", "features") if card.scale == "domain" else None
        if card.trainable:  # crops are taken from a slightly larger square while training
            own = backbone.card if backbone and not card.side else None
            side, fit = (own.margin, own.fit) if own else (card.side, "squash")
            return cls({"resize": side, "crop": side, "fit": fit}, None, "uint8", "pixels")
        assert backbone is not None
        b = backbone.card
        return cls({"resize": b.resize, "crop": b.crop, "fit": b.fit}, backbone.spec(), features, backbone.digest)

    def key(self, order: str) -> str:
        """Of the arrays of a domain, by its order digest."""
        net = {k: v for k, v in self.net.items() if k != "weights"} if self.net else None
        said = json.dumps([self.shape, net, self.digest, self.precision], sort_keys=True)
        return sha("inputs", VERSION, order, said)


def raw_key(domain: Domain, transform: Transform | None) -> str:
    """What identifies a domain's arrays: their content, in their order, and what was done to them."""
    order = order_digest(domain)
    return transform.key(order) if transform else sha("inputs", VERSION, order, "as they are")


def arrays(domain: Domain, transform: Transform | None, workers: Executor, device: str, progress: Progress) -> Array:
    """(n, *shape) inputs in the domain's own order, memory-mapped; computed now where they are not cached.

    Raises:
        UsageError: an image is broken; it is named.
    """
    if domain.x is not None and transform is None:
        return domain.x
    assert transform is not None
    if domain.x is not None:
        x = domain.x
        return cache.array(
            cache.folder("inputs") / f"{raw_key(domain, transform)}.npy", lambda: standardized(x.astype(np.float64))
        )
    if domain.texts and transform.net is None:
        file = cache.folder("inputs") / f"{raw_key(domain, transform)}.npy"
        return cache.array(file, lambda: text_encoding.hashed(domain.texts))
    out = cache.folder("inputs") / f"{raw_key(domain, transform)}.npy"
    if cache.readable(out) is None:
        _extract(domain, transform, out, workers, device, progress)
    mapped: Array = np.load(out, mmap_mode="r", allow_pickle=False)
    return mapped


def standardized(x: NDArray[np.float64]) -> NDArray[np.float32]:
    """(n, d) counts of one domain as the classic tables have them: each row over its sum, then each feature to mean 0
    and deviation 1 (ddof 1) within the domain. It sees the test inputs, as those protocols do."""
    x = x / np.maximum(x.sum(1, keepdims=True), 1e-12)
    deviation = x.std(0, ddof=1)
    out: NDArray[np.float32] = ((x - x.mean(0)) / np.where(deviation > 0, deviation, 1)).astype(np.float32)
    return out


def _extract(
    domain: Domain, transform: Transform, out: Path, workers: Executor, device: str, progress: Progress
) -> None:
    workers = workers.outside()
    folder = workers.folder()
    listed, counter = folder / "files.txt", folder / "progress.txt"
    if domain.texts:
        listed.write_text(json.dumps(domain.texts), encoding="utf-8")
    else:
        listed.write_text("\n".join(str(f.resolve()) for f in domain.files), encoding="utf-8")
    job = {
        "kind": "extract", "files": str(listed), "out": str(out), "progress": str(counter), "shape": transform.shape,
        "net": transform.net, "precision": transform.precision, "device": device, "threads": workers.cores,
    }  # fmt: skip
    what = f"{'decoding' if transform.net is None else 'features of'} {domain.name}"
    number = workers.submit(job, folder, Limits(seconds=86400, memory_mib=16384, file_mib=1 << 20))
    while (ended := workers.poll(0.2, number)) is None:
        progress(what, int(counter.read_text() or 0) if counter.exists() else 0, len(domain))
    progress(what, len(domain), len(domain))
    forget(ended)
    if ended.report["status"] != "ok":
        raise UsageError(ended.report["reason"])


def row_bytes(x: Array) -> int:
    """Bytes of one input."""
    return int(np.prod(x.shape[1:])) * x.itemsize


def pack(x: Array, rows: Indices, key: str, role: str) -> Path:
    """`x[rows]` in a file of its own, written once.

    A method sees the file's name, and `key` is of all labels: a guess of them could be held against an open digest.
    """
    name = sha("pack", cache.secret(), key, role, sha(*rows.tolist()))
    file = cache.folder("packs") / f"{name}.npy"
    if not file.exists():
        temporary = file.with_name(f"{name}.{time.monotonic_ns()}.tmp")
        out = cache.reserved(temporary, x.dtype, (len(rows), *x.shape[1:]))
        step = max(1, (1 << 25) // max(1, row_bytes(x)))
        for i in range(0, len(rows), step):  # in pieces: the whole may be larger than memory
            out[i : i + step] = x[rows[i : i + step]]
        out.flush()
        del out
        temporary.replace(file)
    return file


Place = tuple[Card, str, int]  # of a domain: its card, its name, and the seed where it is drawn anew


@dataclass
class Samples:
    """Domains, partitions, splits and inputs under the conditions of a command."""

    conditions: Conditions
    progress: Progress = field(default=lambda what, done, of: None)
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
        if task.card.problem.episodic:
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
            self._digests[place] = raw_key(self.domain(*place), self.transform(place[0]))
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

    def prepare(self, cells: Iterable[Cell], workers: Executor) -> None:
        """Decode and extract what the cells need, while no cell runs: it takes all cores."""
        needed = {
            self._place(c.task.card, name, c.seed): None for c in cells for name in (*c.task.sampled, c.task.target)
        }
        for place in needed:
            if not loaders.drawn_anew(*place[:2]):
                self._inputs(place, workers)

    def _inputs(self, place: Place, workers: Executor) -> np.ndarray[Any, Any]:
        domain, transform = self.domain(*place), self.transform(place[0])
        return arrays(domain, transform, workers, self.conditions.device, self.progress)

    def _packed(self, place: Place, rows: splits.Indices, role: str, workers: Executor) -> Path:
        return pack(self._inputs(place, workers), rows, self._raw_key(place), role)

    def _source(
        self, place: Place, target: Place, split: Split, workers: Executor
    ) -> tuple[dict[str, str], splits.Indices, tuple[str, ...]]:
        """Paths of a source's arrays, the positions of its training rows there, its classes."""
        published = place[0].protocol == "published"
        if place not in self._sources:
            domain = self.domain(*place)
            held = 0.0 if published else splits.SOURCE_VALIDATION
            train, _ = splits.source_rows(domain, f"{place[0].name}/{place[1]}", held)
            x = self._packed(place, train, "source", workers)
            y = pack(domain.y, train, splits.order_digest(domain), "labels")
            self._sources[place] = domain, train, {"x": str(x), "y": str(y)}
        domain, train, paths = self._sources[place]
        if (place, target) not in self._untested:
            self._untested[place, target] = (
                np.arange(len(train)) if published else splits.untested(domain, train, split.domain, split.partition)
            )
        return paths, self._untested[place, target], domain.classes

    def held_back(self, cell: Cell, workers: Executor) -> dict[str, Any]:
        """Paths of the inputs that a rule of selection may look at, and their labels: the validation part of each
        source that has the target's classes, and the oracle's part of the target."""
        if (cell.task, cell.seed) not in self._held:
            self._held[cell.task, cell.seed] = self._held_back(cell.task, cell.seed, workers)
        return self._held[cell.task, cell.seed]

    def _held_back(self, task: Task, seed: int, workers: Executor) -> dict[str, Any]:
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

    def unlabeled(self, cell: Cell, most: int, workers: Executor) -> np.ndarray[Any, Any]:
        """The first unlabelled inputs of a cell, at most `most`."""
        place = self._place(cell.task.card, cell.task.target, cell.seed)
        taken: np.ndarray[Any, Any] = self._inputs(place, workers)[self.split(cell.task, cell.seed).unlabeled[:most]]
        return taken
