"""Tables and arrays of the user's own: real files, and what is said of broken ones."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer

from tlbench.data import Domain
from tlbench.errors import UsageError
from tlbench.tasks.loaders import npz, tabular

ROWS = "".join(f"{i},{i / 2},{'yes' if i % 2 else 'no'}\n" for i in range(12))
PLAIN = "size,age,label\n" + ROWS


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TLBENCH_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def csv(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        (tmp_path / "t.csv").write_text(text, encoding="utf-8")
        return tmp_path / "t.csv"

    return write


def complaint(load: Callable[[], Domain]) -> str:
    with pytest.raises(UsageError) as raised:
        load()
    assert "\n" not in str(raised.value)
    return str(raised.value).rpartition("/")[2]


# tables


def test_a_real_table_is_numbers_in_the_order_of_their_names(tmp_path: Path) -> None:
    frame = load_breast_cancer(as_frame=True).frame
    frame.to_csv(tmp_path / "a.csv", index=False)
    frame[frame.columns[::-1]].to_csv(tmp_path / "b.csv", index=False)
    a, b = (tabular.load(tmp_path / f"{name}.csv", "d", "target") for name in "ab")
    assert a.columns == b.columns == tuple(sorted(frame.columns.drop("target")))
    assert a.x is not None
    assert a.x.dtype == np.float32
    assert isinstance(a.x, np.memmap)
    assert np.allclose(a.x, frame[list(a.columns)])
    assert (a.y.tolist(), a.classes) == (frame.target.tolist(), ("0", "1"))
    assert a.hashes == b.hashes


def test_parquet_holds_the_same_table(tmp_path: Path) -> None:
    frame = load_breast_cancer(as_frame=True).frame
    frame.to_csv(tmp_path / "a.csv", index=False)
    frame.to_parquet(tmp_path / "a.parquet")
    a, b = (tabular.load(tmp_path / f"a.{suffix}", "d", "target") for suffix in ("csv", "parquet"))
    assert (a.columns, a.classes, a.hashes) == (b.columns, b.classes, b.hashes)
    frame.loc[3, "mean area"] = np.nan
    frame.to_parquet(tmp_path / "b.parquet")
    said = complaint(lambda: tabular.load(tmp_path / "b.parquet", "d", "target"))
    assert said.startswith("b.parquet: row 4: column 'mean area' is empty")
    (tmp_path / "c.parquet").write_text("no")
    assert complaint(lambda: tabular.load(tmp_path / "c.parquet", "d", "y")).startswith("c.parquet: not a parquet file")


def test_semicolons_tabs_quotes_blank_lines_and_a_byte_order_mark_are_read(csv: Callable[[str], Path]) -> None:
    plain = tabular.load(csv(PLAIN), "d", "label")
    for text in (
        PLAIN.replace(",", ";"), PLAIN.replace(",", "\t"), "\ufeff" + PLAIN, PLAIN.replace("yes", '" yes "'),
        PLAIN.replace("\n", "\r\n"), PLAIN + "\n\n", PLAIN.removesuffix("\n"),
    ):  # fmt: skip
        other = tabular.load(csv(text), "d", "label")
        assert (other.hashes, other.columns, other.classes) == (plain.hashes, plain.columns, plain.classes)


def test_a_number_to_predict_is_no_class(csv: Callable[[str], Path]) -> None:
    domain = tabular.load(csv(PLAIN), "d", "age", ("label",), number=True)
    assert (domain.classes, domain.columns) == ((), ("size",))
    assert domain.y.dtype == np.float32
    assert domain.y.tolist() == [i / 2 for i in range(12)]


def test_classes_that_are_numbers_are_in_their_order(csv: Callable[[str], Path]) -> None:
    text = "a,label\n" + "".join(f"{i},{c}\n" for i, c in enumerate([10, 9, 2, 10, 9, 2]))
    assert tabular.load(csv(text), "d", "label").classes == ("2", "9", "10")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (PLAIN.replace("3,1.5", "3,old"), "t.csv:5: column 'age' holds 'old', and a number is needed; correct it"),
        (PLAIN.replace("3,1.5", "3,"), "t.csv:5: column 'age' is empty; correct it, take the row out, or say drop = ["),
        (PLAIN.replace("3,1.5", "3,1e999"), "t.csv:5: column 'age' holds '1e999', and a number is needed"),
        (PLAIN.replace("3,1.5", "\n3,old"), "t.csv:6: column 'age' holds 'old'"),
        (PLAIN.replace("no\n1,", '"n\no"\n1,').replace("3,1.5", "3,old"), "t.csv:6: column 'age' holds 'old'"),
        (PLAIN.replace("3,1.5,yes", "3,1.5,"), "t.csv:5: its label, column 'label', is empty"),
        (PLAIN.replace("3,1.5,yes", "3"), "t.csv:5: "),
        (PLAIN.replace("3,1.5,yes", "3,1.5,yes,no"), "t.csv:5: holds 4 fields, the header 3"),
        (PLAIN.replace("label", "labels"), "t.csv:1: has no column 'label'; did you mean 'labels'? (name the one"),
        (PLAIN.replace("age", "size"), "t.csv:1: there are two columns 'size'; each needs a name of its own"),
        (PLAIN.replace("size", ""), "t.csv:1: column 1 has no name; name it, or write the table without its index"),
        ("", "t.csv: is empty; a header and rows are needed"),
        ("size,label\n", "t.csv: holds no row under its header"),
        ("label\nyes\nno\n", "t.csv: has no column of features beside label"),
        ("a,label\n" + "".join(f"1,{i}.5\n" for i in range(30)), "t.csv: 'label' has 30 values in 30 rows; a number?"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_table_is_said_with_its_line(csv: Callable[[str], Path], text: str, said: str) -> None:
    found = complaint(lambda: tabular.load(csv(text), "d", "label"))
    assert found.startswith(said), found


def test_a_class_that_the_card_does_not_name_and_a_column_that_is_not_there_are_named(
    csv: Callable[[str], Path],
) -> None:
    file = csv(PLAIN.replace("5,2.5,yes", "\n5,2.5,yess"))
    found = complaint(lambda: tabular.load(file, "d", "label", classes=("no", "yes")))
    assert found == "t.csv:8: no class is called 'yess'; did you mean 'yes'?"
    found = complaint(lambda: tabular.load(file, "d", "label", ("agee",)))
    assert found.startswith("t.csv:1: has no column 'agee'; did you mean 'age'?")


def test_a_table_larger_than_a_piece_is_read_whole(csv: Callable[[str], Path]) -> None:
    text = "a,label\n" + "".join(f"{i},{i % 3}\n" for i in range(45_000))
    domain = tabular.load(csv(text), "d", "label")
    assert domain.x is not None
    assert domain.x[:, 0].tolist() == list(range(45_000))
    found = complaint(lambda: tabular.load(csv(text.replace("44000,", "x,")), "d", "label"))
    assert found.startswith("t.csv:44002: column 'a' holds 'x'")


def test_a_column_of_texts_is_read(csv: Callable[[str], Path]) -> None:
    text = 'id,review,label\n1,"good, and\nlong",1\n2,bad,0\n'
    domain = tabular.texts(csv(text), "d", "label", "review")
    assert (domain.texts, domain.y.tolist(), domain.x) == (("good, and\nlong", "bad"), [1, 0], None)
    found = complaint(lambda: tabular.texts(csv(text + "3,,1\n"), "d", "label", "review"))
    assert found == "t.csv:5: column 'review' holds ''; a text is needed"


# arrays


def images(*shape: int) -> Any:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("axes", [(0, 1, 2, 3), (0, 2, 3, 1)])
@pytest.mark.parametrize("channels", [1, 3])
def test_images_have_their_channels_first(tmp_path: Path, axes: tuple[int, ...], channels: int) -> None:
    x, y = images(6, channels, 16, 20), np.array(["dog", "cat"] * 3)
    np.savez(tmp_path / "a.npz", x=x.transpose(axes), y=y)
    domain = npz.load(tmp_path / "a.npz", "a")
    assert np.array_equal(domain.x, x)  # type: ignore[arg-type]
    assert (domain.classes, domain.y.tolist()) == (("cat", "dog"), [1, 0] * 3)


def test_grey_images_get_a_channel_and_numbers_names(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=images(6, 16, 16), y=[[0], [1]] * 3, classes=["cat", "dog"])
    domain = npz.load(tmp_path / "a.npz", "a")
    assert domain.x is not None
    assert (domain.x.shape, domain.classes, domain.y.tolist()) == ((6, 1, 16, 16), ("cat", "dog"), [0, 1] * 3)


X, Y = np.arange(12.0).reshape(6, 2), np.array([0, 1] * 3)


@pytest.mark.parametrize(
    ("held", "said"),
    [
        ({"x": X}, "a.npz: needs an array 'y'; has x"),
        ({"x": X, "y": Y[:4]}, "a.npz: y has shape (4,), x (6, 2); one label a sample, (6,), is needed"),
        ({"x": X, "y": Y + 0.5}, "a.npz: y is float64; whole numbers or texts are needed, or regime = 'regression'"),
        ({"x": X, "y": Y.astype(object)}, "a.npz: not an .npz that can be read (it holds Python objects; save numbers"),
        ({"x": X.astype(str), "y": Y}, "a.npz: x: is <U32; numbers are needed"),
        ({"x": np.where(X == 5, np.nan, X), "y": Y}, "a.npz: x: sample 2 holds a value that is no finite float32"),
        ({"x": X[:, 0], "y": Y}, "a.npz: x: has shape (6,); samples by features are needed"),
        ({"x": X, "y": Y, "classes": ["cat"]}, "a.npz: y of sample 1 is 1; the 1 classes are 0 to 0"),
        ({"x": X, "y": Y, "classes": ["cat", "dog", "eel"]}, "a.npz: no sample of class 'eel'"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_arrays_is_named(tmp_path: Path, held: dict[str, Any], said: str) -> None:
    np.savez(tmp_path / "a.npz", **held)
    found = complaint(lambda: npz.load(tmp_path / "a.npz", "a"))
    assert found.startswith(said), found


def test_a_torn_npz_is_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=X, y=Y)
    held = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "a.npz").write_bytes(held[: len(held) // 2])
    assert complaint(lambda: npz.load(tmp_path / "a.npz", "a")).startswith("a.npz: not an .npz that can be read (")


def save(folder: Path, x: Any, y: Any = Y) -> Path:
    folder.mkdir(exist_ok=True)
    np.save(folder / "x.npy", x)
    np.save(folder / "y.npy", y)
    return folder


def test_a_folder_of_arrays_is_the_same_as_an_npz(tmp_path: Path) -> None:
    x = images(6, 3, 16, 16)
    np.savez(tmp_path / "a.npz", x=x, y=Y)
    a, b = npz.load(tmp_path / "a.npz", "a"), npz.folder(save(tmp_path / "a", x), "a")
    assert isinstance(b.x, np.memmap)
    assert (a.ids, a.hashes, a.classes, a.y.tolist()) == (b.ids, b.hashes, b.classes, b.y.tolist())
    grey = npz.folder(save(tmp_path / "a", x[:, 0]), "a")
    assert grey.x is not None
    assert grey.x.shape == (6, 1, 16, 16)
    assert npz.folder(save(tmp_path / "a", x), "a").hashes == a.hashes


@pytest.mark.parametrize(
    ("x", "said"),
    [
        (X, "x.npy: is float64, row by row; save it as uint8 or float32 in C order, as it is used"),
        (np.asfortranarray(X.astype(np.float32)), "x.npy: is float32, column by column; save it as uint8 or float32"),
        (images(6, 16, 16, 3), "x.npy: has shape (6, 16, 16, 3); it is used as it is, so save the channels first"),
        (np.where(X == 5, np.inf, X).astype(np.float32), "x.npy: sample 2 holds a value that is no finite float32"),
        (X.astype(object), "x.npy: not an .npy that can be read (it holds Python objects"),
    ],
)  # fmt: skip
def test_what_a_folder_of_arrays_may_not_hold_is_named(tmp_path: Path, x: Any, said: str) -> None:
    found = complaint(lambda: npz.folder(save(tmp_path / "a", x), "a"))
    assert found.startswith(said), found


def test_an_array_is_never_whole_in_memory(tmp_path: Path) -> None:
    """300 MB on the disk; the process that loads them, hashes included, grows by less than a third of that."""
    (tmp_path / "big").mkdir()
    shape = (100_000, 3, 32, 32)
    x = np.lib.format.open_memmap(tmp_path / "big" / "x.npy", mode="w+", dtype=np.uint8, shape=shape)
    for start in range(0, len(x), 10_000):
        x[start : start + 10_000] = images(10_000, 3, 32, 32)
    x.flush()
    del x
    np.save(tmp_path / "big" / "y.npy", np.arange(100_000) % 10)
    script = (
        "import re, sys; from pathlib import Path; from tlbench.tasks.loaders import npz\n"
        "def peak(): return int(re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1]) / 1024\n"
        "before = peak(); domain = npz.folder(Path(sys.argv[1]), 'big')\n"
        "assert len(set(domain.hashes)) == 10_000 and domain.x.shape == (100_000, 3, 32, 32)\n"
        "print(peak() - before)"
    )
    if not Path("/proc/self/status").exists():
        pytest.skip("this system does not tell a process its peak memory in /proc")
    words = [sys.executable, "-c", script, str(tmp_path / "big")]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert 10 < float(done.stdout) < 100, f"{done.stdout} MiB more"
