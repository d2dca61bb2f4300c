"""`tlbench reproduce`: published tables run anew, through the same workers, scoring and store as everything else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tlbench.errors import Mistake, suggest
from tlbench.methods.method import Description
from tlbench.results.store import Store, default_folder
from tlbench.runner import descriptions, plan, requirements
from tlbench.runner.cell import Cell, Conditions
from tlbench.runner.cell_job import Bench
from tlbench.runner.experiment import Options, Tell, preloaded, started, swept
from tlbench.runner.sweep import default_jobs, resolve_device, threads_for
from tlbench.runner.worker.local import Workers
from tlbench.tasks import split_digests
from tlbench.tasks.card import Task
from tlbench.tasks.split import content_digest
from tlbench.verification import published, reproduction
from tlbench.verification.published import Entry, Table

FOLDER = "reproduction"  # of its store, inside the results'


@dataclass
class Reproduction:
    """Published tables on their way into a store of their own.

    Args:
        settings: tried instead of the tables' own, for every method that has the field; such rows are in no document
    """

    tables: Sequence[Table]
    options: Options
    settings: dict[str, str] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)

    def run(self, tell: Tell, progress: Callable[[str, int, int], None]) -> Store:
        """Run what is missing.

        Raises:
            Mistake: no table's data are here, or they are not those that the cards were frozen with.
        """
        device = resolve_device(self.options.device)
        jobs = self.options.jobs or default_jobs(device)
        conditions = Conditions(self.options.data_root, None, device, threads_for(jobs), self.options.changed_data)
        bench = Bench(conditions, progress)
        methods = [e.method for t in self.tables for e in t.row]
        with started(self.options, preloaded(methods), threads_for(jobs)) as workers:
            self._check_settings(workers)
            cells = [c for t in self.tables for c in self._cells(t, bench, workers)]
            if not cells:
                raise Mistake("; ".join(self.notices))
            store = Store(folder(self.options.results))
            swept(cells, bench, store, workers, self.options, tell)
        return store

    def _check_settings(self, workers: Workers) -> None:
        """Raises:
        Mistake: a setting that no method of the tables has.
        """
        known = {
            f.name for t in self.tables for e in t.row for f in descriptions.described(e.method, {}, workers).fields
        }
        for key, value in self.settings.items():
            if key not in known:
                raise Mistake(f"--set {key}={value}: no method of these tables has such a field{suggest(key, known)}")

    def _cells(self, table: Table, bench: Bench, workers: Workers) -> list[Cell]:
        found, wanted = plan.Plan(), [(e, *table.task_of(e, c)) for e in table.row for c in table.columns]
        here = set(plan.present(found, list(dict.fromkeys(t for _, t, _ in wanted)), bench))
        self.notices += [n for n in found.notices if n not in self.notices]
        for task in here:
            _check_data(table, task, bench)
        known = {e.label: described(e, workers, self.settings) for e in table.row}
        lacking = {label: lack for label, d in known.items() if (lack := requirements.lacks(d))}
        self.notices += [f"table {table.name}: row {label!r} is left out: {lack}" for label, lack in lacking.items()]
        return [
            plan.cell(task, known[entry.label], budget, seed)
            for entry, task, budget in wanted
            for seed in range(table.seeds_of(entry))
            if task in here and entry.label not in lacking
        ]


def every() -> list[Table]:
    return [published.read(n) for n in published.tables()]


def chosen(names: Sequence[str]) -> list[Table]:
    """The named tables; without a name, all that need no GPU.

    Raises:
        Mistake: no such table.
    """
    return [published.read(n) for n in names] or [t for t in every() if not t.gpu]


def folder(results: Path | None) -> Path:
    return (results or default_folder()) / FOLDER


def place(results: Path | None) -> Path:
    """Of the document: among a checkout's docs, or beside another store's rows."""
    top = (results or default_folder()).parent
    name = "reproduction.md"
    return top / "docs" / name if (top / "leaderboard.md").is_file() else folder(results) / name


def described(entry: Entry, workers: Workers, settings: dict[str, str] | None = None) -> Description:
    """The entry's method as the table sets it."""
    plain = descriptions.described(entry.method, {}, workers)
    fields = {f.name for f in plain.fields}
    own = {k: v for k, v in (settings or {}).items() if k in fields}
    values = {**{k: str(v) for k, v in entry.settings.items()}, **own}
    return descriptions.described(entry.method, values, workers) if values else plain


def _check_data(table: Table, task: Task, bench: Bench) -> None:
    """Raises:
    Mistake: a domain is not what the card was frozen with.
    """
    for name in (*task.sampled, task.target):
        digest = content_digest(bench.domain(task.card, name, 0))
        if split_digests.differs(table.base.name, split_digests.data_place(name), digest):
            raise Mistake(
                f"table {table.name}: the data of {name!r} are not those of {table.base.name}; check with "
                "`tlbench data verify`"
            )


def document(store: Store, file: Path, write: bool = True) -> bool:
    """Write the tables with what the store has of them to `file`. Returns whether it changes."""
    with Workers() as workers:
        text = reproduction.render([(t, {e.label: described(e, workers) for e in t.row}) for t in every()], store)
    before = file.read_text(encoding="utf-8") if file.exists() else ""
    if text != before and write:
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary = file.with_suffix(".tmp")
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(file)
    return text != before
