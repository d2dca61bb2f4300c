"""What a problem type is: how its labels are read, divided, counted and scored. One object of this a type.

A class here is the ordinary case, one class a sample; a type overrides what is otherwise with it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tlbench.data import Domain
from tlbench.tasks.metrics import Metric

if TYPE_CHECKING:
    from tlbench.tasks.card import Budget, Card
    from tlbench.tasks.split import Split

Array = NDArray[Any]
Mask = NDArray[np.bool_]


class Problem(ABC):
    """One problem type."""

    name: ClassVar[str]  # the `regime` of cards, rows and methods
    metrics: ClassVar[tuple[Metric, ...]]  # that a row holds; the first is ranked unless a card says otherwise
    label: ClassVar[str]  # what is to be told of a sample, in words
    budget: ClassVar[str]  # what a label budget counts, in words
    margin: ClassVar[float] = 1.0  # negative transfer is to lie more than so many hundredths of the metric below
    headline: ClassVar[bool] = False  # the leaderboard's first tables are of it
    without_labels: ClassVar[bool] = True  # some of its tasks can be asked at a budget of 0
    episodic: ClassVar[bool] = False  # a method is asked episode by episode, and the labels are inside them
    reads_numbers: ClassVar[bool] = False  # the label in a file is a number
    keeps_trials: ClassVar[bool] = False  # the scores of its trials are kept for rules of selection
    least_classes: ClassVar[int] = 0  # that a domain must hold
    libraries: ClassVar[tuple[str, ...]] = ()  # that its metrics need, beside the harness's own
    extra: ClassVar[str] = ""  # which installs those

    @property
    def margin_in_words(self) -> str:
        """The margin of negative transfer as the ranked metric is printed."""
        metric = self.metrics[0]
        return f"{self.margin * metric.factor / 100:g} {'point' if metric.in_percent else metric.unit}"

    @abstractmethod
    def fits(self, domain: Domain) -> bool:
        """Whether the labels of a domain are of this type. Of an episodic type: never, its domains hold classes."""

    def truths(self, domain: Domain) -> list[str]:
        """What is to be told of each sample, as text: a part of the data's digest."""
        return [domain.classes[y] for y in domain.y.astype(int)]

    def indices(self, domain: Domain) -> Any:
        """What is to be told of each sample, as the domain's arrays hold it."""
        return domain.y

    def strata(self, domain: Domain) -> NDArray[np.int64]:
        """(n,) the group within which test and validation samples are drawn: the class."""
        return domain.y.astype(np.int64)

    def n_strata(self, domain: Domain) -> int:
        return len(domain.classes)

    def groups(self, domain: Domain) -> Iterator[Mask]:
        """The samples of each group that a label budget counts in; groups may share samples."""
        strata = self.strata(domain)
        return (strata == c for c in range(self.n_strata(domain)))

    def outputs(self, domain: Domain, card: Card) -> int:
        """How many numbers a method tells of a sample: the size of its head."""
        return len(domain.classes)

    def labels(self, domain: Domain, rows: NDArray[np.int64]) -> dict[str, Array]:
        """The arrays of labels that a method is given of some samples."""
        return {"labels": domain.y[rows]}

    def truth(self, split: Split, budget: Budget) -> Any:
        """What is right of each test sample, as the metrics take it."""
        return split.domain.y[split.partition.test].astype(np.int64)

    @abstractmethod
    def read(self, file: Path, split: Split, budget: Budget) -> Array:
        """The predictions in a file of scores that a worker wrote: no more than the metrics look at.

        Raises:
            ValueError: the scores are not what the task asks for; says what they are instead.
        """

    @abstractmethod
    def check(self, predictions: Array, truth: Any, outputs: int) -> Array:
        """`predictions` themselves.

        Raises:
            ValueError: they are not such as `read` makes; says what they are instead.
        """
