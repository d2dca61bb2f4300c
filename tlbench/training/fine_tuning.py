"""The two stages under the model-based methods: the source's solution w0, then training on the shots from there.

A method says how the second stage differs: what is frozen, added, or held near w0.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from tlbench.data import Learner, Predictor, Train
from tlbench.errors import NotApplicable
from tlbench.training.features import nothing_of
from tlbench.training.networks import Networks, Part
from tlbench.training.predictors import predictor
from tlbench.training.trainer import GradientMethod, TrainedMethod, network, seeded

NORMS = (_BatchNorm, nn.LayerNorm, nn.GroupNorm)


@dataclass(frozen=True)
class FineTuning(GradientMethod):
    """Train on the sources, or take the checkpoint; then go on with the shots.

    Both stages take the card's number of steps. Subclasses give `loss`, what the second stage minimises;
    they may override `begun`, its networks at step 0, and `finished`, what is left for prediction.
    """

    tuned_body_lr: float = 0.1  # the transferred layers' learning rate in the second stage, as a share of lr

    family: ClassVar[str] = "model-based"
    needs: ClassVar[frozenset[str]] = frozenset({"shots"})
    takes: ClassVar[str] = "l"

    def fit(self, train: Train, seed: int) -> Predictor | Learner:
        net = solution(self, train, seed)
        if train.episodes:
            return self.learner(train, seed, net)
        return predictor(self.tuned(net, train, seed), train.device)

    def learner(self, train: Train, seed: int, net: Networks | None = None) -> Learner:
        return super().learner(train, seed, net if net is not None else solution(self, train, seed))

    def adapted(self, net: Networks, train: Train, seed: int) -> Networks:
        return self.for_support(train).tuned(net, train, seed)

    def tuned(self, net: Networks, train: Train, seed: int) -> Networks:
        """The networks after the second stage, which began at w0 = `net`."""
        begun = self.begun(net, train, seed)
        return self.finished(replace(self, body_lr=self.tuned_body_lr).trained(train, seed, begun))

    def begun(self, net: Networks, train: Train, seed: int) -> Networks:
        """The second stage's networks before its first step; by default w0 itself."""
        return net

    def finished(self, net: Networks) -> Networks:
        """What is left of the networks for prediction."""
        return net


def solution(method: TrainedMethod, train: Train, seed: int) -> Networks:
    """w0: the network trained on the sources; without samples of one, the card's initial weights, its checkpoint's."""
    if not train.sources:
        return seeded(lambda: network(train), seed).to(train.device)
    return method.erm.trained(replace(train, shots=nothing_of(train.shots)), seed)


def transferred(train: Train) -> tuple[str, ...]:
    """The networks that hold what the source taught: its classifier only where the classes are the target's."""
    return ("features", "classifier") if train.sources and train.same_task else ("features",)


def old_heads(net: Networks, train: Train) -> nn.ModuleList:
    """The source's classifiers: those of a task of its own, which leave `net`; a copy of `net`'s where the classes are
    the target's; the checkpoint's own where that is the source.

    Raises:
        NotApplicable: the checkpoint came without a classifier.
    """
    if "heads" in net:
        return net.pop("heads")  # type: ignore[return-value]
    if train.sources:
        return nn.ModuleList([copy.deepcopy(net.classifier)])
    head = net.features.checkpoint_head()
    if head is None:
        raise NotApplicable(
            "the source is a checkpoint without its classifier (or it stands under a neck), so nobody knows its answers"
        )
    return nn.ModuleList([head]).to(train.device)


def blocks(trunk: nn.Module) -> list[list[str]]:
    """A trunk's layers in order, each as the names of its modules; a norm goes with what it follows.

    Sequences are opened; a residual or attention block is one layer.

    Raises:
        NotApplicable: nothing in it has weights.
    """
    found: list[list[str]] = []
    for name, module in _opened(trunk):
        if found and isinstance(module, NORMS):
            found[-1].append(name)
        else:
            found.append([name])
    if not found:
        raise NotApplicable("the backbone has no layer with weights")
    return found


def _opened(module: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    for name, part in module.named_children():
        if isinstance(part, nn.Sequential | nn.ModuleList):
            yield from _opened(part, f"{prefix}{name}.")
        elif any(True for _ in part.parameters()):
            yield f"{prefix}{name}", part


def parameters_by_block(trunk: nn.Module) -> list[list[nn.Parameter]]:
    """The parameters of each of `blocks`; the trunk's own, such as a position embedding, go with the first."""
    parts = [[p for name in names for p in trunk.get_submodule(name).parameters()] for names in blocks(trunk)]
    inside = {id(p) for part in parts for p in part}
    parts[0].extend(p for p in trunk.parameters() if id(p) not in inside)
    return parts


def frozen(module: Part) -> Part:
    """`module`, whose parameters take no gradient any more; its batch norms keep their statistics."""
    return module.requires_grad_(False)


def still(net: Part) -> Part:
    """A frozen copy of `net` in evaluation mode."""
    return frozen(copy.deepcopy(net)).eval()


@contextmanager
def tapped(trunk: nn.Module, names: list[str]) -> Iterator[dict[str, Tensor]]:
    """Collects the outputs of named modules, and under '' the trunk's input, while the trunk is called.

    Raises:
        NotApplicable: such a module gives no tensor.
    """
    seen: dict[str, Tensor] = {}

    def tap(name: str) -> torch.utils.hooks.RemovableHandle:
        def keep(_: nn.Module, __: object, out: object) -> None:
            if not isinstance(out, Tensor):
                raise NotApplicable(f"block {name} of the backbone gives {type(out).__name__} and no tensor")
            seen[name] = out

        return trunk.get_submodule(name).register_forward_hook(keep)

    handles = [tap(name) for name in names]
    handles.append(trunk.register_forward_pre_hook(lambda _, inputs: seen.update({"": inputs[0]})))
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()
