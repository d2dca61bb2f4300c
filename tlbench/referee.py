"""What `submit`, `verify`, `guard` and `leaderboard --with` do: words to values, a report at the end."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from tlbench import submission
from tlbench.api import Options
from tlbench.command import bar
from tlbench.mistake import Mistake
from tlbench.store import Store, default_folder
from tlbench.submission import Submission

CODES = {"accept": 0, "reject": 1, "question": 3}  # 2 is a user's mistake


def words_of(command: str, words: Sequence[str]) -> str:
    """The command as it was given."""
    return shlex.join(["tlbench", *(words if words[:1] == [command] else [command])])[:2000]


def submit(wanted: Submission) -> None:
    """Make a bundle and say where it is and what to do with it."""
    with bar() as shown:
        folder, said = submission.submit(wanted, shown.tell, shown.extraction)
    size = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()) / 2**20
    print(f"{folder}: {size:.2f} MiB", *said, sep="\n")
    print(f"next: tlbench verify {folder}", f"      tlbench leaderboard --with {folder}", sep="\n")
