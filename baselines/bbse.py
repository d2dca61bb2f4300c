"""BBSE: black-box shift estimation.

Lipton, Wang & Smola, ICML 2018, section 3 and algorithm 1. Where only the classes' proportions change, a classifier's
confusion does not: with C_ij = p_S(told i, class j) on held-out source samples and mu_i = p_T(told i),

    w = C^(-1) mu,   w_j = p_T(j) / p_S(j)

negative weights counting as 0. `soft` takes probabilities in the place of decisions. Where C is singular to rounding,
w is the least-squares solution of least norm. Then the classifier is trained on all sources with the classes weighed
(`correction` "retrain", the paper's), or its scores move by log w ("posterior").
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tlbench.training.kernels import Array
from tlbench.training.label_shift import LabelShiftMethod, confusion
from tlbench.training.shallow import Labels


@dataclass(frozen=True)
class BBSE(LabelShiftMethod):
    """Invert the confusion matrix to learn the target's proportions of classes.

    >>> import numpy as np
    >>> from tlbench import Train
    >>> y = np.arange(60) % 3
    >>> x = np.random.default_rng(0).normal(6 * np.eye(3)[y])
    >>> train = Train.of(x, y, x + 1)
    >>> BBSE(steps=30).fit(train, seed=0)(train.target.x).argmax(1)[:6].tolist()
    [0, 1, 2, 0, 1, 2]
    """

    soft: bool = False

    family: ClassVar[str] = "distribution-based"
    paper: ClassVar[str] = "Lipton, Wang & Smola, Detecting and correcting for label shift, ICML 2018"
    needs: ClassVar[frozenset[str]] = frozenset({"sources", "same task"})
    search: ClassVar[dict[str, tuple[object, ...]]] = {
        "soft": ("choice", False, True),
        "correction": ("choice", "retrain", "posterior"),
        "held": ("linear", 0.2, 0.5),
    }

    def class_weights(self, source: Array, y: Labels, target: Array) -> Array:
        return solved(source, y, target) if self.soft else solved(decided(source), y, decided(target))


def solved(source: Array, y: Labels, target: Array) -> Array:
    """(c,) w = C^(-1) mu."""
    return np.asarray(np.linalg.lstsq(confusion(source, y), target.mean(0), rcond=1e-8)[0])


def decided(probabilities: Array) -> Array:
    """Each row's largest entry as 1, the others 0."""
    return np.asarray(np.eye(probabilities.shape[1])[probabilities.argmax(1)])
