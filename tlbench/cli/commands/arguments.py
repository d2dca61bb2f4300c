"""Words of the command line -> values."""

from __future__ import annotations

from collections.abc import Sequence

from tlbench.errors import UsageError
from tlbench.methods.method import shipped
from tlbench.tasks.card import FULL, Budget

ALL = "all"  # methods


def budgets(text: str | None) -> tuple[Budget, ...] | None:
    """'0,1,5,full' -> (0, 1, 5, 'full').

    Raises:
        UsageError: a part is neither a whole number nor 'full'.
    """
    if text is None:
        return None
    parts = [p.strip() for p in text.split(",")]
    for p in parts:
        if p != FULL and not p.isdigit():
            raise UsageError(f"--budgets: {p!r} is no budget; write labels per class as 0,1,5,20 or full")
    return tuple(dict.fromkeys(budget(p) for p in parts))


def budget(text: str) -> Budget:
    return FULL if text == FULL else int(text)


def seeds(text: str | None) -> tuple[int, ...] | None:
    """'0-4' or '0,3,7' or a mix -> seeds.

    Raises:
        UsageError: a part is neither a whole number nor a range of them.
    """
    if text is None:
        return None
    found: list[int] = []
    for part in (p.strip() for p in text.split(",")):
        low, dash, high = part.partition("-")
        if not low.isdigit() or (dash and not (high.isdigit() and int(high) >= int(low))):
            raise UsageError(f"--seeds: {part!r} is neither a seed nor a range; write 0-4 or 0,3,7")
        found += range(int(low), int(high) + 1) if dash else [int(low)]
    return tuple(dict.fromkeys(found))


def methods(names: Sequence[str]) -> tuple[str, ...]:
    """'all' -> every method that ships; other names stay."""
    return tuple(dict.fromkeys(n for name in names for n in (shipped() if name == ALL else [name])))


def settings(words: Sequence[str]) -> dict[str, str]:
    """['steps=500'] -> {'steps': '500'}.

    Raises:
        UsageError: a word without '='.
    """
    for word in words:
        if "=" not in word:
            raise UsageError(f"--set {word}: write name=value, as --set steps=500")
    return {name.strip(): value.strip() for name, _, value in (w.partition("=") for w in words)}
