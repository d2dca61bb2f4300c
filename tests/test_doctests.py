"""The example in every baseline's docstring, run as its reader would: on plain arrays, without the harness."""

from __future__ import annotations

import doctest
import importlib.util
import inspect
from typing import Any

import pytest

from tlbench.methods.loader import load
from tlbench.methods.method import shipped

FINDER = doctest.DocTestFinder(recurse=False)


def example(name: str) -> tuple[type[Any], doctest.DocTest]:
    cls = load(name)
    (found,) = FINDER.find(cls, name, globs=dict(vars(inspect.getmodule(cls))))
    return cls, found


@pytest.mark.parametrize("name", shipped())
def test_the_example_of_every_method_does_what_it_says(name: str) -> None:
    cls, found = example(name)
    for module in getattr(cls, "requires", ()):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed")
    said: list[str] = []
    failed, _ = doctest.DocTestRunner().run(found, out=said.append)
    assert not failed, "".join(said)


@pytest.mark.parametrize("name", shipped())
def test_every_method_has_an_example_that_fits_it_to_plain_arrays(name: str) -> None:
    cls, found = example(name)
    code = "".join(line.source for line in found.examples)
    assert f"{cls.__name__}(" in code
    assert "Train.of" in code
    assert ".fit(" in code
