"""The one training loop under the gradient methods: batches, schedule, device.

A `TrainedMethod` has the loop's hyperparameters as its fields. A `GradientMethod` also states its networks and its
loss, which the loop minimises; any other method trains networks through `self.erm`. Classes are abstract or final: no
method inherits from another. A step draws a batch of every kind of sample that the method's `Train` holds.
"""

from __future__ import annotations

import copy
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar, Self, final

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, mse_loss

from tlbench.data import Labeled, Learner, Predictor, Recipe, Train, Unlabeled, Watch
from tlbench.errors import NotApplicable
from tlbench.training.detector import Detector
from tlbench.training.meter import METER
from tlbench.training.networks import Networks, Part, part
from tlbench.training.objective import Loss, noted, turns
from tlbench.training.predictors import FittedLearner, predictor


@dataclass(frozen=True)
class Batch:
    """One step's samples. A kind that `Train` lacks, or that the method does not take, is an empty batch."""

    xs: Tensor  # (bs, *shape) of the sources, in equal parts when there are several
    ys: Tensor  # (bs,)
    source: Tensor  # (bs,) which source each came from
    xt: Tensor  # (b, *shape) unlabelled target
    xl: Tensor  # (bl, *shape) labelled target
    yl: Tensor  # (bl,); (bl, m) where there are boxes
    boxes: Tensor | None = None  # (bl, m, 4), where objects are detected

    @property
    def x(self) -> Tensor:
        """All labelled inputs, source first: (bs + bl, *shape)."""
        return torch.cat([self.xs, self.xl]) if len(self.xl) and len(self.xs) else self.xs if len(self.xs) else self.xl

    @property
    def y(self) -> Tensor:
        """Their labels, (bs + bl,)."""
        return torch.cat([self.ys, self.yl])

    @property
    def inputs(self) -> Tensor:
        """All inputs, the labelled ones first: (bs + bl + b, *shape)."""
        return torch.cat([self.x, self.xt])

    @property
    def domain(self) -> Tensor:
        """(bs + b,) domain labels of the source samples, 0, and of the unlabelled target samples, 1."""
        return (torch.arange(len(self.xs) + len(self.xt), device=self.xs.device) >= len(self.xs)).long()

    def split(self, rows: Tensor) -> Split:
        """(bs + bl + b, ...) features or scores of `inputs`, by what they are of."""
        n, m = len(self.x), len(self.xs)
        return Split(rows[:n], rows[:m], rows[m:n], rows[n:])


@dataclass(frozen=True)
class Split:
    """Features or scores of a batch's inputs, by what they are of."""

    labeled: Tensor  # (bs + bl, ...) source, then labelled target
    source: Tensor  # (bs, ...)
    shots: Tensor  # (bl, ...) labelled target
    target: Tensor  # (b, ...) unlabelled target

    @property
    def domains(self) -> Tensor:
        """(bs + b, ...) source, then unlabelled target: the rows of `Batch.domain`."""
        return torch.cat([self.source, self.target])


