"""Multi-label classification: its metric, its split, Train.of, the methods that do it, and tiles of blood smears."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score
from test_cli import tlbench

from tlbench import Train
from tlbench.data import Domain
from tlbench.errors import UsageError
from tlbench.methods import loader
from tlbench.tasks import loaders, problems, registry
from tlbench.tasks.problems.multilabel import mean_average_precision
from tlbench.tasks.split import FULL, Split, partition, sha, split

TASK = "bccd_tiles/near-far"


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 30), st.integers(1, 4), st.integers(2, 6), st.integers(0, 1 << 16))
def test_the_metric_is_scikit_learns_with_ties_and_absent_classes(n: int, k: int, values: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    scores, shown = draw.integers(0, values, (n, k)).astype(float), draw.integers(0, 2, (n, k))
    there = [c for c in range(k) if shown[:, c].any()]
    theirs = [average_precision_score(shown[:, c], scores[:, c]) for c in there]
    assert mean_average_precision(scores, shown) == pytest.approx(np.mean(theirs) if there else 0.0, abs=1e-12)


def domain(y: np.ndarray, official: np.ndarray | None = None) -> Domain:
    ids = tuple(f"s{i}" for i in range(len(y)))
    classes = tuple("abcdef"[: y.shape[1]])
    return Domain("d", ids, y, classes, ids, x=np.zeros((len(y), 1), np.float32), official_test=official)


def labels(n: int = 200, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).random((n, 3)) < [0.7, 0.3, 0.1]).astype(np.int64)


def cut(y: np.ndarray, seed: int = 0) -> Split:
    return split(registry.find(TASK)[0], domain(y), seed)


@pytest.mark.parametrize("k", [0, 1, 2, 5])
def test_a_budget_is_the_first_k_samples_in_hash_order_that_show_each_class(k: int) -> None:
    made = cut(labels())
    d, pool = made.domain, made.partition.pool
    order = sorted(pool.tolist(), key=lambda i: sha("tlbench/shot/1", "bccd_tiles/far", 0, d.ids[i]))
    wanted = {i for c in range(3) for i in [i for i in order if d.y[i, c]][:k]}
    shots = made.shots(k)
    assert set(shots.tolist()) == wanted
    assert len(shots) == len(wanted) <= 3 * k
    assert (d.y[shots].sum(0) >= k).all()


def test_budgets_are_nested_and_full_is_the_pool_with_what_shows_nothing() -> None:
    made = cut(labels())
    parts = [set(made.shots(k).tolist()) for k in (0, 1, 3, made.draw.most())]
    assert all(a <= b for a, b in pairwise(parts))
    assert sorted(made.shots(FULL)) == sorted(made.partition.pool)
    assert (made.domain.y[made.partition.pool].sum(1) == 0).any()
    with pytest.raises(UsageError, match=r"class 'c' has \d+ samples outside the test set"):
        made.shots(made.draw.most() + 1)
    assert not set(made.unlabeled.tolist()) & set(made.shots(1).tolist())


def test_the_rarest_class_shown_divides_the_parts() -> None:
    y = np.array([[1, 1, 1], [1, 1, 0], [1, 0, 0], [0, 0, 0], [1, 0, 1], [1, 1, 0], [1, 0, 0]])
    p = problems.of("multilabel")
    assert p.strata(domain(y)).tolist() == [2, 1, 0, 3, 2, 1, 0]
    many = labels(400)
    tested = partition(domain(many), "t").test
    assert len(tested) == pytest.approx(160, abs=4)
    assert many[tested].mean(0) == pytest.approx(many.mean(0), abs=0.06)


def test_another_label_is_another_digest() -> None:
    y = labels(40)
    other = y.copy()
    other[3, 2] = 1 - other[3, 2]
    assert cut(y).digest != cut(other).digest
    assert cut(y).digest == cut(y.copy()).digest


def test_train_of_takes_labels_of_several_classes() -> None:
    x, y = np.random.default_rng(0).normal(size=(30, 4)), labels(30)
    train = Train.of(x, y, x + 1, shots=(x[:5], y[:5].astype(bool)))
    assert (train.regime, train.n_classes) == ("multilabel", 3)
    assert train.sources[0].y.shape == (30, 3)
    assert train.sources[0].y.dtype == train.shots.y.dtype == torch.int64
    assert Train.of(None, None, x, shots=(x, y)).n_classes == 3
    other = Train.of(x, y, shots=(x[:3], [0, 1, 2]), source_classes=3)
    assert (other.regime, other.source_classes) == ("classification", (3,))


@pytest.mark.parametrize(
    ("ys", "shots", "more", "said"),
    [
        (labels(30) * 2, None, {}, "ys: labels .* by 0 and 1 alone"),
        (labels(29), None, {}, "ys: 29 labels for 30 inputs"),
        (labels(30), labels(5)[:, :2], {}, "labels say of 2 and 3 classes"),
        (labels(30), None, {"n_classes": 4}, "n_classes is 4: labels say of 3 classes"),
        (labels(30).astype(float), None, {}, "labels are one a sample"),
        (labels(30), np.arange(5), {"source_classes": 2}, "source_classes is 2: labels say of 3 classes"),
    ],
)
def test_labels_that_do_not_fit_are_told(ys: object, shots: object, more: dict[str, int], said: str) -> None:
    x = np.zeros((30, 4))
    with pytest.raises(ValueError, match=said):
        Train.of(x, ys, x, shots=None if shots is None else (x[:5], shots), **more)


def made(n: int, shift: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Each class adds a direction of its own to the input."""
    draw, y = np.random.default_rng(seed), labels(n, seed)
    return y @ (6 * np.eye(3, 8)) + draw.normal(size=(n, 8)) + shift, y


