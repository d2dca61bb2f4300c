"""Loaders of published files: on the real files where they are here, and on broken ones."""

from __future__ import annotations

import gzip
import io
import json
import shutil
import struct
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
from PIL import Image

from tlbench.data import Domain
from tlbench.errors import UsageError
from tlbench.runner.worker import text_encoding
from tlbench.tasks.loaders import hub_parquet, idx, image_folders, npz, omniglot, texts, voc

BCCD = ("RBC", "WBC", "Platelets")
SUBJ = ("subjective", "objective")


@pytest.fixture(autouse=True)
def _fresh_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TLBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))


def sizes(domain: Domain) -> tuple[int, int]:
    """How many samples there are, and how many of the publisher's own test."""
    assert len(domain) == len(domain.ids) == len(set(domain.ids)) == len(domain.y) == len(domain.hashes)
    return len(domain), 0 if domain.official_test is None else int(domain.official_test.sum())


def same(a: Domain, b: Domain) -> bool:
    assert a.x is not None
    assert b.x is not None
    return a.hashes == b.hashes and a.ids == b.ids and np.array_equal(a.x, b.x) and np.array_equal(a.y, b.y)


# MNIST and USPS


def test_mnist_and_usps_have_one_shape_and_their_published_counts(real_data: Path) -> None:
    mnist, usps = idx.load(real_data / "mnist" / "idx", "mnist"), idx.usps(real_data / "usps", "usps")
    assert (sizes(mnist), sizes(usps)) == ((70000, 10000), (9298, 2007))
    assert mnist.x is not None
    assert usps.x is not None
    assert (mnist.x.shape[1:], usps.x.shape[1:]) == ((1, 28, 28), (1, 28, 28))
    assert mnist.x.dtype == usps.x.dtype == np.uint8
    assert isinstance(mnist.x, np.memmap)
    assert mnist.ids[12] == "mnist/train/00012"
    assert mnist.ids[60012] == "mnist/test/00012"
    published = [1194, 1005, 731, 658, 652, 556, 664, 645, 542, 644]  # zip.info.txt
    assert usps.official_test is not None
    assert np.bincount(usps.y[~usps.official_test]).tolist() == published


def test_the_labels_of_mnist_and_usps_are_those_of_their_images(real_data: Path) -> None:
    mnist, usps = idx.load(real_data / "mnist" / "idx", "mnist"), idx.usps(real_data / "usps", "usps")
    for domain, least in ((mnist, 0.75), (usps, 0.75)):  # shuffled labels give 0.1
        assert domain.x is not None
        assert domain.official_test is not None
        x = domain.x.reshape(len(domain), -1).astype(np.float32)
        train = ~domain.official_test
        means = np.stack([x[train & (domain.y == c)].mean(0) for c in range(10)])
        near = (x @ means.T - (means**2).sum(1) / 2).argmax(1)
        assert (near == domain.y)[~train].mean() > least


def test_usps_is_parsed_once_and_alike(real_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = idx.usps(real_data / "usps", "usps")
    monkeypatch.setattr(idx, "_digits", None)
    assert same(first, idx.usps(real_data / "usps", "usps"))


def packed(file: Path, held: bytes) -> None:
    file.write_bytes(gzip.compress(held))


def small_mnist(folder: Path, labels: bytes = b"\0\1\1") -> None:
    for part in ("train", "t10k"):
        packed(folder / f"{part}-images-idx3-ubyte.gz", struct.pack(">4BIII", 0, 0, 8, 3, 3, 28, 28) + bytes(3 * 784))
        packed(folder / f"{part}-labels-idx1-ubyte.gz", struct.pack(">4BI", 0, 0, 8, 1, len(labels)) + labels)


def test_a_broken_idx_file_is_named(tmp_path: Path) -> None:
    small_mnist(tmp_path)
    assert sizes(idx.load(tmp_path, "m")) == (6, 3)
    with pytest.raises(UsageError, match="no sample of class 'c'"):
        idx.load(tmp_path, "m", ("a", "b", "c"))
    with pytest.raises(UsageError, match="sample m/train/00001 has the label 1; the 1 classes are 0 to 0"):
        idx.load(tmp_path, "m", ("a",))
    images = tmp_path / "train-images-idx3-ubyte.gz"
    whole = images.read_bytes()
    images.write_bytes(whole[:-9])
    with pytest.raises(UsageError, match=r"train-images-idx3-ubyte\.gz: broken gzip"):
        idx.load(tmp_path, "m")
    packed(images, gzip.decompress(whole)[:-1])
    with pytest.raises(UsageError, match="holds 2351 values, its header says 2352"):
        idx.load(tmp_path, "m")
    packed(images, b"<!DOCTYPE html>")
    with pytest.raises(UsageError, match="begins with 3c 21 44 4f; an idx file"):
        idx.load(tmp_path, "m")
    images.unlink()
    with pytest.raises(UsageError, match=r"train-images-idx3-ubyte\.gz: no such file"):
        idx.load(tmp_path, "m")
    small_mnist(tmp_path, b"\0\1")
    with pytest.raises(UsageError, match=r"train-labels-idx1-ubyte\.gz: holds 2 labels, there are 3 images"):
        idx.load(tmp_path, "m")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("3 0.5", "holds 2 numbers"),
        ("3 x", "not numbers alone"),
        ("11" + " 0" * 256, "a digit from 0 to 9"),
        ("3" + " 7" * 256, "values from -1 to 1"),
        ("3" + " nan" * 256, "values from -1 to 1"),
    ],
)
def test_a_wrong_line_of_usps_is_named(tmp_path: Path, line: str, said: str) -> None:
    good = "3" + " -1.0" * 256
    packed(tmp_path / "zip.train.gz", f"{good}\n{line}\n".encode())
    packed(tmp_path / "zip.test.gz", good.encode())
    with pytest.raises(UsageError, match=rf"zip\.train\.gz:2: .*{said}"):
        idx.usps(tmp_path, "usps")


