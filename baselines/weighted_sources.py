"""Weighted sources: each input goes to the hypotheses of the sources it looks like.

Mansour, Mohri & Rostamizadeh, NIPS 2008 (Domain adaptation with multiple sources), section 4: where the target is a
mixture of the sources, no fixed combination of their hypotheses h_j is safe, and the one weighted by the densities
D_j is:

    h(x) = sum_j z_j D_j(x) h_j(x) / sum_j z_j D_j(x)        D_j(x) proportional to p(j | x)

Each h_j is a network trained on its source. The densities' ratios are those of a logistic regression that names the
source of an embedded input, fitted on as many samples of each. The paper leaves z to a fixed point that exists; we take
the mixture that makes the data likeliest, by expectation maximisation with one pseudo-count a source:

    z_j <- (1 + sum_i z_j l_ij / sum_k z_k l_ik) / (J + n)        l_ij = p(j | x_i) h_j(y_i | x_i) of the shots

or l_ij = p(j | x_i) of the unlabelled target, where there are no shots. The shots serve z alone.
"""

import warnings
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from scipy.special import expit, softmax
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from tlbench import NotConverged, Predictor, Train
from tlbench.training.convergence import scikit_learns
from tlbench.training.features import embedded, nothing_of
from tlbench.training.predictors import FittedPredictor, LinearModel, predictor
from tlbench.training.trainer import TrainedMethod


@dataclass(frozen=True)
class WeightedSources(TrainedMethod):
    """Mix the sources' hypotheses by how likely each input is under its source.

    >>> import numpy as np
    >>> from tlbench import Train
    >>> y = np.arange(60) % 3
    >>> x = np.random.default_rng(0).normal(6 * np.eye(3)[y])
    >>> train = Train.of((x, x - 1), (y, y), x + 1)
    >>> WeightedSources(steps=30).fit(train, seed=0)(train.target.x).argmax(1)[:6].tolist()
    [0, 1, 2, 0, 1, 2]
    """

    samples: int = 1000  # of each source that the domains are told apart from, at most
    penalty: float = 1.0  # of the logistic regression, its C

    family: ClassVar[str] = "multi-source"
    paper: ClassVar[str] = "Mansour, Mohri & Rostamizadeh, Domain adaptation with multiple sources, NIPS 2008"
    needs: ClassVar[frozenset[str]] = frozenset({"sources", "same task"})
    search: ClassVar[dict[str, tuple[object, ...]]] = {
        "lr": ("log", 1e-3, 1e-1),
        "weight_decay": ("log", 1e-5, 1e-2),
        "penalty": ("log", 1e-3, 1e2),
    }

    def fit(self, train: Train, seed: int) -> Predictor:
        alone = [replace(train, sources=(s,), shots=nothing_of(train.shots)) for s in train.sources]
        hypotheses = [predictor(self.erm.trained(part, seed), train.device) for part in alone]
        if len(hypotheses) == 1:
            return hypotheses[0]
        flat, embed = embedded(train, seed, self.erm)
        scaler, model = told_apart([s.x for s in flat.sources], self.samples, self.penalty, seed)
        mix = Mixture(embed, LinearModel(model, scaler), nn.ModuleList(h.module for h in hypotheses))
        if len(train.shots):
            parts = [mix.beliefs(x) for x in torch.split(train.shots.x, 256)]
            p, h = (torch.cat(part) for part in zip(*parts, strict=True))
            likely = p * h[torch.arange(len(h)), :, train.shots.y]
        else:
            likely = mix.of_rows(flat.target.x)
        mix.z = mixture(likely)
        return FittedPredictor(mix)


class Mixture(nn.Module):
    """The distribution-weighted rule: the log of sum_j z_j p(j | x) h_j(y | x), made to sum up to 1 over j."""

    z: Tensor

    def __init__(self, embed: nn.Module, domains: LinearModel, hypotheses: nn.ModuleList) -> None:
        super().__init__()
        self.embed, self.domains, self.hypotheses = embed, domains, hypotheses
        self.register_buffer("z", torch.full((len(hypotheses),), 1 / len(hypotheses), dtype=torch.float64))

    def of_rows(self, rows: Tensor) -> Tensor:
        """p(j | x) of embedded inputs, (n, J), in double precision."""
        decision = self.domains(rows.double().numpy())
        if decision.ndim == 1:
            return torch.from_numpy(np.stack([1 - expit(decision), expit(decision)], 1))
        return torch.from_numpy(softmax(decision, 1))

    def beliefs(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """p(j | x), (n, J), and h_j(y | x), (n, J, n_classes), in double precision."""
        return self.of_rows(self.embed(x)), torch.stack([h(x).cpu().double().softmax(1) for h in self.hypotheses], 1)

    def forward(self, x: Tensor) -> Tensor:
        p, h = self.beliefs(x)
        share = self.z * p / (self.z * p).sum(1, keepdim=True)
        return (share[:, :, None] * h).sum(1).clamp(min=1e-30).log().float()


def told_apart(parts: list[Tensor], most: int, penalty: float, seed: int) -> Any:
    """A logistic regression of which part a row is from, on as many rows of each."""
    generator = torch.Generator().manual_seed(seed)
    size = min(most, *map(len, parts))
    x = torch.cat([part[torch.randperm(len(part), generator=generator)[:size]] for part in parts])
    y = torch.arange(len(parts)).repeat_interleave(size)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=penalty, max_iter=1000))
    with scikit_learns("the logistic regression of the sources"):
        return model.fit(x.double().numpy(), y.numpy())


def mixture(likely: Tensor, steps: int = 200) -> Tensor:
    """(n, J) likelihoods -> (J,) weights of the mixture, by expectation maximisation."""
    n, parts = likely.shape
    z = torch.full((parts,), 1 / parts, dtype=likely.dtype)
    for _ in range(steps):
        before, owed = z, z * likely
        z = (1 + (owed / owed.sum(1, keepdim=True).clamp(min=1e-300)).sum(0)) / (parts + n)
    if float((z - before).abs().max()) > 1e-4:  # of the mixture; a score moves by as small a share
        warnings.warn(NotConverged("the EM of the sources' mixture stopped at its limit of rounds"), stacklevel=2)
    return z
