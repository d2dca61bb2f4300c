"""Published tables that want a GPU: each is a recipe that runs, here on data of the right layout and random weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
from layouts import LAYOUTS, weights

from tlbench.methods import loader
from tlbench.runner.experiment import Options
from tlbench.tasks.datasets import pretrained
from tlbench.tasks.datasets.pretrained import BackboneCard
from tlbench.verification import published
from tlbench.verification.published import Entry, Table
from tlbench.verification.reproduce import Reproduction

GPU = [name for name in published.tables() if published.read(name).gpu]
ADAPTATION = ("office31", "office_home", "visda2017")
ROWS = {
    "office31": "DANN", "office_home": "MCC", "visda2017": "FixMatch",
    "cub200": "LWF, some labels", "aircraft": "Co-Tuning", "stanford_cars": "DELTA",
}  # fmt: skip


def entries() -> list[tuple[Table, Entry]]:
    return [(t, e) for t in map(published.read, GPU) for e in t.row]


def test_every_table_that_wants_a_gpu_has_a_layout_to_be_tried_on() -> None:
    assert sorted(GPU) == sorted(LAYOUTS) == sorted(ROWS)


@pytest.mark.parametrize("name", GPU)
def test_a_preset_says_that_theirs_was_chosen_on_test_labels_and_ours_is_the_last(name: str) -> None:
    table = published.read(name)
    assert "the best on the" in table.protocol
    assert "test labels" in table.protocol
    assert "the last iterate" in table.protocol
    assert "c4aa59eb" in table.source


def test_every_row_is_held_to_three_points_but_what_nobody_verified() -> None:
    for table, entry in entries():
        assert entry.within == (None if entry.method == "l2_sp" else 3.0), (table.name, entry.label)
        assert ("from memory, unverified" in entry.note) == (entry.method == "l2_sp")


def test_a_row_sets_fields_of_its_method_and_a_column_is_a_task() -> None:
    for table, entry in entries():
        loader.configured(loader.load(entry.method), {k: str(v) for k, v in entry.settings.items()})
        tasks = {task.name for task, _ in (table.task_of(entry, c) for c in table.columns)}
        assert tasks == {f"{table.name}_published/{c.partition('@')[0]}" for c in table.columns}


def test_a_recipe_is_the_published_one() -> None:
    """Under the published schedules, lr (1 + gamma i)^-0.75: decay is gamma times the steps."""
    gammas = {"source_only": 3e-4, "dann": 1e-3, "adda": 3e-4, "dan": 3e-4, "jan": 3e-4, "cdan": 1e-3, "mcd": 0.0,
              "afn": 0.0, "mdd": 2e-4, "mcc": 1e-3, "fixmatch": 4e-4}  # fmt: skip
    for table, entry in entries():
        c = table.adapted(entry)
        assert (c.protocol, c.trainable, c.ranked) == ("published", True, False)
        assert "flip" in c.augment
        assert c.body_lr == (1.0 if entry.method in ("mcd", "afn") else 0.1)
        if table.name in ADAPTATION:
            assert c.decay == pytest.approx(gammas[entry.method] * c.steps), (table.name, entry.label)
            assert (c.neck > 0) == (entry.method not in ("source_only", "mcd"))
        else:
            assert (c.steps, c.batch, c.neck) == (10000, 48, 0)
            assert (1 + c.decay) ** -0.75 == pytest.approx(0.1, abs=0.003)


def test_the_label_budgets_are_the_published_shares_of_the_training_images() -> None:
    of_class = {"cub200": 5994 / 200, "aircraft": 6667 / 100, "stanford_cars": 8144 / 196}
    for name, n in of_class.items():
        *some, every = (c.partition("@")[2] for c in published.read(name).columns)
        assert every == "full"
        assert [round(100 * int(k) / n / share, 1) for k, share in zip(some, (15, 30, 50), strict=True)] == [
            pytest.approx(1.0, abs=0.13)
        ] * 3


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Makes the folder with a preset's data, and beside it `weights` of the two backbones."""
    root = tmp_path_factory.mktemp("presets")

    def make(name: str) -> Path:
        LAYOUTS[name](root)
        weights(root / "weights", "resnet101" if name == "visda2017" else "resnet50")
        return root

    return make


@pytest.mark.slow
@pytest.mark.parametrize("name", GPU)
def test_a_preset_runs_with_one_command(
    name: str, small: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, read = small(name), pretrained.read

    def tiny(which: str) -> BackboneCard:
        return read(which).model_copy(update={"resize": 37, "crop": 32})

    table = published.read(name)
    (row,) = (e for e in table.row if e.label == ROWS[name])
    cut = table.model_copy(update={"row": (row,), "columns": table.columns[:1]})
    monkeypatch.setattr(pretrained, "read", tiny)
    monkeypatch.setenv("TLBENCH_WEIGHTS", str(root / "weights"))
    options = Options(results=tmp_path / "results", data_root=root, device="cpu", jobs=2)  # a thread each
    work = Reproduction([cut], options, {"steps": "2", "batch": "4"})
    (found,) = work.run(lambda *_: None, lambda *_: None).rows.values()
    assert work.notices == []
    assert (found.status, found.reason, found.suite) == ("ok", None, f"{name}_published")
    assert found.value is not None
    assert math.isfinite(found.value)
