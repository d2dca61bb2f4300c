"""Birds, aircraft and cars: their official splits and labels, from folders laid out as the publishers' are."""

from __future__ import annotations

import hashlib
import io
import re
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import platformdirs
import pytest
from layouts import aircraft, cub200, parquet, stanford_cars
from shelf import Shelf

from tlbench.data import Domain
from tlbench.errors import UsageError
from tlbench.tasks import card, loaders, registry
from tlbench.tasks.datasets import fetch
from tlbench.tasks.loaders import hub_parquet as parquets
from tlbench.tasks.loaders import image_folders
from tlbench.tasks.split import split


def planes(home: Path) -> Domain:
    lists = (home / f"images_variant_{part}.txt" for part in ("trainval", "test"))
    return image_folders.aircraft(home / "images", *lists, "planes")


def counts(domain: Domain) -> tuple[list[int], list[int]]:
    """Training and test images of each class."""
    assert domain.official_test is not None
    assert len(set(domain.ids)) == len(set(domain.hashes)) == len(domain)
    assert all(f.is_file() for f in domain.files)
    return tuple(np.bincount(domain.y[part]).tolist() for part in (~domain.official_test, domain.official_test))  # type: ignore[return-value]


def test_birds_have_the_publishers_labels_and_split(tmp_path: Path) -> None:
    birds = image_folders.cub(cub200(tmp_path, train=4, test=2), "birds")
    assert counts(birds) == ([4, 4, 4], [2, 2, 2])
    assert birds.classes[0] == "001.Black_footed_Albatross"
    assert birds.ids[0] == "birds/001.Black_footed_Albatross/bird_1.jpg"
    assert [f.parent.name for f in birds.files] == [birds.classes[y] for y in birds.y]


def test_aircraft_have_the_publishers_labels_and_split_and_names_with_blanks(tmp_path: Path) -> None:
    found = planes(aircraft(tmp_path, train=3, test=2))
    assert counts(found) == ([3, 3, 3], [2, 2, 2])
    assert found.classes == ("707-320", "Boeing 717", "Spitfire")
    assert found.ids[0] == "planes/0000001.jpg"


def test_cars_come_from_the_splits_that_their_files_are_named_after(tmp_path: Path) -> None:
    home = stanford_cars(tmp_path, train=3, test=2)
    parquet(home / "contrast-00000-of-00001.parquet", [b"no image"], [0], ["of no concern"], None)
    with pytest.raises(UsageError, match="holds no domain 'validation'"):
        parquets.load(home, "validation", into=tmp_path / "unpacked")
    cars = parquets.splits(home, "cars", into=tmp_path / "unpacked")
    assert counts(cars) == ([3, 3, 3], [2, 2, 2])
    assert cars.classes[2] == "Ram C_V Cargo Van Minivan 2012"
    assert cars.ids[0].startswith("cars/train/AM General")
    assert cars.ids[-1].startswith("cars/test/Ram C_V")


def test_splits_of_different_classes_are_not_one_domain(tmp_path: Path) -> None:
    home = stanford_cars(tmp_path, train=3, test=2)
    stanford_cars(tmp_path / "fewer", train=3, test=2, classes=2)
    test = "test-00000-of-00001.parquet"
    (home / test).write_bytes((tmp_path / "fewer/stanford_cars/data" / test).read_bytes())
    with pytest.raises(UsageError, match=r"class 'Ram C_V .*' is in one of the splits train and test only"):
        parquets.splits(home, "cars", into=tmp_path / "unpacked")


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        ("images.txt", "1 001", "one 001", r"images\.txt:1: 'one 001.*' should be '<number> <text>'"),
        ("images.txt", "2 001", "1 001", r"images\.txt:2: 1 is listed before"),
        ("images.txt", "bird_1.jpg", "../bird_1.jpg", r"images\.txt: there is no .*bird_1\.jpg; get the data again"),
        ("image_class_labels.txt", "1 1\n", "", r"image_class_labels\.txt: says nothing of image 1"),
        ("image_class_labels.txt", "1 1\n", "1 9\n", r"classes\.txt: has no class 9"),
        ("train_test_split.txt", "1 1\n", "", r"train_test_split\.txt: says nothing of image 1"),
    ],
)
def test_a_wrong_line_among_the_birds_is_named(tmp_path: Path, file: str, old: str, new: str, said: str) -> None:
    home = cub200(tmp_path, train=2, test=1)
    text = (home / file).read_text()
    assert old in text
    (home / file).write_text(text.replace(old, new, 1))
    with pytest.raises(UsageError, match=said):
        image_folders.cub(home, "birds")


