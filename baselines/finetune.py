"""Fine-tuning: start from the source's solution, go on with the target's labels.

Yosinski et al., NeurIPS 2014: train the network on the sources, then train all of it on the shots, the classifier
at the full learning rate and the transferred layers at a tenth of it (the usual ratio; Kornblith et al., CVPR
2019). Where the source is only a checkpoint, its weights are the start. Both stages take the card's number of
steps. At k = 0 there is nothing to tune on.
"""

from dataclasses import dataclass, replace
from typing import ClassVar

from tlbench import Learner, Predictor, Train
from tlbench.training.features import nothing_of
from tlbench.training.predictors import predictor
from tlbench.training.trainer import TRAINED, TrainedMethod, network, seeded


@dataclass(frozen=True)
class FineTune(TrainedMethod):
    """Pretrain on the sources, then train everything on the shots.

    >>> import numpy as np
    >>> from tlbench import Train
    >>> y = np.arange(60) % 3
    >>> x = np.random.default_rng(0).normal(6 * np.eye(3)[y])
    >>> train = Train.of(x, y, x + 1, shots=(x[:9] + 1, y[:9]))
    >>> FineTune(steps=30).fit(train, seed=0)(train.target.x).argmax(1)[:6].tolist()
    [0, 1, 2, 0, 1, 2]
    """

    tuned_body_lr: float = 0.1  # the transferred layers' learning rate in the second stage, as a share of lr
    fresh_head: bool = False  # forget the source's classifier; where its task is another, there is none to keep

    family: ClassVar[str] = "model-based"
    paper: ClassVar[str] = "Yosinski et al., How transferable are features in deep neural networks?, NeurIPS 2014"
    needs: ClassVar[frozenset[str]] = frozenset({"shots"})
    regimes: ClassVar[frozenset[str]] = TRAINED | {"episodes"}
    search: ClassVar[dict[str, tuple[object, ...]]] = {
        "lr": ("log", 1e-3, 1e-1),
        "tuned_body_lr": ("log", 1e-2, 1.0),
        "fresh_head": ("choice", False, True),
        "weight_decay": ("log", 1e-5, 1e-2),
    }

    def fit(self, train: Train, seed: int) -> Predictor | Learner:
        net = None
        if train.sources:
            net = self.erm.trained(replace(train, shots=nothing_of(train.shots)), seed)
            if self.fresh_head:
                net.classifier = seeded(lambda: network(train), seed)["classifier"]
        second = replace(self.erm, body_lr=self.tuned_body_lr)
        if train.episodes:
            return second.learner(train, seed, net)
        return predictor(second.trained(replace(train, sources=()), seed, net), train.device)
