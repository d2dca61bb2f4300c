"""The store's rows as one columnar frame: those that count for the board, each once.

A million rows take seconds and some hundred MiB: what repeats is kept as codes, the bits of answers as bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tlbench.methods.references import held_at
from tlbench.methods.versions import coded
from tlbench.results import archive
from tlbench.results.editions import Edition
from tlbench.results.row import Row
from tlbench.results.store import Store
from tlbench.tasks import split_digests
from tlbench.tasks.card import Budget
from tlbench.tasks.task_name import TaskName

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

COLUMNS = (
    "key", "status", "suite", "task", "version", "paradigm", "regime", "sources", "target", "budget", "seed", "rule",
    "method", "family", "default", "metric", "value", "n_test", "episodes", "correct", "jobs", "backbone", "weights",
    "precision", "data", "source_data", "split", "method_digest", "method_version", "protocol", "tlbench", "torch",
    "machine", "commit", "dirty", "time", "trials",
)  # fmt: skip
OPEN = Edition()
LISTS = ("sources", "source_data")  # joined by '+'
KIND = ("suite", "backbone", "precision", "weights")  # of a row's network
CELL = ["method", "task", "budget", "seed"]  # what a row is the measurement of


def load(store: Store, beside: Sequence[Row] = ()) -> pd.DataFrame:
    """Every row of a store; repeated columns are categories, `correct` is bytes, lists are joined by '+'.

    Args:
        beside: rows of submissions, as `joining` lets them in
    """
    own = [store.rows.packed.columns(COLUMNS), archive.table(store.rows.lines.values(), COLUMNS)]
    return _framed(*own, *([archive.table(beside, COLUMNS)] if beside else []))


def joining(rows: Iterable[Row], there: pd.DataFrame) -> list[Row]:
    """Those of submitted rows that can stand beside the store's, so that nobody else's figures change: of cells that
    others have too, on the networks that count, under a name that nobody has."""
    methods = set(words(there["method"]))
    cells = set(zip(words(there["task"]), words(there["budget"]), there["seed"].tolist(), strict=True))
    kinds = set(zip(*(words(there[name]) for name in KIND), strict=True))
    return [
        r
        for r in rows
        if r.method not in methods
        and (r.task, str(r.budget), r.seed) in cells
        and (r.suite, r.backbone, r.precision or "", r.weights or "") in kinds
    ]


def of(rows: Iterable[Row]) -> pd.DataFrame:
    """`load` of rows that are at hand."""
    return _framed(archive.table(rows, COLUMNS))


def _framed(*parts: pa.Table) -> pd.DataFrame:
    import pyarrow as pa

    whole = pa.concat_tables(map(_coded, parts)).unify_dictionaries()
    frame: pd.DataFrame = whole.to_pandas(self_destruct=True)
    return frame


def _coded(table: pa.Table) -> pa.Table:
    import pyarrow as pa
    import pyarrow.compute as pc

    code = pa.dictionary(pa.int32(), pa.string())
    for i, name in enumerate(table.schema.names):
        column = table.column(name)
        if name in LISTS:
            column = pc.binary_join(column, "+")
        if name in (*archive.REPEATED, *LISTS) and not pa.types.is_dictionary(column.type):
            column = column.dictionary_encode().cast(code)
        table = table.set_column(i, name, column)
    return table


def by_itself(task: str) -> str:
    """'suite/source-target' -> 'suite/target': how rows of methods that ignore the source name the task."""
    return str(TaskName.parse(task).without_sources())


def places(method: str, task: str, budget: Budget) -> tuple[tuple[str, Budget], ...]:
    """The tasks and budgets that a method's rows may bear when it is asked about one, the likeliest first: what the
    method ignores was taken away when the row was made, so that one row answers for all of it."""
    at = held_at(method, budget)
    return (by_itself(task), at), (task, at), (task, budget)


def standing(frame: pd.DataFrame, edition: Edition = OPEN, ranked: bool = True) -> pd.DataFrame:
    """The rows that count in an edition, one a cell: of published settings, and of a cell the newest that is ok."""
    kept = _counting(frame[frame["default"] & (words(frame["rule"]) == "default")], edition, ranked)
    order = kept.assign(ok=words(kept["status"]) == "ok").sort_values(["ok", "time", "key"], kind="stable")
    once: pd.DataFrame = order.drop_duplicates(CELL, keep="last").drop(columns="ok")
    return once


def chosen(frame: pd.DataFrame, edition: Edition = OPEN) -> pd.DataFrame:
    """The rows that rules of selection made and that count, one a cell and rule: the newest of those that chose from
    the most trials."""
    kept = _counting(frame[frame["trials"].notna() & (words(frame["status"]) == "ok")], edition, ranked=True)
    order = kept.sort_values(["trials", "time", "key"], kind="stable")
    once: pd.DataFrame = order.drop_duplicates([*CELL, "rule"], keep="last")
    return once


def _counting(frame: pd.DataFrame, edition: Edition, ranked: bool) -> pd.DataFrame:
    """Rows of an edition's protocol and of its cards that are ranked (or that are not), with its data and splits; of a
    suite those on the network that most are on; of a method those of one version of its code."""
    kept: pd.DataFrame = frame[frame["protocol"] == edition.protocol.number]
    kept = kept[_of_this_card(kept, edition, ranked)]
    kept = kept[_frozen(kept, edition)]
    kept = kept[_alike(kept)]
    once: pd.DataFrame = kept[one_code(kept, edition)]
    return once


def _per(frame: pd.DataFrame, columns: Sequence[str], told: Callable[..., bool]) -> Any:
    """(n,) what `told` says of each row's values of some columns; asked once for each combination."""
    groups = frame.groupby(list(columns), observed=True, sort=False, dropna=False).ngroup().to_numpy()
    first = frame[list(columns)].assign(group=groups).drop_duplicates("group").sort_values("group")
    said = [told(*values) for values in first[list(columns)].itertuples(index=False, name=None)]
    return np.array(said, dtype=bool)[groups] if said else np.zeros(0, bool)


