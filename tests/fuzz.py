"""Coverage-guided fuzzing of one reader of `readers`: python tests/fuzz.py TARGET [-max_total_time=300].

It is no part of the suite: `uv pip install atheris`, then run it by hand. What it finds is fixed and becomes a test.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["tlbench", "readers"]):
    from readers import TARGETS


def main() -> None:
    read, good = TARGETS[sys.argv[1]]
    corpus = Path("/tmp") / f"tlbench-fuzz-{sys.argv[1]}"
    corpus.mkdir(exist_ok=True)
    (corpus / "good").write_bytes(good())
    atheris.Setup(
        [sys.argv[0], str(corpus), "-max_len=20000", f"-artifact_prefix={corpus}-", "-timeout=20", *sys.argv[2:]], read
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main()
