"""Data larger than memory: two gigabytes of images under a limit of one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

GIB = 1 << 30
N, SHAPE = 100_000, (3, 60, 60)  # a domain: 1.08 GB


def write(folder: Path, seed: int, shift: int) -> None:
    """Images of two classes: a bright left half or a bright right half, on noise that no two images share."""
    folder.mkdir()
    random = np.random.default_rng(seed)
    x = np.lib.format.open_memmap(folder / "x.npy", mode="w+", dtype=np.uint8, shape=(N, *SHAPE))
    y = random.integers(0, 2, N)
    for start in range(0, N, 2000):
        part = random.integers(0, 90, (2000, *SHAPE), dtype=np.uint8)
        for side in (0, 1):
            rows = np.flatnonzero(y[start : start + 2000] == side)
            part[rows, :, :, 30 * side : 30 * side + 30] += np.uint8(60 + shift)
        x[start : start + 2000] = part
    x.flush()
    np.save(folder / "y.npy", y)


# For a process and all that it starts: 1 GiB of memory of its own, and the 0.7 that torch maps beside it.
LIMITED = f"""import os, resource, sys
resource.setrlimit(resource.RLIMIT_DATA, ({GIB + 7 * GIB // 10},) * 2)
os.execv(sys.argv[1], sys.argv[1:])"""


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_DATA binds on Linux only")
def test_two_gigabytes_of_images_are_learnt_from_under_one_gibibyte(tmp_path: Path) -> None:
    write(tmp_path / "day", 0, 0)
    write(tmp_path / "night", 1, 40)
    (tmp_path / "large.toml").write_text('source = "day/"\ntarget = "night/"\n')
    size = sum(f.stat().st_size for f in tmp_path.rglob("x.npy"))
    assert size > 2 * GIB
    command = [
        sys.executable, "-c", LIMITED, sys.executable, "-m", "tlbench.cli", "run", "--task",
        str(tmp_path / "large.toml"), "--method", "dann", "--budgets", "5", "--seeds", "0", "--set", "steps=60",
        "--jobs", "1", "--memory-limit", "1000", "--results", str(tmp_path / "results"), "--json",
    ]  # fmt: skip
    done = subprocess.run(
        command, env={**os.environ, "TLBENCH_CACHE": str(tmp_path / "cache")},
        capture_output=True, text=True, check=False, timeout=800,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    rows = [json.loads(line) for line in (tmp_path / "results" / "rows.jsonl").read_text().splitlines()]
    assert {r["method"] for r in rows} == {"dann", "target_only", "source_only"}
    assert all(r["status"] == "ok" for r in rows), [r["reason"] for r in rows]
    assert next(r for r in rows if r["method"] == "source_only")["value"] > 0.9
