"""Meta-learning: episodes drawn from the sources, and what is learnt over them.

The sources' classes are drawn into small tasks that look like the target's: a few labelled samples of a few classes
(the support) and others to be told (the queries). A `MetaLearner` descends the loss of the queries given the support;
what it has learnt then meets the target's own supports. All episodes of a step pass at once, and at test many do: the
network is a function of its weights, so that every episode may have its own.
"""

from __future__ import annotations

import importlib
import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy
from torch.nn.modules.batchnorm import _BatchNorm

from tlbench.data import Episodes, Labeled, Learner, Predictor, Train, Watch
from tlbench.errors import NotApplicable
from tlbench.training.meter import METER
from tlbench.training.networks import Networks
from tlbench.training.predictors import BatchedLearner, FittedPredictor
from tlbench.training.trainer import network

Weights = dict[str, Tensor]


class Weighted:
    """The card's network as a function of its weights, for episodes each of which has its own.

    What comes before the trunk (scaling, augmentation) has no weights and is done for all episodes together. A batch
    norm takes its moments from the support, for the queries too (MetaBN of Bronskill et al., ICML 2020, section 3.2):
    so no query is judged by the others, as it is where they are normalised together, and no average is kept.

    Raises:
        NotApplicable: the network is recurrent, whose layers no two episodes can pass at once with weights of their
            own.
    """

    def __init__(self, net: Networks) -> None:
        self.net = nn.Sequential(net.features.trunk, net.classifier)
        if any(isinstance(m, nn.RNNBase) for m in self.net.modules()):
            raise NotApplicable("the backbone is recurrent: torch cannot run such layers with weights for each episode")
        self.weights: Weights = dict(self.net.named_parameters())
        self.norms = [name for name, m in self.net.named_modules() if isinstance(m, SupportNorm)]

    def __call__(self, weights: Weights, x: Tensor, n_support: int | None = None) -> Tensor:
        """(b, *shape) prepared inputs -> (b, n_classes); the norms' moments are those of the first `n_support` rows."""
        rows = {f"{name}.support": x.new_empty(n_support or 0) for name in self.norms}
        out: Tensor = functional_call(self.net, {**weights, **rows}, (x,))
        return out

    def loss(self, weights: Weights, x: Tensor, y: Tensor) -> Tensor:
        """The mean cross-entropy of labelled samples."""
        return cross_entropy(self(weights, x), y)

    def query_logits(self, weights: Weights, xs: Tensor, xq: Tensor) -> Tensor:
        """(q, n_classes) scores of the queries, normalised as the support is."""
        return self(weights, torch.cat([xs, xq]), len(xs))[len(xs) :]


def prepared(net: Networks, x: Tensor) -> Tensor:
    """(e, b, *shape) raw inputs as the trunk takes them, augmented while training."""
    features, flat = net.features, x.flatten(0, 1)
    out: Tensor = features.prepare(flat)
    if features.training:
        out = features.augment(out)
    return out.reshape(*x.shape[:2], *out.shape[1:])


