"""What the harness costs: of a cell, of a training step, of the store. Ratios are taken within one run."""

from __future__ import annotations

import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from pytest_benchmark.fixture import BenchmarkFixture
from tlbench_baselines.dann import DANN, ramp
from torch import nn
from torch.nn.functional import cross_entropy

from tlbench import api, nets
from tlbench.api import Options
from tlbench.data import Labeled, Recipe, Train, Unlabeled
from tlbench.descent import batches
from tlbench.store import Store

STEPS = 60


def test_a_cell_costs_at_most_100_ms_beyond_the_methods_own_work(tmp_path: Path) -> None:
    options = Options(results=tmp_path, jobs=1)
    frame = api.run("digits/fonts-photos", "chance", budgets=[1], seeds=list(range(12)), options=options)
    cost = 1e3 * frame[frame.method == "chance"].overhead_s
    print(f"\noverhead of a cell: median {cost.median():.0f} ms, largest {cost.max():.0f} ms")
    assert cost.median() < 100


def digits() -> Train:
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(0, 255, (2000, 3, 20, 20), dtype=torch.uint8, generator=generator)
    y = torch.randint(0, 10, (2000,), generator=generator)
    spec: dict[str, Any] = {"kind": "convnet", "augment": ()}
    return Train(
        (Labeled(x[:1000], y[:1000]),), Unlabeled(x[1000:]), Labeled(x[:0], y[:0]), 10,
        lambda: nets.build(spec, [x], 0), Recipe(STEPS, 32, 0.01, 1e-3),
    )  # fmt: skip


def bare_loop(train: Train) -> None:
    """DANN as one writes it by hand in torch."""
    body, head, critic = train.backbone(), nn.Linear(128, 10), nets.mlp(128, 256, 2)
    net = nn.ModuleList([body, head, critic])
    optimizer = torch.optim.SGD(net.parameters(), 0.01, momentum=0.9, nesterov=True, weight_decay=1e-3, foreach=True)
    source, target = train.sources[0], train.target
    domain = torch.tensor([0] * 32 + [1] * 32)
    net.train()
    for i in range(STEPS):
        s, t = torch.randint(len(source.x), (32,)), torch.randint(len(target.x), (32,))
        optimizer.param_groups[0]["lr"] = 0.01 / (1 + 10 * i / STEPS) ** 0.75
        optimizer.zero_grad()
        f = body(torch.cat([source.x[s], target.x[t]]))
        guess = critic(nets.reverse_gradient(f, ramp(i / STEPS)))
        (cross_entropy(head(f[:32]), source.y[s]) + cross_entropy(guess, domain)).backward()
        optimizer.step()


def test_a_dann_step_costs_at_most_115_percent_of_a_bare_loops() -> None:
    torch.set_num_threads(1)
    train, ratios = digits(), []
    DANN().fit(train, 0)
    bare_loop(train)
    for _ in range(9):
        start = time.perf_counter()
        bare_loop(train)
        middle = time.perf_counter()
        DANN().fit(train, 0)
        ratios.append((time.perf_counter() - middle) / (middle - start))
    ratio = statistics.median(ratios)
    print(f"\na DANN fit of {STEPS} steps is {ratio:.3f} times the bare loop's")
    assert ratio <= 1.15


def test_batches_are_drawn_fast(benchmark: BenchmarkFixture) -> None:
    train = replace(digits(), recipe=Recipe(500, 32))
    benchmark(lambda: sum(1 for _ in batches(train, train.recipe, 0)))


def test_rows_are_read_fast(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    api.run("digits/fonts-photos", "chance", budgets=[1], seeds=[0], settings={}, options=Options(results=tmp_path))
    store = Store(tmp_path)
    row = next(iter(store.rows.values()))
    many = Store(tmp_path / "many")
    for i in range(1000):
        many.append(replace(row, key=f"{i:064d}", seed=i))
    assert len(benchmark(lambda: Store(tmp_path / "many")).rows) == 1000
