"""Task cards: what one says, the tasks that it makes, and the first complaint about a file that is none.

A card names `domains` (a suite: every ordered pair is a task), or `pairs`, or `sources` and `target` (one task). Where
a domain comes from it says for all of them, or under [at.NAME] for one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, ValidationError, model_validator

from tlbench.data import Recipe, Regime
from tlbench.errors import UsageError, position, suggest
from tlbench.tasks import problems
from tlbench.tasks.metrics import Metric
from tlbench.tasks.problems.problem import Problem
from tlbench.tasks.task_name import TaskName, split_sources

Loader = Literal[
    "embedded", "generated", "weights", "images", "lists", "parquet", "parquet_splits", "cub", "aircraft", "mat",
    "matfolder", "svmlight", "idx", "usps", "medmnist", "omniglot", "omniglot_runs", "voc", "voc_cells", "voc_tiles",
    "voc_tiles_near", "lines", "jsonl", "csv", "texts", "table", "npz", "npy",
]  # fmt: skip
IMAGE_LOADERS = (  # of image files, decoded to the backbone's size
    "images", "lists", "parquet", "parquet_splits", "cub", "aircraft",
)  # fmt: skip
TEXT_LOADERS = ("lines", "jsonl", "csv", "texts")
HOMELESS = ("embedded", "generated", "weights")  # loaders that need no files


class View(BaseModel):
    """Which classes of a domain make a task: some of them, or groups of them under new names."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    keep: tuple[str, ...] = ()  # these, in this order; () keeps all
    groups: dict[str, tuple[str, ...]] = {}  # new class -> old classes; what is in no group is left out


class Place(BaseModel):
    """Where a domain comes from. A card says it for all of its domains, and under [at.NAME] for one of them."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    loader: Loader | None = None
    data: str | None = None  # the dataset card; None for what needs no download
    path: str = "{domain}"  # inside the dataset's folder
    test_path: str | None = None  # the publisher's own test samples, where they are a file apart
    more: tuple[str, ...] = ()  # further files of training texts
    root: str = ""  # the folder inside the dataset's from which listed paths start
    classes: tuple[str, ...] = ()  # what the data must hold, in order; () takes what is there
    view: View = View()
    take: PositiveInt | None = None  # only so many samples, the first in hash order
    part: str | None = None  # the domain's name in a file that holds several; None takes the card's
    only: tuple[str, ...] = ()  # of Omniglot, these alphabets; of tiles, these splits of ImageSets/Main
    without: tuple[str, ...] = ()  # of Omniglot, not these alphabets
    names: str | None = None  # a table of the labels' names, inside the dataset's folder
    label: str = "label"  # the column of a table that holds the label
    text: str | None = None  # the column of a table that holds a text to encode; None takes the numbers
    drop: tuple[str, ...] = ()  # columns of a table that are no features

    def __hash__(self) -> int:  # a dict, which views hold, has none
        return hash((self.loader, self.data, self.path))


T = TypeVar("T", bound=BaseModel)


def validated(model: type[T], values: dict[str, Any], text: str, where: str) -> T:
    """`values` as a `model`, or the first complaint as one line naming file, line and key."""
    try:
        return model.model_validate(_tuples(values))
    except ValidationError as error:
        first = error.errors()[0]
        keys = [str(part) for part in first["loc"]]
        if table := re.match(r".*\[at\.(\w+)\] is no domain", str(first["msg"])):
            keys = ["at", table[1]]
        said = _complaint(first, str(first["loc"][0]) if first["loc"] else "", model)
        raise UsageError(f"{position(where, text, *keys)}: {said}") from None


def _complaint(first: Any, key: str, model: type[BaseModel]) -> str:
    if first["type"] == "extra_forbidden":
        inner = first["loc"][-1]
        known = model.model_fields if len(first["loc"]) == 1 else Place.model_fields if key == "at" else {}
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


CORE_BUDGETS = (0, 1, 5, 20)
EXTENDED_BUDGETS = (3, 10, 50, 100)
FULL: Literal["full"] = "full"  # every pooled label: the skyline, never ranked
Budget = int | Literal["full"]  # labels per class; in all where there are numbers, images where there are boxes
SOURCE_SUFFIX = "_source"  # names a domain in its role as the source, where it is the target too

PARADIGMS = {
    "same-domain-different-task": "same domain, different task",
    "different-domain-same-task": "different domain, same task",
    "different-domain-different-task": "different domain, different task",
    "multi-source": "multi-source",
}
RANKED_FIRST = "same task"  # the kind of tasks that the board's first tables are of
SAME_TASK = ("different-domain-same-task", "multi-source")  # paradigms whose source labels mean the target's classes


def titled(paradigm: str, regime: str) -> str:
    """A paradigm in words, and the regime where that is not classification."""
    return PARADIGMS[paradigm] if problems.of(regime).headline else f"{PARADIGMS[paradigm]}: {regime}"


def kind(paradigm: str, regime: str) -> str:
    """The tasks that a task is ranked among: 'same task', which every method of classification can be asked about, or
    those of its paradigm and regime. Points of different kinds are never meaned."""
    return RANKED_FIRST if paradigm in SAME_TASK and problems.of(regime).headline else titled(paradigm, regime)


class Quick(BaseModel):
    """What `tlbench run` does when it is given neither budgets nor seeds: a provisional answer."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    budgets: tuple[NonNegativeInt, ...] = (0, 5)
    seeds: PositiveInt = 3


