"""Learners that test the harness rather than a theory (CAL-10)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tlbench.data import Predictor, Train
from tlbench.verification.known_truth.rules import arrays, between, centroids


@dataclass(frozen=True)
class JitteredCentroid:
    """Target-only with a training noise of its own: two copies of different `copy` are an A/A comparison.

    Nearest centroids have no randomness to reseed, and two of them would agree to the last bit. So each centroid is
    moved by `scale` standard deviations in every coordinate, by a stream of the seed and the copy.
    """

    copy: int = 0
    scale: float = 0.05

    family: ClassVar[str] = "reference"
    paper: ClassVar[str] = "nearest centroid"
    needs: ClassVar[frozenset[str]] = frozenset({"shots"})
    ignores: ClassVar[frozenset[str]] = frozenset({"sources"})
    regimes: ClassVar[frozenset[str]] = frozenset({"classification"})

    def fit(self, train: Train, seed: int) -> Predictor:
        key = hashlib.sha256(f"tlbench/jitter/1\x1f{self.copy}\x1f{seed}\x1f{len(train.shots)}".encode()).digest()
        rng = np.random.Generator(np.random.Philox(key=int.from_bytes(key[:16], "big")))
        means = centroids(*arrays(train.shots))
        return between(means + self.scale * rng.standard_normal(means.shape)).predictor()


@dataclass(frozen=True)
class Crash:
    """Target-only that raises on a share of the seeds, evenly spread: it must end unranked, and never as a success."""

    share: float = 0.2

    family: ClassVar[str] = "reference"
    paper: ClassVar[str] = "crash injection"
    needs: ClassVar[frozenset[str]] = frozenset({"shots"})
    ignores: ClassVar[frozenset[str]] = frozenset({"sources"})
    regimes: ClassVar[frozenset[str]] = frozenset({"classification"})

    def fit(self, train: Train, seed: int) -> Predictor:
        if int((seed + 1) * self.share + 1e-9) > int(seed * self.share + 1e-9):
            raise RuntimeError(f"crash injected at seed {seed}")
        return between(centroids(*arrays(train.shots))).predictor()
