"""Plans of optimal transport between equal masses, by POT."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from tlbench.kernels import Array


def exact(cost: Array) -> Array:
    """The (n, m) plan of least cost, rows of mass 1/n and columns of mass 1/m, by the network simplex."""
    return np.asarray(_ot().emd(*_masses(cost), cost, numItermax=1_000_000))


def entropic(cost: Array, reg: float) -> Array:
    """The plan of least cost + reg * sum of G log G, by Sinkhorn's iteration; in logarithms where they are needed."""
    cost = cost - cost.min()
    method = "sinkhorn" if cost.max() < 300 * reg else "sinkhorn_log"
    return np.asarray(_ot().sinkhorn(*_masses(cost), cost, reg, method=method, stopThr=1e-9, warn=False))


def _masses(cost: Array) -> tuple[Array, Array]:
    n, m = cost.shape
    return np.full(n, 1 / n), np.full(m, 1 / m)


def _ot() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # POT's own, of its source text and of backends that are not there
        import ot
    return ot
