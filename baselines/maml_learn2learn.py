"""MAML as learn2learn does it: a peer to compare `maml` with, and what checks it.

Arnold et al., arXiv 2008.12284: the library clones the network for each episode, adapts the clone, and lets autograd go
back through it. The network (an ImageNet checkpoint, where the card has one), the episodes and the outer loop are those
of `maml`, and so are the defaults: on the same seed only the inner loop's code differs. One episode passes after the
other. It needs `learn2learn` installed: tlbench's extra `meta`.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tlbench import Train
from tlbench.training.meta import Drawn, MetaLearner, SupportNorm, peer, prepared, with_support_norms
from tlbench.training.networks import Networks


@dataclass(frozen=True)
class LearnToLearnMAML(MetaLearner):
    """Learn a start that a gradient step or two adapt, through the library learn2learn.

    >>> import numpy as np
    >>> from tlbench import Labeled, Train
    >>> y = np.arange(60) % 3
    >>> x = np.random.default_rng(0).normal(6 * np.eye(3)[y])
    >>> train = Train.of_episodes(x, y, ways=3, shots=2, queries=4)
    >>> few = Labeled.of(-x[:6], y[:6])  # classes that nobody has seen
    >>> LearnToLearnMAML(steps=30).fit(train, seed=0)(few, few.x).argmax(1).tolist()
    [0, 1, 2, 0, 1, 2]
    """

    inner_lr: float = 0.4
    inner_steps: int = 1
    test_steps: int = 3
    first_order: bool = False

    family: ClassVar[str] = "model-based"
    paper: ClassVar[str] = "Arnold et al., learn2learn: a library for meta-learning research, 2020"
    needs: ClassVar[frozenset[str]] = frozenset({"sources", "shots"})
    regimes: ClassVar[frozenset[str]] = frozenset({"episodes"})
    requires: ClassVar[frozenset[str]] = frozenset({"learn2learn"})
    extra: ClassVar[str] = "meta"
    search: ClassVar[dict[str, tuple[object, ...]]] = {
        "lr": ("log", 1e-4, 1e-2),
        "inner_lr": ("log", 1e-2, 1.0),
        "inner_steps": ("choice", 1, 3, 5),
    }

    def networks(self, train: Train) -> Networks:
        return with_support_norms(super().networks(train))

    def scores(self, net: Networks, drawn: Drawn) -> Tensor:
        steps = self.inner_steps if net.training else self.test_steps
        whole = nn.Sequential(net.features.trunk, net.classifier)
        start = peer("algorithms").MAML(whole, self.inner_lr, self.first_order)

        for norm in (m for m in whole.modules() if isinstance(m, SupportNorm)):
            norm.support = drawn.xs.new_empty(drawn.xs.shape[1], dtype=torch.float32)

        def query_logits(xs: Tensor, ys: Tensor, xq: Tensor) -> Tensor:
            learner = start.clone()
            for _ in range(steps):
                learner.adapt(cross_entropy(learner(xs), ys))
            out: Tensor = learner(torch.cat([xs, xq]))[len(xs) :]
            return out if net.training else out.detach()

        with torch.enable_grad():  # the inner loop needs it at test, too
            episodes = zip(prepared(net, drawn.xs), drawn.ys, prepared(net, drawn.xq), strict=True)
            return torch.stack([query_logits(*episode) for episode in episodes])