# MedMNIST


def test_medmnist_has_three_channels_and_its_published_parts(real_data: Path) -> None:
    folder = real_data / "medmnist"
    breast = npz.medmnist(folder / "BreastMNIST.npz", "breast", ("malignant", "normal, benign"))
    lungs = npz.medmnist(folder / "pneumoniamnist_reconstructed.npz", "lungs", ("normal", "pneumonia"))
    assert (sizes(breast), sizes(lungs)) == ((546 + 78 + 156, 156), (4708 + 524 + 624, 624))
    assert breast.x is not None
    assert lungs.x is not None
    assert breast.x.shape[1:] == lungs.x.shape[1:] == (3, 28, 28)
    assert np.array_equal(breast.x[:, 0], breast.x[:, 2])
    assert np.bincount(lungs.y[:4708]).tolist() == [1214, 3494]  # SOURCE.txt
    assert breast.ids[546] == "breast/val/00000"


def saved(file: Path, x: np.ndarray, y: np.ndarray, **more: np.ndarray) -> Path:
    parts = {f"{p}_{k}": v for p in npz.PARTS for k, v in (("images", x), ("labels", y))}
    np.savez(file, **{**parts, **more})  # type: ignore[arg-type]
    return file


def test_colour_stays_and_a_volume_becomes_its_three_central_slices(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0)
    y = np.array([[0], [1]])
    colour = pixels.integers(0, 256, (2, 28, 28, 3), np.uint8)
    x = npz.medmnist(saved(tmp_path / "path.npz", colour, y), "path").x
    assert x is not None
    assert np.array_equal(x[1, 2], colour[1, :, :, 2])
    volume = pixels.integers(0, 256, (2, 28, 28, 28), np.uint8)
    x = npz.medmnist(saved(tmp_path / "nodule.npz", volume, y), "nodule").x
    assert x is not None
    assert x.shape == (6, 3, 28, 28)
    for axis, (channel, slices) in enumerate(
        zip(x[0], (volume[0, 14], volume[0, :, 14], volume[0, :, :, 14]), strict=True)
    ):
        assert np.array_equal(channel, slices), axis


def test_an_npz_that_is_no_medmnist_is_named(tmp_path: Path) -> None:
    x, y = np.zeros((2, 28, 28), np.uint8), np.array([[0], [1]])
    with pytest.raises(UsageError, match=r"many.npz: train_labels: is int64 \(2, 14\); one whole number an image"):
        npz.medmnist(saved(tmp_path / "many.npz", x, np.zeros((2, 14), np.int64)), "m")
    with pytest.raises(UsageError, match=r"flat.npz: train_images: is uint8 \(2, 784\)"):
        npz.medmnist(saved(tmp_path / "flat.npz", x.reshape(2, -1), y), "m")
    np.savez(tmp_path / "other.npz", a=x)
    with pytest.raises(UsageError, match=r"other.npz: needs an array 'train_images'; has a"):
        npz.medmnist(tmp_path / "other.npz", "m")
    whole = saved(tmp_path / "good.npz", x, y)
    with pytest.raises(UsageError, match="sample m/train/00001 has the label 1"):
        npz.medmnist(whole, "m", ("only",))
    for held in (whole.read_bytes()[:900], b"", b"nothing"):
        (tmp_path / "broken.npz").write_bytes(held)
        with pytest.raises(UsageError, match=r"broken.npz: not an .npz that can be read"):
            npz.medmnist(tmp_path / "broken.npz", "m")
    with pytest.raises(UsageError, match=r"none.npz: no such file"):
        npz.medmnist(tmp_path / "none.npz", "m")


# Omniglot


def test_the_alphabets_of_small2_that_small1_lacks_are_new(real_data: Path) -> None:
    folder = real_data / "omniglot" / "python"
    one, two = folder / "images_background_small1.zip", folder / "images_background_small2.zip"
    source = omniglot.characters(one, "small1")
    target = omniglot.characters(two, "small2", without=omniglot.alphabets(one))
    assert (sizes(source), len(source.classes)) == ((136 * 20, 0), 136)
    assert len(omniglot.characters(two, "small2").classes) == 156
    assert {c.split("/")[0] for c in target.classes} == {"Japanese_(katakana)", "Sanskrit", "Tagalog"}
    assert np.bincount(target.y).tolist() == [20] * len(target.classes)
    assert not set(source.hashes) & set(target.hashes)
    assert source.x is not None
    assert (source.x.shape[1:], source.x.dtype) == ((1, 28, 28), np.uint8)
    assert source.x.mean() < 64, "ink is white on black"
    assert source.ids[0] == "small1/Balinese/character01/0108_01.png"
    latin = omniglot.characters(one, "latin", only=("Latin",))
    assert {c.split("/")[0] for c in latin.classes} == {"Latin"}


