"""Digests of code: of methods that do not ship, for their rows' keys; and of all that a description rests on.

Which files a Python file imports is told from its text; nothing is imported.
"""

from __future__ import annotations

import ast
import hashlib
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tlbench.files import PACKAGE
from tlbench.methods import versions
from tlbench.methods.method import shipped


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


DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def code_digest(source: Path, name: str = "") -> str:
    """SHA-256 of a method's own code, by content: where its files lie does not matter, nor do comments, layout and
    docstrings.

    The code is the method's file, the files beside it and of its package that it imports, and those that they import.
    A shipped method among them counts by its version. What of tlbench the method is built of is not in it: a row's key
    holds the toolkit's version.

    Args:
        name: which of the file's classes is meant, where it may hold several
    """
    ships = {file: method for method, file in shipped().items()}
    own = [f"{ships[f]} {versions.of(ships[f])}" if f in ships else _code(f) for f in covered(source)]
    return hashlib.sha256("\x1f".join([*own, *([name] if name else [])]).encode()).hexdigest()


def description_digest(source: Path) -> str:
    """SHA-256 of a shipped method's file and of all of tlbench that it imports, near or far: what it says of itself can
    change with no other file."""
    return hashlib.sha256(b"\x1f".join(file.read_bytes() for file in sorted(resting_on(source)))).hexdigest()


def resting_on(source: Path) -> set[Path]:
    """A file and the modules of tlbench that it imports, at its top or further in, near or far."""
    found, todo = {source}, [source]
    while todo:
        new = _imported_of_ours(todo.pop()) - found
        found |= new
        todo += new
    return found


@cache
def _imported_of_ours(file: Path) -> frozenset[Path]:
    """The files of tlbench's modules that a file imports, at its top or further in."""
    names: list[str] = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            names += [node.module or "", *(f"{node.module}.{a.name}" for a in node.names)]
        elif isinstance(node, ast.Import):
            names += [a.name for a in node.names]
    dotted = {tuple(n.split(".")[1:]) for n in names if n.startswith("tlbench.")}
    places = {PACKAGE.joinpath(*parts[:depth]) for parts in dotted for depth in range(1, len(parts) + 1)}
    files = (file for place in places for file in (place.with_suffix(".py"), place / "__init__.py"))
    return frozenset(file for file in files if file.is_file())


def covered(source: Path) -> list[Path]:
    """A file and what it imports from its own folder or package or of the shipped methods, near or far, each once."""
    found, todo = {source: None}, [source]
    while todo:
        here = todo.pop()
        for node in ast.walk(ast.parse(here.read_text(encoding="utf-8"))):
            names = (
                [node.module or "", *(f"{node.module or ''}.{a.name}" for a in node.names)]
                if isinstance(node, ast.ImportFrom)
                else []
            )
            names += [a.name for a in node.names] if isinstance(node, ast.Import) else []
            for place, _, stem in (n.rpartition(".") for n in names):
                sibling = shipped().get(stem, here) if place == "tlbench_baselines" else here.parent / f"{stem}.py"
                if stem and sibling not in found and sibling.is_file():
                    found[sibling] = None
                    todo.append(sibling)
        new = [f for f in (imported(here) if _is_foreign(here) else ()) if f not in found]
        found |= dict.fromkeys(new)
        todo += new
    return list(found)


def _is_foreign(file: Path) -> bool:
    return PACKAGE not in file.parents and file not in shipped().values()


@cache
def _code(file: Path) -> str:
    """The lines of a file without docstrings, comments and blank lines: the same under every Python version.

    What stands within a text of several lines stays as it is.
    """
    text = file.read_text(encoding="utf-8")
    lines, tree = text.splitlines(), ast.parse(text)
    docs = [node.body[0] for node in ast.walk(tree) if isinstance(node, DOCUMENTED) and ast.get_docstring(node, False)]
    within = {
        i
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant | ast.JoinedStr) and (node.end_lineno or 0) > node.lineno
        for i in range(node.lineno, node.end_lineno or 0)
    }
    for token in tokenize.generate_tokens(iter([f"{line}\n" for line in lines]).__next__):
        if token.type == tokenize.COMMENT:
            lines[token.start[0] - 1] = lines[token.start[0] - 1][: token.start[1]]
    for doc in docs:  # its characters, and not the code that may share its line
        first, last = doc.lineno - 1, (doc.end_lineno or doc.lineno) - 1
        tail = lines[last].encode()[doc.end_col_offset :].decode()
        lines[first] = lines[first].encode()[: doc.col_offset].decode() + (tail if first == last else "")
        for i in range(first + 1, last + 1):
            lines[i] = tail if i == last else ""
            within.discard(i)
    return "\n".join(line.rstrip() for i, line in enumerate(lines) if line.strip() or i in within)
