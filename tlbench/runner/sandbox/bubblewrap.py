"""Level 2 of the jail: a worker server in namespaces of its own, where the store and the data are not there at all.

Everything else of the file system is there to be read, under the rules of level 1, which each child puts on as well;
no network, no process of the world outside. Source: bwrap(1).
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from tlbench.errors import UsageError

NEEDED = ("/", "/usr", "/lib", "/bin", "/etc", "/sys", "/proc", "/dev")


def command(
    program: Sequence[str], hidden: Sequence[Path], shown: Sequence[Path], scratch: Path | None = None
) -> list[str]:
    """`program` under bwrap: `hidden` folders are empty but for those `shown`; only `scratch` can be written to."""
    gone = [str(path) for path in outermost(hidden)]
    back = [str(path.resolve()) for path in shown if path.is_dir()]
    own = ["--bind", str(scratch), str(scratch)] if scratch else []
    return [
        "bwrap", "--ro-bind", "/", "/", *(word for path in gone for word in ("--tmpfs", path)),
        *(word for path in back for word in ("--ro-bind", path, path)), *own,
        *(word for path in gone for word in ("--remount-ro", path)), "--dev-bind", "/dev", "/dev", "--proc", "/proc",
        "--unshare-net", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--die-with-parent", "--chdir", "/", "--",
        *program,
    ]  # fmt: skip


def outermost(hidden: Sequence[Path]) -> list[Path]:
    """Folders that exist, without those inside another, in order; never one that all else lies in."""
    real = sorted({p.resolve() for p in hidden if p.is_dir()} - {Path(p) for p in NEEDED})
    return [p for p in real if not any(o in p.parents for o in real)]


def check() -> None:
    """Raises:
    UsageError: bubblewrap does not start here; with its own words.
    """
    try:
        tried = subprocess.run(command(["true"], (), ()), capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UsageError(f"--sandbox 2: bubblewrap does not start ({error}); choose --sandbox 1") from None
    if tried.returncode:
        said = " ".join(tried.stderr.split())[:200]
        raise UsageError(f"--sandbox 2: bubblewrap does not start ({said}); choose --sandbox 1")
