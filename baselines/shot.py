"""SHOT: source hypothesis transfer, without the source's samples.

Liang et al., ICML 2020, equations 1 to 7. First the sources' labels are fitted, smoothed by 0.1. Then their samples are
put away, the classifier is frozen, and the features alone learn from the target:

    mean H(p)  -  H(mean p)  +  beta * CE(p, y'),   p = softmax(c(f(xt)))

The first two terms are information maximisation, sure and diverse. The pseudo-label y' is the class of the nearest
centroid by the cosine, centroids being weighted first by p, then by y' itself, anew at the start of every round; a
round restarts the learning rate's decay. Shots, where there are any, add their cross-entropy. The paper's bottleneck
with batch norm and its weight-normalised classifier are left out: the network is the card's.
"""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize, one_hot

from tlbench import Labeled, Predictor, Train
from tlbench.training.features import in_batches
from tlbench.training.losses import entropies
from tlbench.training.networks import Networks
from tlbench.training.predictors import predictor
from tlbench.training.trainer import Batch, GradientMethod


@dataclass(frozen=True)
class SHOT(GradientMethod):
    """Keep the source's classifier and bring the target's features to it.

    >>> import numpy as np
    >>> from tlbench import Train
    >>> y = np.arange(60) % 3
    >>> x = np.random.default_rng(0).normal(6 * np.eye(3)[y])
    >>> train = Train.of(x, y, x + 1)
    >>> SHOT(steps=30).fit(train, seed=0)(train.target.x).argmax(1)[:6].tolist()
    [0, 1, 2, 0, 1, 2]
    """

    beta: float = 0.3  # of the pseudo-labels
    rounds: int = 5  # times that they are given; the paper: every epoch, of 15
    smoothing: float = 0.1  # of the sources' labels
    tuned_body_lr: float = 0.1  # the features' learning rate on the target, as a share of lr

    family: ClassVar[str] = "feature-based"
    paper: ClassVar[str] = "Liang et al., Do we really need to access the source data?, ICML 2020"
    needs: ClassVar[frozenset[str]] = frozenset({"sources", "same task"})
    search: ClassVar[dict[str, tuple[object, ...]]] = {
        "beta": ("linear", 0.0, 1.0),
        "tuned_body_lr": ("log", 0.01, 1.0),
        "lr": ("log", 1e-3, 0.1),
    }

    def fit(self, train: Train, seed: int) -> Predictor:
        net = _Source(**{f: getattr(self, f) for f in ("steps", "batch", "lr", "weight_decay", "body_lr", "smoothing")})
        fitted = net.trained(train, seed)
        fitted["classifier"].requires_grad_(False)
        steps = max(1, self.recipe(train).steps // self.rounds)
        stage = replace(self, body_lr=self.tuned_body_lr, steps=steps)
        for i in range(self.rounds):
            embed = in_batches(fitted["features"], train.device)
            f = embed(train.target.x)
            guess = pseudo_labels(f, in_batches(fitted["classifier"], train.device)(f))
            guessed = replace(train, sources=(Labeled(train.target.x, guess),))  # the target in the source's place
            fitted = stage.trained(guessed, seed + i, fitted)
        return predictor(fitted, train.device)

    takes: ClassVar[str] = "sl"

    def loss(self, net: Networks, batch: Batch, progress: float) -> Tensor:
        n = len(batch.xs)
        scores = net.classifier(net.features(batch.x))
        label_loss = cross_entropy(scores[n:], batch.yl) if len(batch.yl) else 0.0
        return label_loss + information_loss(scores[:n]) + self.beta * cross_entropy(scores[:n], batch.ys)


@dataclass(frozen=True)
class _Source(GradientMethod):
    """The first stage."""

    smoothing: float = 0.1
    takes: ClassVar[str] = "sl"

    def loss(self, net: Networks, batch: Batch, progress: float) -> Tensor:
        scores = net.classifier(net.features(batch.x))
        return cross_entropy(scores, batch.y, label_smoothing=self.smoothing)


def information_loss(scores: Tensor) -> Tensor:
    """Mean entropy of the (n, k) predictions minus the entropy of their mean: (,)."""
    mean = scores.softmax(1).mean(0).clamp(min=1e-12)
    return entropies(scores).mean() + (mean * mean.log()).sum()


def pseudo_labels(f: Tensor, scores: Tensor) -> Tensor:
    """(n, d) features and (n, k) scores -> (n,) classes of the nearest centroids, found twice (equations 4 to 6)."""
    f = normalize(torch.cat([f, torch.ones_like(f[:, :1])], 1))
    weights, known = scores.softmax(1), torch.ones_like(scores[0], dtype=torch.bool)
    guess = scores.argmax(1)
    for _ in range(2):
        centroids = normalize((weights.T @ f) / (weights.sum(0) + 1e-8)[:, None])  # (k, d + 1)
        guess = (f @ centroids.T).masked_fill(~known, -2.0).argmax(1)
        weights = one_hot(guess, scores.shape[1]).to(f.dtype)
        known = weights.sum(0) > 0  # a class that no sample is near has no centroid
    return guess
