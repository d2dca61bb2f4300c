"""Samples that are another one once more: the same bytes, the same text but for its spelling, or the same picture.

A picture has a look: a 256-bit perceptual hash (the signs of the lowest 16 x 16 cosine coefficients of the grey image
at 64 x 64 pixels, against their median; after Zauner, Implementation and Benchmarking of Perceptual Image Hash
Functions, 2010), taken of the whole and of five crops by 2 % of a side. Two pictures are alike when the whole of one
and any look of the other differ in at most `LIMIT` bits. Chosen on Office-Caltech10 and PACS, 3.8 million pairs: new
JPEG compression (quality 50), resizing, removed colour and crops by 2 % of a side lie within 14 bits; the nearest
different objects (two bicycles on white) differ in 20, those of PACS in more than 30; what is within 14 are copies, new
colours of one catalogue picture, and one pair of frames taken one after the other. Crops of several sides at once are
found in part, larger ones, mirrored and turned pictures are not; nor is a change of what shows next to nothing, as sky.
"""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tlbench import cache
from tlbench.data import Domain, Rows
from tlbench.errors import UsageError

VERSION = 1  # of the looks; part of what the cache knows them by
LIMIT = 14  # bits of 256 that may differ
BITS, SIDE, LOWEST = 256, 64, 16
SMALLEST = 64  # pixels of a side: a glyph has too little in it for a look to say anything
CROPS = ((0, 0, 0, 0), (0.01,) * 4, (0.02, 0, 0, 0), (0, 0.02, 0, 0), (0, 0, 0.02, 0), (0, 0, 0, 0.02))
BLOCK = 128  # pictures compared at once with all others: bounds the memory

Looks = NDArray[np.uint8]  # (n, crops, 32)
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Copies:
    """Which sample of some rows each sample of a domain is once more: the first of them, -1 where it is none."""

    same: Rows  # (n,) by bytes
    alike: Rows  # (n,) by text or look

    @property
    def any(self) -> Mask:
        """(n,) what no training may hold where the rows are tested."""
        return (self.same >= 0) | (self.alike >= 0)


def copies(domain: Domain, tested: Domain, rows: Rows) -> Copies:
    """Which samples of `domain` are samples `rows` of `tested` once more; in the same domain, each is itself.

    Looks are computed once for a domain's content, and what comes of them is kept: both are in the cache.

    Raises:
        UsageError: an image cannot be decoded; it is named.
    """
    same = _firsts(domain.hashes, tested.hashes, rows)
    if domain.texts and tested.texts:
        spelt = [spelling(t) for t in domain.texts]
        return Copies(same, _firsts(spelt, spelt if tested is domain else [*map(spelling, tested.texts)], rows))
    if not (is_pictures(domain) and is_pictures(tested)):
        return Copies(same, same)

    def compare() -> NDArray[Any]:
        first: dict[int, int] = {}
        for i, j in pairs(looks(domain), looks(tested)[rows]):
            first[i] = min(j, first.get(i, j))
        return np.array([rows[first[i]] if i in first else -1 for i in range(len(domain))], np.int64)

    key = _sha(f"copies {VERSION} {LIMIT}", *domain.hashes, "of", *(tested.hashes[i] for i in rows), *map(str, rows))
    return Copies(same, np.asarray(cache.array(cache.folder("looks") / f"{key}.copies.npy", compare)))


def _firsts(keys: Sequence[str], others: Sequence[str], rows: Rows) -> Rows:
    """(n,) the first of `rows` whose key in `others` is that of each of `keys`; -1 where none is."""
    first = {others[j]: int(j) for j in rows[::-1]}
    return np.array([first.get(k, -1) for k in keys], np.int64)


