"""How far a method is from an independent computation of the same thing: asserted, recorded, and written as a table.

`pytest --oracle-table=FILE` runs the tests that ask for `agrees` and no others, and writes what they measured to FILE.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tlbench.methods import loader
from tlbench.methods import method as methods

HEAD = """# Oracles

`uv run --isolated --extra meta pytest --oracle-table=docs/oracles.md` writes this page. A test compares each method's
central formula with an oracle, on random inputs. The oracle is another implementation, or the paper's equation
written out. For methods trained by gradients, the test compares the objective and the gradient of every player.
*Agreement* is the largest absolute difference over all cases of the test, on the machine that wrote this page. The
test fails if it exceeds the tolerance. The outputs of skada, cvxopt, QuaPy, pytorch-adapt and learn2learn were
computed once, each in a separate environment, and are stored (`tests/oracles/make_*.py`). `uv run pytest -m slow
tests/test_oracles_live.py` computes them again.
"""
COLUMNS = ("method", "family", "paper", "oracle", "agreement", "tolerance", "test")
FAMILIES = ("reference", "feature-based", "model-based", "distribution-based", "multi-source", "semi-supervised")
ORACLES = Path(__file__).parent / "oracles"

Numbers = Any  # a number, an array, a tensor, or a sequence of them


@dataclass(frozen=True)
class Measured:
    """What one test found of one method."""

    method: str
    oracle: str
    difference: float
    tolerance: float
    test: str


@dataclass(frozen=True)
class Agrees:
    """`agrees("kmm", "cvxopt", ours, theirs, atol=1e-8)`: asserts it, and records by how much.

    Several methods may be named at once, where they share what is compared. The larger difference counts where a test
    compares more than once.
    """

    found: list[Measured]
    test: str

    def __call__(self, method: str | Sequence[str], oracle: str, ours: Numbers, theirs: Numbers, atol: float) -> None:
        difference = largest(ours, theirs)
        for name in [method] if isinstance(method, str) else method:
            assert name in methods.shipped(), f"no method is called {name!r}"
            self.found.append(Measured(name, oracle, difference, atol, self.test))
        assert difference <= atol, f"{method} is {difference:.1e} away from {oracle}, more than {atol:.0e}"


def largest(ours: Numbers, theirs: Numbers) -> float:
    """The largest absolute difference of numbers, arrays or sequences of them, which must have the same shapes."""
    if isinstance(ours, list | tuple):
        pairs = list(zip(ours, theirs, strict=True))
        assert pairs, "there is nothing to compare"
        return max(largest(a, b) for a, b in pairs)
    a, b = (np.asarray(x.detach() if hasattr(x, "detach") else x, float) for x in (ours, theirs))
    assert a.shape == b.shape, f"shapes {a.shape} and {b.shape}"
    assert np.isfinite(a).all()
    assert np.isfinite(b).all()
    return float(np.abs(a - b).max())


def frozen(name: str) -> dict[str, np.ndarray]:
    """A peer's frozen inputs and outputs."""
    with np.load(ORACLES / f"{name}.npz") as file:
        return dict(file)


def peer(name: str, frozen: dict[str, np.ndarray] | None = None) -> str:
    """A peer and its version: the one here, or the one whose answers are frozen."""
    if frozen is None:
        return f"{name} {version(name)}"
    noted = ", ".join(np.atleast_1d(frozen["versions"]))
    return next(text for text in noted.split(", ") if text.lower().startswith(f"{name.lower()} "))


def table(found: Iterable[Measured]) -> str:
    """The page: a line for every method, oracle and test."""
    worst: dict[tuple[str, str, str], Measured] = {}
    for m in found:
        place = (m.method, m.oracle, m.test)
        if place not in worst or m.difference > worst[place].difference:
            worst[place] = m
    rows = sorted(worst.values(), key=lambda m: (FAMILIES.index(loader.load(m.method).family), m.method))
    lines = (
        " | ".join(text.replace("|", "\\|") for text in cells) for cells in (COLUMNS, ["---"] * 7, *map(_row, rows))
    )
    return f"{HEAD}\n" + "".join(f"| {line} |\n" for line in lines)


def _row(m: Measured) -> tuple[str, ...]:
    cls = loader.load(m.method)
    shown = "exact" if m.difference == 0 else f"{m.difference:.0e}"
    return m.method, cls.family, cls.paper, m.oracle, shown, f"{m.tolerance:.0e}" if m.tolerance else "exact", m.test


# what pytest asks of a plugin

FOUND = pytest.StashKey[list[Measured]]()


@pytest.fixture
def agrees(request: pytest.FixtureRequest) -> Agrees:
    """The comparison that a test records."""
    name = f"{request.path.name}::{request.node.originalname}"  # type: ignore[attr-defined]
    return Agrees(request.config.stash[FOUND], name)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--oracle-table", metavar="FILE", help="run the oracle tests alone and write their table to FILE")


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """One process writes the table: it must have run every test itself."""
    if config.getoption("--oracle-table"):
        config.option.numprocesses = 0


def pytest_configure(config: pytest.Config) -> None:
    config.stash[FOUND] = []


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--oracle-table"):
        others = [item for item in items if "agrees" not in getattr(item, "fixturenames", ())]
        items[:] = [item for item in items if item not in others]
        config.hook.pytest_deselected(items=others)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    file = session.config.getoption("--oracle-table")
    if file and exitstatus == 0:
        Path(file).write_text(table(session.config.stash[FOUND]), encoding="utf-8")
