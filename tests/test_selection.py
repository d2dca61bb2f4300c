"""Rules of model selection: what each is shown, what it chooses, and that no withheld label moves anything."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tlbench.data import Domain
from tlbench.errors import UsageError
from tlbench.methods.loader import describe
from tlbench.methods.method import Description
from tlbench.results.row import Row
from tlbench.results.store import Store
from tlbench.runner import descriptions, experiment
from tlbench.runner import plan as plans
from tlbench.runner.cell import Cell, Conditions
from tlbench.runner.cell_job import Bench
from tlbench.runner.experiment import Options
from tlbench.runner.plan import Request
from tlbench.runner.selection import rules, search
from tlbench.runner.selection import validators as v
from tlbench.runner.selection.rules import RULES, Evidence, Reduction
from tlbench.runner.sweep import Sweep
from tlbench.runner.worker.local import Workers
from tlbench.tasks import card, registry
from tlbench.tasks.card import Card
from tlbench.tasks.split import Split

TASK = "wdbc_shift"
LOCAL = [name for name in RULES if name != "lodo"]
Array = np.ndarray[Any, Any]


def asked(rules: tuple[str, ...], **more: Any) -> Request:
    wanted: dict[str, Any] = {"tasks": (TASK,), "methods": ("dann",), "budgets": (5,), "seeds": (0,)}
    return Request(**{**wanted, "settings": {"steps": "3"}, "rules": rules, "trials": 3, **more})


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> experiment.Outcome:
    """DANN and its references under every rule, on measurements of cells."""
    folder = tmp_path_factory.mktemp("selection") / "results"
    return experiment.execute(asked(tuple(LOCAL)), Options(results=folder, device="cpu", jobs=1))


def of(outcome: experiment.Outcome, rule: str, method: str = "dann") -> Row:
    return next(r for r in outcome.rows if r.rule == rule and r.method == method)


def of_trials(outcome: experiment.Outcome, method: str = "dann") -> list[Row]:
    rows = [r for r in outcome.rows if r.method == method and r.rule in ("default", "trial")]
    return sorted(rows, key=lambda r: r.trial or 0)


def kept(outcome: experiment.Outcome, row: Row) -> dict[str, Array]:
    with np.load(search.file(outcome.store.folder, row.key), allow_pickle=False) as held:
        return dict(held)


def test_the_highest_score_is_chosen_ties_go_to_the_smaller_index_and_what_is_not_finite_comes_last() -> None:
    choose = RULES["cv"].choose
    assert choose([0.1, 0.3, 0.3]) == 1
    assert choose([np.nan, -5.0, np.inf]) == 1
    assert choose([-np.inf, np.nan]) == 0


def shown(*trial: list[list[float]], labels: list[int], part: str, weights: list[float]) -> list[Evidence]:
    y, w = {part: np.array(labels)}, np.array(weights)
    return [Evidence({part: np.log(np.array(p))}, y, lambda: w) for p in trial]


@pytest.mark.parametrize(
    ("rule", "part", "first", "second"),
    [
        ("cv", "shots", -np.log([0.9, 0.4]).mean(), -np.log([0.6, 0.7]).mean()),  # 0.51 and 0.43
        ("cv_accuracy", "shots", -0.5, -1.0),
        ("source_val", "source_val", -np.log([0.9, 0.4]).mean(), -np.log([0.6, 0.7]).mean()),
        ("iwcv", "source_val", -np.log([0.9, 0.4]) @ [0.8, 0.2], -np.log([0.6, 0.7]) @ [0.8, 0.2]),  # 0.27 and 0.48
        ("oracle_last", "oracle_val", -0.5, -1.0),
    ],
)
def test_a_rule_chooses_as_by_hand(rule: str, part: str, first: float, second: float) -> None:
    """One model is sure and wrong once, the other is right twice; weighted by the first sample the sure one wins."""
    found = shown([[0.9, 0.1], [0.6, 0.4]], [[0.6, 0.4], [0.3, 0.7]], labels=[0, 1], part=part, weights=[4.0, 1.0])
    score = RULES[rule].score
    assert score is not None
    assert [score(e) for e in found] == pytest.approx([-first, -second])


def test_log_loss_prefers_a_network_that_is_never_sure_and_accuracy_one_that_is_mostly_right() -> None:
    unsure, sure = [[0.55, 0.45], [0.55, 0.45], [0.55, 0.45]], [[1 - 1e-6, 1e-6], [1e-6, 1 - 1e-6], [1 - 1e-6, 1e-6]]
    found = shown(unsure, sure, labels=[0, 1, 1], part="shots", weights=[1.0] * 3)
    by = {name: [score(e) for e in found] for name in ("cv", "cv_accuracy") if (score := RULES[name].score)}
    assert RULES["cv"].choose(by["cv"]) == 0
    assert RULES["cv_accuracy"].choose(by["cv_accuracy"]) == 1


def test_numbers_are_judged_by_their_squared_errors() -> None:
    e = Evidence({"shots": np.array([[1.0], [3.0]])}, {"shots": np.array([0.0, 1.0])}, lambda: np.ones(2))
    assert RULES["cv"].score is not None
    assert RULES["cv"].score(e) == -2.5


def test_the_references_are_chosen_by_the_same_rule_from_as_many_trials(outcome: experiment.Outcome) -> None:
    for method in ("dann", "target_only", "source_only"):
        assert [r.trial for r in of_trials(outcome, method)] == [0, 1, 2]
        assert of(outcome, "im", method).trials == 3
    own, reference = of_trials(outcome, "dann"), of_trials(outcome, "target_only")
    assert [r.config["lr"] for r in own] == [r.config["lr"] for r in reference]
    assert of(outcome, "cv", "target_only").trials == 3
    assert not [r for r in outcome.rows if r.rule == "cv" and r.method == "source_only"]  # it has no shots: its default
    assert any("under rule cv source_only keeps its default" in text for text in outcome.plan.notices)


def test_cross_validation_is_what_the_kept_predictions_say(outcome: experiment.Outcome) -> None:
    rows, bench = of_trials(outcome), Bench(Conditions())
    task = registry.find(TASK)[0]
    split = bench.split(task, 0)
    shots = split.shots(5)
    held = [kept(outcome, row) for row in rows]
    losses = [float(v.log_losses(h["shots"], split.domain.y[shots]).mean()) for h in held]
    chosen = of(outcome, "cv")
    assert chosen.trial == int(np.argmin(losses))
    same = ("value", "correct", "config", "fit_s", "split", "method_digest", "seed", "budget")
    assert all(getattr(chosen, name) == getattr(rows[chosen.trial], name) for name in same)
    others = sum(r.fit_s or 0 for i, r in enumerate(rows) if i != chosen.trial)
    assert chosen.tune_s == pytest.approx(others + sum(float(h["folds_s"]) for h in held), abs=1e-5)
    assert chosen.total_s == pytest.approx((chosen.tune_s or 0) + (chosen.fit_s or 0), abs=1e-5)
    assert not chosen.default  # and so it is on no board
    assert len({r.key for r in outcome.rows}) == len(outcome.rows)


def test_what_is_kept_has_a_row_a_sample_and_no_label(outcome: experiment.Outcome) -> None:
    task = registry.find(TASK)[0]
    split = Bench(Conditions()).split(task, 0)
    held = kept(outcome, of_trials(outcome)[1])
    assert set(held) == {"test", "unlabeled", "source_val", "oracle_val", "shots", "folds_s"}
    assert {a.dtype for name, a in held.items() if name != "folds_s"} == {np.dtype(np.float32)}
    sizes = {"test": split.partition.test, "oracle_val": split.partition.oracle_val, "shots": split.shots(5)}
    assert {name: held[name].shape for name in sizes} == {name: (len(rows), 2) for name, rows in sizes.items()}
    assert held["unlabeled"].shape == (len(split.unlabeled), 2)
    right = held["test"].argmax(1) == split.domain.y[split.partition.test]
    assert np.array_equal(right, of_trials(outcome)[1].bits())
    assert set(kept(outcome, of_trials(outcome, "target_only")[0])) == {*set(held) - {"source_val"}}


def test_the_oracle_is_apart_and_its_gap_is_to_every_rule(outcome: experiment.Outcome) -> None:
    assert [name for name, rule in RULES.items() if not rule.ranked] == ["oracle_last"]
    gap = next(g for g in outcome.gaps if g.method == "dann")
    assert set(gap.below) == {*LOCAL} - {"oracle_last"}
    oracle, cv = of(outcome, "oracle_last"), of(outcome, "cv")
    assert gap.below["cv"] == pytest.approx(100 * ((oracle.value or 0) - (cv.value or 0)))


def test_trial_0_is_the_default_cell_and_is_run_again_only_for_its_predictions(tmp_path: Path) -> None:
    options = Options(results=tmp_path / "results", device="cpu", jobs=1)
    plain = experiment.execute(asked(("default",), trials=None), options)
    assert (plain.computed, (tmp_path / "results" / "trials").exists()) == (3, False)
    chosen = experiment.execute(asked(("cv",), trials=2), options)
    assert chosen.computed == 6  # the three defaults' predictions were not kept
    lines = chosen.store.file.read_text().splitlines()
    again = experiment.execute(asked(("cv",), trials=2), options)
    assert (again.computed, again.store.file.read_text().splitlines()) == (0, lines)
    first = next(r for r in plain.rows if r.method == "dann")
    assert chosen.store.rows[first.key] == first  # the first row stands
    search.file(options.results or tmp_path, first.key).unlink()
    assert experiment.execute(asked(("cv",), trials=2), options).computed == 1


DAWDLER = """
from dataclasses import dataclass
from time import sleep
from typing import ClassVar

