"""`Train.of` and its like: plain arrays in, the same training set as the harness makes; any module as a backbone."""

from __future__ import annotations

import copy
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tlbench import Labeled, Train, Unlabeled
from tlbench.data import Recipe
from tlbench.errors import NotApplicable
from tlbench.methods.loader import load
from tlbench.training import networks

Y = np.arange(48) % 3
DRAW = np.random.default_rng(0)
X = DRAW.normal(5 * np.eye(3, 6)[Y])
IMAGES = DRAW.integers(0, 255, (24, 3, 12, 12), np.uint8)
SHORT = Recipe(steps=6, batch=16, adapt_steps=3)
SHOTS = (X[:9] + 1, Y[:9])


def fitted(name: str, train: Train, **settings: Any) -> Tensor:
    """What a method says of the target."""
    scores: Tensor = load(name)(**settings).fit(train, 0)(train.target.x)
    return scores


@pytest.mark.parametrize("name", ["dann", "mcc", "coral", "finetune"])
def test_a_fit_gives_the_scores_that_it_gives_in_the_harness(name: str) -> None:
    xs, xt, few = (torch.from_numpy(a).float() for a in (X, X + 1, SHOTS[0]))
    y, spec = torch.from_numpy(Y), {"kind": "bottleneck", "width": 256, "scale": "standard"}
    shots = Labeled(few, y[:9])
    by_hand = Train((Labeled(xs, y),), Unlabeled(xt), shots, 3, lambda: networks.build(spec, [xs, xt], 4), SHORT)
    given = Train.of(X, Y, X + 1, SHOTS, recipe=SHORT, seed=4)
    assert torch.equal(fitted(name, given), fitted(name, by_hand))


def test_images_get_the_harness_s_small_network() -> None:
    x, y = torch.from_numpy(IMAGES), torch.from_numpy(Y[:24])
    by_hand = Train(
        (Labeled(x, y),), Unlabeled(x), Labeled(x[:0], y[:0]), 3,
        lambda: networks.build({"kind": "convnet", "augment": ()}, [x, x], 0), SHORT,
    )  # fmt: skip
    given = Train.of(IMAGES, Y[:24], IMAGES, recipe=SHORT)
    assert torch.equal(fitted("dann", given), fitted("dann", by_hand))


def test_lists_arrays_and_tensors_are_alike() -> None:
    ways = [
        Train.of(X.tolist(), Y.tolist(), X.tolist(), (X[:9].tolist(), Y[:9].tolist()), recipe=SHORT),
        Train.of(X, Y, X, (X[:9], Y[:9]), recipe=SHORT),
        Train.of(torch.tensor(X), torch.tensor(Y), torch.tensor(X), (list(torch.tensor(X[:9])), Y[:9]), recipe=SHORT),
        Train.of(X.astype("f4"), Y.astype("u1"), X.astype("f4"), (X[:9], Y[:9].astype("i4")), recipe=SHORT),
    ]
    first, *others = (fitted("dann", train) for train in ways)
    assert all(torch.equal(first, other) for other in others)


def test_what_was_given_is_copied() -> None:
    x = torch.from_numpy(X).float()
    train = Train.of(x, Y, x)
    x.zero_()
    assert train.target.x.any()
    frozen = X.copy()
    frozen.flags.writeable = False
    assert torch.equal(Train.of(frozen, Y).sources[0].x, train.sources[0].x)


def test_a_tuple_is_several_sources() -> None:
    train = Train.of((X, X[:20]), (Y, Y[:20]), X)
    assert [len(s) for s in train.sources] == [48, 20]
    assert train.n_classes == 3
    assert train.same_task


def test_floats_are_numbers_to_predict() -> None:
    train = Train.of(X, X[:, 0], X, (X[:5], X[:5, 0]), recipe=SHORT)
    assert (train.regime, train.n_classes) == ("regression", 1)
    assert fitted("target_only", train).shape == (48, 1)


def test_sources_may_have_classes_of_their_own() -> None:
    train = Train.of((X, X), (Y, Y % 2), X, SHOTS, source_classes=(3, 2), recipe=SHORT)
    assert train.source_classes == (3, 2)
    assert not train.same_task
    assert fitted("finetune", train).shape == (48, 3)
    assert Train.of(X, X[:, 0], X, SHOTS, source_classes=1).regime == "classification"