def test_what_is_wrong_with_a_list_of_aircraft_is_named(tmp_path: Path) -> None:
    home = aircraft(tmp_path, train=2, test=1)
    with pytest.raises(UsageError, match="is of class '707-320', which this task has not; did you mean '707-321'"):
        image_folders.aircraft(home / "images", home / "images_variant_trainval.txt", home / "images_variant_test.txt",
                           "planes", ("707-321", "Boeing 717", "Spitfire"))  # fmt: skip
    test = home / "images_variant_test.txt"
    before = test.read_text()
    test.write_text(before + "0000001 707-320\n")
    with pytest.raises(UsageError, match=r"0000001\.jpg is in images_variant_trainval\.txt too"):
        planes(home)
    test.write_text("\n")
    with pytest.raises(UsageError, match="lists nothing"):
        planes(home)
    test.unlink()
    with pytest.raises(UsageError, match="no such file"):
        planes(home)


@pytest.mark.parametrize(("name", "make", "k"), [("cub200", cub200, 15), ("aircraft", aircraft, 34)])
def test_a_published_budget_is_of_the_publishers_training_images(
    name: str, make: Callable[[Path], Path], k: int, tmp_path: Path
) -> None:
    make(tmp_path)
    (task,) = registry.find(name)
    task = card.Task(task.card.model_copy(update={"protocol": "published"}), task.sources, task.target)
    domain = loaders.load(task.card, task.target, tmp_path)
    made = split(task, domain, 0)
    assert domain.official_test is not None
    assert len(made.partition.test) == domain.official_test.sum() == 6
    assert len(made.shots(k)) == 3 * k
    assert len(made.shots("full")) == (~domain.official_test).sum()
    assert not domain.official_test[made.shots("full")].any()


@pytest.mark.parametrize(("name", "make"), [("cub200", cub200), ("aircraft", aircraft)])
def test_an_archive_as_the_publishers_is_pulled_and_read(
    name: str, make: Callable[..., Path], serve: Callable[..., Shelf], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("TLBENCH_DATA", "TLBENCH_MIRROR"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(platformdirs, "user_data_path", lambda *_: tmp_path / "user")
    make(tmp_path / "made", train=2, test=1)
    real = fetch.dataset(name)
    mirror, shelf, sink = real.parts[0].mirrors[0], serve(), io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w:gz") as box:
        box.add(tmp_path / "made" / name, mirror.inside.rstrip("/"))
        box.addfile(tarfile.TarInfo("attributes.txt"))  # beside the folder, as the birds' archive has it
    text = (real._home / f"{name}.toml").read_text().replace('url = "https:/', f'url = "{shelf.url}')
    shelf.files[mirror.url.partition("://")[2]] = sink.getvalue()
    (tmp_path / f"{name}.toml").write_text(
        re.sub("md5:[0-9a-f]{32}", f"md5:{hashlib.md5(sink.getvalue()).hexdigest()}", text)
    )
    folder = fetch.pull(moved := fetch.dataset(str(tmp_path / f"{name}.toml")))
    assert fetch.verify(moved, folder) == []
    assert not (folder / "attributes.txt").exists()
    c = registry.find(name)[0].card
    assert counts(loaders.load(c, str(c.target), tmp_path / "user/data")) == ([2, 2, 2], [1, 1, 1])
