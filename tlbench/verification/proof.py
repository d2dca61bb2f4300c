"""Whether a method passes a check, found out in a worker's child: one check, one process."""

from __future__ import annotations

import hashlib
import json
import random
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tlbench.data import Labeled, Train
from tlbench.errors import NotApplicable
from tlbench.methods import loader
from tlbench.training.meter import peak_rss_mib
from tlbench.verification.fixtures import LOOKS, Change, Fixture, fixtures


class CheckFailed(Exception):
    """A check is not kept; the message says what happened instead."""


@dataclass(frozen=True)
class MethodUnderTest:
    """A method, and what it says of itself."""

    method: Any
    needs: frozenset[str]
    ignores: frozenset[str]
    regimes: tuple[str, ...]

    def each(self, act: Callable[[Fixture], object], change: Change | None = None) -> list[Any]:
        """What `act` gives on each set that the method claims to fit and does not refuse.

        Raises:
            NotApplicable: there is none, and why.
            Broken: `act` failed on one.
        """
        said, found = [], []
        for specimen in self._claimed(change or Change()):
            try:
                found.append(act(specimen))
            except NotApplicable as refusal:
                said.append(str(refusal))
            except CheckFailed as broken:
                raise CheckFailed(f"{specimen.name}: {broken}") from None
            except Exception as error:
                last = traceback.extract_tb(error.__traceback__)[-1]
                place = f"{Path(last.filename).name}:{last.lineno}"
                raise CheckFailed(f"{specimen.name}: {type(error).__name__}: {error} ({place})") from error
        if not found:
            raise NotApplicable(
                "; ".join(dict.fromkeys(said)) or f"there is no set of {' or '.join(self.regimes)} to try"
            )
        return found

    def _claimed(self, change: Change) -> Iterator[Fixture]:
        if change.other_task and "same task" in self.needs:
            raise NotApplicable("it needs sources whose labels are the target's, and says so")
        if "sources" in self.needs and not change.sources:
            raise NotApplicable("it needs a source, and says so")
        if "shots" in self.needs and not change.k:
            raise NotApplicable("it needs labelled target samples, and says so")
        for specimen in fixtures([r for r in self.regimes if r in LOOKS], change):
            yield replace(specimen, train=self._left(specimen.train))

    def _left(self, train: Train) -> Train:
        """`train` without what the method ignores, as the harness gives it."""
        if "sources" in self.ignores:
            train = replace(train, sources=(), source_classes=())
        return replace(train, shots=_none(train.shots)) if "shots" in self.ignores else train

    def scores(self, specimen: Fixture, seed: int = 7) -> Tensor:
        """Fitted and asked: (n, n_classes) on the host."""
        found = specimen.answer(self.method.fit(specimen.train, seed))
        if not isinstance(found, Tensor):
            raise CheckFailed(f"the predictor returned {type(found).__name__}, not a tensor of scores")
        return found.detach().cpu()


def _none(part: Labeled) -> Labeled:
    return Labeled(part.x[:0], part.y[:0])


TOLERANCE = 1e-4  # between a batch and its parts: sums of another order


def frozen(m: MethodUnderTest) -> None:
    def act(specimen: Fixture) -> None:
        before = repr(vars(m.method))
        m.scores(specimen)
        if repr(vars(m.method)) != before:
            raise CheckFailed(f"fit changed the method from {before} to {vars(m.method)!r}")

    m.each(act)


def fields(m: MethodUnderTest) -> None:
    made = type(m.method)()  # `m.method` has been JSON already
    said = asdict(made)
    read = json.loads(json.dumps(said))
    if read != said:
        raise CheckFailed(
            f"its fields {said} are {read} once they have been JSON; use lists, not tuples, and texts as keys"
        )
    again = type(made)(**read)
    if again != made:
        raise CheckFailed(f"made again of its fields {read} it is {again!r} and not {made!r}")


def shape(m: MethodUnderTest, change: Change | None = None) -> None:
    def act(specimen: Fixture) -> None:
        scores = m.scores(specimen)
        wanted = (len(specimen.test), specimen.train.n_classes)
        if tuple(scores.shape) != wanted:
            raise CheckFailed(f"scores of shape {tuple(scores.shape)}, not {wanted}")
        if not scores.is_floating_point():
            raise CheckFailed(f"scores of type {scores.dtype}, not of floats")
        if not torch.isfinite(scores).all():
            raise CheckFailed(f"{int((~torch.isfinite(scores)).sum())} of {scores.numel()} scores are not finite")

    m.each(act, change)


def works(m: MethodUnderTest, change: Change) -> None:
    """As `shape`, on other sets.

    Raises:
        NotApplicable: it does not on the ordinary ones either, which is another check.
    """
    try:
        shape(m, change)
    except CheckFailed:
        try:
            shape(m)
        except CheckFailed:
            raise NotApplicable("not judged: an ordinary task goes wrong too") from None
        raise


