"""Where the weights of pretrained networks are on this machine."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def weight_roots() -> list[Path]:
    """Folders searched for `<name>.safetensors`: TLBENCH_WEIGHTS, then the user's data folder."""
    named = [Path(p) for p in os.environ.get("TLBENCH_WEIGHTS", "").split(os.pathsep) if p]
    return [*named, Path(platformdirs.user_data_path("tlbench")) / "weights"]


def weights_file(name: str) -> Path | None:
    """Where a backbone's weights are, if they are: a file, or the folder of a sentence encoder."""
    files = (root / part for root in weight_roots() for part in (f"{name}.safetensors", f"{name}/config.json"))
    found = next((f for f in files if f.is_file()), None)
    return found.parent if found is not None and found.name == "config.json" else found
