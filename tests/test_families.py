"""The methods that ship keep the order that theory demands; one that repeats a reference's answers does not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tlbench import card, method, report, selftest
from tlbench.calibration import forms
from tlbench.calibration.cells import Cell
from tlbench.calibration.demands import Demands, of_methods
from tlbench.calibration.rotation import CAL1, CAL8, N_SOURCE, D, M

REFERENCES = (report.SOURCE_ONLY, report.TARGET_ONLY)
DEAF = """
from dataclasses import dataclass
from typing import ClassVar
from tlbench.descent import ERM

@dataclass(frozen=True)
class Deaf(ERM):
    "Trains on the sources, and adapts to nothing."
    needs: ClassVar[frozenset[str]] = frozenset({"sources"})
    takes: ClassVar[str] = "s"
"""


def demanded(suite: str, better: str) -> Demands:
    """What is demanded of one winner in a suite, on two seeds."""
    every = of_methods()
    kept = tuple(c for c in every.comparisons if c.better.suite == suite and c.better.learner == better)
    assert kept
    return replace(every, comparisons=kept, seeds=2)


def test_a_shipped_winner_wins_and_an_impostor_does_not(tmp_path: Path) -> None:
    file = tmp_path / "deaf.py"
    file.write_text(DEAF)
    wins = demanded("cal2", "bbse")
    fails = [replace(c, better=replace(c.better, learner=f"{file}:Deaf")) for c in wins.comparisons]
    both = replace(wins, comparisons=(*wins.comparisons, *fails))
    found = list(selftest.Selftest(("cal2",), 1, demands=both).run())
    orders = [f for f in found if not f.what.startswith("ceiling")]
    assert [f.holds for f in orders] == [True] * len(wins.comparisons) + [False] * len(fails)
    assert all(f.holds for f in found if f.what.startswith("ceiling"))


def test_every_demand_is_of_a_method_that_ships_on_a_task_that_is_there() -> None:
    every = of_methods()
    for suite in every.suites:
        for cell in every.cells(suite):
            assert cell.learner in method.shipped()
            assert cell.k in card.named(cell.task).card.budgets


def test_an_order_is_demanded_only_outside_two_points() -> None:
    """Of CAL-1 and CAL-8, where the share of the sources in what is pooled says what the theory's learner reaches."""
    shares = {"source_plus_target": 0.5, "pooled_sources": None, "finetune": 0.5, "l2_sp": 0.5, "source_only": 1.0}
    told = [c for c in of_methods().comparisons if c.better.suite in ("cal1", "cal8") and c.margin > 0]
    assert told
    for c in told:
        one, other = (known(cell, shares) for cell in (c.better, c.worse))
        assert one - other > 0.02, f"{c.where}: {c.better} {one:.3f}, {c.worse} {other:.3f}"


def known(cell: Cell, shares: dict[str, float | None]) -> float:
    n = 2 * cell.k
    if cell.learner == "target_only":
        return forms.target_only(n, M, D)
    name, share = cell.sources[0], shares[cell.learner]
    turn, flips = CAL1.get(name, 0), CAL8.get(name, 0.0)
    return forms.fused(n, ((turn, N_SOURCE),), M, D, share, 1 - 2 * flips)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_every_shipped_method_wins_where_theory_says_and_by_its_own_answers() -> None:
    run = selftest.Selftest(of_methods().suites, selftest.jobs_here(), demands=of_methods())
    assert [f for f in run.run() if not f.holds] == []
    assert [name for name in winners() if not told_from_references(run, name)] == []


def winners() -> list[str]:
    return sorted({c.better.learner for c in of_methods().comparisons} - set(REFERENCES))


def told_from_references(run: selftest.Selftest, name: str) -> bool:
    """Whether a demand fails if the method gives a reference's answers, for each reference that was run beside it."""
    own, values = [c for c in run.values if c.learner == name], dict(run.values)
    tried = []
    for reference in REFERENCES:
        beside = {c: alike for c in own if (alike := replace(c, learner=reference, settings=())) in values}
        if beside:
            run.values = {**values, **{c: values[alike] for c, alike in beside.items()}}
            tried.append(any(not f.holds for f in orders(run, {c.suite for c in beside})))
    run.values = values
    return bool(tried) and all(tried)


def orders(run: selftest.Selftest, suites: set[str]) -> Iterator[selftest.Finding]:
    return (f for suite in suites for f in run.findings(suite) if not f.what.startswith("ceiling"))
