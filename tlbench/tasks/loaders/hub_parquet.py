"""Images packed in parquet files, as the Hugging Face hub serves PACS and Office-Home (`flwrlabs/…`).

A row holds `image` (its `bytes` and the `path` it had), `label` and `domain`; without a domain it is of the split that
its file is named after, `train` of `train-00000-of-00002.parquet`. The images of a domain are unpacked once, into a
folder a class, and then read like any image folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tlbench import cache
from tlbench.data import Domain
from tlbench.errors import UsageError, suggest
from tlbench.tasks.datasets.digests import is_safe
from tlbench.tasks.loaders import image_folders, parse_cache

VERSION = 1  # of the unpacking: a change of the files bumps it
COLUMNS = ["image", "label"]
SIGNATURES = {b"\xff\xd8\xff": ".jpg", b"\x89PNG": ".png", b"BM": ".bmp", b"II*\0": ".tif", b"MM\0*": ".tif"}


def load(place: Path, name: str, classes: tuple[str, ...] = (), into: Path | None = None) -> Domain:
    """The images of the domain `name`, not yet decoded.

    Args:
        place: a .parquet file, or a folder whose .parquet files together are the data
        classes: the classes that must be there, in order; () takes what is there
        into: the folder to unpack to; None: the cache

    Raises:
        UsageError: no or a broken file; a domain, column or class that is not there.
    """
    if not _is_folder(name):
        raise UsageError(f"{name!r}: the name of a domain becomes a folder's; it cannot be a path")
    files = sorted(place.rglob("*.parquet")) if place.is_dir() else [place]
    if not files:
        raise UsageError(f"{place}: holds no .parquet file; get the data again, or correct the path")
    key = hashlib.sha256("\x1f".join([*map(parse_cache.digest, files), *classes]).encode()).hexdigest()[:32]
    folder = (into or cache.folder("parquet")) / f"v{VERSION}-{key}" / name
    if not folder.is_dir():
        temporary = folder.with_name(f"{name}.{os.getpid()}.tmp")
        try:
            _unpack(files, name, classes, temporary)
            temporary.rename(folder)
        except OSError:
            if not folder.is_dir():  # else another process was first
                raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return image_folders.folder(folder, name, classes)


def splits(place: Path, name: str, classes: tuple[str, ...] = (), into: Path | None = None) -> Domain:
    """The images of the splits `train` and `test` as one domain, whose own test set is the latter; see `load`.

    Raises:
        UsageError: as `load`; the splits have different classes.
    """
    train, test = (load(place, split, classes, into) for split in ("train", "test"))
    if train.classes != test.classes:
        odd = sorted({*train.classes} ^ {*test.classes})[0]
        raise UsageError(f"{place}: class {odd!r} is in one of the splits train and test only; get the data again")
    return Domain(
        name,
        tuple(f"{name}/{i}" for i in (*train.ids, *test.ids)),
        np.concatenate([train.y, test.y]),
        train.classes,
        train.hashes + test.hashes,
        files=train.files + test.files,
        official_test=np.repeat([False, True], [len(train), len(test)]),
    )


def _unpack(files: list[Path], domain: str, classes: tuple[str, ...], folder: Path) -> None:
    """Write each image of `domain` to `folder/<class>/<row>.<ext>`; rows are counted over all files."""
    seen: set[str] = set()
    rows = ((file, *held) for file in files for held in _rows(file))
    for i, (file, sample, published) in enumerate(rows):
        seen.add(str(sample["domain"]))
        if str(sample["domain"]) == domain:
            label, names = sample["label"], published or classes
            c = names[label] if isinstance(label, int) and label in range(len(names)) else str(label)
            held = (sample["image"] or {}).get("bytes") or b""
            suffix = next((s for start, s in SIGNATURES.items() if held.startswith(start)), None)
            if suffix is None or not _is_folder(c):
                raise UsageError(f"{file}: row {i} needs a JPEG, PNG, BMP or TIFF and a label; has {held[:4]!r}, {c!r}")
            (folder / c).mkdir(parents=True, exist_ok=True)
            (folder / c / f"{i:06d}{suffix}").write_bytes(held)
    if domain not in seen:
        raise UsageError(f"{files[0]}: holds no domain {domain!r}{suggest(domain, seen)}")


def _is_folder(name: str) -> bool:
    return is_safe(name) and "/" not in name


def _rows(file: Path) -> Iterator[tuple[dict[str, Any], list[str]]]:
    """Each row as a dictionary, with the names of the labels where the file has them."""
    from pyarrow import ArrowException
    from pyarrow.parquet import ParquetFile

    try:
        with ParquetFile(file) as held:
            there = held.schema_arrow.names
            for column in COLUMNS:
                if column not in there:
                    raise UsageError(f"{file}: has no column {column!r}{suggest(column, there)}")
            names = _class_names(held.schema_arrow.metadata or {})
            split = {} if "domain" in there else {"domain": file.name.partition("-")[0]}
            for batch in held.iter_batches(batch_size=64, columns=[*COLUMNS, *(["domain"] if not split else [])]):
                yield from ((sample | split, names) for sample in batch.to_pylist())
    except (ArrowException, OSError) as error:
        raise UsageError(f"{file}: not a parquet file ({' '.join(str(error).split())}); get it again") from None


def _class_names(metadata: dict[bytes, bytes]) -> list[str]:
    """The names of the labels, as the hub's library writes them beside the data; [] where it did not.

    They become folders': a slash, as in a car called Ram C/V, becomes an underscore.
    """
    try:
        names = json.loads(metadata[b"huggingface"])["info"]["features"]["label"]["names"]
        return [str(n).replace("/", "_") for n in names]
    except (KeyError, ValueError, TypeError):
        return []
