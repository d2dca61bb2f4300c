"""Target-only once more, with fortunes of its own: the floor under every rate of negative transfer.

The same labels, network, initial weights and steps as target-only; only the head's initial weights and the order of the
samples come from another seed. It transfers nothing and harms nothing, so the rate at which it falls below target-only
is what chance alone makes of the measure (an A/A test; Kohavi, Tang & Xu, Trustworthy Online Controlled Experiments,
2020, chapter 19).
"""

from dataclasses import dataclass
from typing import ClassVar

from tlbench import Learner, Predictor, Train
from tlbench.training.features import without_sources
from tlbench.training.trainer import TRAINED, TrainedMethod

APART = 1_000_003  # from the seeds that anybody asks for


@dataclass(frozen=True)
class TargetAgain(TrainedMethod):
    """Target-only with another seed: what harm there seems to be where there is none.

    >>> import numpy as np
    >>> from tlbench import Train
    >>> y = np.arange(60) % 3
    >>> x = np.random.default_rng(0).normal(6 * np.eye(3)[y])
    >>> train = Train.of(None, None, x + 1, shots=(x[:9] + 1, y[:9]))
    >>> TargetAgain(steps=30).fit(train, seed=0)(train.target.x).argmax(1)[:6].tolist()
    [0, 1, 2, 0, 1, 2]
    """

    family: ClassVar[str] = "reference"
    paper: ClassVar[str] = "Kohavi, Tang & Xu, Trustworthy online controlled experiments, 2020"
    needs: ClassVar[frozenset[str]] = frozenset({"shots"})
    regimes: ClassVar[frozenset[str]] = TRAINED | {"episodes"}
    ignores: ClassVar[frozenset[str]] = frozenset({"sources"})
    search: ClassVar[dict[str, tuple[object, ...]]] = {
        "lr": ("log", 1e-3, 1e-1),
        "weight_decay": ("log", 1e-5, 1e-2),
    }

    def fit(self, train: Train, seed: int) -> Predictor | Learner:
        return self.erm.fit(without_sources(train), seed + APART)
