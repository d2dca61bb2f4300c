"""Every task that ships runs through the harness: on its real data where they are at hand, else on what makes it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tlbench.errors import UsageError
from tlbench.results.row import Row
from tlbench.results.store import Store
from tlbench.runner import descriptions, plan
from tlbench.runner import plan as plans
from tlbench.runner.cell import Cell, Conditions
from tlbench.runner.cell_job import Bench
from tlbench.runner.sweep import Sweep
from tlbench.runner.worker.local import Workers
from tlbench.tasks import card, loaders, registry
from tlbench.tasks.card import Card, Task

SUITES = sorted(registry.card_files())
LONG = {  # images by the hundred
    "nodule",
    "medical",
    "bccd_detection",
    "office_caltech10",
    "pacs",
    "pacs_class_split",
    "office_caltech10_trained",
    "office31_trained",
    "office_caltech10_multi",
    "pacs_multi",
}
CHEAPEST = {
    "classification": ("prototype", {"steps": "20"}),
    "regression": ("tlbench.verification.known_truth.regression:TargetLeastSquares", {}),
    "detection": ("target_only", {"steps": "5"}),
    "multilabel": ("target_only", {"steps": "5"}),
    "episodes": ("prototype", {"steps": "20"}),
}


@dataclass
class Rig:
    """One worker server for all suites."""

    workers: Workers
    store: Store

    def run(self, task: Task) -> Row:
        c = task.card
        name, settings = CHEAPEST[c.regime]
        if c.name.startswith("cal") and c.regime == "classification":
            name, settings = "tlbench.verification.known_truth.learners:SourceCentroid", {}
        bench = Bench(Conditions())
        budget = 0 if "SourceCentroid" in name else next(k for k in c.budgets if k)
        cell = plans.cell(task, descriptions.described(name, settings, self.workers), budget, 0)
        assert plan.refusal(cell) is None
        Sweep([cell], bench, self.store, self.workers).run()
        return self.store.rows[bench.key(cell)]


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with Workers(modules=["tlbench_baselines.prototype", "tlbench_baselines.target_only"]) as workers:
        yield Rig(workers, Store(tmp_path_factory.mktemp("results")))


def at_hand(c: Card) -> Task:
    """The first task of a card whose files are here; the test is skipped, saying what is missing, where none is."""
    for task in card.tasks_of(c):
        try:
            if all(loaders.available(c, d, None) for d in (*task.sampled, task.target)):
                return task
        except UsageError:
            continue
    missing = sorted({p.data or "" for p in map(c.place, c.all_domains)})
    pytest.skip(f"no data here: {', '.join(missing)}")


each = [pytest.param(name, marks=pytest.mark.slow if name in LONG else ()) for name in SUITES]


@pytest.mark.parametrize("suite", each)
def test_every_task_runs_through_the_harness(rig: Rig, suite: str) -> None:
    c = registry.read(registry.card_files()[suite])
    row = rig.run(at_hand(c))
    assert row.ok, row.reason
    assert row.value is not None
    assert (row.suite, row.regime, row.paradigm, row.metric) == (suite, c.regime, c.paradigm, c.metric)
    assert len(row.source_data) == len(registry.named(row.task).sampled)
    if c.regime == "episodes":
        assert row.episodes == (20 if suite == "omniglot_runs" else c.episodes.count)
        assert row.value > 1.05 / c.episodes.ways or suite == "nodule"  # one epoch of medical images teaches little


def test_each_paradigm_has_an_embedded_task_and_two_on_real_data() -> None:
    for paradigm in card.PARADIGMS:
        cards = [registry.read(f) for f in registry.card_files().values()]
        own = [c for c in cards if c.paradigm == paradigm and c.ranked]
        embedded = [c.name for c in own if all(c.place(d).loader == "embedded" for d in c.all_domains)]
        real = [c.name for c in own if any(c.place(d).data for d in c.all_domains)]
        assert len(embedded) >= 1, paradigm
        assert len(real) >= 2, paradigm


def test_a_card_with_the_checkpoint_as_its_source_starts_target_only_from_random_weights(real_data: Path) -> None:
    task = registry.find("pneumonia")[0]
    bench = Bench(Conditions())
    assert task.sources == ("cifar10",)
    assert task.sampled == ()
    assert bench.net(task)["weights"]
    assert bench.net(task.without_sources())["weights"] is None


def test_methods_see_which_sample_is_from_which_source() -> None:
    task = registry.find("digits_multi/photos")[0]
    assert task.sources == ("handwritten", "fonts")
    assert [registry.find(f"digits_multi/{d}")[0].target for d in task.card.domains] == list(task.card.domains)


@pytest.mark.parametrize(
    ("task", "method", "budget", "said"),
    [
        ("digits_parity/fonts", "source_only", 5, "source_only needs sources whose labels are the target's"),
        ("digits_parity/fonts", "finetune", 0, "has another task than its sources; at budget 0 no label says which"),
        ("pneumonia", "dann", 5, "dann needs samples of a source; that of pneumonia/cifar10-pneumonia is a checkpoint"),
        ("bccd_detection", "dann", 5, "dann does classification; bccd_detection/cells-smears is detection"),
        ("omniglot", "coral", 1, "coral does classification; omniglot/small1-small2 is episodes"),
        ("digits/fonts-photos", "finetune", 0, "finetune needs labelled target samples; budget 0 has none"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_reason(rig: Rig, task: str, method: str, budget: int, said: str) -> None:
    described = descriptions.described(method, {}, rig.workers)
    why = plan.refusal(Cell(registry.find(task)[0], described, budget, 0))
    assert why is not None
    assert said in why


def test_a_source_with_other_classes_is_said_where_the_card_calls_it_the_same_task(rig: Rig, tmp_path: Path) -> None:
    text = (registry.card_files()["letters_to_digits"]).read_text().replace("different-task", "same-task")
    file = tmp_path / "mistaken.toml"
    file.write_text(text.replace("letters_to_digits", "mistaken"))
    with pytest.raises(
        UsageError, match="source 'letters' has other classes than the target; make them the same, or say"
    ):
        rig.run(registry.find(str(file))[0])


def test_a_missing_extra_is_one_line_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "find_spec", lambda name: None)
    with pytest.raises(
        UsageError, match=r"bccd_detection: measuring detection needs torchmetrics and pycocotools; run: pip"
    ):
        plan.check_extra(registry.find("bccd_detection")[0].card)
    plan.check_extra(registry.find("digits")[0].card)
