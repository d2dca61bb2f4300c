"""CSV and Parquet files as pandas frames, piece by piece, with the place of every row.

A table of the user's own: CSV or Parquet, one column the label, and the others numbers or one of them a text.
"""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlbench.data import Domain
from tlbench.errors import UsageError, suggest
from tlbench.tasks.loaders import parse_cache
from tlbench.tasks.loaders.parse_cache import Array

PIECE = 20_000  # rows that are held as text at once


def frames(file: Path) -> Iterator[Any]:
    """The table in pieces whose index is the number of the row, 1 the first under the header."""
    try:
        yield from _csv(file) if file.suffix.lower() == ".csv" else _parquet(file)
    except UnicodeDecodeError as error:
        raise UsageError(f"{file}: is not UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8") from None


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
        raise UsageError(f"{file}: is empty; a header and rows are needed") from None
    except pd.errors.ParserError as error:
        said = re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", str(error))
        if said is None:
            raise UsageError(f"{file}: not CSV ({' '.join(str(error).split())}); correct it") from None
        line = f"{file}:{said[2]}"
        raise UsageError(f"{line}: holds {said[3]} fields, the header {said[1]}; quote what has commas in it") from None


def _check(names: list[str], file: Path) -> None:
    for i, name in enumerate(names, 1):
        if not name:
            raise UsageError(f"{file}:1: column {i} has no name; name it, or write the table without its index")
        if name in names[i:]:
            raise UsageError(f"{file}:1: there are two columns {name!r}; each needs a name of its own")


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
        raise UsageError(f"{file}: not a parquet file ({' '.join(str(error).split())}); get it again") from None


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


VERSION = 1  # of the parsing: a change of the arrays bumps it


