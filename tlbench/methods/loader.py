"""A method's class from its name, and what it says of itself.

Everything here runs the method's module: only a worker's process may call it.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import json
import math
import sys
from dataclasses import MISSING, asdict, fields, is_dataclass
from pathlib import Path
from types import ModuleType, NoneType
from typing import Any, get_args, get_type_hints

from tlbench.errors import UsageError, suggest
from tlbench.methods import versions
from tlbench.methods.digest import code_digest, covered
from tlbench.methods.method import Description, Field, aim, check_name, shipped


def load(spec: str) -> type[Any]:
    """The class that `spec` names. Runs the method's module: only a worker's process may call it.

    Raises:
        UsageError: no such module, file or class, or a class that is not a method.
    """
    check_name(spec)
    place, _, name = (spec if spec in shipped() else aim(spec)).partition(":")
    module = _module(place, spec)
    if name:
        found = getattr(module, name, None)
        if found is None:
            raise UsageError(f"method {spec!r}: {place} has no class {name!r}{suggest(name, _methods_in(module))}")
    else:
        found = next(iter(_methods_in(module).values()))
    if not (isinstance(found, type) and is_dataclass(found) and callable(getattr(found, "fit", None))):
        raise UsageError(f"method {spec!r}: {found!r} is not a dataclass with a method fit(train, seed)")
    if not found.__dataclass_params__.frozen:  # type: ignore[attr-defined]
        raise UsageError(f"method {spec!r}: {found.__name__} is not frozen; write @dataclass(frozen=True)")
    return found


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
        raise UsageError(f"method {spec!r}: importing {place} failed: {type(error).__name__}: {error}") from None


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
        UsageError: unknown field, or a value of another type.
    """
    from pydantic import TypeAdapter, ValidationError

    hints, values = get_type_hints(cls), dict[str, Any]()
    known = {f.name for f in fields(cls)}
    for name, text in settings.items():
        if name not in known:
            raise UsageError(f"--set {name}={text}: {cls.__name__} has no field {name!r}{suggest(name, known)}")
        adapter: TypeAdapter[Any] = TypeAdapter(hints[name])
        try:
            if text == "None" and NoneType in get_args(hints[name]):
                values[name] = None
                continue
            values[name] = adapter.validate_strings(text)
        except ValidationError:
            kind = _type_name(hints[name])
            raise UsageError(f"--set {name}={text}: {cls.__name__}.{name} takes {kind}, not {text!r}") from None
    try:
        return cls(**values)
    except (ValueError, TypeError) as error:
        raise UsageError(f"--set: {cls.__name__} does not take {values}: {error}") from None


def describe(spec: str, settings: dict[str, str]) -> Description:
    """What the harness must know of a method. Runs the method's module: only in a worker's process."""
    cls = load(spec)
    hints = get_type_hints(cls)
    listed = tuple(
        Field(f.name, _type_name(hints[f.name]), None if f.default is MISSING else f.default) for f in fields(cls)
    )
    digest, version = told_code(spec, cls)
    config = asdict(configured(cls, settings))
    try:
        json.dumps(config, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise UsageError(
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
        digest=digest,
        version=version,
        seconds=_most(spec, cls, "seconds"),
        memory_mib=None if (most := _most(spec, cls, "memory_mib")) is None else int(most),
    )


def told_code(spec: str, cls: type[Any]) -> tuple[str | None, int | None]:
    """A method's digest and version: of one that ships the version; of another its own code's digest and the toolkit's
    version. One that ships but has no recorded answers is told as another is: no version stands for it yet."""
    if spec in shipped() and (version := versions.of(spec)) is not None:
        return None, version
    return code_digest(Path(inspect.getfile(cls)), cls.__qualname__), versions.toolkit()


def _most(spec: str, cls: type[Any], name: str) -> float | None:
    """What a method says that it takes at most.

    Raises:
        UsageError: that is no number above 0.
    """
    said = getattr(cls, name, None)
    if said is not None and not (isinstance(said, int | float) and 0 < said < math.inf):
        raise UsageError(f"method {spec!r}: {name} is {said!r}; it is what a cell takes at most, a number above 0")
    return said


def sources(spec: str) -> dict[str, Any]:
    """The files that a foreign method's digest covers, its own first, and its class. Only in a worker's process."""
    cls = load(spec)
    files = [str(f) for f in covered(Path(inspect.getfile(cls))) if f not in shipped().values()]
    return {"files": files, "class": cls.__qualname__}


def searched(spec: str, cls: type[Any]) -> dict[str, tuple[Any, ...]]:
    """A method's search space, each part checked against the field it is for.

    Raises:
        UsageError: it names no field, or a part of it is no space of that field's values.
    """
    from pydantic import TypeAdapter, ValidationError

    hints, space, known = get_type_hints(cls), getattr(cls, "search", {}), {f.name for f in fields(cls)}
    for name, part in space.items():
        where = f"method {spec!r}: search[{name!r}]"
        if name not in known:
            raise UsageError(f"{where}: no field is called that{suggest(name, known)}")
        kind, *values = part if isinstance(part, tuple) and part else (None,)
        if kind not in ("log", "linear", "choice"):
            raise UsageError(f"{where} is {part!r}; write ('log', low, high), ('linear', low, high) or ('choice', ...)")
        if kind != "choice" and not (len(values) == 2 and (0 if kind == "log" else -math.inf) < values[0] < values[1]):
            raise UsageError(f"{where} is {part!r}; it needs a low and a higher end{', above 0' * (kind == 'log')}")
        try:
            for value in values:
                TypeAdapter(hints[name]).validate_python(value, strict=isinstance(value, str | bool))
        except ValidationError:
            raise UsageError(f"{where}: {value!r} is no {_type_name(hints[name])}") from None
    return dict(space)


def _foreign_name(spec: str, cls: type[Any]) -> str:
    """`file:Class` or `module:Class`: never a shipped method's name, whatever the class is called."""
    place = spec.partition(":")[0]
    return f"{Path(place).stem if place.endswith('.py') else place}:{cls.__name__}"


def _type_name(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) else str(hint).replace("typing.", "")
