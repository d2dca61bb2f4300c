"""Write into the documents, between markers, what the board's columns mean and what its figures show.

It needs no rows.
"""

from __future__ import annotations

import re
from pathlib import Path

from tlbench.board import columns, figures

ROOT = Path(__file__).parent.parent


def blocks() -> dict[str, dict[str, str]]:
    """File -> name of a block in it -> what stands there."""
    empty = "meaning; when it is empty"
    return {
        "docs/read_the_board.md": {
            "the columns of ranks": columns.explained(columns.RANKS),
            "the columns of negative transfer": columns.explained(columns.harm()),
            "the figures": figures.explained(),
        },
        "results/README.md": {"the board's table": columns.explained(columns.files(), empty, code=True)},
    }


def written(file: str) -> str:
    """A document with its blocks made anew.

    Raises:
        ValueError: a block's markers are not there.
    """
    text = (ROOT / file).read_text(encoding="utf-8")
    for name, block in blocks()[file].items():
        begin, end = f"<!-- python docs/board.py: {name} -->\n", f"<!-- end: {name} -->\n"
        parts = re.fullmatch(f"(.*{re.escape(begin)}).*({re.escape(end)}.*)", text, re.DOTALL)
        if parts is None:
            raise ValueError(f"{file} lacks {begin.strip()} or {end.strip()}")
        text = f"{parts[1]}{block}{parts[2]}"
    return text


if __name__ == "__main__":
    for name in blocks():
        (ROOT / name).write_text(written(name), encoding="utf-8")
