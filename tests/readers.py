"""What reads files that anybody may have made, each as a function of bytes that may raise nothing but what it says.

`test_readers` feeds them from hypothesis, a little; `python tests/fuzz.py TARGET -max_total_time=300` for as long as
one likes, by coverage (atheris; `uv pip install atheris`).
"""

from __future__ import annotations

import io
import json
import shutil
import tempfile
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
from held import row

from tlbench.errors import UsageError
from tlbench.results import archive, bundle, predictions, store
from tlbench.results.archive import Packed
from tlbench.results.store import Store
from tlbench.tasks import registry
from tlbench.tasks.datasets import dataset, digests
from tlbench.tasks.problems.answers import read_boxes, read_scores

ROOT = Path(__file__).parent.parent
PLAIN = json.dumps(row("dann", "digits/fonts-photos", 5, 0, 60, key="a" * 64).values()).encode()


def rows(data: bytes) -> None:
    """A line of rows.jsonl; what is no row is skipped and named."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "rows.jsonl").write_bytes(data + b"\n")
        held = Store(Path(folder))
        assert len(held.rows) + len(held.skipped) <= data.count(b"\n") + 1
        for one in held.rows.values():
            one.values()
            if one.ok:
                assert len(one.points) >= 1
        held.warnings()


def packed(data: bytes) -> None:
    """A segment in Parquet."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder, archive.FOLDER)
        place.mkdir()
        (place / "a.parquet").write_bytes(data)
        with suppress(UsageError, ValueError):
            Packed(Path(folder)).rows()


def cards(data: bytes) -> None:
    """A task's card, as one of the user's own."""
    _read("mine.toml", data, registry.read)


def dataset_cards(data: bytes) -> None:
    _read("mine.toml", data, lambda file: dataset.dataset(str(file)))


def manifests(data: bytes) -> None:
    """A list of digests."""
    _read("SHA256SUMS", data, digests.read_sums)


def arrays(data: bytes) -> None:
    """Predictions of one cell."""
    with suppress(ValueError):
        found = predictions.parsed(io.BytesIO(data), 1 << 20)
        assert found.dtype.name in predictions.KINDS
        assert found.nbytes <= len(data)


def scores(data: bytes) -> None:
    """What a worker's child left as its scores."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "scores.npy")
        file.write_bytes(data)
        for read in (lambda: read_scores(file, 4, 3), lambda: read_boxes(file, 4)):
            with suppress(ValueError):
                read()


def archives(data: bytes) -> None:
    """predictions.npz."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, bundle.ANSWERS)
        file.write_bytes(data)
        with suppress(ValueError):
            for m in bundle.members(file)[:20]:
                with zipfile.ZipFile(file):
                    held = bundle.Bundle(Path(folder), None, (), "")  # type: ignore[arg-type]
                    held.answers(m.filename.removesuffix(".npy"))


def abouts(data: bytes) -> None:
    """bundle.json of an otherwise good bundle."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder, "b")
        shutil.copytree(_good(), place)
        (place / bundle.ABOUT).write_bytes(data)
        with suppress(ValueError):
            bundle.differing(bundle.read(place))


def records(data: bytes) -> None:
    """verification.json."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder, "b")
        shutil.copytree(_good(), place)
        (place / bundle.RECORD).write_bytes(data)
        with suppress(ValueError):
            assert bundle.read(place).accepted in (True, False)


def lines(data: bytes) -> None:
    """rows.jsonl of a bundle."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder, "b")
        shutil.copytree(_good(), place)
        (place / bundle.ROWS).write_bytes(data)
        with suppress(ValueError):
            bundle.read(place)


def jsons(data: bytes) -> None:
    """A line of a store, or JSON of a bundle."""
    for read in (store.parsed, bundle.parsed):
        with suppress(ValueError, RecursionError):
            read(data)


def _read(name: str, data: bytes, read: Callable[[Path], object]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, name)
        file.write_bytes(data)
        try:
            read(file)
        except UsageError as mistake:
            if "\n" in str(mistake):
                raise ValueError(f"more than a line: {mistake}") from None


_made: list[Path] = []


def _good() -> Path:
    """A bundle of one row."""
    if not _made:
        place = Path(tempfile.mkdtemp(prefix="tlbench-fuzz-")) / "b"
        (place / bundle.SOURCE).mkdir(parents=True)
        (place / bundle.SOURCE / "m.py").write_text("x = 1\n")
        (place / bundle.ROWS).write_bytes(PLAIN + b"\n")
        (place / bundle.ANSWERS).write_bytes(npz())
        (place / bundle.ABOUT).write_bytes(about())
        bundle.read(place)
        _made.append(place)
    return _made[0]


def about() -> bytes:
    names = (bundle.ROWS, bundle.ANSWERS, "source/m.py")
    method = {"name": "m:M", "spec": "m.py:M", "family": "other", "summary": "", "file": "m.py", "cls": "M",
              "digest": "0" * 64, "distribution": None, "version": None}  # fmt: skip
    return json.dumps({"format": 1, "name": "m", "method": method, "asked": ["digits"], "partial": True,
                       "files": dict.fromkeys(names, "0" * 64), "environment": {}, "commit": None, "dirty": None,
                       "commands": ["x"], "calibration": {}, "supersedes": {}}).encode()  # fmt: skip


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    return stream.getvalue()


def npz() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as held:
        held.writestr("a" * 64 + ".npy", npy(np.zeros(100, np.uint8)))
    return stream.getvalue()


def segment() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return archive.write(Path(folder), [row("dann", "digits/fonts-photos", 5, 0, 60)]).read_bytes()


TARGETS: dict[str, tuple[Callable[[bytes], None], Callable[[], bytes]]] = {  # name -> reader, something it can read
    "rows": (rows, lambda: PLAIN),
    "packed": (packed, segment),
    "cards": (cards, lambda: b'source = "a"\ntarget = "b"\n'),
    "task_cards": (cards, lambda: (ROOT / "tasks" / "wdbc_shift.toml").read_bytes()),
    "dataset_cards": (dataset_cards, lambda: (ROOT / "tasks" / "datasets" / "office31.toml").read_bytes()),
    "manifests": (manifests, lambda: b"a" * 64 + b"  images/one.png\n"),
    "arrays": (arrays, lambda: npy(np.zeros((3, 2), np.float32))),
    "scores": (scores, lambda: npy(np.zeros((4, 3), np.float32))),
    "archives": (archives, npz),
    "abouts": (abouts, about),
    "records": (
        records,
        lambda: json.dumps(
            {"format": 1, "bundle": "0" * 64, "verdict": "accept", "checks": [["a", "accept", "b"]], "seed": 0,
             "jail": 1, "tlbench": "0.1.0", "commit": None, "time": ""}
        ).encode(),
    ),
    "lines": (lines, lambda: PLAIN + b"\n"),
    "jsons": (jsons, lambda: PLAIN),
}  # fmt: skip
