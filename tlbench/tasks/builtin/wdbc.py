"""Breast tumours under a biased selection of patients: covariate shift on real measurements.

The data are scikit-learn's copy of Wisconsin's diagnostic set (Street, Wolberg & Mangasarian 1993): 569 tumours, 30
measurements each of their cells' nuclei. One half, `unbiased`, is the target. Of the other half a tumour enters
`biased`, the source, by the joint bias of Huang, Smola, Gretton, Borgwardt & Schölkopf (NIPS 2006):

    P(s = 1 | x)  =  exp(-sigma ||x - mean||^2)

They sampled the older set, of 9 integers a tumour; here each measurement is first divided by its standard deviation,
for their units differ, and sigma is ours. What is handed out is raw. The diagnosis has no say in the halves or in the
selection: both depend on the measurements alone.
"""

from __future__ import annotations

from hashlib import sha256
from math import fsum
from random import Random

import numpy as np
from numpy.typing import NDArray

from tlbench.tasks.builtin.digits import Samples, chance

CLASSES = ("malignant", "benign")
SIGMA = 1 / 10  # at half of it a classifier hardly tells the domains apart, at twice 25 tumours are left

Table = NDArray[np.float32]  # (n, 30)


def unbiased() -> Samples:
    """One half of the tumours, float32 (30,) each: the lower hashes."""
    return _rows("wdbc", target=True)


def biased() -> Samples:
    """Those of the other half that are selected, float32 (30,) each."""
    return _rows("wdbc_biased", target=False)


def selected(x: Table) -> list[bool]:
    """Which of the (n, d) rows enter the biased sample; the order of the rows makes no difference."""
    chances = [chance(f"wdbc_biased/{_hash(row)}") for row in x]
    return [_survives(SIGMA * far, coin) for far, coin in zip(squared_distances(x), chances, strict=True)]


def squared_distances(x: Table) -> list[float]:
    """||x - mean||^2 of each of the (n, d) rows, each column divided by its standard deviation.

    Sums are exact before they are rounded, so that no order of summation shows.
    """
    columns = x.astype(np.float64).T.tolist()
    squares = []  # (d, n)
    for column in columns:
        mean = fsum(column) / len(column)
        deviations = [(value - mean) * (value - mean) for value in column]
        variance = fsum(deviations) / len(column)
        squares.append([deviation / variance for deviation in deviations])
    return [fsum(row) for row in zip(*squares, strict=True)]


def _rows(domain: str, target: bool) -> Samples:
    from sklearn.datasets import load_breast_cancer

    raw, labels = load_breast_cancer(return_X_y=True)
    x = raw.astype(np.float32)
    by_hash = sorted(range(len(x)), key=lambda i: _hash(x[i]))
    half = sorted(by_hash[: len(x) // 2] if target else by_hash[len(x) // 2 :])
    chosen = [True] * len(half) if target else selected(x[half])
    for i, is_in in zip(half, chosen, strict=True):
        if is_in:
            yield f"{domain}/{i:03}", int(labels[i]), x[i]


def _hash(row: NDArray[np.float32]) -> str:
    return sha256(row.tobytes()).hexdigest()


def _survives(hazard: float, coin: Random) -> bool:
    """True with probability exp(-hazard), by comparisons alone (von Neumann 1951): exp rounds as it likes."""
    whole = int(hazard)
    return all(_survives_up_to_one(part, coin) for part in [1.0] * whole + [hazard - whole])


def _survives_up_to_one(hazard: float, coin: Random) -> bool:
    """The series of exp(-hazard), hazard <= 1, as a run of ever rarer events: its length is even or odd."""
    k = 1
    while coin.random() < hazard / k:
        k += 1
    return k % 2 == 1
