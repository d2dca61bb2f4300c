"""The suites' distributions: CAL-1 to CAL-4 and CAL-8 to CAL-10 of classes, CAL-5 to CAL-7 of a number to predict.

x | y ~ N(y m u, I_20), m = 1.5:

    cal1   rot<degrees>        sources of 1,000 whose axis u is turned; `target` has u = e1
    cal8   flip<per mille>     sources of 1,000 at no angle, their labels flipped with a probability
    cal9   rot<degrees><copy>  sources of 500, to be taken together
    cal10  ideal, noise        what a source is at best and at worst; `target`; `placebo`, whose labels are coins

One factor of p(x, y) differs:

    cal2   source              2,000, balanced, x | y ~ N(y m e1, I_5), m = 1.5
           prior50, 70, 90     the same classes in other proportions: that much per cent 'plus'
    cal3   n100, n1000, n20000 x1 ~ N(-1, 1), four coordinates of noise; 'plus' where |x1| <= 1, 5 % flipped
           target              the same with x1 ~ N(+1, 1); the density ratio is exp(2 x1)
           twin50, twin1000    'plus' where x1 > 0 instead, which one threshold can say; to `twintarget`
    cal4   plain               2,000, balanced, m = 1.5; moved15 and moved30 are it, moved along e1 by 1.5 and 3
           turn<degrees>       2,000, balanced, m = 2, the axis turned; to `upright`

y = w.x + sigma xi with x ~ N(0, I_d). The labels of a target's test part are free of noise, so the mean squared error
over it *is* the excess risk |what - w|^2. So are the labels of the sources: what they teach is exact at any size, as
the closed forms suppose.

    cal5   b1 .. b5         d = 50, w_S = the columns of an orthonormal B
           gamma<per cent>  w = sqrt(1 - g^2) B v + g q, |v| = |q| = 1, q orthogonal to B; sigma = .5
    cal6   shared<j>        d = 40, w_S of 5 entries, j of them where the target has its 5; values independent
           target           |w| = 1, sigma = .5
    cal7   source           d = 20, |w_S| = 2
           target           w ~ N(w_S, .3^2 I), sigma = 1
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from tlbench.data import Domain
from tlbench.tasks.synthetic import draw

Vector = NDArray[np.float64]

LINEAR_SOURCE = 200
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
        return linear_source(name, basis[:, int(name[1:]) - 1], rng)
    g = CAL5[name]
    return linear_target(name, np.sqrt(1 - g * g) * basis[:, :RANK] @ v + g * basis[:, RANK], SIGMA5, rng)


def cal6(name: str, seed: int) -> Domain:
    shared = draw.stream("cal6", "parameters", seed)
    places, values = shared.permutation(D6), sparse_values(shared)
    rng = draw.stream("cal6", name, seed)
    w = np.zeros(D6)
    if name == "target":
        w[places[:SUPPORT]] = values
        return linear_target(name, w, SIGMA6, rng)
    j = CAL6[name]
    w[np.r_[places[:j], places[SUPPORT : 2 * SUPPORT - j]]] = sparse_values(rng)
    return linear_source(name, w, rng)


def cal7(name: str, seed: int) -> Domain:
    shared = draw.stream("cal7", "parameters", seed)
    ws = LENGTH7 * unit(shared.standard_normal(D7))
    wt = ws + TAU * shared.standard_normal(D7)
    rng = draw.stream("cal7", name, seed)
    return linear_source(name, ws, rng) if name == "source" else linear_target(name, wt, SIGMA7, rng)


def unit(v: Vector) -> Vector:
    scaled: Vector = v / np.linalg.norm(v)
    return scaled


def sparse_values(rng: np.random.Generator) -> Vector:
    """(5,) values of either sign and of unit length together, none of them so small that it could be overlooked."""
    return unit(rng.choice([-1.0, 1.0], SUPPORT) * rng.uniform(0.5, 1.5, SUPPORT))


def linear_source(name: str, w: Vector, rng: np.random.Generator) -> Domain:
    x = rng.standard_normal((draw.source_size(LINEAR_SOURCE), len(w)), dtype=np.float32)
    return draw.domain(name, x, (x @ w).astype(np.float32))


def linear_target(name: str, w: Vector, sigma: float, rng: np.random.Generator) -> Domain:
    x = rng.standard_normal((draw.N_TEST + draw.N_POOL, len(w)), dtype=np.float32)
    noise = sigma * rng.standard_normal(len(x))
    noise[: draw.N_TEST] = 0
    return draw.domain(name, x, (x @ w + noise).astype(np.float32), draw.N_TEST)


D, M = 20, 1.5
N_SOURCE, N_EACH = 1000, 500
PLACEBO_TEST = 10_000  # a leak that gives .55 is then found with certainty

CAL1 = {f"rot{t}": t for t in (0, 15, 30, 45, 60, 75, 90, 135, 180)}
CAL8 = {f"flip{p}": p / 1000 for p in (0, 250, 450, 500, 505, 550, 1000)}
CAL9 = {
    "rot0": 0, "rot20a": 20, "rot20b": 20, "rot20c": 20, "rot60": 60, "rot90": 90, "rot150a": 150, "rot150b": 150,
    "rot180": 180, "rot300": 300,
}  # fmt: skip
CAL10 = {"ideal": 0.0, "noise": 0.5}


def cal1(name: str, seed: int) -> Domain:
    rng = draw.stream("cal1", name, seed)
    if name == "target":
        return draw.balanced_target(name, draw.at_angle(0, M, D), rng)
    return draw.balanced_source(name, draw.at_angle(CAL1[name], M, D), rng, N_SOURCE)


def cal8(name: str, seed: int) -> Domain:
    rng, mean = draw.stream("cal8", name, seed), draw.at_angle(0, M, D)
    if name == "target":
        return draw.balanced_target(name, mean, rng)
    return draw.balanced_source(name, mean, rng, N_SOURCE, flipped=CAL8[name])


def cal9(name: str, seed: int) -> Domain:
    rng = draw.stream("cal9", name, seed)
    if name == "target":
        return draw.balanced_target(name, draw.at_angle(0, M, D), rng)
    return draw.balanced_source(name, draw.at_angle(CAL9[name], M, D), rng, N_EACH)


def cal10(name: str, seed: int) -> Domain:
    rng, mean = draw.stream("cal10", name, seed), draw.at_angle(0, M, D)
    if name == "placebo":
        return placebo(rng, seed)
    if name == "target":
        return draw.balanced_target(name, mean, rng)
    return draw.balanced_source(name, mean, rng, N_SOURCE, flipped=CAL10[name])


def placebo(rng: np.random.Generator, seed: int) -> Domain:
    """Inputs as the target's, labels that nothing can know: the last bit of SHA-256(tlbench/placebo/1, seed, i)."""
    n = PLACEBO_TEST + draw.N_POOL
    x = draw.around(draw.at_angle(0, M, D), np.where(np.arange(n) % 2, 1, -1), rng)
    coins = (hashlib.sha256(f"tlbench/placebo/1\x1f{seed}\x1f{i}".encode()).digest()[-1] & 1 for i in range(n))
    return draw.domain("placebo", x, np.fromiter(coins, np.int64, n), PLACEBO_TEST)


