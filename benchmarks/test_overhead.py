"""What the harness costs: of a cell, of a training step, of the store. Ratios are taken within one run."""

from __future__ import annotations

import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from pytest_benchmark.fixture import BenchmarkFixture
from tlbench_baselines.dann import DANN
from torch import nn
from torch.nn.functional import cross_entropy

from tlbench.data import Labeled, Recipe, Train, Unlabeled
from tlbench.results.store import Store
from tlbench.runner import experiment
from tlbench.runner.experiment import Options
from tlbench.runner.worker.stopwatch import StepWatch
from tlbench.training import networks
from tlbench.training.losses import ramp
from tlbench.training.meter import Meter
from tlbench.training.trainer import batches

STEPS = 60


def test_a_cell_costs_at_most_100_ms_beyond_the_methods_own_work(tmp_path: Path) -> None:
    options = Options(results=tmp_path, jobs=1)
    frame = experiment.run("digits/fonts-photos", "chance", budgets=[1], seeds=list(range(12)), options=options)
    cost = 1e3 * frame[frame.method == "chance"].overhead_s
    print(f"\noverhead of a cell: median {cost.median():.0f} ms, largest {cost.max():.0f} ms")
    assert cost.median() < 100


def test_a_cell_of_ten_seconds_costs_at_most_2_percent(tmp_path: Path) -> None:
    """The reference's network on digits, with steps enough for some 10 seconds; all that is not `fit` or `predict`."""
    options = Options(results=tmp_path, jobs=1, device="cpu")
    probe = experiment.run(
        "digits/fonts-photos", "target_only", budgets=[1], seeds=[0], settings={"steps": 50}, options=options
    )
    steps = int(10 / (float(probe.step_ms[0]) / 1e3))
    for n in (1, steps):  # the first has the arrays in memory
        frame = experiment.run("digits/fonts-photos", "target_only", [1], [0], settings={"steps": n}, options=options)
    one = frame[frame.method == "target_only"].iloc[0]
    print(f"\n{one.overhead_s:.3f} s beside {one.fit_s + one.predict_s:.1f} s of {steps} steps")
    assert one.overhead_s < 0.02 * (one.fit_s + one.predict_s)


def test_watching_a_step_costs_a_microsecond_or_two() -> None:
    """Against a step of the smallest network there is, which takes some 300."""
    net = nn.Linear(4, 2)
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    net(torch.ones(8, 4)).sum().backward()  # type: ignore[no-untyped-call]

    def stepped() -> float:
        start = time.perf_counter()
        for _ in range(2000):
            optimizer.step()
        return (time.perf_counter() - start) / 2000

    stepped()
    bare, watched = [], []
    for _ in range(9):
        bare.append(stepped())
        with StepWatch("cpu", Meter()):
            watched.append(stepped())
    cost = 1e6 * (min(watched) - min(bare))
    print(f"\nwatching costs {cost:.2f} µs a step; an optimiser's step alone takes {1e6 * min(bare):.0f}")
    assert cost < 10


def digits() -> Train:
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(0, 255, (2000, 3, 20, 20), dtype=torch.uint8, generator=generator)
    y = torch.randint(0, 10, (2000,), generator=generator)
    spec: dict[str, Any] = {"kind": "convnet", "augment": ()}
    return Train(
        (Labeled(x[:1000], y[:1000]),), Unlabeled(x[1000:]), Labeled(x[:0], y[:0]), 10,
        lambda: networks.build(spec, [x], 0), Recipe(STEPS, 32, 0.01, 1e-3),
    )  # fmt: skip


def bare_loop(train: Train) -> None:
    """DANN as one writes it by hand in torch."""
    body, head, critic = train.backbone(), nn.Linear(128, 10), networks.mlp(128, 256, 2)
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
        guess = critic(networks.reverse_gradient(f, ramp(i / STEPS)))
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
    experiment.run(
        "digits/fonts-photos", "chance", budgets=[1], seeds=[0], settings={}, options=Options(results=tmp_path)
    )
    store = Store(tmp_path)
    row = next(iter(store.rows.values()))
    many = Store(tmp_path / "many")
    for i in range(1000):
        many.append(replace(row, key=f"{i:064d}", seed=i))
    assert len(benchmark(lambda: Store(tmp_path / "many")).rows) == 1000


def test_rows_are_appended_fast(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    """One row, locked and synced, to a store of a thousand."""
    experiment.run(
        "digits/fonts-photos", "chance", budgets=[1], seeds=[0], settings={}, options=Options(results=tmp_path)
    )
    row = next(iter(Store(tmp_path).rows.values()))
    many, keys = Store(tmp_path / "many"), iter(range(1_000_000))
    for _ in range(1000):
        many.append(replace(row, key=f"{next(keys):064d}"))
    benchmark.pedantic(lambda: many.append(replace(row, key=f"{next(keys):064d}")), rounds=200)
