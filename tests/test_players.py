"""The gradient methods' players: each goes down the objective that its paper gives it.

The gradient of every network's parameters, at a random point and in double precision, is that of its own objective:
what a reversal layer, a detached weight or a turn is there for. The objectives are in objectives.py.
"""

from __future__ import annotations

from collections.abc import Iterator

import objectives
import pytest
import torch
from agreement import Agrees
from tlbench_baselines import fixmatch
from torch import Tensor, nn
from written import PROGRESS, D, Seen, batch, trunk

from tlbench.methods import loader
from tlbench.training import networks
from tlbench.training.objective import total

SETTINGS: dict[str, dict[str, float]] = {  # large enough to be seen
    "afn": {"weight": 0.7, "step": 0.5}, "deepjdot": {"alpha": 0.3, "weight": 0.7}, "fixmatch": {"threshold": 0.4},
    "m3sda": {"weight": 0.5}, "mdan": {"weight": 0.6, "gamma": 3.0}, "mme": {"weight": 0.4},
    "mdd": {"weight": 0.5, "dropout": 0.0}, "wann": {"weight": 0.8}, "can_collaborative": {"weight": 0.8},
    "cdan": {"weight": 0.8}, "dann": {"weight": 0.8},
}  # fmt: skip


@pytest.fixture(autouse=True)
def _double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def slopes(value: Tensor, part: nn.Module) -> list[Tensor]:
    parameters = list(part.parameters())
    return list(torch.autograd.grad(value, parameters, retain_graph=True, allow_unused=True, materialize_grads=True))


@pytest.mark.parametrize(
    "name", ["entropy_min", "dan", "deep_coral", "jan", "mcc", "mmoe", "multitask", "shot", *SETTINGS]
)
def test_a_player_goes_down_its_own_objective(name: str, monkeypatch: pytest.MonkeyPatch, agrees: Agrees) -> None:
    monkeypatch.setattr(fixmatch, "strong", lambda x: 0.5 * x)
    torch.manual_seed(3)
    (train, b), method = batch(), loader.load(name)(**SETTINGS.get(name, {}))
    net = method.networks(train).train()
    if name == "can_collaborative":
        net["critics"].weights = torch.tensor([0.4, -0.2, -1.0])
    if name == "multitask":
        nn.init.normal_(net["variances"].log)
    written = getattr(objectives, name)(Seen(net, b), method)
    loss = total(method.loss(net, b, PROGRESS))
    players = {"": net} if "" in written else {part: net[part] for part in written}
    assert "" in written or {part for part in net if list(net[part].parameters())} == set(written)
    ours = [g for part in players.values() for g in slopes(loss, part)]
    theirs = [g for part, player in players.items() for g in slopes(written[part], player)]
    if "" in written:
        ours, theirs = [loss, *ours], [written[""], *theirs]
    assert all(any(g.abs().max() > 1e-3 for g in slopes(written[part], p)) for part, p in players.items())
    atol = 1e-8 if name == "m3sda" else 1e-10  # whose lengths are smooth at zero, which the paper's are not
    agrees(name, "each player's objective and gradient, written out", ours, theirs, atol)


@pytest.mark.parametrize("name", ["adda", "mcd"])
def test_players_who_take_turns_each_go_down_their_own_objective(name: str, agrees: Agrees) -> None:
    torch.manual_seed(3)
    (train, b), method = batch(), loader.load(name)(**({"dropout": 0.0} if name == "mcd" else {}))
    net = method.networks(train).train()
    if name == "adda":
        net["source"], net["discriminator"] = trunk(), networks.mlp(D, 7, 2)
    expected = getattr(objectives, name)(Seen(net, b), method)
    ours, theirs = [], []
    for (loss, movers), (objective, players) in zip(method.loss(net, b, PROGRESS), expected, strict=True):
        assert set(movers) == set(players)
        ours += [loss, *(g for part in players for g in slopes(loss, net[part]))]
        theirs += [objective, *(g for part in players for g in slopes(objective, net[part]))]
    agrees(name, "each turn's objective and gradient, written out", ours, theirs, atol=1e-10)
