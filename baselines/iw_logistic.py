"""Importance weights by a domain classifier.

Bickel, Brückner & Scheffer, ICML 2007, and Shimodaira, JSPI 2000, on the embedded inputs: a logistic regression tells
target from source, and by Bayes' rule its odds are the density ratio,

    p_T(x) / p_S(x) = (n_S / n_T) p(target | x) / p(source | x)

to the power `flattening`, with which the source is weighed. With `degree` 2 the regression sees the features' squares
too, so that a change of variance shows. The joint training of both classifiers is left out.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from sklearn.linear_model import LogisticRegression

from tlbench.training.convergence import scikit_learns
from tlbench.training.kernels import Array
from tlbench.training.shallow import ImportanceWeighting


@dataclass(frozen=True)
class IWLogistic(ImportanceWeighting):
    """Weigh the source by the odds of a classifier of the domains.

    >>> import numpy as np
    >>> from tlbench import Train
    >>> x = np.random.default_rng(0).normal(size=(60, 3))
    >>> y = x.sum(1)  # floats: a number is predicted
    >>> train = Train.of(x, y, x + 0.5)
    >>> predicted = IWLogistic(steps=30).fit(train, seed=0)(train.target.x)[:, 0].numpy()
    >>> bool(np.corrcoef(predicted, y)[0, 1] > 0.9)
    True
    """

    penalty: float = 1.0  # 1 / C of the domain classifier
    degree: int = 1

    family: ClassVar[str] = "distribution-based"
    paper: ClassVar[str] = "Bickel, Brückner & Scheffer, Discriminative learning for differing distributions, ICML 2007"
    needs: ClassVar[frozenset[str]] = frozenset({"sources", "same task"})
    regimes: ClassVar[frozenset[str]] = frozenset({"classification", "regression"})
    search: ClassVar[dict[str, tuple[object, ...]]] = {
        "penalty": ("log", 1e-2, 1e4),
        "degree": ("choice", 1, 2),
        "flattening": ("choice", 0.25, 0.5, 0.75, 1.0),
    }

    def weights(self, xs: Array, xt: Array, seed: int) -> Array:
        odds = log_odds(xs, xt, self.penalty, self.degree)
        return np.asarray(np.exp(odds - odds.max()))  # any scale will do, and none overflows


def log_odds(xs: Array, xt: Array, penalty: float, degree: int) -> Array:
    """(n,) log density ratios at the source rows."""
    x = np.concatenate([xs, xt])
    x = np.concatenate([x**p for p in range(1, degree + 1)], 1)
    model = LogisticRegression(C=1 / penalty, max_iter=1000)
    with scikit_learns("the logistic regression of the domains"):  # of domains that nothing confuses
        model.fit(x, np.repeat([0, 1], [len(xs), len(xt)]))
    return np.asarray(model.decision_function(x[: len(xs)]) + np.log(len(xs) / len(xt)))
