"""A user's own card, which may be as short as two lines: what it leaves out is filled in from what lies there.

    source = "photos/"
    target = "xrays/"

Domains are paths, from the card's folder on; each gets a name, its loader, and all of them a network that suits them.
A domain that has a path under [at.NAME], and every domain of a card that names `data`, is a name, as in the cards
that ship; and those say everything themselves.

What lies at a path tells its loader, the kind of its samples, and the network that suits them.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np

from tlbench.data import IMAGE_SUFFIXES
from tlbench.errors import UsageError, position, suggest
from tlbench.tasks.datasets.pretrained import weights_file
from tlbench.tasks.task_name import split_sources

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


def loader_of(path: Path) -> str:
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


def file_kind(path: Path, loader: str, text: bool) -> str:
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


Values = dict[str, Any]
ALIAS = "source"  # the one key that only a user's card has: a single one of `sources`
NOT_STATED = "not stated"
FILES = ("path", "test_path", "names", "root")  # keys of a place that are paths
WITH_TEST = ("mat", "svmlight", "jsonl")  # loaders found by looking that take a test file apart


@dataclass(frozen=True)
class Draft:
    """A card as its user wrote it."""

    file: Path
    text: str
    values: Values

    def mistake(self, said: str, *keys: str) -> UsageError:
        return UsageError(f"{position(str(self.file), self.text, *keys)}: {said}")

    def at(self, name: str) -> Values:
        """What the card says under [at.NAME]."""
        held = self.values.get("at")
        own = held.get(name) if isinstance(held, dict) else None
        return own if isinstance(own, dict) else {}

    @property
    def folder(self) -> Path:
        return Path(os.path.abspath(self.file)).parent

    def place(self, path: str) -> Path:
        """An absolute path, links not followed: their names are the user's."""
        return Path(os.path.abspath(self.folder / os.path.expanduser(path)))


def completed(values: Values, file: Path, text: str, known: Iterable[str]) -> Values:
    """A user's card with all that it does not say.

    Args:
        values: what the TOML in `text` holds
        known: the keys a card may have

    Raises:
        UsageError: an unknown key, a path where nothing is that can be read, domains of different kinds; with file and
            line. Wrong types are left for the card's own check.
    """
    draft = Draft(file, text, values)
    for key in values:
        if key not in (*known, ALIAS):
            raise draft.mistake(f"unknown key {key!r}{suggest(key, [*known, ALIAS])}", key)
    if "name" not in values and not slug(file.stem):
        raise draft.mistake(f"a name cannot be made of {file.stem!r}; write name = \"…\" of a-z, 0-9 and '_'")
    paths = {ref: key for ref, key in _references(draft) if _is_path(draft, ref)}
    names = _names(draft, list(paths))
    places = {names[ref]: _placed(draft, ref, names[ref], key) for ref, key in paths.items()}
    said = _named(draft, names)
    at = {**(said.get("at") or {}), **places} if isinstance(said.get("at", {}), dict) else said["at"]
    return {**_plain(draft), **_network(draft, paths, places), **said, **({"at": at} if at else {})}


def slug(stem: str) -> str:
    """A file's stem as the name of a card."""
    return re.sub(r"[^a-z0-9]+", "_", stem.lower()).strip("_")


def _plain(draft: Draft) -> Values:
    sources = draft.values.get("sources")
    several = isinstance(sources, list) and len(sources) > 1
    return {
        "name": slug(draft.file.stem),
        "version": 1,
        "paradigm": "multi-source" if several else "different-domain-same-task",
        "summary": NOT_STATED,
        "license": NOT_STATED,
        "cite": NOT_STATED,
    }


def _references(draft: Draft) -> list[tuple[str, str]]:
    """(domain, the key that names it) of every domain of the card, once."""
    values = draft.values
    found: list[tuple[str, str]] = []
    if ALIAS in values and "sources" in values:
        raise draft.mistake("'source' and 'sources' say the same; keep one of them", ALIAS)
    if isinstance(values.get(ALIAS), list):
        raise draft.mistake("'source' is one path; write sources = [...] for several", ALIAS)
    for key in (ALIAS, "target"):
        if key in values and not isinstance(values[key], str):
            raise draft.mistake(f"{key!r} is {values[key]!r}; a path in quotes is needed", key)
        found += [(values[key], key)] if key in values else []
    for key in ("sources", "domains"):
        if not _are_texts(values.get(key, [])):
            raise draft.mistake(f"{key!r} is {values[key]!r}; a list of paths in quotes is needed", key)
        found += [(ref, key) for ref in values.get(key, [])]
    pairs = values.get("pairs", [])
    if not (isinstance(pairs, list) and all(_are_texts(pair) and len(pair) == 2 for pair in pairs)):
        raise draft.mistake(f'\'pairs\' is {pairs!r}; write it as [["source", "target"], …]', "pairs")
    found += [(ref, "pairs") for sources, target in pairs for ref in (*_split(draft, sources), target)]
    if ALIAS in values and "target" not in values:
        raise draft.mistake("'source' and 'target' go together; say target = \"…\" too", ALIAS)
    if not found and "loader" not in values:
        raise draft.mistake('names no data; say source = "…" and target = "…"')
    return list(dict(found).items())


