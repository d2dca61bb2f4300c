"""The cells of the suite: a learner on a task at a budget, named as the harness names them."""

from __future__ import annotations

from dataclasses import dataclass

from tlbench.tasks.synthetic.draw import N_TEST
from tlbench.tasks.synthetic.linear import RANK
from tlbench.tasks.synthetic.rotation import PLACEBO_TEST

REGRESSION = frozenset({"cal5", "cal6", "cal7"})
BUDGETS = (1, 5, 20, 100)  # cal1: labels a class
BUDGETS5, BUDGETS6, BUDGETS7 = (10, 20, 100, 300), (20, 60, 100), (10, 40)  # labels in all; far from n = d
ALPHAS = (0.2, 0.5, 0.8)
GAMMAS = (0.0, 0.4, 0.6, 1.0)  # of cal3's weights
LAMBDAS = (0.1, 1.23, 3.7, 11.11, 33.3, 100.0)  # sigma^2 / tau^2 = 11.11 is Bayes's
GROUPS = (("rot0", "rot90", "rot180"), ("rot0", "rot60", "rot300"), ("rot20a", "rot20b", "rot20c"),
          ("rot0", "rot150a", "rot150b"))  # fmt: skip
TARGET, SOURCE, FUSED = "centroid:TargetCentroid", "centroid:SourceCentroid", "centroid:FusedCentroid"


@dataclass(frozen=True)
class Cell:
    """A learner on a task at a budget."""

    suite: str
    sources: tuple[str, ...]  # () where the learner looks at none
    target: str
    learner: str  # within this package: 'centroid:FusedCentroid'
    k: int
    settings: tuple[tuple[str, str], ...] = ()  # fields of the learner and their values as text

    @property
    def task(self) -> str:
        return f"{self.suite}/{'-'.join(filter(None, ('+'.join(self.sources), self.target)))}"

    @property
    def method(self) -> str:
        """As the harness is asked for it."""
        return f"tlbench.verification.known_truth.{self.learner}"

    @property
    def n_test(self) -> int:
        return PLACEBO_TEST if self.target == "placebo" else N_TEST

    def __str__(self) -> str:
        told = "".join(f" {name}={value}" for name, value in self.settings)
        return f"{self.task} {self.learner.rpartition(':')[2]}{told} k={self.k}"


def target(suite: str, k: int) -> Cell:
    """Target-only by nearest centroids."""
    return Cell(suite, (), "target", TARGET, k)


def fused(suite: str, k: int, *sources: str) -> Cell:
    """Centroids of all samples pooled."""
    return Cell(suite, sources, "target", FUSED, k)


def source(suite: str, name: str, goal: str) -> Cell:
    """Source-only by nearest centroids."""
    return Cell(suite, (name,), goal, SOURCE, 0)


def plain(suite: str, name: str, goal: str, learner: str, k: int = 0, **settings: object) -> Cell:
    """Any learner on one source."""
    return Cell(suite, (name,), goal, learner, k, tuple((key, str(value)) for key, value in settings.items()))


def subspace(gamma: str, n: int) -> Cell:
    return Cell("cal5", tuple(f"b{j + 1}" for j in range(RANK)), gamma, "regression:FrozenSubspace", n)


def least_squares(suite: str, name: str, n: int) -> Cell:
    return Cell(suite, (), name, "regression:TargetLeastSquares", n)


def ridge(n: int, lam: float) -> Cell:
    return plain("cal7", "source", "target", "regression:RidgeTowards", n, lam=lam)


def weighted(name: str, gamma: float) -> Cell:
    """A threshold under weights w^gamma."""
    goal = "twintarget" if name.startswith("twin") else "target"
    return plain("cal3", name, goal, "threshold:ThresholdERM", gamma=gamma)


def jittered(k: int, copy: int) -> Cell:
    return Cell("cal10", (), "target", "controls:JitteredCentroid", k, (("copy", str(copy)),))
