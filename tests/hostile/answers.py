"""Methods that lie about what they did and how long it took."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from tlbench.runner.worker import child
from tlbench.training import meter


def zeros(train):
    return lambda x: torch.zeros(len(x), train.n_classes)


@dataclass(frozen=True)
class StopsClock:
    """stops the clock while it works"""

    def fit(self, train, seed):
        now = time.perf_counter()
        time.perf_counter = lambda: now
        time.sleep(3.0)
        return zeros(train)


@dataclass(frozen=True)
class PatchesHarness:
    """replaces the harness's clocks with its own and waits"""

    def fit(self, train, seed):
        now = time.perf_counter()
        for module in (child, meter):
            module.synchronized = lambda device: now
        time.sleep(3.0)
        return zeros(train)


@dataclass(frozen=True)
class Forges:
    """works, then exits with code 0 and a forged report"""

    def fit(self, train, seed):
        time.sleep(3.0)
        n = len(np.load(json.loads(Path("job.json").read_text())["test"], mmap_mode="r"))
        np.save("scores.npy", np.zeros((n, train.n_classes)))
        times = dict.fromkeys(("setup_s", "fit_s", "predict_s", "rest_s", "loop_s"), 0.001)
        counts = {"train_samples": 0, "train_steps": 0, "peak_rss_mib": 1, "peak_gpu_mib": None}
        Path("report.json").write_text(json.dumps({"status": "ok", **times, **counts}))
        os._exit(0)


def leave(report):
    """Write these bytes as the report and exit."""
    Path("report.json").write_bytes(report)
    os._exit(0)


@dataclass(frozen=True)
class NestsReport:
    """reports endlessly nested lists to exhaust the reader's stack"""

    def fit(self, train, seed):
        leave(b"[" * 500_000)


@dataclass(frozen=True)
class Exceeds:
    """reports a time too large for a floating-point number"""

    def fit(self, train, seed):
        leave(b'{"status": "ok", "fit_s": 1' + b"0" * 400 + b"}")


@dataclass(frozen=True)
class Archives:
    """leaves an archive in place of its scores"""

    def fit(self, train, seed):
        with open("scores.npy", "wb") as stream:
            np.savez(stream, scores=np.zeros(1))
        leave(b'{"status": "ok"}')


@dataclass(frozen=True)
class Escapes:
    """refuses with a message of terminal control codes"""

    def fit(self, train, seed):
        leave(b'{"status": "refused", "reason": "no\\u001b[2J \\ud800' + b"!" * 5000 + b'"}')


@dataclass(frozen=True)
class Leaves:
    """exits with code 0 without predicting"""

    def fit(self, train, seed):
        os._exit(0)


@dataclass(frozen=True)
class OtherRows:
    """returns one prediction too many"""

    def fit(self, train, seed):
        return lambda x: torch.zeros(len(x) + 1, train.n_classes)


@dataclass(frozen=True)
class Permutes:
    """returns predictions in another order"""

    def fit(self, train, seed):
        return lambda x: torch.nn.functional.one_hot(torch.arange(len(x)) % 2, 2).float()


@dataclass(frozen=True)
class PatchesTorch:
    """replaces functions of torch and numpy in its own process"""

    def fit(self, train, seed):
        torch.cat = lambda parts: torch.stack(list(parts))[0] * 0 + 1.0
        np.save = lambda *a, **k: None
        return zeros(train)
