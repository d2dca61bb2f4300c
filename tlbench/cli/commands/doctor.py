"""`tlbench doctor`: what this machine has, and what is missing."""

from __future__ import annotations

import json
import platform
import shutil
import sys
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

import tlbench
from tlbench import cache
from tlbench.results import editions
from tlbench.results.store import Store, default_folder
from tlbench.runner import places
from tlbench.runner.executors import usable_cores
from tlbench.runner.machine import driver
from tlbench.runner.sandbox import landlock, sandbox
from tlbench.runner.task_data import native_bf16
from tlbench.tasks.datasets import fetch, pretrained
from tlbench.tasks.datasets.pretrained import weights_file

ABOUT = {"native_bf16": " (makes --bf16-features fast; rows of the board have float32 features on every machine)"}


def examine(data_root: Path | None, results: Path | None) -> dict[str, Any]:
    """Everything as plain values; `missing` lists what a user may want to do something about."""
    folder = results or default_folder()
    with places.executor() as workers:
        report = workers.ask({"kind": "device"})
    store = Store(folder)
    weights = {n: str(f) if (f := weights_file(n)) else None for n in pretrained.backbone_files()}
    data = {n: str(p) if (p := fetch.where(fetch.dataset(n), data_root)) else None for n in fetch.datasets()}
    found = {
        "tlbench": tlbench.__version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "versions": _versions(),
        "cores": usable_cores(),
        "memory_gib": _memory_gib(),
        "native_bf16": native_bf16(),
        "gpus": report.get("cuda", []),
        "driver": driver(),
        "jail": _jail(),
        "worker": "ok" if report["status"] == "ok" else report["reason"],
        "data": data,
        "weights": weights,
        "results": {
            "folder": str(folder),
            "rows": len(store.rows),
            "editions": list(editions.all_of(folder)),
            "warnings": store.warnings(),
        },
        "free_gib": {str(p): round(shutil.disk_usage(p).free / 2**30, 1) for p in (cache.folder(), _parent(folder))},
    }
    return {**found, "missing": _missing(found)}


def _jail() -> str:
    """The level at which methods run here unless told otherwise, and what there is beyond it."""
    level, note = sandbox.resolve("auto")
    more = (
        "" if note else f", Landlock {landlock.abi()}; bubblewrap {'is' if shutil.which('bwrap') else 'not'} installed"
    )
    return f"level {level}{more}"


def _versions() -> dict[str, str]:
    names = sorted({_name(r) for r in requires("tlbench") or [] if "extra ==" not in r} | {"learn2learn"})
    return {n: _version(n) for n in names}


def _name(requirement: str) -> str:
    return "".join(requirement.partition(";")[0].partition(">")[0].partition("=")[0].split())


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _memory_gib() -> float | None:
    try:
        text = Path("/proc/meminfo").read_text()
        return round(int(text.split()[1]) / 2**20, 1)
    except (OSError, ValueError):
        return None


def _parent(folder: Path) -> Path:
    return next(p for p in (folder, *folder.resolve().parents) if p.exists())


def _missing(found: dict[str, Any]) -> list[str]:
    said = [fetch.missing(fetch.dataset(n)) for n, place in found["data"].items() if place is None]
    if not any(found["weights"].values()):
        said.append("no backbone's weights are at hand: image tasks need `tlbench data pull mobilenetv2_100`")
    if found["worker"] != "ok":
        said.append(f"the worker does not come up: {found['worker']}")
    if note := sandbox.resolve("auto")[1]:
        said.append(note)
    if sys.platform not in ("linux", "darwin"):
        said.append(f"{sys.platform} cannot fork: tlbench runs on Linux and macOS")
    said += [
        f"{free} GiB free at {place}: features and rows may not fit"
        for place, free in found["free_gib"].items()
        if free < 1
    ]
    return said


def show(data_root: Path | None, results: Path | None, as_json: bool) -> None:
    """Print the examination."""
    found = examine(data_root, results)
    if as_json:
        print(json.dumps(found, ensure_ascii=False))
        return
    for name in (
        "tlbench",
        "python",
        "system",
        "cores",
        "memory_gib",
        "native_bf16",
        "gpus",
        "driver",
        "jail",
        "worker",
    ):
        print(f"{name:<12} {found[name] if found[name] not in (None, []) else 'none'}{ABOUT.get(name, '')}")
    print("versions     " + ", ".join(f"{n} {v}" for n, v in found["versions"].items()))
    for kind in ("data", "weights"):
        for name, place in found[kind].items():
            print(f"{kind:<12} {name}: {place or 'missing'}")
    held = f"{found['results']['rows']} rows, editions: {', '.join(found['results']['editions']) or 'none'}"
    print(f"results      {found['results']['folder']}: {held}")
    for text in found["results"]["warnings"]:
        print(f"             {text}")
    print("free disk    " + ", ".join(f"{free} GiB at {place}" for place, free in found["free_gib"].items()))
    print("missing      " + ("\n             ".join(found["missing"]) or "nothing"))
