"""One cell: a method on a task at a budget with a seed. Its key, its job, its row."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tlbench import PROTOCOL, backbone, episodes, frozen, honesty, inputs, loaders
from tlbench import split as splits
from tlbench.card import IMAGE_LOADERS, Budget, Card, Task
from tlbench.data import Domain
from tlbench.episodes import EpisodicSplit
from tlbench.executors.local import Ended, Workers
from tlbench.inputs import Transform
from tlbench.method import Description
from tlbench.mistake import Mistake
from tlbench.row import Row
from tlbench.scoring import scored
from tlbench.split import Partition, Split, sha

TIMED = ("first_step_s", "step_ms", "infer_latency_ms", "infer_latency_p95_ms", "step_gflops", "energy_j")
Place = tuple[Card, str, int]  # of a domain: its card, its name, and the seed where it is drawn anew


@dataclass(frozen=True)
class Cell:
    """The smallest thing that is measured. Made by `plan`, which has taken away what the method ignores."""

    task: Task
    method: Description
    budget: Budget
    seed: int
    trial: int | None = None  # of the method's search; its predictions are kept for a rule of selection

    @property
    def label(self) -> str:
        trial = f", trial {self.trial}" if self.trial else ""
        return f"{self.method.name} on {self.task.name}, budget {self.budget}, seed {self.seed}{trial}"

    @property
    def published(self) -> bool:
        """Whether it runs the published hyperparameters, nothing set."""
        return self.method.config == {f.name: f.default for f in self.method.fields}


@dataclass(frozen=True)
class Conditions:
    """Where and on what cells run: the same for all cells of a command."""

    data_root: Path | None = None
    backbone: str | None = None  # instead of the card's
    device: str = "cpu"
    threads: int = 1
    changed_data: bool = False  # go on where the data are not those of the published results
    amp: bool = False  # train and predict in mixed precision, bfloat16


@dataclass
class Bench:
    """What cells share, each computed once: domains, partitions, splits, inputs."""

    conditions: Conditions
    progress: inputs.Progress = field(default=lambda what, done, of: None)
    _cuts: dict[Task, Partition] = field(default_factory=dict)
    _splits: dict[tuple[Task, int], Split] = field(default_factory=dict)
    _digests: dict[Place, str] = field(default_factory=dict)
    _contents: dict[Place, str] = field(default_factory=dict)
    _sources: dict[Place, tuple[Domain, splits.Indices, dict[str, str]]] = field(default_factory=dict)
    _untested: dict[tuple[Place, Place], splits.Indices] = field(default_factory=dict)
    _keys: dict[Cell, str] = field(default_factory=dict)
    _held: dict[tuple[Task, int], dict[str, Any]] = field(default_factory=dict)

    def domain(self, card: Card, name: str, seed: int) -> Domain:
        return loaders.load(card, name, self.conditions.data_root, seed)

    def split(self, task: Task, seed: int) -> Split:
        """The target's split; the same for every source."""
        task = task.without_sources()
        if (task, seed) not in self._splits:
            made = self._split(task, self.domain(task.card, task.target, seed), seed)
            if not self.conditions.changed_data:
                frozen.check(made)
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
        takes = "texts" if card.text_encoded else "images" if card.loader in IMAGE_LOADERS else None
        if takes is None:
            raise Mistake(f"--backbone {named}: {card.name} has no images of a size to put through it; leave it out")
        if named not in backbone.BUILT_IN and backbone.read(named).takes != takes:
            raise Mistake(f"--backbone {named}: takes {backbone.read(named).takes}, {card.name} has {takes}")
        if named in backbone.BUILT_IN and (takes == "images" or named != "hashed"):
            raise Mistake(f"--backbone {named}: {card.name} needs a pretrained network; see `tlbench list backbones`")

    def transform(self, card: Card) -> Transform | None:
        return Transform.of(card, self.backbone(card), self.conditions.device)

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

    def key(self, cell: Cell) -> str:
        """SHA-256 of everything that can change the cell's answer; not the hardware."""
        if cell not in self._keys:
            self._keys[cell] = self._key(cell)
        return self._keys[cell]

    def _key(self, cell: Cell) -> str:
        card, task = cell.task.card, cell.task
        net = self.net(task)
        digest = self._weights(net, card)
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
            "weights": digest,
            "recipe": asdict(card.recipe),
            "method": cell.method.digest,
            "config": cell.method.config,
            "seed": cell.seed,
            **({"amp": True} if self.conditions.amp else {}),  # full precision, the rule, is not said
        }
        return sha(json.dumps(said, sort_keys=True, separators=(",", ":")))

    def _weights(self, net: dict[str, Any], card: Card) -> str | None:
        """Digest of the pretrained weights that a cell starts from or whose features it gets."""
        pretrained = self.backbone(card)
        return None if pretrained is None or ("weights" in net and net["weights"] is None) else pretrained.digest

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
                frozen.check_data(place[0], place[1], digest)
            self._contents[place] = digest
        return self._contents[place]

    def prepare(self, cells: Iterable[Cell], workers: Workers) -> None:
        """Decode and extract what the cells need, while no cell runs: it takes all cores."""
        needed = {self._place(c.task.card, name, c.seed): None for c in cells for name in _domains(c.task)}
        for place in needed:
            if not loaders.drawn_anew(*place[:2]):
                self._inputs(place, workers)

    def _inputs(self, place: Place, workers: Workers) -> np.ndarray[Any, Any]:
        domain, transform = self.domain(*place), self.transform(place[0])
        return inputs.arrays(domain, transform, workers, self.conditions.device, self.progress)

    def job(self, cell: Cell, workers: Workers, folder: Path) -> dict[str, Any]:
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
            "labels": target.y[shots],
        }
        if target.boxes:
            rows["labels"], rows["boxes"] = padded([target.boxes[i] for i in shots])
        sources, source_classes = [], []
        for i, name in enumerate(task.sampled):
            paths, kept, classes = self._source(self._place(card, name, seed), place, split, workers)
            sources.append(paths)
            source_classes.append(max(1, len(classes)))
            rows[f"source{i}"] = kept
            if card.same_task and classes != target.classes:
                raise Mistake(
                    f"{task.name}: source {name!r} has other classes than the target; make them the same, or say "
                    "paradigm = 'different-domain-different-task' in the card"
                )
        np.savez(folder / "rows.npz", **rows)  # type: ignore[arg-type]  # its stub names allow_pickle only
        if isinstance(split, EpisodicSplit):
            write_episodes(folder / "episodes.npz", split, cell.budget)
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
            "n_classes": n_outputs(target, card),
            "episodes": [card.episodes.ways, cell.budget, card.episodes.queries] if card.regime == "episodes" else None,
            "net": self.net(task),
            "recipe": asdict(card.recipe),
            "device": self.conditions.device,
            "threads": self.conditions.threads,
            "amp": self.conditions.amp,
        }

    def _large_unlabeled(self, place: Place, split: Split, workers: Workers) -> str | None:
        """The unlabelled inputs in a file of their own where the worker could not hold a copy."""
        if inputs.row_bytes(self._inputs(place, workers)) * len(split.unlabeled) <= inputs.LARGE:
            return None
        return str(self._packed(place, split.unlabeled, "unlabeled", workers))

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

    def row(self, cell: Cell, ended: Ended, provenance: dict[str, Any], jobs: int, wall_s: float) -> Row:
        """Score a finished job. The labels are here and were never there."""
        status, reason = ended.report.get("status"), ended.report.get("reason")
        measured: dict[str, Any] = {}
        if status == "ok":
            try:
                honesty.check(ended, self.conditions.threads)
                split = self.split(cell.task, cell.seed)
                score = scored(ended.folder / "scores.npy", split, cell.budget)
                measured = {**score, **costs(ended.report, int(score["n_test"]), wall_s)}
            except ValueError as error:
                status, reason = "failed", str(error)
        if status not in ("ok", "refused"):  # a 'mistake' too: the store knows no fourth status
            status = "failed"
        measured["jail"] = ended.jail
        return self.described(cell, status, printable(reason), provenance, jobs, measured)

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
        known = {
            "n_test": len(split.partition.test),
            "episodes": len(split.episodes(cell.budget)) if isinstance(split, EpisodicSplit) else None,
        }
        return Row(
            key=self.key(cell),
            status=status,
            reason=reason,
            suite=card.name,
            task=task.name,
            version=card.version,
            paradigm=card.paradigm,
            regime=card.regime,
            sources=task.sources,
            target=task.target,
            budget=cell.budget,
            seed=cell.seed,
            rule="trial" if cell.trial else "default",
            trial=0 if cell.trial is None and cell.published and not self.conditions.amp else cell.trial,
            method=cell.method.name,
            family=cell.method.family,
            config=cell.method.config,
            default=cell.published and not self.conditions.amp,
            metric=card.metric,
            n_shots=len(split.shots(cell.budget)),
            device=self.conditions.device,
            threads=self.conditions.threads,
            jobs=jobs,
            backbone=pretrained.card.name if pretrained else str(card.backbone),
            weights=self._weights(self.net(task), card),
            precision=transform.precision if transform else None,
            data=str(split.manifest["data"]),
            source_data=tuple(self._content(self._place(card, s, cell.seed)) for s in task.sampled),
            split=split.digest,
            method_digest=cell.method.digest,
            protocol=PROTOCOL,
            **{**known, **nothing, **(measured or {})},
            **provenance,
        )


