"""Prototypical networks: an embedding in which a class is the mean of its few samples.

Snell, Swersky & Zemel, NeurIPS 2017, equations 1 and 2. A class's prototype is the mean embedding of its support; a
query's score is minus its squared Euclidean distance, and the embedding descends the queries' cross-entropy:

    c_k = mean of f(x) over the support of k        p(y = k | x) = softmax over k of  -||f(x) - c_k||^2

Defaults are the paper's: Adam at 0.001, one episode a step. We leave out its episodes of more ways at training than
at test, and the halving of the rate every 2000 episodes.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn.functional import one_hot

from tlbench.training.meta import HeadLearner
from tlbench.training.networks import Networks


@dataclass(frozen=True)
class ProtoNet(HeadLearner):
    """Learn an embedding for the nearest class mean.

    >>> import numpy as np
    >>> from tlbench import Labeled, Train
    >>> y = np.arange(60) % 3
    >>> x = np.random.default_rng(0).normal(6 * np.eye(3)[y])
    >>> train = Train.of_episodes(x, y, ways=3, shots=2, queries=4)
    >>> few = Labeled.of(-x[:6], y[:6])  # classes that nobody has seen
    >>> ProtoNet(steps=30).fit(train, seed=0)(few, few.x).argmax(1).tolist()
    [0, 1, 2, 0, 1, 2]
    """

    episodes_a_step: int = 1

    family: ClassVar[str] = "feature-based"
    paper: ClassVar[str] = "Snell, Swersky & Zemel, Prototypical networks for few-shot learning, NeurIPS 2017"
    needs: ClassVar[frozenset[str]] = frozenset({"sources", "shots"})
    regimes: ClassVar[frozenset[str]] = frozenset({"classification", "episodes"})
    search: ClassVar[dict[str, tuple[object, ...]]] = {
        "lr": ("log", 1e-4, 1e-2),
        "episodes_a_step": ("choice", 1, 4),
    }

    def head(self, net: Networks, fs: Tensor, ys: Tensor, fq: Tensor, n_classes: int) -> Tensor:
        member = one_hot(ys, n_classes).to(fs.dtype)  # (e, s, k)
        count = member.sum(1)  # (e, k)
        c = (member.mT @ fs) / count.clamp(min=1)[..., None]  # (e, k, d)
        distance = fq.square().sum(-1, keepdim=True) - 2 * fq @ c.mT + c.square().sum(-1)[:, None]
        return (-distance).masked_fill(count[:, None] == 0, -1e30)  # a class without a sample is nobody's
