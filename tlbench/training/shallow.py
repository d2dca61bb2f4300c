"""What the methods on matrices share: the base of those that move samples, the base of those that weigh them.

Both take the embedded inputs in doubles. Several sources are pooled. What comes after is a small classifier: the
card's network, the nearest neighbour, a logistic regression or a linear support vector machine.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.svm import SVC
from torch import Tensor, nn

from tlbench.data import Labeled, Predictor, Train, Unlabeled
from tlbench.errors import NotApplicable
from tlbench.training.convergence import scikit_learns
from tlbench.training.features import embedded
from tlbench.training.kernels import Array
from tlbench.training.networks import Backbone, Float
from tlbench.training.predictors import FittedPredictor, FromSamples, LinearModel, chain, module_of, predictor
from tlbench.training.trainer import ERM, TrainedMethod

Labels = NDArray[Any]  # (n,) int64 classes, float32 numbers
Move = Callable[[Array], Array]  # (n, d) target rows -> (n, k)
Ending = Literal["card", "nearest", "logistic", "svm"]
NEVER = -1e9  # the score of a class that no label names
ROWS = 20_000  # at most so many rows are drawn by weight


@dataclass(frozen=True)
class MappingMethod(TrainedMethod):
    """Moves source and target rows to a common place, and trains a classifier there on every label."""

    classifier: Ending = "card"  # above the moved features: the card's network, 1-NN, or scikit-learn's

    @abstractmethod
    def moved(self, xs: Array, ys: Labels, xt: Array, seed: int) -> tuple[Array, Move]:
        """(n, d) labelled source and (m, d) unlabelled target rows -> the moved source, the target's map."""

    def fit(self, train: Train, seed: int) -> Predictor:
        flat, embed = embedded(train, seed, self.erm)
        xs, ys = pooled(flat)
        zs, move = self.moved(xs, ys, matrix(flat.target.x), seed)
        predict, unit = in_common_place(flat, zs, move)
        score = ended(predict, self.classifier, seed, self.erm)
        return chain(embed, unit, score)


class CommonPlace(nn.Module):
    """Target inputs (n, d) -> moved, shifted and scaled floats (n, k)."""

    centre: Tensor

    def __init__(self, move: Move, centre: Array, scale: float) -> None:
        super().__init__()
        self.move, self.scale = module_of(move), scale
        self.register_buffer("centre", torch.from_numpy(centre))

    def forward(self, x: Tensor) -> Tensor:
        return self.of(self.move(matrix(x)))

    def of(self, z: Array) -> Tensor:
        """Rows that are moved already."""
        return torch.from_numpy((z - self.centre.numpy()) / self.scale).float()


def in_common_place(flat: Train, zs: Array, move: Move) -> tuple[Train, CommonPlace]:
    """`flat` with moved rows, and the map of target inputs; one shift and one scale give it mean 0 and variance 1.

    The scale is one number, since the length of a component says how much it matters.
    """
    everything = np.concatenate([zs, move(matrix(flat.target.x))])
    centre = everything.mean(0)
    scale = float(np.sqrt(np.mean((everything - centre) ** 2))) or 1.0

    unit = CommonPlace(move, centre, scale)
    ends = np.cumsum([len(s) for s in flat.sources])[:-1]
    parts = [unit.of(z) for z in np.split(zs, ends)]
    sources = tuple(Labeled(z, s.y) for z, s in zip(parts, flat.sources, strict=True))
    above = flat.backbone if zs.shape[1] == flat.target.x.shape[1] else resized(flat, zs.shape[1])
    shots = Labeled(unit(flat.shots.x), flat.shots.y)
    return replace(flat, sources=sources, target=Unlabeled(unit(flat.target.x)), shots=shots, backbone=above), unit


def resized(flat: Train, d: int) -> Callable[[], nn.Module]:
    """The card's network above features as a maker of one above d features: as wide, drawn anew."""
    card: Any = flat.backbone()
    bare = isinstance(card.trunk, nn.Identity)
    width = d if bare else int(card.width)

    def above() -> Backbone:
        trunk = nn.Identity() if bare else nn.Sequential(nn.Linear(d, width), nn.ReLU())
        return Backbone(Float(), nn.Identity(), trunk, width)

    return above


