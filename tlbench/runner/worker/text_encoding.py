"""Texts -> arrays: counts of words that need no weights, or the vectors of a pretrained sentence encoder."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlbench.errors import UsageError

VERSION = 1  # of the counting: a change of the arrays bumps it
WIDTH = 4096  # of the counts
PIECE = 1024  # texts whose counts are spread out at once


def hashed(texts: Sequence[str]) -> NDArray[np.uint8]:
    """How often each word and each pair of neighbouring words occurs: uint8 (n, 4096), at most 255.

    Words are lower-cased, have two characters or more, and share a column where their hash (MurmurHash3) does
    (Weinberger et al. 2009, without the signs); nothing is learned from the texts, so no text tells of another.
    """
    from sklearn.feature_extraction.text import HashingVectorizer  # slow to import, and only needed for texts

    counter = HashingVectorizer(n_features=WIDTH, ngram_range=(1, 2), alternate_sign=False, norm=None, dtype=np.float32)
    out = np.empty((len(texts), WIDTH), np.uint8)
    for start in range(0, len(texts), PIECE):
        piece = counter.transform(texts[start : start + PIECE])
        out[start : start + PIECE] = np.minimum(piece.toarray(), 255)
    return out


def sentences(texts: Sequence[str], model: str, device: str = "cpu", batch: int = 32) -> NDArray[np.float32]:
    """The vectors that a pretrained sentence encoder gives the texts: float32 (n, d), pooled as it prescribes.

    Args:
        model: a folder that holds the encoder, or its name on the Hugging Face hub
        batch: texts a step

    Raises:
        UsageError: the library is not installed, or the encoder cannot be loaded.
    """
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError:
        raise UsageError("sentence vectors need sentence-transformers; run: pip install 'tlbench[text]'") from None
    try:
        encoder = SentenceTransformer(model, device=device)
    except Exception as error:  # the library raises a dozen kinds over a broken folder or a missing network
        reason = " ".join(str(error).split())[:200]
        raise UsageError(
            f"{model}: no sentence encoder can be loaded ({reason}); give a folder or a hub name"
        ) from None
    vectors = encoder.encode(list(texts), batch_size=batch, show_progress_bar=False, convert_to_numpy=True)
    return np.asarray(vectors, np.float32)


def extract(job: dict[str, Any]) -> dict[str, Any]:
    """Encode the texts of `job["files"]`, a JSON list, into `job["out"]`, an .npy that appears whole or not at all."""
    texts = json.loads(Path(job["files"]).read_text(encoding="utf-8"))
    vectors = sentences(texts, job["net"]["weights"], job["device"])
    temporary = Path(f"{job['out']}.{os.getpid()}.tmp")
    with temporary.open("wb") as stream:
        np.save(stream, vectors, allow_pickle=False)
    temporary.replace(job["out"])
    return {"n": len(texts)}
