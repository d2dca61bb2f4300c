"""Nearest neighbour on the source's features.

Cover & Hart, IEEE TIT 1967: an input gets the label of the nearest labelled sample, here in the embedding of a network
trained on the sources (on plain features: as they are, which is the 1-NN of the classic domain-adaptation tables).
Sources and shots are searched alike, as in Gong et al., CVPR 2012, section 4; sources with a task of their own only
teach the embedding.
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
class NearestNeighbor(TrainedMethod):
    """Take the label of the nearest labelled sample.

    >>> import numpy as np
    >>> from tlbench import Train
    >>> y = np.arange(60) % 3
    >>> x = np.random.default_rng(0).normal(6 * np.eye(3)[y])
    >>> train = Train.of(x, y, x + 1)
    >>> NearestNeighbor(steps=30).fit(train, seed=0)(train.target.x).argmax(1)[:6].tolist()
    [0, 1, 2, 0, 1, 2]
    """

    family: ClassVar[str] = "feature-based"
    paper: ClassVar[str] = "Cover & Hart, Nearest neighbor pattern classification, IEEE TIT 1967"
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
        parts = [*(flat.sources if train.same_task else ()), flat.shots]
        known = Labeled(torch.cat([p.x for p in parts]), torch.cat([p.y for p in parts]))
        return FittedPredictor(FromSamples(embed, scores, known, train.n_classes))


def scores(f: Tensor, known: Labeled, n_classes: int) -> Tensor:
    """(n, d) features -> minus the distance to the nearest sample of each class, (n, n_classes)."""
    distance = torch.cdist(f, known.x.to(f.dtype))  # (n, m)
    out = f.new_full((len(f), n_classes), -1e30)
    return out.scatter_reduce(1, known.y.expand(len(f), -1), -distance, "amax")
