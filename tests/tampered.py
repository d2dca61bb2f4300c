"""A small honest bundle, and what a cheat might do to one."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tlbench.methods.method import Description
from tlbench.results import bundle
from tlbench.results.bundle import Bundle
from tlbench.results.store import Store
from tlbench.runner import descriptions, experiment, plan
from tlbench.runner.cell import Cell
from tlbench.runner.cell_job import Bench
from tlbench.runner.experiment import Options
from tlbench.runner.worker.local import Workers
from tlbench.verification.submissions import submit
from tlbench.verification.submissions.inspection import (
    Check,
    as_written,
    complete,
    on_the_board,
    place,
    rescored,
    told_again,
)
from tlbench.verification.submissions.submit import Submission

METHOD = '''
"""Nearest class means."""

from dataclasses import dataclass
from typing import ClassVar

import torch


@dataclass(frozen=True)
class Means:
    """Nearest class means of all that is labelled."""

    needs: ClassVar[frozenset[str]] = frozenset({"sources"})
    family: ClassVar[str] = "feature-based"

    def fit(self, train, seed):
        parts = [*train.sources, train.shots]
        x, y = torch.cat([p.x.flatten(1) for p in parts]), torch.cat([p.y for p in parts])
        mean, std = x.mean(0), x.std(0) + 1e-6
        centres = torch.stack([((x - mean) / std)[y == c].mean(0) for c in range(train.n_classes)])
        return lambda q: -torch.cdist((q.flatten(1) - mean) / std, centres)
'''
TASK = "wdbc_shift"
Rows = list[dict[str, Any]]


def made(folder: Path, code: str = METHOD, spec: str = "means.py:Means", **changed: Any) -> Path:
    """A bundle of six cells, made as anybody would. It says that it is partial."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / spec.partition(":")[0]
    file.write_text(code)
    wanted = Submission(
        f"{file}:{spec.partition(':')[2]}", (TASK,), (1, 5), (0, 1, 2), partial=True, command="tlbench submit",
        options=Options(results=folder / "results", device="cpu", jobs=1),
    )  # fmt: skip
    return submit.submit(replace(wanted, **changed))[0]


@dataclass
class Bundled:
    """An honest bundle, and what is known here of its cells: shared by all that tamper with copies of it."""

    folder: Path
    bench: Bench
    found: dict[Any, Cell]
    method: Description

    @classmethod
    def of(cls, folder: Path) -> Bundled:
        b = bundle.read(folder)
        spec = f"{folder / 'source' / b.about.method.file}:{b.about.method.cls}"
        bench = experiment.bench(Options(device="cpu", jobs=1))
        with Workers() as workers:
            described = descriptions.describe((spec,), {}, workers)
        made = plan.make(submit.request(spec, b.about.asked), bench, described)
        cells = submit.owed(made, described[spec])
        return cls(folder, bench, {(c.task.name, c.budget, c.seed): c for c in cells}, described[spec])

    def inspect(self, folder: Path, store: Path) -> list[Check]:
        """All that `verify` says before it runs anything."""
        try:
            b = bundle.read(folder)
        except ValueError as error:
            return [Check("well-formed", "reject", str(error))]
        method = replace(self.method, digest=b.about.method.digest)  # as a worker would describe what is there
        found = {p: replace(c, method=method) for p, c in self.found.items()}
        cells = {r.key: found[place(r)] for r in b.rows if place(r) in found}
        return [
            *as_written(b), *on_the_board(b, Store(store)), *complete(b, found, []),
            *told_again(b, cells, self.bench), rescored(b, cells, self.bench),
        ]  # fmt: skip


def rejected(checks: list[Check]) -> set[str]:
    """Names of the checks that reject."""
    return {c.name for c in checks if c.verdict == "reject"}


def rows_of(folder: Path) -> Rows:
    return [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]


