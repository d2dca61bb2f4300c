"""CAL-1 relatedness, CAL-8 label noise, CAL-9 several sources, CAL-10 controls: x | y ~ N(y m u, I_20), m = 1.5.

cal1   rot<degrees>        sources of 1,000 whose axis u is turned; `target` has u = e1
cal8   flip<per mille>     sources of 1,000 at no angle, their labels flipped with a probability
cal9   rot<degrees><copy>  sources of 500, to be taken together
cal10  ideal, noise        what a source is at best and at worst; `target`; `placebo`, whose labels are coins
"""

from __future__ import annotations

import hashlib

import numpy as np

from tlbench.data import Domain
from tlbench.tasks.synthetic import draw

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
