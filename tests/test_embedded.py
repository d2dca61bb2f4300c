"""The embedded domains: what they show, that they never change, that no digit is in two of them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from tlbench.data import Domain
from tlbench.loaders import embedded
from tlbench.mistake import Mistake

# SHA-256 of each domain's images, in order. A change that moves them makes every published number on
# these domains incomparable with the new ones: bump `embedded.VERSION` with it, then freeze anew. One
# that comes with a new matplotlib, scikit-learn or Pillow, the code unchanged, is a reason to look why.
FROZEN = {
    "handwritten": "f38f156abd6d3fa50b379afc5793b8db2f1f65963efd81810d8ec86bd7d07705",
    "fonts": "e78d0599b8543b0595d19672f51d5f0a6f72a4ccf3d861aa498f6310cbd365f6",
    "photos": "8136b8803c5f81a70b2c78e22ad2c82698e0125e271b515a70de35ed003fd574",
}
PRINT = """
from hashlib import sha256
from tlbench.loaders import embedded
for name in embedded.names():
    print(name, sha256(embedded.load(name).x.tobytes()).hexdigest())
"""
LAZY = """
import pathlib, sys
from tlbench.loaders import embedded
for name in embedded.names():
    embedded.load(name, pathlib.Path(sys.argv[1]))
