"""How far apart a task's domains are: the proxy A-distance of source and target inputs.

It is 2 (1 - 2 e) for the error e of a classifier that tells source inputs from target inputs (Ben-David et al.,
Analysis of representations for domain adaptation, NIPS 2006): here a logistic regression over standardised inputs,
five-fold, on equally many of both, 2,000 at most. It sees the target's pool, never a test sample, and no label.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlbench import cache
from tlbench.data import Domain
from tlbench.runner import inputs
from tlbench.runner.cell import Conditions
from tlbench.runner.cell_job import Bench
from tlbench.runner.worker import text_encoding
from tlbench.runner.worker.local import Workers
from tlbench.tasks import loaders, split_digests
from tlbench.tasks.card import Card, Task
from tlbench.tasks.split import Indices, content_digest, hash_order, sha

VERSION = 2  # of the measure: part of every key; 1 took features in bfloat16 where the processor had it
MOST = 2000  # samples of each side
LEAST = 20  # fewer tell nothing
WIDTH = 256  # wider inputs are projected to so many random directions
Array = NDArray[np.float32]


def measured(task: Task, root: Path | None, extract: bool) -> tuple[int | None, float | None]:
    """(columns of a table of numbers, proxy A-distance), from the cache where these data were measured before.

    Args:
        root: where the user says the data is
        extract: also where images have first to go through the network

    Raises:
        Mistake: the data are broken.
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
    with Workers() as workers:
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
    return (cache.folder("inputs") / f"{inputs.raw_key(domain, transform)}.npy").exists()


def _vectors(bench: Bench, c: Card, domain: Domain, rows: Indices, workers: Workers) -> Array:
    """(n, d) inputs of at most `MOST` of the rows, in hash order."""
    chosen = hash_order(domain, rows, "tlbench/proxy/1")[:MOST]
    transform = bench.transform(c)
    if domain.x is not None:
        x: Any = domain.x[chosen]
    elif domain.texts and transform is not None and transform.net is None:
        x = text_encoding.hashed([domain.texts[i] for i in chosen])
    else:
        x = inputs.arrays(domain, transform, workers, "cpu", lambda what, done, of: None)[chosen]
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
