"""CAL-2 label shift, CAL-3 covariate shift, CAL-4 conditional shift: what differs is one factor of p(x, y).

cal2   source              2,000, balanced, x | y ~ N(y m e1, I_5), m = 1.5
       prior50, 70, 90     the same classes in other proportions: that much per cent 'plus'
cal3   n100, n1000, n20000 x1 ~ N(-1, 1), four coordinates of noise; 'plus' where |x1| <= 1, 5 % flipped
       target              the same with x1 ~ N(+1, 1); the density ratio is exp(2 x1)
       twin50, twin1000    'plus' where x1 > 0 instead, which one threshold can say; to `twintarget`
cal4   plain               2,000, balanced, m = 1.5; moved15 and moved30 are it, moved along e1 by 1.5 and 3
       turn<degrees>       2,000, balanced, m = 2, the axis turned; to `upright`
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tlbench.data import Domain
from tlbench.tasks.synthetic import draw

D, N_SOURCE = 5, 2000
M, M_TURNED = 1.5, 2.0
FLIP = 0.05  # cal3's label noise: Bayes is right in 95 %

CAL2 = {f"prior{p}": p / 100 for p in (50, 70, 90)}
CAL3 = {"n100": 100, "n1000": 1000, "n20000": 20_000, "twin50": 50, "twin1000": 1000}
CAL4_MOVED = {"moved15": 1.5, "moved30": 3.0}
CAL4_TURNED = {f"turn{t}": t for t in (30, 60, 120, 140)}


def cal2(name: str, seed: int) -> Domain:
    rng, mean = draw.stream("cal2", name, seed), draw.at_angle(0, M, D)
    if name == "source":
        return draw.balanced_source(name, mean, rng, N_SOURCE)
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
    x: NDArray[np.float32] = rng.standard_normal((n, D), dtype=np.float32)
    x[:, 0] += mean
    inside = x[:, 0] > 0 if twin else np.abs(x[:, 0]) <= 1
    return x, (inside ^ (rng.random(n) < FLIP)).astype(np.int64)


def cal4(name: str, seed: int) -> Domain:
    rng = draw.stream("cal4", name, seed)
    if name == "upright":
        return draw.balanced_target(name, draw.at_angle(0, M_TURNED, D), rng)
    if name in CAL4_TURNED:
        return draw.balanced_source(name, draw.at_angle(CAL4_TURNED[name], M_TURNED, D), rng, N_SOURCE)
    mean = draw.at_angle(0, M, D)
    if name == "plain":
        return draw.balanced_source(name, mean, rng, N_SOURCE)
    y = draw.classes(*(draw.N_TEST // 2,) * 2, *(draw.N_POOL // 2,) * 2)
    x = draw.around(mean, 2 * y - 1, rng)
    x[:, 0] += CAL4_MOVED[name]
    return draw.domain(name, x, y, draw.N_TEST)
