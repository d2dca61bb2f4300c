"""MDD: margin disparity discrepancy.

Zhang et al., ICML 2019, equations 28 to 30. An adversary c' of the classifier's shape agrees with c on the source and
departs from it on the target; the features, behind a gradient reversal, leave it no room:

    min over f, c    CE(c(f(x)), y)  +  weight * D
    max over c'      D = E_t log(1 - p'(yt'))  +  margin * E_s log p'(ys'),   y' = what c predicts

c and c' come from one class of functions, as the theory wants it: two layers with dropout, 1024 wide, as in the
authors' code for Office-31, and not the card's linear classifier, within whose class c' has no room to depart. The
paper's extra bottleneck is left out. The reversal is ramped to the authors' 0.1 along 2 / (1 + exp(-10 p)) - 1; theirs
rises with the number of steps, of which they take 100,000. Where a card has few, that is a slow learner. Where the
classes move along the line that tells them apart (`cal4`), no one function of x is right in both domains, and what fits
the source's labels stays at source-only.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tlbench import Train
from tlbench.training.losses import ramp
from tlbench.training.networks import Dropout, Networks, reverse_gradient
from tlbench.training.trainer import Batch, GradientMethod, network


@dataclass(frozen=True)
class MDD(GradientMethod):
    """Leave an adversary of the classifier no margin to disagree by.

    >>> import numpy as np
    >>> from tlbench import Train
    >>> y = np.arange(60) % 3
    >>> x = np.random.default_rng(0).normal(6 * np.eye(3)[y])
    >>> train = Train.of(x, y, x + 1)
    >>> MDD(steps=30).fit(train, seed=0)(train.target.x).argmax(1)[:6].tolist()
    [0, 1, 2, 0, 1, 2]
    """

    weight: float = 0.1  # of the reversed gradient, once the ramp is over
    margin: float = 4.0  # the paper's gamma
    hidden: int = 1024  # width of the classifier and of the adversary
    dropout: float = 0.5

    family: ClassVar[str] = "feature-based"
    paper: ClassVar[str] = "Zhang et al., Bridging theory and algorithm for domain adaptation, ICML 2019"
    needs: ClassVar[frozenset[str]] = frozenset({"sources", "same task"})
    search: ClassVar[dict[str, tuple[object, ...]]] = {
        "weight": ("log", 0.01, 1.0),
        "margin": ("choice", 2.0, 3.0, 4.0),
        "lr": ("log", 1e-3, 0.1),
    }

    def networks(self, train: Train) -> Networks:
        net = network(train)
        for name in ("classifier", "adversary"):
            net[name] = wide(net.features.width, self.hidden, train.n_classes, self.dropout)
        return net

    def loss(self, net: Networks, batch: Batch, progress: float) -> Tensor:
        rows = net.features(batch.inputs)
        features, logits = batch.split(rows), batch.split(net.classifier(rows))
        trade_off = self.weight * ramp(progress)
        adversarial_logits = net["adversary"](reverse_gradient(features.domains, trade_off))
        pseudo_labels = logits.domains.argmax(1)
        label_loss = cross_entropy(logits.labeled, batch.y)
        return label_loss - disparity(adversarial_logits, pseudo_labels, len(batch.xs), self.margin)


def wide(width: int, hidden: int, k: int, dropout: float) -> nn.Sequential:
    """A classifier of two layers: (b, width) -> (b, k)."""
    return nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), Dropout(dropout), nn.Linear(hidden, k))


def disparity(scores: Tensor, guess: Tensor, n: int, margin: float) -> Tensor:
    """D of the adversary's (n + m, k) scores, the first n of the source, against the classifier's guesses: (,)."""
    source = -cross_entropy(scores[:n], guess[:n])
    log_p = scores[n:].log_softmax(1)
    others = log_p.scatter(1, guess[n:, None], -math.inf)  # log(1 - p) = the log of the other classes' sum
    return others.logsumexp(1).mean() + margin * source
