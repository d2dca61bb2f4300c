"""What holds a fine-tuned network near the source's solution: each method's penalty, written out from its paper."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from agreement import Agrees
from torch import Tensor, nn
from written import Batch, batch, logs, some, wrong

from tlbench import Train
from tlbench.methods import loader
from tlbench.training.objective import total
from tlbench.training.trainer import network, seeded


@pytest.fixture(autouse=True)
def _double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def start(other: bool) -> tuple[Train, Batch]:
    """Sources of the target's classes, or one of four classes of its own; a batch of shots."""
    train, b = batch()
    if other:
        train = replace(train, sources=(replace(train.sources[0], y=torch.arange(4)),), source_classes=(4,))
    return train, Batch(b.xs[:0], b.ys[:0], b.ys[:0], b.xt[:0], b.xl, b.yl)


def gaps(net: nn.Module, w0: nn.Module) -> Tensor:
    return sum(((p - q.detach()) ** 2).sum() for p, q in zip(net.parameters(), w0.parameters(), strict=True))


def decay(net: nn.ModuleDict) -> Tensor:
    return sum((p**2).sum() for p in net["classifier"].parameters())


def l2_sp(net: nn.ModuleDict, w0: nn.ModuleDict, b: Batch, m: Any, other: bool) -> Tensor:
    near = gaps(net["features"], w0["features"]) + (0 if other else gaps(net["classifier"], w0["classifier"]))
    return m.alpha / 2 * near + (m.beta / 2 * decay(net) if other else 0)


def bss(net: nn.ModuleDict, w0: nn.ModuleDict, b: Batch, m: Any, other: bool) -> Tensor:
    f = net["features"](b.xl)
    return m.weight * torch.linalg.eigvalsh(f @ f.T)[: m.k].sum()


def delta(net: nn.ModuleDict, w0: nn.ModuleDict, b: Batch, m: Any, other: bool) -> Tensor:
    """The attention is the softmax of -sum over samples of dL/dh h, the rise to first order without a channel."""
    penalty = m.beta / 2 * decay(net) if other else torch.zeros(())
    for end in (1, 3, 5):
        now, before = (n["features"].trunk[:end](b.xl) for n in (net, w0))
        h = before.detach().requires_grad_()
        slope = torch.autograd.grad(wrong(w0["classifier"](w0["features"].trunk[end:](h)), b.yl).mean(), h)[0]
        rise = torch.exp(-(slope * h.detach()).sum(0))
        penalty = penalty + m.weight / 2 * ((now - before.detach()) ** 2 * rise / rise.sum() * len(rise)).sum()
    return penalty


def lwf(net: nn.ModuleDict, w0: nn.ModuleDict, b: Batch, m: Any, other: bool) -> Tensor:
    q, p = (logs(n["old"][0](n["features"](b.xl)) / m.temperature) for n in (w0, net))
    return m.weight * -(q.exp().detach() * p).sum(1).mean()


def co_tuning(net: nn.ModuleDict, w0: nn.ModuleDict, b: Batch, m: Any, other: bool) -> Tensor:
    before = logs(w0["old"].heads[0](w0["features"](b.xl))).exp().detach()
    told = logs(net["old"].heads[0](net["features"](b.xl)))
    mixed = [torch.stack([p for p, c in zip(before, b.yl, strict=True) if c == y]).mean(0) for y in b.yl]
    return m.weight * -(torch.stack(mixed) * told).sum(1).mean()


PENALTIES = {"l2_sp": l2_sp, "bss": bss, "delta": delta, "lwf": lwf, "co_tuning": co_tuning}
SETTINGS = {"bss": {"weight": 5.0, "k": 2}, "delta": {"weight": 0.8, "beta": 0.3}, "l2_sp": {"alpha": 0.4, "beta": 0.3}}


@pytest.mark.parametrize("other", [False, True], ids=["same", "other"])
@pytest.mark.parametrize("name", PENALTIES)
def test_a_penalty_and_its_gradient_are_the_papers(name: str, other: bool, agrees: Agrees) -> None:
    (train, b), method = start(other), loader.load(name)(**SETTINGS.get(name, {}))
    begun = method.begun(seeded(lambda: network(train), 0), train, 0).train()
    w0, moved = (
        copy.deepcopy(begun),
        [begun["features"], begun["classifier"], *([begun["old"]] if "old" in begun else [])],
    )
    with torch.no_grad():
        for i, p in enumerate(p for part in moved for p in part.parameters()):
            p += 0.2 * some(*p.shape, seed=i)
    told = wrong(begun["classifier"](begun["features"](b.xl)), b.yl).mean()
    penalty = PENALTIES[name](begun, w0, b, method, other)
    assert penalty > 1e-3
    values = total(method.loss(begun, b, 0.0)), told + penalty
    free = [p for part in moved for p in part.parameters()]
    ours, theirs = ([v, *torch.autograd.grad(v, free, retain_graph=True)] for v in values)
    agrees(name, "penalty and gradient, written out", ours, theirs, atol=1e-10)