def digest(m: MethodUnderTest, seed: int) -> str:
    """SHA-256 of the scores on all sets, bit by bit."""
    scores = m.each(lambda specimen: m.scores(specimen, seed))
    return hashlib.sha256(b"".join(s.contiguous().numpy().tobytes() for s in scores)).hexdigest()


def one_by_one(m: MethodUnderTest) -> None:
    def act(specimen: Fixture) -> None:
        predict, x = m.method.fit(specimen.train, 7), specimen.test
        whole, back = predict(x), predict(x.flip(0)).flip(0)
        parts = {"one by one": [1] * len(x), "by fives": [5] * (len(x) // 5) + [len(x) % 5]}
        cut = {how: torch.cat([predict(part) for part in torch.split(x, sizes)]) for how, sizes in parts.items()}
        for how, other in {"in reverse": back, **cut}.items():
            if not torch.allclose(whole, other, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True):
                raise CheckFailed(f"{how}, scores differ by up to {float((whole - other).abs().max()):.3g}")

    regimes = tuple(r for r in m.regimes if r != "episodes")  # an episode's queries may be judged together
    replace(m, regimes=regimes or ("episodes",)).each(act if regimes else m.scores)


def data(m: MethodUnderTest) -> None:
    def act(specimen: Fixture) -> None:
        train = specimen.train
        held = {"the shots": train.shots.x, "the shots' labels": train.shots.y, "the unlabelled inputs": train.target.x}
        for i, s in enumerate(train.sources):
            held |= {f"source {i}": s.x, f"source {i}'s labels": s.y}
        held["the inputs to be judged"] = specimen.test
        before = {name: x.clone() for name, x in held.items()}
        m.scores(specimen)
        changed = [name for name, x in held.items() if not torch.equal(x, before[name])]
        if changed:
            raise CheckFailed(f"{' and '.join(changed)} changed")

    m.each(act)


def surroundings(m: MethodUnderTest) -> None:
    def act(specimen: Fixture) -> None:
        before = _surroundings()
        m.scores(specimen)
        after = _surroundings()
        changed = [name for name, value in before.items() if after[name] != value]
        if changed:
            raise CheckFailed(
                f"{' and '.join(changed)} changed; draw from a torch.Generator, and put back what you set"
            )

    torch.manual_seed(4321)  # not what a `fit` that seeds would leave
    np.random.seed(4321)
    random.seed(4321)
    m.each(act)


def _surroundings() -> dict[str, Any]:
    kind, keys, *rest = np.random.get_state()
    return {
        "torch's random state": torch.get_rng_state().numpy().tobytes(),
        "numpy's random state": (kind, np.asarray(keys).tobytes(), *rest),
        "Python's random state": random.getstate(),
        "the default dtype": torch.get_default_dtype(),
        "whether gradients are taken": (torch.is_grad_enabled(), torch.is_inference_mode_enabled()),
        "the number of threads": torch.get_num_threads(),
        "the deterministic flags": (
            torch.are_deterministic_algorithms_enabled(),
            torch.backends.cudnn.deterministic,
            torch.backends.cudnn.benchmark,
        ),
        "how matrices are multiplied": torch.get_float32_matmul_precision(),
    }


def cost(m: MethodUnderTest) -> dict[str, float]:
    """Seconds of the longest fit with its answers, and MiB that the process grew by."""
    before = peak_rss_mib()

    def act(specimen: Fixture) -> float:
        start = time.perf_counter()
        m.scores(specimen)
        return time.perf_counter() - start

    return {"seconds": max(m.each(act)), "memory_mib": peak_rss_mib() - before}


CHANGES = {
    "zero_labels": Change(k=0),
    "one_label": Change(k=1),
    "three_sources": Change(sources=3),
    "no_source": Change(sources=0),
    "other_task": Change(other_task=True),
    "missing_class": Change(missing_class=True),
}
CHECKS: dict[str, Callable[[MethodUnderTest], None]] = {
    "frozen": frozen, "fields": fields, "shape": shape, "one_by_one": one_by_one, "data": data,
    "surroundings": surroundings,
}  # fmt: skip


def check(job: dict[str, Any], folder: Path) -> dict[str, Any]:
    """What came of one check: `broken` says what happened instead, or is null; with it what was measured."""
    torch.set_num_threads(1)
    said = (frozenset(job["needs"]), frozenset(job["ignores"]), tuple(job["regimes"]))
    m, check = MethodUnderTest(loader.load(job["method"])(**job["config"]), *said), str(job["check"])
    try:
        if check in ("same_seed", "other_seed"):
            return {"broken": None, "digest": digest(m, int(job["seed"]))}
        if check in ("time", "memory"):
            return {"broken": None, **cost(m)}
        if check in CHANGES:
            works(m, CHANGES[check])
        else:
            CHECKS[check](m)
    except CheckFailed as broken:
        return {"broken": " ".join(str(broken).split())[:500]}
    return {"broken": None}
