"""The board in Markdown, between two markers of leaderboard.md: nothing of it is typed."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tlbench.board import exports, sections, tables
from tlbench.board.board import Board, measured, of_core, same_task
from tlbench.board.figures.charts import compared
from tlbench.board.tables import escaped
from tlbench.errors import Mistake
from tlbench.results import bundle, editions, frame, standings, stats
from tlbench.results.frame import words
from tlbench.results.grid import Grid, grids
from tlbench.results.standings import Standing
from tlbench.results.store import default_folder
from tlbench.tasks.card import PARADIGMS, Budget
from tlbench.tasks.problems import METRICS

if TYPE_CHECKING:
    import pandas as pd

BEGIN, END = "<!-- tlbench: generated below -->", "<!-- tlbench: generated above -->"
ENOUGH = 1000  # test samples, from which on a harm of a point or two can be shown


def start(file: Path) -> None:
    """An empty board, to be filled."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"# Leaderboard\n\n{BEGIN}\n{END}\n", encoding="utf-8")


def rebuild(board: Board, file: Path, folder: Path | None = None, write: bool = True) -> list[str]:
    """Replace what is between the markers of `file` by the tables of a board, and make the files beside it anew.
    Returns the names of what changes: of the text, and without `write` of the files as well.

    Args:
        folder: of the files, None takes the store's

    Raises:
        Mistake: the file is missing or lacks its markers.
    """
    try:
        old = file.read_text(encoding="utf-8")
    except OSError as error:
        raise Mistake(f"{file}: cannot be read ({error.strerror}); it must hold the lines {BEGIN} and {END}") from None
    head, begin, rest = old.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise Mistake(f"{file}: lacks its markers; put the lines {BEGIN} and {END} where the tables go")
    place = folder or board.store.folder
    new = f"{head}{BEGIN}\n\n{text(board)}\n{END}{tail}"
    changed = [file.name] if new != old else []
    if not write:
        return changed + exports.differing(board, place)
    exports.write(board, place)
    if changed:
        temporary = file.with_suffix(".tmp")
        temporary.write_text(new, encoding="utf-8")
        temporary.replace(file)
    return changed


def text(board: Board) -> str:
    """Everything between the markers."""
    if not board.grids:
        return "No rows yet: `tlbench run --task digits --method dann` makes some.\n"
    parts = [
        _provenance(board),
        *_short(board),
        *_headlines(board),
        *_harm(board),
        *_pictures(board),
        *_costs(board),
        *sections.selection(board.chosen),
        *sections.known_truth(board.all, board.edition),
        *sections.out_of_bounds(board.grids),
        *_paradigms(board),
        *_suites(board),
        *_pending(board),
    ]
    return "\n".join(parts)


def _provenance(board: Board) -> str:
    rows, tasks = board.rows, {t for g in board.grids.values() for t in g.tasks}
    counts = Counter(words(rows["status"]))
    said = ", ".join(f"{counts.get(s, 0):,} {s}" for s in ("ok", "failed", "refused"))
    groups = {x for g in board.grids.values() for x in g.groups}
    pairs = rows[["tlbench", "torch"]].drop_duplicates()
    versions = " and ".join(
        sorted(f"{escaped(ours)} on torch {escaped(torch)}" for ours, torch in pairs.astype(str).to_numpy())
    )
    machines = "; ".join(sorted(escaped(m) for m in set(words(rows["machine"]))))
    commits = ", ".join(sorted({c[:7] for c in set(words(rows["commit"])) if c})) or "none"
    dirty = int((rows["dirty"] == True).sum())  # noqa: E712  (null is neither)
    uncommitted = f", {dirty:,} rows with changes uncommitted" if dirty else ""
    dagger = f" {len(board.changed)} methods marked † have changed since." if board.changed else ""
    made = f"Edition {board.edition.name}. " if board.edition.frozen else "The open edition, in the making. "
    return (
        f"{made}{len(rows):,} rows ({said}) of {len(board.all):,} in the store; {rows['method'].nunique()} methods, "
        f"{len(tasks)} tasks, {len(groups)} dataset families. tlbench {versions}; {machines}; commits {commits}"
        f"{uncommitted}.{dagger} Selection rule: default, the published hyperparameters, of the references too.\n"
    )


def _short(board: Board) -> list[str]:
    if not any(board.same_task.values()):
        return []
    families = "Mean gain of each algorithm family's ranked methods, and in brackets the best of them:"
    floor = (
        "The A/A floor is the rate of harm of a second copy of the reference: a rate that is no higher is noise. "
        "Methods that are their reference in every cell are not counted."
    )
    lines = [_scope(board), tables.summary(board.same_task), floor, families, tables.by_family(board.same_task)]
    return ["## In short", "", *(part for line in lines for part in (line, ""))]


