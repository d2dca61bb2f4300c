"""JDOT: joint distribution optimal transport.

Courty et al., NIPS 2017, equation 3 and algorithm 1, on the embedded inputs: the classifier f and a plan G that carries
the source's inputs and labels onto the target's inputs and f's own predictions,

    min over f, G  of  sum of G_ij (alpha d(x_i, x_j) + CE(y_i, f(x_j))),   d = squared distance over its largest

by turns: for a fixed f the plan is exact optimal transport (POT), for a fixed plan f is trained on target samples whose
label is the mixture of the labels carried there, m sum_i G_ij y_i, and on the shots. The first f is trained on the
sources. The paper's squared and hinge losses are left out: cross-entropy is linear in the label, too.
"""

from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
import torch
from scipy.spatial.distance import cdist
from torch import Tensor
from torch.nn.functional import cross_entropy

from tlbench import Labeled, Predictor, Train
from tlbench.training.features import embedded
from tlbench.training.kernels import Array, affordable
from tlbench.training.networks import Networks
from tlbench.training.optimal_transport import exact
from tlbench.training.predictors import chain, predictor
from tlbench.training.shallow import Labels, matrix, pooled
from tlbench.training.trainer import Batch, GradientMethod, TrainedMethod


@dataclass(frozen=True)
class JDOT(TrainedMethod):
    """Transport labels to the target along with inputs, and learn from where they arrive.

    >>> import numpy as np
    >>> from tlbench import Train
    >>> y = np.arange(60) % 3
    >>> x = np.random.default_rng(0).normal(6 * np.eye(3)[y])
    >>> train = Train.of(x, y, x + 1)
    >>> JDOT(steps=30).fit(train, seed=0)(train.target.x).argmax(1)[:6].tolist()
    [0, 1, 2, 0, 1, 2]
    """

    alpha: float = 1.0  # over the largest squared distance, the paper's
    rounds: int = 10  # as in the authors' code

    family: ClassVar[str] = "distribution-based"
    paper: ClassVar[str] = "Courty et al., Joint distribution optimal transportation for domain adaptation, NIPS 2017"
    needs: ClassVar[frozenset[str]] = frozenset({"sources", "same task"})
    search: ClassVar[dict[str, tuple[object, ...]]] = {"alpha": ("log", 1e-2, 1e2), "rounds": ("choice", 1, 5, 10)}

    def fit(self, train: Train, seed: int) -> Predictor:
        flat, embed = embedded(train, seed, self.erm)
        (xs, ys), xt = pooled(flat), matrix(flat.target.x)
        affordable(max(len(xs), len(xt)), "JDOT")
        distance = cdist(xs, xt, "sqeuclidean")
        distance *= self.alpha / (distance.max() or 1.0)
        score = predictor(self.erm.trained(flat, seed), train.device)
        aim = replace(flat, sources=(Labeled(flat.target.x, torch.arange(len(xt))),))
        for _ in range(self.rounds):
            logs = score(flat.target.x).double().log_softmax(1).cpu().numpy()
            soft = torch.from_numpy(carried(plan(distance, logs, ys), ys, train.n_classes)).float()
            taught = Taught(self.steps, self.batch, self.lr, self.weight_decay, self.body_lr, soft)
            score = predictor(taught.trained(aim, seed), train.device)
        return chain(embed, score)


def plan(distance: Array, logs: Array, ys: Labels) -> Array:
    """The (n, m) plan of equal masses, given weighed distances and (m, c) log-probabilities of the target rows."""
    return exact(distance - logs[:, ys].T)


def carried(plan: Array, ys: Labels, n_classes: int) -> Array:
    """(m, n_classes) labels that a plan carries to the target rows, each summing up to 1."""
    soft = plan.T @ np.eye(n_classes)[ys]
    return np.asarray(soft / soft.sum(1, keepdims=True))


@dataclass(frozen=True)
class Taught(GradientMethod):
    """Learns from mixtures of classes; a source label is a row of them."""

    soft: Tensor = field(default_factory=lambda: torch.zeros(0, 0))  # (m, n_classes)

    takes: ClassVar[str] = "sl"

    def loss(self, net: Networks, batch: Batch, progress: float) -> Tensor:
        own = torch.nn.functional.one_hot(batch.yl, self.soft.shape[1]).float()
        aims = torch.cat([self.soft.to(own.device)[batch.ys], own])
        return cross_entropy(net.classifier(net.features(batch.x)), aims)
