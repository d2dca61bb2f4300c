"""`CHECKS`: the cells whose mean is known. Forms are computed when they are asked for.

`COMPARISONS` of the same cells are in `winners`.
"""

from __future__ import annotations

from functools import partial

from tlbench.tasks.synthetic.linear import CAL5, CAL6, D5, D6, D7, LENGTH7, RANK, SIGMA5, SIGMA6, SIGMA7, SUPPORT, TAU
from tlbench.tasks.synthetic.rotation import CAL1, CAL8, CAL9, CAL10, N_EACH, N_SOURCE, D, M
from tlbench.tasks.synthetic.shift import CAL2, CAL4_MOVED, CAL4_TURNED, M_TURNED
from tlbench.tasks.synthetic.shift import N_SOURCE as N_SHIFT
from tlbench.tasks.synthetic.shift import D as D_SHIFT
from tlbench.verification.known_truth import closed_forms, covariate, risks
from tlbench.verification.known_truth.cells import (  # fmt: skip
    ALPHAS,
    BUDGETS,
    BUDGETS5,
    BUDGETS6,
    BUDGETS7,
    FUSED,
    GAMMAS,
    GROUPS,
    LAMBDAS,
    SOURCE,
    TARGET,
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
from tlbench.verification.known_truth.checks import Check


def centroids(cell: Cell, n: int, *sources: tuple[float, int], alpha: float | None = None, agree: float = 1.0) -> Check:
    """Of n target samples and (degrees, samples) of sources."""
    drawn = (n, sources, M, D, alpha, agree)
    return Check(cell, partial(closed_forms.fused, *drawn), partial(closed_forms.fused_spread, *drawn))


def related() -> list[Check]:
    """CAL-1."""
    out = [centroids(target("cal1", k), 2 * k) for k in BUDGETS]
    for name, t in CAL1.items():
        turn = (t, N_SOURCE)
        out.append(centroids(source("cal1", name, "target"), 0, turn, alpha=1.0))
        out += [centroids(fused("cal1", k, name), 2 * k, turn) for k in BUDGETS]
        for alpha in ALPHAS:
            cell = plain("cal1", name, "target", FUSED, 5, alpha=alpha)
            out.append(centroids(cell, 10, turn, alpha=alpha))
    return out


def label_shift() -> list[Check]:
    """CAL-2."""
    out = []
    for name, p in CAL2.items():
        bayes, uncorrected = partial(closed_forms.prior_corrected, p, M), partial(closed_forms.phi, M)
        matched, median = partial(closed_forms.mean_matched, p, M), partial(closed_forms.median_matched, p, M)
        out += [
            Check(source("cal2", "source", name), uncorrected),
            Check(plain("cal2", "source", name, "prior:BBSE"), bayes),
            Check(plain("cal2", "source", name, "prior:MLLS"), bayes),
            Check(plain("cal2", "source", name, "alignment:CORAL"), matched),
            Check(plain("cal2", "source", name, "alignment:CORAL", center=False), uncorrected),
            Check(plain("cal2", "source", name, "alignment:MeanMatching"), matched),
            Check(plain("cal2", "source", name, "alignment:MonotoneOT"), median),
        ]
    return out


def covariate_shift() -> list[Check]:
    """CAL-3 and its twin."""
    out = [Check(weighted("n20000", g), partial(covariate.limit, g)) for g in GAMMAS]
    for name, n in (("n100", 100), ("twin50", 50), ("twin1000", 1000)):
        for g in (0.0, 1.0):
            drawn = (n, g, name.startswith("twin"))
            out.append(Check(weighted(name, g), partial(covariate.erm, *drawn), partial(covariate.erm_spread, *drawn)))
    return out


def conditional_shift() -> list[Check]:
    """CAL-4, moved and turned."""
    out = []
    for name, delta in CAL4_MOVED.items():
        out.append(Check(source("cal4", "plain", name), partial(closed_forms.moved, delta, M)))
        for learner in ("CORAL", "LinearOT", "MeanMatching"):
            out.append(Check(plain("cal4", "plain", name, f"alignment:{learner}"), partial(closed_forms.phi, M)))
    for name, t in CAL4_TURNED.items():
        turned = partial(closed_forms.turned, t, M_TURNED, D_SHIFT, N_SHIFT)
        out += [
            Check(source("cal4", name, "upright"), turned),
            Check(plain("cal4", name, "upright", "alignment:CORAL"), partial(closed_forms.coral_turned, t, M_TURNED)),
            Check(
                plain("cal4", name, "upright", "alignment:LinearOT"),
                partial(closed_forms.linear_ot_turned, t, M_TURNED),
            ),
        ]
        for learner in ("alignment:SubspaceAlignment", "alignment:SelfTraining"):
            alone, told = partial(closed_forms.self_aligned, t, M_TURNED), partial(closed_forms.sign_fixed, M_TURNED, 1)
            spread = partial(closed_forms.sign_fixed_spread, M_TURNED, 1)
            out.append(Check(plain("cal4", name, "upright", learner), alone))
            out.append(Check(plain("cal4", name, "upright", learner, 1, labels=True), told, spread))
    return out


def ordinary(cell: Cell, n: int, d: int, sigma: float, length: float = 1.0) -> Check:
    """Least squares on n target samples."""
    spread = partial(risks.in_subspace_spread, n, d, sigma, 0.0) if n > d + 3 else None
    return Check(cell, partial(risks.least_squares, n, d, sigma, length), spread)


def shared_subspace() -> list[Check]:
    """CAL-5."""
    out = []
    for name, g in CAL5.items():
        for n in BUDGETS5:
            narrow = (n, RANK, SIGMA5, g * g)
            out.append(ordinary(least_squares("cal5", name, n), n, D5, SIGMA5))
            frozen = partial(risks.in_subspace_spread, *narrow)
            out.append(Check(subspace(name, n), partial(risks.in_subspace, *narrow), frozen))
    return out


def shared_support() -> list[Check]:
    """CAL-6."""
    out = [Check(plain("cal6", s, "target", "regression:SourceParameters"), lambda: 2.0) for s in CAL6]
    for n in BUDGETS6:
        out.append(ordinary(least_squares("cal6", "target", n), n, D6, SIGMA6))
        for name, shared in CAL6.items():
            inside = (n, SUPPORT, SIGMA6, 1 - shared / SUPPORT)
            cell = plain("cal6", name, "target", "regression:SupportTransfer", n)
            out.append(Check(cell, partial(risks.in_subspace, *inside), partial(risks.in_subspace_spread, *inside)))
    return out


def shared_prior() -> list[Check]:
    """CAL-7."""
    length = LENGTH7**2 + D7 * TAU**2
    alone = plain("cal7", "source", "target", "regression:SourceParameters")
    out = [Check(alone, lambda: D7 * TAU**2)]
    for n in BUDGETS7:
        out.append(ordinary(least_squares("cal7", "target", n), n, D7, SIGMA7, length))
        out += [Check(ridge(n, lam), partial(risks.ridge_towards, n, D7, SIGMA7, TAU, lam)) for lam in LAMBDAS]
    return out


def flipped_labels() -> list[Check]:
    """CAL-8."""
    out, whole = [], (0.0, N_SOURCE)
    for name, rho in CAL8.items():
        agree = 1 - 2 * rho
        out.append(centroids(source("cal8", name, "target"), 0, whole, alpha=1.0, agree=agree))
        for k in BUDGETS[:3]:
            out.append(centroids(fused("cal8", k, name), 2 * k, whole, agree=agree))
    return out + [centroids(target("cal8", k), 2 * k) for k in BUDGETS[:3]]


def several_sources() -> list[Check]:
    """CAL-9, five labels a class."""
    out = [centroids(target("cal9", 5), 10)]
    for group in GROUPS:
        turns = [(float(CAL9[name]), N_EACH) for name in group]
        out.append(centroids(fused("cal9", 5, *group), 10, *turns))
        out.append(centroids(Cell("cal9", group, "target", SOURCE, 0), 0, *turns, alpha=1.0))
    for name in ("rot0", "rot20a", "rot60", "rot90"):
        out.append(centroids(source("cal9", name, "target"), 0, (CAL9[name], N_EACH), alpha=1.0))
    return out


def controls() -> list[Check]:
    """CAL-10. Pooling an ideal source is target-only of as many labels."""
    out = []
    for k in BUDGETS[:3]:
        out += [
            centroids(target("cal10", k), 2 * k),
            centroids(fused("cal10", k, "ideal"), 2 * k + N_SOURCE),
            centroids(fused("cal10", k, "noise"), 2 * k, (0.0, N_SOURCE), agree=1 - 2 * CAL10["noise"]),
        ]
        out += [Check(jittered(k, copy), partial(closed_forms.jittered, 2 * k, M, D)) for copy in (0, 1)]
        for cell in (
            Cell("cal10", (), "placebo", TARGET, k),
            Cell("cal10", ("ideal",), "placebo", FUSED, k),
        ):
            out.append(Check(cell, lambda: 0.5))
    return [*out, Check(source("cal10", "ideal", "placebo"), lambda: 0.5)]


CHECKS: tuple[Check, ...] = (
    *related(), *label_shift(), *covariate_shift(), *conditional_shift(), *shared_subspace(), *shared_support(),
    *shared_prior(), *flipped_labels(), *several_sources(), *controls(),
)  # fmt: skip