def test_without_a_source_there_are_the_shots() -> None:
    train = Train.of(None, None, shots=SHOTS, recipe=SHORT)
    assert (train.sources, len(train.target), train.n_classes) == ((), 0, 3)
    assert load("target_only")().fit(train, 0)(train.shots.x).shape == (9, 3)


class Odd(nn.Module):
    """A network of no known make: a batch norm, a branch, dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.second = nn.Linear(6, 7), nn.BatchNorm1d(7), nn.Linear(7, 5)
        self.drop = nn.Dropout(0.1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.second(self.drop(torch.relu(self.norm(self.first(x)))))
        return out


class Recurrent(nn.Module):
    """Sequences (b, t, 6) -> (b, 5); its layer gives a pair."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.GRU(6, 5, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layer(x)[0].mean(1)
        return out


CONVOLUTIONS = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.LazyLinear(6))
BACKBONES = {
    "a module": Odd(),
    "a layer": nn.Linear(6, 5),
    "its class": Odd,
    "doubles": nn.Linear(6, 5).double(),
}


@pytest.mark.parametrize("backbone", BACKBONES.values(), ids=BACKBONES)
@pytest.mark.parametrize("name", ["dann", "coral", "finetune", "lp_ft", "shot"])
def test_any_module_is_a_backbone(name: str, backbone: Any) -> None:
    before = copy.deepcopy(backbone.state_dict()) if isinstance(backbone, nn.Module) else {}
    train = Train.of(X, Y, X + 1, SHOTS, backbone=backbone, recipe=SHORT)
    scores = fitted(name, train)
    assert scores.shape == (48, 3)
    assert torch.equal(scores, fitted(name, train))
    after = backbone.state_dict() if isinstance(backbone, nn.Module) else {}
    assert all(torch.equal(after[key], value) for key, value in before.items())


@pytest.mark.parametrize(
    "name", ["dann", "coral", "finetune", "adapters", "stochnorm", "can_collaborative", "fixmatch"]
)
def test_any_module_is_a_backbone_of_images(name: str) -> None:
    few = (IMAGES[:6], Y[:6])
    train = Train.of(IMAGES, Y[:24], IMAGES, few, backbone=lambda: copy.deepcopy(CONVOLUTIONS), recipe=SHORT)
    assert fitted(name, train).shape == (24, 3)


@pytest.mark.parametrize("name", ["maml", "reptile", "protonet", "finetune"])
@pytest.mark.parametrize("backbone", [Odd, None], ids=["a module", "the harness's"])
def test_episodes_of_plain_arrays(name: str, backbone: Any) -> None:
    train = Train.of_episodes(X, Y, ways=2, shots=3, queries=2, backbone=backbone, recipe=SHORT)
    asked = Labeled.of(-X[:6], Y[:6] % 2)
    learner = load(name)().fit(train, 0)
    assert learner(asked, asked.x).shape == (6, 2)


@pytest.mark.parametrize("name", ["finetune", "source_plus_target", "lora", "target_only"])
@pytest.mark.parametrize("maps", [None, nn.Conv2d(3, 8, 4, stride=4)], ids=["the harness's", "a module"])
def test_boxes_of_plain_arrays(name: str, maps: nn.Module | None) -> None:
    fields = DRAW.integers(0, 255, (4, 3, 32, 32), np.uint8)
    boxes = [[[4, 4, 16, 16, 1], [0, 0, 8, 8, 0]], [], [[4, 4, 16, 16, 1]], np.zeros((0, 5))]
    train = Train.of_boxes(IMAGES, Y[:24], fields, boxes, backbone=maps, recipe=SHORT)
    assert (train.n_classes, train.source_classes, train.regime) == (2, (3,), "detection")
    assert train.shots.y.tolist() == [[1, 0], [-1, -1], [1, -1], [-1, -1]]
    found = load(name)().fit(train, 0)(train.shots.x)
    assert (found.shape[0], found.shape[2]) == (4, 6)


def test_features_of_a_pretrained_module_count_without_a_source() -> None:
    module = nn.Linear(6, 2)
    train = Train.of(None, None, X, SHOTS, backbone=module, pretrained=True, recipe=SHORT)
    assert torch.equal(fitted("prototype", train).argmax(1), nearest_mean(module, train))


