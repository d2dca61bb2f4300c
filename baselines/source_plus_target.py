"""Source + target: all labels in one pot.

Empirical risk minimisation over batches that hold as many source as labelled target samples (the S+T of Saito et
al., ICCV 2019, section 4.1). What a clever method adds over it is its `value added`. At k = 0 it would be
source-only, so it needs shots.
"""

from dataclasses import dataclass
from typing import ClassVar

from tlbench import Learner, Predictor, Train
from tlbench.training.trainer import TRAINED, TrainedMethod


@dataclass(frozen=True)
class SourcePlusTarget(TrainedMethod):
    """Train on source and target labels together, in equal parts.

    >>> import numpy as np
    >>> from tlbench import Train
    >>> draw = np.random.default_rng(0).integers
    >>> crops, images = draw(0, 255, (8, 3, 12, 12), np.uint8), draw(0, 255, (4, 3, 32, 32), np.uint8)
    >>> train = Train.of_boxes(crops, [0, 1] * 4, images, [[[4, 4, 16, 16, 0]]] * 4)
    >>> boxes = SourcePlusTarget(steps=2).fit(train, seed=0)(train.shots.x)  # corners, score, class
    >>> boxes.shape[0], boxes.shape[2]
    (4, 6)
    """

    family: ClassVar[str] = "reference"
    paper: ClassVar[str] = "Saito et al., Semi-supervised domain adaptation via minimax entropy, ICCV 2019"
    needs: ClassVar[frozenset[str]] = frozenset({"sources", "shots"})
    regimes: ClassVar[frozenset[str]] = TRAINED
    search: ClassVar[dict[str, tuple[object, ...]]] = {
        "lr": ("log", 1e-3, 1e-1),
        "weight_decay": ("log", 1e-5, 1e-2),
    }

    def fit(self, train: Train, seed: int) -> Predictor | Learner:
        return self.erm.fit(train, seed)
