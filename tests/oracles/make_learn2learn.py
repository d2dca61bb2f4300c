"""Freezes what learn2learn computes on given weights and episodes.

`uv run --isolated --extra meta python tests/oracles/make_learn2learn.py [FILE]` writes learn2learn.npz, or FILE, in
tlbench's environment: pyproject.toml says how the library is built.
"""

from __future__ import annotations

import sys
from pathlib import Path

import learn2learn as l2l
import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

E, WAYS, SHOTS, QUERIES, SIDE, WIDTH, LR, STEPS = 3, 4, 2, 3, 6, 7, 0.3, 3


def network(weights: dict[str, np.ndarray]) -> nn.Sequential:
    """A convolution, a layer, a head; in double precision."""
    trunk = nn.Sequential(nn.Conv2d(1, 3, 3), nn.Tanh(), nn.Flatten(), nn.Linear(3 * (SIDE - 2) ** 2, WIDTH))
    net = nn.Sequential(trunk, nn.Linear(WIDTH, WAYS)).double()
    net.load_state_dict({name: torch.from_numpy(w) for name, w in weights.items()})
    return net


def adapted_loss(net: nn.Module, parts: list[torch.Tensor], first_order: bool, body: nn.Module) -> torch.Tensor:
    """The mean loss of the queries, `net` adapted and `body` not."""
    xs, ys, xq, yq = parts
    start, losses = l2l.algorithms.MAML(net, LR, first_order=first_order, allow_nograd=True), []
    for e in range(E):
        learner = start.clone()
        for _ in range(STEPS):
            learner.adapt(cross_entropy(learner(body(xs[e])), ys[e]))
        losses.append(cross_entropy(learner(body(xq[e])), yq[e]))
    return torch.stack(losses).mean()


def main() -> None:
    random = np.random.default_rng(0)
    shapes = {"0.0.weight": (3, 1, 3, 3), "0.0.bias": (3,), "0.3.weight": (WIDTH, 3 * (SIDE - 2) ** 2),
              "0.3.bias": (WIDTH,), "1.weight": (WAYS, WIDTH), "1.bias": (WAYS,)}  # fmt: skip
    weights = {name: 0.4 * random.normal(size=shape) for name, shape in shapes.items()}
    y = [np.tile(np.repeat(np.arange(WAYS), n), (E, 1)) for n in (SHOTS, QUERIES)]
    x = [random.normal(size=(E, WAYS * n, 1, SIDE, SIDE)) for n in (SHOTS, QUERIES)]
    out = {"xs": x[0], "ys": y[0], "xq": x[1], "yq": y[1], "lr": LR, "steps": STEPS}
    out |= {f"weights/{name}": w for name, w in weights.items()}
    parts = [torch.from_numpy(out[name]) for name in ("xs", "ys", "xq", "yq")]
    for method in ("maml", "fomaml", "anil"):
        net = network(weights)
        inner, body = (net[1], net[0]) if method == "anil" else (net, nn.Identity())
        loss = adapted_loss(inner, parts, method == "fomaml", body)
        loss.backward()
        out[f"{method}/loss"] = loss.item()
        out |= {f"{method}/{name}": p.grad.numpy() for name, p in net.named_parameters()}
    net = network(weights)
    classifier = l2l.nn.PrototypicalClassifier()
    logits = []
    for e in range(E):
        classifier.fit_(net[0](parts[0][e]), parts[1][e])
        logits.append(classifier(net[0](parts[2][e])))
    loss = cross_entropy(torch.cat(logits), parts[3].flatten())
    loss.backward()
    out |= {"protonet/logits": torch.stack(logits).detach().numpy(), "protonet/loss": loss.item()}
    out |= {f"protonet/{name}": p.grad.numpy() for name, p in net[0].named_parameters(prefix="0")}
    versions = f"learn2learn {l2l.__version__}, torch {torch.__version__}"
    file = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("learn2learn.npz")
    np.savez_compressed(file, versions=versions, **out)


if __name__ == "__main__":
    main()
