"""The embedded domains: what they hold, that they never change, that no digit is in two of them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, RidgeClassifier

from tlbench.data import Domain
from tlbench.errors import UsageError
from tlbench.tasks import builtin

# SHA-256 of each domain's inputs, in order, and of its roster: a line a sample, "id class". A change that moves them
# makes every published number on these domains incomparable with the new ones: bump `builtin.VERSION` with it, then
# freeze anew. One that comes with a new matplotlib, scikit-learn or Pillow, the code unchanged: look why.
FROZEN = {
    "handwritten": "f38f156abd6d3fa50b379afc5793b8db2f1f65963efd81810d8ec86bd7d07705",
    "fonts": "e78d0599b8543b0595d19672f51d5f0a6f72a4ccf3d861aa498f6310cbd365f6",
    "photos": "8136b8803c5f81a70b2c78e22ad2c82698e0125e271b515a70de35ed003fd574",
    "letters": "ec0d1eb924011dd4b955c27e0d554e6bd2e6e325e18abdb33056fb98d1b31682",
    "scripts_base": "c1e283528693237e40e27390ff5b1c527fba2c26c5c6ca104305c6fa3aa5779b",
    "scripts_novel": "193f1b58475cc5ebe6e002ea64336569b0733021224ab58b4481561be7ce1832",
    "wdbc_biased": "c8ca16ca7ae728e6455c25389b17aa7872704411b17cfadf3d4026079410d944",
    "wdbc": "63ac561c9eacb2c7d8697b4fea8c4de3babeb1671c817658663ac9d2f3eb827e",
}
ROSTERS = {
    "handwritten": "d355f41c4b28d000ee75419b86c3a839363d7a6ef63f3f665b247c7c8aa7eb32",
    "fonts": "7f4c5300321c4ba976dcc9dd21bf877417259a5bcc2c1d147aab55d149a78c17",
    "photos": "7dfdd16d0032e66e37e7a0fc51aca07b523aea4f98c36e3d8cc503afd75a2c05",
    "letters": "6e38a70b9131303ac74a9d70d6a596c95780d95ec0a53d3a9e7bc3a6de5f8d12",
    "scripts_base": "b008fab0e7ae19e45993c83fc1b6474f9e2242543a5eb68e6eba9ad279dcac75",
    "scripts_novel": "cdf3a525c79367f6cf3d3f13ed84803244e28f432a389b8f0b00b16b045cddc5",
    "wdbc_biased": "08be84bf5b3df224cfd7507bd64e85ddaf98c49151fe20fec2becf8619821c5a",
    "wdbc": "41ffd0a4ad88eb99aac73377763475b46aa36e54ef5d402c99c49bc252b89174",
}
PRINT = """
from hashlib import sha256
from tlbench.tasks import builtin
for name in builtin.names():
    print(name, sha256(builtin.load(name).x.tobytes()).hexdigest())
"""
LAZY = """
import pathlib, sys
from tlbench.tasks import builtin
for name in builtin.names():
    builtin.load(name, pathlib.Path(sys.argv[1]))