def nearest_mean(module: nn.Module, train: Train) -> Tensor:
    with torch.no_grad():
        f, x = module(train.shots.x), module(train.target.x)
    means = torch.stack([f[train.shots.y == k].mean(0) for k in range(3)])
    return torch.cdist(x, means).argmin(1)


def test_a_function_makes_the_same_weights_for_the_same_seed() -> None:
    def weights(seed: int) -> Tensor:
        made: Any = Train.of(X, Y, backbone=Odd, seed=seed).backbone()
        first: Tensor = made.trunk.first.weight
        return first

    assert torch.equal(weights(0), weights(0))
    assert not torch.equal(weights(0), weights(1))


def test_a_method_refuses_a_backbone_that_lacks_what_it_needs() -> None:
    for name, backbone, said in [
        ("lwf", nn.Linear(6, 5), "a checkpoint without its classifier"),
        ("stochnorm", nn.Linear(6, 5), "no batch norm whose statistics move"),
        ("shot", nn.Identity(), "nothing is left to train"),
        ("partial_finetune", nn.Identity(), "the backbone has no layer with weights"),
    ]:
        source: tuple[Any, Any] = (X, Y) if name == "shot" else (None, None)
        with pytest.raises(NotApplicable, match=said):
            fitted(name, Train.of(*source, xt=X, shots=SHOTS, backbone=backbone, recipe=SHORT))


def test_sequences_pass_through_a_recurrent_network_where_a_method_can_take_one() -> None:
    x = np.stack([X, X], 1)
    train = Train.of(x, Y, x, (x[:9], Y[:9]), backbone=Recurrent(), recipe=SHORT)
    for name in ("dann", "coral", "finetune"):
        assert fitted(name, train).shape == (48, 3)
    for name, said in [("delta", "block layer of the backbone gives tuple"), ("fixmatch", "inputs of 2 axes")]:
        with pytest.raises(NotApplicable, match=said):
            fitted(name, train)
    episodes = Train.of_episodes(x, Y, ways=2, shots=2, queries=2, backbone=Recurrent(), recipe=SHORT)
    with pytest.raises(NotApplicable, match="the backbone is recurrent"):
        load("maml")().fit(episodes, 0)


def test_a_backbone_may_have_no_weights() -> None:
    for name in ("dann", "coral", "finetune"):
        assert fitted(name, Train.of(X, Y, X + 1, SHOTS, backbone=nn.Identity(), recipe=SHORT)).shape == (48, 3)


def test_the_recipe_and_the_seed_are_as_given() -> None:
    assert Train.of(X, Y).recipe == Recipe()
    assert asdict(Train.of(X, Y, recipe=SHORT).recipe)["steps"] == 6


