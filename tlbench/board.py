"""rows -> leaderboard.md: everything between two markers is generated, and the same rows give the same bytes."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path

from tlbench import PROTOCOL, card, frozen
from tlbench.card import FULL, Budget
from tlbench.mistake import Mistake
from tlbench.report import HEADER, SOURCE_ONLY, TARGET_FULL, TARGET_ONLY, Asked, Line, cells, line, suite_lines
from tlbench.row import Row
from tlbench.store import Store

BEGIN, END = "<!-- tlbench: generated below -->", "<!-- tlbench: generated above -->"


def rebuild(store: Store, file: Path, write: bool = True) -> bool:
    """Replace what is between the markers of `file` by the tables of `store`. Returns whether the file changes.

    Raises:
        Mistake: the file is missing or lacks its markers.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise Mistake(f"{file}: cannot be read ({error.strerror}); it must hold the lines {BEGIN} and {END}") from None
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise Mistake(f"{file}: lacks its markers; put the lines {BEGIN} and {END} where the tables go")
    new = f"{head}{BEGIN}\n\n{render(store.rows.values())}\n{END}{tail}"
    if new != text and write:
        temporary = file.with_suffix(".tmp")
        temporary.write_text(new, encoding="utf-8")
        temporary.replace(file)
    return new != text


def render(rows: Iterable[Row]) -> str:
    """All tables as markdown, in an order that depends on the rows only."""
    suites: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if current(row):
            suites[row.suite].append(row)
    suites = {name: alike(own) for name, own in suites.items()}
    if not suites:
        return "No rows yet: `tlbench run --task digits --method dann` makes some.\n"
    return "\n".join(_suite(name, suites[name]) for name in sorted(suites))


def current(row: Row) -> bool:
    """Whether a row was made as the board's are: default settings, this version of card, data, split and protocol."""
    known = card.card_files().get(row.suite)
    shipped = card.read(known) if known else None
    if shipped and not shipped.ranked:
        return False
    version = shipped.version if shipped else row.version
    return row.default and row.protocol == PROTOCOL and row.version == version and frozen.stands(row)


def alike(rows: list[Row]) -> list[Row]:
    """The rows on the network, weights and precision that most rows have: others are no pair to them.

    Target-only may have no weights: where the checkpoint is the source, it starts without it.
    """
    counts = Counter((r.backbone, r.precision or "", r.weights or "") for r in rows)
    most = max(counts, key=lambda kind: (bool(kind[2]), counts[kind], kind))
    without = (*most[:2], "")
    kinds = ((r, (r.backbone, r.precision or "", r.weights or "")) for r in rows)
    return [r for r, kind in kinds if kind == most or (kind == without and not r.sources)]


def _suite(name: str, rows: list[Row]) -> str:
    asked = _asked(rows)
    if not asked:
        return f"## {name}\n\nOnly references so far.\n"
    seeds = sorted({len({r.seed for r in a.rows if r}) for a in asked})
    means = suite_lines(asked)
    parts = [f"## {name}", "", _provenance(rows, seeds), ""]
    if means:
        parts += [
            _table(means),
            "",
            "<details><summary>task by task</summary>",
            "",
            _table([line(a) for a in asked]),
        ]
        parts += ["", "</details>", ""]
    else:
        parts += [_table([line(a) for a in asked]), ""]
    return "\n".join(parts)


def _provenance(rows: list[Row], seeds: list[int]) -> str:
    versions = ", ".join(sorted({f"tlbench {r.tlbench}, torch {r.torch}" for r in rows}))
    failed = sum(r.status == "failed" for r in rows)
    backbones = ", ".join(sorted({r.backbone for r in rows}))
    few = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    return f"{len(rows)} rows, {failed} failed; {few} seeds; backbone {backbones}; selection rule default; {versions}."


def _asked(rows: list[Row]) -> list[Asked]:
    """The lines that a suite's rows can fill, each with its references, sorted by task, budget and method."""
    found: dict[tuple[str, str, Budget], dict[int, Row]] = defaultdict(dict)
    for row in sorted(rows, key=lambda r: (r.ok, r.time, r.key)):  # the newest of a seed stands, if it is ok
        found[row.method, row.task, row.budget][row.seed] = row
    pairs = sorted({r.task for r in rows if r.sources})
    budgets = sorted({k for m, _, k in found if m != TARGET_FULL}, key=lambda k: (isinstance(k, str), k))
    lines = []
    for task in pairs:
        target = f"{task.partition('/')[0]}/{task.rpartition('-')[2]}"
        for k in budgets:
            methods = {m for m, t, b in found if (t, b) == (task, k) or (t, b) == (target, k)}
            for m in sorted({*methods, SOURCE_ONLY, TARGET_FULL}):
                at: Budget = 0 if m == SOURCE_ONLY else FULL if m == TARGET_FULL else k
                place = (m, target, at) if (m, target, at) in found else (m, task, at)
                own = found.get(place, {})
                order = sorted(own)
                lines.append(
                    Asked(
                        task, k, m, [own[s] for s in order],
                        [found.get((TARGET_ONLY, target, k), {}).get(s) for s in order],
                        [found.get((SOURCE_ONLY, task, 0), {}).get(s) for s in order],
                    )
                )  # fmt: skip
    return [a for a in lines if a.rows]


def _table(lines: list[Line]) -> str:
    header = f"| {' | '.join(HEADER)} |"
    rule = "|" + "|".join("---:" if i not in (0, 2) else "---" for i in range(len(HEADER))) + "|"
    return "\n".join([header, rule, *(f"| {' | '.join(cells(x))} |" for x in lines)])
