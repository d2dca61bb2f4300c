"""Target-full: every label of the target's pool and nothing else, the skyline.

Empirical risk minimisation as `target_only`, on all labels that could be bought (the `target` column of Zhang et al.,
IEEE/CAA JAS 2023; the oracle of Wang et al., CVPR 2019). It says how far a budget is from the end of the road. It is
shown beside every budget and never ranked: no method has its labels.
"""

from dataclasses import dataclass
from typing import ClassVar

from tlbench import Learner, Predictor, Train
from tlbench.training.features import without_sources
from tlbench.training.trainer import TRAINED, TrainedMethod


@dataclass(frozen=True)
class TargetFull(TrainedMethod):
    """Train on every label of the target's pool.

    >>> import numpy as np
    >>> from tlbench import Train
    >>> y = np.arange(60) % 3
    >>> x = np.random.default_rng(0).normal(6 * np.eye(3)[y])
    >>> train = Train.of(None, None, x + 1, shots=(x[:9] + 1, y[:9]))
    >>> TargetFull(steps=30).fit(train, seed=0)(train.target.x).argmax(1)[:6].tolist()
    [0, 1, 2, 0, 1, 2]
    """

    family: ClassVar[str] = "reference"
    paper: ClassVar[str] = "Wang et al., Characterizing and avoiding negative transfer, CVPR 2019"
    needs: ClassVar[frozenset[str]] = frozenset({"shots", "every label"})
    regimes: ClassVar[frozenset[str]] = TRAINED
    ignores: ClassVar[frozenset[str]] = frozenset({"sources"})
    search: ClassVar[dict[str, tuple[object, ...]]] = {
        "lr": ("log", 1e-3, 1e-1),
        "weight_decay": ("log", 1e-5, 1e-2),
    }

    def fit(self, train: Train, seed: int) -> Predictor | Learner:
        return self.erm.fit(without_sources(train), seed)