def order(n: int, size: int, steps: int, generator: torch.Generator) -> Tensor:
    """(steps, size) indices below n: permutation after permutation, cut in batches.

    Every sample is seen equally often to within one; n need not be a multiple of the batch, nor exceed it.
    """
    rounds = max(1, -(-steps * size // n))  # a batch smaller than the number of sources has no place for some
    stream = torch.cat([torch.randperm(n, generator=generator) for _ in range(rounds)])
    return stream[: steps * size].view(steps, size)


def batches(train: Train, recipe: Recipe, seed: int, kinds: str = "stl") -> Iterator[Batch]:
    """`recipe.steps` batches; `kinds` names what is wanted: s(ources), t(arget), l(abelled target)."""
    generator = torch.Generator().manual_seed(seed)
    sources = train.sources if "s" in kinds else ()
    sizes = [len(part) for part in torch.arange(recipe.batch).tensor_split(max(1, len(sources)))]
    rows = [order(len(s), b, recipe.steps, generator) for s, b in zip(sources, sizes, strict=False)]
    target, shots = ("t" in kinds and len(train.target) > 0), ("l" in kinds and len(train.shots) > 0)
    rows_t = order(len(train.target), recipe.batch, recipe.steps, generator) if target else None
    rows_l = order(len(train.shots), recipe.batch, recipe.steps, generator) if shots else None
    home = resident(train)
    device = train.device
    empty_x, empty_y = home.target.x[:0].to(device), torch.zeros(0, dtype=torch.long, device=device)
    which = torch.cat([torch.full((b,), i) for i, b in enumerate(sizes)]).to(device) if sources else empty_y

    def take(x: Tensor, index: Tensor) -> Tensor:
        return x[index.to(x.device)].to(device, non_blocking=True)

    for i in range(recipe.steps):
        parts = [(take(s.x, r[i]), take(s.y, r[i])) for s, r in zip(home.sources, rows, strict=False)]
        xs = torch.cat([x for x, _ in parts]) if len(parts) > 1 else parts[0][0] if parts else empty_x
        ys = torch.cat([y for _, y in parts]) if len(parts) > 1 else parts[0][1] if parts else empty_y
        xt = take(home.target.x, rows_t[i]) if rows_t is not None else empty_x
        xl = take(home.shots.x, rows_l[i]) if rows_l is not None else empty_x
        yl = take(home.shots.y, rows_l[i]) if rows_l is not None else empty_y
        corners = home.shots.boxes
        boxes = take(corners, rows_l[i]) if rows_l is not None and corners is not None else None
        yield Batch(xs, ys, which, xt, xl, yl, boxes)


def resident(train: Train, share: float = 0.25) -> Train:
    """`train` with its arrays on its device when they take less than `share` of the device's memory.

    Otherwise they stay memory-mapped on the host and travel batch by batch.
    """
    if train.device == "cpu":
        return train
    arrays = [train.target.x, train.shots.x, *(s.x for s in train.sources)]
    if sum(a.nbytes for a in arrays) > share * torch.cuda.get_device_properties(train.device).total_memory:
        return train

    def there(part: Labeled) -> Labeled:
        boxes = None if part.boxes is None else part.boxes.to(train.device)
        return Labeled(part.x.to(train.device), part.y.to(train.device), boxes)

    target = replace(train.target, x=train.target.x.to(train.device))
    return replace(train, sources=tuple(map(there, train.sources)), target=target, shots=there(train.shots))


# Problem types by what `label_loss` can do with their labels: the `regimes` of methods that train by it alone.
SHARED = frozenset({"classification", "regression", "multilabel"})  # a source may have the target's own labels
TRAINED = SHARED | {"detection"}


def rates(net: nn.Module, body_lr: float) -> list[dict[str, Any]]:
    """The parameters that require a gradient by their share of the learning rate: `body_lr` those of the features, but
    for a neck over them, which is as new as the heads are."""

    def share(name: str) -> float:
        return body_lr if name.startswith("features.") and not name.startswith("features.trunk.neck.") else 1.0

    moving = [(share(name), p) for name, p in net.named_parameters() if p.requires_grad]
    return [{"params": [p for s, p in moving if s == rate], "rate": rate} for rate in dict.fromkeys((body_lr, 1.0))]


def descend(
    net: nn.Module,
    loss: Callable[[Batch, float], Loss],
    stream: Iterator[Batch],
    recipe: Recipe,
    watch: Watch | None = None,
) -> None:
    """Minimise `loss(batch, progress)` over the parameters of `net`'s children that require a gradient.

    SGD with Nesterov momentum 0.9 under the schedule lr / (1 + decay * p)^0.75, p the progress in 0..1 (Ganin et al.,
    JMLR 2016, section 5.2.2, whose decay is 10). Batch norm and augmentation are in training mode; the caller's
    `net.train` hooks decide what stays frozen. Where players alternate, `loss` yields turns: each is stepped, for the
    networks it names alone, before the next is computed; all share the step's batch and learning rate.

    Args:
        watch: is given the step and its losses: each term by its name, a turn by those of its networks, else 'loss'

    Raises:
        NotApplicable: no parameter requires a gradient.
    """
    if not any(p.requires_grad for p in net.parameters()):
        raise NotApplicable("nothing is left to train: no weight of the backbone's takes a gradient")
    optimizer = torch.optim.SGD(
        rates(net, recipe.body_lr),
        lr=recipe.lr, momentum=0.9, nesterov=True, weight_decay=recipe.weight_decay, foreach=True,
    )  # fmt: skip
    start, samples = time.perf_counter(), 0
    net.train()
    for i, batch in enumerate(stream):
        progress = i / recipe.steps
        for group in optimizer.param_groups:
            group["lr"] = group["rate"] * recipe.lr / (1 + recipe.decay * progress) ** 0.75
        found, seen = loss(batch, progress), dict[str, Tensor]()
        if watch is not None:
            found = noted(found, seen)
        for value, movers in turns(found):
            optimizer.zero_grad(set_to_none=True)
            value.backward()  # type: ignore[no-untyped-call]
            for name, child in net.named_children() if movers else ():
                if name not in movers:
                    child.zero_grad(set_to_none=True)
            optimizer.step()
        samples += len(batch.xs) + len(batch.xt) + len(batch.xl)
        if watch is not None:
            watch(i, {name: float(value) for name, value in seen.items()})
    net.eval()
    METER.add(samples, recipe.steps, time.perf_counter() - start)


@dataclass(frozen=True)
class TrainedMethod(ABC):
    """A method that trains the card's network by gradient descent. None takes what the card prescribes."""

    steps: int | None = None
    batch: int | None = None
    lr: float | None = None
    weight_decay: float | None = None
    body_lr: float | None = None

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "lr", "body_lr"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} is {value}, it must be positive")

    @abstractmethod
    def fit(self, train: Train, seed: int) -> Predictor | Learner:
        """Train from the seed's initial weights and return the classifier."""

    @property
    def erm(self) -> ERM:
        """Empirical risk minimisation with this method's hyperparameters."""
        return ERM(self.steps, self.batch, self.lr, self.weight_decay, self.body_lr)

    def recipe(self, train: Train) -> Recipe:
        """The card's recipe with this method's own settings in place."""
        own = {name: getattr(self, name, None) for name in asdict(train.recipe)}
        return replace(train.recipe, **{name: value for name, value in own.items() if value is not None})


@dataclass(frozen=True)
class GradientMethod(TrainedMethod):
    """A method with a loss of its own: subclasses give `loss` and, where the card's do not do, `networks`."""

    takes: ClassVar[str] = "stl"  # the kinds of sample its batches hold

    def networks(self, train: Train) -> Networks:
        """The networks, by default the card's backbone under 'features' and a linear 'classifier'."""
        return network(train)

    @abstractmethod
    def loss(self, net: Networks, batch: Batch, progress: float) -> Loss:
        """What one step minimises: a loss, the sum of named terms, or the turns of players.

        Args:
            progress: of the training, from 0 to 1
        """

    def fit(self, train: Train, seed: int) -> Predictor | Learner:
        """Train from the seed's initial weights and return the classifier."""
        return predictor(self.trained(train, seed), train.device)

    def learner(self, train: Train, seed: int, net: Networks | None = None) -> Learner:
        """Trains on each support anew, from the seed's initial weights or from `net`'s, and scores the queries."""
        alone = replace(train, sources=(), source_classes=(), episodes=None, regime="classification")
        start = net if net is not None else seeded(lambda: self.networks(alone), seed)
        return FittedLearner(Adapting(self, alone, seed, start))

    def adapted(self, net: Networks, train: Train, seed: int) -> Networks:
        """The networks after training on a support, the shots of `train`, onwards from `net`."""
        return self.for_support(train).trained(train, seed, net)

    def for_support(self, train: Train) -> Self:
        """This method with the card's number of steps for a support, and no sample twice in a step."""
        steps = train.recipe.adapt_steps if self.steps is None else self.steps
        return replace(self, steps=steps, batch=min(len(train.shots), self.recipe(train).batch))

    def trained(self, train: Train, seed: int, net: Networks | None = None) -> Networks:
        """The networks after training: from the seed's initial weights, or onwards from `net`."""
        recipe = self.recipe(train)
        net = (net or seeded(lambda: self.networks(train), seed)).to(train.device)
        with torch.random.fork_rng(devices=_cuda(train.device)):
            torch.manual_seed(seed)
            stream = batches(train, recipe, seed, self.takes)
            descend(net, lambda batch, progress: self.loss(net, batch, progress), stream, recipe, train.watch)
        return net


def network(train: Train) -> Networks:
    """The card's backbone under 'features' and above it the target's 'classifier', which is a detector where objects
    are detected; sources with a task of their own get a linear layer each under 'heads'."""
    features: Any = train.backbone()
    width, detects = int(features.width), train.regime == "detection"
    top = Detector(width, train.n_classes, features.trunk.stride) if detects else nn.Linear(width, train.n_classes)
    net = Networks({"features": features, "classifier": top})
    if not train.same_task:
        net.heads = nn.ModuleList(nn.Linear(width, k) for k in train.source_classes)
    return net


def supervised_loss(net: Networks, batch: Batch) -> Tensor:
    """The loss of every label in the batch, each weighing alike (a detector's images too): (,)."""
    if batch.boxes is None and len(batch.x):
        return label_loss(net, net.features(batch.x), batch)
    losses = []
    if len(batch.xs):
        losses.append(label_loss(net, net.features(batch.xs), batch))
    if batch.boxes is not None:
        detector = part(net, "classifier", Detector)
        losses.append(detector.loss(net.features.maps(batch.xl), batch.yl, batch.boxes))
    return torch.stack(losses).sum()


def label_loss(net: Networks, features: Tensor, batch: Batch) -> Tensor:
    """The mean loss of labels: cross-entropy; squared error where they are numbers; where a sample may show several
    classes the sigmoid's cross-entropy, mean over them.

    Args:
        features: (bs + bl, width) of `batch.x`, or (bs, width) of its sources alone
    """
    if "heads" not in net:
        return _error(net.classifier(features), batch.y[: len(features)])
    n = len(batch.xs)
    parts = [(head, batch.source == i) for i, head in enumerate(net.heads)] if n else []
    losses = [_error(head(features[:n][mine]), batch.ys[mine]) * int(mine.sum()) for head, mine in parts if mine.any()]
    if len(features) > n:
        losses.append(_error(net.classifier(features[n:]), batch.yl) * (len(features) - n))
    return torch.stack(losses).sum() / len(features)


def _error(out: Tensor, y: Tensor) -> Tensor:
    if y.ndim == 2:  # of each class whether it is shown
        return binary_cross_entropy_with_logits(out, y.to(out.dtype))
    return mse_loss(out[:, 0], y) if y.is_floating_point() else cross_entropy(out, y)


def seeded(make: Callable[[], Part], seed: int) -> Part:
    """`make()` under `seed`, leaving the global random state as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()


def _cuda(device: str) -> list[int]:
    return [torch.device(device).index or 0] if device.startswith("cuda") else []


class Adapting(nn.Module):
    """Trains `start` on each support anew and scores the queries."""

    pool: Tensor

    def __init__(self, method: GradientMethod, train: Train, seed: int, start: Networks) -> None:
        super().__init__()
        self.method, self.recipe, self.seed = method, train.recipe, seed
        self.n_classes, self.device = train.n_classes, train.device
        self.start, self.backbone = start, train.backbone()
        self.register_buffer("pool", train.target.x if "t" in method.takes else train.target.x[:0])

    def forward(self, support: Labeled, x: Tensor) -> Tensor:
        train = Train(
            (), Unlabeled(self.pool), support, self.n_classes, lambda: copy.deepcopy(self.backbone), self.recipe,
            self.device,
        )  # fmt: skip
        return predictor(self.method.adapted(copy.deepcopy(self.start), train, self.seed), self.device)(x)


@final
@dataclass(frozen=True)
class ERM(GradientMethod):
    """Empirical risk minimisation over every label that `Train` holds, source and target in equal parts."""

    takes: ClassVar[str] = "sl"

    def fit(self, train: Train, seed: int) -> Predictor | Learner:
        return self.learner(train, seed) if train.episodes else super().fit(train, seed)

    def loss(self, net: Networks, batch: Batch, progress: float) -> Tensor:
        return supervised_loss(net, batch)