class EpisodeRule(BaseModel):
    """Few-shot episodes: how many classes, queries a class, and episodes; the budget is the shots a class."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    ways: int = Field(default=5, ge=2)
    queries: PositiveInt = 15
    count: PositiveInt = 600
    steps: PositiveInt = 50  # gradient steps a learner may take on one support set


class Card(Place):
    """A task or a suite of tasks. Any change that moves a number bumps `version`."""

    name: str = Field(pattern=r"^[a-z0-9_]+$")
    version: PositiveInt
    paradigm: Literal[
        "same-domain-different-task",
        "different-domain-same-task",
        "different-domain-different-task",
        "multi-source",
    ]
    summary: str
    loader: Loader
    regime: Regime = "classification"
    domains: tuple[str, ...] = ()  # every ordered pair; each by itself in one domain; all others to one in multi-source
    pairs: tuple[tuple[str, str], ...] = ()  # or the pairs one by one; 'a+b' are two sources
    sources: tuple[str, ...] = ()  # or one task
    target: str | None = None
    at: dict[str, Place] = Field(default={})
    source_view: View = View()
    target_view: View = View()
    budgets: tuple[NonNegativeInt, ...] = CORE_BUDGETS
    seeds: PositiveInt = 10
    quick: Quick = Quick()
    draw: Literal["balanced", "proportional"] = "balanced"
    test_most: PositiveInt = 5000  # test samples at most
    # Excluded from digests of a card: the key of a row names the ranked metric itself.
    metrics: tuple[str, ...] = Field(default=(), exclude=True)  # the first is ranked; () takes the problem type's order
    group: str = Field(default="", exclude=True)  # of cards on the same samples; no name takes the datasets' names
    protocol: Literal["tlbench", "published"] = "tlbench"  # who is labelled and tested; see `split`
    episodes: EpisodeRule = EpisodeRule()
    ranked: bool = True  # on the leaderboard; tasks with known truth are not
    backbone: str | tuple[str, ...]  # one of `list backbones`, or several: the first whose weights are at hand
    trainable: bool = False  # train the backbone end to end, or freeze it and keep its features
    side: PositiveInt | None = None  # of a trainable backbone's images, in pixels; None takes the backbone's
    bottleneck: PositiveInt = 256  # width of the trainable layer over frozen features
    neck: NonNegativeInt = 0  # width of a new layer over a trained, pretrained backbone, at the full rate; 0: none
    scale: Literal["standard", "rows", "domain", "none"] = "standard"  # what happens to frozen features first
    augment: tuple[Literal["shift", "flip", "crop"], ...] = ()
    steps: PositiveInt = 500
    batch: PositiveInt = 32
    lr: float = Field(default=0.01, gt=0)
    weight_decay: float = Field(default=1e-3, ge=0)
    body_lr: float = Field(default=1.0, gt=0)
    decay: float = Field(default=10.0, ge=0)  # of the learning rate: lr / (1 + decay * progress)^0.75
    license: str
    cite: str

    def __hash__(self) -> int:
        return hash((self.name, self.version))

    @model_validator(mode="after")
    def _tasks_make_sense(self) -> Card:
        one = bool(self.sources or self.target)
        if bool(self.domains) + bool(self.pairs) + one != 1:
            raise ValueError("name either 'domains', or 'pairs', or both 'sources' and 'target'")
        least = 1 if self.within else 2
        if self.domains and len(set(self.domains)) < max(least, len(self.domains)):
            raise ValueError(f"'domains' needs at least {least} different names")
        if one and not (self.sources and self.target):
            raise ValueError("'sources' and 'target' go together")
        for sources, target in _pairs(self):
            if target in sources:
                raise ValueError(f"source {target!r} is also its target; transfer needs two different domains")
            for domain in (*sources, target):
                if not re.fullmatch(r"\w+", domain):
                    raise ValueError(f"domain {domain!r}: letters, digits and '_' make a domain's name")
        for name in self.at:
            if name not in self.all_domains:
                raise ValueError(f"[at.{name}] is no domain of this card{suggest(name, self.all_domains)}")
        if self.protocol == "published" and self.ranked:
            raise ValueError("protocol = 'published' is for tables to be held against; say ranked = false")
        if self.scale == "domain" and (self.protocol != "published" or self.trainable):
            raise ValueError("scale = 'domain' sees the test inputs: it is for published protocols on fixed features")
        if not self.backbone:
            raise ValueError("'backbone' names nothing; 'none' takes the features as they are")
        return self

    @model_validator(mode="after")
    def _places_make_sense(self) -> Card:
        for domain in self.all_domains:
            place = self.place(domain)
            if place.data is None and place.loader not in HOMELESS and not Path(place.path).is_absolute():
                raise ValueError(f"'data' must name a dataset card when the loader is {place.loader!r}")
            if place.loader in (*IMAGE_LOADERS, *TEXT_LOADERS) and self.scale == "domain":
                raise ValueError(f"scale = 'domain' takes tables of features; {domain!r} has none")
            if place.loader in IMAGE_LOADERS and self.backbone in ("convnet", "fieldnet") and not self.side:
                raise ValueError(f"'side' must say to how many pixels images are made for {self.backbone!r}")
        if self.neck and (not self.trainable or self.backbone in ("convnet", "fieldnet")):
            raise ValueError("'neck' is a layer over a pretrained backbone that is trained; leave it out")
        if self.weights_are_source and not self.trainable:
            raise ValueError("a source that is a checkpoint needs 'trainable = true': target-only starts without it")
        return self

    @model_validator(mode="after")
    def _problem_is_known(self) -> Card:
        if self.regime not in problems.PROBLEMS:
            there = ", ".join(problems.PROBLEMS)
            raise ValueError(f"regime {self.regime!r} is none of {there}{suggest(self.regime, problems.PROBLEMS)}")
        known = {m.name: m for m in self.problem.metrics}
        for name in self.metrics:
            if name not in known:
                raise ValueError(f"metric {name!r}: {self.regime} has {', '.join(known)}{suggest(name, known)}")
        if self.metrics and not known[self.metrics[0]].higher_is_better:
            raise ValueError(f"metric {self.metrics[0]!r} cannot be ranked, less of it is better; name it second")
        return self

    @model_validator(mode="after")
    def _group_is_known(self) -> Card:
        """A rule that learns from other cards must learn nothing from those on the same samples."""
        if not self.group:
            object.__setattr__(self, "group", "+".join(sorted(self.datasets)) or self.name)
        return self

    @property
    def within(self) -> bool:
        """Whether each domain is source and target at once, with two tasks on it."""
        return self.paradigm == "same-domain-different-task"

    @property
    def same_task(self) -> bool:
        """Whether source labels mean the target's classes."""
        return self.paradigm in SAME_TASK

    @property
    def problem(self) -> Problem:
        """The problem type of its target."""
        return problems.of(self.regime)

    @property
    def measured(self) -> tuple[Metric, ...]:
        """The metrics that a row holds: those that the card names, then the others of its problem type."""
        own = {m.name: m for m in self.problem.metrics}
        return tuple(own[name] for name in dict.fromkeys((*self.metrics, *own)))

    @property
    def metric(self) -> str:
        """The name of the one that is ranked."""
        return self.measured[0].name

    @property
    def all_domains(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(d for sources, target in _pairs(self) for d in (*sources, target)))

    @property
    def weights_are_source(self) -> bool:
        """Whether the pretrained weights belong to the source, so that target-only starts from random ones."""
        return any(self.place(d).loader == "weights" for d in self.all_domains)

    @property
    def text_encoded(self) -> bool:
        """Whether its samples are texts."""
        return all(p.loader in TEXT_LOADERS or p.text is not None for p in map(self.place, self.all_domains))

    def place(self, domain: str) -> Place:
        """Where a domain comes from: [at.NAME] over the card's own keys."""
        base = {name: getattr(self, name) for name in Place.model_fields}
        is_source = self.within and domain.endswith(SOURCE_SUFFIX)
        home = domain.removesuffix(SOURCE_SUFFIX) if is_source else domain
        base["path"] = base["path"].replace("{domain}", home)
        base["root"] = base["root"].replace("{domain}", home)
        if base["test_path"]:
            base["test_path"] = base["test_path"].replace("{domain}", home)
        base["more"] = tuple(m.replace("{domain}", home) for m in base["more"])
        if self.within and self.domains:
            base["view"] = self.source_view if is_source else self.target_view
        own = self.at.get(domain) or self.at.get(home)
        return Place(**{**base, **(own.model_dump(exclude_unset=True) if own else {})})

    @property
    def datasets(self) -> tuple[str, ...]:
        """The dataset cards that its domains come from."""
        return tuple(
            dict.fromkeys(p.data for p in map(self.place, self.all_domains) if p.data and p.loader not in HOMELESS)
        )

    @property
    def recipe(self) -> Recipe:
        return Recipe(self.steps, self.batch, self.lr, self.weight_decay, self.body_lr, self.episodes.steps, self.decay)


