"""What is doubtful in a task's data: copies, conflicting labels, empty boxes; what the rule takes out of training."""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from tlbench.data import Domain, Rows
from tlbench.errors import UsageError
from tlbench.runner.cell import Conditions
from tlbench.runner.cell_job import Bench
from tlbench.tasks import duplicates, loaders, problems, registry
from tlbench.tasks import split as splits
from tlbench.tasks.card import Card, Task
from tlbench.tasks.loaders import voc
from tlbench.tasks.task_name import suite_of

NAMED = 3  # examples of a kind that are printed
COLUMNS = ("task", "source/test", "pool/test", "in source", "in pool", "conflicts", "empty boxes", "removed")
Pairs = tuple[tuple[str, str], ...]  # the ids of a copy and of what it is a copy of


@dataclass(frozen=True)
class Copied:
    """Samples that are others once more, by their bytes or only by their text or look."""

    same: Pairs = ()
    alike: Pairs = ()

    def __len__(self) -> int:
        return len(self.same) + len(self.alike)

    def __add__(self, other: Copied) -> Copied:
        return Copied(self.same + other.same, self.alike + other.alike)


@dataclass(frozen=True)
class Finding:
    """What was found in one task."""

    task: str
    source_test: Copied  # training samples of the sources that are test samples: removed by rule
    pool_test: Copied  # samples of pool and oracle validation that are test samples: removed by rule
    in_source: Copied  # training samples of a source that an earlier one is too: told, and left
    in_pool: Copied
    conflicts: Pairs  # copies with other labels than what they are copies of: told, and left
    empty_boxes: tuple[str, ...] = field(default=())  # dropped by the loader

    @property
    def removed(self) -> int:
        """Samples that the rule takes out of training."""
        return len(self.source_test) + len(self.pool_test)


def findings(names: Sequence[str], root: Path | None) -> Iterator[Finding | tuple[str, str]]:
    """Of each of the tasks named, or of all that ship; a task and the reason instead, where it was passed over.

    Raises:
        UsageError: nothing is called that, or the data of a task that was named are missing or broken.
    """
    bench = Bench(Conditions(root, changed_data=True))
    for task in [t for name in names or registry.card_files() for t in registry.find(name)]:
        domains = (*task.sampled, task.target)
        absent = [d for d in domains if not loaders.available(task.card, d, root)]
        if any(loaders.drawn_anew(task.card, d) for d in domains):
            yield task.name, "drawn anew for every seed"
        elif absent and not names:
            yield task.name, f"no data here of {', '.join(absent)}"
        else:
            try:
                yield examined(task, bench)
            except UsageError as mistake:
                if names:
                    raise
                yield task.name, str(mistake)


def examined(task: Task, bench: Bench) -> Finding:
    """One task's findings.

    Raises:
        UsageError: its data are missing or broken.
    """
    card, root = task.card, bench.conditions.data_root
    target, cut = bench.domain(card, task.target, 0), bench.split(task, 0).partition
    sources = [bench.domain(card, name, 0) for name in task.sampled]
    trained = [splits.source_rows(s, f"{card.name}/{s.name}")[0] for s in sources]
    source_test = sum((_copied(s, r, target, cut.test) for s, r in zip(sources, trained, strict=True)), Copied())
    conflicts = [*_conflicts(target, target)]
    if card.same_task:
        conflicts += [pair for s in sources for pair in (*_conflicts(s, s), *_conflicts(s, target))]
    return Finding(
        task.name,
        source_test,
        _copied(target, np.concatenate([cut.same, cut.alike]), target, cut.test),
        sum((_repeated(s, r) for s, r in zip(sources, trained, strict=True)), Copied()),
        _repeated(target, cut.pool),
        tuple(conflicts),
        _empty_boxes(card, (task.target, *task.sampled), root),
    )


