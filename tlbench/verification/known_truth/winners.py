"""Which learner must win where: the sign matrices, the matrix of expected winners, the controls.

A pair whose forms lie too close for ten seeds to tell is left out: within `EXCLUDED` of each other, or within four
standard errors by the spreads that the forms give. Its two cells are held against their forms all the same.
"""

from __future__ import annotations

import math
from functools import cache

from tlbench.tasks.synthetic.linear import CAL5
from tlbench.tasks.synthetic.rotation import CAL1, CAL8
from tlbench.tasks.synthetic.shift import CAL4_MOVED, CAL4_TURNED
from tlbench.verification.known_truth.cells import (
    BUDGETS,
    BUDGETS5,
    BUDGETS6,
    BUDGETS7,
    GROUPS,
    REGRESSION,
    Cell,
    fused,
    jittered,
    least_squares,
    plain,
    ridge,
    source,
    subspace,
    target,
    weighted,
)
from tlbench.verification.known_truth.checks import SEEDS, Check, Comparison
from tlbench.verification.known_truth.expected import CHECKS

EXCLUDED, EXCLUDED_RISK = 0.01, 0.25  # accuracy; share of the larger risk
HARM = 0.01  # what the harness calls negative transfer


@cache
def known() -> dict[Cell, Check]:
    return {check.cell: check for check in CHECKS}


def signed(one: Cell, other: Cell, where: str) -> list[Comparison]:
    """The better of two cells first, by their forms; nothing where ten seeds could not tell."""
    checks = known()[one], known()[other]
    a, b = (check.form() for check in checks)
    noise = math.hypot(*(check.spread() for check in checks if check.spread)) / math.sqrt(SEEDS)
    risk = one.suite in REGRESSION
    if abs(a - b) < max(4 * noise, EXCLUDED_RISK * max(a, b) if risk else EXCLUDED):
        return []
    return [Comparison(one, other, where) if (a > b) != risk else Comparison(other, one, where)]


def sign_matrices() -> list[Comparison]:
    """Pooling against target-only, CAL-1 at every angle and budget and CAL-8 at every rate of flips."""
    out = []
    for suite, names, budgets in (("cal1", CAL1, BUDGETS), ("cal8", CAL8, BUDGETS[:3])):
        for name in names:
            for k in budgets:
                out += signed(fused(suite, k, name), target(suite, k), f"{suite}: pooling against target-only")
    return out


def tuned(name: str, k: int) -> Cell:
    return plain("cal1", name, "target", "centroid:TunedCentroid", k)


def tuning() -> list[Comparison]:
    """Tuned fusion holds the reference as alpha = 0: where the source helps it gains, where not it loses little."""
    out = []
    for k in BUDGETS[1:]:
        out.append(Comparison(tuned("rot0", k), target("cal1", k), "cal1: tuned, ideal source", -0.001))
        for name in ("rot75", "rot90", "rot135", "rot180"):
            out.append(Comparison(tuned(name, k), fused("cal1", k, name), "cal1: tuned beats pooling beyond theta*"))
            if k >= 20:  # with five labels a class, choosing alpha costs points: selection noise, no closed form
                out.append(Comparison(tuned(name, k), target("cal1", k), "cal1: tuned is nearly target-only", -0.02))
    return out


