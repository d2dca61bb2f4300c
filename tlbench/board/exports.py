"""The board beside the rows: its table as CSV and Parquet, its pictures as SVG."""

from __future__ import annotations

import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from tlbench.board import figures
from tlbench.board.board import Board
from tlbench.results.rounding import settled

if TYPE_CHECKING:
    import pandas as pd

DECIMALS = 4  # of the numbers in the files, most of them points
CSV, PARQUET, PICTURES = "board.csv", "board.parquet", "figures"


def write(board: Board, folder: Path) -> None:
    """Make the files anew; pictures that the board has no more are taken away."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = figures.draw(board.pictures, folder / PICTURES)
    for file in set((folder / PICTURES).glob("*.svg")) - set(drawn):
        file.unlink()
    table = _settled(board.table())
    table.to_csv(folder / CSV, index=False, float_format="%.6g", lineterminator="\n")
    table.to_parquet(folder / PARQUET, index=False)


def _settled(table: pd.DataFrame) -> pd.DataFrame:
    """Its numbers to four decimals: float noise moves one in ten million of these."""
    numbers = table.select_dtypes("float").columns
    return table.assign(**{name: settled(table[name].to_numpy(), DECIMALS) for name in numbers})


def differing(board: Board, folder: Path) -> list[str]:
    """The files, by their names in the folder, that `write` would change, add or take away.

    Bytes are compared where the same libraries made both files, as both say themselves; else what is in them: of
    Parquet its values, of a picture what is written in it.
    """
    with TemporaryDirectory() as made:
        write(board, Path(made))
        return [name for name in sorted({*_names(Path(made)), *_names(folder)}) if not same(Path(made), folder, name)]


def _names(folder: Path) -> list[str]:
    files = (folder / CSV, folder / PARQUET, *(folder / PICTURES).glob("*.svg"))
    return [str(file.relative_to(folder)) for file in files if file.is_file()]


def same(made: Path, held: Path, name: str) -> bool:
    """Whether a file of two folders is the same, or says the same where other libraries made it."""
    a, b = made / name, held / name
    if not (a.is_file() and b.is_file()):
        return False
    return a.read_bytes() == b.read_bytes() if _makers(a) == _makers(b) else _content(a) == _content(b)


def _makers(file: Path) -> object:
    """The libraries whose versions may change a file's bytes, as the file names them; of CSV there are none."""
    if file.suffix == ".parquet":
        import pyarrow.parquet as pq

        about = pq.read_metadata(file)
        return about.created_by, re.findall(rb'"pandas_version": "([^"]*)"', (about.metadata or {}).get(b"pandas", b""))
    if file.suffix == ".svg":
        return re.findall(r"<dc:creator>.*?<dc:title>(.*?)</dc:title>", file.read_text(encoding="utf-8"), re.DOTALL)
    return None


def _content(file: Path) -> object:
    if file.suffix == ".parquet":
        import pyarrow.parquet as pq

        return pq.read_table(file).to_pylist()
    text = file.read_text(encoding="utf-8")
    return re.findall(r"<text[^>]*>([^<]*)<", text) if file.suffix == ".svg" else text
