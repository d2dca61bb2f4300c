"""Cards of tasks, data sets, backbones, grids and published tables are found and read alike."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path

import pytest

from tlbench.errors import UsageError
from tlbench.tasks import grids, registry
from tlbench.tasks.datasets import dataset, pretrained
from tlbench.tasks.toml_folder import CARDS, TomlFolder
from tlbench.verification import published

ROOT = Path(__file__).parent.parent
READERS: dict[
    str, tuple[TomlFolder, Callable[[str], object], str, str]
] = {  # and a name nearly right, and what is said
    "tasks": (registry.SUITES, registry.find, "digts/a-b", "unknown task 'digts/a-b'; did you mean 'digits'?"),
    "datasets": (dataset.DATASETS, dataset.dataset, "mnits", "unknown dataset 'mnits'; did you mean 'mnist'?"),
    "backbones": (
        pretrained.BACKBONES,
        pretrained.read,
        "convnt",
        "unknown backbone 'convnt'; did you mean 'convnet'?",
    ),
    "grids": (grids.GRIDS, grids.named, "cor", "--grid: unknown grid 'cor'; did you mean 'core'?"),
    "tables": (published.TABLES, published.read, "?", "reproduce ?: no table is called that; there are: "),
}


@pytest.mark.parametrize("kind", READERS)
def test_every_thing_that_ships_is_found_by_its_file_name(kind: str) -> None:
    folder, read, _, _ = READERS[kind]
    there = folder.files()
    assert list(there) == sorted(there) != []
    for name, file in there.items():
        assert file == CARDS / folder.path / f"{name}.toml" == folder.file(name)
        assert read(name)


@pytest.mark.parametrize("kind", READERS)
def test_a_wrong_name_is_a_mistake_that_says_what_is_close(kind: str) -> None:
    _, read, name, said = READERS[kind]
    with pytest.raises(UsageError) as caught:
        read(name)
    assert str(caught.value).startswith(said)


def test_what_cannot_be_read_or_is_not_toml_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "my.toml"
    for folder, read in ((registry.SUITES, registry.find), (dataset.DATASETS, dataset.dataset)):
        file.unlink(missing_ok=True)
        with pytest.raises(UsageError, match=r"my\.toml: cannot be read \(.*\); give a .*'s name or a card's path$"):
            read(str(file))
        file.write_bytes(b"\xff")
        with pytest.raises(UsageError, match=r"my\.toml: cannot be read \(.*utf-8.*\)"):
            folder.read(file)
        file.write_text("name = ")
        with pytest.raises(UsageError, match=r"^[^\n]*my\.toml: not valid TOML: [^\n]*$"):
            folder.read(file)
        file.write_text('name = "x"  # and a comment')
        assert folder.read(file) == ({"name": "x"}, 'name = "x"  # and a comment')


def test_no_other_module_looks_for_the_cards() -> None:
    for file in sorted((ROOT / "tlbench").rglob("*.py")):
        strings = {n.value for n in ast.walk(ast.parse(file.read_text())) if isinstance(n, ast.Constant)}
        assert file.name == "toml_folder.py" or "tlbench_tasks" not in strings, file