def matrix(x: Tensor) -> Array:
    """(n, d) doubles."""
    out: Array = x.flatten(1).double().numpy()
    return out


def pooled(flat: Train) -> tuple[Array, Labels]:
    """All sources' rows, (n, d) and (n,)."""
    return matrix(torch.cat([s.x for s in flat.sources])), torch.cat([s.y for s in flat.sources]).numpy()


def known(flat: Train) -> Labeled:
    """Every sample that bears a label of the target's classes: the sources', where theirs do, and the shots."""
    parts = [*(flat.sources if flat.same_task else ()), flat.shots]
    return Labeled(torch.cat([p.x for p in parts]), torch.cat([p.y for p in parts]))


def ended(flat: Train, classifier: Ending, seed: int, trainer: ERM, penalties: int = 1) -> Predictor:
    """A classifier of rows, trained on every label of `flat`.

    Args:
        penalties: of scikit-learn's, how many C are tried (see `linear`)

    Raises:
        NotApplicable: a number is to be predicted, and the classifier tells classes.
    """
    if classifier == "card":
        return predictor(trainer.trained(flat, seed), flat.device)
    if flat.regime != "classification":
        raise NotApplicable(f"classifier={classifier!r} tells classes; where numbers are predicted, take 'card'")
    labeled = known(flat)
    if classifier == "nearest":
        return FittedPredictor(FromSamples(nn.Identity(), nearest, labeled, flat.n_classes))
    return linear(matrix(labeled.x), labeled.y.numpy(), flat.n_classes, classifier, seed, penalties=penalties)


def nearest(x: Tensor, labeled: Labeled, n_classes: int) -> Tensor:
    """Minus the distance of (n, d) rows to the nearest labelled one of each class, (n, n_classes)."""
    distance = torch.cdist(x.double(), labeled.x.double(), compute_mode="donot_use_mm_for_euclid_dist")
    out = torch.full((len(x), n_classes), NEVER, dtype=torch.float64)
    return out.scatter_reduce(1, labeled.y.expand(len(x), -1), -distance, "amax")


def linear(
    x: Array,
    y: Labels,
    n_classes: int,
    kind: Literal["logistic", "svm"],
    seed: int,
    weights: Array | None = None,
    penalties: int = 1,
) -> Predictor:
    """scikit-learn's linear classifier of (n, d) rows; a class without a label is never told.

    Args:
        kind: a logistic regression, or libsvm's support vector machine without a kernel, as in the classic tables
        penalties: 1 takes C = 1; of more, evenly on 10^-4 .. 10^2, the one that is right most often in two-fold
            cross-validation (as in the code published with CORAL), the smallest of equals; C = 1 too where a class has
            one row
    """
    if len(np.unique(y)) == 1:  # nothing to tell apart
        only = torch.where(torch.arange(n_classes) == int(y[0]), 0.0, NEVER)
        return FittedPredictor(OneClass(only))
    model = LinearModel(_fitted(x, y, kind, seed, weights, penalties))
    return FittedPredictor(LinearScores(model, n_classes, kind == "logistic"))


class OneClass(nn.Module):
    """The same (n_classes,) scores whatever the rows."""

    scores: Tensor

    def __init__(self, scores: Tensor) -> None:
        super().__init__()
        self.register_buffer("scores", scores)

    def forward(self, rows: Tensor) -> Tensor:
        return self.scores.repeat(len(rows), 1)


class LinearScores(nn.Module):
    """(n, d) rows -> (n, n_classes) margins, or log-probabilities, of the classes that the model knows."""

    def __init__(self, model: LinearModel, n_classes: int, logistic: bool) -> None:
        super().__init__()
        self.model, self.n_classes, self.logistic = model, n_classes, logistic

    def forward(self, rows: Tensor) -> Tensor:
        out = torch.full((len(rows), self.n_classes), NEVER, dtype=torch.float64)
        margins = torch.as_tensor(self.model(matrix(rows)))
        if margins.ndim == 1:  # of two classes: one margin, the second's over the first
            margins = torch.stack([torch.zeros_like(margins), margins], 1)
        out[:, self.model.classes] = margins.log_softmax(1) if self.logistic else margins
        return out