def words(column: pd.Series) -> NDArray[np.object_]:
    """(n,) texts of a column of categories; pandas' own way there is ten times slower."""
    names = np.append(np.asarray(column.cat.categories, dtype=object), "")  # -1, the last, is null
    return names[column.cat.codes.to_numpy()]


def _of_this_card(frame: pd.DataFrame, edition: Edition, ranked: bool) -> Any:
    def told(suite: str, version: int) -> bool:
        ours = edition.suite(suite)
        return ranked if ours is None else (ours.ranked == ranked and ours.version == version)

    return _per(frame, ["suite", "version"], told)


def _frozen(frame: pd.DataFrame, edition: Edition) -> Any:
    def source(suite: str, sources: str, digests: str) -> bool:
        names, found = sources.split("+"), digests.split("+")
        if not sources or len(names) != len(found):  # a source that is weights has no digest
            return True
        return not any(
            edition.differs(suite, split_digests.data_place(n), d) for n, d in zip(names, found, strict=True)
        )

    def target(suite: str, name: str, digest: str) -> bool:
        return not edition.differs(suite, split_digests.data_place(name), digest)

    def split(suite: str, target: str, seed: int, digest: str) -> bool:
        return not edition.differs(suite, split_digests.place(target, seed), digest)

    kept = _per(frame, ["suite", "target", "seed", "split"], split)
    return kept & _per(frame, ["suite", "target", "data"], target) & _per(frame, ["suite", *LISTS], source)


def _alike(frame: pd.DataFrame) -> Any:
    """Rows on a suite's commonest network; target-only may lack its weights, where the checkpoint is the source."""
    kind = ["backbone", "precision", "weights"]
    kinds = frame.assign(**{name: words(frame[name]) for name in kind}, alone=words(frame["sources"]) == "")
    commonest: dict[str, tuple[str, str, str]] = {}
    for suite, own in kinds.groupby("suite", observed=True):
        counts = own.groupby(kind, observed=True).size()
        commonest[str(suite)] = max(counts.index, key=lambda k: (bool(k[2]), counts[k], k))

    def told(suite: str, backbone: str, precision: str, weights: str, alone: bool) -> bool:
        most = commonest[suite]
        without = alone and not weights and (backbone, precision) == most[:2]
        return without or (backbone, precision, weights) == most

    return _per(kinds, ["suite", *kind, "alone"], told)


def one_code(frame: pd.DataFrame, edition: Edition = OPEN) -> Any:
    """(n,) whether a row is of one version of its method's code: the edition's, if it was measured, else that of most
    rows."""
    told = codes(frame)
    by = told.groupby(["method", "code"], observed=True)["time"].agg(["size", "max"]).reset_index()
    by = by.assign(ours=[bool(edition.counts(m, c)) for m, c in by[["method", "code"]].to_numpy()])
    by = by.sort_values(["ours", "size", "max", "code"]).drop_duplicates("method", keep="last")
    chosen = dict(zip(by["method"], by["code"], strict=True))
    return _per(told, ["method", "code"], lambda method, code: chosen[method] == code)


def codes(frame: pd.DataFrame) -> pd.DataFrame:
    """(n, 3) method, what tells its code, and time of each row."""
    told = ["method_digest", "method_version"]
    groups = frame.groupby(told, observed=True, sort=False, dropna=False).ngroup().to_numpy()
    first = frame[told].assign(group=groups).drop_duplicates("group").sort_values("group", kind="stable")
    pairs = zip(
        first["method_digest"].astype(object), first["method_version"].to_numpy(float, na_value=np.nan), strict=True
    )
    texts = [coded(d if isinstance(d, str) else None, None if np.isnan(v) else int(v)) for d, v in pairs]
    return frame[["method", "time"]].assign(code=np.array([*texts, ""], dtype=object)[groups])


def changed_since(frame: pd.DataFrame, edition: Edition = OPEN) -> set[str]:
    """Methods that ship whose version is no longer the one that their rows were measured with."""
    pairs = codes(frame)[["method", "code"]].drop_duplicates()
    return {m for m, c in pairs.itertuples(index=False, name=None) if edition.outdated(m, c)}