SHIFT_D, SHIFT_SOURCE = 5, 2000
SHIFT_M, M_TURNED = 1.5, 2.0
FLIP = 0.05  # cal3's label noise: Bayes is right in 95 %

CAL2 = {f"prior{p}": p / 100 for p in (50, 70, 90)}
CAL3 = {"n100": 100, "n1000": 1000, "n20000": 20_000, "twin50": 50, "twin1000": 1000}
CAL4_MOVED = {"moved15": 1.5, "moved30": 3.0}
CAL4_TURNED = {f"turn{t}": t for t in (30, 60, 120, 140)}


def cal2(name: str, seed: int) -> Domain:
    rng, mean = draw.stream("cal2", name, seed), draw.at_angle(0, SHIFT_M, SHIFT_D)
    if name == "source":
        return draw.balanced_source(name, mean, rng, SHIFT_SOURCE)
    sizes = [round(n * p) for n in (draw.N_TEST, draw.N_POOL) for p in (1 - CAL2[name], CAL2[name])]
    y = draw.classes(*sizes)
    return draw.domain(name, draw.around(mean, 2 * y - 1, rng), y, draw.N_TEST)


def cal3(name: str, seed: int) -> Domain:
    rng, twin = draw.stream("cal3", name, seed), name.startswith("twin")
    if name.endswith("target"):
        return draw.domain(name, *_covariate(draw.N_TEST + draw.N_POOL, 1.0, twin, rng), draw.N_TEST)
    n = CAL3[name]
    x, y = _covariate(n + n // 5 + 20, -1.0, twin, rng)
    kept = draw.source_prefix(y, n)
    return draw.domain(name, x[:kept], y[:kept])


def _covariate(n: int, mean: float, twin: bool, rng: np.random.Generator) -> tuple[draw.Floats, draw.Labels]:
    x: NDArray[np.float32] = rng.standard_normal((n, SHIFT_D), dtype=np.float32)
    x[:, 0] += mean
    inside = x[:, 0] > 0 if twin else np.abs(x[:, 0]) <= 1
    return x, (inside ^ (rng.random(n) < FLIP)).astype(np.int64)


def cal4(name: str, seed: int) -> Domain:
    rng = draw.stream("cal4", name, seed)
    if name == "upright":
        return draw.balanced_target(name, draw.at_angle(0, M_TURNED, SHIFT_D), rng)
    if name in CAL4_TURNED:
        return draw.balanced_source(name, draw.at_angle(CAL4_TURNED[name], M_TURNED, SHIFT_D), rng, SHIFT_SOURCE)
    mean = draw.at_angle(0, SHIFT_M, SHIFT_D)
    if name == "plain":
        return draw.balanced_source(name, mean, rng, SHIFT_SOURCE)
    y = draw.classes(*(draw.N_TEST // 2,) * 2, *(draw.N_POOL // 2,) * 2)
    x = draw.around(mean, 2 * y - 1, rng)
    x[:, 0] += CAL4_MOVED[name]
    return draw.domain(name, x, y, draw.N_TEST)