def spelling(text: str) -> str:
    """A text without what its typing adds: forms of letters (NFKC), case, kinds and numbers of blanks."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def is_pictures(domain: Domain) -> bool:
    """Whether samples have a look: image files, and colour images of 64 pixels a side or more."""
    if domain.x is None:
        return bool(domain.files)
    return domain.x.dtype == np.uint8 and domain.x.ndim == 4 and min(domain.x.shape[2:]) >= SMALLEST


def looks(domain: Domain) -> Looks:
    """(n, crops, 32) the hashes of each picture, eight bits a byte; kept by the pictures' content.

    Raises:
        UsageError: an image cannot be decoded; it is named.
    """

    def compute() -> NDArray[Any]:
        with ThreadPoolExecutor(os.cpu_count()) as pool:  # decoding and resizing let go of the interpreter
            return np.stack([*pool.map(lambda i: look(_grey(domain, i)), range(len(domain)))])

    key = _sha(f"looks {VERSION}", *domain.hashes)
    return cache.array(cache.folder("looks") / f"{key}.npy", compute)


def look(grey: Image.Image) -> NDArray[np.uint8]:
    """(crops, 32) hashes of one grey image."""
    from scipy.fft import dctn

    w, h = grey.size
    size, boxes = (SIDE, SIDE), [(w * a, h * b, w * (1 - c), h * (1 - d)) for a, b, c, d in CROPS]
    small = [grey.resize(size, Image.Resampling.LANCZOS, box=box) for box in boxes]
    waves = dctn(np.stack([np.asarray(s, np.float64) for s in small]), axes=(1, 2), norm="ortho")
    low = waves[:, :LOWEST, :LOWEST].reshape(len(CROPS), -1)[:, 1:]  # without the mean brightness
    signs = low > np.median(low, axis=1, keepdims=True)
    return np.packbits(np.pad(signs, ((0, 0), (0, 1))), axis=1)


def _grey(domain: Domain, i: int) -> Image.Image:
    if domain.x is not None:
        return Image.fromarray(np.asarray(domain.x[i]).transpose(1, 2, 0).squeeze()).convert("L")
    try:
        with Image.open(domain.files[i]) as image:
            return image.convert("RGB").convert("L")
    except (OSError, SyntaxError, ValueError) as error:
        said = " ".join(str(error).split())
        raise UsageError(f"{domain.files[i]}: broken image ({said}); get it again or remove it") from None


def pairs(a: Looks, b: Looks) -> Iterator[tuple[int, int]]:
    """The places of alike pictures in `a` (n, crops, 32) and `b` (m, crops, 32).

    Whole pictures are compared first, by a product of matrices. No crop can be closer than that by more than it
    differs from its own whole (the triangle inequality), so few pairs are left for the crops.
    """
    if not len(a) or not len(b):
        return
    signs, reach = _signs(b[:, 0]), _spread(b)
    for start in range(0, len(a), BLOCK):
        block = a[start : start + BLOCK]
        apart = (BITS - _signs(block[:, 0]) @ signs.T) / 2  # (block, m) bits that differ
        i, j = np.nonzero(apart <= LIMIT + np.maximum(_spread(block)[:, None], reach))
        whole_a, whole_b = block[i, :1], b[j, :1]
        least = np.minimum(_apart(whole_a, b[j]).min(1), _apart(block[i], whole_b).min(1))
        for k in np.flatnonzero(least <= LIMIT):
            yield start + int(i[k]), int(j[k])


def _apart(a: Looks, b: Looks) -> NDArray[np.int64]:
    """Bits that differ."""
    apart: NDArray[np.int64] = np.unpackbits(a ^ b, axis=-1).sum(-1, dtype=np.int64)
    return apart


def _spread(a: Looks) -> NDArray[np.int64]:
    """(n,) how far a picture's crops are from the whole, in bits."""
    spread: NDArray[np.int64] = _apart(a[:, :1], a).max(axis=1)
    return spread


def _signs(bits: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(n, 256) -1 and 1: of two rows, the product is 256 less twice the bits that differ."""
    return np.unpackbits(bits, axis=-1).astype(np.float32) * 2 - 1


def _sha(*parts: str) -> str:
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()
