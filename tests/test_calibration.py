"""The calibration suite by a direct loop, without the harness: data, forms and learners must agree among themselves."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tlbench import calibration
from tlbench import method as methods
from tlbench.calibration.cells import REGRESSION, Cell
from tlbench.calibration.checks import SEEDS
from tlbench.calibration.expected import CHECKS
from tlbench.data import Domain, Labeled, Train, Unlabeled

Parts = tuple[Tensor, Tensor]


def no_network() -> nn.Module:
    raise AssertionError("a calibration learner asked for a network")


def of(domain: Domain, rows: Any) -> Parts:
    assert domain.x is not None
    return torch.from_numpy(np.asarray(domain.x[rows])), torch.from_numpy(domain.y[rows])


@cache
def source(suite: str, name: str, seed: int) -> Labeled:
    """What the harness leaves of a source: a tenth of each class is taken off for validation."""
    domain = calibration.domain(suite, name, seed)
    strata = [np.flatnonzero(domain.strata == c) for c in range(domain.n_strata)]
    return Labeled(*of(domain, np.concatenate([rows[int(0.1 * len(rows)) :] for rows in strata])))


@cache
def target(suite: str, name: str, seed: int) -> tuple[Parts, Parts, tuple[np.ndarray[Any, Any], ...]]:
    """The pool, the test part, and the pool's rows of each class."""
    domain = calibration.domain(suite, name, seed)
    tested = domain.official_test
    assert tested is not None
    strata = domain.strata[~tested]
    return of(domain, ~tested), of(domain, tested), tuple(np.flatnonzero(strata == c) for c in range(domain.n_strata))


def training(cell: Cell, seed: int) -> Train:
    (x, y), _, strata = target(cell.suite, cell.target, seed)
    shots = np.concatenate([rows[: cell.k] for rows in strata])
    return Train(
        sources=tuple(source(cell.suite, name, seed) for name in cell.sources),
        target=Unlabeled(np.delete(x, shots, 0) if False else x),
        shots=Labeled(x[shots], y[shots]),
        n_classes=len(strata),
        backbone=no_network,
        regime="regression" if cell.suite in REGRESSION else "classification",
    )


def learner(cell: Cell) -> Any:
    return methods.configured(methods.load(cell.method), dict(cell.settings))


@cache
def values(cell: Cell) -> tuple[float, ...]:
    """Accuracy, or mean squared error, of each seed."""
    return tuple(scored(cell, seed) for seed in range(SEEDS))


def scored(cell: Cell, seed: int) -> float:
    predict = learner(cell).fit(training(cell, seed), seed)
    x, y = target(cell.suite, cell.target, seed)[1]
    out = predict(x)
    if cell.suite in REGRESSION:
        return float((out[:, 0] - y).square().mean())
    return float((out.argmax(1) == y).double().mean())
