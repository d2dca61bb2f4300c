"""Which files of its own package a Python file imports, told from its text."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path


def imported(file: Path) -> list[Path]:
    """Files of the package that holds `file`: the modules that it imports, relatively or by their full names, at its
    top or further in, and the `__init__.py` of each package on the way, which an import runs too.

    A package is told by the name of a folder above the file; what lies beside that package is left out.
    """
    found = dict.fromkeys(_around(file))
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            dotted = [*(node.module or "").split(".")] if node.module else []
            for alias in node.names:
                found |= dict.fromkeys(_named(file, node.level, [*dotted, alias.name]))
        elif isinstance(node, ast.Import):
            for alias in node.names:
                found |= dict.fromkeys(_named(file, 0, alias.name.split(".")))
    return [f for f in found if f != file and f.is_file()]


def _around(file: Path) -> Iterator[Path]:
    """The `__init__.py` of the packages that hold a file, the innermost first."""
    for folder in file.parents:
        if not (folder / "__init__.py").is_file():
            return
        yield folder / "__init__.py"


def _named(file: Path, level: int, dotted: list[str]) -> Iterator[Path]:
    """Where the parts of a module's name may lie: each a package or a file; the last may be neither, but a name."""
    roots = [file.parents[level - 1]] if 0 < level <= len(file.parents) else []
    if level == 0:
        roots = [folder.parent for folder in file.parents if folder.name == dotted[0]]
    for root in roots:
        yield from [root / "__init__.py"] * (level > 0)
        for depth in range(1, len(dotted) + 1):
            place = root.joinpath(*dotted[:depth])
            yield place / "__init__.py"
            yield place.parent / f"{place.name}.py"
