"""The small sets on which methods are asked for the answers that guard their versions, and the asking.

Everything here runs methods: only a worker's process may call it.
"""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from tlbench.data import Labeled, Recipe, Train, Unlabeled
from tlbench.errors import NotApplicable
from tlbench.methods import loader
from tlbench.methods.versions import Answers
from tlbench.training import backbones
from tlbench.training import networks as nets
from tlbench.training.fine_tuning import FineTuning
from tlbench.training.meta import HeadLearner
from tlbench.training.networks import Networks
from tlbench.training.trainer import ERM, Batch, supervised_loss
from tlbench.verification.fixtures import LOOKS, Change, Fixture, fixtures

SEED = 7
DIGITS = 8  # of the largest score, that are kept of each
ASKED = 8  # inputs of a set
SHOWN = 8  # classes of an input, or boxes
RECIPE = Recipe(steps=5, batch=16, adapt_steps=3)  # progress runs from 0 to 1 in five steps too
CHANGES = {  # what is asked of each kind of problem
    "5 labels a class": Change(),
    "no label": Change(k=0),
    "two sources": Change(sources=2),
    "other classes": Change(other_task=True),
    "no source": Change(sources=0),
}
CONFIDENT = Recipe(steps=8, batch=16, lr=0.3)  # at which a threshold of confidence is passed


def shipped(name: str) -> Answers:
    """Of a method that ships: its default fields, and its answers on every probe that it can be asked."""
    cls = loader.load(name)
    said = {part: frozenset(getattr(cls, part, ())) for part in ("needs", "ignores")}
    regimes = sorted(getattr(cls, "regimes", {"classification"}))
    return _asked(cls(), regimes, said["needs"], said["ignores"])


def toolkit() -> Answers:
    """Of the plainest method on each part of what methods are built of, and of shipped ones on the shared numerics."""
    found: Answers = {"fields": {}, "probes": {}}
    for name in importlib.import_module("tlbench_baselines._toolkit").RESTING:
        found["probes"] |= {f"{name}: {probe}": scores for probe, scores in shipped(name)["probes"].items()}
    for part, method, regimes, needs in (
        ("trainer", ERM(), ("classification", "regression", "episodes", "detection", "multilabel"), ()),
        ("fine-tuning", Plain(), ("classification", "episodes"), ("shots",)),
        ("meta-learning", Means(), ("classification", "episodes"), ("sources", "shots")),
    ):
        own = _asked(method, regimes, frozenset(needs), frozenset())
        found["fields"] |= {f"{part}: {name}": value for name, value in own["fields"].items()}
        found["probes"] |= {f"{part}: {name}": scores for name, scores in own["probes"].items()}
    return found


def networks() -> Answers:
    """Features of each kind of network that a card may name, with weights drawn at random, training and not."""
    draw = torch.Generator().manual_seed(0)
    x = torch.rand(ASKED, 12, generator=draw) * 9
    images = (torch.rand(ASKED, 3, 32, 32, generator=draw) * 255).to(torch.uint8)
    bottleneck: dict[str, Any] = {"kind": "bottleneck", "width": 8}
    pretrained: dict[str, Any] = {
        "mean": [0.5] * 3,
        "std": [0.25] * 3,
        "size": 32,
        "args": {},
        "augment": (),
        "fixed_norm": False,
    }
    timm = {**pretrained, "kind": "timm", "timm": "mobilenetv2_050"}
    specs: dict[str, tuple[Tensor, dict[str, Any]]] = {
        **{f"bottleneck, {scale}": (x, {**bottleneck, "scale": scale}) for scale in ("standard", "rows", "none")},
        **{f"convnet, {kind}": (images, {"kind": "convnet", "augment": (kind,)}) for kind in ("shift", "flip", "crop")},
        "fieldnet": (images, {"kind": "fieldnet", "augment": ()}),
        "timm": (images, timm),
        "timm with a neck": (images, {**timm, "neck": 8, "fixed_norm": True}),
        "resnet20": (images, {**pretrained, "kind": "resnet20", "augment": ("crop",)}),
    }
    found = {}
    for name, (inputs, spec) in specs.items():
        net = nets.build(spec, [inputs], SEED)
        for mode in (True, False):
            torch.manual_seed(SEED)
            net.train(mode)
            with torch.no_grad():
                found[f"{name}, {'training' if mode else 'as it predicts'}"] = centred(net(inputs)[:, :SHOWN])
    found["timm from a file, half of it frozen"] = _half_frozen(timm, images)
    return {"fields": {}, "probes": found}