BAD: dict[str, tuple[Any, str]] = {
    "too few labels": (lambda: Train.of(X, Y[:9]), "ys: 9 labels for 48 inputs"),
    "labels below 0": (lambda: Train.of(X, Y - 1), "ys: label -1 is below 0; classes are counted from 0"),
    "labels above": (lambda: Train.of(X, Y, n_classes=2), "n_classes is 2, but there is a label 2"),
    "one class": (lambda: Train.of(X, Y * 0), "n_classes is 1: there must be 2 or more"),
    "two kinds": (lambda: Train.of(X, Y, X, (X, X[:, 0])), "some labels are integers and some are floats"),
    "classes of numbers": (lambda: Train.of(X, X[:, 0], n_classes=3), "n_classes is 3, but the labels are floats"),
    "nothing": (lambda: Train.of(None, None, X), "there are neither sources nor shots"),
    "no target class": (lambda: Train.of(X, Y, X, source_classes=3), "n_classes: nothing says how many classes"),
    "too many sources": (lambda: Train.of(X, Y, X, SHOTS, source_classes=(3, 3)), "source_classes is of 2 sources"),
    "source beyond": (
        lambda: Train.of(X, Y, X, SHOTS, source_classes=2),
        "source_classes is 2, but there is a label 2",
    ),
    "sources and labels": (lambda: Train.of((X, X), Y), "xs is of 2 sources and ys of 1; a tuple is several"),
    "a list of sources": (lambda: Train.of([X, X], [Y, Y]), "by 0 and 1 alone; several sources are a tuple of arrays"),
    "widths": (lambda: Train.of(X, Y, X[:, :4]), "xt: shape (48, 4) does not go with that of xs, shape (48, 6)"),
    "kinds": (lambda: Train.of(IMAGES, Y[:24], IMAGES / 255), "xt: inputs are torch.float32, where those of xs are"),
    "ragged": (lambda: Train.of([[1, 2], [3]], [0, 1]), "xs: its rows are not of one shape"),
    "words": (lambda: Train.of(["a", "b"], [0, 1]), "xs: an array of numbers is wanted, not of <U1"),
    "flat": (lambda: Train.of([1, 2], [0, 1]), "xs: inputs are vectors (n, d) or images"),
    "not finite": (lambda: Train.of(X / np.where(X > 0, 1, np.nan), Y), "xs: holds a value that is no finite number"),
    "empty": (lambda: Train.of(X[:0], Y[:0]), "xs: there is no input"),
    "no network": (lambda: Train.of(IMAGES / 255, Y[:24]), "backbone: the built-in ones take vectors (n, d) or uint8"),
    "channels last": (lambda: Train.of(IMAGES.transpose(0, 2, 3, 1), Y[:24]), "backbone: the built-in ones take"),
    "no module": (lambda: Train.of(X, Y, backbone=3), "backbone: an nn.Module is wanted"),  # type: ignore[arg-type]
    "other width": (
        lambda: Train.of(X, Y, backbone=nn.Linear(5, 2)),
        "backbone: it does not take inputs of shape (2, 6)",
    ),
    "maps": (lambda: Train.of(IMAGES, Y[:24], backbone=nn.Conv2d(3, 4, 3)), "backbone: it gives shape (2, 4, 10, 10)"),
    "a pair": (lambda: Train.of(X, Y, backbone=nn.LSTM(6, 2)), "backbone: it gives tuple for inputs of shape (2, 6)"),
    "ways": (lambda: Train.of_episodes(X, Y, ways=1, shots=1, queries=1), "an episode has 2 ways, 1 shot and 1 query"),
    "no source": (lambda: Train.of_episodes(None, None, ways=2, shots=1, queries=1), "x: episodes are drawn from"),
    "numbers": (lambda: Train.of_episodes(X, X[:, 0], ways=2, shots=1, queries=1), "a source's labels are floats"),
    "boxes": (lambda: Train.of_boxes(None, None, IMAGES, []), "boxes: of 0 images, where there are 24"),
    "box outside": (
        lambda: Train.of_boxes(None, None, IMAGES[:1], [[[0, 0, 13, 5, 0]]]),
        "boxes[0]: x1 < x2 and y1 < y2 must lie within the image, 12 x 12 pixels",
    ),
    "box of four": (lambda: Train.of_boxes(None, None, IMAGES[:1], [[[0, 0, 9, 5]]]), "boxes[0]: rows are x1, y1, x2"),
    "no boxes": (lambda: Train.of_boxes(None, None, IMAGES[:1], [[]]), "n_classes is 0: there must be 1 or more"),
    "vectors": (lambda: Train.of_boxes(None, None, X, []), "images: they are (n, channels, height, width)"),
    "features": (
        lambda: Train.of_boxes(None, None, IMAGES[:1], [[[0, 0, 9, 5, 0]]], backbone=nn.Flatten()),
        "backbone: it gives shape (1, 432) for inputs of shape (1, 3, 12, 12), not (n, width, h, w) maps",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_does_not_fit_is_told_in_a_line(name: str) -> None:
    make, said = BAD[name]
    with pytest.raises(ValueError, match=re.escape(said)) as told:
        make()
    assert "\n" not in str(told.value)


def test_the_document_s_example_does_what_it_says() -> None:
    text = (Path(__file__).parent.parent / "docs" / "write_a_method.md").read_text()
    section = text.partition("## Without the harness")[2]
    said: dict[str, Any] = {}
    exec(section.partition("```python")[2].partition("```")[0], said)
    assert said["scores"].shape == (60, 3)
    assert (said["scores"].argmax(1).numpy() == said["ys"]).mean() > 0.9
