"""How a process that runs jobs is started here: its environment, and at level 2 its namespaces."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from tlbench import cache
from tlbench.runner.sandbox import bubblewrap
from tlbench.runner.sandbox.sandbox import clean_environment
from tlbench.tasks.datasets.pretrained import weight_roots


def launch(
    module: str, words: Sequence[str], threads: int, level: int, scratch: Path, more_hidden: Sequence[Path] = ()
) -> tuple[list[str], dict[str, str]]:
    """The command line and the environment of `python -m module words`.

    Args:
        threads: of the linear algebra under numpy, scipy and scikit-learn
        scratch: at level 2, the one place that the process may write to
        more_hidden: folders that are not there at level 2, beside those that are known

    Raises:
        UsageError: level 2 cannot be had here.
    """
    # Read once, when these libraries are loaded: limiting a loaded one takes longer than a short cell.
    blas = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
    environment = {**clean_environment(dict(os.environ)), **blas}
    command = [sys.executable, "-m", module, *words]
    if level == 2:
        bubblewrap.check()
        environment["TMPDIR"] = str(scratch)
        command = bubblewrap.command(command, [*hidden(), *more_hidden], shown(), scratch)
    return command, environment


def hidden() -> list[Path]:
    """Where data and what is made of them may lie; shown again of that: weights, and the inputs of jobs."""
    roots = [Path(p) for p in os.environ.get("TLBENCH_DATA", "").split(os.pathsep) if p]
    return [*roots, weight_roots()[-1].parent, cache.folder()]


def shown() -> list[Path]:
    """What of the hidden folders a job may be given."""
    return [cache.folder("packs"), *weight_roots()]
