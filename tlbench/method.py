"""Methods: what one promises, where one is found, and what the harness must know before it runs.

A method's code is foreign. It is imported and described in the worker's process, never in the one that holds
labels; the harness deals in `Description`s.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.util
import inspect
import json
import math
import sys
import tokenize
from dataclasses import MISSING, asdict, dataclass, fields, is_dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from types import ModuleType, NoneType
from typing import Any, Protocol, get_args, get_type_hints, runtime_checkable

from tlbench import lineage, plugins
from tlbench.data import Learner, Predictor, Train
from tlbench.mistake import Mistake, suggest

NUMERICS = (  # our modules that a method's answer may depend on
    "data", "descent", "detect", "embed", "inner", "kernels", "losses", "meta", "nets", "priors", "shallow",
    "transport", "trunks", "tuning",
)  # fmt: skip


@runtime_checkable
class Method(Protocol):
    """A frozen dataclass; its fields are its hyperparameters and its defaults the published ones.

    Class variables say the rest: `family`, `paper`; `needs`, a frozenset of 'sources', 'shots', 'same task' (the
    sources' labels mean the target's classes) and 'every label' (of the target's pool, which makes it a skyline): what
    must be there; `ignores`, of 'sources' and 'shots': what is taken away before `fit` sees it; `regimes`, what it can
    do, by default 'classification' only; `requires`, modules that it imports beyond tlbench's own, and `extra`, which
    of tlbench's extras installs them; `search`, where each hyperparameter is looked for when one is selected: field ->
    ('log' or 'linear', low, high) or ('choice', one, another, ...); `seconds` and `memory_mib`, what a cell takes at
    most, to which `tlbench check` holds it.
    """

    def fit(self, train: Train, seed: int) -> Predictor | Learner: ...


class Refusal(Exception):
    """Raised by a method that does not fit a task; its message is the row's reason."""


@dataclass(frozen=True)
class Field:
    """One hyperparameter."""

    name: str
    type: str
    default: Any
    help: str = ""


@dataclass(frozen=True, eq=False)  # one object a method and command: cells compare it by identity
class Description:
    """All the harness knows of a method."""

    spec: str  # how it was asked for: 'dann', 'distribution/plugin', 'package.module:Class', 'file.py:Class'
    name: str
    family: str
    summary: str
    paper: str
    needs: tuple[str, ...]
    ignores: tuple[str, ...]
    regimes: tuple[str, ...]
    requires: tuple[str, ...]
    extra: str
    fields: tuple[Field, ...]
    config: dict[str, Any]
    search: dict[str, tuple[Any, ...]]  # field -> ('log' | 'linear', low, high) or ('choice', *values)
    digest: str  # of the method's code and of the numerics under it
    seconds: float | None = None  # that a cell takes at most, where the method says so
    memory_mib: int | None = None

    @classmethod
    def of(cls, values: dict[str, Any]) -> Description:
        """From JSON."""
        own = {f.name: values[f.name] for f in fields(cls)}
        own["fields"] = tuple(Field(**f) for f in values["fields"])
        own["search"] = {name: tuple(space) for name, space in values["search"].items()}
        return cls(**{**own, **{name: tuple(own[name]) for name in ("needs", "ignores", "regimes", "requires")}})


@cache
def shipped() -> dict[str, Path]:
    """Name -> file of every baseline that ships with tlbench; nothing is imported."""
    folder = Path(str(files("tlbench_baselines")))
    return {file.stem: file for file in sorted(folder.glob("*.py")) if not file.stem.startswith("_")}


def check_name(spec: str) -> None:
    """Refuse a name that cannot mean a method, before any process is started for it.

    Raises:
        Mistake: unknown name, or a file that is not there.
    """
    place, colon, _ = spec.partition(":")
    if not colon and place not in shipped() and place not in plugins.installed():
        raise Mistake(
            f"unknown method {spec!r}{plugins.suggestion(spec, {*shipped()})} "
            "(a method of yours is package.module:Class or path/to/file.py:Class)"
        )
    if colon and place.endswith(".py") and not Path(place).is_file():
        raise Mistake(f"method {spec!r}: there is no file {place}")


def load(spec: str) -> type[Any]:
    """The class that `spec` names. Runs the method's module: only a worker's process may call it.

    Raises:
        Mistake: no such module, file or class, or a class that is not a method.
    """
    check_name(spec)
    place, _, name = (spec if spec in shipped() else aim(spec)).partition(":")
    module = _module(place, spec)
    if name:
        found = getattr(module, name, None)
        if found is None:
            raise Mistake(f"method {spec!r}: {place} has no class {name!r}{suggest(name, _methods_in(module))}")
    else:
        found = next(iter(_methods_in(module).values()))
    if not (isinstance(found, type) and is_dataclass(found) and callable(getattr(found, "fit", None))):
        raise Mistake(f"method {spec!r}: {found!r} is not a dataclass with a method fit(train, seed)")
    if not found.__dataclass_params__.frozen:  # type: ignore[attr-defined]
        raise Mistake(f"method {spec!r}: {found.__name__} is not frozen; write @dataclass(frozen=True)")
    return found


def aim(spec: str) -> str:
    """`module:Class` of an installed method; what else is named says it itself.

    Raises:
        Mistake: the plugin's entry point names a module only.
    """
    entry = None if ":" in spec else plugins.installed()[spec]
    if entry is not None and not entry.attr:
        raise Mistake(f"method {spec!r}: its entry point {entry.value!r} names no class; write 'package.module:Class'")
    return spec if entry is None else f"{entry.module}:{entry.attr}"


def _module(place: str, spec: str) -> ModuleType:
    try:
        if place in shipped():
            return importlib.import_module(f"tlbench_baselines.{place}")
        if not place.endswith(".py"):
            return importlib.import_module(place)
        found = importlib.util.spec_from_file_location(f"tlbench_method_{Path(place).stem}", place)
        assert found is not None
        assert found.loader is not None
        module = importlib.util.module_from_spec(found)
        sys.modules[found.name] = module  # dataclasses and inspect look the module of a class up there
        found.loader.exec_module(module)
        return module
    except Exception as error:
        raise Mistake(f"method {spec!r}: importing {place} failed: {type(error).__name__}: {error}") from None


def _methods_in(module: ModuleType) -> dict[str, type[Any]]:
    """The public dataclasses with a `fit` that a module itself defines."""
    return {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, type) and value.__module__ == module.__name__ and callable(getattr(value, "fit", None))
    }


