"""Pooled sources: all of them, and the shots, in one pot.

Peng et al., ICCV 2019, section 5 (the `source combine` setting, without adaptation): empirical risk minimisation over
the union of all labelled samples, each of which weighs alike, wherever it comes from. Large sources so outweigh small
ones, and all of them the shots; `source_plus_target` is the one that keeps sources, and shots, in equal parts.
"""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch

from tlbench import Labeled, Learner, Predictor, Train
from tlbench.training.features import nothing_of
from tlbench.training.trainer import TrainedMethod


@dataclass(frozen=True)
class PooledSources(TrainedMethod):
    """Train on the union of all labels.

    >>> import numpy as np
    >>> from tlbench import Train
    >>> y = np.arange(60) % 3
    >>> x = np.random.default_rng(0).normal(6 * np.eye(3)[y])
    >>> train = Train.of((x, x - 1), (y, y), x + 1)
    >>> PooledSources(steps=30).fit(train, seed=0)(train.target.x).argmax(1)[:6].tolist()
    [0, 1, 2, 0, 1, 2]
    """

    family: ClassVar[str] = "multi-source"
    paper: ClassVar[str] = "Peng et al., Moment matching for multi-source domain adaptation, ICCV 2019"
    needs: ClassVar[frozenset[str]] = frozenset({"sources", "same task"})
    regimes: ClassVar[frozenset[str]] = frozenset({"classification", "regression"})
    search: ClassVar[dict[str, tuple[object, ...]]] = {
        "lr": ("log", 1e-3, 1e-1),
        "weight_decay": ("log", 1e-5, 1e-2),
    }

    def fit(self, train: Train, seed: int) -> Predictor | Learner:
        parts = (*train.sources, train.shots)
        x, y = torch.cat([p.x for p in parts]), torch.cat([p.y for p in parts])
        return self.erm.fit(replace(train, sources=(Labeled(x, y),), shots=nothing_of(train.shots)), seed)
