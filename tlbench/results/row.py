"""One row of the store: what a cell measured, and everything needed to trust or repeat it.

`results/README.md` documents every column.
"""

from __future__ import annotations

import base64
import math
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlbench.methods.versions import coded
from tlbench.tasks.card import Budget
from tlbench.tasks.problems import METRICS

DEFAULT = "default"  # the rule of selection that chooses nothing
ORACLES = "oracle_"  # begins the names of rules that look at labels that nobody has: they are never ranked


@dataclass(frozen=True)
class Row:
    """A measured cell. Null means: not measured, and `results/README.md` says when that is."""

    key: str
    status: str  # ok | failed | refused
    reason: str | None
    suite: str
    task: str
    version: int
    paradigm: str
    regime: str  # classification | regression | detection | episodes
    sources: tuple[str, ...]
    target: str
    budget: Budget
    seed: int
    rule: str  # of model selection
    method: str
    family: str
    config: dict[str, Any]
    default: bool  # the published hyperparameters, nothing set
    metric: str
    value: float | None  # of the metric; 0..1, or minus an error
    n_test: int  # answers scored: test samples, or the queries of all episodes
    episodes: int | None
    n_shots: int
    correct: str | None  # base64 of packed bits, one an answer in the split's order; null where none is right or wrong
    fit_s: float | None
    predict_s: float | None
    overhead_s: float | None
    train_samples_per_s: float | None
    step_ms: float | None
    infer_samples_per_s: float | None
    peak_rss_mib: float | None
    peak_gpu_mib: float | None
    device: str
    threads: int
    jobs: int  # cells measured at the same time; times of more than one are contended
    backbone: str
    weights: str | None
    precision: str | None
    data: str
    source_data: tuple[str, ...]
    split: str
    method_digest: str | None  # of a method that does not ship, and in rows of 2026.11
    protocol: int
    tlbench: str
    torch: str
    python: str
    machine: str
    commit: str | None
    dirty: bool | None
    time: str  # UTC, ISO 8601
    trial: int | None = None  # of the method's search; 0 is the published default; null where --set chose
    trials: int | None = None  # that the rule chose from; null for one that chooses from nothing
    tune_s: float | None = None  # what the trials took beyond the one chosen
    total_s: float | None = None  # tune_s + fit_s
    first_step_s: float | None = None
    infer_latency_ms: float | None = None
    infer_latency_p95_ms: float | None = None
    step_gflops: float | None = None
    energy_j: float | None = None
    arithmetic: str | None = None  # of training: fp32, tf32, bf16
    jail: int | None = None  # how far the method's process was confined: 0, 1 or 2
    method_version: int | None = None  # of a method that ships, else of the toolkit
    metrics: dict[str, float] | None = None  # every metric of the problem type by name, `metric` among them

    @property
    def code(self) -> str:
        """What tells the method's code."""
        return coded(self.method_digest, self.method_version)

    @property
    def ok(self) -> bool:
        return self.status == "ok"

    def bits(self) -> NDArray[np.bool_]:
        """(n_test,) which test samples were answered rightly."""
        assert self.correct is not None
        packed = np.frombuffer(base64.b64decode(self.correct), dtype=np.uint8)
        return np.unpackbits(packed, count=self.n_test).astype(bool)

    @property
    def points(self) -> NDArray[np.floating[Any]]:
        """(m,) percentage points whose mean is the value: one a test sample, an episode, or the value alone."""
        if self.value is None:
            raise ValueError(f"a {self.status} row has no points")
        if self.correct is None:
            return np.array([100.0 * self.value])
        hits = 100.0 * self.bits()
        return hits.reshape(self.episodes, -1).mean(1) if self.episodes else hits

    def values(self) -> dict[str, Any]:
        return asdict(self)


COLUMNS = tuple(f.name for f in fields(Row))
LATER = frozenset(f.name for f in fields(Row) if f.default is None)  # columns that older rows lack: null there
MOST = 1 << 63  # of a whole number's size: what Parquet can hold
_NONE = type(None)
_JSON: dict[str, set[type]] = {  # what a column of a type is in parsed JSON
    "str": {str}, "str | None": {str, _NONE}, "int": {int}, "float | None": {float, int, _NONE},
    "bool": {bool}, "bool | None": {bool, _NONE}, "int | None": {int, _NONE}, "float": {float, int},
     "Budget": {int, str}, "tuple[str, ...]": {list, tuple}, "dict[str, Any]": {dict},
    "dict[str, float] | None": {dict, _NONE},
}  # fmt: skip
Kinds = tuple[tuple[str, str, set[type]], ...]  # of each column: its name, its type, what that is in JSON


