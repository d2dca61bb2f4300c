"""Methods that other distributions offer: found by their metadata, named after them, the broken beside the rest."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tlbench.cli.commands import catalog
from tlbench.errors import UsageError
from tlbench.methods import digest, method
from tlbench.methods import method as methods
from tlbench.methods.digest import code_digest
from tlbench.runner import descriptions
from tlbench.runner.experiment import Options, run
from tlbench.runner.worker.local import Workers

GOOD = '''
from dataclasses import dataclass
import torch
from .parts.heads import scores

@dataclass(frozen=True)
class Uniform:
    """Know nothing."""
    level: float = 0.0
    def fit(self, train, seed):
        return lambda x: scores(x, train.n_classes, self.level)
'''
HEADS = "import torch\n\ndef scores(x, k, level):\n    return torch.full((len(x), k), level)\n"


def install(folder: Path, distribution: str, entries: dict[str, str], files: dict[str, str]) -> None:
    """What an installer leaves: a distribution's metadata and its files."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    metadata = folder / f"{distribution}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
    lines = "".join(f"{name} = {value}\n" for name, value in entries.items())
    (metadata / "entry_points.txt").write_text(f"[tlbench.methods]\n{lines}")


def good(folder: Path) -> None:
    """A distribution of a package with a subpackage."""
    package = {"ours/__init__.py": "", "ours/uniform.py": GOOD, "ours/parts/heads.py": HEADS}
    package |= {"ours/parts/__init__.py": "", "ours/api.py": "from ours.uniform import Uniform\n"}
    install(folder, "Our_Methods", {"uniform": "ours.api:Uniform", "dann": "ours.api:Uniform"}, package)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder of installed distributions: a good one, and one with every kind of fault."""
    folder = tmp_path_factory.mktemp("site")
    good(folder)
    faults = {
        "raises": "theirs.raises:M", "leaves": "theirs.leaves:M", "thawed": "theirs.thawed:M", "none": "theirs.thawed",
        "function": "theirs.thawed:fit", "missing": "theirs.nowhere:M",
    }  # fmt: skip
    thawed = "import dataclasses\n\n@dataclasses.dataclass\nclass M:\n    def fit(self, t, s): ...\n\ndef fit(): ...\n"
    theirs = {
        "theirs/__init__.py": "", "theirs/raises.py": "import nothing_of_that_name\n",
        "theirs/leaves.py": "raise SystemExit(3)\n", "theirs/thawed.py": thawed,
    }  # fmt: skip
    install(folder, "faulty", faults, theirs)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        patch.setenv("PYTHONPATH", str(folder))
        yield folder


@pytest.fixture(scope="module")
def workers(site: Path) -> Iterator[Workers]:
    with Workers() as running:
        yield running


def test_plugins_are_found_by_metadata_and_imported_by_a_worker_only(site: Path, workers: Workers) -> None:
    assert {"our-methods/uniform", "our-methods/dann", "faulty/raises"} <= {*method.installed()}
    described = descriptions.described("our-methods/uniform", {"level": "2"}, workers)
    assert (described.name, described.summary, described.config) == (
        "our-methods/uniform",
        "Know nothing.",
        {"level": 2.0},
    )
    assert not [m for m in sys.modules if m.split(".")[0] in ("ours", "theirs")]


def test_a_plugin_called_as_a_shipped_method_is_another_one(site: Path, workers: Workers) -> None:
    assert descriptions.described("our-methods/dann", {}, workers).summary == "Know nothing."
    assert descriptions.described("dann", {}, workers).paper.startswith("Ganin")


def test_a_broken_plugin_is_listed_with_its_error_beside_the_others(site: Path, workers: Workers) -> None:
    listed = {e["name"]: e for e in catalog._installed(workers)}
    assert listed["our-methods/uniform"]["summary"] == "Know nothing. [other]"
    said = {name.partition("/")[2]: e["error"] for name, e in listed.items() if name.startswith("faulty/")}
    assert said["raises"] == (
        "importing theirs.raises failed: ModuleNotFoundError: No module named 'nothing_of_that_name'"
    )
    assert "ended with code" in said["leaves"]
    assert said["thawed"] == "M is not frozen; write @dataclass(frozen=True)"
    assert said["none"] == "its entry point 'theirs.thawed' names no class; write 'package.module:Class'"
    assert "is not a dataclass with a method fit(train, seed)" in said["function"]
    assert "No module named 'theirs.nowhere'" in said["missing"]


def test_a_plugins_bare_name_is_suggested_in_full(site: Path) -> None:
    with pytest.raises(UsageError, match="unknown method 'uniform'; did you mean 'our-methods/uniform'"):
        methods.check_name("uniform")


def test_a_plugin_runs_and_its_row_bears_its_full_name(site: Path, tmp_path: Path) -> None:
    frame = run("wdbc_shift", "our-methods/uniform", [0], [0], options=Options(results=tmp_path / "results", jobs=1))
    row = frame[frame.method == "our-methods/uniform"].iloc[0]
    assert row.status == "ok", row.reason
    shown = subprocess.run(
        [sys.executable, "-m", "tlbench.cli", "show", "our-methods/uniform"], capture_output=True, text=True, check=True
    )
    assert "Know nothing." in shown.stdout
    words = ("explain", "our-methods/uniform", row.task, "0", "--results", str(tmp_path / "results"))
    why = subprocess.run([sys.executable, "-m", "tlbench.cli", *words], capture_output=True, text=True, check=True)
    assert "--method our-methods/uniform " in why.stdout


CHANGED = {
    "itself": "ours/uniform.py", "a relative import of a subpackage": "ours/parts/heads.py",
    "what runs on the way": "ours/parts/__init__.py", "the package's own": "ours/__init__.py",
}  # fmt: skip


@pytest.mark.parametrize("what", CHANGED)
def test_a_change_of_an_imported_file_of_the_package_changes_the_digest(what: str, tmp_path: Path) -> None:
    site = tmp_path
    good(site)
    before = code_digest(site / "ours" / "uniform.py", "Uniform")
    with (site / CHANGED[what]).open("a") as file:
        file.write("\nX = 1\n")
    digest._code.cache_clear()
    assert code_digest(site / "ours" / "uniform.py", "Uniform") != before


WAYS = {
    "from . import far": True, "from .far import f": True, "from ours import far": True, "import ours.far": True,
    "from ours.far import f": True, "import far": True, "import faraway": False,
}  # fmt: skip


@pytest.mark.parametrize("line", WAYS)
def test_however_a_file_is_imported_it_is_in_the_digest(line: str, tmp_path: Path) -> None:
    digests = []
    for text in ("f = 1", "f = 2"):
        for name, code in {"__init__.py": "", "far.py": text, "method.py": f"def late():\n    {line}\n"}.items():
            (tmp_path / "ours").mkdir(exist_ok=True)
            (tmp_path / "ours" / name).write_text(code)
        digest._code.cache_clear()
        digests.append(code_digest(tmp_path / "ours" / "method.py", "M"))
    assert (digests[0] != digests[1]) is WAYS[line]
