"""What a worker's child can be asked to do: run a cell, describe a method, extract features.

Of a trial it also predicts what a rule of selection looks at. No label comes with that but the shots', which the method
had: each fold of them is told by a fit on the others, from the cell's seed as the full fit is.
"""

from __future__ import annotations

import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook

from tlbench._moved import Moved
from tlbench.data import Episodes, Labeled, Learner, Predictor, Recipe, Train, Unlabeled
from tlbench.errors import NotApplicable, UsageError
from tlbench.methods import loader
from tlbench.runner.worker import loss_record
from tlbench.runner.worker.stopwatch import Energy, StepWatch, arithmetic, loops_of, timed
from tlbench.training import networks
from tlbench.training.convergence import heard
from tlbench.training.detector import Detector
from tlbench.training.features import batch_for
from tlbench.training.meter import METER, peak_rss_mib, synchronized

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


LARGE = 1 << 28  # bytes of an array that is never copied whole
AT_ONCE = 1 << 21  # numbers of input in the episodes that a learner of several is given together


def run(job: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The report of one job: `status` is ok, refused, failed or mistake; the last three have a `reason`."""
    try:
        return {"status": "ok", **_function(str(job["kind"]))(job, folder)}
    except NotApplicable as refusal:
        return {"status": "refused", "reason": one_line(refusal)}
    except UsageError as mistake:
        return {"status": "mistake", "reason": one_line(mistake)}
    except Exception as error:
        with suppress(OSError):  # its log may be as long as a file may be
            traceback.print_exc()  # into the child's log
        return {"status": "failed", "reason": _reason(error, job)}


def _function(kind: str) -> Callable[[dict[str, Any], Path], dict[str, Any]]:
    """What a job asks for: one of these below, or `module:function` of a layer above."""
    module, colon, name = kind.partition(":")
    return getattr(import_module(module), name) if colon else JOBS[kind]


def one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:500]


def _reason(error: Exception, job: dict[str, Any]) -> str:
    memory = isinstance(error, MemoryError) or "allocate memory" in str(error) or "out of memory" in str(error)
    if memory:
        limit = f"{job.get('memory_mib')} MiB; --memory-limit or --jobs 1 give more"
        return f"ran out of its memory ({limit}): {one_line(error)}"
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {one_line(error)} ({Path(last.filename).name}:{last.lineno})"


def mapped(path: str) -> Tensor:
    """An .npy file as a tensor: memory-mapped, and copied only where it is written to.

    A large one cannot be written to: the memory limit counts all that could be, whether it is or not.
    """
    large = Path(path).stat().st_size > LARGE
    array = np.load(path, mmap_mode="r" if large else "c", allow_pickle=False)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array)


def rows_of(x: Tensor, rows: Tensor) -> Tensor:
    """x[rows]; x itself, still mapped, when the rows are all of it in order."""
    whole = len(rows) == len(x) and bool((rows == torch.arange(len(x))).all())
    return x if whole else x[rows]


def training(job: dict[str, Any], folder: Path) -> Train:
    """All that the method may see."""
    with np.load(folder / "rows.npz", allow_pickle=False) as held:
        indices = {name: torch.from_numpy(value) for name, value in held.items()}
    sources = []
    for i, source in enumerate(job["sources"]):
        rows = indices[f"source{i}"]
        sources.append(Labeled(rows_of(mapped(source["x"]), rows), mapped(source["y"])[rows]))
    pool = mapped(job["pool"])
    target = Unlabeled(mapped(job["unlabeled"]) if job["unlabeled"] else rows_of(pool, indices["unlabeled"]))
    shots = Labeled(pool[indices["shots"]], indices["labels"], indices.get("boxes"))
    parts, net, seed = [s.x for s in sources] + [pool], job["net"], int(job["seed"])
    return Train(
        sources=tuple(sources),
        target=target,
        shots=shots,
        n_classes=int(job["n_classes"]),
        backbone=lambda: networks.build(net, parts, seed),
        recipe=Recipe(**job["recipe"]),
        device=job["device"],
        regime=job["regime"],
        source_classes=tuple(job["source_classes"]),
        episodes=Episodes(*job["episodes"]) if job["episodes"] else None,
    )


def cell(job: dict[str, Any], folder: Path) -> dict[str, Any]:
    """A cell; in mixed precision, where asked for, products and convolutions are bfloat16 and weights float32."""
    kind, mixed = job["device"].partition(":")[0], bool(job.get("amp"))
    # No cache: it would hold the first step's weights until the end.
    with torch.autocast(kind, torch.bfloat16, enabled=mixed, cache_enabled=False):
        return measured(job, folder)


def measured(job: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Fit, then predict the test inputs once; the scores go to scores.npy as they came."""
    torch.set_num_threads(int(job["threads"]))
    torch.manual_seed(int(job["seed"]))
    method = loader.load(job["method"])(**job["config"])
    train, device, seed = training(job, folder), job["device"], int(job["seed"])
    energy, start = Energy.of(device), synchronized(device)
    with loss_record.asked(job) as losses, StepWatch(device) as watch, heard() as said:
        predict = method.fit(replace(train, watch=losses), seed)
    fitted = synchronized(device)
    joules, steps, loops = energy.joules(), watch.columns(), loops_of(METER)
    answering = synchronized(device)
    answer = episode_scores if train.episodes else all_scores
    np.save(folder / "scores.npy", answer(predict, mapped(job["test"]), folder), allow_pickle=False)
    done = synchronized(device)
    report = {
        "setup_s": start - job["started"],
        "fit_s": fitted - start,
        "predict_s": done - answering,
        "train_samples": METER.samples,
        "train_steps": METER.steps,
        "loop_s": METER.loop_s,
        "peak_rss_mib": peak_rss_mib(),
        "peak_gpu_mib": torch.cuda.max_memory_allocated(device) / 2**20 if device.startswith("cuda") else None,
        "energy_j": joules,
        "arithmetic": "bf16" if job.get("amp") else arithmetic(device),
        "unsettled": [text[:150] for text in said[:3]],
        **steps,
    }
    if job.get("timed"):
        test = None if train.episodes else mapped(job["test"])  # an episode is no one sample
        report |= timed(predict, test, lambda: method.fit(train, seed), loops)
    if job.get("kept"):
        report |= keep(job, folder, predict, lambda: training(job, folder), all_scores)
    ended = synchronized(device)
    return {**report, "extra_s": ended - done, "rest_s": answering - fitted, "done": done}


def all_scores(predict: Predictor, x: Tensor, folder: Path) -> np.ndarray[Any, Any]:
    """The predictor over all test inputs, batch by batch."""
    size = batch_for(x)
    batches = (x[i : i + size] for i in range(0, len(x), size))
    with diverged_detectors_told():
        return torch.cat([checked(predict(batch), len(batch)) for batch in batches]).numpy()


@contextmanager
def diverged_detectors_told() -> Iterator[None]:
    """Within, a detector whose scores are no numbers is an error. NaN is above no threshold, so that a detector whose
    training diverged would else pass for one that finds nothing. Looked at from outside: a word more in the detector's
    own code would change the digest, and so void the rows, of every method that trains a network."""

    def check(module: nn.Module, inputs: object, output: Any) -> None:
        if isinstance(module, Detector) and not all(bool(t.isfinite().all()) for t in output):
            raise ValueError("the detector's scores are not finite (NaN or infinity): its training diverged")

    hook = register_module_forward_hook(check)
    try:
        yield
    finally:
        hook.remove()


def episode_scores(learn: Learner, x: Tensor, folder: Path) -> np.ndarray[Any, Any]:
    """The learner over all episodes: (episodes * queries, ways). Their supports are opened here, after `fit`.

    A learner that has `several` is given several episodes at once, each of which it answers by itself:
    (e, s, *shape) supports and (e, q, *shape) queries -> (e, q, ways).
    """
    with np.load(folder / "episodes.npz", allow_pickle=False) as held:
        support, support_y, queries = (torch.from_numpy(held[name]) for name in ("support", "support_y", "queries"))
    several = getattr(learn, "several", None)
    if several is None:
        episodes = zip(support, support_y, queries, strict=True)
        return torch.cat([checked(learn(Labeled(x[s], y), x[q]), len(q)) for s, y, q in episodes]).numpy()
    size = max(1, AT_ONCE // ((support.shape[1] + queries.shape[1]) * x[0].numel()))
    parts = []
    for s, y, q in zip(*(torch.split(rows, size) for rows in (support, support_y, queries)), strict=True):
        parts.append(checked(several(Labeled(x[s], y), x[q]).flatten(0, 1), q.numel()))
    return torch.cat(parts).numpy()


def checked(scores: object, n: int) -> Tensor:
    """A method's answer on `n` inputs, on the host.

    Raises:
        TypeError, ValueError: it is not a tensor of one row an input.
    """
    if not isinstance(scores, Tensor):
        raise TypeError(f"the predictor returned {type(scores).__name__}, not a tensor of class scores")
    if scores.ndim not in (2, 3) or len(scores) != n:
        raise ValueError(f"the predictor returned shape {tuple(scores.shape)} for {n} inputs")
    return (scores.float() if scores.dtype == torch.bfloat16 else scores).detach().cpu()


def describe(job: dict[str, Any], folder: Path) -> dict[str, Any]:
    """A method's description and the old names that its import used, for a process that must not import it."""
    with heard(Moved) as notes:
        described = asdict(loader.describe(job["method"], job["settings"]))
    return {"description": described, "notes": notes}


def sources(job: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Where a method's code is, for a process that must not import it."""
    return loader.sources(job["method"])


def extract(job: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Frozen-backbone features of image files, or a sentence encoder's of texts."""
    torch.set_num_threads(int(job["threads"]))
    # A GPU would round float32 to TF32's 10 bits, and keep what comes of it under the key that a processor's have.
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    if job["net"] and job["net"]["kind"] == "sentence":
        from tlbench.runner.worker.text_encoding import extract as run_encoding

        return run_encoding(job)
    from tlbench.runner.worker.extraction import extract as run_extraction

    return run_extraction(job)


def device(job: dict[str, Any], folder: Path) -> dict[str, Any]:
    """What this process computes with."""
    return {
        "torch": torch.__version__,
        "runtime": torch.version.cuda,
        "cuda": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
    }


def touch(job: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Use the device once."""
    torch.zeros(1, device=job["device"]).add_(1).item()
    return {}


def bf16(job: dict[str, Any], folder: Path) -> dict[str, Any]:
    """A convolution in bfloat16, which fails where the device has none, not even an emulated one."""
    x = torch.ones(1, 3, 8, 8, device=job["device"], dtype=torch.bfloat16)
    return {"sum": float(nn.functional.conv2d(x, x).float().sum())}


def calibrate(job: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Seconds of each probe of this machine."""
    from tlbench.runner.machine_probes import measured

    torch.set_num_threads(int(job["threads"]))
    return {"probes": measured(job["device"], bool(job["whole"]))}


JOBS: dict[str, Callable[[dict[str, Any], Path], dict[str, Any]]] = {
    "cell": cell,
    "describe": describe,
    "sources": sources,
    "extract": extract,
    "device": device,
    "calibrate": calibrate,
    "touch": touch,
    "bf16": bf16,
}
