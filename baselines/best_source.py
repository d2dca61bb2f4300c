"""Best source: one source of several, chosen without a target label that is tested.

The `single best` of Peng et al., ICCV 2019, section 5, with the choice left to the data. With shots: a network is
trained on each source, the one whose log-loss on the shots is least names the source, and a network is trained on
that source and the shots in equal parts. None of the networks compared has seen a shot, so all shots are held out
and there are no folds to make. Without shots: the source whose inputs are nearest to the target's in maximum mean
discrepancy (Gretton et al., JMLR 2012, lemma 6, unbiased), on the embedding that all sources teach:

    MMD^2(S, T) = mean k(s, s') + mean k(t, t') - 2 mean k(s, t)        k(a, b) = exp(-||a - b||^2 / median)

It sees inputs only: a source of the right inputs and the wrong labels is nearest all the same.
"""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from tlbench import Predictor, Train
from tlbench.training.features import embedded, nothing_of
from tlbench.training.predictors import predictor
from tlbench.training.trainer import TrainedMethod


@dataclass(frozen=True)
class BestSource(TrainedMethod):
    """Choose the source that suits the target, and train on it.

    >>> import numpy as np
    >>> from tlbench import Train
    >>> y = np.arange(60) % 3
    >>> x = np.random.default_rng(0).normal(6 * np.eye(3)[y])
    >>> train = Train.of((x, x - 1), (y, y), x + 1)
    >>> BestSource(steps=30).fit(train, seed=0)(train.target.x).argmax(1)[:6].tolist()
    [0, 1, 2, 0, 1, 2]
    """

    samples: int = 1000  # of each domain that its discrepancy is taken from, at most

    family: ClassVar[str] = "multi-source"
    paper: ClassVar[str] = "Peng et al., Moment matching for multi-source domain adaptation, ICCV 2019"
    needs: ClassVar[frozenset[str]] = frozenset({"sources", "same task"})
    search: ClassVar[dict[str, tuple[object, ...]]] = {
        "lr": ("log", 1e-3, 1e-1),
        "weight_decay": ("log", 1e-5, 1e-2),
    }

    def fit(self, train: Train, seed: int) -> Predictor:
        best = train.sources[self.chosen(train, seed)]
        return predictor(self.erm.trained(replace(train, sources=(best,)), seed), train.device)

    def chosen(self, train: Train, seed: int) -> int:
        """Which source; the first of equals."""
        if len(train.sources) == 1:
            return 0
        if not len(train.shots):
            flat, _ = embedded(train, seed, self.erm)
            target = some(flat.target.x, self.samples, seed)
            return int(torch.stack([mmd(some(s.x, self.samples, seed), target) for s in flat.sources]).argmin())
        losses = []
        for source in train.sources:
            alone = replace(train, sources=(source,), shots=nothing_of(train.shots))
            predict = predictor(self.erm.trained(alone, seed), train.device)
            scores = torch.cat([predict(x) for x in torch.split(train.shots.x, 256)]).cpu()
            losses.append(cross_entropy(scores, train.shots.y))
        return int(torch.stack(losses).argmin())


def some(x: Tensor, most: int, seed: int) -> Tensor:
    """`most` rows at random, or all."""
    return x[torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))[:most]].double()


def mmd(s: Tensor, t: Tensor) -> Tensor:
    """MMD^2 of (n, d) and (m, d) rows, unbiased: a pair of a row with itself does not count."""
    n, m = len(s), len(t)
    apart = torch.cdist(torch.cat([s, t]), torch.cat([s, t]), compute_mode="donot_use_mm_for_euclid_dist").square()
    k = torch.exp(-apart / apart[apart > 0].median())
    within_s, within_t = ((part.sum() - part.diagonal().sum()) for part in (k[:n, :n], k[n:, n:]))
    return within_s / (n * (n - 1)) + within_t / (m * (m - 1)) - 2 * k[:n, n:].mean()
