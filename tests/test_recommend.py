"""Advice from the tasks most like one's own: the rule of likeness, the weights, and what is named, by hand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from held import failed, over, references, refused, row, store, tlbench
from sklearn.datasets import load_breast_cancer

from tlbench.board import similarity
from tlbench.board.recommend import Neighbour, harms, recommend, weighted
from tlbench.board.similarity import Sketch, as_words, differences, family, of_name, of_task
from tlbench.errors import UsageError
from tlbench.results.index import Index
from tlbench.results.row import Row
from tlbench.results.stats import Estimate
from tlbench.tasks import loaders, registry

MINE = Sketch(
    "mine/a-b", "classification", "different-domain-same-task", "numbers", 2, 30, 1000, 1.0, "mine", "b", ("none",),
    "no network",
)  # fmt: skip
NUMERALS = replace(
    MINE, task="numerals/photos-fonts", input="images", classes=10, features=None, source=900, shift=1.4,
    family="numerals", target="fonts", network=("convnet",), training="from scratch",
)  # fmt: skip
OBJECTS = replace(
    NUMERALS, task="objects/amazon-webcam", shift=2.0, family="objects", target="webcam",
    network=("mobilenetv2_100_coral",), training="frozen",
)  # fmt: skip


def sketch(task: str, like: Sketch = MINE, **changed: object) -> Sketch:
    target = task.rpartition("-")[2]
    return replace(like, **{"task": task, "target": target, **changed})  # type: ignore[arg-type]


def measured(task: str, gains: dict[str, int], budget: int = 5) -> list[Row]:
    """The references of a task, target-only at 60 points and source-only at 50, and methods with such gains over it."""
    floor = 60 if budget else 50
    rows = references(task, (budget,))
    return rows + [r for m, gain in gains.items() for r in over(m, task, budget, [floor + gain] * 5)]


def order(mine: Sketch, others: Sequence[Sketch]) -> list[str]:
    """The tasks as they count, the first the most."""
    rows = [r for s in others for r in measured(s.task, {"dann": 5})]
    return [n.task for n in recommend(Index.of(rows), mine, others, 5).neighbours]


SAME = dict.fromkeys(("paradigm", "family", "target", "backbone", "input"), 0)


def test_each_part_of_the_rule_is_what_it_says() -> None:
    other = sketch("x/a-b", paradigm="multi-source", classes=8, features=3, source=100, shift=0.25)
    assert differences(MINE, other) == pytest.approx(
        {**SAME, "paradigm": 40, "classes": 2, "features": 1, "source": 1, "shift": 0.75}
    )
    unknown = sketch("x/a-b", classes=None, features=None, source=None, shift=None)
    assert differences(MINE, unknown) == {**SAME, "classes": 1, "features": 1, "source": 1, "shift": 1}
    images = differences(MINE, sketch("x/a-b", input="images", features=None))
    assert images is not None
    assert (images["input"], images["features"]) == (2, 0)
    assert differences(MINE, sketch("x/a-b", regime="episodes")) is None


@pytest.mark.parametrize(
    ("changed", "family", "target", "backbone"),
    [
        ({}, 0, 0, 0),
        ({"target": "c"}, 0, 2, 0),
        ({"family": "another"}, 20, 2, 0),  # whose domain of that name is no better
        ({"training": "frozen"}, 0, 0, 2),
        ({"network": ("resnet50",)}, 0, 0, 1),
        ({"network": ("resnet50", "none")}, 0, 0, 0),  # which of them is not known yet
        ({"training": None}, 0, 0, 1),
        ({"task": "mine/a-b", "family": "another"}, 0, 0, 0),  # of one suite
    ],
)
def test_family_target_and_backbone_add_what_the_rule_says(
    changed: dict[str, object], family: float, target: float, backbone: float
) -> None:
    found = differences(MINE, replace(sketch("x/a-b"), **changed))  # type: ignore[arg-type]
    assert found is not None
    assert (found["family"], found["target"], found["backbone"]) == (family, target, backbone)


def test_pairs_of_numerals_come_after_all_pairs_of_objects() -> None:
    numerals = [
        sketch("numerals/handwritten-fonts", NUMERALS, shift=2.0),
        sketch("numerals/photos-handwritten", NUMERALS),
    ]
    objects = [
        sketch("objects/amazon-caltech10", OBJECTS, shift=None, source=958),
        sketch("objects/dslr-webcam", OBJECTS, shift=None, source=157),
        sketch("objects/webcam-amazon", OBJECTS, source=295),
    ]
    assert order(OBJECTS, [*numerals, *objects]) == [
        "objects/dslr-webcam", "objects/webcam-amazon", "objects/amazon-caltech10",
        "numerals/handwritten-fonts", "numerals/photos-handwritten",
    ]  # fmt: skip


def test_the_task_with_the_same_target_is_the_nearest() -> None:
    others = [
        sketch("numerals/fonts-photos", NUMERALS, source=2100),
        sketch("numerals/photos-handwritten", NUMERALS),
        sketch("numerals/handwritten-fonts", NUMERALS, shift=2.0),
        sketch("objects/amazon-caltech10", OBJECTS),
        sketch("letters/letters-fonts", NUMERALS, paradigm="different-domain-different-task"),
    ]
    assert order(NUMERALS, others) == [
        "numerals/handwritten-fonts", "numerals/photos-handwritten", "numerals/fonts-photos",
        "objects/amazon-caltech10", "letters/letters-fonts",
    ]  # fmt: skip


def test_of_the_cards_that_ship_paradigm_and_family_outweigh_all_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loaders, "available", lambda *_: False)  # no distance is known, and each counts 1
    every = [of_task(t) for name in registry.card_files() for t in registry.find(name)[:2]]
    for a in every:
        own = [d for b in every if (d := differences(a, b)) is not None]
        for part, among in (("paradigm", own), ("family", [d for d in own if not d["paradigm"]])):
            alike = [sum(d.values()) for d in among if not d[part]]
            others = [sum(d.values()) for d in among if d[part]]
            assert max(alike) + 1 < min(others, default=100) - 1, f"{a.task}: {part}"


def test_the_nearest_come_first_and_weigh_by_their_rank() -> None:
    rows = [r for t in ("far/a-b", "near/a-b", "other/a-b") for r in measured(t, {"dann": 5})]
    others = [sketch("far/a-b", classes=16), sketch("near/a-b"), sketch("other/a-b", regime="episodes")]
    found = recommend(Index.of(rows), MINE, others, 5)
    assert [(n.task, n.unlikeness) for n in found.neighbours] == [("near/a-b", 0), ("far/a-b", 3)]
    assert [n.weight for n in found.neighbours] == pytest.approx([2 / 3, 1 / 3])


def test_no_more_than_five_tasks_count() -> None:
    tasks = [f"t{i}/a-b" for i in range(7)]
    rows = [r for t in tasks for r in measured(t, {"dann": 5})]
    found = recommend(Index.of(rows), MINE, [sketch(t, classes=2 + i) for i, t in enumerate(tasks)], 5)
    assert [n.task for n in found.neighbours] == tasks[:5]


def test_the_gain_is_the_weighted_mean_and_the_better_are_named() -> None:
    rows = measured("near/a-b", {"dann": 30, "coral": 30, "jan": 3}) + measured(
        "far/a-b", {"dann": 15, "coral": 12, "jan": 3}
    )
    found = recommend(Index.of(rows), MINE, [sketch("near/a-b"), sketch("far/a-b", classes=4)], 5)
    assert found.advised[0].method == "dann"
    assert found.advised[0].gain == pytest.approx(30 * 2 / 3 + 15 / 3)
    assert [c.method for c in found.advised] == ["dann", "coral"]  # coral: 1 ± 1.6 points behind
    assert found.advised[1].behind == pytest.approx(1)
    assert found.others == 3  # jan and the references
    assert found.reference == "target_only"


def test_harm_is_told_with_its_evidence() -> None:
    rows = measured("near/a-b", {"dann": 9, "coral": -20, "jan": -20}) + measured(
        "far/a-b", {"dann": 9, "coral": 5, "jan": -9}
    )
    found = recommend(Index.of(rows), MINE, [sketch("near/a-b"), sketch("far/a-b", classes=4)], 5)
    # source-only is 10 points below target-only on both
    assert [(c.method, c.harmed, c.tested, c.worst) for c in found.risky] == [
        ("jan", 2, 2, pytest.approx(-20)), ("coral", 1, 1, pytest.approx(-20)),
        ("source_only", 2, 2, pytest.approx(-10)),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("said", "gain", "floor", "harmed"),
    [
        ("no", -0.5, None, False), ("not tested", -0.5, 0.1, False),
        ("yes", -3, 4, True),  # what a test shows is no fortune
        ("unclear", -3, 2.9, True), ("unclear", -3, 3.1, False), ("unclear", -3, -3.1, False),
        ("unclear", -3, None, True), ("yes, not tested", -3, -3, False),
    ],
)  # fmt: skip
def test_harm_that_no_test_shows_is_held_against_the_copy_of_the_reference(
    said: str, gain: float, floor: float | None, harmed: bool
) -> None:
    assert harms(said, gain, floor) == harmed


def test_a_method_that_falls_as_far_as_the_copy_of_the_reference_is_not_risky() -> None:
    unsure = [60, 60, 60, 60, 45]  # 3 points below on one seed of five: no test shows it
    rows = measured("near/a-b", {"dann": 9}) + over("coral", "near/a-b", 5, unsure)
    bare = recommend(Index.of(rows), MINE, [sketch("near/a-b")], 5)
    assert [(c.method, c.harmed, c.tested) for c in bare.risky] == [("source_only", 1, 1), ("coral", 1, 0)]
    assert bare.neighbours[0].floor is None
    rows += over("target_again", "near/b", 5, [60, 60, 60, 60, 80], family="reference")  # as far above
    found = recommend(Index.of(rows), MINE, [sketch("near/a-b")], 5)
    assert [c.method for c in found.risky] == ["source_only"]
    assert found.neighbours[0].floor == pytest.approx(4)


def test_advice_that_is_risky_too_says_so() -> None:
    rows = measured("near/a-b", {"coral": -5, "dann": -9}) + measured("far/a-b", {"coral": 30, "dann": 0})
    found = recommend(Index.of(rows), MINE, [sketch("near/a-b"), sketch("far/a-b", classes=4)], 5)
    assert [c.method for c in found.advised] == ["coral"]
    assert "negative transfer is likely all the same with 1 of the 1 not distinguishable from the best" in found.notes


def test_none_of_ones_family_is_said() -> None:
    index = Index.of(measured("near/a-b", {"dann": 9}))
    said = "none of these tasks is on data of your task's family"
    assert said in recommend(index, MINE, [sketch("near/a-b", family="another")], 5).notes
    assert said not in recommend(index, MINE, [sketch("near/a-b")], 5).notes


def test_without_labels_everything_is_held_against_source_only() -> None:
    found = recommend(Index.of(measured("near/a-b", {"dann": 20}, budget=0)), MINE, [sketch("near/a-b")], 0)
    assert found.reference == "source_only"
    assert found.advised[0].gain == pytest.approx(20)
    assert {c.method for c in found.advised} == {"dann"}


def test_methods_that_failed_or_were_not_run_on_one_of_the_tasks_are_left_out() -> None:
    rows = measured("near/a-b", {"dann": 9, "coral": 30, "jan": 30}) + measured("far/a-b", {"dann": 9, "jan": 30})
    rows = [failed(r) if r.method == "jan" and r.seed == 3 else r for r in rows]
    found = recommend(Index.of(rows), MINE, [sketch("near/a-b"), sketch("far/a-b")], 5)
    assert (found.advised[0].method, found.unranked) == ("dann", 2)


def test_where_nothing_gains_the_reference_is_the_safe_choice() -> None:
    found = recommend(Index.of(measured("near/a-b", {"dann": -9})), MINE, [sketch("near/a-b")], 5)
    assert found.advised[0].method == "target_only"
    assert any("no method is shown to gain over" in n for n in found.notes)
    assert any("1 dataset family cannot say how far yours may lie off" in n for n in found.notes)
    assert found.notes[0] == "evidence from 1 task of 1 dataset family, not from yours"
    itself = recommend(Index.of(measured(MINE.task, {"dann": 9})), MINE, [MINE], 5)
    assert itself.notes[0].endswith("this very task among them")


def test_from_four_families_on_their_spread_counts() -> None:
    near = [Neighbour(f"{f}/a-b", f, 0.25, 0.0, {}) for f in "abcd"]  # four targets
    own = [Estimate(mean, 0.1, 4) for mean in (0.0, 2.0, 4.0, 6.0)]
    found = weighted(near, own)
    assert (found.mean, found.df) == (3, 3)
    assert found.se == pytest.approx(np.std([0, 2, 4, 6], ddof=1) / 2)
    few = weighted([replace(n, family="a") for n in near], own)
    assert (few.se, few.df) == (pytest.approx(0.05), 4)


def test_tasks_with_one_target_share_their_noise() -> None:
    own = [Estimate(3.0, 1.0, 4)] * 2
    apart = [Neighbour(f"a/{pair}", "a", 0.5, 0.0, {}) for pair in ("x-y", "x-z")]
    shared = [Neighbour(f"a/{pair}", "a", 0.5, 0.0, {}) for pair in ("x-z", "y-z")]
    assert weighted(apart, own).se == pytest.approx(0.5**0.5)
    assert weighted(shared, own).se == pytest.approx(1.0)


def test_there_is_no_advice_of_nothing() -> None:
    index = Index.of(measured("near/a-b", {"dann": 9}))
    with pytest.raises(UsageError, match="no rows at budget 7; there are: 0, 5"):
        recommend(index, MINE, [sketch("near/a-b")], 7)
    with pytest.raises(UsageError, match="on a task that is episodes"):
        recommend(index, replace(MINE, regime="episodes"), [sketch("near/a-b")], 5)
    with pytest.raises(UsageError, match="no mean over tasks"):
        recommend(index, replace(MINE, regime="regression"), [sketch("near/a-b")], 5)


def test_the_distance_is_near_zero_of_one_domain_and_two_of_two() -> None:
    random = np.random.default_rng(0)
    one, same = random.normal(size=(2, 500, 10)).astype(np.float32)
    assert similarity.proxy_distance(one, same) < 0.3
    assert similarity.proxy_distance(one, same + 9) == 2
    wide = random.normal(size=(60, 5000)).astype(np.float32)
    assert similarity.proxy_distance(wide, wide + 9) == 2


def test_a_shipped_task_is_measured_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TLBENCH_CACHE", str(tmp_path))
    (task,) = registry.find("wdbc_shift")
    found = of_task(task)
    assert (found.input, found.classes, found.features) == ("numbers", 2, 30)
    assert found.shift is not None
    assert 0 <= found.shift <= 2
    assert len(list((tmp_path / "distances").iterdir())) == 1
    monkeypatch.setattr(similarity, "_proxy", None)  # not asked again
    assert of_task(task) == found
    assert "30 features" in as_words(found)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("digits", "images, convnet (from scratch), 10 classes"),
        ("office_caltech10", "images, mobilenetv2_100_coral or mobilenetv2_100 (frozen), 10 classes"),
        ("pneumonia", "images, resnet20_cifar10 (fine-tuned), "),
        ("amazon_reviews", "numbers, 2 classes"),
    ],
)
def test_what_a_network_starts_from_is_told(name: str, said: str) -> None:
    assert said in as_words(of_task(registry.find(name)[0], Path("/nowhere")))


def test_a_task_of_the_board_whose_card_is_not_here_is_known_by_its_rows() -> None:
    found = of_name(row("dann", "birds/a-b", 5, 0, 60), None)
    assert found == Sketch(
        "birds/a-b", "classification", "different-domain-same-task", "numbers", None, None, None, None, "birds", "b",
        ("none",), "no network",
    )  # fmt: skip
    network = of_name(row("dann", "birds/a-b", 5, 0, 60, backbone="resnet50", weights="w"), None)
    assert (network.network, network.training) == (("resnet50",), None)
    assert "domain distance unknown" in as_words(found)


@pytest.fixture
def tumours(tmp_path: Path) -> Path:
    """A card of two lines beside its tables."""
    frame = load_breast_cancer(as_frame=True).frame.rename(columns={"target": "label"})
    smaller = frame["mean radius"] < frame["mean radius"].median()
    frame[smaller].to_csv(tmp_path / "smaller.csv", index=False)
    frame[~smaller].to_csv(tmp_path / "larger.csv", index=False)
    (tmp_path / "tumours.toml").write_text('source = "smaller.csv"\ntarget = "larger.csv"\n')
    return tmp_path / "tumours.toml"


def test_a_card_of_ones_own_gets_advice(tumours: Path) -> None:
    folder = store(tumours.parent / "results", measured("near/a-b", {"dann": 9, "coral": -9}))
    words = ("recommend", "--task", tumours, "--budget", "5", "--results", folder)
    said = tlbench(*words).stdout
    for part in (
        "tumours/smaller-larger: classification, different domain, same task, numbers, 2 classes, 30 features, 284",
        "near/a-b", "not distinguishable from the best", "dann", "negative transfer is likely", "coral",
        "1 (1 significant)", "evidence from 1 task of 1 dataset family",
    ):  # fmt: skip
        assert part in said
    found = json.loads(tlbench(*words, "--json").stdout)
    assert [c["method"] for c in found["advised"]] == ["dann"]
    assert 1 < found["task"]["shift"] <= 2


def test_a_card_of_ones_own_is_of_the_family_of_its_data(tumours: Path) -> None:
    assert family(registry.read(tumours)) == "tumours"
    tumours.write_text('group = "wdbc"\n' + tumours.read_text())
    registry.read.cache_clear()
    assert family(registry.read(tumours)) == "wdbc"
    (office31,) = {t.card for t in registry.find("office31")}
    assert family(office31.model_copy(update={"name": "mine", "group": "office31"})) == "office_caltech10"


def test_ten_of_a_list_are_printed_the_worst_of_the_risky_first(tumours: Path) -> None:
    gains = {f"good{i:02}": 20 for i in range(11)} | {f"bad{i:02}": -20 - i for i in range(12)}
    where = ("--results", store(tumours.parent / "results", measured("near/a-b", gains)))
    words = ("recommend", "--task", tumours, "--budget", "5", *where)
    said = tlbench(*words).stdout
    assert [f"bad{i:02}" in said for i in range(12)] == [i >= 2 for i in range(12)]
    assert said.index("bad11") < said.index("bad02")
    assert said.count("good") == 10
    assert said.count("and 1 more; --json has all") == 1
    assert said.count("and 3 more; --json has all") == 1  # source-only is one
    found = json.loads(tlbench(*words, "--json").stdout)
    assert (len(found["advised"]), len(found["risky"])) == (11, 13)


def test_mistakes_are_one_line_and_exit_code_two(tumours: Path) -> None:
    where = ("--results", store(tumours.parent / "results", measured("near/a-b", {"dann": 9})))
    assert "no rows at budget 20" in refused("recommend", "--task", tumours, "--budget", "20", *where)
    assert "is not one budget" in refused("recommend", "--task", tumours, "--budget", "1,5", *where)
    assert "'digits' names 6 tasks" in refused("recommend", "--task", "digits", "--budget", "5", *where)
    assert "did you mean 'digits'?" in refused("recommend", "--task", "digts", "--budget", "5", *where)
    none = refused("recommend", "--task", tumours, "--budget", "5", "--results", tumours.parent / "nowhere")
    assert "`tlbench run` makes some" in none
