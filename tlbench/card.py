"""Read one task card, or say in a sentence what is wrong with it.

A card names either `domains` (a suite: every ordered pair is a task) or `sources` and `target` (one task).
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import permutations
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, ValidationError, model_validator

from tlbench.data import Recipe
from tlbench.mistake import Mistake, suggest

CORE_BUDGETS = (0, 1, 5, 20)
EXTENDED_BUDGETS = (3, 10, 50, 100)
FULL: Literal["full"] = "full"  # every pooled label: the skyline, never ranked
T = TypeVar("T", bound=BaseModel)
Budget = int | Literal["full"]  # labels per class

PARADIGMS = {
    "same-domain-different-task": "same domain, different task",
    "different-domain-same-task": "different domain, same task",
    "different-domain-different-task": "different domain, different task",
    "multi-source": "multi-source",
}


class Quick(BaseModel):
    """What `tlbench run` does when it is given neither budgets nor seeds: a provisional answer."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    budgets: tuple[NonNegativeInt, ...] = (0, 5)
    seeds: PositiveInt = 3


class Card(BaseModel):
    """A task or a suite of tasks. Any change that moves a number bumps `version`."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: str = Field(pattern=r"^[a-z0-9_]+$")
    version: PositiveInt
    paradigm: Literal[
        "same-domain-different-task",
        "different-domain-same-task",
        "different-domain-different-task",
        "multi-source",
    ]
    summary: str
    loader: Literal["embedded", "images", "mat", "svmlight"]
    data: str | None = None  # the dataset card; None for embedded domains
    path: str = "{domain}"  # inside the dataset's folder, one place a domain
    test_path: str | None = None  # the publisher's own test samples, where they are a file apart
    domains: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    target: str | None = None
    classes: tuple[str, ...] = ()  # what the data must hold, in order; () takes what is there
    budgets: tuple[NonNegativeInt, ...] = CORE_BUDGETS
    seeds: PositiveInt = 10
    quick: Quick = Quick()
    draw: Literal["balanced", "proportional"] = "balanced"
    metric: Literal["accuracy"] = "accuracy"
    backbone: str | tuple[str, ...]  # 'convnet', 'none', or pretrained ones: the first whose weights are at hand
    trainable: bool = False  # train the backbone end to end, or freeze it and keep its features
    bottleneck: PositiveInt = 256  # width of the trainable layer over frozen features
    scale: Literal["standard", "rows", "none"] = "standard"  # what happens to frozen features first
    augment: tuple[Literal["shift", "flip", "crop"], ...] = ()
    steps: PositiveInt = 500
    batch: PositiveInt = 32
    lr: float = Field(default=0.01, gt=0)
    weight_decay: float = Field(default=1e-3, ge=0)
    body_lr: float = Field(default=1.0, gt=0)
    license: str
    cite: str

    @model_validator(mode="after")
    def _pairs_make_sense(self) -> Card:
        if bool(self.domains) == bool(self.sources or self.target):
            raise ValueError("name either 'domains' or both 'sources' and 'target'")
        if self.domains and len(set(self.domains)) < max(2, len(self.domains)):
            raise ValueError("'domains' needs at least two different names")
        if not self.domains and not (self.sources and self.target):
            raise ValueError("'sources' and 'target' go together")
        if self.target in self.sources:
            raise ValueError(f"source {self.target!r} is also its target; transfer needs two different domains")
        for domain in (*self.domains, *self.sources, self.target or ""):
            if "-" in domain or "/" in domain or "+" in domain:
                raise ValueError(f"domain {domain!r}: '-', '+' and '/' separate domains in a task's name")
        if not self.backbone:
            raise ValueError("'backbone' names nothing; 'none' takes the features as they are")
        if self.loader != "embedded" and self.data is None:
            raise ValueError("'data' must name a dataset card when the loader is not 'embedded'")
        return self

    @property
    def recipe(self) -> Recipe:
        return Recipe(self.steps, self.batch, self.lr, self.weight_decay, self.body_lr)


@dataclass(frozen=True)
class Task:
    """One source (or several) and one target of a card. Without sources it is what target-only sees."""

    card: Card
    sources: tuple[str, ...]
    target: str
    file: str = ""  # of a card that does not ship with tlbench

    @property
    def name(self) -> str:
        pair = "-".join(["+".join(self.sources), self.target]) if self.sources else self.target
        return f"{self.card.name}/{pair}"

    def without_sources(self) -> Task:
        return Task(self.card, (), self.target, self.file)


def tasks_of(card: Card, file: str = "") -> list[Task]:
    """Every task of a card, in the card's order."""
    if card.domains:
        return [Task(card, (s,), t, file) for s, t in permutations(card.domains, 2)]
    assert card.target is not None
    return [Task(card, card.sources, card.target, file)]


