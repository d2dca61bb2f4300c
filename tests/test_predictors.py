"""What `fit` returns: scores, labels, and a state from which it is restored without the data."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tlbench import Labeled, Train
from tlbench.data import Recipe
from tlbench.methods.loader import load
from tlbench.methods.method import shipped
from tlbench.training.predictors import Fitted, FittedPredictor
from tlbench.training.saving import saved

Y = np.arange(36) % 3
DRAW = np.random.default_rng(0)
X = DRAW.normal(4 * np.eye(3, 5)[Y])
IMAGES = DRAW.integers(0, 255, (24, 3, 12, 12), np.uint8)
SHOTS = (X[:9] + 1, Y[:9])
SHORT = Recipe(steps=2, batch=8, adapt_steps=2)
NORMED = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.LazyLinear(6))
EPISODIC = ("fomaml", "maml", "maml_learn2learn", "protonet_learn2learn", "reptile")


def training(name: str, cls: Any) -> Train:
    """What a method can be fitted on."""
    ignores = getattr(cls, "ignores", frozenset())
    if name == "stochnorm":  # it needs batch norms
        return Train.of(IMAGES, Y[:24], IMAGES, (IMAGES[:6], Y[:6]), backbone=NORMED, recipe=SHORT)
    sources: tuple[Any, Any] = (None, None) if "sources" in ignores else ((X, X - 1), (Y, Y))
    return Train.of(*sources, X + 1, None if "shots" in ignores else SHOTS, recipe=SHORT)


def restored(fitted: Fitted, folder: Path) -> Any:
    """By way of a file, as a stranger would."""
    np.savez(folder / "state.npz", **fitted.state())
    with np.load(folder / "state.npz", allow_pickle=False) as state:
        return Fitted.restore(state)


@pytest.mark.parametrize("name", [n for n in shipped() if n not in EPISODIC])
def test_every_method_is_restored_from_its_state(name: str, tmp_path: Path) -> None:
    cls = load(name)
    train = training(name, cls)
    fitted = cls().fit(train, 0)
    again = restored(fitted, tmp_path)
    scores = fitted(train.target.x)
    assert torch.equal(again(train.target.x), scores)
    assert torch.equal(again.scores(train.target.x), scores)
    assert torch.equal(again.predict(train.target.x), scores.argmax(1))


@pytest.mark.parametrize("name", [n for n in shipped() if "episodes" in getattr(load(n), "regimes", ())])
def test_every_few_shot_learner_is_restored_from_its_state(name: str, tmp_path: Path) -> None:
    cls = load(name)
    for module in getattr(cls, "requires", ()):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed")
    x, more = (IMAGES, {"backbone": NORMED}) if name == "stochnorm" else (X, {})
    train = Train.of_episodes(x, Y[: len(x)], ways=2, shots=2, queries=2, recipe=SHORT, **more)  # type: ignore[arg-type]
    if "sources" in getattr(cls, "ignores", ()):
        train = Train(**{**vars(train), "sources": (), "source_classes": ()})
    learner = cls().fit(train, 0)
    again, support = restored(learner, tmp_path), Labeled.of(x[:4], [0, 1, 0, 1])
    scores = learner(support, support.x)
    assert torch.equal(again(support, support.x), scores)
    assert torch.equal(again.predict(support, support.x), scores.argmax(1))
    assert hasattr(again, "several") == hasattr(learner, "several")


@pytest.mark.parametrize("classifier", ["nearest", "logistic", "svm"])
def test_scikit_learns_classifiers_are_restored(classifier: str, tmp_path: Path) -> None:
    for y in (Y, Y % 2):
        train = Train.of(X, y, X + 1, recipe=SHORT)
        fitted = load("coral")(classifier=classifier).fit(train, 0)
        assert torch.equal(restored(fitted, tmp_path)(train.target.x), fitted(train.target.x))


def test_numbers_and_boxes_are_restored(tmp_path: Path) -> None:
    numbers = Train.of(X, X[:, 0], X + 1, (X[:9], X[:9, 0]), recipe=SHORT)
    fitted = load("finetune")().fit(numbers, 0)
    assert torch.equal(fitted.predict(numbers.target.x), fitted(numbers.target.x)[:, 0])
    assert torch.equal(restored(fitted, tmp_path)(numbers.target.x), fitted(numbers.target.x))
    fields = DRAW.integers(0, 255, (4, 3, 32, 32), np.uint8)
    boxes = Train.of_boxes(IMAGES, Y[:24], fields, [[[4, 4, 16, 16, 1]]] * 4, recipe=SHORT)
    found = load("finetune")().fit(boxes, 0)
    assert torch.equal(restored(found, tmp_path).predict(boxes.shots.x), found(boxes.shots.x))


def test_a_state_is_arrays_and_one_text_and_passes_through_json() -> None:
    train = Train.of(X, Y, X + 1, recipe=SHORT)
    fitted = load("dann")().fit(train, 0)
    state = fitted.state()
    assert {type(value) for value in state.values()} == {str, np.ndarray}
    plain = {name: v.tolist() if isinstance(v, np.ndarray) else v for name, v in state.items()}
    assert torch.equal(Fitted.restore(json.loads(json.dumps(plain)))(train.target.x), fitted(train.target.x))


def test_a_state_holds_nothing_of_the_training_data() -> None:
    train = Train.of(X, Y, X + 1, SHOTS, recipe=SHORT)
    sizes = [v.shape for v in load("dann")().fit(train, 0).state().values() if isinstance(v, np.ndarray)]
    assert all(36 not in shape for shape in sizes)


def test_what_cannot_be_saved_is_named() -> None:
    class Odd(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x

    with pytest.raises(ValueError, match="nobody can import"):
        FittedPredictor(Odd()).state()
    layer = nn.Linear(2, 2)
    layer.note = object()  # type: ignore[assignment]
    with pytest.raises(ValueError, match="note is a object, no array and no plain value"):
        saved(layer, "FittedPredictor")


def test_a_state_names_no_function_of_other_packages_and_no_class_but_a_module() -> None:
    for path in ("os:system", "subprocess:Popen"):
        layout = {"number": 0, "class": path, "values": {}}
        state = {"layout": json.dumps({"format": 1, "kind": "FittedPredictor", "module": layout})}
        with pytest.raises(ValueError, match=r"may not name it|is no module"):
            Fitted.restore(state)
    with pytest.raises(ValueError, match="not the state of a fitted predictor"):
        Fitted.restore({"x": 1})
