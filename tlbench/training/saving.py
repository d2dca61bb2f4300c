"""Modules as arrays and plain values: what a fitted predictor's `state()` holds, and how it is rebuilt without pickle.

A module is described by its class, its plain attributes, and its children, each in the same way; its parameters and
buffers are arrays. It is rebuilt without its `__init__`, so that nothing is drawn, downloaded or read from a file. What
is no plain value (a lambda, an open file) cannot be described: the error names the attribute.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from importlib import import_module
from types import BuiltinFunctionType, FunctionType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

State = dict[str, Any]
"""Keys to numpy arrays, and 'layout' to a JSON text; `np.savez(file, **state)` keeps it."""

TORCH_S_OWN = frozenset(vars(nn.Module()))
RECURRENT = frozenset({"_flat_weights", "_flat_weight_refs"})  # of nn.RNN and its like: made again from the parameters
FUNCTIONS = ("torch", "timm", "tlbench", "tlbench_baselines")  # packages whose functions a state may name


def saved(module: nn.Module, kind: str) -> State:
    """A module's state.

    Args:
        kind: the name of the class of predictor that holds it

    Raises:
        ValueError: an attribute is no plain value; says which.
    """
    writer = _Writer()
    layout = {"format": 1, "kind": kind, "module": writer.module(module, "")}
    return {"layout": json.dumps(layout), **writer.arrays}


def loaded(state: Mapping[str, Any]) -> tuple[str, nn.Module]:
    """The kind and the module of a state, on the host. Restore no state from people whose code you would not run: it
    names the classes that are imported.

    Raises:
        ValueError: it is no such state, or a class that it names cannot be imported.
    """
    try:
        layout = json.loads(str(state["layout"]))
        if layout["format"] != 1:
            raise ValueError(f"format {layout['format']}")
        return layout["kind"], _Reader(state).module(layout["module"])
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"not the state of a fitted predictor: {type(error).__name__}: {error}") from None


class _Writer:
    def __init__(self) -> None:
        self.arrays: State = {}
        self.seen: dict[int, int] = {}

    def module(self, module: nn.Module, place: str) -> dict[str, Any]:
        if id(module) in self.seen:
            return {"same": self.seen[id(module)]}
        number = self.seen[id(module)] = len(self.seen)
        skipped = TORCH_S_OWN | (RECURRENT if isinstance(module, nn.RNNBase) else set())
        own = {name: value for name, value in vars(module).items() if name not in skipped}
        children = [(name, m) for name, m in module._modules.items() if m is not None]
        return {
            "number": number,
            "class": _path(type(module), place),
            "training": module.training,
            "values": {name: self.value(value, f"{place}.{name}") for name, value in own.items()},
            "parameters": {name: self.tensor(p) for name, p in module._parameters.items()},
            "buffers": {name: self.tensor(b) for name, b in module._buffers.items()},
            "modules": {name: self.module(m, f"{place}.{name}") for name, m in children},
        }

    def tensor(self, tensor: Tensor | None) -> dict[str, Any] | None:
        if tensor is None:
            return None
        key, bf16 = f"array{len(self.arrays)}", tensor.dtype == torch.bfloat16
        self.arrays[key] = (tensor.float() if bf16 else tensor).detach().cpu().contiguous().numpy().copy()
        last = not tensor.is_contiguous() and tensor.ndim == 4  # channels last
        dtype = str(tensor.dtype).removeprefix("torch.")
        return {"array": key, "dtype": dtype, "shape": [*tensor.shape], "grad": tensor.requires_grad, "last": last}

    def value(self, value: Any, place: str) -> Any:
        if value is None or isinstance(value, bool | int | float | str):
            return value
        if isinstance(value, list):
            return [self.value(v, place) for v in value]
        if isinstance(value, tuple):
            return {"tuple": [self.value(v, place) for v in value]}
        if isinstance(value, set | frozenset):
            return {"set": [self.value(v, place) for v in sorted(value)]}
        if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
            return {"dict": {key: self.value(v, f"{place}[{key!r}]") for key, v in value.items()}}
        if isinstance(value, Tensor):
            return {"tensor": self.tensor(value)}
        if isinstance(value, torch.dtype):
            return {"dtype": str(value).removeprefix("torch.")}
        if isinstance(value, functools.partial):
            return {"partial": [self.value(part, place) for part in (value.func, value.args, value.keywords)]}
        if isinstance(value, FunctionType | BuiltinFunctionType | type) and value.__module__:
            return {"name": _path(value, place)}
        if is_dataclass(value):
            own = {f.name: self.value(getattr(value, f.name), f"{place}.{f.name}") for f in fields(value)}
            return {"object": _path(type(value), place), "values": own}
        raise ValueError(f"{place.lstrip('.')} is a {type(value).__name__}, no array and no plain value: not savable")


class _Reader:
    def __init__(self, state: Mapping[str, Any]) -> None:
        self.state = state
        self.made: dict[int, nn.Module] = {}

    def module(self, layout: dict[str, Any]) -> nn.Module:
        if "same" in layout:
            return self.made[layout["same"]]
        cls: Any = _found(layout["class"])
        if nn.Module not in getattr(cls, "__mro__", ()):
            raise ValueError(f"{layout['class']} is no module")
        module: nn.Module = cls.__new__(cls)
        nn.Module.__init__(module)
        self.made[layout["number"]] = module
        for name, value in layout["values"].items():
            module.__dict__[name] = self.value(value)
        for name, held in layout["parameters"].items():
            tensor = self.tensor(held)
            module._parameters[name] = None if tensor is None else nn.Parameter(tensor, held["grad"])
        for name, held in layout["buffers"].items():
            module._buffers[name] = self.tensor(held)
        for name, child in layout["modules"].items():
            module._modules[name] = self.module(child)
        if isinstance(module, nn.RNNBase):
            module._init_flat_weights()
        module.training = layout["training"]
        return module

    def tensor(self, held: dict[str, Any] | None) -> Tensor | None:
        if held is None:
            return None
        dtype: torch.dtype = getattr(torch, held["dtype"])
        array = np.asarray(self.state[held["array"]])  # a list, where the state was kept as JSON
        tensor = torch.tensor(array, dtype=dtype).reshape(held["shape"])
        return tensor.contiguous(memory_format=torch.channels_last) if held["last"] else tensor

    def value(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self.value(v) for v in value]
        if not isinstance(value, dict):
            return value
        if "object" in value:
            return _found(value["object"])(**{name: self.value(v) for name, v in value["values"].items()})
        ((kind, held),) = value.items()
        if kind == "tuple":
            return tuple(self.value(v) for v in held)
        if kind == "set":
            return {self.value(v) for v in held}
        if kind == "dict":
            return {key: self.value(v) for key, v in held.items()}
        if kind == "tensor":
            return self.tensor(held)
        if kind == "dtype":
            return getattr(torch, held)
        if kind == "partial":
            function, given, named = (self.value(part) for part in held)
            return functools.partial(function, *given, **named)
        return _found(held)


def _path(thing: Any, place: str) -> str:
    """Where a class or a function is defined: `module:name`."""
    function = not isinstance(thing, type)
    package = thing.__module__.partition(".")[0]
    if "<" in thing.__qualname__ or (function and package not in FUNCTIONS):
        where = place.lstrip(".") or "the predictor"
        raise ValueError(f"{where} is {thing.__qualname__}, which nobody can import: it cannot be saved")
    return f"{thing.__module__}:{thing.__qualname__}"


def _found(path: str) -> Any:
    """What `_path` named: a module's class, a dataclass, or a function of a package that may be named."""
    place, _, name = path.partition(":")
    try:
        found: Any = functools.reduce(getattr, name.split("."), import_module(place))
    except (ImportError, AttributeError) as error:
        raise ValueError(f"{path} cannot be imported here: {error}") from None
    if not isinstance(found, type) and place.partition(".")[0] not in FUNCTIONS:
        raise ValueError(f"{path}: a state may not name it")
    return found
