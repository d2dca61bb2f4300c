"""LwF: learning without forgetting.

Li & Hoiem, TPAMI 2018, equations 1 to 3. Before the target is learnt, the source's answers to the shots are written
down; while it is learnt, the old heads go on giving them:

    CE(c(f(x)), y)  +  weight * mean over old heads o of -sum_j q_j log p_j,
    q = softmax(o_0(f_0(x)) / T),   p = softmax(o(f(x)) / T)

The old head is the source's classifier, a copy of which is the new head where the classes are the target's; of a
checkpoint, the classifier it was published with. The paper's warm-up of the new head is left out.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tlbench import Train
from tlbench.training.fine_tuning import FineTuning, old_heads, still, tapped
from tlbench.training.networks import Networks, part
from tlbench.training.trainer import Batch, label_loss


@dataclass(frozen=True)
class LwF(FineTuning):
    """Fine-tune while the old heads go on giving the old answers.

    >>> import numpy as np
    >>> from tlbench import Train
    >>> y = np.arange(60) % 3
    >>> x = np.random.default_rng(0).normal(6 * np.eye(3)[y])
    >>> train = Train.of(x, y // 2, x + 1, shots=(x[:9] + 1, y[:9]), source_classes=2)
    >>> LwF(steps=30).fit(train, seed=0)(train.target.x).argmax(1)[:6].tolist()
    [0, 1, 2, 0, 1, 2]
    """

    weight: float = 1.0  # the paper's lambda_o
    temperature: float = 2.0  # the paper's T

    paper: ClassVar[str] = "Li & Hoiem, Learning without forgetting, TPAMI 2018"
    search: ClassVar[dict[str, tuple[object, ...]]] = {
        "weight": ("log", 0.01, 10.0),
        "temperature": ("choice", 1.0, 2.0, 4.0),
        "tuned_body_lr": ("log", 0.01, 1.0),
        "lr": ("log", 1e-3, 0.1),
    }

    def begun(self, net: Networks, train: Train, seed: int) -> Networks:
        old = old_heads(net, train)
        net["start"] = nn.ModuleDict({"trunk": still(net.features.trunk), "old": still(old)})
        net["old"] = old
        return net

    def loss(self, net: Networks, batch: Batch, progress: float) -> Tensor:
        start = part(net, "start", nn.ModuleDict).eval()
        with tapped(net.features.trunk, []) as seen:
            f = net.features(batch.x)
        with torch.no_grad():
            f_before = start["trunk"](seen[""])  # of the same augmented inputs
        heads = zip(part(net, "old", nn.ModuleList), part(start, "old", nn.ModuleList), strict=True)
        kept = [distillation(old(f), was(f_before), self.temperature) for old, was in heads]
        return label_loss(net, f, batch) + self.weight * torch.stack(kept).mean()


def distillation(scores: Tensor, before: Tensor, temperature: float) -> Tensor:
    """Cross-entropy of the softened old answers and the softened new ones, both (n, k) scores: (,)."""
    return cross_entropy(scores / temperature, (before / temperature).softmax(1))
