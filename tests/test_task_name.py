"""A task's name is taken apart in one place, and put together as it was."""

from __future__ import annotations

import ast
from itertools import chain
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlbench.methods import loader
from tlbench.results import frame
from tlbench.runner import plan
from tlbench.tasks import registry
from tlbench.tasks.card import tasks_of
from tlbench.tasks.task_name import TaskName, split_sources, suite_of

ROOT = Path(__file__).parent.parent
suites = st.from_regex(r"[a-z0-9_]+", fullmatch=True)
domains = st.from_regex(r"\w+", fullmatch=True)
budgets = st.none() | st.just("full") | st.integers(0, 10**6)
names = st.builds(TaskName, suites, st.lists(domains, max_size=4).map(tuple), domains, budgets)


@given(names)
def test_a_name_that_is_written_is_read_as_it_was(name: TaskName) -> None:
    assert TaskName.parse(str(name)) == name


@given(st.text(alphabet="ab/-+@05ful", max_size=20) | st.text(max_size=20))
def test_any_text_is_read_and_written_as_it_was(text: str) -> None:
    suite, _, pair = text.partition("/")
    assert str(TaskName.parse(text)) == (text if pair else suite)
    assert suite_of(text) == suite


@given(names)
def test_without_sources_only_they_are_gone(name: TaskName) -> None:
    alone = name.without_sources()
    assert (alone.suite, alone.sources, alone.target, alone.budget) == (name.suite, (), name.target, name.budget)
    assert alone.without_sources() == alone
    assert frame.by_itself(str(name)) == str(alone)


@given(st.lists(domains, min_size=1))
def test_sources_are_split_as_they_are_joined(sources: list[str]) -> None:
    assert split_sources("+".join(sources)) == tuple(sources)


@pytest.mark.parametrize("file", registry.card_files().values(), ids=lambda f: f.stem)
def test_every_task_that_ships_is_named_by_its_parts(file: Path) -> None:
    for task in tasks_of(registry.read(file)):
        name = TaskName.parse(task.name)
        assert (name.suite, name.sources, name.target) == (task.card.name, task.sources, task.target)
        assert str(name.without_sources()) == task.without_sources().name
        assert registry.named(task.name) == task
        assert registry.find(task.name) == [task]


def test_a_cell_knows_what_it_was_asked_for_and_is_equal_without_it() -> None:
    task, method = registry.find("digits/handwritten-fonts")[0], loader.describe("source_only", {})
    at = [plan.cell(task, method, k, 0) for k in (0, 5)]
    assert [c.budget for c in at] == [0, 0], "source-only sees no label"
    assert [c.asked for c in at] == [(task, 0), (task, 5)]
    assert at[0] == at[1]
    assert len(dict.fromkeys(at)) == 1


def test_a_row_is_looked_for_where_plans_put_it() -> None:
    task = registry.find("digits/handwritten-fonts")[0]
    for name in ("source_only", "target_only", "target_full", "dann", "prototype"):
        for k in (0, 1, 5):
            cell = plan.cell(task, loader.describe(name, {}), k, 0)
            assert (cell.task.name, cell.budget) in frame.places(name, task.name, k)


def test_no_module_takes_a_name_apart_by_itself() -> None:
    """`t.partition("/")[0]` on a task is `suite_of(t)`: only paths and other things with a '/' are split elsewhere."""
    others = {"pull_request", "submit", "templates", "dataset", "download", "omniglot", "task_name", "method"}
    for file in chain(*(sorted((ROOT / place).rglob("*.py")) for place in ("tlbench", "baselines"))):
        for call in ast.walk(ast.parse(file.read_text())):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.args:
                taken = call.func.attr in ("partition", "rpartition", "split", "rsplit")
                if taken and isinstance(call.args[0], ast.Constant) and call.args[0].value == "/":
                    assert file.stem in others, f"{file}:{call.lineno}"