import torch

from tlbench import Predictor, Train


@dataclass(frozen=True)
class Dawdler:
    pause: float = 0.0
    family: ClassVar[str] = "feature-based"
    paper: ClassVar[str] = "none"
    needs: ClassVar[frozenset[str]] = frozenset()
    regimes: ClassVar[frozenset[str]] = frozenset({"classification"})
    search: ClassVar[dict[str, tuple[object, ...]]] = {"pause": ("choice", 60.0, 60.0)}

    def fit(self, train: Train, seed: int) -> Predictor:
        sleep(self.pause)
        return lambda x: torch.zeros(len(x), train.n_classes)
"""


def test_a_trial_far_slower_than_its_reference_is_ended_and_not_chosen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "AT_LEAST_S", 1.0)
    monkeypatch.setattr(search, "PATIENCE", 2.0)
    (tmp_path / "dawdler.py").write_text(DAWDLER)
    wanted = asked(("im",), methods=("dann", f"{tmp_path}/dawdler.py:Dawdler"), budgets=(1,), trials=2)
    outcome = experiment.execute(wanted, Options(results=tmp_path / "results", device="cpu", jobs=1))
    slow = next(r for r in outcome.store.rows.values() if r.config.get("pause"))
    assert slow.status == "failed"
    assert "2 times what its reference takes" in str(slow.reason)
    assert next(r for r in outcome.rows if r.rule == "im" and "pause" in r.config).trial == 0


def test_a_trial_whose_kept_scores_are_none_fails_and_its_row_says_how_it_was_confined(tmp_path: Path) -> None:
    answers = "calls.append(x) or torch.zeros(len(x), train.n_classes + (len(calls) > 1))"  # first comes the test
    told = DAWDLER.replace("sleep(self.pause)", "calls = []").replace("torch.zeros(len(x), train.n_classes)", answers)
    (tmp_path / "turncoat.py").write_text(told)
    wanted = asked(("im",), methods=("dann", f"{tmp_path}/turncoat.py:Dawdler"), budgets=(1,), trials=1)
    outcome = experiment.execute(wanted, Options(results=tmp_path / "results", device="cpu", jobs=1))
    failed = next(r for r in outcome.store.rows.values() if "pause" in r.config)
    assert (failed.status, failed.value, failed.fit_s) == ("failed", None, None)
    assert "owed" in str(failed.reason)
    assert failed.jail is not None
    assert {r.jail for r in outcome.store.rows.values()} == {failed.jail}


def test_a_trial_may_take_ten_times_its_references_median_and_a_minute_at_least() -> None:
    cell = Cell(registry.find(TASK)[0], describe("dann", {}), 5, 0, 1)
    assert search.patience(cell, [1.0, 9.0, 2.0]) == 60 * 3  # and so long for each of two folds
    assert search.patience(cell, [10.0, 90.0, 20.0]) == 200 * 3
    assert search.patience(cell, []) == float("inf")


@dataclass
class Permuted(Bench):
    """A scorer that holds other labels for the test and the oracle's samples."""

    def split(self, task: card.Task, seed: int) -> Split:
        plain = Bench(self.conditions).split(task, seed)
        return replace(plain, domain=self.domain(task.card, task.target, seed))

    def domain(self, c: Card, name: str, seed: int) -> Domain:
        plain, task = super().domain(c, name, seed), card.tasks_of(c)[0]
        if name != task.target:
            return plain
        y, cut = plain.y.copy(), Bench(self.conditions).split(task, 0).partition
        for part in (cut.test, cut.oracle_val):
            y[part] = np.random.default_rng(0).permutation(y[part])
        return replace(plain, y=y)


