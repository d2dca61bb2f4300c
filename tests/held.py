"""Stores made of rows by hand, whose answers are known."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tlbench import PROTOCOL
from tlbench.cli import main
from tlbench.results.row import Row, packed_bits
from tlbench.tasks.card import Budget
from tlbench.tasks.split import sha

N = 100  # test samples


def row(method: str, task: str, budget: Budget, seed: int, right: int, **changed: Any) -> Row:
    """An ok row that answers the first `right` of 100 test samples rightly; `changed` columns are taken as they are."""
    suite, _, pair = task.partition("/")
    source, dash, target = pair.rpartition("-")
    plain = Row(
        key=sha(method, task, budget, seed, right, sorted(changed.items())), status="ok", reason=None, suite=suite,
        task=task, version=1, paradigm="different-domain-same-task", regime="classification",
        sources=(source,) if dash else (), target=target, budget=budget, seed=seed, rule="default", method=method,
        family="feature-based", config={}, default=True, metric="accuracy", value=right / N, n_test=N, episodes=None,
        n_shots=0, correct=packed_bits(np.arange(N) < right), fit_s=1.0, predict_s=0.1, overhead_s=0.1,
        train_samples_per_s=None, step_ms=None, infer_samples_per_s=1.0, peak_rss_mib=400.0, peak_gpu_mib=None,
        device="cpu", threads=1, jobs=1, backbone="none", weights=None, precision=None, data="d", source_data=(),
        split=f"{suite}/{target}/{seed}", method_digest="f", protocol=PROTOCOL, tlbench="0.1.0", torch="2.6.0",
        python="3.11.7", machine="a processor", commit="c" * 40, dirty=False, time="2025-01-01T00:00:00+00:00",
    )  # fmt: skip
    return replace(plain, **changed)


def failed(r: Row) -> Row:
    return replace(r, status="failed", reason="ValueError: no", value=None, correct=None, key=f"failed {r.key}")


def over(method: str, task: str, budget: Budget, right: Sequence[int], **changed: Any) -> list[Row]:
    """A row a seed."""
    return [row(method, task, budget, seed, n, **changed) for seed, n in enumerate(right)]


def references(
    task: str, budgets: Sequence[int] = (5,), target: int = 60, source: int = 50, seeds: int = 5
) -> list[Row]:
    """Target-only at the budgets and source-only at 0, the same for every seed."""
    suite, _, pair = task.partition("/")
    alone = f"{suite}/{pair.rpartition('-')[2]}"
    reference = {"family": "reference"}
    rows = [r for k in budgets if k for r in over("target_only", alone, k, [target] * seeds, **reference)]
    return rows + over("source_only", task, 0, [source] * seeds, **reference)


def store(folder: Path, rows: Iterable[Row]) -> Path:
    """A store of these rows."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "rows.jsonl").write_text("".join(json.dumps(r.values()) + "\n" for r in rows))
    return folder


def tlbench(*words: object, cwd: Path | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tlbench.cli", *map(str, words)],
        capture_output=True, text=True, cwd=cwd, env={**os.environ, **env}, timeout=240, check=False,
    )  # fmt: skip


def refused(*words: object, cwd: Path | None = None) -> str:
    """What is said of a user's mistake: one line, and exit code 2. In this process: mistakes are many, and short."""
    out, err, before = io.StringIO(), io.StringIO(), sys.argv
    sys.argv = ["tlbench", *map(str, words)]
    try:
        with chdir(cwd or Path.cwd()), redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as ended:
            main()
    finally:
        sys.argv = before
    assert (ended.value.code, out.getvalue()) == (2, ""), out.getvalue() + err.getvalue()
    (line,) = err.getvalue().strip().splitlines()
    return line
