"""Omniglot (Lake, Salakhutdinov and Tenenbaum 2015): handwritten characters of many alphabets, 20 drawings each.

The drawings are black ink on white, 105x105. Here they are uint8 (n, 1, 28, 28), ink white on black, shrunk by
Pillow's Lanczos filter. Places are the publisher's .zip files, or the folders they unpack to.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Collection
from pathlib import Path
from zipfile import BadZipFile, ZipFile
from zlib import error as ZlibError

import numpy as np
from PIL import Image

from tlbench.data import Domain, Rows
from tlbench.errors import UsageError, suggest
from tlbench.tasks.loaders import parse_cache
from tlbench.tasks.loaders.parse_cache import Array

VERSION = 1  # of the parsing: a change of the arrays bumps it
SIDE = 28  # pixels
ANSWERS = "class_labels.txt"


def characters(
    place: Path, name: str, classes: tuple[str, ...] = (), only: Collection[str] = (), without: Collection[str] = ()
) -> Domain:
    """The drawings of images_background.zip, images_evaluation.zip, or one of the two small ones.

    Args:
        classes: "Alphabet/characterNN" each, in label order; () takes what is there
        only: the alphabets to keep; () keeps all
        without: alphabets to leave out, there or not: those that another domain has (see `alphabets`)

    Raises:
        UsageError: nothing there, a broken file or drawing, an alphabet or a class that is not there.
    """
    files = _files(place)
    there = {key.split("/")[0] for key in files}
    for alphabet in only:
        if alphabet not in there:
            raise UsageError(f"{place}: no alphabet is called {alphabet!r}{suggest(alphabet, there)}")
    wanted = (set(only) or there) - set(without)
    kept = {key: held for key, held in files.items() if key.split("/")[0] in wanted}
    if not kept:
        raise UsageError(
            f"{place}: holds no drawing Alphabet/characterNN/*.png that is wanted; see 'only' and 'without'"
        )
    return _domain(place, name, kept, [key.rpartition("/")[0] for key in kept], classes, ())


def alphabets(place: Path) -> tuple[str, ...]:
    """The names of the alphabets in `place`. Raises UsageError where it cannot be read."""
    return tuple(sorted({key.split("/")[0] for key in _files(place)}))


def runs(place: Path, name: str, classes: tuple[str, ...] = ()) -> Domain:
    """The published one-shot runs of all_runs.zip: in each, 20 drawings to learn from and 20 to tell.

    Returns:
        A class is one character of one run, "run01/class08", and holds two drawings; an episode is one run: the rows
        of its training drawings, class by class, and the rows of its test items.

    Raises:
        UsageError: nothing there, a broken file or drawing, or the file and line where class_labels.txt is wrong.
    """
    files = _files(place)
    tables = [key for key in files if key.endswith(f"/{ANSWERS}")]
    if not tables:
        raise UsageError(f"{place}: holds no runNN/{ANSWERS}; the publisher's all_runs.zip is needed")
    shown: dict[str, str] = {}  # every drawing, run after run -> the training drawing of its character
    episodes: list[tuple[Rows, Rows]] = []
    for table in tables:
        answers = _answers(place, table, files)
        start, ways = len(shown), len(answers)
        shown |= {drawing: drawing for drawing in sorted(answers.values())} | dict(sorted(answers.items()))
        episodes.append((np.arange(start, start + ways), np.arange(start + ways, start + 2 * ways)))
    found = [d.removesuffix(".png").replace("/training/", "/") for d in shown.values()]
    return _domain(place, name, {key: files[key] for key in shown}, found, classes, tuple(episodes))


def _domain(
    place: Path,
    name: str,
    drawings: dict[str, bytes],
    found: list[str],
    classes: tuple[str, ...],
    episodes: tuple[tuple[Rows, Rows], ...],
) -> Domain:
    """The domain of `drawings`, whose classes are `found`, one each."""
    names = classes or tuple(sorted(set(found)))
    for c in sorted({*found} ^ {*names}):
        side, others = ("there", found) if c in names else ("named", list(names))
        raise UsageError(f"{place}: class {c!r} is not {side}{suggest(c, set(others))}")

    def parse() -> tuple[Array, ...]:
        return (np.stack([_image(f"{place}/{key}", held) for key, held in drawings.items()])[:, None],)

    contents = [hashlib.sha256(held).hexdigest() for held in drawings.values()]
    (x,) = parse_cache.arrays(f"omniglot-v{VERSION}", contents, 1, parse)
    index = {c: i for i, c in enumerate(names)}
    y = np.array([index[c] for c in found], np.int64)
    return Domain(name, tuple(f"{name}/{k}" for k in drawings), y, names, parse_cache.hashes(x), x=x, episodes=episodes)


def _answers(place: Path, table: str, files: dict[str, bytes]) -> dict[str, str]:
    """Test item -> the training drawing of the same character, as class_labels.txt says line by line."""
    answers: dict[str, str] = {}
    for number, line in enumerate(files[table].decode("latin-1").splitlines(), 1):
        pair = line.split()
        if len(pair) != 2:
            raise UsageError(f"{place}/{table}:{number}: {line[:80]!r} should be '<test item> <training drawing>'")
        for file in pair:
            if file not in files:
                raise UsageError(f"{place}/{table}:{number}: {file!r} is not there; get the data again")
        if pair[0] in answers or pair[1] in answers.values():
            raise UsageError(f"{place}/{table}:{number}: names a drawing for the second time; each has one line")
        answers[pair[0]] = pair[1]
    return answers


def _files(place: Path) -> dict[str, bytes]:
    """The drawings (alphabet/character/file) and the answers (run/file) in `place`, in the order of their names."""
    if place.is_dir():
        held = {f.as_posix(): parse_cache.read(f) for f in place.rglob("*") if f.is_file()}
    else:
        held = _unzipped(place)
    files: dict[str, bytes] = {}
    for path in sorted(held):
        parts = path.split("/")
        if parts[-1].startswith(".") or not (parts[-1] == ANSWERS or path.endswith(".png")):
            continue  # what file managers leave behind
        short = "/".join(parts[-2:] if parts[-1] == ANSWERS else parts[-3:])
        if short in files:
            raise UsageError(f"{place}: holds {short} twice; one archive at a time is needed")
        files[short] = held[path]
    return files


def _unzipped(place: Path) -> dict[str, bytes]:
    try:
        with ZipFile(io.BytesIO(parse_cache.read(place))) as archive:
            return {e.filename: archive.read(e) for e in archive.infolist() if not e.is_dir()}
    except (BadZipFile, EOFError, ZlibError, RuntimeError) as error:
        raise UsageError(f"{place}: broken zip ({error}); get it again") from None


def _image(where: str, held: bytes) -> Array:
    """(28, 28) of one drawing."""
    try:
        with Image.open(io.BytesIO(held)) as image:
            grey = image.convert("L")
    except (OSError, SyntaxError, ValueError) as error:
        raise UsageError(f"{where}: broken image ({error}); get it again") from None
    return 255 - np.asarray(grey.resize((SIDE, SIDE), Image.Resampling.LANCZOS))
