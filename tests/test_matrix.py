"""Every method on every embedded task that it fits: it ends, it repeats itself, and it beats chance.

Through the whole harness, with the cards' own recipes; episodes with fewer steps. What a method refuses must have a
reason.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tlbench import method as methods
from tlbench.api import Options, execute
from tlbench.plan import Request
from tlbench.row import Row

TASKS = {  # one of each embedded suite, and what guessing gets
    "digits/photos-handwritten": 0.1,
    "digits_multi/photos": 0.1,
    "digits_parity/handwritten": 0.5,
    "letters_to_digits": 0.1,
    "wdbc_shift": 0.5,
    "fonts_fewshot": 0.2,
}
BUDGET = 5
QUICK = {"fonts_fewshot": {"steps": "20"}}  # 600 episodes, each learnt from anew
EXCUSED = {"chance": "it guesses"}


def run(task: str, results: Path) -> dict[str, Row]:
    """The row of each method, references included."""
    request = Request((task,), tuple(runnable()), (BUDGET,), (0,), QUICK.get(task, {}))
    outcome = execute(request, Options(results=results, jobs=2))
    return {r.method: r for r in outcome.rows}


def runnable() -> list[str]:
    """Every shipped method whose extra is installed."""
    return [n for n in methods.shipped() if not getattr(methods.load(n), "requires", ())]


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("task", TASKS)
def test_every_method_fits_or_says_why_not_and_beats_chance(task: str, tmp_path: Path) -> None:
    rows = run(task, tmp_path)
    assert set(rows) == set(runnable())
    assert {n: r.reason for n, r in rows.items() if r.status == "failed"} == {}
    assert {n for n, r in rows.items() if r.status == "refused" and not r.reason} == set()
    chance = TASKS[task]
    told = {n: r for n, r in rows.items() if r.ok and n not in EXCUSED}
    least = {n: chance + 3 * (chance * (1 - chance) / r.n_test) ** 0.5 for n, r in told.items()}
    assert {n: r.value for n, r in told.items() if (r.value or 0) <= least[n]} == {}


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("task", ["digits/photos-handwritten", "wdbc_shift"])
def test_every_method_repeats_itself_to_the_bit_in_another_process(task: str, tmp_path: Path) -> None:
    once, again = run(task, tmp_path / "a"), run(task, tmp_path / "b")
    assert {n: r.correct for n, r in once.items()} == {n: r.correct for n, r in again.items()}