@cache
def card_files() -> dict[str, Path]:
    """Name -> file of every card that ships with tlbench."""
    folder = Path(str(files("tlbench_tasks")))
    return {file.stem: file for file in sorted(folder.glob("*.toml"))}


@cache
def read(file: Path) -> Card:
    """The card in `file`.

    Raises:
        Mistake: no such file, not TOML, an unknown key, a wrong type, a contradiction; with file and line.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Mistake(f"{file}: cannot be read ({error}); give a task's name or a card's path") from None
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise Mistake(f"{file}: not valid TOML: {error}") from None
    return validated(Card, values, text, str(file))


def validated(model: type[T], values: dict[str, Any], text: str, where: str) -> T:
    """`values` as a `model`, or the first complaint as one line naming file, line and key."""
    try:
        return model.model_validate(_tuples(values))
    except ValidationError as error:
        first = error.errors()[0]
        key = str(first["loc"][0]) if first["loc"] else ""
        line = next((i for i, s in enumerate(text.splitlines(), 1) if re.match(rf"\s*{re.escape(key)}\s*=", s)), 0)
        place = f"{where}:{line}" if key and line else where
        raise Mistake(f"{place}: {_complaint(first, key, model)}") from None


def _complaint(first: Any, key: str, model: type[BaseModel]) -> str:
    if first["type"] == "extra_forbidden":
        inner = first["loc"][-1]
        known = model.model_fields if len(first["loc"]) == 1 else {}
        return f"unknown key {str(inner)!r}{suggest(str(inner), known)}"
    if first["type"] == "missing":
        return f"key {key!r} is missing; every card needs it"
    message = str(first["msg"]).removeprefix("Value error, ")
    return f"{key!r} is {first['input']!r}: {message}" if key else message


def _tuples(value: Any) -> Any:
    """TOML arrays as tuples, which is what the strict, frozen models hold."""
    if isinstance(value, dict):
        return {k: _tuples(v) for k, v in value.items()}
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value


def find(name: str) -> list[Task]:
    """The tasks that a name means: `digits` (all), `digits/fonts-photos` (one), or `my/card.toml`.

    Raises:
        Mistake: nothing of that name; says what is close.
    """
    if name.endswith(".toml"):
        return tasks_of(read(Path(name)), str(Path(name).resolve()))
    suite, _, pair = name.partition("/")
    known = card_files()
    if suite not in known:
        raise Mistake(f"unknown task {name!r}{suggest(suite, known)}")
    tasks = tasks_of(read(known[suite]))
    if not pair:
        return tasks
    chosen = [task for task in tasks if task.name == name]
    if not chosen:
        raise Mistake(f"unknown pair {pair!r} of task {suite!r}{suggest(name, (t.name for t in tasks))}")
    return chosen


def named(name: str, file: str = "") -> Task:
    """The one task of a name that a plan or a row holds; `suite/target` is the task without its sources."""
    card = read(Path(file)) if file else find(name.partition("/")[0])[0].card
    tasks = tasks_of(card, file)
    for task in (*tasks, *(t.without_sources() for t in tasks)):
        if task.name == name:
            return task
    raise Mistake(f"unknown task {name!r}{suggest(name, (t.name for t in tasks))}")
