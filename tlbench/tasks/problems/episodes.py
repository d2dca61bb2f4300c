"""Few-shot episodes: which of an episode's own classes each of its queries shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tlbench.data import Domain
from tlbench.tasks.metrics import ACCURACY
from tlbench.tasks.problems.classification import Classification

if TYPE_CHECKING:
    from tlbench.tasks.card import Budget, Card
    from tlbench.tasks.split import Split


class Episodes(Classification):
    """Classification with the classes of an episode.

    Accuracy is its only metric. Every class of an episode has as many queries, so balanced accuracy is the same number;
    and class 0 of one episode is another class than class 0 of the next, so a score of each class over all episodes
    would mean nothing.
    """

    name = "episodes"
    metrics = (ACCURACY,)
    label = "a class of the episode"
    budget = "shots a class of an episode"
    headline: ClassVar[bool] = False
    without_labels: ClassVar[bool] = False
    keeps_trials: ClassVar[bool] = False
    episodic: ClassVar[bool] = True
    least_classes: ClassVar[int] = 0

    def fits(self, domain: Domain) -> bool:
        return False

    def outputs(self, domain: Domain, card: Card) -> int:
        return card.episodes.ways

    def truth(self, split: Split, budget: Budget) -> Any:
        """(n,) right classes of the queries of all episodes."""
        return np.concatenate([e.query_y for e in split.episodes(budget)])
