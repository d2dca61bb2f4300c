"""WANN: weights for the source that an adversary cannot tell from the target.

de Mathelin et al., ICTAI 2021 (adversarial weighting for domain adaptation), section IV, as a gradient method. Three
networks: the classifier h over the card's features, weights w(x) >= 0 of source samples, and an adversary h'. With
L_S(h, w) = mean of w(x) loss(h(x), y) over a source batch and L_T(h) = mean loss over the shots,

    min over h    L_S(h, w) + L_T(h)
    min over w    max over h'   |L_T(h') - L_S(h', w)|

the last an empirical Y-discrepancy of the shots and the weighed source. w = softplus of a small network over the card's
features, divided by its mean in the batch; h' is a network of the same size. Both see the features without touching
them. The paper bounds h' by the norm of its weights; ours by its outputs, b tanh(out / b); b is our choice. The paper's
separate networks on raw inputs are left out.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.func import functional_call
from torch.nn.functional import cross_entropy, mse_loss, softplus

from tlbench import Train
from tlbench.training.networks import Networks, mlp
from tlbench.training.trainer import Batch, GradientMethod, network


@dataclass(frozen=True)
class WANN(GradientMethod):
    """Learn source weights against an adversary that seeks what still differs.

    >>> import numpy as np
    >>> from tlbench import Train
    >>> y = np.arange(60) % 3
    >>> x = np.random.default_rng(0).normal(6 * np.eye(3)[y])
    >>> train = Train.of(x, y, x + 1, shots=(x[:9] + 1, y[:9]))
    >>> WANN(steps=30).fit(train, seed=0)(train.target.x).argmax(1)[:6].tolist()
    [0, 1, 2, 0, 1, 2]
    """

    hidden: int = 100
    weight: float = 1.0  # of the discrepancy
    bound: float = 5.0  # b: an adversary without bound makes any discrepancy infinite

    family: ClassVar[str] = "distribution-based"
    paper: ClassVar[str] = "de Mathelin et al., Adversarial weighting for domain adaptation in regression, ICTAI 2021"
    needs: ClassVar[frozenset[str]] = frozenset({"sources", "shots", "same task"})
    regimes: ClassVar[frozenset[str]] = frozenset({"classification", "regression"})
    search: ClassVar[dict[str, tuple[object, ...]]] = {"weight": ("log", 1e-2, 1e1), "hidden": ("choice", 32, 100, 256)}
    takes: ClassVar[str] = "sl"

    def networks(self, train: Train) -> Networks:
        net = network(train)
        width = net.features.width
        net["weigher"] = mlp(width, self.hidden, 1)
        net["adversary"] = mlp(width, self.hidden, train.n_classes)
        return net

    def loss(self, net: Networks, batch: Batch, progress: float) -> Tensor:
        n, f = len(batch.xs), net.features(batch.x)
        label_losses = losses(net.classifier(f), batch.y)
        seen = f.detach()
        w = softplus(net["weigher"](seen[:n]))[:, 0]
        w = w / w.mean().clamp(min=1e-6)
        fixed = {name: p.detach() for name, p in net["adversary"].named_parameters()}
        still, moving = functional_call(net["adversary"], fixed, seen), net["adversary"](seen)
        still, moving = (self.bound * (out / self.bound).tanh() for out in (still, moving))
        for_weights = discrepancy(losses(still, batch.y), w)
        for_adversary = discrepancy(losses(moving, batch.y), w.detach())
        label_loss = (w.detach() * label_losses[:n]).mean() + label_losses[n:].mean()
        return label_loss + self.weight * (for_weights - for_adversary)


def discrepancy(label_losses: Tensor, w: Tensor) -> Tensor:
    """|mean loss of the shots - mean weighed loss of the source|, the (n,) weighed source's first; (,)."""
    return (label_losses[len(w) :].mean() - (w * label_losses[: len(w)]).mean()).abs()


def losses(out: Tensor, y: Tensor) -> Tensor:
    """(n,) cross-entropies, squared errors where numbers are predicted."""
    if y.is_floating_point():
        return mse_loss(out[:, 0], y, reduction="none")
    return cross_entropy(out, y, reduction="none")
