"""JDA: joint distribution adaptation.

Long et al., ICCV 2013, algorithm 1, on the embedded inputs: TCA whose discrepancy is of the marginals and of every
class, the target's classes being guessed by the nearest neighbour and guessed anew in each round:

    max  W^T X^T H X W   subject to   W^T (X^T (M_0 + sum over classes c of M_c) X + lambda I) W = I

The first round knows no guess and is TCA. As in the authors' code, rows have norm 1 before and after the map, M_0 is
times the number of classes, so that it weighs as all of them, and M is over its Frobenius norm. The vectors are the
largest of the problem as written here: those of its reciprocal have another length, which whitens the components.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from sklearn.neighbors import KNeighborsClassifier

from tlbench.training.kernels import Array, Components, Kind, components, contrasts, features_of, unit
from tlbench.training.shallow import Labels, MappingMethod, Move


@dataclass(frozen=True)
class JDA(MappingMethod):
    """Find components along which the domains and their classes have equal means.

    >>> import numpy as np
    >>> from tlbench import Train
    >>> y = np.arange(60) % 3
    >>> x = np.random.default_rng(0).normal(6 * np.eye(3)[y])
    >>> train = Train.of(x, y, x + 1)
    >>> JDA(steps=30).fit(train, seed=0)(train.target.x).argmax(1)[:6].tolist()
    [0, 1, 2, 0, 1, 2]
    """

    dims: int = 100  # k
    penalty: float = 1.0  # lambda
    kernel: Kind = "primal"
    rounds: int = 10  # T

    family: ClassVar[str] = "distribution-based"
    paper: ClassVar[str] = "Long et al., Transfer feature learning with joint distribution adaptation, ICCV 2013"
    needs: ClassVar[frozenset[str]] = frozenset({"sources", "same task"})
    search: ClassVar[dict[str, tuple[object, ...]]] = {
        "dims": ("choice", 10, 20, 50, 100, 200),
        "penalty": ("log", 1e-3, 1e2),
        "kernel": ("choice", "primal", "linear", "rbf"),
    }

    def moved(self, xs: Array, ys: Labels, xt: Array, seed: int) -> tuple[Array, Move]:
        rows, n = unit(np.concatenate([xs, xt])), len(xs)
        features = features_of(self.kernel, rows, "JDA")
        z = features(rows)
        w, _ = adapted(z, ys, self.dims, self.penalty, self.rounds)
        return unit(z[:n] @ w), Components(features, w)


def adapted(z: Array, ys: Labels, dims: int, penalty: float, rounds: int) -> tuple[Array, Labels]:
    """The (p, k) components of (n + m, p) rows, the n sources' first, and the (m,) classes that they guess."""
    n = len(ys)
    e = marginal = contrasts(n, len(z) - n) * len(np.unique(ys)) ** 0.5
    for i in range(rounds):
        w = components(z, e / np.linalg.norm(e.T @ e) ** 0.5, penalty, dims)
        rows = unit(z @ w)
        guess = KNeighborsClassifier(1).fit(rows[:n], ys).predict(rows[n:])
        if i + 1 < rounds:
            e = np.concatenate([marginal, contrasts(n, len(guess), ys, guess)], 1)
    return w, guess