def configured(cls: type[Any], settings: dict[str, str]) -> Any:
    """The method with `settings`, each a string checked against its field's type.

    Raises:
        Mistake: unknown field, or a value of another type.
    """
    from pydantic import TypeAdapter, ValidationError

    hints, values = get_type_hints(cls), dict[str, Any]()
    known = {f.name for f in fields(cls)}
    for name, text in settings.items():
        if name not in known:
            raise Mistake(f"--set {name}={text}: {cls.__name__} has no field {name!r}{suggest(name, known)}")
        adapter: TypeAdapter[Any] = TypeAdapter(hints[name])
        try:
            if text == "None" and NoneType in get_args(hints[name]):
                values[name] = None
                continue
            values[name] = adapter.validate_strings(text)
        except ValidationError:
            kind = _type_name(hints[name])
            raise Mistake(f"--set {name}={text}: {cls.__name__}.{name} takes {kind}, not {text!r}") from None
    try:
        return cls(**values)
    except (ValueError, TypeError) as error:
        raise Mistake(f"--set: {cls.__name__} does not take {values}: {error}") from None


def describe(spec: str, settings: dict[str, str]) -> Description:
    """What the harness must know of a method. Runs the method's module: only in a worker's process."""
    cls = load(spec)
    hints = get_type_hints(cls)
    listed = tuple(
        Field(f.name, _type_name(hints[f.name]), None if f.default is MISSING else f.default) for f in fields(cls)
    )
    source = Path(inspect.getfile(cls))
    config = asdict(configured(cls, settings))
    try:
        json.dumps(config, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise Mistake(
            f"method {spec!r}: a hyperparameter is no JSON value ({error}); "
            "fields hold finite numbers, strings, booleans, or lists of them"
        ) from None
    return Description(
        spec=spec,
        name=_foreign_name(spec, cls) if ":" in spec else spec,
        family=getattr(cls, "family", "other"),
        summary=(inspect.getdoc(cls) or "").partition("\n")[0],
        paper=getattr(cls, "paper", ""),
        needs=tuple(sorted(getattr(cls, "needs", ()))),
        ignores=tuple(sorted(getattr(cls, "ignores", ()))),
        regimes=tuple(sorted(getattr(cls, "regimes", {"classification"}))),
        requires=tuple(sorted(getattr(cls, "requires", ()))),
        extra=getattr(cls, "extra", ""),
        fields=listed,
        config=config,
        search=searched(spec, cls),
        digest=code_digest(source, "" if spec in shipped() else cls.__qualname__),
        seconds=_most(spec, cls, "seconds"),
        memory_mib=None if (most := _most(spec, cls, "memory_mib")) is None else int(most),
    )


def _most(spec: str, cls: type[Any], name: str) -> float | None:
    """What a method says that it takes at most.

    Raises:
        Mistake: that is no number above 0.
    """
    said = getattr(cls, name, None)
    if said is not None and not (isinstance(said, int | float) and 0 < said < math.inf):
        raise Mistake(f"method {spec!r}: {name} is {said!r}; it is what a cell takes at most, a number above 0")
    return said


def sources(spec: str) -> dict[str, Any]:
    """The files that a foreign method's digest covers, its own first, and its class. Only in a worker's process."""
    cls = load(spec)
    files = [str(f) for f in covered(Path(inspect.getfile(cls))) if f not in shipped().values()]
    return {"files": files, "class": cls.__qualname__}


def searched(spec: str, cls: type[Any]) -> dict[str, tuple[Any, ...]]:
    """A method's search space, each part checked against the field it is for.

    Raises:
        Mistake: it names no field, or a part of it is no space of that field's values.
    """
    from pydantic import TypeAdapter, ValidationError

    hints, space, known = get_type_hints(cls), getattr(cls, "search", {}), {f.name for f in fields(cls)}
    for name, part in space.items():
        where = f"method {spec!r}: search[{name!r}]"
        if name not in known:
            raise Mistake(f"{where}: no field is called that{suggest(name, known)}")
        kind, *values = part if isinstance(part, tuple) and part else (None,)
        if kind not in ("log", "linear", "choice"):
            raise Mistake(f"{where} is {part!r}; write ('log', low, high), ('linear', low, high) or ('choice', ...)")
        if kind != "choice" and not (len(values) == 2 and (0 if kind == "log" else -math.inf) < values[0] < values[1]):
            raise Mistake(f"{where} is {part!r}; it needs a low and a higher end{', above 0' * (kind == 'log')}")
        try:
            for value in values:
                TypeAdapter(hints[name]).validate_python(value, strict=isinstance(value, str | bool))
        except ValidationError:
            raise Mistake(f"{where}: {value!r} is no {_type_name(hints[name])}") from None
    return dict(space)


def _foreign_name(spec: str, cls: type[Any]) -> str:
    """`file:Class` or `module:Class`: never a shipped method's name, whatever the class is called."""
    place = spec.partition(":")[0]
    return f"{Path(place).stem if place.endswith('.py') else place}:{cls.__name__}"


def _type_name(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) else str(hint).replace("typing.", "")


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