print(sorted({"matplotlib", "sklearn", "PIL"} & (set(sys.modules) - set(sys.argv[2:]))))
"""

each = pytest.mark.parametrize("name", embedded.names())


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def domains(cache: Path) -> dict[str, Domain]:
    """Freshly drawn, and kept in `cache` on the way."""
    return {name: embedded.load(name, cache) for name in embedded.names()}


def digest(domain: Domain) -> str:
    return sha256(domain.x.tobytes()).hexdigest()


def run(code: str, *arguments: object, **environment: str) -> str:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(
        command, env=os.environ | environment, capture_output=True, text=True, check=True, timeout=120
    )
    return done.stdout


def centred_ink(x: np.ndarray) -> np.ndarray:
    """(n, 3, 20, 20) -> (n, 400) in 0..1: each level's distance from the frame's, moved to the middle.

    A linear model cannot undo random polarity (fonts, photos) and random shifts (fonts) by itself.
    """
    grey = x[:, 0].astype(float)
    frame = np.concatenate([grey[:, 0], grey[:, -1], grey[:, :, 0], grey[:, :, -1]], axis=1)
    ink = np.abs(grey - np.median(frame, axis=1)[:, None, None])
    ink /= ink.max((1, 2), keepdims=True)
    place = np.arange(20) - 9.5
    down, right = ((ink.sum(axis) @ place / ink.sum((1, 2))).round().astype(int) for axis in (2, 1))
    moved = [np.roll(image, (-j, -k), (0, 1)) for image, j, k in zip(ink, down, right, strict=True)]
    return np.reshape(moved, (len(x), -1))


def enclosed_paper(paper: np.ndarray) -> int:
    """How many pixels of paper cannot be reached from the corner."""
    reached = np.zeros_like(paper)
    reached[0, 0] = True
    for _ in range(paper.size):
        grown = np.pad(reached, 1)
        near = grown[:-2, 1:-1] | grown[2:, 1:-1] | grown[1:-1, :-2] | grown[1:-1, 2:] | reached
        if ((near & paper) == reached).all():
            break
        reached = near & paper
    return int((paper & ~reached).sum())


def held_out_accuracy(features: np.ndarray, y: np.ndarray) -> float:
    """Of a logistic regression trained on every other sample of each class, on the remaining ones."""
    odd = np.zeros(len(y), bool)
    for label in np.unique(y):
        odd[np.flatnonzero(y == label)[1::2]] = True
    regression = LogisticRegression(max_iter=1000).fit(features[odd], y[odd])
    return regression.score(features[~odd], y[~odd])


def test_no_digit_is_both_handwritten_and_in_photos(domains: dict[str, Domain]) -> None:
    ours = {id.split("/")[1] for id in domains["handwritten"].ids}
    theirs = {id.split("/")[1] for id in domains["photos"].ids}
    assert not ours & theirs
    assert len(ours | theirs) == 1797


def test_each_half_has_every_part_of_the_original_order(domains: dict[str, Domain]) -> None:
    ours = np.array([int(id.split("/")[1]) for id in domains["handwritten"].ids])
    shares = np.histogram(ours, bins=6, range=(0, 1797))[0] / (1797 / 6)
    assert shares.min() > 0.4
    assert shares.max() < 0.6


@each
def test_images_are_colour_bytes_of_twenty_by_twenty(domains: dict[str, Domain], name: str) -> None:
    domain = domains[name]
    assert domain.x.shape == (len(domain), 3, 20, 20)
    assert domain.x.dtype == np.uint8
    assert domain.y.dtype == np.int64
    assert domain.classes == tuple("0123456789")


@each
def test_every_class_has_its_tenth(domains: dict[str, Domain], name: str) -> None:
    counts = np.bincount(domains[name].y, minlength=10)
    assert len(counts) == 10
    assert counts.min() > 0.95 * len(domains[name]) / 10
    assert counts.max() < 1.05 * len(domains[name]) / 10


@each
def test_ids_are_unique_and_say_the_domain(domains: dict[str, Domain], name: str) -> None:
    ids = domains[name].ids
    assert len(set(ids)) == len(ids) == len(domains[name].x)
    assert all(id.startswith(f"{name}/") for id in ids)


def test_a_font_image_is_named_after_its_font_and_digit(domains: dict[str, Domain]) -> None:
    fonts = domains["fonts"]
    assert "fonts/DejaVuSans-Bold/7/03" in fonts.ids
    assert all(id.split("/")[2] == fonts.classes[y] for id, y in zip(fonts.ids, fonts.y, strict=True))


@each
def test_hashes_are_of_the_images_and_all_differ(domains: dict[str, Domain], name: str) -> None:
    domain = domains[name]
    assert domain.hashes[7] == sha256(domain.x[7].tobytes()).hexdigest()
    assert len(set(domain.hashes)) == len(domain)


def test_another_process_draws_the_same_bytes(domains: dict[str, Domain]) -> None:
    expected = {name: digest(domain) for name, domain in domains.items()}
    seed = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"  # not this process's
    lines = run(PRINT, PYTHONHASHSEED=seed).splitlines()
    assert dict(line.split() for line in lines) == expected


@each
def test_the_bytes_are_those_of_this_version(domains: dict[str, Domain], name: str) -> None:
    assert embedded.VERSION == 1, "a new version: freeze its bytes here"
    assert digest(domains[name]) == FROZEN[name]


@each
def test_the_cached_load_equals_the_fresh_one(domains: dict[str, Domain], cache: Path, name: str) -> None:
    start = time.perf_counter()
    again = embedded.load(name, cache)
    assert time.perf_counter() - start < 0.5  # 0.02 s where nothing else runs; drawing takes seconds
    fresh = domains[name]
    assert (again.ids, again.hashes, again.classes) == (fresh.ids, fresh.hashes, fresh.classes)
    np.testing.assert_array_equal(again.x, fresh.x)
    np.testing.assert_array_equal(again.y, fresh.y)


@pytest.mark.usefixtures("domains")
def test_the_cache_holds_one_named_file_a_domain_and_no_leftovers(cache: Path) -> None:
    files = sorted(path.name for path in cache.iterdir())
    assert [file.split("-v1-")[0] for file in files] == sorted(f"embedded-{name}" for name in FROZEN)
    assert all(file.endswith(".npz") for file in files)


@pytest.mark.usefixtures("domains")
def test_a_cached_load_imports_neither_sklearn_nor_matplotlib(cache: Path) -> None:
    already = run("import sys, tlbench; print(*sys.modules)").split()
    assert run(LAZY, cache, *already).strip() == "[]"


def test_an_unknown_name_is_a_mistake_with_a_suggestion() -> None:
    with pytest.raises(Mistake, match="did you mean 'handwritten'"):
        embedded.load("handwriten")


@each
def test_every_image_has_contrast(domains: dict[str, Domain], name: str) -> None:
    x = domains[name].x.astype(int)
    assert np.ptp(x, axis=(1, 2, 3)).min() >= 90


def test_printed_levels_vary_and_both_polarities_occur(domains: dict[str, Domain]) -> None:
    corner = domains["fonts"].x[:, 0, 0, 0]
    assert 0.3 < (corner < 128).mean() < 0.7
    assert len(np.unique(corner)) > 100


def test_only_photos_have_colour(domains: dict[str, Domain]) -> None:
    coloured = {name: bool((domain.x[:, 0] != domain.x[:, 1]).any()) for name, domain in domains.items()}
    assert coloured == {"handwritten": False, "fonts": False, "photos": True}


@pytest.mark.parametrize("digit", ["0", "4", "6", "8", "9"])
def test_a_hole_is_a_hole(digit: str) -> None:
    for font in embedded.FONTS:
        ink = embedded._coverage(embedded._edges(font, digit) * 17 + embedded.SIDE / 2)
        assert enclosed_paper(ink == 0) >= 1, f"{digit} in {font}"


def test_a_printed_zero_has_paper_in_its_centre() -> None:
    ink = embedded._coverage(embedded._edges("DejaVuSans", "0") * 16 + embedded.SIDE / 2)
    assert ink[9:11, 9:11].max() == 0
    assert ink[9:11].max() == 16


def test_a_printed_one_has_ink_in_its_centre_and_no_hole() -> None:
    ink = embedded._coverage(embedded._edges("DejaVuSans", "1") * 16 + embedded.SIDE / 2)
    assert ink[10, 9:12].max() == 16
    assert enclosed_paper(ink == 0) == 0


def test_a_square_covers_its_area_whichever_way_it_winds() -> None:
    corners = np.array([(5.0, 5.0), (15.0, 5.0), (15.0, 10.5), (5.0, 10.5)])
    square = np.stack([corners, np.roll(corners, -1, 0)], 1)  # (4 edges, 2 ends, 2)
    for edges in (square, square[:, ::-1]):
        ink = embedded._coverage(edges)
        assert ink.sum() == 16 * 10 * 5.5
        assert ink[7, 7] == 16
        assert ink[10, 7] == 8


@pytest.mark.parametrize(("name", "least"), [("handwritten", 0.85), ("fonts", 0.9), ("photos", 0.6)])
def test_labels_match_the_pictures(domains: dict[str, Domain], name: str, least: float) -> None:
    assert held_out_accuracy(centred_ink(domains[name].x), domains[name].y) > least
