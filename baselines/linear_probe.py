"""Linear probe: the source's features, frozen, and a logistic regression on the target's labels.

Donahue et al., ICML 2014 (DeCAF), section 4: train the network on the sources, keep its features, and fit an
L2-regularised logistic regression on the standardised features of the shots. The penalty is chosen by stratified
min(k, 5)-fold cross-validation of the log-loss inside the shots; with one label a class there is nothing to
hold out and C = 1 stands. At k = 0 the probe is fitted on the source labels instead.
"""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from tlbench import Labeled, Learner, Predictor, Train
from tlbench.training.convergence import scikit_learns
from tlbench.training.features import in_batches, nothing_of
from tlbench.training.predictors import FittedLearner, FittedPredictor, LinearModel
from tlbench.training.trainer import TrainedMethod


@dataclass(frozen=True)
class LinearProbe(TrainedMethod):
    """Freeze what the source taught; fit the last layer on the shots.

    >>> import numpy as np
    >>> from tlbench import Train
    >>> y = np.arange(60) % 3
    >>> x = np.random.default_rng(0).normal(6 * np.eye(3)[y])
    >>> train = Train.of(x, y, x + 1)
    >>> LinearProbe(steps=30).fit(train, seed=0)(train.target.x).argmax(1)[:6].tolist()
    [0, 1, 2, 0, 1, 2]
    """

    penalties: int = 7  # how many C are tried, evenly on 10^-4 .. 10^2

    family: ClassVar[str] = "feature-based"
    paper: ClassVar[str] = "Donahue et al., DeCAF: a deep convolutional activation feature, ICML 2014"
    needs: ClassVar[frozenset[str]] = frozenset()
    regimes: ClassVar[frozenset[str]] = frozenset({"classification", "episodes"})
    search: ClassVar[dict[str, tuple[object, ...]]] = {
        "lr": ("log", 1e-3, 1e-1),
        "weight_decay": ("log", 1e-5, 1e-2),
    }

    def fit(self, train: Train, seed: int) -> Predictor | Learner:
        if train.sources:
            features = self.erm.trained(replace(train, shots=nothing_of(train.shots)), seed)["features"]
        else:
            features = train.backbone()
        embed = in_batches(features, train.device)
        if train.episodes:
            return FittedLearner(ProbeOfSupport(self, embed, train.n_classes, seed))
        labeled = train.shots
        if not len(labeled):
            x, y = (torch.cat([getattr(s, part) for s in train.sources]) for part in "xy")
            labeled = Labeled(x, y)
        return self.probe(labeled, embed, train.n_classes, seed)

    def probe(self, labeled: Labeled, embed: nn.Module, n_classes: int, seed: int) -> Predictor:
        """The logistic regression on the embedded samples."""
        found = fitted(embed(labeled.x).double().numpy(), labeled.y.numpy(), self.penalties, seed)
        scaler, model = getattr(found, "best_estimator_", found)
        return FittedPredictor(Probe(embed, LinearModel(model, scaler), n_classes))


class Probe(nn.Module):
    """Log-probabilities of the embedded inputs; a class without a shot is never predicted."""

    def __init__(self, embed: nn.Module, model: LinearModel, n_classes: int) -> None:
        super().__init__()
        self.embed, self.model, self.n_classes = embed, model, n_classes

    def forward(self, x: Tensor) -> Tensor:
        out = torch.full((len(x), self.n_classes), -1e9)
        margins = torch.as_tensor(self.model(self.embed(x).double().numpy()))
        if margins.ndim == 1:  # of two classes: one margin, the second's over the first
            margins = torch.stack([torch.zeros_like(margins), margins], 1)
        out[:, self.model.classes] = margins.log_softmax(1).float()  # finite however sure it is
        return out


class ProbeOfSupport(nn.Module):
    """A probe fitted on each episode's support."""

    def __init__(self, method: LinearProbe, embed: nn.Module, n_classes: int, seed: int) -> None:
        super().__init__()
        self.method, self.embed, self.n_classes, self.seed = method, embed, n_classes, seed

    def forward(self, support: Labeled, x: Tensor) -> Tensor:
        return self.method.probe(support, self.embed, self.n_classes, self.seed)(x)


def fitted(x: np.ndarray[Any, Any], y: np.ndarray[Any, Any], penalties: int, seed: int) -> Any:
    """Standardisation and logistic regression on (n, d) features, C by cross-validated log-loss."""
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=200))
    folds = min(5, int(np.bincount(y)[np.unique(y)].min()))
    with scikit_learns("a logistic regression"):  # the weakest penalties may not settle
        if folds < 2:
            return probe.fit(x, y)
        grid = {"logisticregression__C": np.logspace(-4, 2, penalties)}
        inside = StratifiedKFold(folds, shuffle=True, random_state=seed)
        return GridSearchCV(probe, grid, scoring="neg_log_loss", cv=inside).fit(x, y)