def write_rows(folder: Path, rows: Rows) -> None:
    (folder / "rows.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    seal(folder)


def seal(folder: Path, **changed: Any) -> None:
    """Digests as a cheat would mend them."""
    about = json.loads((folder / "bundle.json").read_text()) | changed
    files = ["rows.jsonl", "predictions.npz", *(f"source/{p.name}" for p in (folder / "source").iterdir())]
    about["files"] = {f: hashlib.sha256((folder / f).read_bytes()).hexdigest() for f in files}
    (folder / "bundle.json").write_text(json.dumps(about))


def answers_of(folder: Path) -> dict[str, np.ndarray]:
    b: Bundle = bundle.read(folder)
    return {key: b.answers(key) for key in b.keys}


def bits(hits: np.ndarray) -> str:
    return base64.b64encode(np.packbits(hits).tobytes()).decode()


def changed_value(f: Path) -> None:
    rows = rows_of(f)
    rows[0]["value"] += 0.01
    rows[0]["metrics"]["accuracy"] = rows[0]["value"]
    write_rows(f, rows)


def changed_metrics(f: Path) -> None:
    rows = rows_of(f)
    rows[0]["metrics"]["macro_f1"] *= 0.9
    write_rows(f, rows)


def value_beside_its_metrics(f: Path) -> None:
    rows = rows_of(f)
    rows[0]["value"] += 0.01
    write_rows(f, rows)


def changed_correct(f: Path) -> None:
    rows = rows_of(f)
    raw = bytearray(base64.b64decode(rows[0]["correct"]))
    raw[0] ^= 1
    rows[0]["correct"] = base64.b64encode(raw).decode()
    write_rows(f, rows)


def changed_predictions(f: Path) -> None:
    answers = answers_of(f)
    key = min(answers)
    submit.pack(f / "predictions.npz", answers | {key: 1 - answers[key]})
    seal(f)


def unmended_digest(f: Path) -> None:
    (f / "rows.jsonl").write_text((f / "rows.jsonl").read_text().replace('"dirty"', ' "dirty"'))


def swapped_rows(f: Path) -> None:
    rows = rows_of(f)
    mine = [r for r in rows if r["budget"] == 5]
    for name in ("value", "correct", "metrics"):
        mine[0][name], mine[1][name] = mine[1][name], mine[0][name]
    write_rows(f, rows)


def swapped_seeds(f: Path) -> None:
    rows = rows_of(f)
    rows[0]["seed"], rows[1]["seed"] = rows[1]["seed"], rows[0]["seed"]
    write_rows(f, rows)


def changed_code(f: Path) -> None:
    file = f / "source" / "means.py"
    file.write_text(file.read_text().replace("1e-6", "1e-3"))
    seal(f)


def changed_code_and_digest(f: Path) -> None:
    from tlbench.methods.digest import code_digest

    changed_code(f)
    digest = code_digest((f / "source" / "means.py").rename(f / "source" / "other.py"), "Means")
    method = json.loads((f / "bundle.json").read_text())["method"] | {"file": "other.py", "digest": digest}
    rows = [r | {"method_digest": digest} for r in rows_of(f)]
    seal(f, method=method)
    write_rows(f, rows)


def edited(column: str, value: Any) -> Callable[[Path], None]:
    def edit(f: Path) -> None:
        rows = rows_of(f)
        rows[0][column] = value
        write_rows(f, rows)

    return edit


def removed_cell(f: Path) -> None:
    rows = rows_of(f)
    gone = rows.pop(0)["key"]
    submit.pack(f / "predictions.npz", {k: a for k, a in answers_of(f).items() if k != gone})
    write_rows(f, rows)
    seal(f, partial=False)


def forged_record(f: Path) -> None:
    record = {"format": 1, "bundle": "0" * 64, "verdict": "accept", "checks": [], "seed": 0, "jail": 2,
              "tlbench": "0.1.0", "commit": None, "time": ""}  # fmt: skip
    (f / "verification.json").write_text(json.dumps(record))


def traversal(f: Path) -> None:
    with zipfile.ZipFile(f / "predictions.npz", "a") as held:
        held.writestr("../../evil.npy", b"")
    seal(f)


def source_traversal(f: Path) -> None:
    seal(f, method=json.loads((f / "bundle.json").read_text())["method"] | {"file": "../../../etc/passwd.py"})


def symlink(f: Path) -> None:
    (f / "source" / "shadow.py").symlink_to("/etc/passwd")


def member(f: Path, data: bytes) -> None:
    """The first row's predictions, replaced by these bytes."""
    key = rows_of(f)[0]["key"]
    with zipfile.ZipFile(f / "predictions.npz") as held:
        kept = {n: held.read(n) for n in held.namelist()}
    with zipfile.ZipFile(f / "predictions.npz", "w", zipfile.ZIP_DEFLATED) as held:
        for name, content in (kept | {f"{key}.npy": data}).items():
            held.writestr(name, content)
    seal(f)


class Bomb:
    """What runs when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("/tmp/tlbench-unpickled"),))


def pickled(f: Path) -> None:
    import io

    stream = io.BytesIO()
    np.save(stream, np.array([Bomb()], dtype=object), allow_pickle=True)
    member(f, stream.getvalue())


def header(shape: str) -> bytes:
    text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


def huge_header(f: Path) -> None:
    member(f, header("(1000000000000,)"))


def zip_bomb(f: Path) -> None:
    with zipfile.ZipFile(f / "predictions.npz", "w", zipfile.ZIP_DEFLATED) as held:
        for i in range(3):
            held.writestr(f"{i:064x}.npy", bytes(1 << 20))
        for m in held.filelist:
            m.file_size = 400 << 20
    seal(f)


def duplicate_rows(f: Path) -> None:
    rows = rows_of(f)
    write_rows(f, [*rows, rows[0]])


def duplicate_key(f: Path) -> None:
    text = (f / "bundle.json").read_text()
    (f / "bundle.json").write_text('{"partial": false, ' + text.lstrip()[1:])


def deep(f: Path) -> None:
    (f / "bundle.json").write_text("[" * 200_000 + "]" * 200_000)


def not_a_number(f: Path) -> None:
    (f / "rows.jsonl").write_text((f / "rows.jsonl").read_text().replace('"value":0', '"value":NaN,"x":0', 1))
    seal(f)


def called(field: str, column: str, value: str) -> Callable[[Path], None]:
    """The method says something else of itself, in bundle.json and in every row."""

    def edit(f: Path) -> None:
        method = json.loads((f / "bundle.json").read_text())["method"] | {field: value}
        seal(f, method=method)
        write_rows(f, [r | {column: value} for r in rows_of(f)])

    return edit


def failed(**columns: Any) -> Callable[[Path], None]:
    """One cell is said to have failed, with something in its row that no failure writes."""

    def fail(f: Path) -> None:
        rows = rows_of(f)
        gone = {"status": "failed", "reason": "no", "value": None, "correct": None}
        gone |= {"metrics": None, "fit_s": None, "total_s": None}
        rows[0] |= gone | columns
        submit.pack(f / "predictions.npz", {k: a for k, a in answers_of(f).items() if k != rows[0]["key"]})
        write_rows(f, rows)

    return fail


CASES: dict[str, tuple[Callable[[Path], None], str]] = {  # what is done -> who does it, the check that rejects it
    "a value is changed": (changed_value, "scored again"),
    "the bits for correct answers are changed": (changed_correct, "scored again"),
    "a metric beside the ranked one is changed": (changed_metrics, "scored again"),
    "a value is changed and not among the metrics": (value_beside_its_metrics, "well-formed"),
    "predictions are changed": (changed_predictions, "scored again"),
    "a file is changed but not its digest": (unmended_digest, "files"),
    "results of two rows are swapped": (swapped_rows, "scored again"),
    "seeds of two rows are swapped": (swapped_seeds, "keys"),
    "the code is changed after the run": (changed_code, "source"),
    "the code is changed, and all its digests with it": (changed_code_and_digest, "keys"),
    "the data's digest is edited": (edited("data", "f" * 64), "data"),
    "the split's digest is edited": (edited("split", "f" * 64), "splits"),
    "hyperparameters are hidden": (edited("config", {"steps": 1}), "cells"),
    "failing cells are removed": (removed_cell, "complete"),
    "a verification record is forged": (forged_record, "record"),
    "a name in the archive points outside it": (traversal, "well-formed"),
    "the method's file is outside the bundle": (source_traversal, "well-formed"),
    "source/ contains a link": (symlink, "well-formed"),
    "the predictions contain a pickle": (pickled, "scored again"),
    "a header announces a terabyte": (huge_header, "scored again"),
    "the archive expands to a gigabyte": (zip_bomb, "well-formed"),
    "a row appears twice": (duplicate_rows, "well-formed"),
    "a key of bundle.json appears twice": (duplicate_key, "well-formed"),
    "bundle.json is nested endlessly": (deep, "well-formed"),
    "a value is not a number": (not_a_number, "well-formed"),
    "the method has the name of a shipped method": (called("name", "method", "coral"), "new"),
    "the method's name looks like a shipped one": (called("name", "method", "my/c0ral"), "new"),
    "the method's name has lookalike letters": (called("name", "method", "cor\u0430l"), "well-formed"),
    "the method claims to be a reference": (called("family", "family", "reference"), "new"),
    "a failed cell has another number of test samples": (failed(n_test=1000), "splits"),
    "a failed cell has a score": (failed(value=0.99), "columns"),
    "a row claims that a rule chose it": (edited("trials", 30), "columns"),
    "a failed cell has metrics": (failed(metrics={"accuracy": 0.99}), "columns"),
    "a machine's name is a page of Markdown": (edited("machine", "x\n\n## Verified"), "columns"),
}


def copy_of(honest: Path, to: Path) -> Path:
    shutil.copytree(honest, to)
    return to


def leak_code(bench: Bench, cell: Cell) -> str:
    """A method that ships a table from the test inputs to their labels."""
    split = bench.split(cell.task, cell.seed)
    rows, target = split.partition.test, split.domain
    assert target.x is not None
    table = {hashlib.sha256(np.float32(x).tobytes()).hexdigest()[:12]: int(y)
             for x, y in zip(target.x[rows], target.y[rows], strict=True)}  # fmt: skip
    look = (
        "        known = lambda x: TABLE.get(hashlib.sha256(x.numpy().tobytes()).hexdigest()[:12], 0)\n"
        "        return lambda q: torch.nn.functional.one_hot(torch.tensor([known(x) for x in q]), 2).float()\n"
    )
    head = METHOD.replace("import torch", f"import hashlib\nimport torch\n\nTABLE = {table!r}")
    return head[: head.index("        parts =")] + look


def true_answers(folder: Path, bench: Bench, found: dict[Any, Cell]) -> None:
    """The test labels themselves as predictions, with rows that go with them: consistent in every digest."""
    b, answers, rows = bundle.read(folder), {}, rows_of(folder)
    for r, values in zip(b.rows, rows, strict=True):
        split = bench.split(found[place(r)].task, r.seed)
        y = split.domain.y[split.partition.test].astype(np.uint8)
        answers[r.key] = y
        values |= {"value": 1.0, "correct": bits(np.ones(len(y), bool)), "metrics": None}
    submit.pack(folder / "predictions.npz", answers)
    write_rows(folder, rows)


def refused_where_it_is_weak(folder: Path) -> None:
    """All rows but the best become refusals, which nothing can be held against."""
    answers, rows = answers_of(folder), rows_of(folder)
    rows.sort(key=lambda values: values["value"])
    for values in rows[:-1]:
        del answers[values["key"]]
        measured = ("value", "correct", "metrics", "fit_s", "predict_s", "overhead_s", "total_s", "train_samples_per_s",
                    "step_ms", "infer_samples_per_s", "peak_rss_mib", "peak_gpu_mib", "arithmetic")  # fmt: skip
        values |= {**dict.fromkeys(measured), "status": "refused", "reason": "it does not fit the task"}
    submit.pack(folder / "predictions.npz", answers)
    write_rows(folder, rows)


def somebody_elses(folder: Path, bench: Bench, found: dict[Any, Cell], theirs: dict[Any, np.ndarray]) -> None:
    """Another method's predictions under this one's name, scored rightly."""
    b, answers, rows = bundle.read(folder), {}, rows_of(folder)
    for r, values in zip(b.rows, rows, strict=True):
        split = bench.split(found[place(r)].task, r.seed)
        hits = theirs[place(r)] == split.domain.y[split.partition.test]
        answers[r.key] = theirs[place(r)].astype(np.uint8)
        values |= {"value": float(hits.mean()), "correct": bits(hits), "metrics": None}
    submit.pack(folder / "predictions.npz", answers)
    write_rows(folder, rows)
