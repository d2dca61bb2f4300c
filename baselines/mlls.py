"""MLLS: the proportions under which the target's inputs are likeliest.

Saerens, Latinne & Decaestecker, Neural Computation 2002, equation 2.9, by expectation and maximisation to convergence,

    q_c <- mean over target x of  q_c p(c | x) / p_c  /  sum over k of q_k p(k | x) / p_k

with the calibration of Alexandari, Kundaje & Shrikumar, ICML 2020: on held-out source samples the log-probabilities are
divided by a temperature and moved by a bias for each class ("bias", their BCTS) or the temperature alone, so that the
log-loss is least; p is the mean of the calibrated probabilities there. The scores move by log q_c / p_c. The likelihood
is concave in q: there is one maximum.
"""

import warnings
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax

from tlbench import NotConverged
from tlbench.training.kernels import Array
from tlbench.training.label_shift import LabelShiftMethod
from tlbench.training.shallow import Labels

STEPS = 15_000  # of L-BFGS, scipy's


@dataclass(frozen=True)
class MLLS(LabelShiftMethod):
    """Find the target's proportions of classes by maximum likelihood.

    >>> import numpy as np
    >>> from tlbench import Train
    >>> y = np.arange(60) % 3
    >>> x = np.random.default_rng(0).normal(6 * np.eye(3)[y])
    >>> train = Train.of(x, y, x + 1)
    >>> MLLS(steps=30).fit(train, seed=0)(train.target.x).argmax(1)[:6].tolist()
    [0, 1, 2, 0, 1, 2]
    """

    correction: Literal["retrain", "posterior"] = "posterior"
    calibration: Literal["none", "temperature", "bias"] = "bias"
    tolerance: float = 1e-8  # of the proportions, in one step of EM

    family: ClassVar[str] = "distribution-based"
    paper: ClassVar[str] = "Saerens, Latinne & Decaestecker, Adjusting the outputs of a classifier, Neural Comp. 2002"
    needs: ClassVar[frozenset[str]] = frozenset({"sources", "same task"})
    search: ClassVar[dict[str, tuple[object, ...]]] = {
        "calibration": ("choice", "none", "temperature", "bias"),
        "correction": ("choice", "retrain", "posterior"),
        "held": ("linear", 0.2, 0.5),
    }

    def calibrated(self, source: Array, y: Labels, target: Array) -> tuple[Array, Array]:
        if self.calibration == "none":
            return np.exp(source), np.exp(target)
        slope, bias = calibration(source, y, self.calibration == "bias")
        source, goal = (log_softmax(slope * x + bias, 1) for x in (source, target))
        return np.exp(source), np.exp(goal)

    def class_weights(self, source: Array, y: Labels, target: Array) -> Array:
        p = source.mean(0) if self.calibration == "bias" else np.bincount(y, minlength=source.shape[1]) / len(y)
        return np.asarray(proportions(target, p, self.tolerance) / p)


def proportions(target: Array, p: Array, tolerance: float, rounds: int = 100_000) -> Array:
    """(c,) q, given (m, c) probabilities under the (c,) proportions p."""
    ratio, q = target / np.maximum(p, 1e-12), p
    for _ in range(rounds):
        before, mixture = q, ratio @ q
        q = q * (ratio / np.maximum(mixture, 1e-300)[:, None]).mean(0)
        q = q / q.sum()
        if np.abs(q - before).max() < tolerance:
            break
    else:
        warnings.warn(NotConverged("the EM of the classes' proportions stopped at its limit of rounds"), stacklevel=2)
    return np.asarray(q)


def calibration(source: Array, y: Labels, biased: bool) -> tuple[float, Array]:
    """1 / temperature and the (c,) biases of least log-loss on (n, c) log-probabilities; the last bias is 0."""
    n, c = source.shape
    member = np.eye(c)[y]

    def loss(at: Array) -> tuple[float, Array]:
        logs = log_softmax(at[0] * source + np.r_[at[1:], np.zeros(c + 1 - len(at))], 1)
        rest = np.exp(logs) - member
        own = [float((rest * source).sum())]
        return -float(logs[np.arange(n), y].mean()), np.r_[own, rest.sum(0)[: len(at) - 1]] / n

    start = np.r_[1.0, np.zeros(c - 1 if biased else 0)]
    bounds = [(1e-2, 1e2)] + [(-10.0, 10.0)] * (len(start) - 1)  # separable samples have no optimum
    options = {"gtol": 1e-10, "ftol": 1e-14, "maxiter": STEPS}
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    if found.status == 1:  # the limit; 2 is a line search at rounding that finds nothing lower
        warnings.warn(NotConverged("the calibration's L-BFGS stopped at its limit of iterations"), stacklevel=2)
    return float(found.x[0]), np.r_[found.x[1:], np.zeros(c + 1 - len(start))]