class SupportNorm(nn.Module):
    """Batch norm, (b, c) or (b, c, ...), by the moments of the support, which are the first rows of what passes.

    The buffer `support` has as many entries as the support has rows; where it has none, all rows count. So the number
    is an argument of `functional_call`, as the weights are, and no pass leaves anything behind in the module.
    """

    support: Tensor

    def __init__(self, norm: _BatchNorm) -> None:
        super().__init__()
        self.weight, self.bias, self.eps = norm.weight, norm.bias, norm.eps
        self.register_buffer("support", torch.empty(0), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        var, mean = torch.var_mean(x[: len(self.support) or None], (0, *range(2, x.ndim)), correction=0, keepdim=True)
        weight, bias = (p.view(-1, *[1] * (x.ndim - 2)) for p in (self.weight, self.bias))
        out: Tensor = (x - mean) * ((var + self.eps).rsqrt() * weight) + bias
        return out


def with_support_norms(net: Networks) -> Networks:
    """`net`, its batch norms replaced; those that keep a checkpoint's statistics stay."""
    if net.features.fixed_norm:
        return net
    for parent in list(net.modules()):
        for name, norm in list(parent.named_children()):
            if isinstance(norm, _BatchNorm) and norm.affine:
                after = [getattr(norm, part) for part in ("drop", "act") if hasattr(norm, part)]  # timm's fused ones
                setattr(parent, name, nn.Sequential(SupportNorm(norm), *after) if after else SupportNorm(norm))
    return net


@dataclass(frozen=True)
class Drawn:
    """Several episodes of one shape."""

    xs: Tensor  # (e, s, *shape) supports
    ys: Tensor  # (e, s)
    xq: Tensor  # (e, q, *shape) queries
    yq: Tensor  # (e, q); (e, 0) where they are to be told
    n_classes: int  # labels are below it; some may be nobody's


def shape(train: Train) -> Episodes:
    """What an episode looks like: as the target's; where the target is one task, all its classes with as many shots.

    There the shots, and the queries too, are four of the card's batches at most.
    """
    if train.episodes:
        return train.episodes
    most = max(1, 4 * train.recipe.batch // train.n_classes)
    shots = max(1, len(train.shots) // train.n_classes)
    return Episodes(train.n_classes, min(shots, most), min(15, most))


def episodes(train: Train, asked: Episodes, steps: int, count: int, seed: int) -> Iterator[Drawn]:
    """`steps` times `count` episodes, each from one of the sources, all of which are as likely.

    Where the sources' classes are the target's own, they keep their labels; else an episode's labels mean nothing.
    Classes too small for the shots and a query are left out while enough others are there; small classes make for
    fewer queries, then for fewer shots; few classes for fewer ways.

    Raises:
        NotApplicable: no source has two classes of two samples.
    """
    able, ways, shots, size = _pools(train, asked)
    named = train.same_task and not train.episodes
    generator = torch.Generator().manual_seed(seed)

    def draw() -> tuple[Tensor, ...]:
        source, pool = able[int(torch.randint(len(able), (), generator=generator))]
        chosen = [pool[i] for i in torch.randperm(len(pool), generator=generator)[:ways].tolist()]
        rows = torch.stack([c[torch.randperm(len(c), generator=generator)[:size]] for c in chosen])  # (ways, size)
        labels = torch.randperm(train.n_classes, generator=generator)[:ways]
        y = source.y[rows] if named else labels[:, None].expand(-1, size)
        support, queries = rows[:, :shots].flatten(), rows[:, shots:].flatten()
        return source.x[support], y[:, :shots].flatten(), source.x[queries], y[:, shots:].flatten()

    for _ in range(steps):
        parts = zip(*(draw() for _ in range(count)), strict=True)
        xs, ys, xq, yq = (torch.stack(part).to(train.device, non_blocking=True) for part in parts)
        yield Drawn(xs, ys, xq, yq, train.n_classes)


def _pools(train: Train, asked: Episodes) -> tuple[list[tuple[Labeled, list[Tensor]]], int, int, int]:
    """The sources with the rows of their usable classes; ways, shots and samples a class of every episode."""
    pools = [[rows for rows in _by_class(s) if len(rows) > 1] for s in train.sources]
    ways = min(asked.ways, max(map(len, pools), default=0))
    if ways < 2:
        raise NotApplicable("no source has two classes of two samples: no episode can be drawn")
    rich = [[rows for rows in pool if len(rows) > asked.shots] for pool in pools]
    pools = [some if len(some) >= ways else pool for some, pool in zip(rich, pools, strict=True)]
    able = [(s, pool) for s, pool in zip(train.sources, pools, strict=True) if len(pool) >= ways]
    size = min([asked.shots + asked.queries, *(len(rows) for _, pool in able for rows in pool)])
    return able, ways, min(asked.shots, size - 1 if size > asked.shots else size // 2), size


def _by_class(part: Labeled) -> Sequence[Tensor]:
    """The rows of each class that is there."""
    counts: list[int] = torch.unique(part.y, return_counts=True)[1].tolist()
    return torch.split(torch.argsort(part.y, stable=True), counts)


@dataclass(frozen=True)
class MetaLearner(ABC):
    """Learns over episodes by Adam; subclasses give `scores`. None takes what the card prescribes."""

    steps: int | None = None  # of the outer loop
    episodes_a_step: int = 4
    lr: float = 1e-3  # of the outer loop

    def __post_init__(self) -> None:
        for name in ("steps", "episodes_a_step", "lr"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} is {value}, it must be positive")

    def networks(self, train: Train) -> Networks:
        """The card's backbone under 'features' and a linear 'classifier' above it."""
        return network(replace(train, source_classes=()))

    @abstractmethod
    def scores(self, net: Networks, drawn: Drawn) -> Tensor:
        """(e, q, n_classes) of the queries, each by its episode; differentiable. In the outer loop `net.training`."""

    def fit(self, train: Train, seed: int) -> Predictor | Learner:
        """Learn over the sources' episodes."""
        return BatchedLearner(ByEpisode(self, self.trained(train, seed), train.n_classes, train.device))

    def trained(self, train: Train, seed: int) -> Networks:
        """The networks after the outer loop."""
        steps = train.recipe.steps if self.steps is None else self.steps
        stream = episodes(train, shape(train), steps, self.episodes_a_step, seed)
        with torch.random.fork_rng(devices=[train.device] if train.device.startswith("cuda") else []):
            torch.manual_seed(seed)
            net = self.networks(train).to(train.device)
            net.train()
            start = time.perf_counter()
            watched = {"watch": train.watch} if train.watch is not None else {}
            samples = self.learn(net, stream, steps, **watched)
            METER.add(samples, steps, time.perf_counter() - start)
        net.eval()
        return net

    def learn(self, net: Networks, stream: Iterator[Drawn], steps: int, watch: Watch | None = None) -> int:
        """The outer loop: the mean loss of the queries goes down. Returns the samples seen.

        Args:
            watch: is given each step's 'query_loss'
        """
        optimizer = torch.optim.Adam([p for p in net.parameters() if p.requires_grad], self.lr)
        samples = 0
        for i, drawn in enumerate(stream):
            optimizer.zero_grad(set_to_none=True)
            loss = cross_entropy(self.scores(net, drawn).flatten(0, 1), drawn.yq.flatten())
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            samples += drawn.ys.numel() + drawn.yq.numel()
            if watch is not None:
                watch(i, {"query_loss": float(loss.detach())})
        return samples


class ByEpisode(nn.Module):
    """Scores of queries by their own supports: of one episode, or of `several`, none of which knows of another."""

    def __init__(self, method: MetaLearner, net: Networks, n_classes: int, device: str) -> None:
        super().__init__()
        self.method, self.net, self.n_classes, self.device = method, net, n_classes, device

    def forward(self, support: Labeled, x: Tensor) -> Tensor:
        return self.several(Labeled(support.x[None], support.y[None]), x[None])[0]

    def several(self, support: Labeled, x: Tensor) -> Tensor:
        """(e, s, *shape) supports and (e, q, *shape) queries -> (e, q, ways) scores."""
        xs, ys, xq = (part.to(self.device) for part in (support.x, support.y, x))
        with torch.no_grad():
            return self.method.scores(self.net, Drawn(xs, ys, xq, ys[:, :0], self.n_classes))


class ByShots(nn.Module):
    """Scores by the head that the target's shots make."""

    fs: Tensor
    ys: Tensor

    def __init__(self, method: HeadLearner, net: Networks, train: Train) -> None:
        super().__init__()
        self.method, self.net, self.n_classes, self.device = method, net, train.n_classes, train.device
        with torch.no_grad():
            self.register_buffer("fs", embed(net.features, train.shots.x.to(train.device))[None])
        self.register_buffer("ys", train.shots.y.to(train.device)[None])

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            fq = embed(self.net.features, x.to(self.device))[None]
            return self.method.head(self.net, self.fs, self.ys, fq, self.n_classes)[0]


@dataclass(frozen=True)
class HeadLearner(MetaLearner):
    """Features common to all episodes, and a `head` that each makes of its support.

    Batch norm is as everywhere else: over all that passes while training, its running averages at test.
    """

    def networks(self, train: Train) -> Networks:
        """The card's backbone under 'features'."""
        return Networks({"features": train.backbone()})

    @abstractmethod
    def head(self, net: Networks, fs: Tensor, ys: Tensor, fq: Tensor, n_classes: int) -> Tensor:
        """(e, s, d) support features, (e, s) labels, (e, q, d) query features -> (e, q, n_classes) scores."""

    def scores(self, net: Networks, drawn: Drawn) -> Tensor:
        (e, s), q = drawn.ys.shape, drawn.xq.shape[1]
        f = embed(net.features, torch.cat([drawn.xs.flatten(0, 1), drawn.xq.flatten(0, 1)]))
        fs, fq = f[: e * s].view(e, s, -1), f[e * s :].view(e, q, -1)
        return self.head(net, fs, drawn.ys, fq, drawn.n_classes)

    def fit(self, train: Train, seed: int) -> Predictor | Learner:
        """Where the target is one task, its shots are the one support."""
        net = self.trained(train, seed)
        if train.episodes:
            return BatchedLearner(ByEpisode(self, net, train.n_classes, train.device))
        return FittedPredictor(ByShots(self, net, train))


def embed(features: nn.Module, x: Tensor, size: int = 256) -> Tensor:
    """(n, d) features; batch by batch where nothing is trained."""
    if features.training or len(x) <= size:
        out: Tensor = features(x)
        return out
    return torch.cat([features(x[i : i + size]) for i in range(0, len(x), size)])


def peer(module: str) -> Any:
    """A module of learn2learn, which some methods are run through to be compared with ours.

    Raises:
        NotApplicable: it is not installed.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its imports' deprecations are not ours
        try:
            return importlib.import_module(f"learn2learn.{module}")
        except ImportError:
            raise NotApplicable("learn2learn is not installed; tlbench's extra 'meta' has it") from None
