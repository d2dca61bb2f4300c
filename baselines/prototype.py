"""Prototype: the nearest class mean on the source's features.

Mensink et al., TPAMI 2013, section 3 (nearest class mean); Chen et al., ICCV 2021 (Meta-Baseline, the classifier
without its meta-learning): train the network on the sources, keep its features, and give an input to the class
whose labelled samples' mean is nearest in squared Euclidean distance. At k = 0 the means are the sources'. On plain
features nothing is trained: they are the embedding.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from tlbench import Labeled, Learner, Predictor, Train
from tlbench.training.features import embedded
from tlbench.training.predictors import FittedLearner, FittedPredictor, FromSamples, FromSupport
from tlbench.training.trainer import TrainedMethod


@dataclass(frozen=True)
class Prototype(TrainedMethod):
    """Classify by the nearest class mean of the source's features.

    >>> import numpy as np
    >>> from tlbench import Train
    >>> y = np.arange(60) % 3
    >>> x = np.random.default_rng(0).normal(6 * np.eye(3)[y])
    >>> train = Train.of(x, y, x + 1)
    >>> Prototype(steps=30).fit(train, seed=0)(train.target.x).argmax(1)[:6].tolist()
    [0, 1, 2, 0, 1, 2]
    """

    family: ClassVar[str] = "feature-based"
    paper: ClassVar[str] = "Mensink et al., Distance-based image classification: nearest class mean, TPAMI 2013"
    needs: ClassVar[frozenset[str]] = frozenset()
    regimes: ClassVar[frozenset[str]] = frozenset({"classification", "episodes"})
    search: ClassVar[dict[str, tuple[object, ...]]] = {
        "lr": ("log", 1e-3, 1e-1),
        "weight_decay": ("log", 1e-5, 1e-2),
    }

    def fit(self, train: Train, seed: int) -> Predictor | Learner:
        flat, embed = embedded(train, seed, self.erm)
        if train.episodes:
            return FittedLearner(FromSupport(embed, scores, train.n_classes))
        known = flat.shots
        if not len(known):
            known = Labeled(torch.cat([s.x for s in flat.sources]), torch.cat([s.y for s in flat.sources]))
        return FittedPredictor(FromSamples(embed, scores, known, train.n_classes))


def scores(f: Tensor, known: Labeled, n_classes: int) -> Tensor:
    """(n, d) features -> minus the squared distances to the class means, (n, n_classes); a class without a sample
    is never the nearest."""
    member = torch.nn.functional.one_hot(known.y, n_classes).to(f.dtype)  # (m, n_classes)
    count = member.sum(0)
    means = (member.T @ known.x.to(f.dtype)) / count.clamp(min=1)[:, None]  # (n_classes, d)
    return (-torch.cdist(f, means).square()).masked_fill(count == 0, -1e30)
