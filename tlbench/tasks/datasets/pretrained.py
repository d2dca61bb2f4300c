"""Pretrained networks that a card may name: their cards, and where their weights are on this machine."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import platformdirs
from pydantic import BaseModel, ConfigDict, PositiveInt

from tlbench.errors import UsageError
from tlbench.tasks.card import validated
from tlbench.tasks.toml_folder import TomlFolder


def weight_roots() -> list[Path]:
    """Folders searched for `<name>.safetensors`: TLBENCH_WEIGHTS, then the user's data folder."""
    named = [Path(p) for p in os.environ.get("TLBENCH_WEIGHTS", "").split(os.pathsep) if p]
    return [*named, Path(platformdirs.user_data_path("tlbench")) / "weights"]


def weights_file(name: str) -> Path | None:
    """Where a backbone's weights are, if they are: a file, or the folder of a sentence encoder."""
    files = (root / part for root in weight_roots() for part in (f"{name}.safetensors", f"{name}/config.json"))
    found = next((f for f in files if f.is_file()), None)
    return found.parent if found is not None and found.name == "config.json" else found


BUILT_IN = {
    "convnet": "two convolutions and a linear layer, from scratch; 128-d",
    "fieldnet": "five convolutions that keep a map of places, from scratch; 64-d",
    "hashed": "counts of hashed words and pairs of words; 4096-d",
    "none": "the features as they are",
}
BACKBONES = TomlFolder("backbones", "unknown backbone {name!r}", also=tuple(BUILT_IN))


class BackboneCard(BaseModel):
    """A pretrained network: which one it is, and how its inputs are prepared."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: str
    summary: str
    takes: Literal["images", "texts"] = "images"
    timm: str | None = None  # the name of a timm model
    hub: str | None = None  # the repository of a sentence encoder; its weights are a folder
    pad_type: str | None = None
    sha256: str | None = None  # of the weights file; None takes what the hub gives and records it
    resize: PositiveInt = 1
    crop: PositiveInt = 1  # the side of its input
    fit: Literal["crop", "squash"] = "crop"  # the centre of the resized image, or all of it squashed to the side
    fixed_norm: bool = False  # its batch norms are folded: they stay on their stored statistics when it is trained
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    license: str
    origin: str

    @property
    def margin(self) -> int:
        """Side of the square that random crops are taken from while training: 8/7 of the input's."""
        return self.crop * 8 // 7


@dataclass(frozen=True)
class Backbone:
    """A backbone whose weights are at hand."""

    card: BackboneCard
    weights: Path
    digest: str  # SHA-256 of the weights file

    def spec(self, augment: tuple[str, ...] = (), side: int | None = None) -> dict[str, Any]:
        """What a worker needs to build it, for inputs of `side` pixels if not of its own."""
        if self.card.takes == "texts":
            return {"kind": "sentence", "weights": str(self.weights)}
        return {
            "kind": "timm" if self.card.timm else "resnet20",
            "timm": self.card.timm,
            "args": {"pad_type": self.card.pad_type} if self.card.pad_type else {},
            "weights": str(self.weights),
            "mean": self.card.mean,
            "std": self.card.std,
            "size": side or self.card.crop,
            "augment": augment,
            "fixed_norm": self.card.fixed_norm,
        }


def backbone_files() -> dict[str, Path]:
    """Name -> file of every pretrained network's card."""
    return BACKBONES.files()


@cache
def read(name: str) -> BackboneCard:
    """The card of a backbone.

    Raises:
        UsageError: there is none of that name.
    """
    file = BACKBONES.file(name)
    return validated(BackboneCard, *BACKBONES.read(file), str(file))


def at_hand(names: tuple[str, ...]) -> Backbone:
    """The first of `names` whose weights are on this machine.

    Raises:
        UsageError: none is, or a file is not the one its card pins.
    """
    for name in names:
        card, file = read(name), weights_file(name)
        if file is None:
            continue
        digest = file_digest(file)
        if card.sha256 is not None and digest != card.sha256:
            raise UsageError(
                f"{file}: SHA-256 is {digest[:12]}…, the card of {name} pins {card.sha256[:12]}…; get it again"
            )
        return Backbone(card, file, digest)
    listed = " or ".join(f"{n}.safetensors" for n in names)
    obtainable = next((n for n in names if read(n).sha256 is None), names[0])
    raise UsageError(
        f"weights of {names[0]} are missing ({listed} in TLBENCH_WEIGHTS or {weight_roots()[-1]}): "
        f"get them with `tlbench data pull {obtainable}`, or choose others with --backbone"
    )


@cache
def _digest(path: str, size: int, modified: int) -> str:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def file_digest(file: Path) -> str:
    """SHA-256 of a file (of its files' digests, if it is a folder), computed once a process while it stays the same."""
    if file.is_dir():
        inside = sorted(f for f in file.rglob("*") if f.is_file())
        listed = "\n".join(f"{file_digest(f)}  {f.relative_to(file)}" for f in inside)
        return hashlib.sha256(listed.encode()).hexdigest()
    stat = file.stat()
    return _digest(str(file), stat.st_size, stat.st_mtime_ns)


def pull(name: str) -> Path:
    """Fetch a backbone's weights through timm's hub into the user's weights folder.

    Raises:
        UsageError: the hub does not have it, or cannot be reached.
    """
    import timm  # minutes of download ahead: its import does not count
    from safetensors.torch import save_file

    card = read(name)
    if card.hub is not None:
        return _pull_folder(name, card.hub)
    if card.sha256 is not None:
        raise UsageError(f"{name} is on no hub ({card.origin}); put {name}.safetensors in a folder of TLBENCH_WEIGHTS")
    try:
        model = timm.create_model(str(card.timm), pretrained=True)
    except Exception as error:  # the hub's clients raise a dozen kinds
        said = " ".join(str(error).split())[:200]
        raise UsageError(f"{name}: timm's hub did not give {card.timm} ({type(error).__name__}: {said})") from None
    folder = weight_roots()[-1]
    folder.mkdir(parents=True, exist_ok=True)
    file, temporary = folder / f"{name}.safetensors", folder / f"{name}.part"
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, temporary)
    temporary.replace(file)
    return file


def _pull_folder(name: str, hub: str) -> Path:
    from huggingface_hub import snapshot_download

    folder = weight_roots()[-1] / name
    try:
        wanted = ["*.json", "*.txt", "*.safetensors", "*/config.json"]
        snapshot_download(hub, local_dir=folder, allow_patterns=wanted)
    except Exception as error:  # the hub's clients raise a dozen kinds
        said = " ".join(str(error).split())[:200]
        raise UsageError(f"{name}: the hub did not give {hub} ({type(error).__name__}: {said})") from None
    return folder
