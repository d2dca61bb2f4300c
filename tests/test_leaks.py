"""No withheld label reaches a method: with others in their place it is given the same, and answers the same."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tlbench.data import Domain
from tlbench.methods import loader
from tlbench.runner import experiment, scoring, task_data
from tlbench.runner import plan as plans
from tlbench.runner.cell import Cell, Conditions
from tlbench.runner.cell_job import Bench
from tlbench.runner.sandbox.sandbox import Limits
from tlbench.runner.worker.local import Workers, forget
from tlbench.tasks import card, registry
from tlbench.tasks.card import Budget, Card, Task
from tlbench.tasks.episodes import Episode, EpisodicSplit
from tlbench.tasks.split import Split

CELLS: dict[str, tuple[str, str, dict[str, str], Budget]] = {  # regime -> suite, method, settings, budget
    "classification": ("wdbc_shift", "coral", {"steps": "20"}, 0),
    "regression": ("cal7", "l2_sp", {"steps": "20"}, 10),
    "episodes": ("fonts_fewshot", "protonet", {"steps": "5"}, 1),
    "detection": ("bccd_detection", "finetune", {"steps": "20"}, 5),
}


class Squares(Bench):
    """Bright squares on noise in the place of the blood smears, and crops of them as the source."""

    def domain(self, c: Card, name: str, seed: int) -> Domain:
        draw, n, source = np.random.default_rng(len(name)), 40, name in c.sources
        high, wide = (32, 32) if source else (48, 64)
        x, y = draw.integers(0, 60, (n, 3, high, wide), dtype=np.uint8), np.arange(n) % 2
        corners = draw.integers(0, (wide - 24, high - 24), (n, 2))
        boxes = np.column_stack([corners, corners + 12 * (1 + y[:, None]), y])  # of two sizes, which are the classes
        for image, (left, top, right, bottom, _) in zip(x, boxes, strict=True):
            image[:, top:bottom, left:right] = 220
        ids = tuple(f"{name}/{i}" for i in range(n))
        if source:
            return Domain(name, ids, y, ("small", "large"), ids, x=x)
        told = tuple(boxes.astype(np.float32)[:, None])
        return Domain(name, ids, np.zeros(n, np.int64), ("small", "large"), ids, x=x, boxes=told)


@dataclass(frozen=True, kw_only=True)
class Reanswered(EpisodicSplit):
    """The same episodes, whose queries have other answers."""

    plain: EpisodicSplit

    def episodes(self, k: Budget) -> tuple[Episode, ...]:
        draw = np.random.default_rng(0)
        return tuple(replace(e, query_y=draw.permutation(e.query_y)) for e in self.plain.episodes(k))


@dataclass(kw_only=True)
class Otherwise(Bench):
    """A scorer that holds each other's truths of the target's samples, but for those that are labelled at a budget."""

    plain: Bench
    shown: Budget

    def split(self, task: Task, seed: int) -> Split:
        split, domain = self.plain.split(task, seed), self.domain(task.card, task.target, seed)
        if isinstance(split, EpisodicSplit):
            return Reanswered(split.task, domain, split.partition, split.draw, seed, plain=split)
        return replace(split, domain=domain)

    def domain(self, c: Card, name: str, seed: int) -> Domain:
        held, task = self.plain.domain(c, name, seed), card.tasks_of(c)[0]
        if name != task.target:
            return held
        shots = self.plain.split(task, seed).shots(self.shown)
        truth, hidden = np.arange(len(held)), np.setdiff1d(np.arange(len(held)), shots)
        truth[hidden] = np.random.default_rng(0).permutation(hidden)  # whose label each sample is said to have
        return replace(held, y=held.y[truth], boxes=tuple(held.boxes[i] for i in truth) if held.boxes else ())


@dataclass(frozen=True)
class Answer:
    """What a worker was given, what it said, and what that is worth to the scorer."""

    given: tuple[str, dict[str, bytes]]
    scores: bytes
    value: float


def shown(job: dict[str, Any], folder: Path) -> tuple[str, dict[str, bytes]]:
    """A job with the contents of its arrays in the place of their paths, whose names are digests of all labels; and
    the arrays beside it."""
    text = re.sub(r'[^"]+\.npy', lambda path: hashlib.sha256(Path(path[0]).read_bytes()).hexdigest(), json.dumps(job))
    held = {file.name: np.load(file, allow_pickle=False) for file in folder.glob("*.npz")}
    return text, {f"{name} {part}": a[part].tobytes() for name, a in held.items() for part in a.files}


def answer(bench: Bench, cell: Cell, workers: Workers) -> Answer:
    folder = workers.folder()
    job = bench.job(cell, workers, folder)
    given = shown(job, folder)
    workers.submit(job, folder, Limits())
    ended = workers.wait()
    assert ended.report["status"] == "ok", ended.report
    file, split = folder / "scores.npy", bench.split(cell.task, cell.seed)
    found = Answer(given, np.load(file).tobytes(), scoring.scored(file, split, cell.budget)["value"])
    forget(ended)
    return found


def asked(regime: str) -> tuple[Bench, Cell]:
    """A cell and its scorer; of episodes, twenty."""
    suite, method, settings, budget = CELLS[regime]
    c = registry.find(suite)[0].card
    few = c.model_copy(update={"episodes": c.episodes.model_copy(update={"count": 20})})
    kind = Squares if regime == "detection" else Bench
    cell = plans.cell(card.tasks_of(few)[0], loader.describe(method, settings), budget, 0)
    return kind(Conditions(changed_data=True)), cell


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    with Workers(modules=experiment.preloaded([method for _, method, _, _ in CELLS.values()])) as started:
        yield started


@pytest.mark.parametrize("regime", CELLS)
def test_other_withheld_labels_move_nothing_that_a_method_is_given_or_says(regime: str, workers: Workers) -> None:
    plain, cell = asked(regime)
    assert cell.task.card.regime == regime
    other = Otherwise(plain.conditions, plain=plain, shown=cell.budget)
    one, two = (answer(bench, cell, workers) for bench in (plain, other))
    assert one.given == two.given
    assert one.scores == two.scores
    assert one.value != two.value  # the scorers do hold different labels


@pytest.mark.parametrize("regime", ["regression", "detection"])
def test_other_labels_of_the_shots_move_what_a_method_says(regime: str, workers: Workers) -> None:
    """Or else the same answers above would say nothing."""
    plain, cell = asked(regime)
    one, two = (answer(bench, cell, workers) for bench in (plain, Otherwise(plain.conditions, plain=plain, shown=0)))
    assert one.given != two.given
    assert one.scores != two.scores


def test_the_name_of_an_input_tells_only_its_own_cache_whose_labels_it_is_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, names = np.zeros((4, 2), np.float32), []
    for cache in ("a", "b", "a"):
        monkeypatch.setenv("TLBENCH_CACHE", str(tmp_path / cache))
        names.append(task_data.pack(x, np.arange(3), "a digest of all labels", "test").name)
    assert names[0] == names[2] != names[1]
    assert sorted(f.name for f in (tmp_path / "a").iterdir()) == ["packs", "secret"]