@pytest.mark.slow
def test_permuted_test_labels_move_no_prediction_and_no_choice(tmp_path: Path) -> None:
    task, found, choices, values = registry.find(TASK)[0], [], [], []
    for kind in (Bench, Permuted):
        bench = kind(Conditions(changed_data=True))
        store = Store(tmp_path / kind.__name__)
        with Workers(modules=experiment.preloaded(["dann"])) as workers:
            described = descriptions.describe(["dann"], {"steps": "3"}, workers)
            own = plans.trials_of(plans.cell(task, described["dann"], 5, 0, 0), 3)
            Sweep(own, bench, store, workers).run()
            rows = [store.rows[bench.key(c)] for c in own]
            reduction = Reduction(bench, store, workers)
            chosen = {name: reduction.row(RULES[name], own) for name in LOCAL}
        held = [np.load(search.file(store.folder, row.key), allow_pickle=False) for row in rows]
        found.append([{part: h[part].tobytes() for part in h.files if part != "folds_s"} for h in held])
        choices.append({name: row.trial for name, row in chosen.items() if row and name != "oracle_last"})
        values.append([row.value for row in rows])
    assert set(found[0][0]) == {"test", "unlabeled", "source_val", "oracle_val", "shots"}
    assert found[0] == found[1]
    assert len(choices[0]) == len(LOCAL) - 1
    assert choices[0] == choices[1]
    assert values[0] != values[1]  # the scorers do hold different labels


