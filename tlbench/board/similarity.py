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
one that its datasets are of; else of its own, and so as far from every family of the board.

The proxy A-distance is 2 (1 - 2 e) for the error e of a classifier that tells source inputs from target inputs
(Ben-David et al., Analysis of representations for domain adaptation, NIPS 2006): here a logistic regression over
standardised inputs, five-fold, on equally many of both, 2,000 at most. It sees the target's pool, never a test sample,
and no label.
"""

from __future__ import annotations

import json
import math
import os
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlbench import cache
from tlbench.data import Domain
from tlbench.errors import UsageError
from tlbench.results import frame
from tlbench.results.row import Row
from tlbench.runner import places, task_data
from tlbench.runner.cell import Conditions
from tlbench.runner.cell_job import Bench
from tlbench.runner.executors import Executor
from tlbench.runner.worker import text_encoding
from tlbench.tasks import card, loaders, registry, split_digests
from tlbench.tasks.card import Card, Task
from tlbench.tasks.datasets.pretrained import BUILT_IN
from tlbench.tasks.split import Indices, content_digest, hash_order, sha
from tlbench.tasks.task_name import suite_of

VERSION = 2  # of the measure: part of every key; 1 took features in bfloat16 where the processor had it
MOST = 2000  # samples of each side
LEAST = 20  # fewer tell nothing
WIDTH = 256  # wider inputs are projected to so many random directions
Array = NDArray[np.float32]


def domain_distance(task: Task, root: Path | None, extract: bool) -> tuple[int | None, float | None]:
    """(columns of a table of numbers, proxy A-distance), from the cache where these data were measured before.

    Args:
        root: where the user says the data is
        extract: also where images have first to go through the network

    Raises:
        UsageError: the data are broken.
    """
    if not task.sampled:
        return None, None
    file = cache.folder("distances") / f"{sha('proxy', VERSION, *_identity(task, root))}.json"
    with suppress(OSError, ValueError):
        features, shift = json.loads(file.read_text())
        return features, shift
    found = _proxy(task, root, extract)
    if found is None:
        return None, None
    temporary = file.with_suffix(f".{os.getpid()}.tmp")
    temporary.write_text(json.dumps(found))
    temporary.replace(file)
    return found


def _identity(task: Task, root: Path | None) -> list[str]:
    """What the measure depends on: the card and the content of its data, which frozen digests tell without reading."""
    digests = split_digests.digests(task.card.name) if split_digests.ships(task.card) else {}
    places = {d: digests.get(split_digests.data_place(d)) for d in (*task.sampled, task.target)}
    content = [found or content_digest(loaders.load(task.card, d, root)) for d, found in places.items()]
    return [task.name, str(task.card.version), str(task.card.backbone), str(task.card.side), *content]


def _proxy(task: Task, root: Path | None, extract: bool) -> tuple[int | None, float] | None:
    """None where the inputs are not at hand, or too few."""
    bench = Bench(Conditions(root, changed_data=True))
    target, sources = (
        loaders.load(task.card, task.target, root),
        [loaders.load(task.card, d, root) for d in task.sampled],
    )
    if not extract and not all(_at_hand(bench, task.card, d) for d in (target, *sources)):
        return None
    pool = bench.split(task, 0).partition.pool
    if len(pool) < LEAST:  # as an episode's target, which has test samples alone
        return None
    with places.executor() as workers:
        ours = [_vectors(bench, task.card, d, np.arange(len(d)), workers) for d in sources]
        theirs = _vectors(bench, task.card, target, pool, workers)
    if any(x.shape[1] != theirs.shape[1] for x in ours):
        return None
    features = theirs.shape[1] if target.x is not None and target.x.ndim == 2 else None
    xs = np.concatenate(ours)
    n = min(len(xs), len(theirs), MOST)
    if n < LEAST:
        return None
    xs = xs[np.random.default_rng(0).permutation(len(xs))[:n]]
    return features, proxy_distance(xs, theirs[:n])


def _at_hand(bench: Bench, c: Card, domain: Domain) -> bool:
    """Whether a domain's inputs are arrays already, or soon made."""
    transform = bench.transform(c)
    if domain.x is not None or (domain.texts and transform is not None and transform.net is None):
        return True
    return (cache.folder("inputs") / f"{task_data.raw_key(domain, transform)}.npy").exists()


def _vectors(bench: Bench, c: Card, domain: Domain, rows: Indices, workers: Executor) -> Array:
    """(n, d) inputs of at most `MOST` of the rows, in hash order."""
    chosen = hash_order(domain, rows, "tlbench/proxy/1")[:MOST]
    transform = bench.transform(c)
    if domain.x is not None:
        x: Any = domain.x[chosen]
    elif domain.texts and transform is not None and transform.net is None:
        x = text_encoding.hashed([domain.texts[i] for i in chosen])
    else:
        x = task_data.arrays(domain, transform, workers, "cpu", lambda what, done, of: None)[chosen]
    return np.asarray(x, np.float32).reshape(len(chosen), -1)


def proxy_distance(xs: Array, xt: Array) -> float:
    """2 (1 - 2 e), 0..2, of equally many source and target inputs (n, d) each."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    x, y = np.concatenate([xs, xt]), np.repeat([0, 1], [len(xs), len(xt)])
    if x.shape[1] > WIDTH:
        x = x @ np.random.default_rng(0).normal(size=(x.shape[1], WIDTH)).astype(np.float32)
    teller = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    error = 1.0 - float(cross_val_score(teller, x, y, cv=folds).mean())
    return round(min(2.0, max(0.0, 2.0 * (1.0 - 2.0 * error))), 4)


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
    return a.family == b.family or suite_of(a.task) == suite_of(b.task)


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
        features, distance = domain_distance(task, root, extract)
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
    except UsageError:  # its data are here but not as they should be: then without them
        return of_row(row)


def as_words(s: Sketch) -> str:
    """A sketch in a line."""
    sizes = {"classes": s.classes, "features": s.features, "source samples": s.source}
    network = [] if s.training in (RAW, None) else [f"{' or '.join(s.network)} ({s.training})"]
    parts = [s.regime, card.PARADIGMS[s.paradigm], s.input, *network, *(f"{n:,} {of}" for of, n in sizes.items() if n)]
    return ", ".join([*parts, "domain distance unknown" if s.shift is None else f"domain distance {s.shift:.2f} of 2"])