def load(
    file: Path, name: str, label: str, drop: tuple[str, ...] = (), classes: tuple[str, ...] = (), number: bool = False
) -> Domain:
    """The rows of a table as float32 features, its columns in the order of their names: the same for every file.

    Args:
        label: the column that holds the label
        drop: columns that are no features
        classes: what the labels must be, in order; () takes what is there
        number: the label is a number to predict, not a class

    Returns:
        x float32 (n, d), `columns` the names of its d features

    Raises:
        UsageError: no such file or column; file, line and column of what is missing or no number; with file and line of
            a label that is no class; a class without a row.
    """

    def parse() -> tuple[Array, ...]:
        parts = [_piece(file, frame, label, drop, number) for frame in frames(file)]
        if not parts:
            raise UsageError(f"{file}: holds no row under its header; samples are needed")
        x, labels, rows = (np.concatenate([p[i] for p in parts]) for i in range(3))
        return x, labels, rows, np.array(parts[0][3])

    settings = [parse_cache.digest(file), label, str(number), *drop]
    x, labels, rows, columns = parse_cache.arrays(f"table-v{VERSION}", settings, 4, parse)
    if number:
        y: NDArray[np.int64] | NDArray[np.float32] = labels.astype(np.float32)
        names: tuple[str, ...] = ()
    else:
        names = classes or ordered(labels.tolist())
        y = _indices(labels.tolist(), rows.tolist(), names, file)
        if not classes and len(names) > max(20, len(labels) // 2):
            raise UsageError(f"{file}: {label!r} has {len(names)} values in {len(labels)} rows; a number? say regime = "
                          "'regression' in the card")  # fmt: skip
    ids = tuple(f"{name}/{i:06d}" for i in range(len(y)))
    return Domain(name, ids, y, names, parse_cache.hashes(x), x=x, columns=tuple(columns.tolist()))


def texts(file: Path, name: str, label: str, text: str, classes: tuple[str, ...] = ()) -> Domain:
    """The texts in the column `text` of a table.

    Raises:
        UsageError: no such file or column; file and line of a row without text or label, or whose label is no class.
    """
    found: list[str] = []
    labels: list[str] = []
    rows: list[int] = []
    for frame in frames(file):
        for key, column in (("label", label), ("text", text)):
            _column(frame, column, file, f'name it in the card, as {key} = "…"')
        labels += _labels(file, frame[label])
        for row, held in frame[text].items():
            if not isinstance(held, str) or missing(held):
                raise UsageError(f"{where(file, row)}: column {text!r} holds {held!r}; a text is needed")
            found.append(held)
        rows += frame.index.tolist()
    if not rows:
        raise UsageError(f"{file}: holds no row under its header; samples are needed")
    names = classes or ordered(labels)
    y = _indices(labels, rows, names, file)
    hashes = tuple(hashlib.sha256(t.encode()).hexdigest() for t in found)
    return Domain(name, tuple(f"{name}/{i:06d}" for i in range(len(y))), y, names, hashes, texts=tuple(found))


def ordered(labels: Iterable[str]) -> tuple[str, ...]:
    """The different labels: by value if all are numbers, else by letter."""
    there = sorted(set(labels))
    try:
        return tuple(sorted(there, key=float))
    except ValueError:
        return tuple(there)


def _indices(labels: list[str], rows: list[int], classes: tuple[str, ...], file: Path) -> NDArray[np.int64]:
    index = {c: i for i, c in enumerate(classes)}
    for row, c in zip(rows, labels, strict=True):
        if c not in index:
            raise UsageError(f"{where(file, row)}: no class is called {c!r}{suggest(c, classes)}")
    y = np.array([index[c] for c in labels], np.int64)
    parse_cache.every_class(y, classes, file)
    return y


def _piece(file: Path, frame: Any, label: str, drop: tuple[str, ...], number: bool) -> tuple[Any, ...]:
    """Features, labels, numbers and columns of some rows."""
    _column(frame, label, file, 'name the one that holds the label in the card, as label = "…"')
    for column in drop:
        _column(frame, column, file, "what only one of the files has is dropped under [at.NAME]")
    columns = sorted(set(frame.columns) - {label, *drop})
    if not columns:
        raise UsageError(f"{file}: has no column of features beside {', '.join([label, *drop])}")
    x = np.stack([_numbers(file, frame[c]) for c in columns], axis=1)
    y = _numbers(file, frame[label], is_label=True) if number else np.array(_labels(file, frame[label]))
    return x, y, frame.index.to_numpy(np.int64), columns


def _column(frame: Any, column: str, file: Path, remedy: str) -> None:
    if column not in frame.columns:
        raise UsageError(f"{file}:1: has no column {column!r}{suggest(column, map(str, frame.columns))} ({remedy})")


def _numbers(file: Path, column: Any, is_label: bool = False) -> NDArray[np.float32]:
    """A column as float32.

    Raises:
        UsageError: a value is missing, or no finite number.
    """
    import pandas as pd

    plain = column if pd.api.types.is_numeric_dtype(column) else pd.to_numeric(column.astype("string"), errors="coerce")
    with np.errstate(over="ignore"):  # what overflows is named below
        x: NDArray[np.float32] = plain.to_numpy(dtype=np.float64, na_value=np.nan).astype(np.float32)
    bad = np.flatnonzero(~np.isfinite(x))
    if len(bad):
        held, place = column.iloc[bad[0]], f"{where(file, column.index[bad[0]])}: column {column.name!r}"
        said = "is empty" if missing(held) else f"holds {held!r}, and a number is needed"
        other = "" if is_label else f", or say drop = [{column.name!r}] in the card"
        raise UsageError(f"{place} {said}; correct it, take the row out{other}")
    return x


def _labels(file: Path, column: Any) -> list[str]:
    """A column as names of classes: whole numbers without a point, texts without blanks around them."""
    found = []
    for row, held in column.items():
        if missing(held):
            raise UsageError(
                f"{where(file, row)}: its label, column {column.name!r}, is empty; fill it in or take it out"
            )
        whole = isinstance(held, float | np.floating) and float(held).is_integer()
        found.append(str(int(held)) if whole else str(held).strip())
    return found
