"""What a trial's worker predicts beyond the test inputs, once those are told: what a rule of selection looks at.

No label comes with it but the shots', which the method had. Each fold of them is told by a fit on the others, from the
cell's seed as the full fit is.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tlbench.data import Labeled, Predictor, Train
from tlbench.methods import loader
from tlbench.training.meter import synchronized

Tell = Callable[[Predictor, Tensor, Path], "np.ndarray[Any, Any]"]


def keep(
    job: dict[str, Any], folder: Path, predict: Predictor, fresh: Callable[[], Train], tell: Tell
) -> dict[str, Any]:
    """Write `kept_<part>.npy`, scores of every part that there is; returns the seconds of the folds.

    The first of the unlabelled samples are told: they are in hash order. Folds that the method cannot be fitted on
    leave no scores; the report says why.

    Args:
        fresh: makes what the method may see, anew: a fit may have written into its arrays
        tell: a predictor over inputs, batch by batch
    """
    kept = job["kept"]
    if len(target := fresh().target.x[: kept["unlabeled"]]):
        _save(folder, "unlabeled", tell(predict, target, folder))
    for part in ("source_val", "oracle_val"):
        if kept[part]:
            inputs = (torch.from_numpy(np.load(path, mmap_mode="c", allow_pickle=False)) for path in kept[part])
            _save(folder, part, np.concatenate([tell(predict, x, folder) for x in inputs]))
    if not kept["folds"]:
        return {"folds_s": 0.0}
    start = time.perf_counter()
    try:
        _save(folder, "shots", out_of_fold(job, folder, fresh, tell))
    except Exception as error:
        traceback.print_exc()  # into the child's log
        return {"folds_s": 0.0, "folds_reason": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"}
    return {"folds_s": synchronized(job["device"]) - start}


def out_of_fold(job: dict[str, Any], folder: Path, fresh: Callable[[], Train], tell: Tell) -> np.ndarray[Any, Any]:
    """(n_shots, k) scores of each shot by a fit that did not see it."""
    fold = torch.tensor(job["kept"]["folds"], dtype=torch.long)
    found: dict[int, np.ndarray[Any, Any]] = {}
    for i in sorted(set(fold.tolist())):
        train, out = fresh(), fold == i
        torch.manual_seed(int(job["seed"]))
        shots = Labeled(train.shots.x[~out], train.shots.y[~out])
        predict = loader.load(job["method"])(**job["config"]).fit(replace(train, shots=shots), int(job["seed"]))
        found |= dict(zip(out.nonzero()[:, 0].tolist(), tell(predict, train.shots.x[out], folder), strict=True))
    return np.stack([found[i] for i in range(len(fold))])


def _save(folder: Path, part: str, scores: np.ndarray[Any, Any]) -> None:
    np.save(folder / f"kept_{part}.npy", scores, allow_pickle=False)
