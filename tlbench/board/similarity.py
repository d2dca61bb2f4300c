"""How like two tasks are, by what their cards say and by what can be measured without a test label.

The rule, in this order, is a sum of plain differences:

    regime      another one is never alike
    paradigm    another one: 40, so that all of the same come first
    family      of the data; another one: 20, so that of a paradigm all of the same come first
    target      another domain: 2; domains of another family always are
    backbone    trained from scratch, pretrained and fine-tuned, pretrained and frozen, or none at all; another of
                these: 2; the same of these with another network: 1
    input       images, texts or numbers; another kind: 2
    classes     |log2 of the ratio|
    features    |log10 of the ratio|, where both are tables of numbers
    source      |log10 of the ratio| of the source's samples
    shift       |difference| of the proxy A-distances (0..2)

What is not known of one of them counts 1. A user's own card is of the family that it says as its `group`, or of the
one that its datasets are of; else of its own, and so as far from every family of the board. `shift` says what the
distance is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

from tlbench.board import domain_distance
from tlbench.errors import Mistake
from tlbench.results import frame
from tlbench.results.row import Row
from tlbench.tasks import card, loaders, registry, split_digests
from tlbench.tasks.card import Card, Task
from tlbench.tasks.datasets.pretrained import BUILT_IN

OTHER_PARADIGM, OTHER_FAMILY = 40.0, 20.0  # each more than all that stands below it in the rule comes to
OTHER_TARGET, OTHER_TRAINING, OTHER_NETWORK, OTHER_INPUT, UNKNOWN = 2.0, 2.0, 1.0, 2.0, 1.0
RAW = "no network"


@dataclass(frozen=True)
class Sketch:
    """What is compared of a task; None where it is not known."""

    task: str
    regime: str
    paradigm: str
    input: str  # images, texts or numbers
    classes: int | None
    features: int | None  # of a table of numbers
    source: int | None  # samples of all sources
    shift: float | None  # proxy A-distance of source and target, 0..2
    family: str  # of its data
    target: str  # the domain
    network: tuple[str, ...]  # one of these
    training: str | None  # of the network: from scratch, fine-tuned, frozen; or no network


def differences(a: Sketch, b: Sketch) -> dict[str, float] | None:
    """What each part of the rule adds; None where the regimes differ."""
    if a.regime != b.regime:
        return None
    tables = a.input == b.input == "numbers"
    return {
        "paradigm": 0.0 if a.paradigm == b.paradigm else OTHER_PARADIGM,
        "family": 0.0 if _relatives(a, b) else OTHER_FAMILY,
        "target": 0.0 if _relatives(a, b) and a.target == b.target else OTHER_TARGET,
        "backbone": _backbone(a, b),
        "input": 0.0 if a.input == b.input else OTHER_INPUT,
        "classes": _ratio(a.classes, b.classes, 2),
        "features": _ratio(a.features, b.features, 10) if tables else 0.0,
        "source": _ratio(a.source, b.source, 10),
        "shift": UNKNOWN if a.shift is None or b.shift is None else abs(a.shift - b.shift),
    }


def _relatives(a: Sketch, b: Sketch) -> bool:
    return a.family == b.family or a.task.partition("/")[0] == b.task.partition("/")[0]


def _backbone(a: Sketch, b: Sketch) -> float:
    if a.training is None or b.training is None:
        return UNKNOWN
    if a.training != b.training:
        return OTHER_TRAINING
    return 0.0 if set(a.network) & set(b.network) else OTHER_NETWORK


def _ratio(a: int | None, b: int | None, base: float) -> float:
    return abs(math.log(a / b, base)) if a and b else UNKNOWN


def kind(backbone: str) -> str:
    """What goes into a network of that name."""
    return {"none": "numbers", "hashed": "texts"}.get(backbone, "images")


def training(network: str, trainable: bool | None) -> str | None:
    """How a network of that name comes to its weights; None where nobody says whether it is trained."""
    if network in BUILT_IN:
        return RAW if kind(network) != "images" else "from scratch"
    return None if trainable is None else "fine-tuned" if trainable else "frozen"


def family(c: Card) -> str:
    """The dataset family of a card; a user's own is of that of the cards that ship on the same data."""
    if c.name in registry.card_files():
        return c.group
    shipped = [registry.read(file) for file in registry.card_files().values()]
    known = {name: s.group for s in shipped for name in (*s.datasets, s.group)}
    return next((known[name] for name in (c.group, *c.datasets) if name in known), c.group)


def of_row(row: Row) -> Sketch:
    """Of a task whose card is not at hand."""
    return Sketch(
        row.task, row.regime, row.paradigm, kind(row.backbone), None, None, None, None,
        frame.OPEN.family(row.suite), row.target, (row.backbone,), training(row.backbone, None),
    )  # fmt: skip


def of_task(task: Task, root: Path | None = None, extract: bool = False) -> Sketch:
    """Of a task whose card is at hand; its data are measured where they are here.

    Args:
        root: where the user says the data is
        extract: also where images have first to go through the network, which takes a while
    """
    c = task.card
    here = all(loaders.available(c, d, root) and not loaders.drawn_anew(c, d) for d in (*task.sampled, task.target))
    sizes = split_digests.sizes(c.name) if split_digests.ships(c) else {}
    classes, source = sizes.get(task.target, {}).get("classes"), None
    if task.sampled and all(d in sizes for d in task.sampled):
        source = sum(sizes[d]["samples"] for d in task.sampled)
    features = distance = None
    if here:
        if classes is None or source is None:
            classes = len(loaders.load(c, task.target, root).classes)
            source = sum(len(loaders.load(c, d, root)) for d in task.sampled)
        features, distance = domain_distance.measured(task, root, extract)
    networks = (c.backbone,) if isinstance(c.backbone, str) else c.backbone
    input = "texts" if c.text_encoded else kind(networks[0])
    return Sketch(
        task.name, c.regime, c.paradigm, input, classes, features, source, distance, family(c), task.target, networks,
        training(networks[0], c.trainable),
    )  # fmt: skip


def of_name(row: Row, root: Path | None) -> Sketch:
    """Of a task of the board, by one of its rows."""
    if row.suite not in registry.card_files():
        return of_row(row)
    try:
        return replace(of_task(registry.named(row.task), root), network=(row.backbone,))
    except Mistake:  # its data are here but not as they should be: then without them
        return of_row(row)


def as_words(s: Sketch) -> str:
    """A sketch in a line."""
    sizes = {"classes": s.classes, "features": s.features, "source samples": s.source}
    network = [] if s.training in (RAW, None) else [f"{' or '.join(s.network)} ({s.training})"]
    parts = [s.regime, card.PARADIGMS[s.paradigm], s.input, *network, *(f"{n:,} {of}" for of, n in sizes.items() if n)]
    return ", ".join([*parts, "domain distance unknown" if s.shift is None else f"domain distance {s.shift:.2f} of 2"])
