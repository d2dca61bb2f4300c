"""The layout of the package, as far as a machine can check it."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# From the ground up: a module imports from its own layer and from those that stand before it.
LAYERS = ["", "tasks", "training", "methods", "results", "runner", "board", "verification", "cli"]
# The facade's public names and constructors reach up, when they are called.
FACADE = {
    ("data", "tlbench.training.arrays"),
    ("sklearn", "tlbench.training.predictors"),
    ("sklearn", "tlbench.methods.loader"),
}

# What a baseline may build on, beside the public names.
NUMERICS = {"data", "training"}


def modules() -> list[Path]:
    return sorted((ROOT / "tlbench").rglob("*.py"))


def module_of(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


NAMES = {module_of(file) for file in modules()}


def imported(file: Path) -> Iterator[str]:
    """tlbench's own modules that a file imports, at its top or further in; type-checking blocks left out."""
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
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "tlbench":
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full in NAMES else str(node.module)
        elif isinstance(node, ast.Import):
            yield from (a.name for a in node.names if a.name.split(".")[0] == "tlbench")


def layer_of(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in LAYERS else ""


@pytest.mark.parametrize("file", modules(), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_down(file: Path) -> None:
    own = layer_of(module_of(file))
    for name in imported(file):
        if (file.stem, name) not in FACADE:
            assert LAYERS.index(layer_of(name)) <= LAYERS.index(own), f"{own} imports {name}, which stands above it"


def test_imports_of_modules_have_no_cycle() -> None:
    """Neither within a layer: what a module imports can be read without it."""
    graph = {module_of(f): {n for n in imported(f) if (f.stem, n) not in FACADE} - {module_of(f)} for f in modules()}
    packages = {module_of(f) for f in modules() if f.name == "__init__.py"}
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join((*path[path.index(name) :], name))
        if name not in done:
            for other in graph[name]:
                if not (other in packages and name.startswith(f"{other}.")):  # a package's own text of one line
                    visit(other, (*path, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def test_only_the_list_of_places_imports_a_place_where_cells_run() -> None:
    """Everything else takes an `Executor`, so that a new place is one file and one line."""
    places = {"tlbench.runner.worker.local", "tlbench.runner.worker.fresh"}
    assert {module_of(f) for f in modules() if places & set(imported(f))} == {"tlbench.runner.places"}


def test_every_module_stands_in_a_layer_at_most_one_package_deep() -> None:
    for file in modules():
        parts = file.relative_to(ROOT / "tlbench").parts
        assert len(parts) <= 3, file
        assert len(parts) == 1 or parts[0] in LAYERS, file


def test_every_package_is_installed() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    for file in modules():
        if file.name == "__init__.py":
            assert f'"{module_of(file)}"' in text


@pytest.mark.parametrize("file", sorted((ROOT / "baselines").glob("[!_]*.py")), ids=lambda p: p.stem)
def test_a_baseline_imports_only_public_names_and_what_methods_share(file: Path) -> None:
    for name in imported(file):
        assert name == "tlbench" or name.split(".")[1] in NUMERICS, name
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
        "import sys; from tlbench.board import markdown; from tlbench.cli.commands import catalog, doctor, run\n"
        "bad = [m for m in sys.modules if m.split('.')[0] in ('torch', 'timm', 'tlbench_baselines')]\n"
        "assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_the_board_imports_neither_the_worker_nor_the_sandbox() -> None:
    script = (
        "import sys; from tlbench.board import markdown\n"
        "bad = [m for m in sys.modules if m.startswith(('tlbench.runner.worker', 'tlbench.runner.sandbox'))]\n"
        "assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
