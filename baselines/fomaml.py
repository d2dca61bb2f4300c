"""First-order MAML: the start learnt as if the inner steps had no derivative.

Finn, Abbeel & Levine, ICML 2017, section 5.2. As MAML, but the outer gradient is taken at the adapted weights and
applied to the start: the inner gradients count as constants, and no second derivative is needed.

    theta_i = theta - alpha grad L(theta; support_i)        theta <- theta - beta sum_i grad L(theta_i; queries_i)

On a quadratic loss of Hessian H about theta*, one inner step makes of the outer gradient

    MAML  (I - alpha H) H (I - alpha H) (theta - theta*)        first order  H (I - alpha H) (theta - theta*)

so that along a direction of curvature h the first-order one changes its sign with 1 - alpha h: where an inner step
overshoots, h > 1 / alpha, the outer step climbs. The first such direction of a fresh network is which class it prefers
before it has seen a support: at a large alpha that preference grows without end and classes stay confused, which MAML
unlearns at any alpha. Defaults are therefore not MAML's characters' (alpha 0.4), but those of the only runs that the
paper made without second derivatives (mini-ImageNet, appendix A.1 and the authors' code): alpha 0.01, five steps, ten
at test, four episodes a step, Adam at 0.001. What is left out is as in MAML.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.func import grad, vmap

from tlbench import Train
from tlbench.training.meta import Drawn, MetaLearner, Weighted, prepared, with_support_norms
from tlbench.training.networks import Networks


@dataclass(frozen=True)
class FOMAML(MetaLearner):
    """Learn a start for gradient steps, without second derivatives.

    >>> import numpy as np
    >>> from tlbench import Labeled, Train
    >>> y = np.arange(60) % 3
    >>> x = np.random.default_rng(0).normal(6 * np.eye(3)[y])
    >>> train = Train.of_episodes(x, y, ways=3, shots=2, queries=4)
    >>> few = Labeled.of(-x[:6], y[:6])  # classes that nobody has seen
    >>> FOMAML(steps=30).fit(train, seed=0)(few, few.x).argmax(1).tolist()
    [0, 1, 2, 0, 1, 2]
    """

    inner_lr: float = 0.01  # the paper's alpha
    inner_steps: int = 5
    test_steps: int = 10

    family: ClassVar[str] = "model-based"
    paper: ClassVar[str] = "Finn, Abbeel & Levine, Model-agnostic meta-learning, ICML 2017"
    needs: ClassVar[frozenset[str]] = frozenset({"sources", "shots"})
    regimes: ClassVar[frozenset[str]] = frozenset({"episodes"})  # with one task it is fine-tuning from a costly start
    search: ClassVar[dict[str, tuple[object, ...]]] = {
        "lr": ("log", 1e-4, 1e-2),
        "inner_lr": ("log", 1e-3, 0.1),
        "inner_steps": ("choice", 1, 3, 5),
    }

    def networks(self, train: Train) -> Networks:
        return with_support_norms(super().networks(train))

    def scores(self, net: Networks, drawn: Drawn) -> Tensor:
        model, steps = Weighted(net), self.inner_steps if net.training else self.test_steps

        def query_logits(support_x: Tensor, support_y: Tensor, query_x: Tensor) -> Tensor:
            theta = model.weights
            for _ in range(steps):
                constant = {name: w.detach() for name, w in theta.items()}
                gradient = grad(model.loss)(constant, support_x, support_y)
                theta = {name: w - self.inner_lr * gradient[name] for name, w in theta.items()}
            return model.query_logits(theta, support_x, query_x)

        support_x, query_x = prepared(net, drawn.xs), prepared(net, drawn.xq)
        return vmap(query_logits, randomness="different")(support_x, drawn.ys, query_x)
