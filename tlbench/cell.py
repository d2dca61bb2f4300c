"""One cell: a method on a task at a budget with a seed. Its key, its job, its row."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tlbench import PROTOCOL, backbone, frozen, inputs, loaders
from tlbench import split as splits
from tlbench.card import Budget, Card, Task
from tlbench.data import Domain
from tlbench.executors.local import Ended, Workers, plain
from tlbench.inputs import Transform
from tlbench.method import Description
from tlbench.metrics import METRICS, correct
from tlbench.mistake import Mistake
from tlbench.row import Row, packed_bits
from tlbench.split import Partition, Split, sha


@dataclass(frozen=True)
class Cell:
    """The smallest thing that is measured. Made by `plan`, which has taken away what the method ignores."""

    task: Task
    method: Description
    budget: Budget
    seed: int

    @property
    def label(self) -> str:
        return f"{self.method.name} on {self.task.name}, budget {self.budget}, seed {self.seed}"


@dataclass(frozen=True)
class Conditions:
    """Where and on what cells run: the same for all cells of a command."""

    data_root: Path | None = None
    backbone: str | None = None  # instead of the card's
    device: str = "cpu"
    threads: int = 1
    changed_data: bool = False  # go on where the data are not those of the published results


@dataclass
class Bench:
    """What cells share, each computed once: domains, partitions, splits, inputs."""

    conditions: Conditions
    progress: inputs.Progress = field(default=lambda what, done, of: None)
    _cuts: dict[Task, Partition] = field(default_factory=dict)
    _splits: dict[tuple[Task, int], Split] = field(default_factory=dict)
    _digests: dict[tuple[Card, str], str] = field(default_factory=dict)
    _sources: dict[tuple[Card, str], tuple[Domain, splits.Indices, dict[str, str]]] = field(default_factory=dict)
    _keys: dict[Cell, str] = field(default_factory=dict)

    def domain(self, card: Card, name: str) -> Domain:
        return loaders.load(card, name, self.conditions.data_root)

    def split(self, task: Task, seed: int) -> Split:
        """The target's split; the same for every source."""
        task = task.without_sources()
        if (task, seed) not in self._splits:
            target = self.domain(task.card, task.target)
            if task not in self._cuts:
                self._cuts[task] = splits.partition(target, splits.target_name(task))
            made = splits.split(task, target, seed, self._cuts[task])
            if not self.conditions.changed_data:
                frozen.check(made)
            self._splits[task, seed] = made
        return self._splits[task, seed]

    def backbone(self, card: Card) -> backbone.Backbone | None:
        """The pretrained network of a card, or of the command; None for built-in ones and for plain features."""
        names = (self.conditions.backbone,) if self.conditions.backbone else card.backbone
        names = (names,) if isinstance(names, str) else names
        return None if names[0] in backbone.BUILT_IN else backbone.at_hand(names)

    def check_backbone(self, card: Card) -> None:
        """Raises:
        Mistake: `--backbone` names what this card's data cannot go through.
        """
        named = self.conditions.backbone
        if named is None:
            return
        if card.loader != "images":
            raise Mistake(f"--backbone {named}: {card.name} has no images of a size to put through it; leave it out")
        if named in backbone.BUILT_IN:
            raise Mistake(f"--backbone {named}: {card.name} needs a pretrained network; see `tlbench list backbones`")

    def transform(self, card: Card) -> Transform | None:
        return Transform.of(card, self.backbone(card), self.conditions.device)

    def net(self, card: Card) -> dict[str, Any]:
        """The network's specification as a worker builds it."""
        pretrained = self.backbone(card)
        if card.trainable and pretrained is not None:
            return pretrained.spec(card.augment)
        if card.trainable:
            return {"kind": "convnet", "augment": card.augment}
        return {"kind": "bottleneck", "width": card.bottleneck, "scale": card.scale}

    def key(self, cell: Cell) -> str:
        """SHA-256 of everything that can change the cell's answer; not the hardware."""
        if cell not in self._keys:
            self._keys[cell] = self._key(cell)
        return self._keys[cell]

    def _key(self, cell: Cell) -> str:
        card, task = cell.task.card, cell.task
        net = {name: value for name, value in self.net(card).items() if name != "weights"}
        pretrained = self.backbone(card)
        said = {
            "protocol": PROTOCOL,
            "task": task.name,
            "version": card.version,
            "classes": self.domain(card, task.target).classes,
            "inputs": [self._raw_key(card, d) for d in (*task.sources, task.target)],
            "split": self.split(task, cell.seed).digest,
            "budget": cell.budget,
            "rule": "default",
            "metric": card.metric,
            "net": net,
            "weights": pretrained.digest if pretrained else None,
            "recipe": asdict(card.recipe),
            "method": cell.method.digest,
            "config": cell.method.config,
            "seed": cell.seed,
        }
        return sha(json.dumps(said, sort_keys=True, separators=(",", ":")))

    def _raw_key(self, card: Card, name: str) -> str:
        if (card, name) not in self._digests:
            self._digests[card, name] = inputs.raw_key(self.domain(card, name), self.transform(card))
        return self._digests[card, name]

    def prepare(self, cells: Iterable[Cell], workers: Workers) -> None:
        """Decode and extract what the cells need, while no cell runs: it takes all cores."""
        needed = {(c.task.card, name): None for c in cells for name in (*c.task.sources, c.task.target)}
        for card, name in needed:
            self._inputs(card, name, workers)

    def _inputs(self, card: Card, name: str, workers: Workers) -> np.ndarray[Any, Any]:
        domain, transform = self.domain(card, name), self.transform(card)
        return inputs.arrays(domain, transform, workers, self.conditions.device, self.progress)

    def job(self, cell: Cell, workers: Workers, folder: Path) -> dict[str, Any]:
        """What the cell's worker is given: paths of arrays without names, indices, the shots' labels, the network."""
        task, card = cell.task, cell.task.card
        split = self.split(task, cell.seed)
        target = self.domain(card, task.target)
        pool = {int(row): i for i, row in enumerate(split.partition.pool)}
        shots = split.shots(cell.budget)
        rows = {
            "unlabeled": np.array([pool[int(r)] for r in split.unlabeled], dtype=np.int64),
            "shots": np.array([pool[int(r)] for r in shots], dtype=np.int64),
            "labels": target.y[shots],
        }
        tested = frozenset(target.hashes[i] for i in split.partition.test)
        sources = []
        for i, name in enumerate(task.sources):
            paths, kept = self._source(card, name, tested, workers)
            sources.append(paths)
            rows[f"source{i}"] = kept
        np.savez(folder / "rows.npz", **rows)  # type: ignore[arg-type]  # its stub names allow_pickle only
        return {
            "kind": "cell",
            "method": cell.method.spec,
            "config": cell.method.config,
            "seed": cell.seed,
            "sources": sources,
            "pool": str(self._packed(card, task.target, split.partition.pool, "pool", workers)),
            "test": str(self._packed(card, task.target, split.partition.test, "test", workers)),
            "n_classes": len(target.classes),
            "net": self.net(card),
            "recipe": asdict(card.recipe),
            "device": self.conditions.device,
            "threads": self.conditions.threads,
        }

    def _packed(self, card: Card, name: str, rows: splits.Indices, role: str, workers: Workers) -> Path:
        return inputs.pack(self._inputs(card, name, workers), rows, self._raw_key(card, name), role)

    def _source(
        self, card: Card, name: str, tested: frozenset[str], workers: Workers
    ) -> tuple[dict[str, str], splits.Indices]:
        """Paths of a source's arrays and the positions of its training rows there."""
        if (card, name) not in self._sources:
            domain = self.domain(card, name)
            train, _ = splits.source_rows(domain, f"{card.name}/{name}")
            x = self._packed(card, name, train, "source", workers)
            y = inputs.pack(domain.y, train, splits.order_digest(domain), "labels")
            self._sources[card, name] = domain, train, {"x": str(x), "y": str(y)}
        domain, train, paths = self._sources[card, name]
        return paths, splits.untested(domain, train, tested)

    def row(self, cell: Cell, ended: Ended, provenance: dict[str, Any], jobs: int, wall_s: float) -> Row:
        """Score a finished job. The labels are here and were never there."""
        split = self.split(cell.task, cell.seed)
        target = self.domain(cell.task.card, cell.task.target)
        y = target.y[split.partition.test]
        status, reason = ended.report.get("status"), ended.report.get("reason")
        measured: dict[str, Any] = {}
        if status == "ok":
            try:
                scores = read_scores(ended.folder / "scores.npy", len(y), len(target.classes))
                measured = {
                    "value": METRICS[cell.task.card.metric](scores, y),
                    "correct": packed_bits(correct(scores, y)),
                    **costs(ended.report, len(y), wall_s),
                }
            except ValueError as error:
                status, reason = "failed", str(error)
        if status not in ("ok", "refused"):  # a 'mistake' too: the store knows no fourth status
            status = "failed"
        return self.described(cell, status, str(reason) if reason else None, provenance, jobs, measured)

    def described(
        self,
        cell: Cell,
        status: str,
        reason: str | None,
        provenance: dict[str, Any],
        jobs: int = 1,
        measured: dict[str, Any] | None = None,
    ) -> Row:
        """A row with all that is known without running the cell, and `measured` where it was run."""
        card, task, split = cell.task.card, cell.task, self.split(cell.task, cell.seed)
        pretrained, transform = self.backbone(card), self.transform(card)
        nothing = dict.fromkeys(
            ("value", "correct", "fit_s", "predict_s", "overhead_s", "train_samples_per_s", "step_ms",
             "infer_samples_per_s", "peak_rss_mib", "peak_gpu_mib")
        )  # fmt: skip
        return Row(
            key=self.key(cell),
            status=status,
            reason=reason,
            suite=card.name,
            task=task.name,
            version=card.version,
            paradigm=card.paradigm,
            sources=task.sources,
            target=task.target,
            budget=cell.budget,
            seed=cell.seed,
            rule="default",
            method=cell.method.name,
            family=cell.method.family,
            config=cell.method.config,
            default=cell.method.config == {f.name: f.default for f in cell.method.fields},
            metric=card.metric,
            n_test=len(split.partition.test),
            n_shots=len(split.shots(cell.budget)),
            device=self.conditions.device,
            threads=self.conditions.threads,
            jobs=jobs,
            backbone=pretrained.card.name if pretrained else "convnet" if card.trainable else "none",
            weights=pretrained.digest if pretrained else None,
            precision=transform.precision if transform else None,
            data=str(split.manifest["data"]),
            split=split.digest,
            method_digest=cell.method.digest,
            protocol=PROTOCOL,
            **{**nothing, **(measured or {})},
            **provenance,
        )


