"""MAML: a start from which a few gradient steps go far.

Finn, Abbeel & Levine, ICML 2017, algorithm 2. In the inner loop an episode's weights leave the common start theta by
gradient descent on its support (equation 1); in the outer loop the start descends the queries' loss after that,
through the inner steps' own derivatives:

    theta_i = theta - alpha grad L(theta; support_i)        min over theta   sum_i L(theta_i; queries_i)

Defaults are the paper's for five-way characters (appendix A.1 and the authors' code: alpha 0.4, one step, three at
test, Adam at 0.001), but for the four episodes a step of its mini-ImageNet runs instead of 32, which would make a
card's run eight times as long. Nothing is learnt of the second and third step at test; after a card's few outer steps,
of which the paper takes 60,000, they may lose what the first one won. We leave out the sharing of the batch norm's
moments among queries, which lets them tell of each other: they are normalised as the support is.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.func import grad, vmap

from tlbench import Train
from tlbench.training.meta import Drawn, MetaLearner, Weighted, prepared, with_support_norms
from tlbench.training.networks import Networks


@dataclass(frozen=True)
class MAML(MetaLearner):
    """Learn a start that a gradient step or two adapt to a new task.

    >>> import numpy as np
    >>> from tlbench import Labeled, Train
    >>> y = np.arange(60) % 3
    >>> x = np.random.default_rng(0).normal(6 * np.eye(3)[y])
    >>> train = Train.of_episodes(x, y, ways=3, shots=2, queries=4)
    >>> few = Labeled.of(-x[:6], y[:6])  # classes that nobody has seen
    >>> MAML(steps=30).fit(train, seed=0)(few, few.x).argmax(1).tolist()
    [0, 1, 2, 0, 1, 2]
    """

    inner_lr: float = 0.4  # the paper's alpha
    inner_steps: int = 1
    test_steps: int = 3

    family: ClassVar[str] = "model-based"
    paper: ClassVar[str] = "Finn, Abbeel & Levine, Model-agnostic meta-learning, ICML 2017"
    needs: ClassVar[frozenset[str]] = frozenset({"sources", "shots"})
    regimes: ClassVar[frozenset[str]] = frozenset({"episodes"})  # with one task it is fine-tuning from a costly start
    search: ClassVar[dict[str, tuple[object, ...]]] = {
        "lr": ("log", 1e-4, 1e-2),
        "inner_lr": ("log", 1e-2, 1.0),
        "inner_steps": ("choice", 1, 3, 5),
    }

    def networks(self, train: Train) -> Networks:
        return with_support_norms(super().networks(train))

    def scores(self, net: Networks, drawn: Drawn) -> Tensor:
        model, steps = Weighted(net), self.inner_steps if net.training else self.test_steps

        def query_logits(support_x: Tensor, support_y: Tensor, query_x: Tensor) -> Tensor:
            theta = model.weights
            for _ in range(steps):
                gradient = grad(model.loss)(theta, support_x, support_y)
                theta = {name: w - self.inner_lr * gradient[name] for name, w in theta.items()}
            return model.query_logits(theta, support_x, query_x)

        support_x, query_x = prepared(net, drawn.xs), prepared(net, drawn.xq)
        return vmap(query_logits, randomness="different")(support_x, drawn.ys, query_x)
