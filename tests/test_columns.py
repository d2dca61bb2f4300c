"""The tables of results/README.md against the columns that there are, and against every published row."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pytest

from tlbench.methods.method import shipped
from tlbench.results.row import COLUMNS, Row
from tlbench.results.store import Store
from tlbench.results.timings import Timing, Timings
from tlbench.tasks.datasets.pretrained import BUILT_IN

RESULTS = Path(__file__).parent.parent / "results"
ROWS, TIMINGS = "# Rows\n", "\n## Timings\n"
NUMBERS = ("float", "int", "Budget")  # types that have a unit
UNITLESS = {
    "version",
    "method_version",
    "seed",
    "episodes",
    "threads",
    "protocol",
    "trial",
    "trials",
    "cores",
    "runs",
}  # but these
OLDER = re.compile(r"in rows of older code \(none since (\d{4}-\d\d-\d\dT\d\d:\d\d)\)")
FIRST = RESULTS / "editions" / "2026.11"
ALWAYS: dict[str, Callable[[Any], bool]] = {  # of a row: null there, and only there
    "unless ok": lambda r: not r.ok,
    "when ok": lambda r: r.ok,
    "except in timings": lambda r: True,
    "unless the regime is `episodes`": lambda r: r.regime != "episodes",
    "where the ranked metric is not a share of right answers": lambda r: r.metric != "accuracy",
    "where nothing was chosen": lambda r: r.rule in ("default", "trial"),
    "where `fit` took less than 10 s": lambda r: r.ok and r.fit_s < 10,
    "for a method that takes no step": lambda r: r.ok and r.train_samples_per_s is None,
    "for a method that takes none in a loop of the harness": lambda r: r.ok and r.step_ms is None,
    "on a CPU": lambda r: r.device == "cpu",
    "of one that ships": lambda r: r.method_version is not None and r.method in shipped(),
    "without a checkout that git reads": lambda r: r.commit is None and r.dirty is None,
}
PERHAPS: dict[str, Callable[[Any], bool]] = {  # null there, or not
    "without pretrained weights": lambda r: r.backbone in BUILT_IN or not r.sources,
    "for data that are arrays as they come": lambda r: r.backbone in BUILT_IN,
    "where `--set` or `--amp` or `--bf16-features` changed that": lambda r: not r.default,
    "for a method that takes no step in `fit`": lambda r: r.ok and (r.step_ms is None or r.regime == "episodes"),
    "where it was not run or took the worker down": lambda r: not r.ok,
    "without such a counter": lambda r: True,
    "without `nvidia-smi`": lambda r: True,
    "where the repeat was interrupted": lambda r: r.noisy,
    "where every solver of an ok row converged": lambda r: r.ok,
}


@dataclass(frozen=True)
class Line:
    """What a table says of a column."""

    unit: str
    by: tuple[str, ...]
    null: tuple[str, ...]  # when


def table(section: str) -> list[tuple[str, Line]]:
    """The columns under a heading, each with its line."""
    text = (RESULTS / "README.md").read_text()
    found = []
    for line in text[text.index(section) + len(section) :].partition("\n## ")[0].splitlines():
        if line.startswith("| `"):
            names, unit, by, meaning = (cell.strip() for cell in line.strip("|").split("|"))
            null = meaning.partition("; null ")[2]
            said = Line(
                unit, tuple(by.replace("`", "").split(", ")), tuple(re.split(", (?:and )?", null)) if null else ()
            )
            found += [(name, said) for name in re.findall(r"`(\w+)`", names)]
    return found


def older(row: Any, when: str) -> bool:
    dated = OLDER.fullmatch(when)
    assert dated, f"nobody knows what {when!r} means"
    return bool(row.time < dated[1])


@pytest.mark.parametrize(
    ("of", "section", "elsewhere", "writers"),
    [
        (Row, ROWS, (), {"plan", "child", "score", "rule"}),
        (Timing, TIMINGS, COLUMNS, {"child", "session"}),
    ],
)
def test_every_column_is_documented_once_with_its_unit_and_who_writes_it(
    of: type[Any], section: str, elsewhere: tuple[str, ...], writers: set[str]
) -> None:
    documented, owed = table(section), {f.name: str(f.type) for f in fields(of) if f.name not in elsewhere}
    assert sorted(name for name, _ in documented) == sorted(owed)
    for name, line in documented:
        assert set(line.by) <= writers, name
        assert line.unit or name in UNITLESS or not owed[name].startswith(NUMBERS), f"{name} has no unit"
        assert bool(line.null) == owed[name].endswith("| None"), name


@pytest.fixture(scope="module")
def published() -> dict[str, list[Any]]:
    rows = [row for folder in (RESULTS, FIRST, RESULTS / "reproduction") for row in Store(folder).rows.every()]
    return {ROWS: [r for r in rows if r.ok or r.trials is None], TIMINGS: Timings(FIRST).found}  # but failed choices


@pytest.mark.parametrize(("section", "name", "line"), [(s, n, li) for s in (ROWS, TIMINGS) for n, li in table(s)])
def test_a_published_column_is_null_when_the_table_says_so(
    published: dict[str, list[Any]], section: str, name: str, line: Line
) -> None:
    always = [ALWAYS[when] for when in line.null if when in ALWAYS]
    rest = [when for when in line.null if when not in ALWAYS]
    for row in published[section]:
        owed = any(null(row) for null in always)
        allowed = owed or any(PERHAPS[w](row) if w in PERHAPS else older(row, w) for w in rest)
        null = getattr(row, name) is None
        assert allowed if null else not owed, (name, row.key, getattr(row, name), line.null)
    assert published[section]