def _half_frozen(spec: dict[str, Any], images: Tensor) -> list[list[float]]:
    """Features of a pretrained network after a pass in training, its first half frozen; and whether it says that it is
    pretrained."""
    from safetensors.torch import save_file

    with tempfile.TemporaryDirectory() as folder:
        file = f"{folder}/weights.safetensors"
        state = backbones.timm_trunk(spec).state_dict()
        save_file({name: value.contiguous() for name, value in state.items()}, file)
        net = nets.build({**spec, "weights": file}, [images], SEED)
    parameters = list(net.trunk.parameters())
    for p in parameters[: len(parameters) // 2]:
        p.requires_grad_(False)
    with torch.no_grad():
        net.train()(images)
        features = net.eval()(images)[:, :SHOWN]
    return [*centred(features), [float(net.pretrained)]]


@dataclass(frozen=True)
class Plain(FineTuning):
    """Fine-tuning that adds nothing."""

    def loss(self, net: Networks, batch: Batch, progress: float) -> Tensor:
        return supervised_loss(net, batch)


@dataclass(frozen=True)
class Means(HeadLearner):
    """Queries by their products with the classes' sums."""

    def head(self, net: Networks, fs: Tensor, ys: Tensor, fq: Tensor, n_classes: int) -> Tensor:
        return fq @ (nn.functional.one_hot(ys, n_classes).to(fs.dtype).mT @ fs).mT / fs.shape[-1]


def _asked(method: Any, regimes: Sequence[str], needs: frozenset[str], ignores: frozenset[str]) -> Answers:
    found: dict[str, Any] = {}
    for name, probe in _probes(regimes, needs):
        torch.manual_seed(SEED)
        try:
            found[name] = centred(probe.answer(method.fit(left(probe.train, ignores), SEED))[:, :SHOWN])
        except NotApplicable as refusal:
            found[name] = str(refusal)
    return {"fields": asdict(method), "probes": found}


def _probes(regimes: Sequence[str], needs: frozenset[str]) -> Iterator[tuple[str, Fixture]]:
    for title, change in CHANGES.items():
        if ("sources" in needs and not change.sources) or ("shots" in needs and not change.k):
            continue
        if "same task" in needs and change.other_task:
            continue
        sets = list(fixtures([r for r in regimes if r in LOOKS], change))
        for one in [*sets, *(_fields(change) if "detection" in regimes else ())]:
            yield f"{one.name}, {title}", replace(one, train=replace(one.train, recipe=RECIPE), test=one.test[:ASKED])
    for one in fixtures([r for r in regimes if r == "classification"], Change()):
        if "numbers" in one.name:
            train = replace(one.train, recipe=CONFIDENT)
            yield f"{one.name}, a high learning rate", replace(one, train=train, test=one.test[:ASKED])


def _fields(change: Change) -> Iterator[Fixture]:
    """Images of 32 x 32 with a square of each of two kinds, and a source of crops of their kinds."""
    if change.other_task or change.sources > 1 or not change.k:
        return
    draw = torch.Generator().manual_seed(0)

    def noise(*shape: int) -> Tensor:
        return 90 + 40 * torch.rand(*shape, generator=draw)

    def fields(n: int) -> tuple[Tensor, Tensor]:
        x, corners = noise(n, 3, 32, 32), torch.randint(2, 10, (n, 2, 2), generator=draw)
        corners[:, 1] += 12
        for i in range(n):
            for kind, (left_, top) in enumerate(corners[i].tolist()):
                x[i, kind, top : top + 8, left_ : left_ + 8] += 110
        return x.to(torch.uint8), torch.cat([corners, corners + 8], -1).float()

    x, boxes = fields(2 * change.k)
    y, y_crops = torch.arange(2).repeat(len(x), 1), torch.arange(24) % 2
    crops = noise(24, 3, 12, 12)
    crops[torch.arange(24), y_crops, 2:10, 2:10] += 110
    sources = (Labeled(crops.to(torch.uint8), y_crops),) * change.sources
    pool, test = fields(8)[0], fields(4)[0]
    shown = [*(s.x for s in sources), pool]
    train = Train(
        sources, Unlabeled(pool), Labeled(x, y, boxes), 2,
        lambda: nets.build({"kind": "fieldnet", "augment": ()}, shown, 0), RECIPE, regime="detection",
        source_classes=(2,) * change.sources,
    )  # fmt: skip
    yield Fixture("detection in fields", train, test)


def left(train: Train, ignores: frozenset[str]) -> Train:
    """`train` without what the method ignores, as the harness gives it."""
    if "sources" in ignores:
        train = replace(train, sources=(), source_classes=())
    none = Labeled(train.shots.x[:0], train.shots.y[:0])
    return replace(train, shots=none) if "shots" in ignores else train


def centred(scores: Tensor) -> list[list[float]]:
    """(n, ...) scores less their row's mean, where a row has several: what adds to all classes alike says nothing. To
    eight digits of the largest."""
    found = scores.detach().cpu().double().flatten(1)
    if found.shape[1] > 1:
        found = found - found.mean(1, keepdim=True)
    digits = DIGITS - int(f"{float(found.abs().max()):e}".partition("e")[2])
    return [[round(value, digits) + 0.0 for value in row] for row in found.tolist()]
