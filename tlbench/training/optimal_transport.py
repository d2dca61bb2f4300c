"""Plans of optimal transport between equal masses, by POT."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from tlbench.training.convergence import NotConverged
from tlbench.training.kernels import Array

PIVOTS = 1_000_000  # of the network simplex


def exact(cost: Array) -> Array:
    """The (n, m) plan of least cost, rows of mass 1/n and columns of mass 1/m, by the network simplex."""
    plan, log = _ot().emd(*_masses(cost), cost, numItermax=PIVOTS, log=True)
    if log["warning"]:
        warnings.warn(NotConverged("the network simplex stopped at its limit of pivots"), stacklevel=2)
    return np.asarray(plan)


def entropic(cost: Array, reg: float) -> Array:
    """The plan of least cost + reg * sum of G log G, by Sinkhorn's iteration; in logarithms where they are needed."""
    cost = cost - cost.min()
    method = "sinkhorn" if cost.max() < 300 * reg else "sinkhorn_log"
    plan = np.asarray(_ot().sinkhorn(*_masses(cost), cost, reg, method=method, stopThr=1e-9, warn=False))
    # POT's 1,000 rounds end above 1e-9 on ordinary tasks; a thousandth of the mass in wrong columns moves the mean of
    # what is carried by less than a thousandth of the target's width.
    if not np.abs(plan.sum(0) - 1 / plan.shape[1]).sum() <= 1e-3:
        warnings.warn(NotConverged("Sinkhorn's iteration stopped at its limit of rounds"), stacklevel=2)
    return plan


def _masses(cost: Array) -> tuple[Array, Array]:
    n, m = cost.shape
    return np.full(n, 1 / n), np.full(m, 1 / m)


def _ot() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # POT's own, of its source text and of backends that are not there
        import ot
    return ot