CANNOT: dict[str, tuple[dict[str, Any], str]] = {
    "unknown": ({"rules": ("cvv",)}, "--rule cvv: unknown; did you mean 'cv'?"),
    "one label": ({"rules": ("cv",), "budgets": (1,)}, "it needs 2 labels a class of the target"),
    "no source": ({"rules": ("source_val",), "methods": ("target_only",)}, "it needs labelled source samples"),
    "other classes": (
        {"rules": ("iwcv",), "tasks": ("digits_parity/fonts",), "methods": ("finetune",)},
        "it needs sources that have the target's classes",
    ),
    "numbers": ({"rules": ("im",), "tasks": ("cal7",), "methods": ("multitask",)}, "it is for classification"),
    "alone": ({"rules": ("lodo",)}, "no group of datasets but 'wdbc' has trials of dann at budget 5"),
    "too many": ({"rules": ("cv",), "trials": 23}, "--trials 23: the design of a search has 22 at most"),
}


@pytest.mark.parametrize("name", CANNOT)
def test_a_rule_that_cannot_be_asked_is_a_mistake_in_one_line(name: str, tmp_path: Path) -> None:
    more, said = CANNOT[name]
    with pytest.raises(UsageError) as error:
        experiment.execute(asked(**{"rules": ("cv",), **more}), Options(results=tmp_path, device="cpu", jobs=1))
    assert said in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "rows.jsonl").exists()


def test_a_rule_that_can_be_asked_at_some_budgets_is_left_out_at_the_others(tmp_path: Path) -> None:
    options = Options(results=tmp_path, device="cpu", jobs=1)
    found = experiment.execute(asked(("cv",), budgets=(1, 2), trials=1), options)
    assert {x.budget for x in found.lines} == {2}
    assert any(text.startswith("left out under rule cv") for text in found.plan.notices)


def description(*fields: str) -> Description:
    from tlbench.methods.method import Field

    known = tuple(Field(name, "int", 1) for name in fields)
    return Description("m", "m", "o", "", "", (), (), ("classification",), (), "", known, {}, {}, "d")


