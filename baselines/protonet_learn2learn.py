"""Prototypical networks as learn2learn does them: a peer to compare `protonet` with.

Arnold et al., arXiv 2008.12284: the library's classifier takes one episode's prototypes and tells its queries; one
episode passes after the other. The network, the episodes and the outer loop are those of `protonet`, so that on the
same seed only the head's code differs. It needs `learn2learn` installed: tlbench's extra `meta`.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from tlbench.training.meta import HeadLearner, peer
from tlbench.training.networks import Networks


@dataclass(frozen=True)
class LearnToLearnProtoNet(HeadLearner):
    """Learn an embedding for the nearest class mean, through the library learn2learn.

    >>> import numpy as np
    >>> from tlbench import Labeled, Train
    >>> y = np.arange(60) % 3
    >>> x = np.random.default_rng(0).normal(6 * np.eye(3)[y])
    >>> train = Train.of_episodes(x, y, ways=3, shots=2, queries=4)
    >>> few = Labeled.of(-x[:6], y[:6])  # classes that nobody has seen
    >>> LearnToLearnProtoNet(steps=30).fit(train, seed=0)(few, few.x).argmax(1).tolist()
    [0, 1, 2, 0, 1, 2]
    """

    episodes_a_step: int = 1

    family: ClassVar[str] = "feature-based"
    paper: ClassVar[str] = "Arnold et al., learn2learn: a library for meta-learning research, 2020"
    needs: ClassVar[frozenset[str]] = frozenset({"sources", "shots"})
    regimes: ClassVar[frozenset[str]] = frozenset({"episodes"})
    requires: ClassVar[frozenset[str]] = frozenset({"learn2learn"})
    extra: ClassVar[str] = "meta"
    search: ClassVar[dict[str, tuple[object, ...]]] = {
        "lr": ("log", 1e-4, 1e-2),
        "episodes_a_step": ("choice", 1, 4),
    }

    def head(self, net: Networks, fs: Tensor, ys: Tensor, fq: Tensor, n_classes: int) -> Tensor:
        classifier = peer("nn.protonet").PrototypicalClassifier
        return torch.stack([classifier(s, y)(q) for s, y, q in zip(fs, ys, fq, strict=True)])
