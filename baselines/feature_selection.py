"""f-MMD: drop the features whose distribution changes.

Uguroglu & Carbonell, ECML PKDD 2011, section 3, on the embedded inputs. Each feature gets a weight such that the
maximum mean discrepancy of the weighted features is largest; what weighs much tells the domains apart and is dropped:

    max over w >= 0, ||w|| <= 1  of  MMD^2(w) = sum over features d of w_d delta_d^2,   delta = mean x_S - mean x_T

for the linear kernel, so that w = delta^2 / ||delta^2||. kernel="rbf" takes the discrepancy of each feature alone under
a kernel as wide as its median distance instead of delta^2, which also sees variances: the paper's joint rbf kernel is
not concave and is left out. Features above the widest gap of the sorted weights go (`keep` None), or all but a share.
Of those that stay, the share `informative` by the one-way F-statistic of the source's classes is taken; 1 is the paper.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from sklearn.feature_selection import f_classif

from tlbench.training.kernels import Array, Columns, affordable, median_distance, rbf
from tlbench.training.shallow import Labels, MappingMethod, Move


@dataclass(frozen=True)
class FeatureSelection(MappingMethod):
    """Keep the features that are distributed alike in both domains and tell the classes apart.

    >>> import numpy as np
    >>> from tlbench import Train
    >>> y = np.arange(60) % 3
    >>> x = np.random.default_rng(0).normal(6 * np.eye(3, 4)[y])
    >>> train = Train.of(x, y, x + [0, 0, 0, 9])  # the fourth feature moved
    >>> FeatureSelection(steps=30).fit(train, seed=0)(train.target.x).argmax(1)[:6].tolist()
    [0, 1, 2, 0, 1, 2]
    """

    kernel: Literal["linear", "rbf"] = "linear"
    keep: float | None = None  # the share of features that stay; None: those below the widest gap
    informative: float = 1.0  # of those, the share that tells the source's classes apart best

    family: ClassVar[str] = "feature-based"
    paper: ClassVar[str] = "Uguroglu & Carbonell, Feature selection for transfer learning, ECML PKDD 2011"
    needs: ClassVar[frozenset[str]] = frozenset({"sources", "same task"})
    search: ClassVar[dict[str, tuple[object, ...]]] = {
        "kernel": ("choice", "linear", "rbf"),
        "keep": ("linear", 0.2, 1.0),
        "informative": ("linear", 0.2, 1.0),
    }

    def moved(self, xs: Array, ys: Labels, xt: Array, seed: int) -> tuple[Array, Move]:
        w = variance(xs, xt, self.kernel)
        order = np.argsort(w, kind="stable")
        stay = order[: gap(w[order]) if self.keep is None else max(1, round(self.keep * len(w)))]
        if self.informative < 1 and len(np.unique(ys)) > 1:
            with np.errstate(all="ignore"):  # a constant feature tells nothing
                strength = np.nan_to_num(f_classif(xs[:, stay], ys)[0], nan=-1.0, posinf=1e300)
            best = np.argsort(-strength, kind="stable")
            stay = stay[best[: max(1, round(self.informative * len(stay)))]]
        stay = np.sort(stay)
        return xs[:, stay], Columns(stay)


def variance(xs: Array, xt: Array, kernel: str) -> Array:
    """(d,) weights, of norm 1, of how much each feature tells the domains apart."""
    if kernel == "linear":
        w = (xs.mean(0) - xt.mean(0)) ** 2
    else:
        affordable(len(xs) + len(xt), "f-MMD by rbf")
        w = np.array([discrepancy(xs[:, [d]], xt[:, [d]]) for d in range(xs.shape[1])])
    return np.asarray(w / (np.linalg.norm(w) or 1.0))


def discrepancy(xs: Array, xt: Array) -> float:
    """The biased squared maximum mean discrepancy."""
    k = rbf(median_distance(np.concatenate([xs, xt])))
    return float(k(xs, xs).mean() - 2 * k(xs, xt).mean() + k(xt, xt).mean())


def gap(w: Array) -> int:
    """How many of the sorted weights lie below their widest gap; all where there is none."""
    return int(np.diff(w).argmax()) + 1 if len(w) > 1 and w[-1] > w[0] else len(w)
