"""l2,1 selection: the features that all tasks share, and nothing else.

Obozinski, Taskar & Jordan, Statistics and Computing 2010, equation 2, with the source's classes (or its number) as
the tasks: on the embedded inputs about their mean,

    min over W (d, c)   ||Y - X W||_F^2 / (2 n)  +  alpha sum over features j of ||w_j||_2

whole rows of W vanish together, and the features of those that stay are kept. It is the support of the source's
solution that is transferred, not W's values: the classifier above is fitted anew, on the source's labels and the shots.
alpha is a share of the smallest one at which every row vanishes; the paper follows the whole path and cross-validates,
the default of a tenth is ours. The solver is scikit-learn's coordinate descent.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from sklearn.linear_model import MultiTaskLasso

from tlbench.training.convergence import scikit_learns
from tlbench.training.kernels import Array, Columns
from tlbench.training.shallow import Labels, MappingMethod, Move


@dataclass(frozen=True)
class L21Selection(MappingMethod):
    """Keep the features that the source's tasks use jointly.

    >>> import numpy as np
    >>> from tlbench import Train
    >>> y = np.arange(60) % 3
    >>> x = np.random.default_rng(0).normal(6 * np.eye(3)[y])
    >>> train = Train.of(x, y, x + 1)
    >>> L21Selection(steps=30).fit(train, seed=0)(train.target.x).argmax(1)[:6].tolist()
    [0, 1, 2, 0, 1, 2]
    """

    share: float = 0.1  # alpha over the alpha at which nothing is left

    family: ClassVar[str] = "feature-based"
    paper: ClassVar[str] = "Obozinski, Taskar & Jordan, Joint covariate selection, Statistics and Computing 2010"
    needs: ClassVar[frozenset[str]] = frozenset({"sources", "same task"})
    regimes: ClassVar[frozenset[str]] = frozenset({"classification", "regression"})
    search: ClassVar[dict[str, tuple[object, ...]]] = {"share": ("log", 1e-3, 0.9)}

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.share < 1:
            raise ValueError(f"share is {self.share}, it must lie between 0 and 1")

    def moved(self, xs: Array, ys: Labels, xt: Array, seed: int) -> tuple[Array, Move]:
        classes = np.issubdtype(ys.dtype, np.integer)
        y = (ys[:, None] == np.unique(ys)).astype(float) if classes else ys[:, None].astype(float)
        norms = np.linalg.norm(coefficients(xs, y, self.share), axis=1)
        stay = np.flatnonzero(norms) if norms.any() else np.arange(len(norms))
        return xs[:, stay], Columns(stay)


def coefficients(x: Array, y: Array, share: float) -> Array:
    """(d, c) solution for (n, d) rows and (n, c) numbers to tell."""
    x, y = x - x.mean(0), y - y.mean(0)
    largest = float(np.linalg.norm(x.T @ y, axis=1).max()) / len(x)
    if largest == 0:
        return np.zeros((x.shape[1], y.shape[1]))
    # A seed of its own: without one it draws from numpy's generator, cyclic as its steps are.
    model = MultiTaskLasso(share * largest, fit_intercept=False, tol=1e-6, max_iter=2000, random_state=0)
    with scikit_learns("the group lasso"):  # near enough for the support
        return np.asarray(model.fit(np.asfortranarray(x), y).coef_.T)
