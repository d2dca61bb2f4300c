"""The name of a task: 'digits/photos+fonts-handwritten', of a suite, its sources and its target."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

AT = re.compile(r"(.*)@(0|[1-9][0-9]*|full)", re.DOTALL)


@dataclass(frozen=True)
class TaskName:
    """A task's name taken apart. Any text can be parsed, and `str` gives it back, less a '/' with nothing after it;
    `registry` says whether there is such a task.

    A suite alone has no target; a task without its sources is named by its target, 'digits/handwritten'. A label budget
    may follow: 'digits/photos-handwritten@5'.
    """

    suite: str
    sources: tuple[str, ...] = ()
    target: str = ""
    budget: int | Literal["full"] | None = None

    @classmethod
    @cache
    def parse(cls, text: str) -> TaskName:
        """Take a name apart: at the first '/', the last '-' after it, and each '+' before that."""
        suite, _, pair = text.partition("/")
        budget: int | Literal["full"] | None = None
        if found := AT.fullmatch(pair):
            pair, budget = found[1], "full" if found[2] == "full" else int(found[2])
        sources, dash, target = pair.rpartition("-")
        return cls(suite, split_sources(sources) if dash else (), target, budget)

    @property
    def pair(self) -> str:
        """What follows the suite: 'photos+fonts-handwritten'."""
        return "-".join(["+".join(self.sources), self.target]) if self.sources else self.target

    def __str__(self) -> str:
        at = "" if self.budget is None else f"@{self.budget}"
        return f"{self.suite}/{self.pair}{at}" if self.pair or at else self.suite

    def without_sources(self) -> TaskName:
        """The name that rows of methods bear which ignore the sources: 'digits/handwritten'."""
        return replace(self, sources=())


def split_sources(text: str) -> tuple[str, ...]:
    """'photos+fonts' -> ('photos', 'fonts')."""
    return tuple(text.split("+"))


def suite_of(task: str) -> str:
    """The suite in a task's name."""
    return TaskName.parse(task).suite