def test_a_folder_and_a_zip_of_characters_are_the_same(real_data: Path, tmp_path: Path) -> None:
    place = real_data / "omniglot" / "python" / "images_background_small1.zip"
    with ZipFile(place) as archive:
        archive.extractall(tmp_path)
    (tmp_path / "images_background_small1" / ".DS_Store").write_bytes(b"x")
    zipped = omniglot.characters(place, "small1", only=("Greek",))
    assert same(zipped, omniglot.characters(tmp_path / "images_background_small1", "small1", only=("Greek",)))
    broken = tmp_path / "images_background_small1" / "Greek" / "character01" / "0001_00.png"
    broken.write_bytes(b"\x89PNG nothing")
    with pytest.raises(UsageError, match=r"Greek/character01/0001_00\.png: broken image"):
        omniglot.characters(tmp_path, "small1")


def test_the_twenty_published_runs_are_episodes(real_data: Path) -> None:
    runs = omniglot.runs(real_data / "omniglot" / "python" / "one-shot-classification" / "all_runs.zip", "runs")
    assert (len(runs), len(runs.classes), len(runs.episodes)) == (800, 400, 20)
    assert sorted(np.concatenate([np.concatenate(e) for e in runs.episodes])) == list(range(800))
    for support, queries in runs.episodes:
        assert len(support) == len(queries) == 20
        assert sorted(runs.y[support]) == sorted(runs.y[queries])
        assert len(set(runs.y[support])) == 20
    row = runs.ids.index("runs/run01/test/item01.png")
    assert runs.classes[runs.y[row]] == "run01/class08"  # class_labels.txt


def test_the_published_answers_match_the_drawings(real_data: Path) -> None:
    runs = omniglot.runs(real_data / "omniglot" / "python" / "one-shot-classification" / "all_runs.zip", "runs")
    assert runs.x is not None
    x = np.stack([np.asarray(Image.fromarray(i[0]).reduce(4), np.float64).ravel() for i in runs.x])
    x = (x - x.mean(1, keepdims=True)) / x.std(1, keepdims=True)
    right = [runs.y[s][(x[q] @ x[s].T).argmax(1)] == runs.y[q] for s, q in runs.episodes]
    assert np.mean(right) > 0.15  # chance is 0.05


def test_a_wrong_archive_of_characters_is_named(tmp_path: Path) -> None:
    drawing = io.BytesIO()
    Image.new("1", (105, 105), 1).save(drawing, "PNG")

    def archive(name: str, files: dict[str, bytes]) -> Path:
        with ZipFile(tmp_path / name, "w") as out:
            for path, held in files.items():
                out.writestr(path, held)
        return tmp_path / name

    good = archive("a.zip", {"top/Greek/character01/1.png": drawing.getvalue()})
    with pytest.raises(UsageError, match="no alphabet is called 'Greak'; did you mean 'Greek'"):
        omniglot.characters(good, "a", only=("Greak",))
    with pytest.raises(UsageError, match="holds no drawing"):
        omniglot.characters(good, "a", without=("Greek",))
    with pytest.raises(UsageError, match="class 'Greek/character02' is not there"):
        omniglot.characters(good, "a", ("Greek/character01", "Greek/character02"))
    with pytest.raises(UsageError, match=r"a\.zip: holds no runNN/class_labels\.txt"):
        omniglot.runs(good, "a")
    run = {f"run01/{p}/{n}.png": drawing.getvalue() for p, n in (("test", "item01"), ("training", "class01"))}
    for labels, said in (
        ("run01/test/item01.png", "1: 'run01/test/item01.png' should be"),
        ("run01/test/item01.png run01/training/class02.png", "1: 'run01/training/class02.png' is not there"),
        ("run01/test/item01.png run01/training/class01.png\n" * 2, "2: names a drawing for the second time"),
    ):
        place = archive("r.zip", {**run, "run01/class_labels.txt": labels.encode()})
        with pytest.raises(UsageError, match=f"run01/class_labels.txt:{said}"):
            omniglot.runs(place, "r")
    good.write_bytes(good.read_bytes()[:-30])
    with pytest.raises(UsageError, match=r"a\.zip: broken zip"):
        omniglot.characters(good, "a")


# BCCD


