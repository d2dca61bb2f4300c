"""Source-only once more, with fortunes of its own: at k = 0 the floor under every rate of negative transfer.

The same labels, network, initial weights and steps as source-only; only the head's initial weights and the order of the
samples come from another seed. See `target_again`.
"""

from dataclasses import dataclass, replace
from typing import ClassVar

from tlbench import Learner, Predictor, Train
from tlbench.training.features import nothing_of
from tlbench.training.trainer import SHARED, TrainedMethod

APART = 1_000_003  # from the seeds that anybody asks for


@dataclass(frozen=True)
class SourceAgain(TrainedMethod):
    """Source-only with another seed: what harm there seems to be where there is none.

    >>> import numpy as np
    >>> from tlbench import Train
    >>> y = np.arange(60) % 3
    >>> x = np.random.default_rng(0).normal(6 * np.eye(3)[y])
    >>> train = Train.of(x, y, x + 1)
    >>> SourceAgain(steps=30).fit(train, seed=0)(train.target.x).argmax(1)[:6].tolist()
    [0, 1, 2, 0, 1, 2]
    """

    family: ClassVar[str] = "reference"
    paper: ClassVar[str] = "Kohavi, Tang & Xu, Trustworthy online controlled experiments, 2020"
    needs: ClassVar[frozenset[str]] = frozenset({"sources", "same task"})
    regimes: ClassVar[frozenset[str]] = SHARED
    ignores: ClassVar[frozenset[str]] = frozenset({"shots"})
    search: ClassVar[dict[str, tuple[object, ...]]] = {
        "lr": ("log", 1e-3, 1e-1),
        "weight_decay": ("log", 1e-5, 1e-2),
    }

    def fit(self, train: Train, seed: int) -> Predictor | Learner:
        return self.erm.fit(replace(train, shots=nothing_of(train.shots)), seed + APART)
