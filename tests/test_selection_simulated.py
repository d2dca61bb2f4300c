"""Rules of selection where the truth is known: CAL-1, source and target centroids fused, alpha the one knob.

Eleven alphas from 0 (target-only, the first trial) to 1 (source-only). A rule of ours chooses from what it is shown;
the gain over target-only is of population accuracy, in closed form for a linear rule. Printed with `pytest -n 0 -s`:

    k = 5, 20 degrees:  cv +5.7 / 0.00, source_val +6.8 / 0.00, im +5.2 / 0.00, oracle +7.0 / 0.00
    k = 5, 50 degrees:  cv +1.5 / 0.13, source_val -0.6 / 0.51, im +0.7 / 0.00, oracle +3.7 / 0.00
    k = 10, 80 degrees: cv -0.6 / 0.23, source_val -26.3 / 1.00, im +0.0 / 0.00, oracle +0.3 / 0.00
    k = 20, 80 degrees: cv -0.3 / 0.12, source_val -28.2 / 1.00, im +0.0 / 0.00, oracle +0.1 / 0.00
    k = 50, 50 degrees: cv -0.1 / 0.03, source_val -8.1 / 1.00, im +0.0 / 0.00, oracle +0.1 / 0.00

rule, mean gain over target-only in points / share of draws more than 1 point below it. What was simulated before
(`PUBLISHED`) differs in its draws (300 here), and under source_val by up to 3 points: it does not say how many source
samples validated, nor by which loss; ours are 100, by log-loss.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import norm

from tlbench.runner.selection.rules import RULES, Evidence

Array = NDArray[np.float64]
D, M, N_S, N_V, N_U = 20, 1.5, 1000, 100, 500
ALPHAS = np.linspace(0, 1, 11)
DRAWS = 300
PUBLISHED = {  # as the methodology's section 3.2 has them: mean gain, share of negative transfer
    (5, 20): {"oracle": (7.5, 0), "cv": (6.3, 0), "source_val": (7.3, 0)},
    (5, 50): {"oracle": (3.6, 0), "cv": (1.4, 0.19), "source_val": (-1.7, 0.66)},
    (10, 80): {"oracle": (0.4, 0), "cv": (-0.6, 0.16), "source_val": (-28.5, 1)},
    (20, 80): {"oracle": (0.1, 0), "cv": (-0.3, 0.13), "source_val": (-30.9, 1)},
    (50, 50): {"oracle": (0.1, 0), "cv": (-0.1, 0.02), "source_val": (-9.3, 1)},
}
PARTS = {"cv": "shots", "source_val": "source_val", "im": "unlabeled", "bnm": "unlabeled", "snd": "unlabeled"}


def drawn(made: np.random.Generator, n: int, angle: float) -> tuple[Array, NDArray[np.int64]]:
    """(n, d) samples of two classes in equal numbers, and their labels 0 and 1, in turn."""
    u = np.zeros(D)
    u[:2] = math.cos(angle), math.sin(angle)
    y = np.arange(n) % 2
    return np.where(y, M, -M)[:, None] * u + made.normal(size=(n, D)), y


def centroids(x: Array, y: NDArray[np.int64]) -> Array:
    return np.stack([x[y == c].mean(0) for c in (0, 1)])


def scores(x: Array, c: Array) -> Array:
    """Log-densities of unit normals about two (2, d) centroids, but for a constant."""
    return x @ c.T - (c**2).sum(1) / 2


def population(c: Array) -> float:
    """Accuracy on the target, whose direction is the first axis."""
    w, b = c[1] - c[0], float((c[0] ** 2).sum() - (c[1] ** 2).sum()) / 2
    length = float(np.linalg.norm(w))
    return float(norm.cdf((M * w[0] + b) / length) + norm.cdf((M * w[0] - b) / length)) / 2


def one_draw(made: np.random.Generator, k: int, angle: float) -> tuple[list[float], dict[str, int]]:
    """Population accuracy of every alpha, and which each rule chooses."""
    (xs, ys), (xl, yl), (xv, yv) = (drawn(made, n, a) for n, a in ((N_S, angle), (2 * k, 0), (N_V, angle)))
    (xu, _), source = drawn(made, N_U, 0), centroids(xs, ys)
    fold = np.arange(2 * k) // 2 % min(k, 5)
    labels = {"shots": yl, "source_val": yv}
    trials: list[dict[str, Array]] = []
    for alpha in ALPHAS:
        fused = alpha * source + (1 - alpha) * centroids(xl, yl)
        out = np.zeros((2 * k, 2))
        for f in range(min(k, 5)):
            rest = fold != f
            out[~rest] = scores(xl[~rest], alpha * source + (1 - alpha) * centroids(xl[rest], yl[rest]))
        trials.append({"shots": out, "source_val": scores(xv, fused), "unlabeled": scores(xu, fused)})
    chosen = {}
    for name, part in PARTS.items():
        rule = RULES[name]
        assert rule.score is not None
        shown = ({part: t[part]} for t in trials)
        given = {p: labels[p] for p in rule.labels}
        chosen[name] = rule.choose([rule.score(Evidence(s, given, lambda: np.ones(N_V))) for s in shown])
    target = centroids(xl, yl)
    accuracies = [population(a * source + (1 - a) * target) for a in ALPHAS]
    return accuracies, {**chosen, "oracle": int(np.argmax(accuracies))}


def simulated(k: int, degrees: float) -> dict[str, tuple[float, float]]:
    """By rule, the mean gain over target-only in points, and the share of draws more than 1 point below."""
    made = np.random.default_rng([k, int(degrees)])
    gains: dict[str, list[float]] = {name: [] for name in (*PARTS, "oracle")}
    for _ in range(DRAWS):
        accuracies, chosen = one_draw(made, k, math.radians(degrees))
        for name, i in chosen.items():
            gains[name].append(100 * (accuracies[i] - accuracies[0]))
    found = {name: (float(np.mean(g)), float(np.mean(np.array(g) < -1))) for name, g in gains.items()}
    print(f"\nk = {k}, {degrees:g} degrees: " + ", ".join(f"{n} {g:+.1f} / {r:.2f}" for n, (g, r) in found.items()))
    return found


@pytest.mark.slow
@pytest.mark.parametrize(("k", "degrees"), list(PUBLISHED))
def test_rules_gain_and_harm_as_simulated_before(k: int, degrees: int) -> None:
    found, before = simulated(k, degrees), PUBLISHED[k, degrees]
    for rule, within in (("oracle", 1.0), ("cv", 1.0), ("source_val", 3.0)):
        assert found[rule][0] == pytest.approx(before[rule][0], abs=within)
        assert found[rule][1] == pytest.approx(before[rule][1], abs=0.16)
    assert found["oracle"][1] == 0  # what harm there is, the choice does
    assert found["oracle"][0] >= max(gain for gain, _ in found.values())
    if degrees > 45:
        assert found["source_val"][0] < found["cv"][0]
