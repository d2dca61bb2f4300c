"""What a method's digest takes in: the files of its code and the numerics under them."""

from __future__ import annotations

import ast
import hashlib
import tokenize
from functools import cache
from pathlib import Path

from tlbench import lineage
from tlbench.method import shipped

NUMERICS = (  # our modules that a method's answer may depend on
    "data", "descent", "detect", "embed", "inner", "kernels", "losses", "meta", "nets", "priors", "shallow",
    "transport", "trunks", "tuning",
)  # fmt: skip


def code_digest(source: Path, name: str = "") -> str:
    """SHA-256 of a method's code and of the numerics under it; comments, layout and docstrings are free.

    The code is the method's file, the files beside it and of its package that it imports, those that they import, and
    what of tlbench's numerics these rest on: a change elsewhere leaves the digest, and so the rows, as they are.

    Args:
        name: which of the file's classes is meant, where it may hold several
    """
    own = covered(source)
    parts = [*map(_code, own), *map(_code, _numerics_under(own)), *([name] if name else [])]
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()


def _numerics_under(files: list[Path]) -> list[Path]:
    """The numerics that files import, near or far, and those of the card's network, which every method gets."""
    folder = Path(__file__).parent
    found = {"data", "nets", "trunks"}
    todo = [*files, *(folder / f"{stem}.py" for stem in found)]
    while todo:
        new = (_imported_of_ours(todo.pop()) & set(NUMERICS)) - found
        found |= new
        todo += [folder / f"{stem}.py" for stem in new]
    return [folder / f"{stem}.py" for stem in sorted(found)]


@cache
def _imported_of_ours(file: Path) -> frozenset[str]:
    """Names of tlbench's modules that a file imports, at its top or further in."""
    names: list[str] = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            names += [node.module or "", *(f"{node.module}.{a.name}" for a in node.names)]
        elif isinstance(node, ast.Import):
            names += [a.name for a in node.names]
    return frozenset(n.split(".")[1] for n in names if n.startswith("tlbench."))


def covered(source: Path) -> list[Path]:
    """A file and what it imports from its own folder or package or of the shipped methods, near or far, each once.

    The numerics' folder is left alone.
    """
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
                if stem and sibling not in found and here.parent != Path(__file__).parent and sibling.is_file():
                    found[sibling] = None
                    todo.append(sibling)
        new = [f for f in (lineage.imported(here) if _is_foreign(here) else ()) if f not in found]
        found |= dict.fromkeys(new)
        todo += new
    return list(found)


def _is_foreign(file: Path) -> bool:
    return Path(__file__).parent not in file.parents and file not in shipped().values()


@cache
def _code(file: Path) -> str:
    """The lines of a file without docstrings, comments and blank lines: the same under every Python version."""
    text = file.read_text(encoding="utf-8")
    lines = text.splitlines()
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            continue
        if ast.get_docstring(node, clean=False) is not None:
            first = node.body[0]
            for i in range(first.lineno - 1, first.end_lineno or first.lineno):
                lines[i] = ""
    for token in tokenize.generate_tokens(iter([f"{line}\n" for line in text.splitlines()]).__next__):
        if token.type == tokenize.COMMENT and lines[token.start[0] - 1]:
            lines[token.start[0] - 1] = lines[token.start[0] - 1][: token.start[1]]
    return "\n".join(line.rstrip() for line in lines if line.strip())
