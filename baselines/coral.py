"""CORAL: recolour the source with the target's covariance, then train as usual.

Sun, Feng & Saenko, AAAI 2016, algorithm 1, on the embedded inputs (rows are samples):

    C_S = cov(X_S) + reg * I,   C_T = cov(X_T) + reg * I,   X_S <- X_S C_S^(-1/2) C_T^(1/2)

The paper assumes features normalised to zero mean; `center` does that: each domain's own mean is taken off before the
map and the target's put on after it, so means are matched too. Without it a shift of the mean survives. The classifier
above is the card's, trained like every reference, or what `classifier` names: the paper's is a linear support vector
machine.
"""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from tlbench import Labeled, Predictor, Train
from tlbench.training.features import embedded
from tlbench.training.predictors import chain
from tlbench.training.shallow import Ending, ended
from tlbench.training.trainer import TrainedMethod


@dataclass(frozen=True)
class CORAL(TrainedMethod):
    """Match the second moments of source and target in closed form.

    >>> import numpy as np
    >>> from tlbench import Train
    >>> y = np.arange(60) % 3
    >>> x = np.random.default_rng(0).normal(6 * np.eye(3)[y])
    >>> train = Train.of(x, y, x + 1)
    >>> CORAL(steps=30).fit(train, seed=0)(train.target.x).argmax(1)[:6].tolist()
    [0, 1, 2, 0, 1, 2]
    """

    reg: float = 1.0  # the paper's identity, added to both covariances
    center: bool = True
    classifier: Ending = "card"  # above the recoloured source: the card's network, 1-NN, or scikit-learn's
    penalties: int = 1  # of scikit-learn's: how many C are tried by cross-validation on the moved source

    family: ClassVar[str] = "feature-based"
    paper: ClassVar[str] = "Sun, Feng & Saenko, Return of frustratingly easy domain adaptation, AAAI 2016"
    needs: ClassVar[frozenset[str]] = frozenset({"sources"})
    search: ClassVar[dict[str, tuple[object, ...]]] = {
        "lr": ("log", 1e-3, 1e-1),
        "reg": ("log", 1e-3, 10.0),
        "center": ("choice", True, False),
        "weight_decay": ("log", 1e-5, 1e-2),
    }

    def fit(self, train: Train, seed: int) -> Predictor:
        flat, embed = embedded(train, seed, self.erm)
        moved = tuple(Labeled(recolored(s.x, flat.target.x, self.reg, self.center), s.y) for s in flat.sources)
        predict = ended(replace(flat, sources=moved), self.classifier, seed, self.erm, self.penalties)
        return chain(embed, predict)


def recolored(xs: Tensor, xt: Tensor, reg: float, center: bool) -> Tensor:
    """(n, d) source rows with the second moments of the (m, d) target rows."""
    s, t = xs.double(), xt.double()
    ms, mt = (s.mean(0), t.mean(0)) if center else (torch.zeros_like(s[0]), torch.zeros_like(t[0]))
    white = times_power(s - ms, s, reg, -0.5)
    return (times_power(white, t, reg, 0.5) + mt).to(xs.dtype)


def times_power(rows: Tensor, x: Tensor, reg: float, exponent: float) -> Tensor:
    """`rows @ (cov(x) + reg * I) ** exponent`, where null directions of a singular matrix stay null.

    With the eigenvectors V and eigenvalues l of cov(x), the power is r I + V^T ((l + reg)^e - r) V, r = reg^e. Of the
    (n, n) Gram and the (d, d) covariance matrix, which share l, the smaller one is decomposed.
    """
    z = (x - x.mean(0)) / (len(x) - 1) ** 0.5
    values, vectors = torch.linalg.eigh(z @ z.T if len(z) < z.shape[1] else z.T @ z)
    keep = values > 1e-10 * values[-1]
    values, vectors = values[keep], vectors[:, keep].T  # (r,), (r, n or d)
    if len(z) < z.shape[1]:
        vectors = (vectors @ z) / values.sqrt()[:, None]  # (r, d)
    rest = reg**exponent if reg > 0 else 0.0
    out: Tensor = rest * rows + (rows @ vectors.T) * ((values + reg).pow(exponent) - rest) @ vectors
    return out
