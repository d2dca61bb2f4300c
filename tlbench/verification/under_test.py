"""A method before the contract: what it claims to fit, and what it does on each small set of that kind."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from tlbench.data import Labeled, Train
from tlbench.errors import Refusal
from tlbench.verification.fixtures import LOOKS, Change, Specimen, specimens


class Broken(Exception):
    """A promise is not kept; the message says what happened instead."""


@dataclass(frozen=True)
class Accused:
    """A method, and what it says of itself."""

    method: Any
    needs: frozenset[str]
    ignores: frozenset[str]
    regimes: tuple[str, ...]

    def each(self, act: Callable[[Specimen], object], change: Change | None = None) -> list[Any]:
        """What `act` gives on each set that the method claims to fit and does not refuse.

        Raises:
            Refusal: there is none, and why.
            Broken: `act` failed on one.
        """
        said, found = [], []
        for specimen in self._claimed(change or Change()):
            try:
                found.append(act(specimen))
            except Refusal as refusal:
                said.append(str(refusal))
            except Broken as broken:
                raise Broken(f"{specimen.name}: {broken}") from None
            except Exception as error:
                last = traceback.extract_tb(error.__traceback__)[-1]
                place = f"{Path(last.filename).name}:{last.lineno}"
                raise Broken(f"{specimen.name}: {type(error).__name__}: {error} ({place})") from error
        if not found:
            raise Refusal("; ".join(dict.fromkeys(said)) or f"there is no set of {' or '.join(self.regimes)} to try")
        return found

    def _claimed(self, change: Change) -> Iterator[Specimen]:
        if change.other_task and "same task" in self.needs:
            raise Refusal("it needs sources whose labels are the target's, and says so")
        if "sources" in self.needs and not change.sources:
            raise Refusal("it needs a source, and says so")
        if "shots" in self.needs and not change.k:
            raise Refusal("it needs labelled target samples, and says so")
        for specimen in specimens([r for r in self.regimes if r in LOOKS], change):
            yield replace(specimen, train=self._left(specimen.train))

    def _left(self, train: Train) -> Train:
        """`train` without what the method ignores, as the harness gives it."""
        if "sources" in self.ignores:
            train = replace(train, sources=(), source_classes=())
        return replace(train, shots=_none(train.shots)) if "shots" in self.ignores else train

    def scores(self, specimen: Specimen, seed: int = 7) -> Tensor:
        """Fitted and asked: (n, n_classes) on the host."""
        found = specimen.answer(self.method.fit(specimen.train, seed))
        if not isinstance(found, Tensor):
            raise Broken(f"the predictor returned {type(found).__name__}, not a tensor of scores")
        return found.detach().cpu()


def _none(part: Labeled) -> Labeled:
    return Labeled(part.x[:0], part.y[:0])
