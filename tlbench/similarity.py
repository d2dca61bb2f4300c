"""How like two tasks are, by what their cards say and by what can be measured without a test label.

The rule, in this order, is a sum of plain differences:

    regime      another one is never alike
    paradigm    another one: 10, so that all of the same come first
    input       images, texts or numbers; another kind: 2
    classes     |log2 of the ratio|
    features    |log10 of the ratio|, where both are tables of numbers
    source      |log10 of the ratio| of the source's samples
    shift       |difference| of the proxy A-distances (0..2)

What is not known of one of them counts 1. `shift` says what the distance is.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path

from tlbench import card, frozen, loaders, registry, shift
from tlbench.card import Task
from tlbench.mistake import Mistake
from tlbench.row import Row

OTHER_PARADIGM, OTHER_INPUT, UNKNOWN = 10.0, 2.0, 1.0


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


def differences(a: Sketch, b: Sketch) -> dict[str, float] | None:
    """What each part of the rule adds; None where the regimes differ."""
    if a.regime != b.regime:
        return None
    tables = a.input == b.input == "numbers"
    return {
        "paradigm": 0.0 if a.paradigm == b.paradigm else OTHER_PARADIGM,
        "input": 0.0 if a.input == b.input else OTHER_INPUT,
        "classes": _ratio(a.classes, b.classes, 2),
        "features": _ratio(a.features, b.features, 10) if tables else 0.0,
        "source": _ratio(a.source, b.source, 10),
        "shift": UNKNOWN if a.shift is None or b.shift is None else abs(a.shift - b.shift),
    }


def _ratio(a: int | None, b: int | None, base: float) -> float:
    return abs(math.log(a / b, base)) if a and b else UNKNOWN


def kind(backbone: str) -> str:
    """What goes into a network of that name."""
    return {"none": "numbers", "hashed": "texts"}.get(backbone, "images")


def of_row(row: Row) -> Sketch:
    """Of a task whose card is not at hand."""
    return Sketch(row.task, row.regime, row.paradigm, kind(row.backbone), None, None, None, None)


def of_task(task: Task, root: Path | None = None, extract: bool = False) -> Sketch:
    """Of a task whose card is at hand; its data are measured where they are here.

    Args:
        root: where the user says the data is
        extract: also where images have first to go through the network, which takes a while
    """
    c = task.card
    here = all(loaders.available(c, d, root) and not loaders.drawn_anew(c, d) for d in (*task.sampled, task.target))
    sizes = frozen.sizes(c.name) if frozen.ships(c) else {}
    classes, source = sizes.get(task.target, {}).get("classes"), None
    if task.sampled and all(d in sizes for d in task.sampled):
        source = sum(sizes[d]["samples"] for d in task.sampled)
    features = distance = None
    if here:
        if classes is None or source is None:
            classes = len(loaders.load(c, task.target, root).classes)
            source = sum(len(loaders.load(c, d, root)) for d in task.sampled)
        features, distance = shift.measured(task, root, extract)
    input = "texts" if c.text_encoded else kind(c.backbone if isinstance(c.backbone, str) else c.backbone[0])
    return Sketch(task.name, c.regime, c.paradigm, input, classes, features, source, distance)


def of_name(row: Row, root: Path | None) -> Sketch:
    """Of a task of the board, by one of its rows."""
    if row.suite not in registry.card_files():
        return of_row(row)
    try:
        return of_task(registry.named(row.task), root)
    except Mistake:  # its data are here but not as they should be: then without them
        return of_row(row)


def as_words(s: Sketch) -> str:
    """A sketch in a line."""
    known = {k: v for k, v in asdict(s).items() if v is not None and k not in ("task", "regime", "paradigm", "input")}
    known.pop("shift", None)
    parts = [s.regime, card.PARADIGMS[s.paradigm], s.input, *(f"{v:,} {_NAMES[k]}" for k, v in known.items())]
    return ", ".join([*parts, "domain distance unknown" if s.shift is None else f"domain distance {s.shift:.2f} of 2"])


_NAMES = {"classes": "classes", "features": "features", "source": "source samples"}
