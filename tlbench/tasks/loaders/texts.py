"""Labelled texts: lines with a label, JSON lines, CSV tables, and folders with a file a class.

A file is read as UTF-8 if all of it is, as Latin-1 if not (the corpora of 2002 to 2005 are mixed in this). `parts`
maps the name of a part to its file: the part called "test" is the publisher's own test set, the others are not.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tlbench.data import Domain
from tlbench.errors import UsageError, suggest
from tlbench.tasks.loaders import parse_cache


class Sample(NamedTuple):
    """One text, and where it stands."""

    text: str
    label: str  # a class
    file: Path
    line: int


def lines(parts: Mapping[str, Path], name: str, classes: tuple[str, ...] = ()) -> Domain:
    """Lines "label text", as in the corpora of Kim (2014): the label is a number from 0, the text may be empty.

    Raises:
        UsageError: a file is missing; file and line of what has no such label; a class without a sample.
    """

    def read(file: Path) -> Iterator[Sample]:
        for number, line in _lines(file):
            label, blank, text = line.partition(" ")
            if not blank or not label.isdecimal() or len(label) > 6:
                raise UsageError(f"{file}:{number}: {line[:60]!r} should be '<number of the class> <text>'")
            if classes and int(label) >= len(classes):
                raise UsageError(
                    f"{file}:{number}: label {label}; the {len(classes)} classes are 0 to {len(classes) - 1}"
                )
            yield Sample(text.strip(), classes[int(label)] if classes else str(int(label)), file, number)

    return _domain(parts, read, name, classes)


def jsonl(parts: Mapping[str, Path], name: str, classes: tuple[str, ...] = ()) -> Domain:
    """One JSON object a line, with "text" and "label", as in SciBERT's corpora (Beltagy et al. 2019).

    Raises:
        UsageError: a file is missing; file and line of what is no such object or class; a class without a sample.
    """

    def read(file: Path) -> Iterator[Sample]:
        for number, line in _lines(file):
            try:
                held = json.loads(line)
                text, label = held["text"], held["label"]
                text.encode()  # JSON can spell half a character, which no encoder takes
            except (ValueError, KeyError, TypeError, AttributeError):
                raise UsageError(f'{file}:{number}: should be a JSON object {{"text": "…", "label": …}}') from None
            yield Sample(text, str(label), file, number)

    return _domain(parts, read, name, classes)


def table(
    parts: Mapping[str, Path], name: str, classes: tuple[str, ...], text: str, label: str, names: Path | None = None
) -> Domain:
    """CSV files with a header.

    Args:
        text: the column that holds the texts
        label: the column that holds the labels
        names: a CSV file whose first column has the labels, and whose second their classes; None: labels are classes

    Raises:
        UsageError: a file or column is missing; file and line of an unknown label; a class without a sample.
    """
    known = {row[0]: row[-1] for row, _ in list(_csv(names))[1:]} if names else {}

    def read(file: Path) -> Iterator[Sample]:
        rows = _csv(file)
        header, _ = next(rows, ([], 0))
        for column in (text, label):
            if column not in header:
                raise UsageError(f"{file}: has no column {column!r}{suggest(column, header)}")
        at, is_class = header.index(text), header.index(label)
        for row, number in rows:
            if len(row) != len(header):
                raise UsageError(
                    f"{file}:{number}: holds {len(row)} fields, the header {len(header)}; are commas quoted?"
                )
            given = row[is_class]
            if names and given not in known:
                raise UsageError(f"{file}:{number}: {names.name} has no label {given!r}{suggest(given, known)}")
            yield Sample(row[at], known.get(given, given), file, number)

    return _domain(parts, read, name, classes or tuple(dict.fromkeys(known.values())))


def folder(place: Path, name: str, classes: tuple[str, ...] = ()) -> Domain:
    """Your own texts: `<class>.txt`, one text a line. Empty lines are skipped.

    Raises:
        UsageError: no such folder, no .txt in it, a class is missing or empty, a .txt that is no class.
    """
    if not place.is_dir():
        raise UsageError(f"{place}: no such folder; domain {name!r} should be there, one .txt a class")
    there = {f.stem: f for f in sorted(place.glob("*.txt"))}
    if not there:
        raise UsageError(f"{place}: domain {name!r} is empty; one .txt a class should be there, a text a line")
    for c in classes:
        if c not in there:
            raise UsageError(f"{place}: {c}.txt is missing{suggest(c, there)}")

    def read(file: Path) -> Iterator[Sample]:
        return (Sample(line, file.stem, file, number) for number, line in _lines(file) if line.strip())

    return _domain({c: there[c] for c in dict.fromkeys((*classes, *there))}, read, name, classes, None)


def _domain(
    parts: Mapping[str, Path],
    read: Callable[[Path], Iterator[Sample]],
    name: str,
    classes: tuple[str, ...],
    test: str | None = "test",
) -> Domain:
    samples = {part: list(read(file)) for part, file in parts.items()}
    every = [s for part in samples.values() for s in part]
    where = next(iter(parts.values()))
    if not every:
        raise UsageError(f"{where}: holds no text; get it again")
    names = classes or tuple(sorted({s.label for s in every}, key=lambda c: (len(c) if c.isdecimal() else 0, c)))
    index = {c: i for i, c in enumerate(names)}
    for s in every:
        if s.label not in index:
            raise UsageError(f"{s.file}:{s.line}: no class is called {s.label!r}{suggest(s.label, names)}")
    y = np.array([index[s.label] for s in every], np.int64)
    parse_cache.every_class(y, names, where)
    ids = tuple(f"{name}/{part}/{i:05d}" for part, held in samples.items() for i in range(len(held)))
    hashes = tuple(hashlib.sha256(s.text.encode()).hexdigest() for s in every)
    official = np.repeat([part == test for part in samples], [len(held) for held in samples.values()])
    texts = tuple(s.text for s in every)
    return Domain(name, ids, y, names, hashes, texts=texts, official_test=official if test in samples else None)


def _decoded(file: Path) -> str:
    held = parse_cache.read(file)
    try:
        return held.decode("utf-8-sig")
    except UnicodeDecodeError:
        return held.decode("latin-1")


def _lines(file: Path) -> Iterator[tuple[int, str]]:
    """Number and text; only a line feed ends a line: str.splitlines would cut at signs that Latin-1 texts hold."""
    held = _decoded(file).split("\n")
    yield from enumerate((line.removesuffix("\r") for line in (held if held[-1] else held[:-1])), 1)


def _csv(file: Path) -> Iterator[tuple[list[str], int]]:
    """The fields of each row, and the line it ends on."""
    rows = csv.reader(io.StringIO(_decoded(file), newline=""), strict=True)
    try:
        for row in rows:
            if row:
                yield row, rows.line_num
    except csv.Error as error:
        raise UsageError(f"{file}:{rows.line_num}: not CSV ({error}); get it again") from None