def printable(reason: object) -> str | None:
    """A reason as one short line: a method may have written it, for a terminal to obey."""
    return "".join(c if c.isprintable() else "?" for c in " ".join(str(reason).split())[:500]) if reason else None


def _domains(task: Task) -> tuple[str, ...]:
    return (*task.sampled, task.target)


def n_outputs(target: Domain, card: Card) -> int:
    """Classes to score: an episode's ways, the target's classes, or one number."""
    return card.episodes.ways if card.regime == "episodes" else max(1, len(target.classes))


def padded(boxes: list[np.ndarray[Any, Any]]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """One (m, 5) array an image -> (n, most) classes, -1 where there is no box, and (n, most, 4) corners."""
    most = max((len(b) for b in boxes), default=0)
    y, corners = np.full((len(boxes), most), -1, np.int64), np.zeros((len(boxes), most, 4), np.float32)
    for i, b in enumerate(boxes):
        y[i, : len(b)], corners[i, : len(b)] = b[:, 4], b[:, :4]
    return y, corners


def write_episodes(file: Path, split: EpisodicSplit, budget: Budget) -> None:
    """Positions in the packed test inputs, and the support's labels; the queries' stay here."""
    place = {int(row): i for i, row in enumerate(split.partition.test)}

    def positions(rows: splits.Indices) -> list[int]:
        return [place[int(r)] for r in rows]

    made = split.episodes(budget)
    np.savez(
        file,
        support=np.array([positions(e.support) for e in made]),
        support_y=np.stack([e.support_y for e in made]),
        queries=np.array([positions(e.queries) for e in made]),
    )


def costs(report: dict[str, Any], n: int, wall_s: float) -> dict[str, float | str | None]:
    """The columns of time and memory, from a worker's report on a cell of `n` test samples.

    Raises:
        ValueError: the report lacks a number; a method may have written one of its own.
    """
    try:
        fit, predict, loop, rss = (float(report[k]) for k in ("fit_s", "predict_s", "loop_s", "peak_rss_mib"))
        samples, steps, gpu = int(report["train_samples"]), int(report["train_steps"]), report["peak_gpu_mib"]
        more = {name: None if report.get(name) is None else float(report[name]) for name in TIMED}
        found = {
            "fit_s": round(fit, 6),
            "predict_s": round(predict, 6),
            "overhead_s": round(wall_s - fit - predict - float(report.get("extra_s", 0)), 6),
            "train_samples_per_s": round(samples / loop, 1) if samples else None,
            "infer_samples_per_s": round(n / predict, 1),
            "peak_rss_mib": round(rss, 1),
            "peak_gpu_mib": None if gpu is None else float(gpu),
            "total_s": round(fit, 6),
            **{name: None if v is None else float(f"{v:.6g}") for name, v in more.items()},
        }
        if found["step_ms"] is None and steps:  # taken while predicting, as a few-shot learner does
            found["step_ms"] = round(1e3 * loop / steps, 4)
    except (KeyError, TypeError, ArithmeticError) as error:
        raise ValueError(f"the report is not one of a worker's ({type(error).__name__}: {error})") from None
    if not all(v is None or math.isfinite(v) for v in found.values()):
        raise ValueError("the report is not one of a worker's: a time or size is not finite")
    if any(v is not None and v < 0 for name, v in found.items() if name != "overhead_s"):
        raise ValueError("the report is not one of a worker's: a time or size is less than nothing")
    if report.get("arithmetic") not in (None, "fp32", "tf32", "bf16"):
        raise ValueError("the report is not one of a worker's: nobody computes like that")
    return {**found, "arithmetic": report.get("arithmetic")}
