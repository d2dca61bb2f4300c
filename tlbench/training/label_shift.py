"""What the label-shift methods share: p(x | y) stays, the classes' proportions change.

A classifier trained on one part of the sources tells the other part and the target; from these predictions a method
estimates w_c = p_T(c) / p_S(c). Then either the classifier is trained anew with the classes so weighed, or the scores
of one trained without weights move by log w.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tlbench.data import Labeled, Predictor, Train
from tlbench.training.features import in_batches, nothing_of
from tlbench.training.kernels import Array
from tlbench.training.networks import Networks
from tlbench.training.predictors import FittedPredictor, predictor
from tlbench.training.shallow import Labels
from tlbench.training.trainer import ERM, Batch, GradientMethod, TrainedMethod

LEAST = 1e-3  # of a class weight where scores move: no class is ruled out by an estimate


@dataclass(frozen=True)
class ClassWeighted(GradientMethod):
    """Empirical risk minimisation with a weight for each class of the sources; shots weigh 1."""

    weights: tuple[float, ...] = ()

    takes: ClassVar[str] = "sl"

    def loss(self, net: Networks, batch: Batch, progress: float) -> Tensor:
        losses = cross_entropy(net.classifier(net.features(batch.x)), batch.y, reduction="none")
        own = torch.tensor(self.weights, dtype=losses.dtype, device=losses.device)[batch.ys]
        return (losses * torch.cat([own, torch.ones_like(losses[len(own) :])])).mean()


def class_weighted(trainer: ERM, train: Train, weights: Array, seed: int) -> Predictor:
    """A classifier trained by the trainer's recipe with `weights` (n_classes,) of the sources' classes."""
    settings: dict[str, Any] = {f.name: getattr(trainer, f.name) for f in fields(ERM)}
    method = ClassWeighted(**settings, weights=tuple(map(float, weights)))
    return predictor(method.trained(train, seed), train.device)


class Reweighted(nn.Module):
    """The log posterior of other class proportions: (n, c) log-probabilities plus (c,) log weights."""

    log_weights: Tensor

    def __init__(self, scores: nn.Module, log_weights: Array) -> None:
        super().__init__()
        self.scores = scores
        self.register_buffer("log_weights", torch.from_numpy(log_weights).float())

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.scores(x).log_softmax(1).cpu() + self.log_weights
        return out


@dataclass(frozen=True)
class LabelShiftMethod(TrainedMethod):
    """Corrects for other proportions of the classes, estimated without target labels."""

    correction: Literal["retrain", "posterior"] = "retrain"
    held: float = 0.5  # the share of source samples that are told and not learnt from while w is estimated

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.held < 1:
            raise ValueError(f"held is {self.held}, it must lie between 0 and 1")

    @abstractmethod
    def class_weights(self, source: Array, y: Labels, target: Array) -> Array:
        """The (c,) weights of the c classes that are there.

        Args:
            source: (n, c) probabilities of held-out source samples
            y: (n,) their classes, each of 0 to c - 1 at least once
            target: (m, c) probabilities of target samples
        """

    def calibrated(self, source: Array, y: Labels, target: Array) -> tuple[Array, Array]:
        """(n, c) and (m, c) probabilities, of the logarithms of which a method may make better ones."""
        return np.exp(source), np.exp(target)

    def fit(self, train: Train, seed: int) -> Predictor:
        weights = self.estimated(train, seed)
        if self.correction == "retrain":
            return class_weighted(self.erm, train, weights, seed)
        score = predictor(self.erm.trained(train, seed), train.device)
        return FittedPredictor(Reweighted(score.module, np.log(np.maximum(weights, LEAST))))

    def estimated(self, train: Train, seed: int) -> Array:
        """(n_classes,) weights, of mean 1 under the sources; 1 for a class that no held-out sample has."""
        learnt, held = halves(train, self.held, seed)
        alone = replace(train, sources=learnt, shots=nothing_of(train.shots))
        net = self.erm.trained(alone, seed)
        tell = in_batches(nn.Sequential(net.features, net.classifier, nn.LogSoftmax(1)), train.device)
        weights = np.ones(train.n_classes)
        y = held.y.numpy()
        there = np.unique(y)
        if len(there) > 1:
            columns = torch.from_numpy(there)
            source, target = (tell(x)[:, columns].double().log_softmax(1).numpy() for x in (held.x, train.target.x))
            places = np.searchsorted(there, y)
            found = np.maximum(self.class_weights(*self._probabilities(source, places, target)), 0)
            mean = float(found[places].mean())
            weights[there] = found / mean if np.isfinite(mean) and mean > 0 else 1.0
        return weights

    def _probabilities(self, source: Array, y: Labels, target: Array) -> tuple[Array, Labels, Array]:
        calibrated, goal = self.calibrated(source, y, target)
        return calibrated, y, goal


def halves(train: Train, held: float, seed: int) -> tuple[tuple[Labeled, ...], Labeled]:
    """The sources less a share of each one's classes, and that share; a class's only sample is learnt from."""
    generator = torch.Generator().manual_seed(seed)
    learnt, kept = [], []
    for source in train.sources:
        out = torch.zeros(len(source), dtype=torch.bool)
        for c in np.unique(source.y.numpy()):
            rows = (source.y == c).nonzero()[:, 0]
            n = min(max(1, round(held * len(rows))), len(rows) - 1)
            out[rows[torch.randperm(len(rows), generator=generator)[:n]]] = True
        learnt.append(Labeled(source.x[~out], source.y[~out]))
        kept.append(Labeled(source.x[out], source.y[out]))
    return tuple(learnt), Labeled(torch.cat([k.x for k in kept]), torch.cat([k.y for k in kept]))


def confusion(source: Array, y: Labels) -> Array:
    """(c, c) matrix of the mean of told_i over samples, counted where the class is j: C_ij = E[told_i 1(y = j)]."""
    return np.asarray(source.T @ np.eye(source.shape[1])[y] / len(y))