print(sorted({"matplotlib", "sklearn"} & (set(sys.modules) - set(sys.argv[2:]))))
"""

DIGITS = ("handwritten", "fonts", "photos")
IMAGES = (*DIGITS, "letters", "scripts_base", "scripts_novel")
SHAPES = dict.fromkeys((*DIGITS, "letters"), (3, 20, 20)) | {
    "scripts_base": (1, 28, 28), "scripts_novel": (1, 28, 28), "wdbc_biased": (30,), "wdbc": (30,),
}  # fmt: skip

each = pytest.mark.parametrize("name", builtin.names())
each_image = pytest.mark.parametrize("name", IMAGES)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def domains(cache: Path) -> dict[str, Domain]:
    """Freshly drawn, and kept in `cache` on the way."""
    return {name: builtin.load(name, cache) for name in builtin.names()}


def digest(domain: Domain) -> str:
    return sha256(domain.x.tobytes()).hexdigest()


def roster(domain: Domain) -> str:
    lines = (f"{id} {domain.classes[y]}" for id, y in zip(domain.ids, domain.y, strict=True))
    return sha256("\n".join(lines).encode()).hexdigest()


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
def test_inputs_have_the_shape_and_type_of_their_kind(domains: dict[str, Domain], name: str) -> None:
    domain = domains[name]
    assert domain.x.shape == (len(domain), *SHAPES[name])
    assert domain.x.dtype == (np.uint8 if name in IMAGES else np.float32)
    assert domain.y.dtype == np.int64


@each
def test_labels_point_at_classes_whose_names_differ(domains: dict[str, Domain], name: str) -> None:
    domain = domains[name]
    assert len(set(domain.classes)) == len(domain.classes)
    assert set(domain.y.tolist()) == set(range(len(domain.classes)))


@each_image
def test_every_class_has_its_share_of_the_images(domains: dict[str, Domain], name: str) -> None:
    domain = domains[name]
    share = len(domain) / len(domain.classes)
    counts = np.bincount(domain.y)
    assert counts.min() > 0.95 * share
    assert counts.max() < 1.05 * share


@each
def test_ids_are_unique_and_say_the_domain(domains: dict[str, Domain], name: str) -> None:
    ids = domains[name].ids
    assert len(set(ids)) == len(ids) == len(domains[name].x)
    assert all(id.startswith(f"{name}/") for id in ids)


@pytest.mark.parametrize(("name", "id"), [("fonts", "DejaVuSans-Bold/7/03"), ("letters", "cmr10/Q/09")])
def test_a_print_is_named_after_its_font_and_character(domains: dict[str, Domain], name: str, id: str) -> None:
    domain = domains[name]
    assert f"{name}/{id}" in domain.ids
    assert all(id.split("/")[2] == domain.classes[y] for id, y in zip(domain.ids, domain.y, strict=True))


@each
def test_hashes_are_of_the_inputs_and_all_differ(domains: dict[str, Domain], name: str) -> None:
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
    assert builtin.VERSION == 1, "a new version: freeze its bytes here"
    assert digest(domains[name]) == FROZEN[name]
    assert roster(domains[name]) == ROSTERS[name]


@each
def test_the_cached_load_equals_the_fresh_one(domains: dict[str, Domain], cache: Path, name: str) -> None:
    start = time.perf_counter()
    again = builtin.load(name, cache)
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
    with pytest.raises(UsageError, match="did you mean 'handwritten'"):
        builtin.load("handwriten")


@each_image
def test_every_image_has_contrast(domains: dict[str, Domain], name: str) -> None:
    x = domains[name].x.astype(int)
    assert np.ptp(x, axis=(1, 2, 3)).min() >= 90


@pytest.mark.parametrize("name", ["fonts", "letters"])
def test_printed_levels_vary_and_both_polarities_occur(domains: dict[str, Domain], name: str) -> None:
    corner = domains[name].x[:, 0, 0, 0]
    assert 0.3 < (corner < 128).mean() < 0.7
    assert len(np.unique(corner)) > 100


def test_only_photos_have_colour(domains: dict[str, Domain]) -> None:
    coloured = {name for name in (*DIGITS, "letters") if (domains[name].x[:, 0] != domains[name].x[:, 1]).any()}
    assert coloured == {"photos"}


@pytest.mark.parametrize(("name", "least"), [("handwritten", 0.85), ("fonts", 0.9), ("photos", 0.6)])
def test_labels_match_the_pictures(domains: dict[str, Domain], name: str, least: float) -> None:
    assert held_out_accuracy(centred_ink(domains[name].x), domains[name].y) > least


def test_labels_match_the_letters(domains: dict[str, Domain]) -> None:
    x, y = centred_ink(domains["letters"].x), domains["letters"].y
    model = RidgeClassifier(10).fit(x[1::2], y[1::2])  # copies 1, 3, 5, ... of each font; far faster with 26 classes
    assert model.score(x[::2], y[::2]) > 0.8
