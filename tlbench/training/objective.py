"""What a step minimises: a loss, the sum of named terms, or the losses of players who take turns."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import reduce

import torch
from torch import Tensor

Turn = tuple[Tensor, Collection[str]]
"""A loss, and the names of the networks that go down it; none means all."""


Loss = Tensor | Mapping[str, Tensor] | Iterator[Turn]
"""What a step minimises: a loss, the sum of named terms, or the turns of players."""


def turns(loss: Loss) -> Iterable[Turn]:
    """Each loss of a step with the networks that go down it."""
    if isinstance(loss, Tensor):
        return ((loss, ()),)
    if isinstance(loss, Mapping):
        return ((total(loss), ()),)
    return loss


def total(loss: Tensor | Mapping[str, Tensor]) -> Tensor:
    """A loss, or the sum of its terms in their order."""
    if isinstance(loss, Tensor):
        return loss
    first, *others = loss.values()
    return reduce(torch.add, others, first)


def noted(loss: Loss, seen: dict[str, Tensor]) -> Loss:
    """`loss`, whose parts are put into `seen` by name, detached, as they come."""
    if isinstance(loss, Tensor):
        seen["loss"] = loss.detach()
    elif isinstance(loss, Mapping):
        seen.update({name: term.detach() for name, term in loss.items()})
    else:
        return _noted_turns(loss, seen)
    return loss


def _noted_turns(loss: Iterator[Turn], seen: dict[str, Tensor]) -> Iterator[Turn]:
    for value, movers in loss:
        name = f"loss of {', '.join(movers)}" if movers else "loss"
        again = sum(key.partition(" (")[0] == name for key in seen)
        seen[f"{name} ({again + 1})" if again else name] = value.detach()
        yield value, movers