def _scope(board: Board) -> str:
    """What the ranks stand on, and what they cannot speak of."""
    suites = sorted({t.partition("/")[0] for g in board.core.values() for t in g.tasks})
    there = {p for g in board.core.values() for p in g.paradigms}
    absent = [title for name, title in PARADIGMS.items() if name not in there]
    said = f"All ranks are of published hyperparameters, on {', '.join(suites)}."
    if absent:
        said += f" Nothing is ranked yet of: {'; '.join(absent)}."
    if "multi-source" not in there:
        said += " Methods for several sources are ranked on single ones."
    return " ".join([said, sections.short(board.chosen)]).strip()


def _headlines(board: Board) -> list[str]:
    if not any(board.same_task.values()):
        return ["Nothing of the core grid is measured yet, so nobody is ranked.\n"]
    parts = ["## Ranks, where the source has the target's classes", ""]
    for k, rows in board.same_task.items():
        if rows:
            own = standings.part(board.core[k], measured(board.core[k]) & same_task(board.core[k]))
            parts += [
                f"### {_labels(k)}",
                "",
                f"{_of(own, k)} {_apart(own, rows)} {_when(board, k)}",
                "",
                tables.standing(rows, board.times[k], board.changed),
                "",
            ]
    return parts


def _harm(board: Board) -> list[str]:
    if not any(board.same_task.values()):
        return []
    turns, parts = tables.turning_points(board.core), ["## Negative transfer", ""]
    for k, rows in board.same_task.items():
        if rows:
            families = {
                g for t, g in zip(board.core[k].tasks, board.core[k].groups, strict=True) if board.edition.ranks(t)
            }
            few = len(families) < stats.FAMILIES_TO_BOUND
            why = f"; no interval of a rate with fewer than {stats.FAMILIES_TO_BOUND} dataset families" if few else ""
            below = f"where the mean over seeds is more than a point below {board.core[k].reference}'s"
            said = f"A task is harmed {below}{why}.{_power(board.core[k])}"
            parts += [
                f"### Harm with {_labels(k)}",
                "",
                said,
                "",
                tables.harm(rows, turns if k else {}, board.edition.protocol.margins),
                "",
            ]
    return parts


def _power(g: Grid) -> str:
    """How small the test sets are, and what that hides."""
    sizes = [s.n_test for s, asked in zip(g.sheets, measured(g) & same_task(g), strict=True) if asked]
    small = sum(n < ENOUGH for n in sizes)
    if not small:
        return ""
    return (
        f" Tasks have {min(sizes):,} to {max(sizes):,} test samples; {small} of {len(sizes)} have fewer than "
        f"{ENOUGH:,}, with which a test hardly shows a harm of one or two points: not *sure* is not *no harm*."
    )


def _pictures(board: Board) -> list[str]:
    links = [f"![{p.about}](results/figures/{p.name})" for p in board.pictures] if board.core else []
    return ["## Pictures", "", *links, ""] if links else []


def _costs(board: Board) -> list[str]:
    if not len(board.costs):
        return []
    tasks = sorted({f"{t.task} (k = {t.budget})" for t in board.timed if t.counts and t.sources})
    said = (
        "A line is a method at k labels a class. "
        "Measured one cell at a time, apart from the accuracies; time is a ratio to the reference's on the same "
        f"target in the same session, its interval over dataset families. Tasks: {', '.join(tasks)}. "
        f"{sum(not t.counts for t in board.timed)} noisy or contended timings are left out. {_sessions(board)}"
    )
    return ["## Cost", "", said, "", tables.costs(board.costs, board.recoded), ""]


def _sessions(board: Board) -> str:
    """Where the timings come from."""
    counted = [t for t in board.timed if t.counts]
    machines = "; ".join(sorted({escaped(t.machine) for t in counted}))
    threads = ", ".join(map(str, sorted({t.threads for t in counted})))
    commits = ", ".join(sorted({t.commit[:7] for t in counted if t.commit})) or "none"
    return (
        f"{len(counted)} timings of {len({t.session for t in counted})} sessions, threads: {threads}; "
        f"{counted[0].machine_class}: {machines}; commits {commits}."
    )


