"""tlbench: which transfer-learning method is worth using, measured under one protocol.

import tlbench
frame = tlbench.run("digits", method="dann", budgets=[1, 5])
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from tlbench import _moved

if TYPE_CHECKING:
    from tlbench.board.comparison import compare
    from tlbench.board.markdown import leaderboard
    from tlbench.data import Episodes, Labeled, Learner, Predictor, Recipe, Train, Unlabeled
    from tlbench.errors import NotApplicable, UsageError
    from tlbench.methods.method import Method
    from tlbench.runner.experiment import run
    from tlbench.training.convergence import NotConverged

__version__ = "0.1.0"
PROTOCOL = 1  # of the harness: bumped when a change of it (not of a method or a card) moves a number

_HOMES = {  # loaded when asked for: the command line must answer before numpy is there
    "Episodes": "data", "Labeled": "data", "Learner": "data", "Predictor": "data", "Recipe": "data", "Train": "data",
    "Unlabeled": "data",
    "Method": "methods.method", "UsageError": "errors", "NotApplicable": "errors",
    "NotConverged": "training.convergence", "compare": "board.comparison", "leaderboard": "board.markdown",
    "run": "runner.experiment",
}  # fmt: skip
__all__ = [
    "Episodes",
    "Labeled",
    "Learner",
    "Method",
    "NotApplicable",
    "NotConverged",
    "Predictor",
    "Recipe",
    "Train",
    "Unlabeled",
    "UsageError",
    "compare",
    "leaderboard",
    "run",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"tlbench.{_HOMES[name]}"), name)
    if name in _moved.PUBLIC:
        _moved.warn(f"tlbench.{name}", f"tlbench.{_moved.PUBLIC[name]}")
        return __getattr__(_moved.PUBLIC[name])
    raise AttributeError(f"module 'tlbench' has no attribute {name!r}")


_moved.install()
