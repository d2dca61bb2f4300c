"""Numbers that come out alike on every machine: ties, signs and printed digits that float noise cannot move.

Two processors add the same numbers in another order and differ by some 1e-13. That decides nothing, unless two numbers
are equal or one lies at the edge between two digits, and with accuracies, which are fractions, both are common. So what
is compared or printed is first put on a grid whose edges lie where no simple fraction does.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

DECIMALS = 6  # points closer than this are the same
FIGURES = 9  # significant, of what is positive and of any size, as times are
EDGE = (5**0.5 - 1) / 2  # the golden section: of all numbers the farthest from fractions with small denominators
Array = NDArray[np.float64]


@overload
def settled(x: float, decimals: int = DECIMALS) -> float: ...
@overload
def settled(x: NDArray[Any] | Sequence[Any], decimals: int = DECIMALS) -> Array: ...
def settled(x: Any, decimals: int = DECIMALS) -> Any:
    """`x`, a number or an array of any shape, to so many decimals; symmetric about 0, NaN and infinities stay.

    A cell of this grid ends at the golden section between two neighbours and not half-way: what noise surrounds is a
    multiple of the grid or some other simple fraction, and neither lies at an edge.
    """
    a = np.asarray(x, dtype=float)
    found = np.copysign(np.floor(np.abs(a) * 10**decimals + EDGE) / 10**decimals, a) + 0.0
    return found if a.ndim else float(found)


def tiers(x: ArrayLike) -> NDArray[np.int64]:
    """(n, ...) the place of each of `x` (n, ...) among the first axis: 0 the greatest, as many as there are different.

    What differs by less than the last decimal is the same. Numbers on a grid could be parted by its edge; here noise
    parts nothing, for accuracies on one test set are equal or differ by far more. NaN is last.
    """
    a = np.nan_to_num(np.asarray(x, dtype=float), nan=-np.inf)
    order = np.argsort(-a, axis=0, kind="stable")
    ordered = np.take_along_axis(a, order, axis=0)
    with np.errstate(invalid="ignore"):  # infinity less infinity
        steps = ordered[:-1] - ordered[1:] > 10**-DECIMALS
    place = np.concatenate([np.zeros_like(steps[:1], dtype=np.int64), np.cumsum(steps, axis=0)])
    found = np.empty(a.shape, dtype=np.int64)
    np.put_along_axis(found, order, place if len(steps) else np.zeros(a.shape, np.int64), axis=0)
    return found


def weighted(values: ArrayLike, weights: ArrayLike) -> Any:
    """The sum of `values` (..., n) times `weights` (n,), term by term from the left: a matrix product would be summed
    as the processor likes it. -> (...)"""
    x, w = np.asarray(values, dtype=float), np.asarray(weights, dtype=float)
    total = np.zeros(x.shape[:-1])
    for i in range(len(w)):
        total = total + x[..., i] * w[i]
    return total if total.ndim else float(total)


def fixed(x: float | None, digits: int = 1, sign: bool = False) -> str:
    """`x` with so many digits after the point, halves away from 0; a dash for what is not known."""
    if x is None or not np.isfinite(x):
        return "–"
    settled_ = Decimal(f"{settled(float(x)):.{DECIMALS}f}")
    return f"{_rounded(settled_, digits):{'+' if sign else ''}.{digits}f}"


def significant(x: float | None, figures: int = 3) -> str:
    """Of a positive number `figures` digits, and every one before the point; a dash for what is not known."""
    if x is None or not np.isfinite(x):
        return "–"
    exact = Decimal(f"{x:.{FIGURES}g}")
    digits = max(0, figures - 1 - exact.adjusted()) if exact > 0 else 0
    return f"{_rounded(exact, digits):.{digits}f}"


def steady(x: float) -> float:
    """`x` to 9 significant digits: what logarithms and exponentials of another library leave alike."""
    return float(f"{x:.{FIGURES}g}")


def _rounded(x: Decimal, digits: int) -> Decimal:
    found = x.quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP)
    return found if found else abs(found)  # no minus before nought
