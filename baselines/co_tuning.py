"""Co-tuning: the source's classifier is tuned along.

You et al., NeurIPS 2020, equations 2 to 4. Which source classes a target class looks like is read off the source's
network; while the target's labels are fitted, the source's head is asked for that mixture of its own classes:

    CE(c(f(x)), y)  +  weight * mean over source heads o of CE(o(f(x)), p(ys | y)),
    p(ys | y) = mean over the shots of class y of softmax(o_0(f_0(x)))

This is the paper's direct estimate of the relation; its reverse one and the calibration of the source's probabilities,
which take held-out source samples, are left out. A checkpoint's head is the classifier it was published with.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tlbench import Train
from tlbench.training.features import in_batches
from tlbench.training.fine_tuning import FineTuning, old_heads
from tlbench.training.networks import Networks, part
from tlbench.training.trainer import Batch, label_loss


@dataclass(frozen=True)
class CoTuning(FineTuning):
    """Fine-tune both heads, the source's on translated labels.

    >>> import numpy as np
    >>> from tlbench import Train
    >>> y = np.arange(60) % 3
    >>> x = np.random.default_rng(0).normal(6 * np.eye(3)[y])
    >>> train = Train.of(x, y // 2, x + 1, shots=(x[:9] + 1, y[:9]), source_classes=2)
    >>> CoTuning(steps=30).fit(train, seed=0)(train.target.x).argmax(1)[:6].tolist()
    [0, 1, 2, 0, 1, 2]
    """

    weight: float = 2.3  # the paper's lambda, as in the authors' code

    paper: ClassVar[str] = "You et al., Co-tuning for transfer learning, NeurIPS 2020"
    search: ClassVar[dict[str, tuple[object, ...]]] = {
        "weight": ("log", 0.01, 10.0),
        "tuned_body_lr": ("log", 0.01, 1.0),
        "lr": ("log", 1e-3, 0.1),
    }

    def begun(self, net: Networks, train: Train, seed: int) -> Networks:
        old = old_heads(net, train)
        f, y = in_batches(net.features, train.device)(train.shots.x), train.shots.y
        relations = [relation(in_batches(head, train.device)(f), y, train.n_classes) for head in old]
        net["old"] = Translated(old, relations).to(train.device)
        return net

    def loss(self, net: Networks, batch: Batch, progress: float) -> Tensor:
        f = net.features(batch.x)
        old = part(net, "old", Translated)
        along = [cross_entropy(head(f), table[batch.y]) for head, table in zip(old.heads, old.tables(), strict=True)]
        return label_loss(net, f, batch) + self.weight * torch.stack(along).mean()


class Translated(nn.Module):
    """The source's heads, each with its table of p(ys | y): (k, ks)."""

    def __init__(self, heads: Iterable[nn.Module], tables: list[Tensor]) -> None:
        super().__init__()
        self.heads = nn.ModuleList(heads)
        for i, table in enumerate(tables):
            self.register_buffer(f"table{i}", table)

    def tables(self) -> list[Tensor]:
        return list(self.buffers(recurse=False))


def relation(scores: Tensor, y: Tensor, k: int) -> Tensor:
    """(n, ks) source scores of shots labelled y -> (k, ks) mean probabilities by class; uniform without a shot."""
    member = torch.nn.functional.one_hot(y, k).to(scores.dtype)  # (n, k)
    count = member.sum(0)[:, None]
    table = (member.T @ scores.softmax(1)) / count.clamp(min=1)
    return torch.where(count > 0, table, torch.full_like(table, 1 / scores.shape[1]))
