"""The values of a TOML file held against a model: the first complaint as one line."""

from __future__ import annotations

import re
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from tlbench.errors import Mistake, position, suggest
from tlbench.tasks.place import Place

T = TypeVar("T", bound=BaseModel)


def validated(model: type[T], values: dict[str, Any], text: str, where: str) -> T:
    """`values` as a `model`, or the first complaint as one line naming file, line and key."""
    try:
        return model.model_validate(_tuples(values))
    except ValidationError as error:
        first = error.errors()[0]
        keys = [str(part) for part in first["loc"]]
        if table := re.match(r".*\[at\.(\w+)\] is no domain", str(first["msg"])):
            keys = ["at", table[1]]
        said = _complaint(first, str(first["loc"][0]) if first["loc"] else "", model)
        raise Mistake(f"{position(where, text, *keys)}: {said}") from None


def _complaint(first: Any, key: str, model: type[BaseModel]) -> str:
    if first["type"] == "extra_forbidden":
        inner = first["loc"][-1]
        known = model.model_fields if len(first["loc"]) == 1 else Place.model_fields if key == "at" else {}
        return f"unknown key {str(inner)!r}{suggest(str(inner), known)}"
    if first["type"] == "missing":
        return f"key {key!r} is missing; every card needs it"
    message = str(first["msg"]).removeprefix("Value error, ")
    return f"{key!r} is {first['input']!r}: {message}" if key else message


def _tuples(value: Any) -> Any:
    """TOML arrays as tuples, which is what the strict, frozen models hold."""
    if isinstance(value, dict):
        return {k: _tuples(v) for k, v in value.items()}
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value
