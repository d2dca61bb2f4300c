"""RLLS: regularised learning under label shift.

Azizzadenesheli et al., ICLR 2019, equations 4 to 6. With C and mu as in black-box shift estimation and theta = w - 1,

    min over theta >= -1  of  ||C theta - (mu - C 1)||_2 + Delta ||theta||_2,   w = 1 + gamma theta

few samples draw the weights to 1. Delta is `penalty` times 3 (2 log(2c/delta) / (3n) + sqrt(2 log(2c/delta) / n)),
the paper's bound on C's error from n held-out samples of c classes; 0.01 is the authors' code's. The problem is convex;
sequential quadratic programming solves it.
"""

import warnings
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.optimize import minimize

from tlbench import NotConverged
from tlbench.training.kernels import Array
from tlbench.training.label_shift import LabelShiftMethod, confusion
from tlbench.training.shallow import Labels

STEPS = 1000  # of sequential quadratic programming


@dataclass(frozen=True)
class RLLS(LabelShiftMethod):
    """Invert the confusion matrix, and trust it as far as the samples allow.

    >>> import numpy as np
    >>> from tlbench import Train
    >>> y = np.arange(60) % 3
    >>> x = np.random.default_rng(0).normal(6 * np.eye(3)[y])
    >>> train = Train.of(x, y, x + 1)
    >>> RLLS(steps=30).fit(train, seed=0)(train.target.x).argmax(1)[:6].tolist()
    [0, 1, 2, 0, 1, 2]
    """

    penalty: float = 0.01  # of the bound on the confusion matrix's error
    gamma: float = 1.0  # how much of the shift is corrected
    delta: float = 0.05  # the bound holds with probability 1 - delta

    family: ClassVar[str] = "distribution-based"
    paper: ClassVar[str] = "Azizzadenesheli et al., Regularized learning for domain adaptation under label shifts, 2019"
    needs: ClassVar[frozenset[str]] = frozenset({"sources", "same task"})
    search: ClassVar[dict[str, tuple[object, ...]]] = {
        "penalty": ("log", 1e-3, 1.0),
        "gamma": ("linear", 0.2, 1.0),
        "correction": ("choice", "retrain", "posterior"),
    }

    def class_weights(self, source: Array, y: Labels, target: Array) -> Array:
        source, target = (np.eye(x.shape[1])[x.argmax(1)] for x in (source, target))
        c = confusion(source, y)
        size = np.log(2 * len(c) / self.delta) / len(y)
        penalty = self.penalty * 3 * (2 * size / 3 + (2 * size) ** 0.5)
        return 1 + self.gamma * deviation(c, target.mean(0) - c.sum(1), penalty)


def deviation(c: Array, b: Array, penalty: float) -> Array:
    """The (c,) theta."""

    def loss(theta: Array) -> tuple[float, Array]:
        rest = c @ theta - b
        fit, size = (np.sqrt(v @ v + 1e-16) for v in (rest, theta))  # smooth where a norm is 0
        return float(fit + penalty * size), c.T @ rest / fit + penalty * theta / size

    start = np.maximum(np.linalg.lstsq(c, b, rcond=1e-8)[0], -0.5)
    bounds = [(-1.0, None)] * len(b)
    found = minimize(loss, start, jac=True, method="SLSQP", bounds=bounds, options={"maxiter": STEPS, "ftol": 1e-13})
    if found.status == 9:  # the limit; 8 is a line search at rounding that finds nothing lower
        warnings.warn(NotConverged("RLLS's quadratic programming stopped at its limit of steps"), stacklevel=2)
    return np.asarray(found.x)
