"""`tlbench new method`: what it writes is a package that builds, is listed, keeps the contract and is well-formed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tlbench.cli.commands import templates
from tlbench.errors import UsageError

ROOT = Path(__file__).parent.parent


def ran(*words: str, cwd: Path, **env: str) -> str:
    """What a command prints, which must succeed."""
    done = subprocess.run(
        [sys.executable, "-m", *words], capture_output=True, text=True, cwd=cwd, env={**os.environ, **env}, timeout=240
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new method's folder, its metadata as an editable installation has them."""
    around = tmp_path_factory.mktemp("new")
    folder = templates.write_method(str(around / "soft_means"))
    ran("setuptools_egg_info", cwd=folder, PYTHONPATH=str(_builder(around)))
    return folder


def _builder(folder: Path) -> Path:
    code = "import setuptools, sys\nsys.argv = ['setup.py', '-q', 'egg_info']\nsetuptools.setup()\n"
    (folder / "setuptools_egg_info.py").write_text(code)
    return folder


@pytest.mark.slow
def test_a_new_method_is_installable_and_its_own_tests_hold_it_to_the_contract(project: Path) -> None:
    entries = (project / "src" / "tlbench_soft_means.egg-info" / "entry_points.txt").read_text()
    assert "[tlbench.methods]\nsoft_means = soft_means:SoftMeans" in entries
    said = ran("pytest", "-q", "-p", "no:cacheprovider", cwd=project, PYTHONPATH=str(project / "src"))
    assert "16 passed" in said


def test_a_new_method_says_what_it_is(project: Path) -> None:
    words = ("tlbench.cli", "show", "tlbench-soft-means/soft_means")
    assert "Classify by the nearest class mean" in ran(*words, cwd=project, PYTHONPATH=str(project / "src"))
    for command in ("pip install -e .", "tlbench check tlbench-soft-means/soft_means", "tlbench run --task digits"):
        assert command in (project / "README.md").read_text()


def test_a_new_method_is_short_well_formed_and_well_typed(project: Path) -> None:
    config = str(ROOT / "pyproject.toml")
    source = project / "src" / "soft_means.py"
    assert len(source.read_text().splitlines()) < 60
    words = ("ruff", "check", "--config", config, "--config", "lint.isort.known-first-party=['soft_means']", ".")
    ran(*words, cwd=project)
    ran("ruff", "format", "--check", "--config", config, ".", cwd=project)
    ran("mypy", "--strict", str(source), cwd=ROOT)


MISTAKES = {
    "Upper": "'Upper' is no name for a module; use a-z, 0-9 and '_'",
    "a-b": "'a-b' is no name for a module",
    "class": "'class' is no name for a module",
    "dann": "a method that ships is called 'dann'",
    "torch": "there is a module 'torch' already",
    "statistics": "there is a module 'statistics' already",
    "nowhere/mine": "there is no folder nowhere; make it first",
    "taken": "taken is there already and stays as it is",
    "file": "file is there already and stays as it is",
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_bad_name_is_a_mistake_and_writes_nothing(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").mkdir()
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UsageError) as caught:
        templates.write_method(name)
    assert MISTAKES[name] in str(caught.value)
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["file", "taken"]
    assert (tmp_path / "file").read_text() == "mine"


def test_the_pytest_plugin_loads_nothing_slow() -> None:
    code = "import sys, tlbench.verification.pytest_plugin\n"
    code += "assert not {'torch', 'numpy', 'pandas', 'pydantic'} & {*sys.modules}"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_pytest_plugin_says_what_is_broken_and_how_to_see_it(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from dataclasses import dataclass\n\n@dataclass(frozen=True)\nclass Mine:\n"
        "    needs = frozenset({'shots'})\n    def fit(self, train, seed):\n        return lambda x: x\n"
    )
    (tmp_path / "test_mine.py").write_text(
        "import pytest\n\n@pytest.mark.parametrize('check', ['shape', 'zero_labels', 'fields'])\n"
        "def test_mine(check, tlbench_contract):\n    tlbench_contract('./mine.py:Mine', check)\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=240, check=False)
    assert "1 failed, 1 passed, 1 skipped" in done.stdout
    assert "./mine.py:Mine gives every input one finite score a class: classification of numbers: scores" in done.stdout
    assert "again: tlbench check ./mine.py:Mine --only shape" in done.stdout
    assert "it needs labelled target samples, and says so" in done.stdout
