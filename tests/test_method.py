"""What tells a method's code: of one that ships its version, of another the digest of its own files."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tlbench.errors import UsageError
from tlbench.files import PACKAGE
from tlbench.methods import digest, loader, versions
from tlbench.methods.digest import code_digest, resting_on
from tlbench.methods.method import shipped


def under(name: str) -> set[Path]:
    """The files of the modules of tlbench that the import of a shipped method's module loads."""
    before = {m: sys.modules.pop(m) for m in list(sys.modules) if m.split(".")[0] in ("tlbench", "tlbench_baselines")}
    try:
        __import__(f"tlbench_baselines.{name}")
        found = {Path(str(held.__file__)) for m, held in sys.modules.items() if m.startswith("tlbench.")}
        return found - {PACKAGE / "_moved.py"}  # which the facade loads: it says nothing of a method
    finally:
        for m in [m for m in sys.modules if m.split(".")[0] in ("tlbench", "tlbench_baselines")]:
            del sys.modules[m]
        sys.modules.update(before)


@pytest.mark.parametrize("name", ["dann", "coral", "maml", "jda", "shot", "prototype", "bbse", "l2_sp", "wann"])
def test_a_kept_description_rests_on_all_that_its_module_imports(name: str) -> None:
    assert under(name) <= resting_on(shipped()[name])


def test_a_method_that_extends_a_shipped_one_has_the_parents_version_in_its_digest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "mine.py"
    file.write_text("from tlbench_baselines.dann import DANN\n\nclass Mine(DANN):\n    pass\n")
    code, before = digest._code, code_digest(file, "Mine")
    monkeypatch.setattr(digest, "_code", lambda f: code(f) + ("\nx = 1" if f.stem in ("dann", "descent") else ""))
    assert code_digest(file, "Mine") == before  # their text is not its own
    monkeypatch.setattr(versions, "of", lambda method: 2)
    assert code_digest(file, "Mine") != before


def test_a_method_is_told_by_its_version_or_by_its_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dann = loader.describe("dann", {})
    assert (dann.ships, dann.code) == (True, f"version {versions.of('dann')}")
    file = tmp_path / "mine.py"
    file.write_text("from tlbench_baselines.dann import DANN\n\nclass Mine(DANN):\n    pass\n")
    mine = loader.describe(f"{file}:Mine", {})
    assert (mine.ships, mine.code) == (False, f"{code_digest(file, 'Mine')}, version {versions.toolkit()}")
    monkeypatch.setattr(versions, "of", lambda method: None)
    assert not loader.describe("dann", {}).ships  # whose answers were never recorded


def test_none_can_be_set_where_a_field_admits_it() -> None:
    gfk, dann = loader.load("gfk"), loader.load("dann")
    assert loader.configured(gfk, {"dims": "None"}).dims is None
    assert loader.configured(gfk, {"dims": "5"}).dims == 5
    with pytest.raises(UsageError, match="weight takes float, not 'None'"):
        loader.configured(dann, {"weight": "None"})
