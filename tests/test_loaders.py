"""Image folders and feature tables: real files, and what is said of broken ones."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from tlbench.errors import UsageError
from tlbench.tasks import loaders, registry
from tlbench.tasks.loaders import image_folders, mat_svmlight


def image(file: Path, shade: int, size: tuple[int, int] = (40, 30)) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (shade, 255 - shade, shade // 2)).save(file)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for c in ("cat", "dog"):
        for i in range(3):
            image(tmp_path / c / f"{i}.jpg", 20 * i + (100 if c == "dog" else 0))
    return tmp_path


def test_a_folder_a_class_is_read_in_the_cards_order(photos: Path) -> None:
    domain = image_folders.folder(photos, "photos", ("dog", "cat"))
    assert domain.classes == ("dog", "cat")
    assert domain.y.tolist() == [0, 0, 0, 1, 1, 1]
    assert domain.ids[0] == "photos/dog/0.jpg"
    assert len(set(domain.hashes)) == 6


def test_a_missing_class_is_named_with_what_is_there(photos: Path) -> None:
    with pytest.raises(UsageError, match=r"class 'bird' of domain 'photos' is missing; there are: cat, dog"):
        image_folders.folder(photos, "photos", ("bird", "cat", "dog"))


def test_a_folder_that_is_no_class_is_named(photos: Path) -> None:
    image(photos / "dogs" / "0.jpg", 1)
    with pytest.raises(UsageError, match="no class of this task is called 'dogs'; did you mean 'dog'"):
        image_folders.folder(photos, "photos", ("cat", "dog"))


def test_an_empty_class_and_an_empty_domain_are_named(photos: Path, tmp_path: Path) -> None:
    (photos / "eel").mkdir()
    with pytest.raises(UsageError, match="class 'eel' of domain 'photos' holds no image"):
        image_folders.folder(photos, "photos")
    (tmp_path / "void").mkdir()
    with pytest.raises(UsageError, match="domain 'void' is empty"):
        image_folders.folder(tmp_path / "void", "void")
    with pytest.raises(UsageError, match="no such folder"):
        image_folders.folder(tmp_path / "nowhere", "nowhere")


@pytest.fixture
def office31(tmp_path: Path) -> Path:
    """The layout of Office-31, all 31 classes, three images each."""
    classes = registry.read(registry.card_files()["office31"]).classes
    for domain in ("amazon", "dslr", "webcam"):
        for i, c in enumerate(classes):
            for k in range(3):
                image(tmp_path / "office31" / domain / "images" / c / f"frame_{k:04d}.jpg", 8 * i + k)
    return tmp_path


def test_office31_is_found_under_a_data_root_or_as_the_folder_itself(office31: Path) -> None:
    c = registry.read(registry.card_files()["office31"])
    for root in (office31, office31 / "office31"):
        domain = loaders.load(c, "webcam", root)
        assert (len(domain), len(domain.classes)) == (93, 31)
    shutil.rmtree(office31 / "office31" / "dslr" / "images" / "mug")
    with pytest.raises(UsageError, match="class 'mug' of domain 'dslr' is missing"):
        loaders.load(c, "dslr", office31)


def test_missing_data_is_one_line_with_place_size_and_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("TLBENCH_DATA", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    with pytest.raises(UsageError) as error:
        loaders.locate(registry.read(registry.card_files()["office31"]), "amazon", None)
    said = str(error.value)
    assert "\n" not in said
    for part in ("office31", "tlbench data pull office31", "MB", "http", "--data-root"):
        assert part in said


def test_a_matlab_table_is_compact_and_memory_mapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TLBENCH_CACHE", str(tmp_path / "cache"))
    x, y = np.arange(12).reshape(4, 3), np.array([[1], [2], [1], [2]])
    savemat(tmp_path / "a.mat", {"fts": x, "labels": y})
    domain = mat_svmlight.load(tmp_path / "a.mat", None, "a", "mat", ("one", "two"))
    assert isinstance(domain.x, np.memmap)
    assert domain.x.dtype == np.uint8
    assert np.array_equal(domain.x, x)
    assert domain.y.tolist() == [0, 1, 0, 1]


def test_tables_that_are_none_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TLBENCH_CACHE", str(tmp_path / "cache"))
    savemat(tmp_path / "b.mat", {"other": np.ones(3)})
    with pytest.raises(UsageError, match=r"b\.mat: needs features under one of"):
        mat_svmlight.load(tmp_path / "b.mat", None, "b", "mat", ())
    (tmp_path / "c.mat").write_bytes(b"not a matrix at all")
    with pytest.raises(UsageError, match=r"c\.mat: not a MATLAB file"):
        mat_svmlight.load(tmp_path / "c.mat", None, "c", "mat", ())
    savemat(tmp_path / "d.mat", {"fts": np.array([[1.5, np.nan]]), "labels": np.array([[1]])})
    with pytest.raises(UsageError, match="row 0 holds a value that is not finite"):
        mat_svmlight.load(tmp_path / "d.mat", None, "d", "mat", ())
    (tmp_path / "e.svmlight").write_text("1 0:2\nnonsense\n")
    with pytest.raises(UsageError, match=r"e\.svmlight: not svmlight text"):
        mat_svmlight.load(tmp_path / "e.svmlight", None, "e", "svmlight", ())


def test_the_publishers_test_file_is_marked_and_widened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TLBENCH_CACHE", str(tmp_path / "cache"))
    (tmp_path / "train.svmlight").write_text("1 0:2 3:1\n0 1:1\n")
    (tmp_path / "test.svmlight").write_text("0 5:300\n")
    domain = mat_svmlight.load(tmp_path / "train.svmlight", tmp_path / "test.svmlight", "t", "svmlight", ("no", "yes"))
    assert domain.x is not None
    assert domain.x.shape == (3, 6)
    assert domain.official_test is not None
    assert domain.official_test.tolist() == [False, False, True]
    assert domain.x[2, 5] == 300


def test_the_real_files_hold_what_their_cards_say(real_data: Path) -> None:
    counts = {"amazon": 958, "caltech10": 1123, "dslr": 157, "webcam": 295}
    for suite in ("office_caltech10", "office_caltech10_surf"):
        c = registry.read(registry.card_files()[suite])
        assert {d: len(loaders.load(c, d, real_data)) for d in c.domains} == counts
    c = registry.read(registry.card_files()["amazon_reviews"])
    books = loaders.load(c, "books", real_data)
    assert books.official_test is not None
    assert (len(books), int(books.official_test.sum())) == (6465, 4465)
    c = registry.read(registry.card_files()["office_caltech10_decaf"])
    with pytest.raises(UsageError, match=r"amazon.mat is missing; the files at hand cover dslr, webcam"):
        loaders.load(c, "amazon", real_data)


def test_one_matlab_file_an_image_is_read_in_the_cards_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The layout of Office-31's published DeCAF features."""
    monkeypatch.setenv("TLBENCH_CACHE", str(tmp_path / "cache"))
    for c, shift in (("mug", 0), ("bike", 10)):
        (tmp_path / "amazon" / c).mkdir(parents=True)
        for i in range(3):
            savemat(tmp_path / "amazon" / c / f"frame_{i:04}.mat", {"fc8": np.full((1, 7), shift + i, np.float32)})
    domain = mat_svmlight.matfolder(tmp_path / "amazon", "amazon", ("mug", "bike"))
    assert domain.x is not None
    assert domain.x.shape == (6, 7)
    assert domain.x[:, 0].tolist() == [0, 1, 2, 10, 11, 12]
    assert domain.y.tolist() == [0, 0, 0, 1, 1, 1]
    assert domain.ids[3] == "amazon/bike/frame_0000"
    with pytest.raises(UsageError, match="class 'pen' of domain 'amazon' is missing"):
        mat_svmlight.matfolder(tmp_path / "amazon", "amazon", ("mug", "pen"))
    savemat(tmp_path / "amazon" / "mug" / "frame_0009.mat", {"fc8": np.zeros((1, 5))})
    with pytest.raises(UsageError, match=r"frame_0009.mat: holds 5 features, frame_0000.mat holds 7"):
        mat_svmlight.matfolder(tmp_path / "amazon", "amazon", ("mug", "bike"))
