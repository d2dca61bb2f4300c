"""The house rules that a machine can check."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# From the ground up: a module imports only what stands before it.
FLOORS = """
    __init__ mistake rounding metrics stats ranking trunks nets arrays detect timing energy stopwatch landlock seccomp
    jail watchdog bubblewrap cachedir data duplicates weights kinds own place schema card registry core manifest dataset
    download hub unpack mirrors fetch backbone row split published frozen episodes promises plugins lineage method
    versions digest loading admitted search validators descent embed inner meta convergence losses tuning kernels
    shallow priors transport features textencoding calibration loaders executors honesty machine yardstick inputs
    folds specimens accused proof probes answers jobs worker scoring cell samples bench record predictions trials
    references report archive store editions timings frame grid index wording request requirements descriptions plan
    planfile forecast sweep lodo session bundle submissions verdict standings tables truths bounds choices svg gains
    charts heatmap figures selection board exports markdown freezing changes comparison trace shift similarity
    neighbours recommend selftest contract checkup pytest_plugin api submission plausibility controls inspection
    verification guard reproduction reproduce audit factsheet newcard newmethod catalog doctor arguments progress
    console command questions clock referee cli
""".split()  # noqa: SIM905  # a list of strings is three times as long

# What a baseline may build on, beside the nouns.
NUMERICS = """
    convergence data descent detect embed inner kernels losses meta nets priors shallow transport trunks tuning
""".split()  # noqa: SIM905


def modules() -> list[Path]:
    return sorted(p for p in (ROOT / "tlbench").rglob("*.py"))


def floor_of(name: str) -> int:
    return FLOORS.index(name)


def imported(file: Path) -> Iterator[str]:
    """tlbench's own modules that a file imports, type-checking blocks left out."""
    tree = ast.parse(file.read_text())
    hidden = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in hidden:
            continue
        if isinstance(node, ast.ImportFrom) and node.module == "tlbench":
            for alias in node.names:
                yield alias.name if alias.name in FLOORS else "__init__"
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tlbench."):
            yield (node.module or "").split(".")[1]
        elif isinstance(node, ast.Import):
            yield from (a.name.split(".")[1] for a in node.names if a.name.startswith("tlbench."))


@pytest.mark.parametrize("file", modules(), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_down(file: Path) -> None:
    own = file.relative_to(ROOT / "tlbench").parts[0].removesuffix(".py")
    for name in imported(file):
        assert name == own or floor_of(name) < floor_of(own), f"{own} imports {name}, which stands above it"


@pytest.mark.parametrize("name", ["rounding", "metrics", "stats", "ranking", "trunks", "detect", "timing"])
def test_pure_modules_import_nothing_of_ours(name: str) -> None:
    assert set(imported(ROOT / "tlbench" / f"{name}.py")) <= {"rounding"}


@pytest.mark.parametrize("file", sorted((ROOT / "baselines").glob("[!_]*.py")), ids=lambda p: p.stem)
def test_a_baseline_imports_only_the_nouns_and_the_numerics(file: Path) -> None:
    assert set(imported(file)) <= {"__init__", "convergence", "data", *NUMERICS}
    assert "tlbench_baselines" not in file.read_text(), "baselines do not import each other"


def test_the_harness_names_no_baseline_but_the_references() -> None:
    names = {p.stem for p in (ROOT / "baselines").glob("[!_]*.py")} - {
        "target_only",
        "source_only",
        "source_plus_target",
        "target_full",
        "target_again",
        "source_again",
        "chance",
    }
    for file in modules():
        strings = {n.value for n in ast.walk(ast.parse(file.read_text())) if isinstance(n, ast.Constant)}
        assert not names & strings, f"{file.name} names {names & strings}"


def test_cards_live_beside_no_code() -> None:
    code = [p for p in (ROOT / "tasks").rglob("*.py") if p.read_text().strip()]
    assert code == []


def test_the_scoring_process_never_imports_torch_or_a_method() -> None:
    script = (
        "import sys; from tlbench import command, catalog, doctor, markdown\n"
        "bad = [m for m in sys.modules if m.split('.')[0] in ('torch', 'timm', 'tlbench_baselines')]\n"
        "assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
