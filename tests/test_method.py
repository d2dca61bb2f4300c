"""What a method's digest takes in: its own code and the numerics under it, and nothing else."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tlbench import digest, loading
from tlbench.digest import NUMERICS, code_digest
from tlbench.method import shipped
from tlbench.mistake import Mistake


def under(name: str) -> set[str]:
    """The numerics that the import of a shipped method's module loads."""
    before = {m: sys.modules.pop(m) for m in list(sys.modules) if m.split(".")[0] in ("tlbench", "tlbench_baselines")}
    try:
        __import__(f"tlbench_baselines.{name}")
        return {m.split(".")[1] for m in sys.modules if m.startswith("tlbench.")} & set(NUMERICS)
    finally:
        for m in [m for m in sys.modules if m.split(".")[0] in ("tlbench", "tlbench_baselines")]:
            del sys.modules[m]
        sys.modules.update(before)


@pytest.mark.parametrize("name", ["dann", "coral", "maml", "jda", "shot", "prototype", "bbse", "l2_sp", "wann"])
def test_what_a_method_imports_near_or_far_is_in_its_digest(name: str) -> None:
    assert under(name) <= {p.stem for p in digest._numerics_under([shipped()[name]])}


def test_a_change_of_what_a_method_does_not_rest_on_leaves_its_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    code = digest._code
    before = {n: code_digest(shipped()[n]) for n in ("nearest_neighbor", "dan", "maml")}

    def changed(file: Path) -> str:
        return code(file) + ("\nx = 1" if file.stem == "losses" else "")

    monkeypatch.setattr(digest, "_code", changed)
    after = {n: code_digest(shipped()[n]) for n in before}
    assert {n for n in before if after[n] != before[n]} == {"dan"}


def test_a_method_that_extends_a_shipped_one_has_the_parents_code_in_its_digest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "mine.py"
    file.write_text("from tlbench_baselines.dann import DANN\n\nclass Mine(DANN):\n    pass\n")
    code, before = digest._code, code_digest(file, "Mine")
    for part in ("dann", "descent"):
        monkeypatch.setattr(digest, "_code", lambda f, part=part: code(f) + ("\nx = 1" if f.stem == part else ""))
        assert code_digest(file, "Mine") != before, part


def test_none_can_be_set_where_a_field_admits_it() -> None:
    gfk, dann = loading.load("gfk"), loading.load("dann")
    assert loading.configured(gfk, {"dims": "None"}).dims is None
    assert loading.configured(gfk, {"dims": "5"}).dims == 5
    with pytest.raises(Mistake, match="weight takes float, not 'None'"):
        loading.configured(dann, {"weight": "None"})
