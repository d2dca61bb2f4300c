"""BDA: balanced distribution adaptation.

Wang et al., ICDM 2017, equation 10, on the embedded inputs: JDA whose marginal and class-wise discrepancies are weighed
against each other by a balance mu,

    M = (1 - mu) M_0 + mu sum over classes c of M_c

With `weighted` (the paper's W-BDA, equation 13) the target's half of class c is scaled by sqrt(P_T(c) / P_S(c)) of the
guessed classes, for classes whose proportions change. The paper estimates mu by the A-distance of the two; we leave
that out, `balance` is a field. Rows have norm 1 before and after the map, as in JDA.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from sklearn.neighbors import KNeighborsClassifier

from tlbench.training.kernels import Array, Components, Kind, components, contrasts, features_of, unit
from tlbench.training.shallow import Labels, MappingMethod, Move


@dataclass(frozen=True)
class BDA(MappingMethod):
    """Balance the discrepancy of the domains against that of their classes.

    >>> import numpy as np
    >>> from tlbench import Train
    >>> y = np.arange(60) % 3
    >>> x = np.random.default_rng(0).normal(6 * np.eye(3)[y])
    >>> train = Train.of(x, y, x + 1)
    >>> BDA(steps=30).fit(train, seed=0)(train.target.x).argmax(1)[:6].tolist()
    [0, 1, 2, 0, 1, 2]
    """

    dims: int = 100
    penalty: float = 1.0  # lambda
    balance: float = 0.5  # mu
    weighted: bool = False
    kernel: Kind = "primal"
    rounds: int = 10

    family: ClassVar[str] = "distribution-based"
    paper: ClassVar[str] = "Wang et al., Balanced distribution adaptation for transfer learning, ICDM 2017"
    needs: ClassVar[frozenset[str]] = frozenset({"sources", "same task"})
    search: ClassVar[dict[str, tuple[object, ...]]] = {
        "dims": ("choice", 10, 20, 50, 100, 200),
        "penalty": ("log", 1e-3, 1e2),
        "balance": ("linear", 0.0, 1.0),
        "weighted": ("choice", False, True),
    }

    def moved(self, xs: Array, ys: Labels, xt: Array, seed: int) -> tuple[Array, Move]:
        rows, n = unit(np.concatenate([xs, xt])), len(xs)
        features = features_of(self.kernel, rows, "BDA")
        z = features(rows)
        e = contrasts(n, len(xt))
        for i in range(self.rounds):
            w = components(z, e / np.linalg.norm(e.T @ e) ** 0.5, self.penalty, self.dims)
            if i + 1 < self.rounds:
                moved = unit(z @ w)
                guess = KNeighborsClassifier(1).fit(moved[:n], ys).predict(moved[n:])
                e = balanced(ys, guess, self.balance, self.weighted)
        return unit(z[:n] @ w), Components(features, w)


def balanced(ys: Labels, guess: Labels, balance: float, weighted: bool) -> Array:
    """(n + m, 1 + c) contrasts e whose e e^T is M."""
    n, m = len(ys), len(guess)
    classes = contrasts(n, m, ys, guess)
    if weighted:
        shared = np.intersect1d(ys, guess)
        theirs, ours = (np.mean(y[:, None] == shared, axis=0) for y in (guess, ys))
        classes[n:] *= np.sqrt(theirs / ours)
    return np.concatenate([(1 - balance) ** 0.5 * contrasts(n, m), balance**0.5 * classes], 1)
