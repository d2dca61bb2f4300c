"""Source-only: what the source alone teaches, unadapted.

Empirical risk minimisation on the source labels (Vapnik, 1991) with the card's network and recipe. It is the
reference at k = 0, where there is no target label to learn from, and it ignores the shots at every budget. `classifier`
puts a shallow one on the embedded source in the network's place: what a map of the embedding has to be compared with.
"""

from dataclasses import dataclass, replace
from typing import ClassVar

from tlbench import Learner, Predictor, Train
from tlbench.training.features import embedded, nothing_of
from tlbench.training.predictors import chain
from tlbench.training.shallow import Ending, ended
from tlbench.training.trainer import SHARED, TrainedMethod


@dataclass(frozen=True)
class SourceOnly(TrainedMethod):
    """Train on the source labels and hope.

    >>> import numpy as np
    >>> from tlbench import Train
    >>> y = np.arange(60) % 3
    >>> x = np.random.default_rng(0).normal(6 * np.eye(3)[y])
    >>> train = Train.of(x, y, x + 1)
    >>> SourceOnly(steps=30).fit(train, seed=0)(train.target.x).argmax(1)[:6].tolist()
    [0, 1, 2, 0, 1, 2]
    """

    classifier: Ending = "card"  # the card's network, or on the embedded samples 1-NN or scikit-learn's
    penalties: int = 1  # of scikit-learn's: how many C are tried by cross-validation; 1 takes C = 1

    family: ClassVar[str] = "reference"
    paper: ClassVar[str] = "Vapnik, Principles of risk minimization, NIPS 1991"
    needs: ClassVar[frozenset[str]] = frozenset({"sources", "same task"})
    regimes: ClassVar[frozenset[str]] = SHARED
    ignores: ClassVar[frozenset[str]] = frozenset({"shots"})
    search: ClassVar[dict[str, tuple[object, ...]]] = {
        "lr": ("log", 1e-3, 1e-1),
        "weight_decay": ("log", 1e-5, 1e-2),
    }

    def fit(self, train: Train, seed: int) -> Predictor | Learner:
        alone = replace(train, shots=nothing_of(train.shots))
        if self.classifier == "card":
            return self.erm.fit(alone, seed)
        flat, embed = embedded(alone, seed, self.erm)
        score = ended(flat, self.classifier, seed, self.erm, self.penalties)
        return chain(embed, score)
