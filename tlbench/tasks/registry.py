"""The tasks that there are: the cards that ship by their names, a user's own by their files."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from tlbench.errors import UsageError, position, suggest
from tlbench.tasks import own
from tlbench.tasks.card import Card, Task, tasks_of, validated
from tlbench.tasks.task_name import suite_of
from tlbench.tasks.toml_folder import CARDS, TomlFolder

SUITES = TomlFolder("", "unknown task {name!r}", "a task's name or a card's path")


def card_files() -> dict[str, Path]:
    """Name -> file of every card that ships with tlbench."""
    return SUITES.files()


def ships(file: Path) -> bool:
    """Whether a card is one of tlbench's, which say everything themselves."""
    return file.resolve().parent == CARDS.resolve()


@cache
def read(file: Path) -> Card:
    """The card in `file`; of a user's own, with what it does not say filled in (see `own`).

    Raises:
        UsageError: no such file, not TOML, an unknown key, a wrong type, a contradiction, the name of a task that
            ships; with file and line.
    """
    values, text = SUITES.read(file)
    if not ships(file):
        try:
            values = own.completed(values, file, text, Card.model_fields)
        except OSError as error:  # a place with a name that no file can have
            raise UsageError(f"{file}: a place that it names cannot be looked at ({error.strerror})") from None
        if str(values["name"]) in card_files():
            where = position(str(file), text, "name")
            raise UsageError(f'{where}: a task that ships is called {values["name"]!r}; write another name = "…"')
    return validated(Card, values, text, str(file))


def find(name: str) -> list[Task]:
    """The tasks that a name means: `digits` (all), `digits/fonts-photos` (one), `digits/photos` (those with that
    target), or `my/card.toml`.

    Raises:
        UsageError: nothing of that name; says what is close.
    """
    if name.endswith(".toml"):
        return tasks_of(read(Path(name)), str(Path(name).resolve()))
    suite = suite_of(name)
    tasks = tasks_of(read(SUITES.file(suite, name)))
    pair = name[len(suite) + 1 :]
    if not pair:
        return tasks
    chosen = [task for task in tasks if task.name == name] or [t for t in tasks if t.without_sources().name == name]
    if not chosen:
        raise UsageError(f"unknown pair {pair!r} of task {suite!r}{suggest(name, (t.name for t in tasks))}")
    return chosen


def named(name: str, file: str = "") -> Task:
    """The one task of a name that a plan or a row holds; `suite/target` is the task without its sources."""
    card = read(Path(file)) if file else find(suite_of(name))[0].card
    tasks = tasks_of(card, file)
    for task in (*tasks, *(t.without_sources() for t in tasks)):
        if task.name == name:
            return task
    raise UsageError(f"unknown task {name!r}{suggest(name, (t.name for t in tasks))}")
