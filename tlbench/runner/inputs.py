"""A domain's inputs as memory-mapped arrays that a method may be given.

Image files are decoded, or run through the frozen backbone, once per (data, weights, transform, precision). The
precision is what the command says, never what the processor is good at: a row is the same on every machine. What a
method's process opens are copies in hash order without names: a file's place in its folder tells its class, a
row's place here tells nothing.
"""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlbench import cache
from tlbench.data import Domain
from tlbench.errors import Mistake
from tlbench.runner.sandbox.sandbox import Limits
from tlbench.runner.worker import text_encoding
from tlbench.runner.worker.local import Workers, forget
from tlbench.tasks.card import Card
from tlbench.tasks.datasets.pretrained import Backbone
from tlbench.tasks.place import IMAGE_LOADERS
from tlbench.tasks.split import Indices, order_digest, sha

LARGE = 1 << 28  # bytes; more than that is never copied whole into memory
VERSION = 1  # of decoding and extraction; part of every key
Array = NDArray[Any]
Progress = Callable[[str, int, int], None]  # what, done, of


def native_bf16() -> bool:
    """Whether this CPU multiplies bfloat16 by instructions of its own: it tells of speed, and decides no number."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.machine() == "arm64"  # Apple's since 2022; Linux tells below
    flags = next((line for line in text.splitlines() if line.startswith(("flags", "Features"))), "").split()
    return bool({"avx512_bf16", "amx_bf16", "bf16"} & set(flags))


@dataclass(frozen=True)
class Transform:
    """How a card's image files become arrays, and the key of that."""

    shape: dict[str, Any]  # resize, crop, fit: see `features.Shape`
    net: dict[str, Any] | None  # a timm spec; None keeps the pixels
    precision: str  # of what the network is given: 'fp32', 'bf16' where the command declares it, or 'uint8'
    digest: str  # of the weights, or 'pixels'

    @classmethod
    def of(cls, card: Card, backbone: Backbone | None, features: str = "fp32") -> Transform | None:
        """None when the card's data are arrays already.

        Args:
            features: the precision in which a frozen network computes an image's features: 'fp32' or 'bf16'
        """
        if card.text_encoded:
            if backbone is None:
                return cls({}, None, "uint8", "hashed")
            return cls({}, backbone.spec(), "fp32", backbone.digest)
        if not any(card.place(d).loader in IMAGE_LOADERS for d in card.all_domains):
            return cls({"scale": "domain"}, None, "fp32", "features") if card.scale == "domain" else None
        if card.trainable:  # crops are taken from a slightly larger square while training
            own = backbone.card if backbone and not card.side else None
            side, fit = (own.margin, own.fit) if own else (card.side, "squash")
            return cls({"resize": side, "crop": side, "fit": fit}, None, "uint8", "pixels")
        assert backbone is not None
        b = backbone.card
        return cls({"resize": b.resize, "crop": b.crop, "fit": b.fit}, backbone.spec(), features, backbone.digest)

    def key(self, order: str) -> str:
        """Of the arrays of a domain, by its order digest."""
        net = {k: v for k, v in self.net.items() if k != "weights"} if self.net else None
        said = json.dumps([self.shape, net, self.digest, self.precision], sort_keys=True)
        return sha("inputs", VERSION, order, said)


def raw_key(domain: Domain, transform: Transform | None) -> str:
    """What identifies a domain's arrays: their content, in their order, and what was done to them."""
    order = order_digest(domain)
    return transform.key(order) if transform else sha("inputs", VERSION, order, "as they are")


def arrays(domain: Domain, transform: Transform | None, workers: Workers, device: str, progress: Progress) -> Array:
    """(n, *shape) inputs in the domain's own order, memory-mapped; computed now where they are not cached.

    Raises:
        Mistake: an image is broken; it is named.
    """
    if domain.x is not None and transform is None:
        return domain.x
    assert transform is not None
    if domain.x is not None:
        x = domain.x
        return cache.array(
            cache.folder("inputs") / f"{raw_key(domain, transform)}.npy", lambda: standardized(x.astype(np.float64))
        )
    if domain.texts and transform.net is None:
        file = cache.folder("inputs") / f"{raw_key(domain, transform)}.npy"
        return cache.array(file, lambda: text_encoding.hashed(domain.texts))
    out = cache.folder("inputs") / f"{raw_key(domain, transform)}.npy"
    if cache.readable(out) is None:
        _extract(domain, transform, out, workers, device, progress)
    mapped: Array = np.load(out, mmap_mode="r", allow_pickle=False)
    return mapped


def standardized(x: NDArray[np.float64]) -> NDArray[np.float32]:
    """(n, d) counts of one domain as the classic tables have them: each row over its sum, then each feature to mean 0
    and deviation 1 (ddof 1) within the domain. It sees the test inputs, as those protocols do."""
    x = x / np.maximum(x.sum(1, keepdims=True), 1e-12)
    deviation = x.std(0, ddof=1)
    out: NDArray[np.float32] = ((x - x.mean(0)) / np.where(deviation > 0, deviation, 1)).astype(np.float32)
    return out


def _extract(
    domain: Domain, transform: Transform, out: Path, workers: Workers, device: str, progress: Progress
) -> None:
    workers = workers.outside()
    folder = workers.folder()
    listed, counter = folder / "files.txt", folder / "progress.txt"
    if domain.texts:
        listed.write_text(json.dumps(domain.texts), encoding="utf-8")
    else:
        listed.write_text("\n".join(str(f.resolve()) for f in domain.files), encoding="utf-8")
    job = {
        "kind": "extract", "files": str(listed), "out": str(out), "progress": str(counter), "shape": transform.shape,
        "net": transform.net, "precision": transform.precision, "device": device, "threads": workers.cores,
    }  # fmt: skip
    what = f"{'decoding' if transform.net is None else 'features of'} {domain.name}"
    number = workers.submit(job, folder, Limits(seconds=86400, memory_mib=16384, file_mib=1 << 20))
    while (ended := workers.poll(0.2, number)) is None:
        progress(what, int(counter.read_text() or 0) if counter.exists() else 0, len(domain))
    progress(what, len(domain), len(domain))
    forget(ended)
    if ended.report["status"] != "ok":
        raise Mistake(ended.report["reason"])


def row_bytes(x: Array) -> int:
    """Bytes of one input."""
    return int(np.prod(x.shape[1:])) * x.itemsize


def pack(x: Array, rows: Indices, key: str, role: str) -> Path:
    """`x[rows]` in a file of its own, written once.

    A method sees the file's name, and `key` is of all labels: a guess of them could be held against an open digest.
    """
    name = sha("pack", cache.secret(), key, role, sha(*rows.tolist()))
    file = cache.folder("packs") / f"{name}.npy"
    if not file.exists():
        temporary = file.with_name(f"{name}.{time.monotonic_ns()}.tmp")
        out = cache.reserved(temporary, x.dtype, (len(rows), *x.shape[1:]))
        step = max(1, (1 << 25) // max(1, row_bytes(x)))
        for i in range(0, len(rows), step):  # in pieces: the whole may be larger than memory
            out[i : i + step] = x[rows[i : i + step]]
        out.flush()
        del out
        temporary.replace(file)
    return file