def _fitted(
    x: Array, y: Labels, kind: Literal["logistic", "svm"], seed: int, weights: Array | None, penalties: int
) -> Any:
    model = LogisticRegression(max_iter=1000) if kind == "logistic" else SVC(kernel="linear")
    rows = csr_matrix(x) if np.count_nonzero(x) < 0.1 * x.size else x  # counts of words: many times faster
    with scikit_learns("the classifier"):  # separable classes may not
        if penalties > 1 and np.bincount(y.astype(np.int64))[np.unique(y)].min() > 1:
            folds = StratifiedKFold(2, shuffle=True, random_state=seed)
            grid = GridSearchCV(model, {"C": np.logspace(-4, 2, penalties)}, cv=folds, refit=False)
            model.set_params(**grid.fit(rows, y, sample_weight=weights).best_params_)
        return model.fit(rows, y, weights)


# weighted samples


@dataclass(frozen=True)
class ImportanceWeighting(TrainedMethod):
    """Weighs the source rows by an estimate of p_T(x) / p_S(x), and trains on them and on the shots."""

    classifier: Literal["card", "logistic"] = "card"
    flattening: float = 1.0  # Shimodaira's gamma: the weights' exponent; 0 is no weighting

    @abstractmethod
    def weights(self, xs: Array, xt: Array, seed: int) -> Array:
        """(n,) ratios at the (n, d) source rows, given the (m, d) target rows; any scale."""

    def fit(self, train: Train, seed: int) -> Predictor:
        flat, embed = embedded(train, seed, self.erm)
        ratios = self.weights(pooled(flat)[0], matrix(flat.target.x), seed) ** self.flattening
        score = weighted(flat, ratios, self.classifier, seed, self.erm)
        return chain(embed, score)


def weighted(
    flat: Train, weights: Array, classifier: Literal["card", "logistic"], seed: int, trainer: ERM
) -> Predictor:
    """Empirical risk minimisation over the weighted sources and the shots, whose weight is 1.

    The network's batches are drawn in proportion to the weights: the same risk in the mean as weighting the losses, but
    no single sample's gradient is hundreds of times another's. Equal weights are plain ERM.

    Args:
        weights: (n,) of all sources' samples, of any scale; all the same where they are useless
    """
    total = float(weights.sum())
    weights = weights * (len(weights) / total) if np.isfinite(total) and total > 0 else np.ones(len(weights))
    if classifier == "logistic":
        if flat.regime != "classification":
            raise NotApplicable("classifier='logistic' tells classes; where numbers are predicted, take 'card'")
        labeled, own = known(flat), np.ones(len(flat.shots))
        y = labeled.y.numpy()
        return linear(matrix(labeled.x), y, flat.n_classes, "logistic", seed, np.r_[weights, own])
    if weights.std() > 1e-9:
        recipe = trainer.recipe(flat)
        size = max(len(weights), min(recipe.steps * recipe.batch, ROWS))
        rows = torch.from_numpy(drawn(weights, size, seed))
        x, y_all = (torch.cat([getattr(s, part) for s in flat.sources])[rows] for part in "xy")
        flat = replace(flat, sources=(Labeled(x, y_all),))
    return predictor(trainer.trained(flat, seed), flat.device)


def drawn(weights: Array, size: int, seed: int) -> NDArray[np.int64]:
    """(size,) indices, each as often as its share of the weights says, to within one (systematic resampling)."""
    places = (np.arange(size) + np.random.default_rng(seed).random()) / size
    edges = np.cumsum(weights) / weights.sum()
    return np.asarray(np.minimum(np.searchsorted(edges, places, side="right"), np.flatnonzero(weights)[-1]))
