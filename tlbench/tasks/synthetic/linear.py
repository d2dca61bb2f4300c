"""CAL-5 shared subspace, CAL-6 shared support, CAL-7 shared prior: y = w.x + sigma xi with x ~ N(0, I_d).

The labels of a target's test part are free of noise, so the mean squared error over it *is* the excess risk
|what - w|^2. So are the labels of the sources: what they teach is exact at any size, as the closed forms suppose.

    cal5   b1 .. b5         d = 50, w_S = the columns of an orthonormal B
           gamma<per cent>  w = sqrt(1 - g^2) B v + g q, |v| = |q| = 1, q orthogonal to B; sigma = .5
    cal6   shared<j>        d = 40, w_S of 5 entries, j of them where the target has its 5; values independent
           target           |w| = 1, sigma = .5
    cal7   source           d = 20, |w_S| = 2
           target           w ~ N(w_S, .3^2 I), sigma = 1
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tlbench.data import Domain
from tlbench.tasks.synthetic import draw

Vector = NDArray[np.float64]

N_SOURCE = 200
D5, RANK, SIGMA5 = 50, 5, 0.5
D6, SUPPORT, SIGMA6 = 40, 5, 0.5
D7, TAU, SIGMA7, LENGTH7 = 20, 0.3, 1.0, 2.0

CAL5 = {f"gamma{g}": g / 100 for g in (0, 15, 30, 70, 100)}
CAL6 = {f"shared{j}": j for j in (5, 4, 2, 0)}


def cal5(name: str, seed: int) -> Domain:
    shared = draw.stream("cal5", "parameters", seed)
    basis, _ = np.linalg.qr(shared.standard_normal((D5, RANK + 1)))  # B, and q as its last column
    v = unit(shared.standard_normal(RANK))
    rng = draw.stream("cal5", name, seed)
    if name.startswith("b"):
        return source(name, basis[:, int(name[1:]) - 1], rng)
    g = CAL5[name]
    return target(name, np.sqrt(1 - g * g) * basis[:, :RANK] @ v + g * basis[:, RANK], SIGMA5, rng)


def cal6(name: str, seed: int) -> Domain:
    shared = draw.stream("cal6", "parameters", seed)
    places, values = shared.permutation(D6), sparse_values(shared)
    rng = draw.stream("cal6", name, seed)
    w = np.zeros(D6)
    if name == "target":
        w[places[:SUPPORT]] = values
        return target(name, w, SIGMA6, rng)
    j = CAL6[name]
    w[np.r_[places[:j], places[SUPPORT : 2 * SUPPORT - j]]] = sparse_values(rng)
    return source(name, w, rng)


def cal7(name: str, seed: int) -> Domain:
    shared = draw.stream("cal7", "parameters", seed)
    ws = LENGTH7 * unit(shared.standard_normal(D7))
    wt = ws + TAU * shared.standard_normal(D7)
    rng = draw.stream("cal7", name, seed)
    return source(name, ws, rng) if name == "source" else target(name, wt, SIGMA7, rng)


def unit(v: Vector) -> Vector:
    scaled: Vector = v / np.linalg.norm(v)
    return scaled


def sparse_values(rng: np.random.Generator) -> Vector:
    """(5,) values of either sign and of unit length together, none of them so small that it could be overlooked."""
    return unit(rng.choice([-1.0, 1.0], SUPPORT) * rng.uniform(0.5, 1.5, SUPPORT))


def source(name: str, w: Vector, rng: np.random.Generator) -> Domain:
    x = rng.standard_normal((draw.source_size(N_SOURCE), len(w)), dtype=np.float32)
    return draw.domain(name, x, (x @ w).astype(np.float32))


def target(name: str, w: Vector, sigma: float, rng: np.random.Generator) -> Domain:
    x = rng.standard_normal((draw.N_TEST + draw.N_POOL, len(w)), dtype=np.float32)
    noise = sigma * rng.standard_normal(len(x))
    noise[: draw.N_TEST] = 0
    return draw.domain(name, x, (x @ w + noise).astype(np.float32), draw.N_TEST)
