"""Where a domain comes from: the keys that a card says of all its domains, or under [at.NAME] of one."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, PositiveInt

Loader = Literal[
    "embedded", "generated", "weights", "images", "lists", "parquet", "parquet_splits", "cub", "aircraft", "mat",
    "matfolder", "svmlight", "idx", "usps", "medmnist", "omniglot", "omniglot_runs", "voc", "voc_cells", "lines",
    "jsonl", "csv", "texts", "table", "npz", "npy",
]  # fmt: skip
IMAGE_LOADERS = (  # of image files, decoded to the backbone's size
    "images", "lists", "parquet", "parquet_splits", "cub", "aircraft",
)  # fmt: skip
TEXT_LOADERS = ("lines", "jsonl", "csv", "texts")
HOMELESS = ("embedded", "generated", "weights")  # loaders that need no files


class View(BaseModel):
    """Which classes of a domain make a task: some of them, or groups of them under new names."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    keep: tuple[str, ...] = ()  # these, in this order; () keeps all
    groups: dict[str, tuple[str, ...]] = {}  # new class -> old classes; what is in no group is left out


class Place(BaseModel):
    """Where a domain comes from. A card says it for all of its domains, and under [at.NAME] for one of them."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    loader: Loader | None = None
    data: str | None = None  # the dataset card; None for what needs no download
    path: str = "{domain}"  # inside the dataset's folder
    test_path: str | None = None  # the publisher's own test samples, where they are a file apart
    more: tuple[str, ...] = ()  # further files of training texts
    root: str = ""  # the folder inside the dataset's from which listed paths start
    classes: tuple[str, ...] = ()  # what the data must hold, in order; () takes what is there
    view: View = View()
    take: PositiveInt | None = None  # only so many samples, the first in hash order
    part: str | None = None  # the domain's name in a file that holds several; None takes the card's
    only: tuple[str, ...] = ()  # of Omniglot, these alphabets
    without: tuple[str, ...] = ()  # of Omniglot, not these alphabets
    names: str | None = None  # a table of the labels' names, inside the dataset's folder
    label: str = "label"  # the column of a table that holds the label
    text: str | None = None  # the column of a table that holds a text to encode; None takes the numbers
    drop: tuple[str, ...] = ()  # columns of a table that are no features

    def __hash__(self) -> int:  # a dict, which views hold, has none
        return hash((self.loader, self.data, self.path))
