"""What a command asks for: tasks and methods by name, budgets and seeds, and how far these go where none are said."""

from __future__ import annotations

from dataclasses import dataclass, field

from tlbench.errors import Mistake, suggest
from tlbench.methods.method import check_name
from tlbench.results.row import DEFAULT
from tlbench.runner.selection import search
from tlbench.tasks import grids, registry
from tlbench.tasks.card import CORE_BUDGETS, EXTENDED_BUDGETS, FULL, Budget, Task

ALL_BUDGETS: tuple[Budget, ...] = (*sorted({*CORE_BUDGETS, *EXTENDED_BUDGETS}), FULL)


@dataclass(frozen=True)
class Request:
    """What the user asked for. None takes the card's quick profile, or with `full` its core budgets and seeds."""

    tasks: tuple[str, ...]
    methods: tuple[str, ...]
    budgets: tuple[Budget, ...] | None = None
    seeds: tuple[int, ...] | None = None
    settings: dict[str, str] = field(default_factory=dict)
    full: bool = False
    rules: tuple[str, ...] = (DEFAULT,)  # of model selection
    trials: int | None = None  # that a rule chooses from, trial 0 among them; None: as many as `search` says
    grid: str | grids.Named | None = None  # whose tasks are asked for too, at its budgets and seeds
    every: bool = False  # all methods that ship were asked for: what one cannot do is left out, not refused


def check(request: Request) -> list[Task]:
    """What can be refused before anything is loaded or started; returns the tasks.

    Raises:
        Mistake: an unknown task, method, budget or seed.
    """
    for name in request.methods:
        check_name(name)
    for budget in request.budgets or ():
        if budget not in ALL_BUDGETS and not (isinstance(budget, int) and 0 <= budget <= 100_000):
            raise Mistake(f"--budgets: unknown budget {budget!r}{suggest(str(budget), map(str, ALL_BUDGETS))}")
    if request.trials and request.trials > search.MOST:
        raise Mistake(f"--trials {request.trials}: the design of a search has {search.MOST} at most")
    for seed in request.seeds or ():
        if seed < 0:
            raise Mistake(f"--seeds: {seed} is negative; seeds are 0, 1, 2, …")
    named = grids.tasks(grids.named(request.grid)) if request.grid else []
    return list(dict.fromkeys([*(task for name in request.tasks for task in registry.find(name)), *named]))


def extent(request: Request, task: Task) -> tuple[tuple[Budget, ...], tuple[int, ...], bool]:
    """Budgets, seeds, and whether the answer is provisional."""
    c, grid = task.card, grids.named(request.grid) if request.grid else None
    if grid and task.name in grid.tasks:
        return request.budgets or grid.budgets(task.name), request.seeds or tuple(range(grid.seeds)), False
    if request.full:
        return request.budgets or c.budgets, request.seeds or tuple(range(c.seeds)), False
    return request.budgets or c.quick.budgets, request.seeds or tuple(range(c.quick.seeds)), request.seeds is None