def shifts() -> list[Comparison]:
    """CAL-2 to CAL-4: each shift has its winner, and the other shifts' winners do harm."""
    out = []
    for name in ("prior70", "prior90"):
        alone = source("cal2", "source", name)
        for learner in ("prior:BBSE", "prior:MLLS"):
            out.append(Comparison(plain("cal2", "source", name, learner), alone, "cal2: prior correction wins"))
        for learner in ("CORAL", "MeanMatching", "MonotoneOT"):
            cell = plain("cal2", "source", name, f"alignment:{learner}")
            out.append(Comparison(alone, cell, "cal2: marginal alignment is negative", HARM))
    for name in ("n100", "n20000"):
        out.append(Comparison(weighted(name, 1.0), weighted(name, 0.0), "cal3: weighting wins", 0.1))
    out.append(Comparison(weighted("n20000", 0.6), weighted("n20000", 0.4), "cal3: the rule flips at 1/2", 0.4))
    for name in ("twin50", "twin1000"):  # of rare disasters of weighting, which ten seeds need not show
        out.append(Comparison(weighted(name, 0.0), weighted(name, 1.0), "cal3b: weighting does not win", -HARM))
    for name in CAL4_MOVED:
        for learner in ("CORAL", "LinearOT", "MeanMatching"):
            cell = plain("cal4", "plain", name, f"alignment:{learner}")
            out.append(Comparison(cell, source("cal4", "plain", name), "cal4a: alignment wins", HARM))
    for name in (n for n, t in CAL4_TURNED.items() if t < 90):
        alone = source("cal4", name, "upright")
        for learner in ("CORAL", "LinearOT"):
            cell = plain("cal4", name, "upright", f"alignment:{learner}")
            out.append(Comparison(alone, cell, "cal4b: covariance alignment is negative", HARM))
        for learner in ("SubspaceAlignment", "SelfTraining"):
            cell = plain("cal4", name, "upright", f"alignment:{learner}")
            out.append(Comparison(cell, alone, "cal4b: class-wise alignment wins", HARM))
    return out


def regressions() -> list[Comparison]:
    """CAL-5 to CAL-7."""
    out = []
    for name in CAL5:
        for n in BUDGETS5:
            out += signed(subspace(name, n), least_squares("cal5", name, n), "cal5: frozen subspace against T")
    for n in BUDGETS6:
        for name in ("shared5", "shared4", "shared2", "shared0"):
            cell = plain("cal6", name, "target", "regression:SupportTransfer", n)
            out += signed(cell, least_squares("cal6", "target", n), "cal6: support transfer against T")
        support = plain("cal6", "shared5", "target", "regression:SupportTransfer", n)
        values = plain("cal6", "shared5", "target", "regression:SourceParameters")
        out.append(Comparison(support, values, "cal6: the structure, not the parameters"))
        out.append(Comparison(least_squares("cal6", "target", n), values, "cal6: parameter transfer is negative"))
    alone = plain("cal7", "source", "target", "regression:SourceParameters")
    for n in BUDGETS7:
        bayes = ridge(n, 11.11)
        for worse in (ridge(n, 0.1), ridge(n, 100.0), alone, least_squares("cal7", "target", n)):
            out.append(Comparison(bayes, worse, "cal7: lambda* wins"))
    return out


def several_sources() -> list[Comparison]:
    """CAL-9: selection wins in the first and the fourth group; in the others pooling does, if by tenths of a point."""
    out, own = [], target("cal9", 5)
    for i, group in enumerate(GROUPS):
        pooled = fused("cal9", 5, *group)
        selected = Cell("cal9", group, "target", "centroid:SelectedSource", 5)
        if i in (0, 3):
            out.append(Comparison(selected, pooled, "cal9: selection wins", HARM))
            out.append(Comparison(selected, own, "cal9: selection beats T", HARM))
            out.append(Comparison(own, pooled, "cal9: pooling is negative", HARM))
        else:
            out.append(Comparison(pooled, selected, "cal9: selection does not win", -HARM / 2))
            out.append(Comparison(pooled, own, "cal9: pooling beats T", HARM))
    return out


def controls() -> list[Comparison]:
    """CAL-10: an ideal source never harms, noise always does, a copy of the reference neither helps nor harms."""
    out = []
    for k in BUDGETS[:3]:
        out.append(Comparison(fused("cal10", k, "ideal"), target("cal10", k), "cal10: an ideal source"))
        out.append(Comparison(target("cal10", k), fused("cal10", k, "noise"), "cal10: a source of noise", HARM))
        for one, other in ((0, 1), (1, 0)):
            out.append(Comparison(jittered(k, one), jittered(k, other), "cal10: A/A", -HARM))
    return out


@cache
def comparisons() -> tuple[Comparison, ...]:
    """All of them; the cells they name beyond those of `CHECKS` must be run as well."""
    return (*sign_matrices(), *tuning(), *shifts(), *regressions(), *several_sources(), *controls())