def test_bccd_has_its_published_images_boxes_and_splits(real_data: Path) -> None:
    folder = real_data / "bccd" / "BCCD"
    whole = voc.images(folder, "bccd", BCCD)
    assert sizes(whole) == (205 + 87 + 72, 72)
    assert whole.x is not None
    assert (whole.x.shape, whole.x.dtype) == ((364, 3, 120, 160), np.uint8)
    boxes = np.concatenate(whole.boxes)
    assert (len(boxes), len(voc.dropped(folder))) == (4888 - 2, 2)
    assert boxes.dtype == np.float32
    assert (boxes[:, 2:4] > boxes[:, :2]).all()
    assert (boxes[:, :4] >= 0).all()
    assert (boxes[:, 2:4] <= (160, 120)).all()
    first = whole.boxes[whole.ids.index("bccd/BloodImage_00000")][0]
    assert first.tolist() == [260 / 4, 177 / 4, 491 / 4, 376 / 4, 1]  # a white cell, first in its XML
    assert "BloodImage_00338.xml: object 12 (RBC)" in voc.dropped(folder)[0]


def test_no_crop_of_a_test_image_is_left_to_train_on(real_data: Path) -> None:
    folder = real_data / "bccd" / "BCCD"
    whole, crops = voc.images(folder, "bccd", BCCD), voc.cells(folder, "cells", BCCD)
    assert whole.official_test is not None
    assert crops.official_test is not None
    tested = set((folder / "ImageSets" / "Main" / "test.txt").read_text().split())
    assert {i.split("/")[1] for i, t in zip(whole.ids, whole.official_test, strict=True) if t} == tested
    left = {i.split("/")[1] for i, t in zip(crops.ids, crops.official_test, strict=True) if not t}
    assert len(left) == 292
    assert not left & tested


def test_a_crop_is_the_pixels_around_its_box(real_data: Path) -> None:
    folder = real_data / "bccd" / "BCCD"
    whole, crops = voc.images(folder, "bccd", BCCD), voc.cells(folder, "bccd", BCCD)
    assert whole.x is not None
    assert crops.x is not None
    assert crops.x.shape == (4886, 3, 32, 32)
    assert crops.y.tolist() == np.concatenate(whole.boxes)[:, 4].tolist()
    row = crops.ids.index("bccd/BloodImage_00000/000")
    image = whole.x[whole.ids.index("bccd/BloodImage_00000")]
    assert np.array_equal(crops.x[row], image[:, 69 - 16 : 69 + 16, 94 - 16 : 94 + 16])  # centre (93.9, 69.1)
    blue = crops.x.astype(float)[:, :, 12:20, 12:20].mean((2, 3)) @ [-1, 0, 1]
    assert blue[crops.y == 1].mean() > blue[crops.y == 0].mean() + 30  # stained white cells are blue, red ones are not


@pytest.mark.parametrize(
    ("splits", "side", "fields", "places"), [(("val", "test"), 160, 159, 12), (("train",), 80, 205, 48)]
)
def test_a_tile_says_which_cells_it_shows(
    real_data: Path, splits: tuple[str, ...], side: int, fields: int, places: int
) -> None:
    """Each box is painted into a field of its own, and the painted pixels of every tile are counted."""
    folder = real_data / "bccd" / "BCCD"
    found = voc.tiles(folder, "t", BCCD, splits, side)
    assert found.x is not None
    assert (found.x.shape, found.x.dtype) == ((fields * places, 3, 40, 40), np.uint8)
    assert found.y.shape == (fields * places, 3)
    assert set(np.unique(found.y)) == {0, 1}
    whole = voc.images(folder, "t", BCCD, scale=1)
    for stem in [found.ids[i * places].split("/")[1] for i in range(0, fields, 20)]:
        boxes = whole.boxes[whole.ids.index(f"t/{stem}")]
        shown = np.zeros((places, 3), int)
        for x1, y1, x2, y2, kind in boxes.astype(int):
            painted = np.zeros((480, 640), bool)
            painted[y1:y2, x1:x2] = True
            counts = [
                painted[t : t + side, s : s + side].sum() for t in range(0, 480, side) for s in range(0, 640, side)
            ]
            seen = np.array(counts) >= min(painted.sum(), side * side) / 4
            shown[:, int(kind)] |= seen
        rows = [i for i, name in enumerate(found.ids) if f"/{stem}/" in name]
        assert found.y[rows].tolist() == shown.tolist(), stem


def test_tiles_are_the_fields_cut_in_rows_and_the_test_fields_are_marked(real_data: Path) -> None:
    folder = real_data / "bccd" / "BCCD"
    found, whole = voc.tiles(folder, "t", BCCD, ("val", "test")), voc.images(folder, "t", BCCD)
    assert found.x is not None
    assert whole.x is not None
    assert found.official_test is not None
    field = whole.x[whole.ids.index("t/BloodImage_00000")]
    first = found.ids.index("t/BloodImage_00000/00")
    assert np.array_equal(found.x[first], field[:, :40, :40])
    assert np.array_equal(found.x[first + 5], field[:, 40:80, 40:80])  # the second row of four
    tested = set((folder / "ImageSets" / "Main" / "test.txt").read_text().split())
    assert {i.split("/")[1] for i, t in zip(found.ids, found.official_test, strict=True) if t} == tested
    near = voc.tiles(folder, "n", BCCD, ("train",), 80)
    assert near.official_test is None
    assert not {i.split("/")[1] for i in near.ids} & {i.split("/")[1] for i in found.ids}  # no field is in both


