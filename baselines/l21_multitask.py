"""l2,1 multi-task learning: tasks that share the features they use.

Obozinski, Taskar & Jordan, 2010, equation 2; Argyriou et al., 2008. On the embedded inputs (fixed features) every
source, and the target's shots, is a linear task; a feature is used by all of them or by none:

    min over W_t   sum_t 1 / (2 n_t) |Y_t - X_t W_t|_F^2  +  alpha * sum_j |(W_1, ..., W_T)_j.|_2

X_t and Y_t (one column a class, or the number) are centred task by task, so the intercepts are free. alpha is a share
of the smallest one that leaves no feature; papers choose it by cross-validation, for which k shots are too few: the
default is ours, small enough to keep what the tasks share. Solved by FISTA (Beck & Teboulle, 2009).
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from tlbench import Labeled, NotConverged, Predictor, Train
from tlbench.training.features import embedded
from tlbench.training.predictors import FittedPredictor
from tlbench.training.trainer import TrainedMethod


@dataclass(frozen=True)
class L21Multitask(TrainedMethod):
    """Fit all tasks at once on the few features that serve them all.

    >>> import numpy as np
    >>> from tlbench import Train
    >>> y = np.arange(60) % 3
    >>> x = np.random.default_rng(0).normal(6 * np.eye(3)[y])
    >>> train = Train.of(x, y // 2, x + 1, shots=(x[:9] + 1, y[:9]), source_classes=2)
    >>> L21Multitask(steps=30).fit(train, seed=0)(train.target.x).argmax(1)[:6].tolist()
    [0, 1, 2, 0, 1, 2]
    """

    sparsity: float = 0.02  # alpha, as a share of the smallest that leaves no feature
    iterations: int = 500

    family: ClassVar[str] = "feature-based"
    paper: ClassVar[str] = "Obozinski, Taskar & Jordan, Joint covariate selection and joint subspace selection, 2010"
    needs: ClassVar[frozenset[str]] = frozenset({"sources", "shots"})
    regimes: ClassVar[frozenset[str]] = frozenset({"classification", "regression"})
    search: ClassVar[dict[str, tuple[object, ...]]] = {"sparsity": ("log", 1e-3, 0.5)}

    def fit(self, train: Train, seed: int) -> Predictor:
        flat, embed = embedded(train, seed, self.erm)
        sizes = (*(train.source_classes or (train.n_classes,) * len(train.sources)), train.n_classes)
        tasks = [columns(part, k) for part, k in zip((*flat.sources, flat.shots), sizes, strict=True)]
        xs, ys = [x - x.mean(0) for x, _ in tasks], [y - y.mean(0) for _, y in tasks]
        none = torch.cat([x.T @ y / len(x) for x, y in zip(xs, ys, strict=True)], 1)  # the gradient at W = 0
        alpha = self.sparsity * float(none.norm(dim=1).max())
        w = solved(xs, ys, alpha, self.iterations)[-1]
        x, y = tasks[-1]
        intercept = y.mean(0) - x.mean(0) @ w
        return FittedPredictor(nn.Sequential(embed, LinearMap(w, intercept)))


class LinearMap(nn.Module):
    """(n, d) rows -> x W + b in double precision, (n, k)."""

    w: Tensor
    intercept: Tensor

    def __init__(self, w: Tensor, intercept: Tensor) -> None:
        super().__init__()
        self.register_buffer("w", w)
        self.register_buffer("intercept", intercept)

    def forward(self, x: Tensor) -> Tensor:
        return (x.double() @ self.w + self.intercept).float()


def columns(part: Labeled, k: int) -> tuple[Tensor, Tensor]:
    """Inputs (n, d) and labels (n, k), one column a class, or (n, 1) numbers, in double precision."""
    y = part.y[:, None] if part.y.is_floating_point() else one_hot(part.y, k)
    return part.x.double(), y.double()


def solved(xs: Sequence[Tensor], ys: Sequence[Tensor], alpha: float, iterations: int) -> list[Tensor]:
    """The tasks' (d, k_t) weights that minimise the sum of squares and `alpha` times the l2,1 norm."""
    grams = [x.T @ x / len(x) for x in xs]
    aims = torch.cat([x.T @ y / len(x) for x, y in zip(xs, ys, strict=True)], 1)
    sizes = [y.shape[1] for y in ys]
    step = 1 / max(float(torch.linalg.eigvalsh(g)[-1].clamp(min=1e-12)) for g in grams)
    w = ahead = torch.zeros_like(aims)
    t = 1.0
    for _ in range(iterations):
        before = w
        slope = torch.cat([g @ part for g, part in zip(grams, torch.split(ahead, sizes, 1), strict=True)], 1) - aims
        moved = ahead - step * slope
        shrunk = moved * (1 - alpha * step / moved.norm(dim=1, keepdim=True).clamp(min=1e-30)).clamp(min=0)
        t_next = (1 + (1 + 4 * t * t) ** 0.5) / 2
        ahead, w, t = shrunk + (t - 1) / t_next * (shrunk - w), shrunk, t_next
    if float((w - before).norm()) > 1e-3 * float(w.norm()):  # the loss is then about as far above its least, as a share
        warnings.warn(NotConverged("the group lasso stopped at its limit of iterations"), stacklevel=2)
    return list(torch.split(w, sizes, 1))