@pytest.mark.parametrize(
    "name",
    ["target_only", "source_only", "source_plus_target", "target_full", "finetune", "l2_sp", "lp_ft",
     "partial_finetune", "layer_transfer", "lora", "adapters", "target_again", "source_again"],
)  # fmt: skip
def test_a_method_that_says_so_learns_several_classes_at_once(name: str) -> None:
    """The classes lie in different directions, so that a linear head on the inputs tells each of them."""
    method = loader.load(name)
    assert "multilabel" in method.regimes
    (xs, ys), (xt, yt) = made(300, 0.0, 0), made(300, 0.5, 1)
    ignored = getattr(method, "ignores", ())
    source = (None, None) if "sources" in ignored else (xs, ys)
    train = Train.of(*source, xt, shots=None if "shots" in ignored else (xt[:60], yt[:60]), n_classes=3)
    scores = method(steps=200).fit(train, seed=0)(train.target.x)
    assert tuple(scores.shape) == (300, 3)
    assert mean_average_precision(scores.numpy()[60:], yt[60:]) > 0.8


def test_chance_tells_how_often_each_class_is_shown() -> None:
    x, y = made(100, 0.0, 0)
    scores = loader.load("chance")().fit(Train.of(x, y, x), seed=0)(torch.zeros(5, 8))
    assert scores.numpy() == pytest.approx(np.tile(y.mean(0), (5, 1)), abs=1e-6)
    assert mean_average_precision(scores.numpy().repeat(20, 0), y) == pytest.approx(y.mean())


def test_the_tiles_card_has_no_field_in_both_domains_and_labels_k_tiles_a_class(real_data: Path) -> None:
    task = registry.find(TASK)[0]
    source, target = (loaders.load(task.card, name, real_data) for name in ("near", "far"))
    assert (len(source), len(target)) == (4000, 159 * 12)
    assert not {i.split("/")[1] for i in source.ids} & {i.split("/")[1] for i in target.ids}
    cut = split(task, target, 0)
    assert len(cut.partition.test) == 72 * 12
    for k in task.card.budgets:
        assert (target.y[cut.shots(k)].sum(0) >= k).all()
        assert len(cut.shots(k)) <= 3 * k
    assert 0.25 < target.y[cut.partition.test].mean() < 0.4  # what chance scores


@pytest.mark.slow
def test_a_run_on_tiles_scores_above_chance_and_refuses_what_does_not_fit(real_data: Path, tmp_path: Path) -> None:
    methods = ("--method", "finetune", "--method", "chance", "--method", "dann")
    where = ("--results", str(tmp_path), "--data-root", str(real_data))
    ran = tlbench("run", "--task", "bccd_tiles", *methods, "--budgets", "5", "--seeds", "0", "--json", *where)
    assert ran.returncode == 0, ran.stderr
    rows = {r["method"]: r for r in json.loads(ran.stdout)["rows"]}
    assert rows["dann"]["status"] == "refused"
    assert rows["dann"]["reason"] == f"dann does classification; {TASK} is multilabel"
    for name in ("finetune", "chance", "target_only"):
        assert rows[name]["status"] == "ok", rows[name]["reason"]
        assert (rows[name]["metric"], rows[name]["regime"], rows[name]["correct"]) == ("map", "multilabel", None)
    assert rows["finetune"]["value"] > rows["chance"]["value"] + 0.15
