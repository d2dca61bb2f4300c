"""ANIL: almost no inner loop.

Raghu et al., ICLR 2020, section 4: MAML whose inner loop adapts the head w alone; the features f are learnt in the
outer loop and the same for every task:

    w_i = w - alpha grad_w L(w; f(support_i))        min over f, w   sum_i L(w_i; f(queries_i))

Where the target is one task, the head adapts to its shots in the same steps. Defaults are learn2learn's for it: alpha
0.1, five steps, Adam at 0.001; four episodes a step are MAML's.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn
from torch.func import grad, vmap
from torch.nn.functional import cross_entropy, linear

from tlbench import Train
from tlbench.training.meta import HeadLearner
from tlbench.training.networks import Networks


@dataclass(frozen=True)
class ANIL(HeadLearner):
    """Learn features and a head of which a few gradient steps adapt the head only.

    >>> import numpy as np
    >>> from tlbench import Labeled, Train
    >>> y = np.arange(60) % 3
    >>> x = np.random.default_rng(0).normal(6 * np.eye(3)[y])
    >>> train = Train.of_episodes(x, y, ways=3, shots=2, queries=4)
    >>> few = Labeled.of(-x[:6], y[:6])  # classes that nobody has seen
    >>> ANIL(steps=30).fit(train, seed=0)(few, few.x).argmax(1).tolist()
    [0, 1, 2, 0, 1, 2]
    """

    inner_lr: float = 0.1  # the paper's alpha
    inner_steps: int = 5

    family: ClassVar[str] = "model-based"
    paper: ClassVar[str] = "Raghu et al., Rapid learning or feature reuse?, ICLR 2020"
    needs: ClassVar[frozenset[str]] = frozenset({"sources", "shots"})
    regimes: ClassVar[frozenset[str]] = frozenset({"classification", "episodes"})
    search: ClassVar[dict[str, tuple[object, ...]]] = {
        "lr": ("log", 1e-4, 1e-2),
        "inner_lr": ("log", 1e-2, 1.0),
        "inner_steps": ("choice", 1, 5, 10),
    }

    def networks(self, train: Train) -> Networks:
        net = super().networks(train)
        net.classifier = nn.Linear(net.features.width, train.n_classes)
        return net

    def head(self, net: Networks, fs: Tensor, ys: Tensor, fq: Tensor, n_classes: int) -> Tensor:
        def loss(w: tuple[Tensor, ...], f: Tensor, y: Tensor) -> Tensor:
            return cross_entropy(linear(f, *w), y)

        def query_logits(fs: Tensor, ys: Tensor, fq: Tensor) -> Tensor:
            w: tuple[Tensor, ...] = tuple(net.classifier.parameters())
            for _ in range(self.inner_steps):
                gradient = grad(loss)(w, fs, ys)
                w = tuple(a - self.inner_lr * g for a, g in zip(w, gradient, strict=True))
            return linear(fq, *w)

        return vmap(query_logits)(fs, ys, fq)