def _copied(domain: Domain, rows: Rows, tested: Domain, test: Rows) -> Copied:
    """The samples `rows` of `domain` that are samples `test` of `tested`."""
    found = duplicates.copies(domain, tested, test)
    same = [i for i in rows if found.same[i] >= 0]
    alike = [i for i in rows if found.same[i] < 0 <= found.alike[i]]
    return Copied(
        tuple((domain.ids[i], tested.ids[found.same[i]]) for i in same),
        tuple((domain.ids[i], tested.ids[found.alike[i]]) for i in alike),
    )


def _repeated(domain: Domain, rows: Rows) -> Copied:
    """The samples `rows` that an earlier one of them is too."""
    rows = np.sort(rows)
    found = duplicates.copies(domain, domain, rows)
    same = [i for i in rows if found.same[i] < i]
    alike = [i for i in rows if found.alike[i] < i == found.same[i]]
    return Copied(
        tuple((domain.ids[i], domain.ids[found.same[i]]) for i in same),
        tuple((domain.ids[i], domain.ids[found.alike[i]]) for i in alike),
    )


def _conflicts(domain: Domain, other: Domain) -> Iterator[tuple[str, str]]:
    """The samples that are a sample of `other` once more, by bytes or else by look, and told otherwise."""
    if not all(problems.of_domain(d).name == "classification" for d in (domain, other)):
        return
    found = duplicates.copies(domain, other, np.arange(len(other)))
    for i, (same, alike) in enumerate(zip(found.same, found.alike, strict=True)):
        j = alike if same < 0 or (domain is other and same == i) else same
        if j >= 0 and domain.classes[domain.y[i]] != other.classes[other.y[j]]:
            yield domain.ids[i], other.ids[j]


def _empty_boxes(card: Card, names: Sequence[str], root: Path | None) -> tuple[str, ...]:
    folders = {
        loaders.locate(card, name, root) / card.place(name).path: None
        for name in names
        if card.place(name).loader in ("voc", "voc_cells")
    }
    return tuple(line for folder in folders for line in voc.dropped(folder))


def show(names: Sequence[str], root: Path | None, as_json: bool) -> None:
    """Print the findings, a line a task and a few examples below it; with `as_json` every pair.

    Raises:
        UsageError: as `findings`.
    """
    passed, found = [], []
    if not as_json:
        print("Copies are counted as: by their bytes + only by their text or look.")
        _line(COLUMNS)
    for each in findings(names, root):
        if not isinstance(each, Finding):
            passed.append(each)
            continue
        found.append(each)
        if not as_json:
            kinds = (each.source_test, each.pool_test, each.in_source, each.in_pool)
            counts = [f"{len(k.same)} + {len(k.alike)}" for k in kinds]
            _line((each.task, *counts, len(each.conflicts), len(each.empty_boxes), each.removed))
            for said in _examples(each):
                print(f"    {said}")
    if as_json:
        findings_ = [{**asdict(f), "removed": f.removed} for f in found]
        print(json.dumps({"findings": findings_, "passed_over": dict(passed)}, ensure_ascii=False))
    suites: dict[str, list[str]] = defaultdict(list)
    for task, why in passed if not as_json else ():
        suites[suite_of(task)].append(f"{task}: passed over: {why}")
    for suite, told in suites.items():
        whole = len(told) == len(registry.find(suite)) > 1
        lines = [f"{suite}: all {len(told)} tasks passed over: no data here"] if whole else told
        print("\n".join(lines), file=sys.stderr)


def _line(cells: Sequence[object]) -> None:
    print(f"{cells[0]!s:<56}" + "".join(f"{c!s:>13}" for c in cells[1:]))


def _examples(found: Finding) -> Iterator[str]:
    kinds = {
        "removed, its bytes are tested": (*found.source_test.same, *found.pool_test.same),
        "removed, what it shows or says is tested": (*found.source_test.alike, *found.pool_test.alike),
        "labels differ": found.conflicts,
    }
    for what, pairs in kinds.items():
        for copy, original in pairs[:NAMED]:
            yield f"{what}: {copy} is {original}"
    for line in found.empty_boxes[:NAMED]:
        yield f"box dropped: {line}"
