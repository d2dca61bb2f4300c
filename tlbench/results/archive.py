"""Rows packed in Parquet: what is published of a store. A segment is written once and never changed.

A row of JSON takes 1.5 kB, a packed one a tenth of that; a million are read in seconds, column by column. The
segments lie under `packed/`, each named by the SHA-256 of the keys it holds.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlbench.errors import UsageError
from tlbench.results.row import Row, read_row

if TYPE_CHECKING:
    import pyarrow as pa

FOLDER = "packed"
REPEATED = (  # columns with few different values: read as dictionaries
    "status", "suite", "task", "paradigm", "regime", "target", "budget", "rule", "method", "family", "config",
    "metric", "device", "backbone", "weights", "precision", "data", "split", "method_digest", "tlbench", "torch",
    "python", "machine", "commit", "arithmetic", "reason",
)  # fmt: skip


def schema() -> pa.Schema:
    """The Arrow type of every column of a row: budgets, configurations and metrics as text, bits as bytes."""
    import pyarrow as pa

    kinds = {
        "str": pa.string(), "str | None": pa.string(), "int": pa.int64(), "int | None": pa.int64(),
        "float": pa.float64(), "float | None": pa.float64(), "bool": pa.bool_(), "bool | None": pa.bool_(),
        "Budget": pa.string(), "tuple[str, ...]": pa.list_(pa.string()), "dict[str, Any]": pa.string(),
        "dict[str, float] | None": pa.string(),
    }  # fmt: skip
    return pa.schema([(f.name, pa.binary() if f.name == "correct" else kinds[str(f.type)]) for f in fields(Row)])


def table(rows: Iterable[Row], columns: Sequence[str] | None = None) -> pa.Table:
    """Rows as an Arrow table, with all columns or some."""
    import pyarrow as pa

    wanted = pa.schema([schema().field(c) for c in columns]) if columns else schema()
    return pa.Table.from_pylist([_plain(row) for row in rows], schema=wanted)


def _plain(row: Row) -> dict[str, Any]:
    bits = None if row.correct is None else base64.b64decode(row.correct)
    config, metrics = (json.dumps(d, sort_keys=True, separators=(",", ":")) for d in (row.config, row.metrics))
    text = {"config": config, "metrics": None if row.metrics is None else metrics}
    return {**vars(row), "budget": str(row.budget), "correct": bits, **text}


def row_of(values: dict[str, Any]) -> Row:
    """A row from one line of a table.

    Raises:
        ValueError: it is none; says which column.
    """
    bits, budget = values["correct"], values["budget"]
    return read_row(
        {
            **values,
            "budget": int(budget) if budget.isdigit() else budget,
            "config": json.loads(values["config"]),
            "metrics": json.loads(values["metrics"]) if values["metrics"] is not None else None,
            "correct": None if bits is None else base64.b64encode(bits).decode(),
        }
    )


def write(folder: Path, rows: Sequence[Row]) -> Path:
    """Write a segment, whole and synced or not at all. Returns its file."""
    import pyarrow.parquet as pq

    rows = sorted(rows, key=lambda r: (r.suite, r.task, str(r.budget), r.method, r.seed, r.key))
    name = hashlib.sha256("".join(r.key for r in rows).encode()).hexdigest()[:16]
    file = folder / FOLDER / f"{name}.parquet"
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_suffix(".tmp")
    with temporary.open("wb") as stream:
        pq.write_table(table(rows), stream, compression="zstd", compression_level=15)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(file)
    return file


class Packed:
    """The segments under a store's folder, read when they are first asked for."""

    def __init__(self, folder: Path) -> None:
        self.files = sorted((folder / FOLDER).glob("*.parquet"))

    def columns(self, names: Sequence[str]) -> pa.Table:
        """Some columns of every packed row.

        Raises:
            UsageError: a segment cannot be read.
        """
        import pyarrow as pa

        few = [n for n in names if n in REPEATED]
        parts = [_read(file, list(names), few) for file in self.files]
        return pa.concat_tables(parts) if parts else table([], names)

    @cached_property
    def _all(self) -> pa.Table:
        return self.columns(schema().names)

    @cached_property
    def places(self) -> dict[str, int]:
        """Key -> where its row is; of a key packed twice, the first ok row."""
        if not self.files:
            return {}
        found: dict[str, int] = {}
        keys, status = self._all["key"].to_pylist(), self._all["status"].to_pylist()
        for i, key in enumerate(keys):
            if key not in found or (status[found[key]] != "ok" and status[i] == "ok"):
                found[key] = i
        return found

    def row(self, key: str) -> Row:
        """Raises:
        KeyError: no such row.
        """
        return row_of(self._all.slice(self.places[key], 1).to_pylist()[0])

    def rows(self) -> list[Row]:
        """All of them, one a key."""
        if not self.files:
            return []
        return [row_of(values) for values in self._all.take(list(self.places.values())).to_pylist()]


def _read(file: Path, names: list[str], few: list[str]) -> pa.Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        there = set(pq.read_schema(file).names)
        found = pq.read_table(
            file,
            columns=[n for n in names if n in there],
            read_dictionary=[n for n in few if n in there],
            memory_map=True,
        )
        found.validate(full=True)  # codes beyond their dictionary, text that is none
        for name in (n for n in names if n not in there):  # a column that came later: null
            kind = pa.dictionary(pa.int32(), pa.string()) if name in few else schema().field(name).type
            found = found.append_column(name, pa.nulls(len(found), kind))
        return found.select(names)
    except (OSError, pa.ArrowException, KeyError) as error:
        said = " ".join(str(error).split())[:200]
        raise UsageError(f"{file}: not a segment of rows ({said}); restore it from version control") from None
