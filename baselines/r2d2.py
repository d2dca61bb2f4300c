"""R2-D2: ridge regression as the last layer, in closed form and differentiated through.

Bertinetto et al., ICLR 2019, equations 4 to 7. On the support's features X (s, d) and one-hot labels Y an episode's
head is a ridge regression, solved in the smaller of its two spaces (Woodbury), and its outputs, scaled, are scores:

    W = (X^T X + lambda I)^-1 X^T Y = X^T (X X^T + lambda I)^-1 Y        scores = alpha f(x) W

Features and alpha are learnt; the paper's bias moves all classes alike and drops out of the softmax. Adam at 0.005,
lambda 50, which stays, and alpha from 0.0001 are the authors' code's; we leave out its halving of the rate every 2000
episodes, its episodes of more ways at training than at test, and its larger network.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from tlbench import Train
from tlbench.training.meta import HeadLearner
from tlbench.training.networks import Networks, part


@dataclass(frozen=True)
class R2D2(HeadLearner):
    """Learn features for a ridge regression on the support.

    >>> import numpy as np
    >>> from tlbench import Labeled, Train
    >>> y = np.arange(60) % 3
    >>> x = np.random.default_rng(0).normal(6 * np.eye(3)[y])
    >>> train = Train.of_episodes(x, y, ways=3, shots=2, queries=4)
    >>> few = Labeled.of(-x[:6], y[:6])  # classes that nobody has seen
    >>> R2D2(steps=30).fit(train, seed=0)(few, few.x).argmax(1).tolist()
    [0, 1, 2, 0, 1, 2]
    """

    episodes_a_step: int = 1
    lr: float = 5e-3
    penalty: float = 50.0  # the paper's lambda
    scale: float = 1e-4  # the paper's alpha, at the start

    family: ClassVar[str] = "feature-based"
    paper: ClassVar[str] = "Bertinetto et al., Meta-learning with differentiable closed-form solvers, ICLR 2019"
    needs: ClassVar[frozenset[str]] = frozenset({"sources", "shots"})
    regimes: ClassVar[frozenset[str]] = frozenset({"classification", "episodes"})
    search: ClassVar[dict[str, tuple[object, ...]]] = {
        "lr": ("log", 1e-4, 1e-2),
        "penalty": ("log", 0.1, 100.0),
        "episodes_a_step": ("choice", 1, 4),
    }

    def networks(self, train: Train) -> Networks:
        net = super().networks(train)
        net["ridge"] = nn.ParameterDict({"alpha": torch.tensor(self.scale)})
        return net

    def head(self, net: Networks, fs: Tensor, ys: Tensor, fq: Tensor, n_classes: int) -> Tensor:
        w = weights(fs, one_hot(ys, n_classes).to(fs.dtype), self.penalty)
        out: Tensor = part(net, "ridge", nn.ParameterDict)["alpha"] * (fq @ w)
        return out


def weights(x: Tensor, y: Tensor, penalty: float) -> Tensor:
    """(e, s, d), (e, s, k) -> (e, d, k): the ridge regression without an intercept."""
    s, d = x.shape[-2:]
    eye = torch.eye(min(s, d), dtype=x.dtype, device=x.device)
    dual = s <= d
    gram = x @ x.mT if dual else x.mT @ x
    w: Tensor = torch.linalg.solve(gram + penalty * eye, y if dual else x.mT @ y)
    return x.mT @ w if dual else w
