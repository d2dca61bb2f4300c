"""What a cell needs to be run: its key, its network, and the job that its worker is given."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tlbench import PROTOCOL
from tlbench.errors import UsageError
from tlbench.runner import task_data
from tlbench.runner.cell import Cell
from tlbench.runner.executors import Executor
from tlbench.runner.task_data import Place, Samples
from tlbench.tasks import split as splits
from tlbench.tasks.card import Card, Task
from tlbench.tasks.episodes import Episode
from tlbench.tasks.split import Split, sha


@dataclass
class Bench(Samples):
    """What cells share, each computed once, and what each of them is by it."""

    _keys: dict[Cell, str] = field(default_factory=dict)

    def net(self, task: Task) -> dict[str, Any]:
        """The network's specification as a worker builds it."""
        card = task.card
        pretrained = self.backbone(card)
        if card.trainable and pretrained is not None:
            spec = {**pretrained.spec(card.augment, card.side), **({"neck": card.neck} if card.neck else {})}
            scratch = card.weights_are_source and not task.sources
            return {**spec, "weights": None, "fixed_norm": False} if scratch else spec
        if card.trainable:
            return {"kind": str(card.backbone), "augment": card.augment}
        return {"kind": "bottleneck", "width": card.bottleneck, "scale": card.scale}

    def bf16_features(self, card: Card) -> bool:
        """Whether bfloat16 features were declared and the card has any: images through a frozen network."""
        transform = self.transform(card)
        return transform is not None and transform.precision == "bf16"

    def full_precision(self, card: Card) -> bool:
        """Whether all is computed as the board's rows are: in float32, but for the features of an early edition."""
        return not self.conditions.amp and (not self.bf16_features(card) or self.conditions.ranked == "bf16")

    def key(self, cell: Cell) -> str:
        """SHA-256 of everything that can change the cell's answer; not the hardware."""
        if cell not in self._keys:
            self._keys[cell] = self._key(cell)
        return self._keys[cell]

    def _key(self, cell: Cell) -> str:
        card, task = cell.task.card, cell.task
        net = self.net(task)
        said = {
            "protocol": PROTOCOL,
            "task": task.name,
            "version": card.version,
            "regime": card.regime,
            "classes": self.domain(card, task.target, cell.seed).classes,
            "inputs": [self._raw_key(self._place(card, d, cell.seed)) for d in (*task.sampled, task.target)],
            "split": self.split(task, cell.seed).digest,
            "budget": cell.budget,
            "rule": "default",
            "metric": card.metric,
            "net": {name: value for name, value in net.items() if name != "weights"},
            "weights": self.weights(task),
            "recipe": asdict(card.recipe),
            "method": [cell.method.name, cell.method.version] if cell.method.ships else cell.method.code,
            "config": cell.method.config,
            "seed": cell.seed,
            **({"amp": True} if self.conditions.amp else {}),  # full precision, the rule, is not said
            # Said beside the inputs' own keys: rows from when the processor chose have bfloat16 in those alone.
            **({"features": "bf16"} if self.bf16_features(card) else {}),
        }
        return sha(json.dumps(said, sort_keys=True, separators=(",", ":")))

    def weights(self, task: Task) -> str | None:
        """Digest of the pretrained weights that a cell starts from or whose features it gets."""
        net, pretrained = self.net(task), self.backbone(task.card)
        return None if pretrained is None or ("weights" in net and net["weights"] is None) else pretrained.digest

    def job(self, cell: Cell, workers: Executor, folder: Path) -> dict[str, Any]:
        """What the cell's worker is given: paths of arrays without names, indices, the shots' labels, the network."""
        task, card, seed = cell.task, cell.task.card, cell.seed
        split = self.split(task, seed)
        target = self.domain(card, task.target, seed)
        place = self._place(card, task.target, seed)
        pool = {int(row): i for i, row in enumerate(split.partition.pool)}
        shots = split.shots(cell.budget)
        rows = {
            "unlabeled": np.array([pool[int(r)] for r in split.unlabeled], dtype=np.int64),
            "shots": np.array([pool[int(r)] for r in shots], dtype=np.int64),
            **card.problem.labels(target, shots),
        }
        sources, source_classes = [], []
        for i, name in enumerate(task.sampled):
            paths, kept, classes = self._source(self._place(card, name, seed), place, split, workers)
            sources.append(paths)
            source_classes.append(max(1, len(classes)))
            rows[f"source{i}"] = kept
            if card.same_task and classes != target.classes:
                raise UsageError(
                    f"{task.name}: source {name!r} has other classes than the target; make them the same, or say "
                    "paradigm = 'different-domain-different-task' in the card"
                )
        np.savez(folder / "rows.npz", **rows)  # type: ignore[arg-type]  # its stub names allow_pickle only
        if episodes := split.episodes(cell.budget):
            write_episodes(folder / "episodes.npz", split, episodes)
        return {
            "kind": "cell",
            "method": cell.method.spec,
            "config": cell.method.config,
            "seed": seed,
            "regime": card.regime,
            "sources": sources,
            "source_classes": [] if card.same_task else source_classes,
            "pool": str(self._packed(place, split.partition.pool, "pool", workers)),
            "unlabeled": self._large_unlabeled(place, split, workers),
            "test": str(self._packed(place, split.partition.test, "test", workers)),
            "n_classes": card.problem.outputs(target, card),
            "episodes": [card.episodes.ways, cell.budget, card.episodes.queries] if episodes else None,
            "net": self.net(task),
            "recipe": asdict(card.recipe),
            "device": self.conditions.device,
            "threads": self.conditions.threads,
            "amp": self.conditions.amp,
        }

    def _large_unlabeled(self, place: Place, split: Split, workers: Executor) -> str | None:
        """The unlabelled inputs in a file of their own where the worker could not hold a copy."""
        if task_data.row_bytes(self._inputs(place, workers)) * len(split.unlabeled) <= task_data.LARGE:
            return None
        return str(self._packed(place, split.unlabeled, "unlabeled", workers))


def write_episodes(file: Path, split: Split, made: Sequence[Episode]) -> None:
    """Positions in the packed test inputs, and the support's labels; the queries' stay here."""
    place = {int(row): i for i, row in enumerate(split.partition.test)}

    def positions(rows: splits.Indices) -> list[int]:
        return [place[int(r)] for r in rows]

    np.savez(
        file,
        support=np.array([positions(e.support) for e in made]),
        support_y=np.stack([e.support_y for e in made]),
        queries=np.array([positions(e.queries) for e in made]),
    )