def _pairs(c: Card) -> list[tuple[tuple[str, ...], str]]:
    """(sources, target) of every task of a card, in its order."""
    if c.domains and c.within:
        return [((d + SOURCE_SUFFIX,), d) for d in c.domains]
    if c.domains and c.paradigm == "multi-source":
        return [(tuple(d for d in c.domains if d != t), t) for t in c.domains]
    if c.domains:
        return [((s,), t) for s, t in permutations(c.domains, 2)]
    if c.pairs:
        return [(split_sources(s), t) for s, t in c.pairs]
    return [(c.sources, c.target or "")]


@dataclass(frozen=True)
class Task:
    """One source (or several) and one target of a card. Without sources it is what target-only sees."""

    card: Card
    sources: tuple[str, ...]
    target: str
    file: str = ""  # of a card that does not ship with tlbench

    @property
    def name(self) -> str:
        return str(TaskName(self.card.name, self.sources, self.target))

    @property
    def sampled(self) -> tuple[str, ...]:
        """The sources that have samples; the others are weights."""
        return tuple(s for s in self.sources if self.card.place(s).loader != "weights")

    def without_sources(self) -> Task:
        return Task(self.card, (), self.target, self.file)


def tasks_of(card: Card, file: str = "") -> list[Task]:
    """Every task of a card, in the card's order."""
    return [Task(card, sources, target, file) for sources, target in _pairs(card)]