def _pending(board: Board) -> list[str]:
    """Submissions that nobody has verified: what they say of themselves, ranked nowhere."""
    if not board.pending:
        return []
    said = (
        "What bundles say of themselves that no maintainer's record accepts: means over those cells of the core "
        "grid that they hold. They are ranked nowhere, and change nothing above."
    )
    rows = [r for c in board.pending if c.bundle for r in bundle.marked(c.bundle, f"unverified, {c.folder.name}")]
    joined = frame.joining(rows, board.rows)
    own = board.edition
    held = frame.standing(frame.load(board.store, joined), own) if joined else board.rows
    names = {r.method for r in joined}
    lines = [tables.claim(g, m, k) for k, g in grids(of_core(held, own), own).items() for m in g.methods if m in names]
    wrong = [
        f"- `{escaped(c.folder.name)}` is no bundle: {escaped(c.wrong)}" for c in board.pending if c.bundle is None
    ]
    return ["## Not verified", "", said, "", *([tables.claims(lines), ""] if lines else []), *wrong, ""]


def _paradigms(board: Board) -> list[str]:
    found = board.by_paradigm
    if not found:
        return []
    parts = ["## By paradigm", ""]
    for title, placed in found.items():
        parts += [f"<details><summary>{title}</summary>", ""]
        turns = tables.turning_points(board.paradigms[title])
        for k, rows in placed.items():
            parts += [f"#### {title}, {_labels(k)}", "", tables.short(rows, board.changed), ""]
            table = tables.harm(rows, turns if k else {}, board.edition.protocol.margins)
            parts += [f"Harm, {title}, {_labels(k)}:", "", table, ""]
        parts += ["</details>", ""]
    return parts


def _suites(board: Board) -> list[str]:
    parts = ["## By suite", ""]
    suites = sorted({t.partition("/")[0] for g in board.grids.values() for t in g.tasks})
    for name in suites:
        parts += [f"<details><summary>{name}</summary>", "", _suite_caption(name, board.rows), ""]
        for k, g in board.grids.items():
            mask = np.array([t.partition("/")[0] == name for t in g.tasks])
            if mask.any():
                own = standings.part(g, mask)
                parts += [f"#### {name}, {_labels(k)}", "", tables.suite(own, board.changed), ""]
        parts += ["</details>", ""]
    return parts


def _labels(k: Budget) -> str:
    return "no label" if k == 0 else "1 label a class" if k == 1 else f"{k} labels a class"


def _of(g: Grid, k: Budget) -> str:
    asked = sum(map(g.edition.ranks, g.edition.grid.at(k)))
    least = f"; {asked} are asked for" if len(g.tasks) < asked else ""
    return (
        f"{len(g.tasks)} tasks of {len(set(g.groups))} dataset families ({', '.join(sorted(set(g.groups)))}){least}, "
        f"{len(g.seeds)} seeds; gains over {g.reference}."
    )


def _when(board: Board, k: Budget) -> str:
    if not compared(board.times, k):
        return f"Time was not measured here{', but of the references' if board.times[k] else ''}."
    return f"Time was measured on {', '.join(board.timed_on[k])}."


def _apart(g: Grid, rows: list[Standing]) -> str:
    ranked = [s.method for s in rows if s.ranked]
    pairs = standings.told_apart(g, ranked)
    said = (
        f"Wilcoxon's test with Holm's correction over dataset families, {len(ranked)} methods, the reference included"
    )
    if pairs is None:
        return f"{said}: insufficient tasks, no pair could be told apart."
    return f"{said}: {sum(p.adjusted < 0.05 for p in pairs)} of {len(pairs)} pairs are told apart."


def _suite_caption(name: str, rows: pd.DataFrame) -> str:
    own = rows[rows["suite"] == name]
    backbones = ", ".join(sorted(set(words(own["backbone"]))))
    metric = METRICS[str(own["metric"].iloc[0])].title
    return f"{metric}, and in brackets the gain over the reference with its 95 % interval; backbone {backbones}."


def leaderboard(results: Path | None = None, file: Path | None = None, edition: str | None = None) -> bool:
    """Rebuild an edition's leaderboard between its markers from the rows. Returns whether it changed.

    Args:
        file: None takes leaderboard.md beside the store for the newest frozen edition, and boards/ for others
        edition: 'open', or a frozen one; None takes the newest that is frozen, and where there is none the open one
    """
    board, place, folder = board_of(results or default_folder(), file, edition)
    return bool(rebuild(board, place, folder))


def board_of(folder: Path, file: Path | None, name: str | None) -> tuple[Board, Path, Path]:
    """The board of an edition of a store, the file it is written to, and the folder of what lies beside it."""
    edition = editions.named(folder, name)
    shown = editions.named(folder, None) == edition
    own = folder if shown else folder / "boards" / edition.name  # a frozen edition's own folder is never written to
    place = file or (folder.parent if shown else own) / "leaderboard.md"
    return Board(editions.opened(folder, edition), edition=edition), place, own