def test_tiles_that_cannot_be_cut_are_a_mistake(real_data: Path) -> None:
    folder = real_data / "bccd" / "BCCD"
    with pytest.raises(UsageError, match="tiles have 100 pixels a side; a multiple of 40 is needed"):
        voc.tiles(folder, "t", BCCD, side=100)
    with pytest.raises(UsageError, match="images of 32x24 pixels hold no tile of 40"):
        voc.tiles(folder, "t", BCCD, side=800)
    with pytest.raises(UsageError, match=r"tests\.txt"):
        voc.tiles(folder, "t", BCCD, ("tests",))


@pytest.fixture
def blood(tmp_path: Path) -> Path:
    for part in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (tmp_path / part).mkdir(parents=True)
    for stem in ("a", "b"):
        Image.new("RGB", (64, 48), (200, 100, 90)).save(tmp_path / "JPEGImages" / f"{stem}.jpg")
        annotated(tmp_path, stem, ("RBC", (4, 4, 20, 20)))
    (tmp_path / "ImageSets" / "Main" / "trainval.txt").write_text("a\n")
    (tmp_path / "ImageSets" / "Main" / "test.txt").write_text("b\n")
    return tmp_path


def annotated(folder: Path, stem: str, *objects: tuple[str, tuple[int, ...]], size: str = "64 48") -> None:
    width, height = size.split()
    found = "".join(
        f"<object><name>{c}</name><bndbox>{''.join(f'<{k}>{v}</{k}>' for k, v in zip(voc.CORNERS, box, strict=True))}"
        "</bndbox></object>"
        for c, box in objects
    )
    text = f"<annotation><size><width>{width}</width><height>{height}</height></size>{found}</annotation>"
    (folder / "Annotations" / f"{stem}.xml").write_text(text)


def test_boxes_are_clipped_and_those_without_area_are_dropped_and_told(blood: Path) -> None:
    annotated(blood, "a", ("RBC", (-8, 4, 20, 400)), ("WBC", (70, 4, 90, 20)), ("WBC", (30, 20, 10, 40)))
    whole = voc.images(blood, "blood", ("RBC", "WBC"))
    assert whole.boxes[0].tolist() == [[0, 1, 5, 12, 0]]
    assert [line.split(" has")[0] for line in voc.dropped(blood)] == [f"a.xml: object {i} (WBC)" for i in (1, 2)]
    with pytest.raises(UsageError, match="no sample of class 'WBC'"):
        voc.cells(blood, "blood", ("RBC", "WBC"))
    annotated(blood, "a")
    assert voc.images(blood, "blood").boxes[0].shape == (0, 5)


def test_a_wrong_file_of_the_blood_is_named(blood: Path) -> None:
    with pytest.raises(UsageError, match=r"a\.xml: no class is called 'RBC'; did you mean 'RBCs'"):
        voc.images(blood, "blood", ("RBCs",))
    annotated(blood, "a", size="640 480")
    with pytest.raises(UsageError, match=r"a\.jpg: is 64x48, its XML says 640x480"):
        voc.images(blood, "blood")
    (blood / "Annotations" / "a.xml").write_text("<annotation><size></annotation>")
    with pytest.raises(UsageError, match=r"a\.xml: not a VOC annotation \(mismatched tag"):
        voc.images(blood, "blood")
    (blood / "Annotations" / "a.xml").write_text("<annotation><size/></annotation>")
    with pytest.raises(UsageError, match=r"a\.xml: not a VOC annotation \(annotation has no size/width"):
        voc.images(blood, "blood")
    annotated(blood, "a")
    (blood / "JPEGImages" / "a.jpg").write_bytes((blood / "JPEGImages" / "a.jpg").read_bytes()[:300])
    with pytest.raises(UsageError, match=r"a\.jpg: broken image"):
        voc.images(blood, "blood")
    (blood / "JPEGImages" / "a.jpg").unlink()
    with pytest.raises(UsageError, match=r"a\.jpg: no such file"):
        voc.images(blood, "blood")
    (blood / "ImageSets" / "Main" / "test.txt").write_text("b\na\n")
    with pytest.raises(UsageError, match=r"test\.txt:2: 'a' is listed before"):
        voc.images(blood, "blood")
    (blood / "ImageSets" / "Main" / "trainval.txt").write_text("c\n")
    with pytest.raises(UsageError, match=r"trainval\.txt:1: there is no Annotations/c\.xml"):
        voc.images(blood, "blood")


# Texts


