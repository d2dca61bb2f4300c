"""What lies at a path: which loader reads it, what kind of samples it gives, and what network suits them."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np

from tlbench.data import IMAGE_SUFFIXES
from tlbench.tasks.datasets.weights import weights_file

KIND = {  # what each loader that is found by looking gives
    "images": "images", "texts": "texts", "jsonl": "texts", "table": "numbers", "mat": "numbers",
    "svmlight": "numbers", "npz": "arrays", "npy": "arrays",
}  # fmt: skip
READ_BY = {
    ".csv": "table", ".parquet": "table", ".npz": "npz", ".mat": "mat", ".svmlight": "svmlight", ".libsvm": "svmlight",
    ".jsonl": "jsonl",
}  # fmt: skip
SQUARE, OBLONG = "square pictures", "oblong pictures"  # as arrays, not files
PRETRAINED = ("mobilenetv2_100_coral", "mobilenetv2_100")
SMALL = {"backbone": "convnet", "trainable": True}
SMALL_SIDE = 32  # pixels that image files are made to for a network from scratch
LEAST_SIDE = 8  # pixels: what is smaller is no image


def visible(folder: Path) -> list[Path]:
    """What lies in a folder, in order, without what systems hide there."""
    return sorted(p for p in folder.iterdir() if not p.name.startswith("."))


def loader(path: Path) -> str:
    """What reads the file or folder at `path`.

    Raises:
        ValueError: nothing does; says what is there and what should be.
    """
    if not path.is_dir():
        if path.suffix.lower() not in READ_BY:
            raise ValueError(f"{path.name} is no kind of file that is read; these are: {', '.join(READ_BY)}")
        return READ_BY[path.suffix.lower()]
    inside = visible(path)
    arrays = {"x.npy", "y.npy"} & {p.name for p in inside}
    if arrays:
        if len(arrays) == 1:
            raise ValueError(f"{path} holds {arrays.pop()} alone; x.npy and y.npy belong together")
        return "npy"
    if any(p.is_dir() for p in inside):
        return "images"
    if any(p.suffix == ".txt" for p in inside):
        return "texts"
    if any(p.suffix.lower() in IMAGE_SUFFIXES for p in inside):
        raise ValueError(f"{path} holds images but no classes; put the images of a class in a folder of its name")
    raise ValueError(f"{path} holds no folder of images a class, no .txt a class, and no x.npy with its y.npy")


def kind(path: Path, loader: str, text: bool) -> str:
    """What a loader gives of a path: 'images' (files), 'texts', 'numbers', or pictures as arrays.

    Args:
        text: a table's samples are texts
    """
    if loader == "table" and text:
        return "texts"
    if KIND[loader] != "arrays":
        return KIND[loader]
    sides = pixels(*_header(path, loader))
    return "numbers" if sides is None else SQUARE if sides[0] == sides[1] else OBLONG


def pixels(dtype: np.dtype[Any], shape: tuple[int, ...]) -> tuple[int, int] | None:
    """Height and width of the images of an array; None where it holds none.

    Images are uint8 (n, h, w), (n, 1 or 3, h, w), or (n, h, w, 1 or 3) of 8 pixels a side or more.
    """
    if dtype != np.uint8 or len(shape) not in (3, 4):
        return None
    sides = shape[1:] if len(shape) == 3 else shape[2:] if shape[1] in (1, 3) else shape[1:3]
    if min(sides) < LEAST_SIDE or (len(shape) == 4 and 1 not in shape[1::2] and 3 not in shape[1::2]):
        return None
    return sides[0], sides[1]


def _header(path: Path, loader: str) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """Type and shape of an array file's x, which is not read; of nothing where it is broken, which its loader says."""
    try:
        with (path / "x.npy").open("rb") if loader == "npy" else ZipFile(path).open("x.npy") as stream:
            version = np.lib.format.read_magic(stream)
            reading = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, dtype = reading(stream)
            return dtype, shape
    except Exception:  # zip files alone break in half a dozen ways
        return np.dtype(float), ()


def network(kind: str, said: dict[str, Any]) -> dict[str, Any]:
    """The keys of a card about its network, for a card that does not say them.

    Args:
        said: what the card says itself
    """
    if kind == "images":
        return _of_images(said)
    if kind == "texts":
        return {"backbone": "hashed", "scale": "rows"} if said.get("backbone", "hashed") == "hashed" else {}
    if kind == SQUARE:
        return SMALL
    return {**SMALL, "backbone": "fieldnet"} if kind == OBLONG else {"backbone": "none"}  # the other wants squares


def _of_images(said: dict[str, Any]) -> dict[str, Any]:
    if "backbone" in said:
        return {"trainable": True, "side": SMALL_SIDE} if said["backbone"] in ("convnet", "fieldnet") else {}
    if said.get("trainable") is False or any(weights_file(name) for name in PRETRAINED):
        return {"backbone": list(PRETRAINED)}
    return {**SMALL, "side": SMALL_SIDE}