def _are_texts(held: Any) -> bool:
    return isinstance(held, list) and all(isinstance(ref, str) for ref in held)


def _split(draft: Draft, sources: str) -> list[str]:
    """The sources of a pair: 'a+b' are two, unless there is such a path."""
    return [sources] if draft.place(sources).exists() else [*split_sources(sources)]


def _is_path(draft: Draft, ref: str) -> bool:
    """Whether a domain is given by its path, and not by a name that the card explains."""
    own = {**draft.values, **draft.at(ref)}
    return not own.get("data") and "path" not in own and str(own.get("loader", "images")) in KIND


def _names(draft: Draft, refs: list[str]) -> dict[str, str]:
    """A name for each path: its stem, or as many of its last parts as tell it from the others."""
    places = {ref: draft.place(ref) for ref in refs}
    for depth in range(1, max((len(p.parts) for p in places.values()), default=0) + 1):
        named = {ref: _name(place, depth) for ref, place in places.items()}
        if len(set(named.values())) == len(set(places.values())):
            return named
    return {ref: f"{_name(place, 1)}_{i}" for i, (ref, place) in enumerate(places.items(), 1)}


def _name(place: Path, depth: int) -> str:
    parts = place.parts[-depth:] if depth > 1 else (place.name if place.is_dir() else place.stem,)
    return re.sub(r"\W+", "_", "_".join(parts)).strip("_") or "domain"


def _named(draft: Draft, names: dict[str, str]) -> Values:
    """The card's own values, its domains under their names and its files under absolute paths."""
    values = {key: value for key, value in draft.values.items() if key != ALIAS}
    if ALIAS in draft.values:
        values["sources"] = [draft.values[ALIAS]]
    for key in {"sources", "domains"} & values.keys():
        values[key] = [names.get(ref, ref) for ref in values[key]]
    if "target" in values:
        values["target"] = names.get(values["target"], values["target"])
        if values["target"] in values.get("sources", []) and values["target"] in names.values():
            raise draft.mistake("it is a source too; transfer needs two different domains", "target")
    if "pairs" in values:
        values["pairs"] = [
            ["+".join(names.get(ref, ref) for ref in _split(draft, sources)), names.get(target, target)]
            for sources, target in values["pairs"]
        ]
    if isinstance(values.get("at"), dict):
        values["at"] = {name: _absolute(draft, draft.at(name)) or own for name, own in values["at"].items()}
    return {**values, **_absolute(draft, draft.values, only_files=True)}


def _absolute(draft: Draft, place: Values, only_files: bool = False) -> Values:
    """A place with its files as absolute paths; those of a dataset start in its folder and stay."""
    if place.get("data") or draft.values.get("data"):
        return {} if only_files else place
    files: Values = {key: str(draft.place(place[key])) for key in FILES if isinstance(place.get(key), str)}
    if isinstance(place.get("more"), list):
        files["more"] = [str(draft.place(m)) if isinstance(m, str) else m for m in place["more"]]
    return files if only_files else {**place, **files}


def _placed(draft: Draft, ref: str, name: str, key: str) -> Values:
    """The place of a domain given by its path, and what the card says of it under [at.NAME]."""
    own = {"path": str(draft.place(ref)), **_absolute(draft, draft.at(name))}
    path = Path(str(own["path"]))
    keys = ("at", name, "path") if "path" in draft.at(name) else (key,)
    if not path.exists():
        there = [p.name for p in visible(path.parent) if p.suffix != ".toml"] if path.parent.is_dir() else []
        raise draft.mistake(f"{key} {ref!r}: there is no {path}{suggest(path.name, there)}", *keys)
    try:
        loader = own.get("loader") or draft.values.get("loader") or loader_of(path)
    except ValueError as error:
        raise draft.mistake(f"{key} {ref!r}: {error}", *keys) from None
    if loader in KIND and loader not in WITH_TEST and (own.get("test_path") or draft.values.get("test_path")):
        raise draft.mistake(f"'test_path' is not read for {loader!r}; put all samples under 'path'", "test_path")
    return {"loader": loader, **own}


def _network(draft: Draft, paths: dict[str, str], places: dict[str, Values]) -> Values:
    """The network for what the domains hold, and the loader of the last, the target, for the whole card.

    Raises:
        UsageError: the domains are of different kinds.
    """
    first = first_kind = ""
    for key, (name, own) in zip(paths.values(), places.items(), strict=False):
        kind = file_kind(Path(own["path"]), own["loader"], bool(own.get("text") or draft.values.get("text")))
        if first and kind != first_kind:
            raise draft.mistake(f"{name!r} holds {kind}, {first!r} holds {first_kind}; all must be of one kind", key)
        first, first_kind = first or name, kind
    return {"loader": [*places.values()][-1]["loader"], **network(first_kind, draft.values)} if first else {}


def said(file: Path) -> set[str]:
    """The keys that a card that reads says itself."""
    return {"sources" if key == ALIAS else key for key in tomllib.loads(file.read_text(encoding="utf-8"))}
