"""The peers themselves, each in an environment of its own, asked again for what is frozen.

Where an environment cannot be built (no uv, no network, a package withdrawn), the test is skipped and says why. adapt
is no peer here: it would bring 0.4 GB of TensorFlow for what cvxopt and closed forms tell.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from agreement import ORACLES, frozen, largest

ROOT = Path(__file__).parent.parent


def uv(*words: str, seconds: int = 400) -> subprocess.CompletedProcess[str]:
    """uv, away from this environment; with one thread, since peers' matrices are tiny.

    Raises:
        Skipped: there is no uv, or it is not done in time.
    """
    found = shutil.which("uv")
    if found is None:
        pytest.skip("there is no uv to build the peer's environment with")
    alone = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")}
    alone |= {"OMP_NUM_THREADS": "1", "UV_COMPILE_BYTECODE": "0"}  # each environment is used once
    try:
        return subprocess.run(
            [found, *words], cwd=ROOT, env=alone, capture_output=True, text=True, timeout=seconds,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        pytest.skip(f"uv {words[0]} was not done in {seconds} s")


def built(done: subprocess.CompletedProcess[str], what: str) -> None:
    if done.returncode:
        last = [line.strip() for line in done.stderr.splitlines() if line.strip()][-1:]
        pytest.skip(f"the environment of {what} cannot be built: {' '.join(last)}")


def unchanged(name: str, file: Path) -> None:
    before = frozen(name)
    with np.load(file) as again:
        assert set(again.files) == set(before)
        for part in sorted(set(before) - {"versions"}):
            assert largest(again[part], before[part]) < 1e-9, part


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", ["classic", "pytorch_adapt", "validators"])
def test_peers_say_what_is_frozen(name: str, tmp_path: Path) -> None:
    script, file = str(ORACLES / f"make_{name}.py"), tmp_path / "again.npz"
    built(uv("sync", "--quiet", "--script", script), name)
    done = uv("run", "--quiet", "--script", script, str(file))
    assert done.returncode == 0, done.stderr
    unchanged(name, file)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_learn2learn_says_what_is_frozen_and_learns_what_ours_does(tmp_path: Path) -> None:
    """In tlbench's own environment with its extra `meta`, without which the default tests skip the second half."""
    meta = ("run", "--quiet", "--isolated", "--extra", "meta")
    built(uv(*meta, "python", "-c", "pass"), "tlbench[meta]")
    done = uv(*meta, "python", str(ORACLES / "make_learn2learn.py"), str(tmp_path / "again.npz"))
    assert done.returncode == 0, done.stderr
    unchanged("learn2learn", tmp_path / "again.npz")
    done = uv(*meta, "pytest", "-q", "-n", "0", "tests/test_meta.py", "-k", "learn2learns_does")
    assert "2 passed" in done.stdout, done.stdout + done.stderr
