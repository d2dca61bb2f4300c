"""Watching a fit: the losses are those that are minimised, and nothing else changes."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tlbench import NotApplicable, Train
from tlbench.data import Recipe
from tlbench.methods.loader import load
from tlbench.training.objective import Turn
from tlbench.training.trainer import Batch, GradientMethod, descend
from tlbench.training.watching import Curve, ProgressBar, TensorBoard

Y = np.arange(36) % 3
X = np.random.default_rng(0).normal(4 * np.eye(3, 5)[Y])
SHORT = Recipe(steps=4, batch=8)


def watched(name: str, watch: Any, **more: Any) -> Tensor:
    train = Train.of(X, Y, X + 1, (X[:9] + 1, Y[:9]), recipe=SHORT, watch=watch, **more)
    scores: Tensor = load(name)().fit(train, 0)(train.target.x)
    return scores


@pytest.mark.parametrize("name", ["dann", "mcd", "adda", "finetune", "coral", "shot"])
def test_watching_changes_no_number(name: str) -> None:
    curve = Curve()
    assert torch.equal(watched(name, curve), watched(name, None))
    assert curve.steps[:4] == [0, 1, 2, 3]
    assert all(np.isfinite(values).all() for values in curve.losses.values())


def test_watching_a_meta_learner_changes_no_number() -> None:
    train, curve = Train.of_episodes(X, Y, ways=2, shots=2, queries=2, recipe=SHORT), Curve()
    plain, seen = (load("maml")().trained(t, 0) for t in (train, replace(train, watch=curve)))
    torch.testing.assert_close(plain.state_dict(), seen.state_dict(), rtol=0, atol=0)
    assert (curve.steps, [*curve.losses]) == ([0, 1, 2, 3], ["query_loss"])


def test_the_losses_given_are_those_that_are_minimised() -> None:
    """Each step's gradients are taken again from the losses that were watched: their sum is what went backward."""
    minimised: list[float] = []
    curve = Curve()
    original = torch.Tensor.backward

    def backward(self: Tensor, *given: Any, **named: Any) -> None:
        minimised.append(float(self.detach()))
        original(self, *given, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.Tensor, "backward", backward)
        watched("dann", curve)
    assert [*curve.losses] == ["label_loss", "domain_loss"]
    np.testing.assert_allclose(np.sum([*curve.losses.values()], 0), minimised, rtol=1e-6)


def test_each_turn_of_players_is_named_by_its_networks() -> None:
    net, given = nn.ModuleDict({"a": nn.Linear(1, 1), "b": nn.Linear(1, 1)}), list[Mapping[str, float]]()

    def loss(batch: Batch, progress: float) -> Iterator[Turn]:
        for i, players in enumerate((("a",), ("b",), ("b",))):
            yield net[players[0]].weight.sum() * 0 + i, players  # type: ignore[union-attr, operator]

    none = torch.zeros(0, 1)
    batch = Batch(none, none, none, none, none, none)
    descend(net, loss, iter([batch]), Recipe(steps=1), lambda step, losses: given.append(losses))
    assert given == [{"loss of a": 0.0, "loss of b": 1.0, "loss of b (2)": 2.0}]


def test_terms_are_summed_and_watched_by_name() -> None:
    class Two(GradientMethod):
        def loss(self, net: Any, batch: Batch, progress: float) -> dict[str, Tensor]:
            out = net.classifier(net.features(batch.x)).square().mean()
            return {"first": out, "second": 2 * out}

    class One(GradientMethod):
        def loss(self, net: Any, batch: Batch, progress: float) -> Tensor:
            out = net.classifier(net.features(batch.x)).square().mean()
            return out + 2 * out

    curve = Curve()
    train = Train.of(X, Y, X + 1, recipe=SHORT, watch=curve)
    torch.testing.assert_close(
        Two().trained(train, 0).state_dict(), One().trained(replace(train, watch=None), 0).state_dict(), rtol=0, atol=0
    )
    np.testing.assert_allclose(curve.losses["second"], 2 * np.array(curve.losses["first"]))


def test_a_curve_is_a_table_and_a_bar_is_drawn(capsys: pytest.CaptureFixture[str]) -> None:
    curve = Curve()
    watched("dann", curve)
    lines = curve.text(points=3).splitlines()
    assert lines[0].split() == ["step", "label_loss", "domain_loss"]
    assert [line.split()[0] for line in lines[1:]] == ["0", "2", "3"]
    with ProgressBar(4) as bar:
        watched("dann", bar)
    assert bar.bar.tasks[0].completed == 4


def test_losses_go_to_tensorboard_where_it_is_installed(tmp_path: Path) -> None:
    if importlib.util.find_spec("tensorboard") is None:
        with pytest.raises(NotApplicable, match="tlbench's extra 'watch' has it"):
            TensorBoard(tmp_path)
        return
    board = TensorBoard(tmp_path)
    watched("dann", board)
    board.close()
    assert list(tmp_path.iterdir())
