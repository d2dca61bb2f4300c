"""Methods that search for files and write where they should not."""

from __future__ import annotations

import gc
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch


class Did(Exception):
    """Raised when an attack succeeds; its message becomes the row's reason."""


def zeros(train):
    return lambda x: torch.zeros(len(x), train.n_classes)


@dataclass(frozen=True)
class LooksUp:
    """looks up the test inputs in the original data inside a library"""

    def fit(self, train, seed):
        from sklearn.datasets import load_breast_cancer

        x, y = load_breast_cancer(return_X_y=True)
        known = {row.tobytes(): int(label) for row, label in zip(x.astype(np.float32), y, strict=True)}
        return lambda x: torch.eye(2)[[known[row.tobytes()] for row in x.numpy()]]


@dataclass(frozen=True)
class ReadsStore:
    """reads the label store, or any other file, by path"""

    place: str = ""

    def fit(self, train, seed):
        raise Did(f"read {len(Path(self.place, 'rows.jsonl').read_bytes())} bytes")


@dataclass(frozen=True)
class ReadsData(ReadsStore):
    """reads the original data in the data folder"""

    def fit(self, train, seed):
        raise Did(f"read {Path(self.place, 'secret.csv').read_text()}")


@dataclass(frozen=True)
class ListsData(ReadsStore):
    """lists the data folder, where sample names reveal the order of the split"""

    def fit(self, train, seed):
        raise Did(f"saw {sorted(os.listdir(self.place))}")


@dataclass(frozen=True)
class ReadsOthers:
    """reads the folders of the other jobs"""

    def fit(self, train, seed):
        raise Did(f"saw {len(os.listdir('..'))} folders")


@dataclass(frozen=True)
class WritesOutside(ReadsStore):
    """writes outside its folder"""

    def fit(self, train, seed):
        Path(self.place, "left here").write_text("x")
        raise Did("wrote")


@dataclass(frozen=True)
class TampersStore(ReadsStore):
    """adds a row to the store"""

    def fit(self, train, seed):
        with Path(self.place, "rows.jsonl").open("a") as rows:
            rows.write("{}\n")
        raise Did("wrote")


@dataclass(frozen=True)
class LocksStore(ReadsStore):
    """removes the store's permissions"""

    def fit(self, train, seed):
        Path(self.place).chmod(0o755)
        raise Did("changed them")


@dataclass(frozen=True)
class CutsStore(ReadsStore):
    """truncates a file of the store without opening it"""

    def fit(self, train, seed):
        os.truncate(Path(self.place, "rows.jsonl"), 0)
        raise Did("cut it off")


@dataclass(frozen=True)
class LinksOut(ReadsStore):
    """leaves a link in place of its predictions for the scorer to follow"""

    def fit(self, train, seed):
        os.symlink(Path(self.place, "rows.jsonl"), "link")
        raise Did("linked")


@dataclass(frozen=True)
class Marks:
    """marks a read-only input for a later cell to see"""

    def fit(self, train, seed):
        with open(json.loads(Path("job.json").read_text())["pool"], "rb") as pool:
            os.fchmod(pool.fileno(), os.fstat(pool.fileno()).st_mode & 0o777)
        raise Did("marked it")


@dataclass(frozen=True)
class Walks:
    """searches frames and objects for labels"""

    def fit(self, train, seed):
        def scores(x):
            frame, seen = sys._getframe(), list(gc.get_objects())
            while frame is not None:
                seen += frame.f_locals.values()
                frame = frame.f_back
            arrays = [a for a in seen if isinstance(a, np.ndarray | torch.Tensor) and a.ndim == 1 and len(a) == len(x)]
            if any("int" in str(a.dtype) and set(a.tolist()) == {0, 1} for a in arrays):
                raise Did("found labels")
            return torch.zeros(len(x), train.n_classes)

        return scores
