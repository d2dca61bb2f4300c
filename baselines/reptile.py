"""Reptile: move the start towards where training on a task leads.

Nichol, Achiam & Schulman, arXiv 1803.02999, algorithm 2. The inner loop trains on an episode, supports and queries
alike, to phi_i; the start goes a share of the way to the mean, a share that falls linearly to nothing:

    phi_i = k steps from theta on the samples of episode i        theta <- theta + eps mean over i of (phi_i - theta)

Defaults are the paper's for characters: Adam without momentum at 0.001, batches of 10, five steps, 50 at test, five
episodes a step, eps 1. Each inner loop begins with Adam's moments at zero, where the authors' code hands them on from
task to task. Queries are normalised as the support is, not one by one with it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.func import grad, vmap

from tlbench import Train
from tlbench.data import Watch
from tlbench.training.meta import Drawn, MetaLearner, Weighted, Weights, prepared, with_support_norms
from tlbench.training.networks import Networks
from tlbench.training.trainer import order


@dataclass(frozen=True)
class Reptile(MetaLearner):
    """Learn a start by training on task after task and going part of the way.

    >>> import numpy as np
    >>> from tlbench import Labeled, Train
    >>> y = np.arange(60) % 3
    >>> x = np.random.default_rng(0).normal(6 * np.eye(3)[y])
    >>> train = Train.of_episodes(x, y, ways=3, shots=2, queries=4)
    >>> few = Labeled.of(-x[:6], y[:6])  # classes that nobody has seen
    >>> Reptile(steps=30).fit(train, seed=0)(few, few.x).argmax(1).tolist()
    [0, 1, 2, 0, 1, 2]
    """

    episodes_a_step: int = 5
    lr: float = 1.0  # the paper's epsilon at the start
    inner_lr: float = 1e-3
    inner_steps: int = 5
    inner_batch: int = 10
    test_steps: int = 50

    family: ClassVar[str] = "model-based"
    paper: ClassVar[str] = "Nichol, Achiam & Schulman, On first-order meta-learning algorithms, 2018"
    needs: ClassVar[frozenset[str]] = frozenset({"sources", "shots"})
    regimes: ClassVar[frozenset[str]] = frozenset({"episodes"})  # with one task it is fine-tuning from a costly start
    search: ClassVar[dict[str, tuple[object, ...]]] = {
        "lr": ("log", 0.1, 1.0),
        "inner_lr": ("log", 1e-4, 1e-2),
        "inner_steps": ("choice", 5, 8, 10),
    }

    def networks(self, train: Train) -> Networks:
        return with_support_norms(super().networks(train))

    def learn(self, net: Networks, stream: Iterator[Drawn], steps: int, watch: Watch | None = None) -> int:
        model, samples = Weighted(net), 0
        for i, drawn in enumerate(stream):
            x, y = torch.cat([drawn.xs, drawn.xq], 1), torch.cat([drawn.ys, drawn.yq], 1)
            with torch.no_grad():
                phi = self.adapted(model, prepared(net, x), y, self.inner_steps, i)
                for name, theta in model.weights.items():
                    theta += self.lr * (1 - i / steps) * (phi[name].mean(0) - theta)
            samples += len(y) * self.inner_steps * min(self.inner_batch, y.shape[1])
        return samples

    def scores(self, net: Networks, drawn: Drawn) -> Tensor:
        model, xs = Weighted(net), prepared(net, drawn.xs)
        phi = self.adapted(model, xs, drawn.ys, self.test_steps, 0)
        return vmap(model.query_logits)(phi, xs, prepared(net, drawn.xq))

    def adapted(self, model: Weighted, x: Tensor, y: Tensor, steps: int, seed: int) -> Weights:
        """phi of each episode, (e, *shape) a weight, after `steps` batches of (e, b, *shape) samples."""
        generator = torch.Generator().manual_seed(seed)
        rows = order(x.shape[1], min(self.inner_batch, x.shape[1]), steps, generator).to(x.device)

        def train(x: Tensor, y: Tensor) -> Weights:
            phi = model.weights
            moment = {name: torch.zeros_like(w) for name, w in phi.items()}
            for t, batch in enumerate(rows, 1):
                gradient = grad(model.loss)(phi, x[batch], y[batch])
                moment = {name: 0.999 * m + 0.001 * gradient[name].square() for name, m in moment.items()}
                size = {name: (m / (1 - 0.999**t)).sqrt() + 1e-8 for name, m in moment.items()}
                phi = {name: w - self.inner_lr * gradient[name] / size[name] for name, w in phi.items()}
            return phi

        found: Weights = vmap(train, randomness="different")(x, y)
        return found
