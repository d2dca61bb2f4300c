"""What tests share: the real data and weights, where a machine has them, and a cache of the session's own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from agreement import (
    agrees,
    pytest_addoption,
    pytest_cmdline_main,
    pytest_collection_modifyitems,
    pytest_configure,
    pytest_sessionfinish,
)
from shelf import serve

from tlbench.tasks.datasets import pretrained

__all__ = [
    "agrees",
    "pytest_addoption",
    "pytest_cmdline_main",
    "pytest_collection_modifyitems",
    "pytest_configure",
    "pytest_sessionfinish",
    "serve",
]

# Before torch is loaded: the networks of tests are small, and their threads wait for each other longer than they work.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Tests leave the user's cache alone, unless one is named, as CI does to share it between runs."""
    os.environ.setdefault("TLBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of TLBENCH_DATA; a test that needs it is skipped without it."""
    named = os.environ.get("TLBENCH_DATA")
    if not named or not (Path(named) / "office_caltech10").is_dir():
        pytest.skip("no real data here: TLBENCH_DATA names no folder with office_caltech10")
    return Path(named)


@pytest.fixture(scope="session")
def real_weights() -> Path:
    """The file of the small ImageNet weights; a test that needs it is skipped without it."""
    file = pretrained.weights_file("mobilenetv2_100_coral")
    if file is None:
        pytest.skip("no mobilenetv2_100_coral.safetensors here: TLBENCH_WEIGHTS names no folder that holds it")
    return file
