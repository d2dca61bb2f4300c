"""Write docs/tasks.md from the cards and the frozen sizes; it needs no data."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tlbench.tasks import card as cards
from tlbench.tasks import registry, split_digests
from tlbench.tasks.card import Card, Task
from tlbench.tasks.datasets import fetch

HEAD = """# Tasks

Written by `python docs/tasks.py`, not by hand. Sizes are those of the frozen data (`tlbench data freeze`), else those
that the dataset's card gives; a dash is what cannot be told without the data. `tlbench show TASK` says more of each.
"""
COLUMNS = ("task", "paradigm", "regime", "tasks", "budgets", "seeds", "download", "licence", "citation")
PAIRS = ("source → target", "classes", "source samples", "target samples", "tested")


def page() -> str:
    """The whole of docs/tasks.md."""
    suites = [registry.read(file) for file in registry.card_files().values()]
    overview = _table(COLUMNS, (_overview(c) for c in suites))
    return "\n".join([HEAD, overview, *(_section(c) for c in suites)])


def _overview(c: Card) -> tuple[object, ...]:
    return (
        f"[{c.name}](#{c.name})", cards.PARADIGMS[c.paradigm], c.regime, len(cards.tasks_of(c)),
        ", ".join(map(str, c.budgets)), c.seeds, _download(c), c.license, c.cite,
    )  # fmt: skip


def _download(c: Card) -> str:
    sizes = [f"{d} ({fetch.human(fetch.dataset(d).bytes)})" for d in c.datasets]
    return ", ".join(sizes) or "none"


def _section(c: Card) -> str:
    terms = [
        f"- {d.title}: {d.license}; {d.terms}. {fetch.human(d.bytes)}, <{d.homepage}>. {d.cite}"
        for d in map(fetch.dataset, c.datasets)
    ]
    return "\n".join([f"## {c.name}\n", f"{c.summary}.\n", *terms, "" if terms else "No download.\n",
                      _table(PAIRS, (_pair(t) for t in cards.tasks_of(c)))])  # fmt: skip


def _pair(task: Task) -> tuple[object, ...]:
    source = " + ".join(_count(task.card, s, "samples") if s in task.sampled else "weights" for s in task.sources)
    counts = [_count(task.card, task.target, what) for what in ("classes", "samples", "tested")]
    return f"{' + '.join(task.sources)} → {task.target}", counts[0], source, *counts[1:]


def _count(c: Card, domain: str, what: str) -> str:
    """As frozen; else from the cards where the domain is all of what they count."""
    known = split_digests.sizes(c.name).get(domain, {}).get(what)
    place = c.place(domain)
    view = len(place.view.groups or place.view.keep)
    if known is None and what == "classes":
        known = view or len(place.classes) or None
    if known is None and what == "samples" and place.data and not (view or place.take or place.only or place.without):
        known = fetch.dataset(place.data).counts.get(domain)
    return "–" if known is None else str(known or "–")


def _table(head: tuple[str, ...], rows: Iterator[tuple[object, ...]]) -> str:
    lines = (" | ".join(str(cell).replace("|", "\\|") for cell in row) for row in (head, ["---"] * len(head), *rows))
    return "".join(f"| {line} |\n" for line in lines)


if __name__ == "__main__":
    (Path(__file__).parent / "tasks.md").write_text(page(), encoding="utf-8")