def costs(report: dict[str, Any], n: int, wall_s: float) -> dict[str, float | None]:
    """The columns of time and memory, from a worker's report on a cell of `n` test samples.

    Raises:
        ValueError: the report lacks a number; a method may have written one of its own.
    """
    try:
        fit, predict, loop, rss = (float(report[k]) for k in ("fit_s", "predict_s", "loop_s", "peak_rss_mib"))
        samples, steps, gpu = int(report["train_samples"]), int(report["train_steps"]), report["peak_gpu_mib"]
        found = {
            "fit_s": round(fit, 6),
            "predict_s": round(predict, 6),
            "overhead_s": round(wall_s - fit - predict, 6),
            "train_samples_per_s": round(samples / fit, 1) if samples else None,
            "step_ms": round(1e3 * loop / steps, 4) if steps else None,
            "infer_samples_per_s": round(n / predict, 1),
            "peak_rss_mib": round(rss, 1),
            "peak_gpu_mib": None if gpu is None else float(gpu),
        }
    except (KeyError, TypeError, ArithmeticError) as error:
        raise ValueError(f"the report is not one of a worker's ({type(error).__name__}: {error})") from None
    if not all(v is None or math.isfinite(v) for v in found.values()):
        raise ValueError("the report is not one of a worker's: a time or size is not finite")
    return found


def read_scores(file: Path, n: int, k: int) -> np.ndarray[Any, Any]:
    """The scores a worker wrote.

    Raises:
        ValueError: not an (n, k) array of finite floating-point numbers; says what it is instead.
    """
    try:
        scores = np.load(plain(file, 16 * n * k + 4096), allow_pickle=False, mmap_mode="r")
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f"no readable scores ({error})") from None
    if scores.shape != (n, k):
        raise ValueError(f"scores have shape {scores.shape}; {n} test samples by {k} classes are owed")
    if scores.dtype not in (np.float32, np.float64):
        raise ValueError(f"scores are {scores.dtype}; float32 or float64 is owed")
    bad = ~np.isfinite(scores).all(1)
    if bad.any():
        raise ValueError(f"scores of {int(bad.sum())} of {n} test samples are not finite (NaN or infinity)")
    return np.asarray(scores)
