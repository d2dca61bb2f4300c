"""The board is the same on every machine: rebuilt byte for byte with other processors' instructions, threads and order
of rows."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy._core._multiarray_umath import __cpu_dispatch__ as DISPATCHED
from numpy._core._multiarray_umath import __cpu_features__ as FEATURES

from tlbench.board import markdown
from tlbench.results import grid

ROOT = Path(__file__).parent.parent
PLAIN = {"NPY_DISABLE_CPU_FEATURES": " ".join(name for name in DISPATCHED if FEATURES[name])}
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
MACHINES: dict[str, Mapping[str, str]] = {
    "AVX2": {"OPENBLAS_CORETYPE": "Haswell"},
    "SSE3": {"OPENBLAS_CORETYPE": "Prescott"},
    "numpy's plain code": PLAIN,
    "torch's plain code": {"ATEN_CPU_CAPABILITY": "default"},
    "all of these, one thread": {
        "OPENBLAS_CORETYPE": "Prescott", **PLAIN, "ATEN_CPU_CAPABILITY": "default", **dict.fromkeys(THREADS, "1"),
    },
    "two threads": dict.fromkeys(THREADS, "2"),
}  # fmt: skip
WORST = "all of these, one thread"
KERNELS = {"Haswell": {"Haswell"}, "Prescott": {"Prescott", "Katmai"}}  # the last two are one set of kernels
ASKED = """
import json, threadpoolctl, torch, scipy.linalg
from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__
libraries = threadpoolctl.threadpool_info()
print(json.dumps({
    "blas": sorted({x["architecture"] for x in libraries if x["internal_api"] == "openblas"}),
    "threads": sorted({x["num_threads"] for x in libraries if x["internal_api"] == "openblas"}),
    "numpy": [name for name in __cpu_dispatch__ if __cpu_features__[name]],
    "torch": torch.backends.cpu.get_cpu_capability(),
}))
"""


def run(*words: str, **changed: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, **changed}
    return subprocess.run([sys.executable, *words], cwd=ROOT, env=env, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    "machine", [m if m == WORST else pytest.param(m, marks=pytest.mark.extended) for m in MACHINES]
)
def test_the_board_is_rebuilt_byte_for_byte_on_another_machine(machine: str) -> None:
    asked = MACHINES[machine]
    told = json.loads(run("-c", ASKED, **asked).stdout)
    if "OPENBLAS_CORETYPE" in asked:
        assert set(told["blas"]) <= KERNELS[asked["OPENBLAS_CORETYPE"]]
        assert told["blas"]
    if "NPY_DISABLE_CPU_FEATURES" in asked:
        assert told["numpy"] == []
    if "ATEN_CPU_CAPABILITY" in asked:
        assert told["torch"] in ("DEFAULT", "NO AVX")
    if "OPENBLAS_NUM_THREADS" in asked:
        assert told["threads"] == [min(int(asked["OPENBLAS_NUM_THREADS"]), os.cpu_count() or 1)]
    done = run("-m", "tlbench.cli", "leaderboard", "--check", **asked)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.extended)])
def test_noise_of_a_billionth_of_a_point_moves_nothing_of_the_board(
    seed: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """On every cell's value, and on every estimate of a gain and of its error."""
    random, plain, told = np.random.default_rng(seed), grid.Sheet.of.__func__, grid.Sheet.estimates

    def noisy(cls: type[grid.Sheet], *rest: object) -> grid.Sheet:
        sheet: grid.Sheet = plain(cls, *rest)
        sheet.value[...] += random.uniform(-1e-9, 1e-9, sheet.value.shape)
        return sheet

    def estimates(self: grid.Sheet, *rest: object) -> np.ndarray:
        out = told(self, *rest)
        out[:2] += random.uniform(-1e-9, 1e-9, out[:2].shape) * (out[:2] != 0)
        return out

    monkeypatch.setattr(grid.Sheet, "of", classmethod(noisy))
    monkeypatch.setattr(grid.Sheet, "estimates", estimates)
    board, place, folder = markdown.board_of(ROOT / "results", None, None)
    assert (board.grids[5].value != np.round(board.grids[5].value, 10)).any()
    assert markdown.rebuild(board, place, folder, write=False) == []


@pytest.mark.slow
def test_the_board_is_the_same_with_the_rows_in_another_order(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "results", tmp_path / "results")
    shutil.copy(ROOT / "leaderboard.md", tmp_path / "leaderboard.md")
    random = np.random.default_rng(0)
    for file in (tmp_path / "results").rglob("packed/*.parquet"):
        rows = pq.read_table(file)
        pq.write_table(rows.take(pa.array(random.permutation(len(rows)))), file)
    done = run("-m", "tlbench.cli", "leaderboard", "--check", "--results", str(tmp_path / "results"))
    assert done.returncode == 0, done.stdout + done.stderr
