"""The descriptions of a command's methods under its settings, each made by a worker or kept from then."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from tlbench import __version__, cache
from tlbench._moved import Moved
from tlbench.errors import UsageError, suggest
from tlbench.methods import versions
from tlbench.methods.digest import description_digest
from tlbench.methods.method import Description, shipped
from tlbench.methods.references import BESIDE, REFERENCES
from tlbench.runner.executors import Executor
from tlbench.runner.sandbox.sandbox import Limits
from tlbench.tasks.split import sha

_warned: dict[
    str | tuple[str, type[Warning], int], int
] = {}  # the warnings registry: each text is shown once a process
SHARED_FIELDS = ("steps", "batch")  # the budget of compute: what is set for a method is set for its references


def describe(names: Sequence[str], settings: dict[str, str], workers: Executor) -> dict[str, Description]:
    """The descriptions of methods under `--set`, each checked by the worker that imports it.

    A setting goes to every named method that has its field; `steps` and `batch` go to the references too.

    Raises:
        UsageError: no method has the field, or the value is of another type.
    """
    plain = {name: described(name, {}, workers) for name in dict.fromkeys([*names, *REFERENCES, *BESIDE])}
    for key, value in settings.items():
        known = {f.name for name in names for f in plain[name].fields}
        if key not in known:
            raise UsageError(f"--set {key}={value}: {' and '.join(names)} has no field {key!r}{suggest(key, known)}")
    configured = {}
    for name, d in plain.items():
        fields = {f.name for f in d.fields}
        own = {k: v for k, v in settings.items() if k in fields and (name in names or k in SHARED_FIELDS)}
        configured[name] = described(name, own, workers) if own else d
    return configured


def described(spec: str, settings: dict[str, str], workers: Executor, limits: Limits | None = None) -> Description:
    """From the cache for a baseline whose code has not changed, else from a worker.

    Old names of tlbench's that its module uses are passed on as warnings.

    Raises:
        UsageError: it is no method, its module cannot be imported, or a setting is none of its fields.
    """
    file = None
    if spec in shipped():
        digest, now = description_digest(shipped()[spec]), (versions.of(spec), versions.toolkit())
        file = cache.folder("methods") / f"{sha(__version__, spec, sorted(settings.items()), digest, now)}.json"
        with suppress(OSError, ValueError, KeyError):  # missing, or broken: made anew
            return Description.of(json.loads(file.read_text()))
    report = workers.ask({"kind": "describe", "method": absolute(spec), "settings": settings}, limits)
    if report.get("status") != "ok":
        reason = str(report.get("reason"))
        raise UsageError(f"method {spec!r}: {reason}" if report.get("status") == "failed" else reason)
    try:
        told = Description.of(report["description"])
    except (KeyError, TypeError, AttributeError, ValueError):  # its module may have written the report
        raise UsageError(f"method {spec!r}: what it says of itself is no description") from None
    if notes := report.get("notes"):
        text = f"method {spec!r}: {'; '.join(map(str, notes))[:500]}"
        warnings.warn_explicit(text, Moved, absolute(spec).partition(":")[0], 1, registry=_warned)
    if file is not None:
        temporary = file.with_suffix(f".{os.getpid()}.tmp")
        temporary.write_text(json.dumps(report["description"]))
        temporary.replace(file)
    return told


def absolute(spec: str) -> str:
    """A method's file by its full path: workers run elsewhere."""
    place, colon, name = spec.partition(":")
    return f"{Path(place).resolve()}{colon}{name}" if place.endswith(".py") else spec
