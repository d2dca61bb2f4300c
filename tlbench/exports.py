"""The board beside the rows: its table as CSV and Parquet, its pictures as SVG."""

from __future__ import annotations

import re
from pathlib import Path
from tempfile import TemporaryDirectory

from tlbench import figures
from tlbench.board import Board

CSV, PARQUET, PICTURES = "board.csv", "board.parquet", "figures"


def write(board: Board, folder: Path) -> None:
    """Make the files anew; pictures that the board has no more are taken away."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = figures.draw(board.pictures, folder / PICTURES)
    for file in set((folder / PICTURES).glob("*.svg")) - set(drawn):
        file.unlink()
    table = board.table()
    table.to_csv(folder / CSV, index=False, float_format="%.6g", lineterminator="\n")
    table.to_parquet(folder / PARQUET, index=False)


def differing(board: Board, folder: Path) -> list[str]:
    """The files, by their names in the folder, that `write` would change, add or take away.

    Of Parquet nine digits count, and of a picture what is written in it: the rest depends on who made the bytes.
    """
    with TemporaryDirectory() as made:
        write(board, Path(made))
        return [name for name in sorted({*_names(Path(made)), *_names(folder)}) if not _same(Path(made), folder, name)]


def _names(folder: Path) -> list[str]:
    files = (folder / CSV, folder / PARQUET, *(folder / PICTURES).glob("*.svg"))
    return [str(file.relative_to(folder)) for file in files if file.is_file()]


def _same(made: Path, held: Path, name: str) -> bool:
    a, b = made / name, held / name
    return a.is_file() and b.is_file() and _content(a) == _content(b)


def _content(file: Path) -> object:
    if file.suffix == ".parquet":
        import pyarrow.parquet as pq

        rows = pq.read_table(file).to_pylist()
        return [{name: f"{v:.9g}" if isinstance(v, float) else v for name, v in row.items()} for row in rows]
    text = file.read_text(encoding="utf-8")
    return re.findall(r"<text[^>]*>([^<]*)<", text) if file.suffix == ".svg" else text