def test_labelled_lines_keep_their_published_counts_and_letters(real_data: Path) -> None:
    folder = real_data / "sent_conv" / "data"
    trec = texts.lines({"train": folder / "TREC.train.all", "test": folder / "TREC.test.all"}, "trec")
    assert (sizes(trec), trec.classes) == ((5952, 500), tuple("012345"))
    stsa = texts.lines({p: folder / f"stsa.fine.{p}" for p in ("train", "dev", "test")}, "stsa")
    assert (sizes(stsa), len(stsa.classes)) == ((11855, 2210), 5)
    assert any("crème brûlée" in t for t in stsa.texts), "a UTF-8 file"
    subj = texts.lines({"all": folder / "subj.all"}, "subj", SUBJ)
    assert (sizes(subj), subj.official_test) == ((10000, 0), None)
    assert any("héroes" in t for t in subj.texts), "a Latin-1 file"
    assert subj.texts[0] == "smart and alert , thirteen conversations about one thing is a small gem ."
    for name, count in (("rt-polarity", 10662), ("custrev", 3775), ("mpqa", 10606)):  # its README.md
        assert sizes(texts.lines({"all": folder / f"{name}.all"}, name)) == (count, 0)


def test_json_lines_have_their_published_parts(real_data: Path) -> None:
    counts = {"chemprot": (4169, 2427, 3469), "sci-cite": (7320, 916, 1861), "citation_intent": (1688, 114, 139)}
    for name, parts in counts.items():
        folder = real_data / "scibert_data" / "data" / "text_classification" / name
        domain = texts.jsonl({p: folder / f"{p}.txt" for p in ("train", "dev", "test")}, name)
        assert sizes(domain) == (sum(parts), parts[2])
        held = json.loads((folder / "dev.txt").read_text().splitlines()[0])
        row = domain.ids.index(f"{name}/dev/00000")
        assert (domain.texts[row], domain.classes[domain.y[row]]) == (held["text"], held["label"])


def test_a_table_takes_the_names_of_its_classes_from_another(real_data: Path) -> None:
    folder = real_data / "medical_abstracts"
    columns = ("medical_abstract", "condition_label")
    file, names = folder / "medical_tc_test.csv", folder / "medical_tc_labels.csv"
    domain = texts.table({"all": file}, "abstracts", (), *columns, names)
    assert (sizes(domain), len(domain.classes)) == ((2888, 0), 5)
    assert domain.classes[domain.y[0]] == "nervous system diseases"
    assert domain.texts[0].startswith("Obstructive sleep apnea following topical oropharyngeal anesthesia")
    plain = texts.table({"all": file}, "abstracts", (), *columns)
    assert plain.classes == tuple("12345")
    assert np.array_equal(plain.y, domain.y)
    with pytest.raises(UsageError, match="has no column 'abstract'; did you mean 'medical_abstract'"):
        texts.table({"all": file}, "abstracts", (), "abstract", "condition_label")
    with pytest.raises(UsageError, match=r"medical_tc_test\.csv:\d+: no class is called"):
        texts.table({"all": file}, "abstracts", ("neoplasms", "nervous system diseases"), *columns, names)


def test_your_own_texts_are_a_file_a_class(tmp_path: Path) -> None:
    (tmp_path / "ham.txt").write_text("see you at eight\n\nthe minutes are below\n", encoding="utf-8")
    (tmp_path / "spam.txt").write_bytes("crème for nothing\r\nyou won\x85 twice".encode("latin-1"))
    domain = texts.folder(tmp_path, "mail", ("spam", "ham"))
    assert domain.y.tolist() == [0, 0, 1, 1]
    assert domain.texts == ("crème for nothing", "you won\x85 twice", "see you at eight", "the minutes are below")
    assert domain.ids == ("mail/spam/00000", "mail/spam/00001", "mail/ham/00000", "mail/ham/00001")
    assert domain.official_test is None
    with pytest.raises(UsageError, match=r"eggs\.txt is missing"):
        texts.folder(tmp_path, "mail", ("spam", "ham", "eggs"))
    with pytest.raises(UsageError, match=r"spam\.txt:1: no class is called 'spam'"):
        texts.folder(tmp_path, "mail", ("ham",))
    (tmp_path / "spam.txt").write_text("\n")
    with pytest.raises(UsageError, match="no sample of class 'spam'"):
        texts.folder(tmp_path, "mail", ("spam", "ham"))
    (tmp_path / "void").mkdir()
    with pytest.raises(UsageError, match="domain 'mail' is empty"):
        texts.folder(tmp_path / "void", "mail")


def test_a_wrong_line_of_text_is_named(tmp_path: Path) -> None:
    file = tmp_path / "a.all"
    for held, said in (
        ("0 yes\nno label\n", ":2: 'no label' should be"),
        ("0 yes\n2 no\n", ":2: label 2; the 2 classes"),
    ):
        file.write_text(held)
        with pytest.raises(UsageError, match=rf"a\.all{said}"):
            texts.lines({"all": file}, "a", ("bad", "good"))
    for line in (
        '{"text": "cut sh',
        '{"text": "no label"}',
        '["text"]',
        '{"text": 3, "label": 1}',
        r'{"text": "\ud800", "label": 1}',
    ):
        file.write_text('{"text": "fine", "label": "yes"}\n' + line)
        with pytest.raises(UsageError, match=r"a\.all:2: should be a JSON object"):
            texts.jsonl({"all": file}, "a")
    file.write_text('{"text": "fine", "label": "yse"}')
    with pytest.raises(UsageError, match=r"a\.all:1: no class is called 'yse'; did you mean 'yes'"):
        texts.jsonl({"all": file}, "a", ("yes", "no"))
    for held, said in (
        ('text,label\n"two\nlines",x\na,b,c\n', ":4: holds 3 fields, the header 2"),
        ('text,label\n"never closed,x\n', ":2: not CSV"),
    ):
        file.write_text(held)
        with pytest.raises(UsageError, match=rf"a\.all{said}"):
            texts.table({"all": file}, "a", (), "text", "label")
    file.write_text("")
    with pytest.raises(UsageError, match=r"a\.all: holds no text"):
        texts.lines({"all": file}, "a")


