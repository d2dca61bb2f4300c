"""DANN by tlbench and by skada, in turn: the same network, critic's width, optimiser and samples a step.

`uv run --isolated --with skada==0.6.0 --with skorch python benchmarks/peers/dann.py` prints a line of JSON a network.
Times are the processor's, of one thread: others on the machine count less in them.
"""

import json
import logging
import sys
import time
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from skada.deep import DANN as Theirs
from tlbench_baselines.dann import DANN as Ours
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from tlbench.data import Labeled, Recipe, Train, Unlabeled
from tlbench.training import networks

sys.path.insert(0, str(Path(__file__).parent.parent))
from test_overhead import digits

STEPS, ROUNDS, BATCH = 60, 5, 32  # samples a step of each domain


def vectors() -> Train:
    """Two domains of 256 features, as a frozen network gives them, and the card's bottleneck above."""
    x, y = torch.randn(2000, 256), torch.randint(0, 10, (2000,))
    spec = {"kind": "bottleneck", "width": 256, "scale": "none"}
    return Train(
        (Labeled(x[:1000], y[:1000]),), Unlabeled(x[1000:]), Labeled(x[:0], y[:0]), 10,
        lambda: networks.build(spec, [x], 0), Recipe(STEPS, BATCH, 0.01, 1e-3),
    )  # fmt: skip


class Net(nn.Module):
    """The card's network with its head; skada reads the features from the layer it is told."""

    def __init__(self, train: Train) -> None:
        super().__init__()
        self.features = train.backbone()
        self.flat = nn.Identity()
        self.head = nn.Linear(self.features.width, 10)

    def forward(self, x: torch.Tensor, sample_weight: object = None) -> torch.Tensor:
        return self.head(self.flat(self.features(x)))


def theirs(train: Train, x: np.ndarray, y: np.ndarray, domain: np.ndarray) -> tuple[float, int, int]:
    """Seconds, steps and samples that went through the network; one epoch, their data loader included."""
    net, seen, steps = Net(train), 0, 0

    def forward(_: nn.Module, given: tuple[torch.Tensor, ...]) -> None:
        nonlocal seen
        seen += len(given[0])

    def step(*_: object) -> None:
        nonlocal steps
        steps += 1

    critic = nn.Sequential(networks.mlp(net.features.width, 256, 1), nn.Sigmoid(), nn.Flatten(0))
    learner = Theirs(
        net, "flat", reg=1.0, domain_classifier=critic, train_split=None, batch_size=BATCH, max_epochs=2, verbose=0,
        optimizer=torch.optim.SGD, optimizer__momentum=0.9, optimizer__weight_decay=1e-3, lr=0.01, callbacks=[],
    )  # fmt: skip
    hooks = [
        nn.modules.module.register_module_forward_pre_hook(lambda m, g: forward(m, g) if isinstance(m, Net) else None),
        register_optimizer_step_post_hook(step),
    ]
    start = time.process_time()
    learner.fit(x, y, sample_domain=domain)
    took = time.process_time() - start
    for hook in hooks:
        hook.remove()
    return took, steps, seen


def compared(train: Train) -> dict[str, float]:
    """The median over rounds of their time over ours, a sample, and the last round's microseconds."""
    x = torch.cat([train.sources[0].x, train.target.x]).float().numpy()
    y = np.concatenate([train.sources[0].y.numpy(), np.full(len(train.target), -1)])
    domain = np.repeat([1, -2], [len(train.sources[0]), len(train.target)])
    ratios, said = [], {}
    Ours().fit(replace(train, recipe=replace(train.recipe, steps=3)), 0)
    for _ in range(ROUNDS):
        start = time.process_time()
        Ours().fit(train, 0)
        own = (time.process_time() - start) / (STEPS * 2 * BATCH)
        took, steps, seen = theirs(train, x, y, domain)
        ratios.append(took / seen / own)
        said = {"ours_us": 1e6 * own, "theirs_us": 1e6 * took / seen, "batch": seen / steps}
    return {"ratio": float(np.median(ratios)), **said}


def main() -> None:
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    for name, train in (("features", vectors()), ("images", digits())):
        print(json.dumps({"network": name, **compared(train)}), flush=True)


if __name__ == "__main__":
    main()
