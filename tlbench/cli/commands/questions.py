"""What `compare`, `why` and `recommend` print: answers from the rows of a store, and what they stand on."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from tlbench.board import board, comparison, similarity
from tlbench.board import recommend as advice
from tlbench.board.comparison import Comparison, Duel
from tlbench.board.explain import Evidence, Timed, Trace, trace
from tlbench.board.recommend import Candidate, Recommendation
from tlbench.cli.commands.arguments import budgets
from tlbench.errors import UsageError, suggest
from tlbench.methods.references import SOURCE_ONLY
from tlbench.results import editions, wording
from tlbench.results.editions import Edition
from tlbench.results.index import Index
from tlbench.results.rounding import fixed
from tlbench.results.store import Store, default_folder
from tlbench.runner.selection import rules
from tlbench.tasks import registry
from tlbench.tasks.card import Budget

SHOWN = 10  # methods of a list of advice


def compare(
    first: str,
    second: str,
    names: Sequence[str],
    budget: str | None,
    results: Path | None,
    json_wanted: bool,
    edition: str | None = None,
) -> None:
    """Print two methods side by side, a section a budget."""
    store, chosen = opened(results, edition)
    index = Index.of(store.rows.every(), edition=chosen)
    found = comparison.of_index(index, first, second, names, None if budget is None else one_budget(budget))
    if json_wanted:
        print(json.dumps([asdict(c) for c in found], ensure_ascii=False))
        return
    for c in found:
        title = f"{first} less {second}, {wording.labels(c.budget)}; {c.kind}"
        table(title, ("task", "family", "seeds", first, second, "difference", ""), [_duel(d) for d in c.duels])
        print(f"{_means(c)}\n{c.verdict}.\n")


def one_budget(text: str) -> Budget:
    """'5' or 'full'.

    Raises:
        UsageError: it is neither, or several.
    """
    found = budgets(text) or ()
    if len(found) != 1:
        raise UsageError(f"{text!r} is not one budget; write labels per class as 5")
    return found[0]


def _duel(d: Duel) -> tuple[str, ...]:
    failed = f"; failed {d.failed[0]} / {d.failed[1]}" if any(d.failed) else ""
    difference = points(d.difference, d.pm, "+")
    return (
        d.task, d.family, str(len(d.seeds)), points(d.first), points(d.second), difference, d.outcome + failed,
    )  # fmt: skip


def _means(c: Comparison) -> str:
    families = wording.count(c.families, "dataset family", "dataset families")
    said = f"{c.wins} won, {c.ties} tied, {c.losses} lost of {len(c.duels)}; {c.cells} pairs of cells"
    if c.mean is None:
        return said
    suite = points(c.mean, c.suite_pm, "+")
    new = points(c.mean, c.new_pm, "+") if c.new_pm is not None else "no interval from one family"
    return f"{said}\nmean over {families}: these tasks {suite}; new tasks {new}"


def explain(
    method: str, task: str, budget: str, rule: str, results: Path | None, json_wanted: bool, edition: str | None = None
) -> None:
    """Print the rows behind one cell of the board."""
    (store, chosen), rule = opened(results, edition), rules.named(rule).name
    timed = board.timed(store, chosen)
    found = trace(store.rows.every(), method, task, one_budget(budget), rule, timed, chosen)
    if json_wanted:
        print(json.dumps(asdict(found), ensure_ascii=False))
        return
    x = found.line
    header = ("seed", "status", "value %", f"{found.reference} %", "gain", "fit s", "commit", "time", "key")
    table(f"{x.method} on {x.task}, {wording.labels(x.budget)}", header, [_evidence(e) for e in found.rows])
    print(_summary(found))
    print(f"machine: {'; '.join(sorted({e.machine for e in found.rows}))}")
    for ok, reason in dict.fromkeys((e.status == "ok", e.reason) for e in found.rows if e.reason):
        print(f"{'note' if ok else 'not ok'}: {reason}")
    if found.others:
        print(f"{found.others} more rows of it do not count: other settings, versions, data or weights")
    if found.labelled:
        where = "nowhere" if found.harms_from is None else f"from {wording.labels(found.harms_from)} on"
        print(f"below target_only {where} (measured at {', '.join(map(str, found.labelled))})")
    print(f"again: {found.again}")
    if found.timed:
        table("Timing passes", ("seed", "fit s", "commit", "time", "session", "key"), [_timed(t) for t in found.timed])
        print(f"again: {found.time_again}")


def _evidence(e: Evidence) -> tuple[str, ...]:
    gain = None if e.value is None or e.reference is None else e.value - e.reference
    commit = "–" if e.commit is None else e.commit[:10] + ("+" if e.dirty else "")
    return (
        str(e.seed), e.status, points(e.value), points(e.reference), points(gain, sign="+"),
        "–" if e.fit_s is None else f"{e.fit_s:.2f}", commit, e.time[:16], e.key[:12],
    )  # fmt: skip


def _timed(t: Timed) -> tuple[str, ...]:
    return str(t.seed), f"{t.fit_s:.3f}", (t.commit or "–")[:10], t.time[:16], t.session, t.key[:12]


def _summary(found: Trace) -> str:
    x = found.line
    over, pm = (
        (x.over_source, x.over_source_pm) if found.reference == SOURCE_ONLY else (x.over_target, x.over_target_pm)
    )
    said = f"mean {points(x.accuracy, x.accuracy_pm)}"
    return f"{said}; over {found.reference} {points(over, pm, '+')}; negative transfer: {x.negative_transfer}"


def recommend(
    name: str, budget: str, results: Path | None, root: Path | None, json_wanted: bool, edition: str | None = None
) -> None:
    """Print what to use on a task, and on which tasks of the board that stands.

    Raises:
        UsageError: the name means several tasks, or the board has nothing to say.
    """
    tasks, labels = registry.find(name), one_budget(budget)
    if len(tasks) > 1:
        raise UsageError(f"{name!r} names {len(tasks)} tasks; name one{suggest(name, (t.name for t in tasks))}")
    store, chosen = opened(results, edition)
    index = Index.of(store.rows.every(), edition=chosen)
    index.check_budget(labels)  # before anything is measured
    known = (similarity.of_name(index.examples[t], root) for t in index.tasks)
    found = advice.recommend(index, similarity.of_task(tasks[0], root, extract=True), known, labels)
    if json_wanted:
        print(json.dumps(asdict(found), ensure_ascii=False))
        return
    _print_advice(found)


def _print_advice(r: Recommendation) -> None:
    print(f"{r.task.task}: {similarity.as_words(r.task)}; {wording.labels(r.budget)}\n")
    parts = [p for p in r.neighbours[0].parts if any(n.parts[p] for n in r.neighbours)]  # all others are 0
    near = [
        (n.task, n.family, fixed(n.weight, 2), points(n.floor, sign="+"), fixed(n.unlikeness, 2),
         *(fixed(n.parts[p], 2) for p in parts))
        for n in r.neighbours
    ]  # fmt: skip
    table("the most similar tasks", ("task", "dataset family", "weight", "floor", "unlike", *parts), near)
    _candidates("not distinguishable from the best", r, r.advised)
    if r.risky:
        _candidates("negative transfer is likely", r, r.risky)
    print(f"{wording.count(r.others, 'other method')} shown to be behind the best; "
          f"{r.unranked} not measured on all of these tasks, and left out")  # fmt: skip
    for note in r.notes:
        print(f"note: {note}")


def _candidates(title: str, r: Recommendation, found: Sequence[Candidate]) -> None:
    over, harmed = f"over {r.reference}", f"NT tasks of {len(r.neighbours)}"
    header = ("method", "family", over, "behind the best", "worst task", harmed)
    table(title, header, [_candidate(c) for c in found[:SHOWN]])
    if len(found) > SHOWN:
        print(f"and {len(found) - SHOWN} more; --json has all\n")


def _candidate(c: Candidate) -> tuple[str, ...]:
    shown = f" ({c.tested} significant)" if c.tested else ""
    return (
        c.method, c.family, points(c.gain, c.gain_pm, "+"), points(c.behind, c.behind_pm), points(c.worst, sign="+"),
        f"{c.harmed}{shown}",
    )  # fmt: skip


def points(mean: float | None, pm: float | None = None, sign: str = "") -> str:
    """Percentage points with one decimal, – for none."""
    if mean is None:
        return "–"
    return fixed(mean, sign=bool(sign)) + ("" if pm is None or pm != pm else f" ± {fixed(pm)}")


def table(title: str, header: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    """A table on stdout: words to the left, numbers to the right."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=SIMPLE_HEAD, pad_edge=False, title=title, title_justify="left")
    for i, name in enumerate(header):
        number = any(line[i][:1] in "+-0123456789" for line in lines if line[i])
        drawn.add_column(name, justify="right" if number else "left", no_wrap=True)
    for line in lines:
        drawn.add_row(*map(Text, line))
    console = Console() if sys.stdout.isatty() else Console(width=180)
    console.print(drawn)


def opened(results: Path | None, name: str | None) -> tuple[Store, Edition]:
    """The rows that are asked, and the edition whose they are."""
    folder = results or default_folder()
    edition = editions.named(folder, name)
    store = editions.opened(folder, edition)
    for text in store.warnings():
        print(f"note: {text}", file=sys.stderr)
    return store, edition
