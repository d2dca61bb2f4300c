"""The methods that go on from the source's solution: the layers that they add, and who of them moves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from agreement import Agrees
from test_baselines import plainly, rates, step
from tlbench_baselines.adapters import Adapter
from tlbench_baselines.lora import Change
from tlbench_baselines.stochnorm import StochasticNorm
from torch import nn
from written import D, batch, some, trunk, wrong

from tlbench import Train
from tlbench.methods import loader
from tlbench.training.trainer import batches


@pytest.fixture(autouse=True)
def _double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


# layers


@pytest.mark.parametrize("shape", [(5, 7), (5, 3, 2, 2)])
def test_loras_change_and_its_gradients_are_those_of_two_factors(shape: tuple[int, ...], agrees: Agrees) -> None:
    """Of a loss whose gradient by the weight is G: scale B^T G for A, scale G A^T for B."""
    w, g = some(*shape, seed=0), some(*shape, seed=1)
    change = Change(w, 2, 6.0)
    assert torch.equal(change(w), w)
    nn.init.normal_(change.b)
    out = change(w)
    (out * g).sum().backward()
    a, b, g = change.a.detach(), change.b.detach(), g.flatten(1)
    expected = w.flatten(1) + 3.0 * b @ a, 3.0 * b.T @ g, 3.0 * g @ a.T
    agrees("lora", "two factors, in closed form", (out.flatten(1), change.a.grad, change.b.grad), expected, atol=1e-12)


@pytest.mark.parametrize("maps", [True, False])
def test_an_adapter_is_nothing_at_first_and_then_a_bottleneck_place_by_place(maps: bool, agrees: Agrees) -> None:
    layer, h = Adapter(6, maps, 4), some(*((2, 6, 3, 3) if maps else (2, 9, 6)), seed=0)
    assert torch.equal(layer(h), h)
    for p in layer.parameters():
        nn.init.normal_(p)
    down, up = (part.weight.detach().flatten(1) for part in (layer.down, layer.up))
    places = h.movedim(1, -1).reshape(-1, 6) if maps else h.reshape(-1, 6)
    out = layer(h).movedim(1, -1).reshape(-1, 6) if maps else layer(h).reshape(-1, 6)
    expected = [x + up @ (down @ x + layer.down.bias).clamp(min=0) + layer.up.bias for x in places]
    agrees("adapters", "the bottleneck, place by place", list(out), expected, atol=1e-12)


def test_a_stochastic_norm_is_the_papers_mixture_of_memory_and_batch(agrees: Agrees) -> None:
    norm = nn.BatchNorm2d(9)
    for p in norm.parameters():
        nn.init.normal_(p)
    norm.running_mean, norm.running_var = some(9, seed=0), some(9, seed=1) ** 2 + 0.5
    x, made = some(6, 9, 3, 3, seed=2), StochasticNorm.of(norm, 0.5).train()
    torch.manual_seed(0)
    s = (torch.rand(9) < 0.5).double().numpy()[:, None, None]
    torch.manual_seed(0)
    found, z = made(x), x.numpy()
    mean, var = z.mean((0, 2, 3)), z.var((0, 2, 3))

    def normal(mean: np.ndarray, var: np.ndarray) -> np.ndarray:
        return (z - mean[:, None, None]) / np.sqrt(var[:, None, None] + 1e-5)

    m0, v0 = norm.running_mean.numpy(), norm.running_var.numpy()
    mixed = s * normal(m0, v0) + (1 - s) * normal(mean, var)
    gain, offset = (p.detach().numpy()[:, None, None] for p in (norm.weight, norm.bias))
    memory = 0.9 * m0 + 0.1 * mean, 0.9 * v0 + 0.1 * var * 54 / 53
    expected = (gain * mixed + offset, *memory)
    assert 0 < s.sum() < 9
    agrees("stochnorm", "the mixture by numpy", (found, made.running_mean, made.running_var), expected, atol=1e-12)


# who moves: the second stage as a bare loop


def source(train: Train) -> nn.ModuleDict:
    return plainly(replace(train, shots=replace(train.shots, x=train.shots.x[:0], y=train.shots.y[:0])), 4, "s")


def onwards(train: Train, net: nn.ModuleDict, layers: list[int], steps: int, body_lr: float, masks: Any = ()) -> None:
    """Nesterov's steps on the shots, of the trunk's layers that are named and of the classifier."""
    train = replace(train, recipe=replace(train.recipe, steps=steps, body_lr=body_lr))
    body = [p for i in layers for p in net["features"].trunk[i].parameters()]
    groups, speeds = {"features": body, "classifier": list(net["classifier"].parameters())}, {}
    for rate, b in zip(rates(train.recipe), batches(train, train.recipe, 4, "l"), strict=True):
        net.zero_grad()
        wrong(net["classifier"](net["features"](b.xl)), b.yl).mean().backward()
        step(groups, speeds, train.recipe, rate)
        for p, mask in masks:
            p.data *= mask


def lp_ft(train: Train, net: nn.ModuleDict) -> None:
    onwards(train, net, [], 6, 1.0)
    onwards(train, net, [0, 2, 4], 6, 0.1)


def partial_finetune(train: Train, net: nn.ModuleDict) -> None:
    onwards(train, net, [4], 12, 0.1)


def layer_transfer(train: Train, net: nn.ModuleDict) -> None:
    torch.manual_seed(4)
    net["features"].trunk[4] = nn.Linear(6, D)
    torch.manual_seed(4)
    net["classifier"] = nn.ModuleList([trunk(), nn.Linear(D, 3)])[1]
    onwards(train, net, [4], 12, 1.0)


def support_transfer(train: Train, net: nn.ModuleDict) -> None:
    weights = [net["features"].trunk[i].weight for i in (0, 2, 4)] + [net["classifier"].weight]
    sizes = np.concatenate([w.detach().abs().numpy().ravel() for w in weights])
    least = np.sort(sizes)[-round(0.2 * len(sizes))]
    masks = [(w, (w.detach().abs() >= least).double()) for w in weights]
    torch.manual_seed(4)
    first = nn.ModuleDict({"features": trunk(), "classifier": nn.Linear(D, 3)})
    net.load_state_dict(first.state_dict())
    for w, mask in masks:
        w.data *= mask
    onwards(train, net, [0, 2, 4], 12, 1.0, masks)


STAGES = {stage.__name__: stage for stage in (lp_ft, partial_finetune, layer_transfer, support_transfer)}


@pytest.mark.parametrize("name", STAGES)
def test_the_second_stage_moves_what_the_paper_moves(name: str, agrees: Agrees) -> None:
    train, b = batch()
    train = replace(train, recipe=replace(train.recipe, steps=12, batch=4, lr=0.05))
    net, method = source(train), loader.load(name)()
    if name == "layer_transfer":
        method = replace(method, freeze=True)
    STAGES[name](train, net)
    expected = net["classifier"](net["features"](b.xt))
    agrees(name, "both stages' steps, written out", method.fit(train, 4)(b.xt), expected, atol=1e-10)
