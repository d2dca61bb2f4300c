"""TrAdaBoost: boosting that forgets the source samples which contradict the target's.

Dai et al., ICML 2007, algorithm 1, on the embedded inputs. In each of N rounds a weak learner is fitted to the weighed
n source samples and shots; with its weighed error eps on the shots, at most `most`, and beta_t = eps / (1 - eps),

    a wrongly told source sample's weight  *= beta = 1 / (1 + sqrt(2 log(n) / N))
    a wrongly told shot's weight           /= beta_t

and the learners of the second half of the rounds vote, with weight log(1 / beta_t). Ten rounds are the library
ADAPT's default. The paper leaves the first weights open; here source and shots weigh alike in all. The paper
is for two classes; for more, right and wrong mean the same, and a learner's vote is its probability of each class. The
paper's weak learner is a linear support vector machine, ours a logistic regression, which takes weights alike.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from tlbench import Predictor, Train
from tlbench.training.features import embedded
from tlbench.training.kernels import Array
from tlbench.training.predictors import chain, module_of
from tlbench.training.shallow import Labels, linear, matrix, pooled
from tlbench.training.trainer import TrainedMethod


@dataclass(frozen=True)
class TrAdaBoost(TrainedMethod):
    """Boost the shots, and unlearn the source samples that disagree.

    >>> import numpy as np
    >>> from tlbench import Train
    >>> y = np.arange(60) % 3
    >>> x = np.random.default_rng(0).normal(6 * np.eye(3)[y])
    >>> train = Train.of(x, y, x + 1, shots=(x[:9] + 1, y[:9]))
    >>> TrAdaBoost(steps=30).fit(train, seed=0)(train.target.x).argmax(1)[:6].tolist()
    [0, 1, 2, 0, 1, 2]
    """

    rounds: int = 10  # N
    most: float = 0.499  # a learner no better than a coin has no vote and would turn the weights round

    family: ClassVar[str] = "distribution-based"
    paper: ClassVar[str] = "Dai et al., Boosting for transfer learning, ICML 2007"
    needs: ClassVar[frozenset[str]] = frozenset({"sources", "shots", "same task"})
    search: ClassVar[dict[str, tuple[object, ...]]] = {"rounds": ("choice", 5, 10, 20, 50)}

    def fit(self, train: Train, seed: int) -> Predictor:
        flat, embed = embedded(train, seed, self.erm)
        xs, ys = pooled(flat)
        xl, yl = matrix(flat.shots.x), flat.shots.y.numpy()
        return chain(embed, Vote(*boosted(xs, ys, xl, yl, train.n_classes, self.rounds, self.most, seed)))


class Vote(nn.Module):
    """The learners' probabilities, weighed by their votes: (n, n_classes)."""

    def __init__(self, learners: list[Predictor], votes: list[float]) -> None:
        super().__init__()
        self.learners, self.votes = nn.ModuleList(map(module_of, learners)), votes

    def forward(self, rows: Tensor) -> Tensor:
        return torch.stack([f(rows).softmax(1) * v for f, v in zip(self.learners, self.votes, strict=True)]).sum(0)


def boosted(
    xs: Array, ys: Labels, xl: Array, yl: Labels, n_classes: int, rounds: int, most: float, seed: int
) -> tuple[list[Predictor], list[float]]:
    """The learners of the second half of the rounds, and their votes."""
    x, y, n = np.concatenate([xs, xl]), np.concatenate([ys, yl]), len(xs)
    w = np.r_[np.full(n, 1 / n), np.full(len(yl), 1 / len(yl))]
    beta = 1 / (1 + (2 * np.log(max(n, 2)) / rounds) ** 0.5)
    learners, votes = [], []
    for _ in range(rounds):
        w = w / w.mean()  # of mean 1, so that the learner's penalty keeps its share
        learner = linear(x, y, n_classes, "logistic", seed, w)
        wrong = learner(torch.from_numpy(x)).argmax(1).numpy() != y
        eps = float(np.clip(w[n:] @ wrong[n:] / w[n:].sum(), 1e-3, most))
        w = w * np.where(wrong, np.r_[np.full(n, beta), np.full(len(yl), (1 - eps) / eps)], 1.0)
        learners.append(learner)
        votes.append(float(np.log((1 - eps) / eps)))
    half = rounds // 2
    return learners[half:], votes[half:]
