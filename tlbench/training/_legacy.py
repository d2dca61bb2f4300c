"""The base classes of 0.1, for methods that were written for it: see `tlbench._moved`. To be deleted with 0.3."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from tlbench.training.fine_tuning import FineTuning
from tlbench.training.networks import Networks
from tlbench.training.shallow import ImportanceWeighting, MappingMethod
from tlbench.training.trainer import ERM, Batch, GradientMethod, supervised_loss


@dataclass(frozen=True)
class Descent(GradientMethod):
    """A gradient method of 0.1, which could do without a loss where it had a `fit` of its own."""

    def loss(self, net: Networks, batch: Batch, progress: float) -> Tensor:
        raise NotImplementedError


@dataclass(frozen=True)
class Tuning(FineTuning):
    """A two-stage method of 0.1, whose second stage minimised the labels' loss by default."""

    def loss(self, net: Networks, batch: Batch, progress: float) -> Tensor:
        return supervised_loss(net, batch)


class Moving(MappingMethod, ERM):  # type: ignore[misc]
    """A method of 0.1 that moved samples."""


class Weighting(ImportanceWeighting, ERM):  # type: ignore[misc]
    """A method of 0.1 that weighed samples."""
