"""Every method on every embedded task that it fits: it ends, it beats chance, and it repeats itself.

Through the whole harness, with the cards' recipes cut short. What a method refuses must have a reason.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

from tlbench.methods import loader
from tlbench.methods import method as methods
from tlbench.results.row import Row
from tlbench.results.store import Store
from tlbench.runner import descriptions
from tlbench.runner import plan as plans
from tlbench.runner.cell import Conditions
from tlbench.runner.cell_job import Bench
from tlbench.runner.sweep import Sweep
from tlbench.runner.worker.local import Workers
from tlbench.tasks import card, registry

TASKS = {  # one of each embedded suite, what guessing gets, and the steps
    "digits/photos-handwritten": (0.1, "100"),
    "digits_multi/photos": (0.1, "300"),
    "digits_parity/handwritten": (0.5, "100"),
    "letters_to_digits": (0.1, "100"),
    "wdbc_shift": (0.5, "100"),
    "fonts_fewshot": (0.2, "20"),
}
BUDGET = 5
EXCUSED = {  # (task, method); the last ones by what their docstrings say of features without a norm of their own
    *((task, "chance") for task in TASKS), ("digits_multi/photos", "afn"), ("letters_to_digits", "afn"),
    ("digits_multi/photos", "m3sda"),
}  # fmt: skip
Rows = dict[str, Row]


def runnable() -> list[str]:
    """Every shipped method whose extra is installed."""
    return [n for n in methods.shipped() if all(find_spec(m) for m in getattr(loader.load(n), "requires", ()))]


def run(task: str, results: Path) -> Rows:
    """The row of each method; of episodes, which some methods learn from anew, forty."""
    store, c = Store(results), registry.find(task)[0].card
    few = c.episodes.model_copy(update={"count": 40})
    cut = c.model_copy(update={"episodes": few}) if c.regime == "episodes" else c
    asked = next(t for t in card.tasks_of(cut) if t.name == registry.find(task)[0].name)
    with Workers(modules=[f"tlbench_baselines.{n}" for n in runnable()]) as workers:
        bench, cells = Bench(Conditions()), []
        for name in runnable():
            fields = {f.name for f in descriptions.described(name, {}, workers).fields}
            settings = {"steps": TASKS[task][1]} if "steps" in fields else {}
            cells.append(plans.cell(asked, descriptions.described(name, settings, workers), BUDGET, 0))
        Sweep(cells, bench, store, workers, jobs=2).run()
    return {r.method: r for r in store.rows.values()}


@pytest.fixture(scope="module")
def rows_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Rows]:
    """A task's rows, run once."""
    made: dict[str, Rows] = {}

    def found(task: str) -> Rows:
        if task not in made:
            made[task] = run(task, tmp_path_factory.mktemp("rows"))
        return made[task]

    return found


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("task", TASKS)
def test_every_method_fits_or_says_why_not_and_beats_chance(task: str, rows_of: Callable[[str], Rows]) -> None:
    rows, (chance, _) = rows_of(task), TASKS[task]
    assert set(rows) == set(runnable())
    assert {n: r.reason for n, r in rows.items() if r.status == "failed"} == {}
    assert {n for n, r in rows.items() if r.status == "refused" and not r.reason} == set()
    told = {n: r for n, r in rows.items() if r.ok and (task, n) not in EXCUSED}
    least = {n: chance + 3 * (chance * (1 - chance) / r.n_test) ** 0.5 for n, r in told.items()}
    assert {n: r.value for n, r in told.items() if (r.value or 0) <= least[n]} == {}


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_method_repeats_itself_to_the_bit_in_another_process(
    rows_of: Callable[[str], Rows], tmp_path: Path
) -> None:
    task = "digits/photos-handwritten"
    once, again = rows_of(task), run(task, tmp_path)
    assert {n: r.correct for n, r in once.items()} == {n: r.correct for n, r in again.items()}