def kinds(of: type[Any]) -> Kinds:
    """Of a dataclass's columns."""
    return tuple((f.name, str(f.type), _JSON[str(f.type)]) for f in fields(of))


KINDS = kinds(Row)


def check_columns(values: Any, kinds: Kinds, later: frozenset[str] = frozenset()) -> None:
    """Raises:
    ValueError: parsed JSON has not these columns (but for `later` ones), or one of another type; says which.
    """
    if not isinstance(values, dict):
        raise ValueError("not a JSON object")
    names = {name for name, _, _ in kinds}
    unknown, missing = set(values) - names, names - set(values) - later
    if unknown or missing:
        raise ValueError(f"{'unknown' if unknown else 'missing'} column {min(unknown or missing)!r}")
    for name, kind, types in kinds:
        value = values.get(name)
        if type(value) not in types or (type(value) is float and not math.isfinite(value)):
            raise ValueError(f"column {name!r} is {value!r}, not {kind}")
        if type(value) is int and not -MOST <= value < MOST:
            raise ValueError(f"column {name!r} is a whole number of more than 64 bits")
        if type(value) is str and not _whole(value):
            raise ValueError(f"column {name!r} holds half a character")


def _whole(text: str) -> bool:
    """Whether a text can be written: JSON may name one half of a character alone."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def packed_bits(hits: NDArray[np.bool_]) -> str:
    """(n,) booleans as base64 text."""
    return base64.b64encode(np.packbits(hits).tobytes()).decode()


def _check_metrics(found: dict[str, Any] | None, ranked: str, value: float) -> None:
    """Raises ValueError where the metrics of a row are no numbers within their bounds, or lack the row's value."""
    for name, number in (found or {}).items():
        known = METRICS.get(name)  # one that came later may have any value
        if type(number) not in (float, int) or not math.isfinite(number) or (known and not known.holds(number)):
            within = f" in {known.bounds}" if known else ""
            raise ValueError(f"column 'metrics' has {number!r} as {name}, not a number{within}")
    if found is not None and found.get(ranked) != value:
        raise ValueError(f"column 'metrics' has {found.get(ranked)!r} as {ranked}, column 'value' {value!r}")


def read_row(values: Any) -> Row:
    """A row from parsed JSON.

    Raises:
        ValueError: it is not one; says which column.
    """
    check_columns(values, KINDS, LATER)
    for name in ("sources", "source_data"):
        if not all(type(s) is str and _whole(s) for s in values[name]):
            raise ValueError(f"column {name!r} is {values[name]!r}, not a list of texts")
    if values["status"] not in ("ok", "failed", "refused"):
        raise ValueError(f"column 'status' is {values['status']!r}")
    if values["status"] == "ok":
        value, metric = values["value"], METRICS.get(values["metric"])
        if metric is None:
            raise ValueError(f"column 'metric' is {values['metric']!r}, of which nothing is known")
        if values["n_test"] < 1 or (values["episodes"] is not None and not 0 < values["episodes"] <= values["n_test"]):
            raise ValueError(f"column 'n_test' is {values['n_test']}, with {values['episodes']} episodes")
        if values["n_test"] % (values["episodes"] or 1):
            raise ValueError(f"column 'n_test' is {values['n_test']}, which {values['episodes']} episodes do not share")
        if value is None or not metric.holds(value):
            raise ValueError(f"column 'value' is {value!r}, not a number in {metric.bounds}")
        if (values["correct"] is None) == metric.per_answer:
            raise ValueError(f"column 'correct' does not go with metric {values['metric']!r}")
        if values["correct"] is not None and len(base64.b64decode(values["correct"])) != -(-values["n_test"] // 8):
            raise ValueError("column 'correct' does not hold one bit a test sample")
        _check_metrics(values.get("metrics"), metric.name, value)
    lists = {name: tuple(values[name]) for name in ("sources", "source_data")}
    return Row(**{**values, **lists})
