"""CSV and Parquet files as pandas frames, piece by piece, with the place of every row."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tlbench.errors import Mistake

PIECE = 20_000  # rows that are held as text at once


def frames(file: Path) -> Iterator[Any]:
    """The table in pieces whose index is the number of the row, 1 the first under the header."""
    try:
        yield from _csv(file) if file.suffix.lower() == ".csv" else _parquet(file)
    except UnicodeDecodeError as error:
        raise Mistake(f"{file}: is not UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8") from None


def _csv(file: Path) -> Iterator[Any]:
    import pandas as pd

    try:
        with pd.read_csv(
            file, header=None, dtype=str, keep_default_na=False, skip_blank_lines=False, sep=_separator(file),
            encoding="utf-8-sig", chunksize=PIECE,
        ) as pieces:  # fmt: skip
            names: list[str] = []
            for piece in pieces:
                if not names:
                    names, piece = [str(n).strip() for n in piece.iloc[0]], piece.iloc[1:]
                    _check(names, file)
                filled = piece[(piece.notna() & (piece != "")).any(axis=1)]  # not the blank lines
                if len(filled):
                    yield filled.set_axis(names, axis=1)
    except pd.errors.EmptyDataError:
        raise Mistake(f"{file}: is empty; a header and rows are needed") from None
    except pd.errors.ParserError as error:
        said = re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", str(error))
        if said is None:
            raise Mistake(f"{file}: not CSV ({' '.join(str(error).split())}); correct it") from None
        line = f"{file}:{said[2]}"
        raise Mistake(f"{line}: holds {said[3]} fields, the header {said[1]}; quote what has commas in it") from None


def _check(names: list[str], file: Path) -> None:
    for i, name in enumerate(names, 1):
        if not name:
            raise Mistake(f"{file}:1: column {i} has no name; name it, or write the table without its index")
        if name in names[i:]:
            raise Mistake(f"{file}:1: there are two columns {name!r}; each needs a name of its own")


def _parquet(file: Path) -> Iterator[Any]:
    from pyarrow import ArrowException
    from pyarrow.parquet import ParquetFile

    row = 1
    try:
        with ParquetFile(file) as held:
            for batch in held.iter_batches(batch_size=PIECE):
                frame = batch.to_pandas()
                frame.columns = frame.columns.map(str)
                frame.index = range(row, row + len(frame))
                row += len(frame)
                yield frame
    except (ArrowException, OSError) as error:
        raise Mistake(f"{file}: not a parquet file ({' '.join(str(error).split())}); get it again") from None


def where(file: Path, row: Any) -> str:
    """`file:line` of a row of a CSV, blank lines and rows over several lines counted; `file: row 3` of another."""
    if file.suffix.lower() != ".csv":
        return f"{file}: row {row}"
    with file.open(encoding="utf-8-sig", newline="") as stream:
        before = 0
        reader = csv.reader(stream, delimiter=_separator(file))
        for i, _ in enumerate(reader):
            if i == int(row):
                break
            before = reader.line_num
    return f"{file}:{before + 1}"


def _separator(file: Path) -> str:
    """Comma, semicolon or tab: which the header has most of."""
    with file.open("rb") as stream:
        return max(",;\t", key=stream.readline().decode("utf-8-sig").count)


def missing(held: Any) -> bool:
    """Whether a cell holds nothing."""
    return held is None or str(held).strip() in ("", "<NA>", "nan", "NaN", "NaT")
