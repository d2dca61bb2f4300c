"""Which samples are others once more: copies, other spellings, and pictures that look the same."""

from __future__ import annotations

import hashlib
import io
import json
import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_images
from test_cli import tlbench

from tlbench.data import Domain
from tlbench.errors import UsageError
from tlbench.tasks import duplicates, loaders, registry, split_digests
from tlbench.tasks.duplicates import LIMIT, copies, look, pairs
from tlbench.tasks.loaders import image_folders
from tlbench.tasks.split import partition, split, untested

CLASSES = ("left", "right")


def encoded(image: Image.Image, kind: str, **how: int) -> Image.Image:
    held = io.BytesIO()
    image.save(held, kind, **how)
    return Image.open(held)


def cut(image: Image.Image, left: float, top: float, right: float, bottom: float) -> Image.Image:
    w, h = image.size
    return image.crop((round(w * left), round(h * top), w - round(w * right), h - round(h * bottom)))


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "jpeg": lambda i: encoded(i, "JPEG", quality=50),
    "png": lambda i: encoded(i, "PNG"),
    "half": lambda i: i.resize((i.width // 2, i.height // 2)),
    "square": lambda i: i.resize((128, 128), Image.Resampling.BICUBIC),
    "double": lambda i: i.resize((i.width * 2, i.height * 2)),
    "grey": lambda i: i.convert("L"),
    "crop": lambda i: cut(i, 0.01, 0.01, 0.01, 0.01),
    "crop left": lambda i: cut(i, 0.02, 0, 0, 0),
    "crop top": lambda i: cut(i, 0, 0.02, 0, 0),
    "crop right": lambda i: cut(i, 0, 0, 0.02, 0),
    "crop bottom": lambda i: cut(i, 0, 0, 0, 0.02),
}


def apart(a: Image.Image, b: Image.Image) -> int:
    """The bits by which two pictures are judged."""
    one, other = look(a.convert("L")), look(b.convert("L"))
    return int(min(duplicates._apart(one[:1], other).min(), duplicates._apart(one, other[:1]).min()))


@pytest.fixture(scope="module")
def photographs() -> list[Image.Image]:
    """Different pictures, cut from the two photographs that scikit-learn ships, where there is more than sky."""
    whole = [Image.fromarray(image) for image in load_sample_images().images]
    parts = [w.crop((x, y, x + 100, y + 100)) for w in whole for x in range(0, 600, 100) for y in range(0, 400, 100)]
    return [p for p in parts if np.asarray(p.convert("L")).std() > 20]


@pytest.mark.parametrize("change", CHANGES)
def test_a_picture_changed_a_little_looks_the_same(photographs: list[Image.Image], change: str) -> None:
    changed = [apart(p, CHANGES[change](p)) for p in photographs]
    assert max(changed) <= LIMIT


def test_different_pictures_look_different(photographs: list[Image.Image]) -> None:
    looks = np.stack([look(p.convert("L")) for p in photographs])
    assert [(i, j) for i, j in pairs(looks, looks) if i != j] == []


def test_pairs_are_those_of_the_plain_comparison(photographs: list[Image.Image]) -> None:
    rng = np.random.default_rng(0)
    looks = np.stack([look(p.convert("L")) for p in photographs])
    near = looks ^ np.packbits(rng.random((*looks.shape[:2], 256)) < 0.05, axis=-1)  # some within the limit, some not
    plain = {
        (i, j)
        for i, a in enumerate(looks)
        for j, b in enumerate(near)
        if min(duplicates._apart(a[:1], b).min(), duplicates._apart(a, b[:1]).min()) <= LIMIT
    }
    assert set(pairs(looks, near)) == plain
    assert 0 < len(plain) < len(looks) ** 2


def folder_of(place: Path, photographs: list[Image.Image]) -> Domain:
    """The photographs as JPEGs in two classes."""
    for i, photograph in enumerate(photographs):
        file = place / CLASSES[i % 2] / f"{i:02d}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        photograph.save(file, quality=95)
    return image_folders.folder(place, place.name)


def test_a_look_alike_of_a_test_picture_is_neither_labelled_nor_unlabelled(
    tmp_path: Path, photographs: list[Image.Image]
) -> None:
    domain = folder_of(tmp_path / "b", photographs)
    before = partition(domain, "toy/b")
    tested, pooled = domain.files[before.test[0]], domain.files[before.pool[0]]
    cut(Image.open(tested), 0.02, 0, 0, 0).save(pooled, quality=70)
    changed = image_folders.folder(tmp_path / "b", "b")
    after = partition(changed, "toy/b")
    assert after.test.tolist() == before.test.tolist()
    assert after.alike.tolist() == [before.pool[0]]
    assert set(before.pool) - set(after.pool) == {before.pool[0]}
    task = registry.find("office_caltech10/amazon-dslr")[0]
    assert split(task, changed, 0, after).manifest["alike"] == [changed.ids[before.pool[0]]]
    assert split(task, changed, 0, after).manifest["algorithm"] == 2


def test_a_split_without_look_alikes_is_what_it_was(tmp_path: Path, photographs: list[Image.Image]) -> None:
    domain = folder_of(tmp_path / "b", photographs)
    task = registry.find("office_caltech10/amazon-dslr")[0]
    as_arrays = replace(domain, files=(), x=np.zeros((len(domain), 1), np.uint8))  # has no looks at all
    assert split(task, domain, 0).digest == split(task, as_arrays, 0).digest
    assert split(task, domain, 0).manifest["algorithm"] == 1


def test_a_source_loses_the_look_alikes_of_test_pictures_of_its_target(
    tmp_path: Path, photographs: list[Image.Image]
) -> None:
    target = folder_of(tmp_path / "b", photographs[:16])
    source = folder_of(tmp_path / "a", photographs[16:])
    cut_ = partition(target, "toy/b")
    tested, pooled = target.files[cut_.test[0]], target.files[cut_.pool[0]]
    Image.open(tested).convert("L").save(source.files[3], quality=60)
    shutil.copy(pooled, source.files[5])  # what is not tested may be trained on
    source = image_folders.folder(tmp_path / "a", "a")
    rows = np.array([5, 3, 1])
    assert rows[untested(source, rows, target, cut_)].tolist() == [5, 1]


def test_looks_are_taken_once_for_a_content(
    tmp_path: Path, photographs: list[Image.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TLBENCH_CACHE", str(tmp_path / "cache"))
    domain = folder_of(tmp_path / "b", photographs[:8])
    first = np.array(duplicates.looks(domain))
    monkeypatch.setattr(duplicates, "look", lambda grey: pytest.fail("was kept, and is computed again"))
    assert (np.array(duplicates.looks(domain)) == first).all()


def test_a_broken_picture_is_named(tmp_path: Path, photographs: list[Image.Image]) -> None:
    domain = folder_of(tmp_path / "b", photographs[:8])
    domain.files[2].write_bytes(b"no picture")
    with pytest.raises(UsageError, match=rf"{domain.files[2]}: broken image"):
        duplicates.looks(image_folders.folder(tmp_path / "b", "b"))


def texts(name: str, *held: str) -> Domain:
    hashes = tuple(hashlib.sha256(t.encode()).hexdigest() for t in held)
    ids = tuple(f"{name}/{i}" for i in range(len(held)))
    return Domain(name, ids, np.arange(len(held)) % 2, CLASSES, hashes, texts=held)


def test_a_text_in_other_letters_and_blanks_is_the_same_text() -> None:
    target = texts("b", "The Film\twas ﬁne .", "The film was bad .")
    source = texts("a", "the film was  fine .", "The film was fine !", "The film was bad .")
    found = copies(source, target, np.array([0, 1]))
    assert found.alike.tolist() == [0, -1, 1]
    assert found.same.tolist() == [-1, -1, 1]


def test_glyphs_have_no_look() -> None:
    glyphs = np.zeros((4, 3, 28, 28), np.uint8)
    domain = Domain("a", tuple("abcd"), np.zeros(4, np.int64), ("0",), tuple("abcd"), x=glyphs)
    assert copies(domain, domain, np.array([0])).any.tolist() == [True, False, False, False]


# the real suites


@pytest.mark.parametrize("name", ["office_caltech10/caltech10", "office_caltech10/webcam", "pacs/photo", "pacs/sketch"])
def test_real_pictures_changed_a_little_are_found(real_data: Path, name: str) -> None:
    suite, domain_name = name.split("/")
    domain = loaders.load(registry.find(suite)[0].card, domain_name, real_data)
    chosen = random.Random(0).sample(domain.files, 25)
    for file in chosen:
        with Image.open(file) as image:
            original = image.convert("RGB")
        for change in CHANGES.values():
            assert apart(original, change(original)) <= LIMIT, file


def test_no_two_real_pictures_of_different_classes_or_domains_look_the_same(real_data: Path) -> None:
    for suite in ("office_caltech10", "pacs"):
        card = registry.find(suite)[0].card
        domains = [loaders.load(card, name, real_data) for name in card.domains]
        looks = np.concatenate([duplicates.looks(d) for d in domains])
        kinds = [(d.name, int(y)) for d in domains for y in d.y]
        assert {(kinds[i], kinds[j]) for i, j in pairs(looks, looks) if kinds[i] != kinds[j]} == set()


# changed data is refused, whichever role it has


@pytest.fixture
def flipped(tmp_path: Path, real_data: Path) -> Path:
    """A data root whose copy of dslr has one other bit in one image, the last byte but two."""
    home = tmp_path / "data" / "office_caltech10"
    for domain in ("amazon", "caltech10", "dslr", "webcam"):
        source = real_data / "office_caltech10" / "images" / domain
        if domain == "dslr":
            shutil.copytree(source, home / "images" / domain)
        else:
            (home / "images").mkdir(parents=True, exist_ok=True)
            (home / "images" / domain).symlink_to(source)
    file = sorted((home / "images" / "dslr" / "mug").iterdir())[0]
    file.chmod(0o644)
    held = bytearray(file.read_bytes())
    held[len(held) // 2] ^= 1
    file.write_bytes(held)
    return tmp_path / "data"


@pytest.mark.slow
def test_a_flipped_bit_in_a_source_is_refused_until_it_is_said(
    flipped: Path, tmp_path: Path, real_weights: Path
) -> None:
    words = ["run", "-t", "office_caltech10/dslr-webcam", "-m", "source_only", "--budgets", "0", "--seeds", "0"]
    words += ["--set", "steps=2", "--data-root", str(flipped), "--results", str(tmp_path / "results")]
    done = tlbench(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert "the data of 'dslr' are not those of the published results" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    done = tlbench(*words, "--changed-data")
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (tmp_path / "results" / "rows.jsonl").read_text().splitlines()]
    published = split_digests.digests("office_caltech10")
    assert {r["data"] for r in rows} == {published["data/webcam"]}
    sources = [r["source_data"] for r in rows if r["sources"]]
    assert sources
    assert all(digests != [published["data/dslr"]] for digests in sources)