def test_hashed_counts_are_what_the_words_give(real_data: Path) -> None:
    counts = text_encoding.hashed(["Red cell RED", "red cell red", "a " * 9, "word " * 300])
    assert (counts.shape, counts.dtype) == ((4, 4096), np.uint8)
    assert np.array_equal(counts[0], counts[1])
    assert counts.sum(1).tolist() == [3 + 2, 3 + 2, 0, 255 + 255]
    folder = real_data / "sent_conv" / "data"
    trec = texts.lines({"train": folder / "TREC.train.all", "test": folder / "TREC.test.all"}, "trec")
    x = text_encoding.hashed(trec.texts)
    assert np.array_equal(x[1000:1100], text_encoding.hashed(trec.texts[1000:1100])), "a text's row is its own"
    from sklearn.naive_bayes import MultinomialNB

    assert trec.official_test is not None
    train = ~trec.official_test
    assert MultinomialNB().fit(x[train], trec.y[train]).score(x[~train], trec.y[~train]) > 0.6  # chance is 0.28


def test_sentence_vectors_without_their_library_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "sentence_transformers", None)
    with pytest.raises(UsageError, match=r"pip install 'tlbench\[text\]'"):
        text_encoding.sentences(["a"], "anything")


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    """A tiny BERT with random weights and a WordPiece vocabulary of its own."""
    pytest.importorskip("sentence_transformers")
    import torch
    from transformers import BertConfig, BertModel

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "red", "white", "blood", "cell", "##s"]
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    BertModel(BertConfig(vocab_size=len(words), **shape)).save_pretrained(tmp_path / "bert")
    (tmp_path / "bert" / "vocab.txt").write_text("\n".join(words))
    settings = {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": 32}
    (tmp_path / "bert" / "tokenizer_config.json").write_text(json.dumps(settings))
    return tmp_path / "bert"


@pytest.mark.filterwarnings("default")  # the libraries' own
def test_a_sentence_encoder_in_a_folder_gives_vectors(encoder: Path) -> None:
    said = ["red blood cells", "white blood cells", "red blood cells", "Red Blood CELLS"]
    x = text_encoding.sentences(said, str(encoder), batch=2)
    assert (x.shape, x.dtype) == ((4, 16), np.float32)
    assert np.allclose(x[0], x[2], atol=1e-6)
    assert np.allclose(x[0], x[3], atol=1e-6)
    assert not np.allclose(x[0], x[1], atol=1e-3)
    assert np.array_equal(x, text_encoding.sentences(said, str(encoder), batch=2))
    (encoder / "config.json").write_text("{")
    with pytest.raises(UsageError, match="no sentence encoder can be loaded"):
        text_encoding.sentences(said, str(encoder))


# Parquet and lists


def pacs(real_data: Path, domain: str, of_class: int = 3) -> list[tuple[bytes, str]]:
    folder = real_data / "pacs" / "PACS" / domain
    return [(f.read_bytes(), c.name) for c in sorted(folder.iterdir()) for f in sorted(c.iterdir())[:of_class]]


def hub_file(file: Path, rows: list[tuple[bytes | None, str, int | str]], names: list[str] | None) -> Path:
    """A parquet file as the hub's library writes one."""
    import pyarrow as pa
    from pyarrow import parquet as pq

    table = pa.table({
        "image": pa.array([{"bytes": b, "path": "pic.jpg"} for b, _, _ in rows]),
        "domain": [d for _, d, _ in rows],
        "label": [y for _, _, y in rows],
    })  # fmt: skip
    said = {"info": {"features": {"label": {"names": names, "_type": "ClassLabel"}}}}
    pq.write_table(table.replace_schema_metadata({"huggingface": json.dumps(said)} if names else {}), file)
    return file


def test_the_images_of_a_parquet_file_are_unpacked_once(real_data: Path, tmp_path: Path) -> None:
    held = {d: pacs(real_data, d) for d in ("photo", "sketch")}
    classes = sorted({c for _, c in held["photo"]})
    rows = [(b, d, classes.index(c)) for d, images in held.items() for b, c in images]
    hub_file(tmp_path / "train-00000-of-00002.parquet", rows[:30], classes)
    hub_file(tmp_path / "train-00001-of-00002.parquet", rows[30:], classes)
    sketch = hub_parquet.load(tmp_path, "sketch", tuple(classes[::-1]))
    assert (len(sketch), sketch.classes) == (21, tuple(classes[::-1]))
    for file, label in zip(sketch.files, sketch.y, strict=True):
        assert (file.read_bytes(), sketch.classes[label]) in held["sketch"]
    before = [f.stat().st_mtime_ns for f in sketch.files]
    assert [f.stat().st_mtime_ns for f in hub_parquet.load(tmp_path, "sketch", tuple(classes[::-1])).files] == before
    photo = hub_parquet.load(tmp_path, "photo", into=tmp_path / "unpacked")
    assert all(f.is_relative_to(tmp_path / "unpacked") for f in photo.files)
    with pytest.raises(UsageError, match="holds no domain 'sketches'; did you mean 'sketch'"):
        hub_parquet.load(tmp_path, "sketches")


def test_a_wrong_parquet_file_is_named(real_data: Path, tmp_path: Path) -> None:
    image, _ = pacs(real_data, "photo", 1)[0]
    strings = hub_file(tmp_path / "strings.parquet", [(image, "photo", "dog")], None)
    assert hub_parquet.load(strings, "photo").classes == ("dog",)
    numbers = hub_file(tmp_path / "numbers.parquet", [(image, "photo", 0)], None)
    assert hub_parquet.load(numbers, "photo", ("dog",)).classes == ("dog",)
    with pytest.raises(UsageError, match="row 0 needs a JPEG, PNG, BMP or TIFF"):
        hub_parquet.load(hub_file(tmp_path / "text.parquet", [(b"text", "photo", "dog")], None), "photo")
    with pytest.raises(UsageError, match=r"row 0 needs .*'\.\./dog'"):
        hub_parquet.load(hub_file(tmp_path / "out.parquet", [(image, "photo", "../dog")], None), "photo")
    strings.write_bytes(strings.read_bytes()[:-8])
    with pytest.raises(UsageError, match=r"strings\.parquet: not a parquet file"):
        hub_parquet.load(strings, "photo")
    with pytest.raises(UsageError, match=r"none\.parquet: no such file"):
        hub_parquet.load(tmp_path / "none.parquet", "photo")
    (tmp_path / "void").mkdir()
    with pytest.raises(UsageError, match=r"void: holds no \.parquet file"):
        hub_parquet.load(tmp_path / "void", "photo")


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    """The layout of DomainNet: lists beside the folder of a domain, a folder a class in it."""
    for i, c in enumerate(("aircraft carrier", "zebra")):
        (tmp_path / "clipart" / c).mkdir(parents=True)
        for k in range(3):
            Image.new("RGB", (30, 20), (i * 90, k * 80, 9)).save(tmp_path / "clipart" / c / f"{k}.png")
    entries = [f"clipart/{c}/{k}.png {i}\n" for i, c in enumerate(("aircraft carrier", "zebra")) for k in range(3)]
    (tmp_path / "clipart_train.txt").write_text("".join(entries[::2]))
    (tmp_path / "clipart_test.txt").write_text("".join(entries[1::2]))
    return tmp_path


def test_listed_images_keep_their_order_and_their_test_list(listed: Path) -> None:
    train, test = listed / "clipart_train.txt", listed / "clipart_test.txt"
    domain = image_folders.listed(listed, train, test, "clipart")
    assert domain.classes == ("aircraft carrier", "zebra")
    assert domain.y.tolist() == [0, 0, 1, 0, 1, 1]
    assert domain.ids[1] == "clipart/clipart/aircraft carrier/2.png"
    assert (sizes(domain), len(set(domain.hashes))) == ((6, 3), 6)
    assert image_folders.listed(listed, train, None, "clipart", ("ship", "horse")).official_test is None
    with pytest.raises(UsageError, match="label 0 is class 'zebra', the image lies in 'aircraft carrier'"):
        image_folders.listed(listed, train, test, "clipart", ("zebra", "aircraft carrier"))


def test_a_wrong_line_of_a_list_is_named(listed: Path) -> None:
    file, good = listed / "image_list.txt", "clipart/zebra/0.png 0"
    for line, said in (
        ("clipart/zebra/1.png", "2: 'clipart/zebra/1.png' should be '<path below the images> <label>'"),
        ("../zebra/1.png 0", "2: '../zebra/1.png 0' should be"),
        ("clipart/zebra/9.png 0", "2: there is no .*9.png; get the data again"),
        (good, "2: 'clipart/zebra/0.png' is listed before"),
        ("clipart/zebra/1.png 5", "2: label 5; the 1 classes are 0 to 0"),
    ):
        file.write_text(f"{good}\n{line}\n")
        with pytest.raises(UsageError, match=rf"image_list\.txt:{said}"):
            image_folders.listed(listed, file, None, "clipart", ("zebra",))
    file.write_text(f"{good}\nclipart/aircraft carrier/1.png 0\n")
    with pytest.raises(UsageError, match="label 0 lie in 'zebra' and 'aircraft carrier'; name the classes"):
        image_folders.listed(listed, file, None, "clipart")
    file.write_text("clipart/zebra/0.png 4\n")
    with pytest.raises(UsageError, match="has 1 labels up to 4"):
        image_folders.listed(listed, file, None, "clipart")
    shutil.rmtree(listed / "clipart")
    file.write_text("\n")
    with pytest.raises(UsageError, match="lists no image"):
        image_folders.listed(listed, file, None, "clipart")
