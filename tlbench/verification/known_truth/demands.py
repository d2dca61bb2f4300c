"""All that one run of the suites is held against: of the theory's own learners, or of the methods that ship.

`expected` demands it of the theory's own learners. A shipped method is another one, the card's network trained by
gradient descent, of which no mean is known. What carries over is the order: where the theory's forms lie more than two
points of accuracy apart, the winner must win and the harmful must harm, each by more than `HARM` and the noise of
the seeds; and nothing exceeds the Bayes accuracy. `families.toml` lists the demands, and why a pair is not among them.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import product

import numpy as np

from tlbench.tasks.task_name import TaskName
from tlbench.verification.known_truth import checks, expected
from tlbench.verification.known_truth.checks import REGRESSION, SEEDS, Cell, Check, Comparison
from tlbench.verification.known_truth.expected import CHECKS, HARM

METHOD_SEEDS = 10


@dataclass(frozen=True)
class Shipped(Cell):
    """A cell whose learner is named as the harness names methods."""

    @property
    def method(self) -> str:
        return self.learner


@dataclass(frozen=True)
class Resolved(Comparison):
    """An order that must show in the seeds: the gain, seed by seed, less two standard errors is above the margin."""

    def holds(self, better: Sequence[float], worse: Sequence[float]) -> bool:
        sign = -1 if self.better.suite in REGRESSION else 1
        gains = sign * (np.asarray(better) - np.asarray(worse))
        return float(gains.mean() - 2 * gains.std(ddof=1) / len(gains) ** 0.5) > self.margin


@dataclass(frozen=True)
class Expected:
    """An entry of `families.toml`: on each task, at each budget, each of some methods beats each of others."""

    where: str
    tasks: list[str]
    k: list[int]
    better: list[str]  # names with settings: 'l2_sp alpha=1'
    worse: list[str]
    margin: float = HARM  # in accuracy, or in squared error; below zero: 'no worse than by so much'
    against: str = ""  # the worse ones' task, where it is another

    def comparisons(self) -> Iterator[Comparison]:
        for task, k, better, worse in product(self.tasks, self.k, self.better, self.worse):
            one, other = shipped(task, k, better), shipped(self.against or task, k, worse)
            yield Resolved(one, other, self.where, self.margin)


def shipped(task: str, k: int, method: str) -> Shipped:
    """The cell of a method on a task, both as a user names them: 'cal9/rot0+rot90-target', 'l2_sp alpha=1'."""
    at = TaskName.parse(task)
    name, *settings = method.split()
    fields = tuple((key, value) for key, _, value in (s.partition("=") for s in settings))
    return Shipped(at.suite, at.sources, at.target, name, k, fields)


@cache
def comparisons() -> tuple[Comparison, ...]:
    """All demands on the methods that ship."""
    listed = tomllib.loads(
        files("tlbench.verification.known_truth").joinpath("families.toml").read_text(encoding="utf-8")
    )
    return tuple(c for entry in listed["expected"] for c in Expected(**entry).comparisons())


CRASH = Cell("cal10", (), "target", "learners:Crash", 5)
PERMUTED = (
    checks.target("cal1", 5), checks.fused("cal1", 5, "rot45"),
    checks.plain("cal2", "source", "prior90", "learners:BBSE"),
    checks.fused("cal9", 5, "rot0", "rot60", "rot300"),
)  # fmt: skip


@dataclass(frozen=True)
class Demands:
    """Means that are known, orders that are known, and the controls of the harness."""

    checks: tuple[Check, ...]
    comparisons: tuple[Comparison, ...]
    seeds: int
    permuted: tuple[Cell, ...] = ()  # cells that samples and classes in another order must not change
    crashing: tuple[Cell, ...] = ()  # cells that fail on a fifth of the seeds

    def cells(self, suite: str) -> list[Cell]:
        """All cells that a suite's demands speak of, each once."""
        asked = [c.cell for c in self.checks]
        asked += [x for c in self.comparisons for x in (c.better, c.worse)]
        return [c for c in dict.fromkeys(asked) if c.suite == suite]

    @property
    def suites(self) -> tuple[str, ...]:
        asked = (*(c.cell for c in self.checks), *(c.better for c in self.comparisons))
        return tuple(dict.fromkeys(c.suite for c in asked))

    @property
    def methods(self) -> list[str]:
        """As the harness is asked for them."""
        return sorted({c.method for suite in self.suites for c in self.cells(suite)})


def of_learners() -> Demands:
    """Of the learners that the closed forms speak of."""
    return Demands(CHECKS, expected.comparisons(), SEEDS, PERMUTED, (CRASH,))


def of_methods() -> Demands:
    """Of the methods that ship."""
    return Demands((), comparisons(), METHOD_SEEDS)
