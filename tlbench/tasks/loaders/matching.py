"""Whether the sources and the target of a task go together."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tlbench.data import Domain
from tlbench.errors import Mistake, position
from tlbench.tasks.card import Task

OTHER_TASK = "paradigm = 'different-domain-different-task'"


def check(task: Task, load: Callable[[str], Domain]) -> None:
    """Load the domains of a task and compare them.

    Raises:
        Mistake: a domain of fewer than two classes; other classes, columns or shapes in a source than in the target;
            with the line of the card that names the domain.
    """
    target = load(task.target)
    _two_classes(task, target)
    for name in task.sampled:
        source = load(name)
        _two_classes(task, source)
        if task.card.same_task and source.classes != target.classes:
            raise _mistake(task, name, _other(source, target))
        if source.columns and target.columns and source.columns != target.columns:
            raise _mistake(task, name, _columns(source, target))
        if source.x is not None and target.x is not None and source.x.shape[1:] != target.x.shape[1:]:
            shapes = f"{source.x.shape[1:]}, those of target {target.name!r} {target.x.shape[1:]}"
            raise _mistake(task, name, f"samples of source {name!r} have shape {shapes}; make them the same")


def _two_classes(task: Task, domain: Domain) -> None:
    if task.card.regime == "classification" and len(domain.classes) < 2:
        only = f"{domain.name!r} holds one class, {domain.classes[0]!r}"
        raise _mistake(task, domain.name, f"{only}; two or more are needed to tell apart")


def _other(source: Domain, target: Domain) -> str:
    extra = [c for c in source.classes if c not in target.classes]
    missing = [c for c in target.classes if c not in source.classes]
    if not extra and not missing:
        return f"source {source.name!r} has the target's classes in another order; say classes = [...] in the card"
    said = f"source {source.name!r} " + (
        f"has class {extra[0]!r}, which target {target.name!r} lacks"
        if extra
        else f"lacks class {missing[0]!r} of target {target.name!r}"
    )
    return f"{said}; give both the same classes, or say {OTHER_TASK}"


def _columns(source: Domain, target: Domain) -> str:
    extra = [c for c in source.columns if c not in target.columns]
    missing = [c for c in target.columns if c not in source.columns]
    has, lacks, column = (source, target, extra[0]) if extra else (target, source, missing[0])
    remedy = f"add it there, or say drop = [{column!r}] under [at.{has.name}]"
    return f"{has.name!r} has column {column!r}, which {lacks.name!r} lacks; {remedy}"


def _mistake(task: Task, domain: str, said: str) -> Mistake:
    if not task.file:
        return Mistake(f"{task.name}: {said}")
    text = Path(task.file).read_text(encoding="utf-8")
    keys = ("target",) if domain == task.target else ("source", "sources")
    places = (position(task.file, text, key) for key in (*keys, "pairs", "domains"))
    return Mistake(f"{next((p for p in places if p != task.file), task.file)}: {said}")
