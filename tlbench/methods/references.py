"""The methods that every cell is judged by, and what a full run shows beside them."""

from __future__ import annotations

from tlbench.tasks.card import FULL, Budget

TARGET_ONLY, SOURCE_ONLY = "target_only", "source_only"
TARGET_FULL = "target_full"  # the skyline: a line beside every budget, and never ranked
REFERENCES = (TARGET_ONLY, SOURCE_ONLY)
AGAIN = ("target_again", "source_again")  # the references once more: how much harm there seems to be where none is
BESIDE = ("source_plus_target", TARGET_FULL, *AGAIN)  # what a full run shows beside them
COPY = dict(zip(REFERENCES, AGAIN, strict=True))  # of a reference, its copy


def of(budget: Budget | str) -> str:
    """The reference at a budget, which a table may hold as a word: target-only from one label on, else source-only."""
    return SOURCE_ONLY if budget in (0, "0") else TARGET_ONLY


def held_at(method: str, budget: Budget) -> Budget:
    """The budget that a method's rows bear: the same at every one where it sees no label, or all."""
    return 0 if method == SOURCE_ONLY else FULL if method == TARGET_FULL else budget
