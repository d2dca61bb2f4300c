"""The files that a method's process may open: Python and its libraries, the job's own inputs, the job's folder.

Not among them: the data, the store, the cache at large, other jobs, and the datasets that lie inside libraries.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import sysconfig
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from tlbench.errors import UsageError
from tlbench.files import PACKAGE
from tlbench.methods.digest import covered
from tlbench.methods.method import aim, shipped
from tlbench.runner.sandbox.landlock import DEVICE, LIST, OWN, READ, TRUNCATE, WRITE_FILE, Rule

DATASETS = ("sklearn/datasets/data", "sklearn/datasets/images", "matplotlib/mpl-data/fonts",
            "matplotlib/mpl-data/sample_data")  # fmt: skip  # inside libraries; embedded tasks are made of them
LOADED = ("/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/libexec", "/usr/local/lib", "/lib", "/lib64")
SYSTEM = (
    "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/ld.so.preload", "/etc/localtime",
    "/etc/nsswitch.conf", "/etc/passwd", "/etc/group", "/etc/os-release", "/usr/share/zoneinfo", "/proc/self",
    "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/filesystems", "/proc/version", "/proc/sys/vm",
    "/proc/sys/kernel", "/sys", "/dev/urandom", "/dev/random", "/dev/zero",
)  # fmt: skip
OF_CUDA = (
    "/proc/devices", "/proc/modules", "/proc/driver", "/usr/local/nvidia", "/usr/local/cuda", "/usr/share/nvidia",
    "/etc/nvidia", "/run/nvidia", "/usr/lib/wsl", "/usr/local/cuda/lib64", "/usr/local/cuda/compat",
)  # fmt: skip
CODE = (".py", ".so", ".pyd", ".dist-info", ".egg-info")  # the last two tell of installed methods


def rules(folder: Path, inputs: Iterable[Path], method: str | None, device: str) -> list[Rule]:
    """All rules of a job: its folder to write to, the rest to read."""
    read = [*libraries(), *on_the_path(), *map(Path, SYSTEM), *inputs, *(code_of(method) if method else ())]
    found = [(folder, OWN), (Path("/dev/null"), DEVICE), *((path, READ) for path in read)]
    found += [(place, LIST) for place in (*sites(), *_ours())]
    if device.startswith("cuda"):
        found += [(Path(path), READ) for path in OF_CUDA]
        found += [(path, DEVICE) for path in sorted(Path("/dev").glob("nvidia*"))]
        found += [(Path("/dev"), LIST), (Path("/dev/dxg"), DEVICE)]
        found.append((Path("/proc/self/task"), READ | WRITE_FILE | TRUNCATE))  # its threads are given names
    return found


def inputs_of(job: dict[str, Any]) -> list[Path]:
    """The files that a cell's job names: its arrays and its network's weights."""
    kept = job.get("kept") or {}
    named = [
        job.get("pool"), job.get("unlabeled"), job.get("test"), (job.get("net") or {}).get("weights"),
        *(path for source in job.get("sources") or () for path in source.values()),
        *(kept.get("source_val") or ()), *(kept.get("oracle_val") or ()),
    ]  # fmt: skip
    return [Path(path) for path in named if path]


def all_but(root: Path, hidden: Iterable[Path]) -> list[Path]:
    """`root`, or where something below it is hidden, everything beside the ways to that."""
    below = [h for h in hidden if h == root or root in h.parents]
    if not below:
        return [root]
    if root in below:
        return []
    with suppress(OSError):
        return [path for entry in sorted(root.iterdir()) for path in all_but(entry, below)]
    return []


@cache
def libraries() -> list[Path]:
    """Python's own and installed files, tlbench and the methods that ship, without the datasets among them."""
    paths = sysconfig.get_paths()
    roots = [Path(paths[name]) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    roots += [Path(prefix) / part for prefix in (sys.prefix, sys.base_prefix) for part in ("lib", "lib64")]
    roots += [Path(p) for p in (*LOADED, *os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep)) if p]
    roots += [Path(sys.prefix) / "pyvenv.cfg", *sites(), *_ours()]
    real = list(dict.fromkeys(root.resolve() for root in roots if root.exists()))
    outermost = [r for r in real if not any(o in r.parents for o in real)]
    return [path for root in outermost for path in all_but(root, _datasets())]


@cache
def sites() -> list[Path]:
    """The folders of installed libraries. An import lists them."""
    named = [p for p in map(Path, sys.path) if p.name in ("site-packages", "dist-packages")]
    return list(dict.fromkeys(p.resolve() for p in named))


@cache
def _ours() -> list[Path]:
    """tlbench and the methods that ship."""
    found = importlib.util.find_spec("tlbench_baselines")
    places = (found.submodule_search_locations or ()) if found else ()
    return [PACKAGE, *(Path(p).resolve() for p in places)]


@cache
def _datasets() -> list[Path]:
    """The datasets inside Python's libraries, of whatever Python, and tlbench's generators of data."""
    others = [p.resolve() for lib in ("/usr/lib", "/usr/local/lib") for p in Path(lib).glob("python3*/*-packages")]
    inside = [site / name for site in (*sites(), *others) for name in DATASETS]
    return [place for place in (*inside, PACKAGE / "tasks/synthetic") if place.exists()]


def code_of(spec: str) -> list[Path]:
    """The files of a method that does not ship."""
    if spec in shipped():
        return []
    try:
        place = aim(spec).partition(":")[0]
    except (UsageError, KeyError):  # the job will say what is wrong with it
        return []
    found = [Path(place)]
    with suppress(OSError, SyntaxError, ValueError):  # the import will say what is wrong with it
        found = covered(Path(place)) if place.endswith(".py") else _package(place)
    return found


def on_the_path() -> list[Path]:
    """The code on Python's path outside its libraries: PYTHONPATH's, and what is installed to be edited.

    An import lists a folder of the path once: here, while it may.
    """
    found = list[Path]()
    for entry in (Path(p) for p in sys.path if p and Path(p).resolve() not in sites()):
        with suppress(OSError):
            found += [p for p in entry.iterdir() if p.suffix in CODE or (p / "__init__.py").is_file()]
    importlib.util.find_spec("no_module_is_called_like_this")
    return found


def _package(name: str) -> list[Path]:
    found = importlib.util.find_spec(name.partition(".")[0])
    if found is None:
        return []
    return [Path(p) for p in found.submodule_search_locations or [found.origin or ""] if p]
