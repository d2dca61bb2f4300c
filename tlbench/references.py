"""The methods that every cell is judged by, and what a full run shows beside them."""

from __future__ import annotations

TARGET_ONLY, SOURCE_ONLY = "target_only", "source_only"
TARGET_FULL = "target_full"  # the skyline: a line beside every budget, and never ranked
REFERENCES = (TARGET_ONLY, SOURCE_ONLY)
AGAIN = ("target_again", "source_again")  # the references once more: how much harm there seems to be where none is
BESIDE = ("source_plus_target", TARGET_FULL, *AGAIN)  # what a full run shows beside them
