"""Problem types: what each object says, against the data that it reads and the page that tells of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tlbench.data import Domain
from tlbench.errors import UsageError
from tlbench.methods import references
from tlbench.methods.method import shipped
from tlbench.results.editions import Protocol
from tlbench.results.stats import MARGIN
from tlbench.tasks import problems, registry
from tlbench.tasks.problems import PROBLEMS

PAGE = Path(__file__).parent.parent / "docs" / "read_the_board.md"


def row(name: str) -> str:
    p = PROBLEMS[name]
    zero = references.of(0) if p.without_labels else "–"
    others = ", ".join(m.name for m in p.metrics[1:]) or "–"
    cells = (name, p.label, p.metrics[0].name, others, p.budget, p.margin_in_words, zero, references.of(1))
    return f"| {' | '.join(cells)} |"


def test_the_page_tells_of_every_type_what_its_object_says() -> None:
    lines = PAGE.read_text().partition("\n## Problem types")[2].partition("\n## ")[0].splitlines()
    told = [line for line in lines if line.startswith("|")][2:]
    assert told == [row(name) for name in PROBLEMS]


@pytest.mark.parametrize("p", PROBLEMS.values(), ids=lambda p: p.name)
def test_a_type_has_the_boards_margin_and_is_asked_without_labels_where_a_reference_can_be(p: problems.Problem) -> None:
    assert p.margin == MARGIN == Protocol().margins[1]
    needed = "source_only" in {m for m in shipped() if p.name in regimes_of(m)}
    assert p.without_labels == needed


def regimes_of(method: str) -> frozenset[str]:
    import importlib

    module = importlib.import_module(f"tlbench_baselines.{method}")
    found = [c for c in vars(module).values() if isinstance(c, type) and c.__module__ == module.__name__]
    return frozenset().union(*(getattr(c, "regimes", ()) for c in found))


def test_there_is_no_other_type() -> None:
    with pytest.raises(UsageError, match="problem type 'regresion': unknown; did you mean 'regression'"):
        problems.of("regresion")


def test_a_card_of_no_type_is_told_which_there_are(tmp_path: Path) -> None:
    text = registry.card_files()["wdbc_shift"].read_text().replace('"wdbc_shift"', '"mine"', 1)
    file = tmp_path / "mine.toml"
    file.write_text(text.replace("version =", 'regime = "detecton"\nversion =', 1))
    with pytest.raises(
        UsageError, match=r"regime 'detecton' is none of classification, .*; did you mean 'detection'\?"
    ):
        registry.read(file)


def domain(y: np.ndarray, classes: tuple[str, ...] = (), boxes: tuple[np.ndarray, ...] = ()) -> Domain:
    ids = tuple(map(str, range(len(y))))
    return Domain("d", ids, y, classes, ids, x=np.zeros((len(y), 1), np.float32), boxes=boxes)


def test_the_type_of_a_domain_is_that_of_its_labels() -> None:
    some = (np.zeros((1, 5), np.float32),) * 2
    assert problems.of_domain(domain(np.array([0, 1]), ("a", "b"))).name == "classification"
    assert problems.of_domain(domain(np.array([0.5, 1], np.float32))).name == "regression"
    assert problems.of_domain(domain(np.array([0, 0]), ("a", "b"), some)).name == "detection"