def test_folds_are_dealt_class_by_class_whatever_the_seed() -> None:
    task = registry.find(TASK)[0]
    split = Bench(Conditions()).split(task, 0)
    few, many = description("steps"), description("depth")
    assert [search.n_folds(Cell(task, many, k, 0)) for k in (0, 1, 2, 4, 20, "full")] == [0, 0, 2, 4, 5, 5]
    assert [search.n_folds(Cell(task, few, k, 0)) for k in (0, 1, 2, 20, "full")] == [0, 0, 2, 2, 2]
    assert not search.descends(many)
    shots = split.shots(5)
    fold = search.fold_of(split, shots, 5)
    for c in (0, 1):
        assert sorted(fold[split.domain.y[shots] == c]) == [0, 1, 2, 3, 4]
    turned = np.random.default_rng(0).permutation(len(shots))
    assert np.array_equal(search.fold_of(split, shots[turned], 5), fold[turned])
    other = Bench(Conditions()).split(task, 1)
    assert np.array_equal(search.fold_of(other, shots, 5), fold)
    assert len(search.fold_of(split, shots, 0)) == 0


def test_what_was_kept_is_read_only_as_plain_arrays_of_the_right_length(tmp_path: Path) -> None:
    good: dict[str, Array] = {"folds_s": np.float64(1.5), "shots": np.zeros((4, 2), np.float32)}  # type: ignore[dict-item]
    file = tmp_path / "a.npz"
    read: Callable[[], search.Kept | None] = lambda: search.read(file, {"shots": 4})  # noqa: E731
    assert read() is None
    np.savez(file, **good)  # type: ignore[arg-type]
    found = read()
    assert found is not None
    assert found.folds_s == 1.5
    for bad in (np.zeros((3, 2), np.float32), np.zeros((4, 2)), np.array([[object()]] * 4)):
        np.savez(file, **{**good, "shots": bad})  # type: ignore[arg-type]
        assert read() is None
    file.write_bytes(b"PK broken")
    assert read() is None


def confidence(e: Evidence) -> float:
    """The mean of each prediction's largest score."""
    return float(e.scores["unlabeled"].max(1).mean())


def test_a_rule_is_added_in_one_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A made-up one, that asks how sure a trial is of unlabelled target inputs."""
    made_up = rules.Rule("confidence", "none", "the mean of the largest scores", looks=("unlabeled",), score=confidence)
    monkeypatch.setitem(RULES, "confidence", made_up)
    found = experiment.execute(asked(("confidence",)), Options(results=tmp_path, device="cpu", jobs=1))
    trials = of_trials(found)
    sure = [float(kept(found, row)["unlabeled"].astype(np.float64).max(1).mean()) for row in trials]
    assert len(set(sure)) == 3
    chosen = of(found, "confidence")
    assert (chosen.trial, chosen.trials, chosen.value) == (int(np.argmax(sure)), 3, trials[int(np.argmax(sure))].value)
    assert {x.rule for x in found.lines} == {"confidence"}
    from tlbench.cli.commands import catalog, console

    catalog.show_list("rules", as_json=False)
    console.print_rule("confidence", found.lines)
    said = capsys.readouterr().out
    assert "confidence  the mean of the largest scores [none]" in re.sub(" {2,}", "  ", said)
    assert "rule confidence: the mean of the largest scores (labels touched: none)" in said


def test_a_rule_that_looks_at_other_tasks_says_itself_what_it_asks_them(tmp_path: Path) -> None:
    """A made-up one, that counts the rows of other tasks and prefers the last trial."""
    other = rules.Elsewhere(
        lambda own, rows, known: ([float(i) for i in range(len(own))], sorted(r.key for r in known)),
        lambda own, planned, store: f"nothing is known of {own[0].method.name} elsewhere",
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(RULES, "last", rules.Rule("last", "none", "the last trial", elsewhere=other))
        with pytest.raises(UsageError, match="--rule last: nothing is known of dann elsewhere"):
            experiment.execute(asked(("last",)), Options(results=tmp_path, device="cpu", jobs=1))
        reduction = Reduction(Bench(Conditions()), Store(tmp_path), Workers())
        assert reduction.scores(RULES["last"], [None] * 3, []) == ([0.0, 1.0, 2.0], [])  # type: ignore[list-item]


def test_rules_are_listed_with_the_labels_that_they_touch(capsys: pytest.CaptureFixture[str]) -> None:
    from tlbench.cli.commands import catalog

    catalog.show_list("rules", as_json=False)
    said = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in said] == list(RULES)
    assert said[1].endswith("[the k shots]")
    for rule in RULES.values():
        assert set(rule.labels) <= set(rule.looks) or rule.score is None
        assert (rule.touches.startswith("none")) == (not rule.labels)
    assert rules.named("snd").labels == ()
