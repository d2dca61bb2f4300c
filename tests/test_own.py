"""Cards of the user's own: two lines are enough, and what is wrong with them is said with file and line."""

from __future__ import annotations

import io
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from tlbench.cli.commands import templates
from tlbench.errors import UsageError
from tlbench.tasks import loaders, registry
from tlbench.tasks.card import Card
from tlbench.tasks.registry import card_files

TWO = 'source = "photos/"\ntarget = "xrays/"\n'
Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def writing(text: str) -> Path:
        (tmp_path / "my.toml").write_text(text, encoding="utf-8")
        return tmp_path / "my.toml"

    return writing


def trees(folder: Path, *names: str, classes: tuple[str, ...] = ("cat", "dog"), n: int = 2) -> None:
    for d, name in enumerate(names):
        for k, c in enumerate(classes):
            (folder / name / c).mkdir(parents=True)
            for i in range(n):
                Image.new("RGB", (10, 8), (90 * k, 100 * d, 60 * i)).save(folder / name / c / f"{i}.png")


def _check(file: Path) -> None:
    for task in registry.find(str(file)):
        loaders.check(task, None)


def complaint(file: Path) -> str:
    """What is said of a card or its data, without the folder; always one line."""
    with pytest.raises(UsageError) as raised:
        _check(file)
    assert "\n" not in str(raised.value)
    return str(raised.value).replace(f"{file.parent}/", "")


def read(file: Path) -> Card:
    return registry.find(str(file))[0].card


# what two lines become


def test_two_lines_are_a_card(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TLBENCH_WEIGHTS", str(tmp_path / "weights"))
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "mobilenetv2_100.safetensors").touch()
    trees(tmp_path, "photos", "xrays")
    (task,) = registry.find(str(write(TWO)))
    c = task.card
    assert (task.name, task.sources, task.target) == ("my/photos-xrays", ("photos",), "xrays")
    assert (c.name, c.version, c.paradigm, c.loader) == ("my", 1, "different-domain-same-task", "images")
    assert (c.summary, c.license, c.cite) == ("not stated",) * 3
    assert (c.backbone, c.trainable) == (("mobilenetv2_100_coral", "mobilenetv2_100"), False)
    assert c.place("xrays").path == str(tmp_path / "xrays")
    assert loaders.load(c, "photos", None).classes == ("cat", "dog")


def test_without_weights_a_small_network_is_trained(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TLBENCH_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    trees(tmp_path, "photos", "xrays")
    c = read(write(TWO))
    assert (c.backbone, c.trainable, c.side) == ("convnet", True, 32)


def test_paths_start_in_the_cards_folder_wherever_one_stands(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trees(tmp_path, "photos", "xrays")
    write(TWO)
    (tmp_path / "deep").mkdir()
    monkeypatch.chdir(tmp_path / "deep")
    c = read(Path("../my.toml"))
    assert [c.place(d).path for d in c.all_domains] == [str(tmp_path / "photos"), str(tmp_path / "xrays")]


def test_several_sources_pairs_and_domains(write: Write, tmp_path: Path) -> None:
    trees(tmp_path, "a", "b", "c")
    c = read(write('sources = ["a", "b/"]\ntarget = "c"\n'))
    assert (c.paradigm, c.sources, c.target) == ("multi-source", ("a", "b"), "c")
    registry.read.cache_clear()
    assert len(registry.find(str(write('domains = ["a", "b", "c"]')))) == 6
    registry.read.cache_clear()
    assert [t.name for t in registry.find(str(write('pairs = [["a", "c"], ["a+b", "c"]]')))] == ["my/a-c", "my/a+b-c"]


def test_domains_with_the_same_name_are_told_apart_by_their_folders(write: Write, tmp_path: Path) -> None:
    trees(tmp_path, "old hospital/train", "new/train")
    c = read(write('source = "old hospital/train"\ntarget = "new/train"\n'))
    assert (c.sources, c.target) == (("old_hospital_train",), "new_train")


def test_a_domain_can_lie_elsewhere_than_its_name_says(write: Write, tmp_path: Path) -> None:
    trees(tmp_path, "photos", "archive/2024")
    c = read(write(TWO + '[at.xrays]\npath = "archive/2024"\ntake = 3\n'))
    assert c.place("xrays").path == str(tmp_path / "archive" / "2024")
    assert len(loaders.load(c, "xrays", None)) == 3


def test_a_card_may_use_data_that_tlbench_knows(write: Write) -> None:
    text = 'sources = ["fonts"]\ntarget = "photos"\nloader = "embedded"\nbackbone = "convnet"\ntrainable = true\n'
    c = read(write(text))
    assert (c.loader, c.sources, c.at) == ("embedded", ("fonts",), {})


@pytest.mark.parametrize(
    ("shape", "dtype", "backbone"),
    [
        ((6, 16, 16), np.uint8, "convnet"), ((6, 3, 16, 16), np.uint8, "convnet"),
        ((6, 16, 24, 3), np.uint8, "fieldnet"), ((6, 50), np.uint8, "none"), ((6, 3, 16, 16), np.float32, "none"),
        ((6, 5), float, "none"),
    ],
)  # fmt: skip
def test_arrays_get_the_network_that_suits_their_shape(
    write: Write, tmp_path: Path, shape: tuple[int, ...], dtype: type, backbone: str
) -> None:
    for name in "ab":
        np.savez(tmp_path / f"{name}.npz", x=np.ones(shape, dtype), y=[0, 1] * 3)
    c = read(write('source = "a.npz"\ntarget = "b.npz"\n'))
    assert (c.backbone, c.trainable) == (backbone, backbone != "none")


def test_texts_are_counted_words(write: Write, tmp_path: Path) -> None:
    for name in ("films", "books"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "good.txt").write_text("a joy\nwell made\n")
        (tmp_path / name / "bad.txt").write_text("a bore\nbadly made\n")
    c = read(write('source = "films"\ntarget = "books"\n'))
    assert (c.loader, c.backbone, c.scale) == ("texts", "hashed", "rows")
    assert loaders.load(c, "books", None).classes == ("bad", "good")


def test_matlab_svmlight_and_json_lines_are_read(write: Write, tmp_path: Path) -> None:
    for name in "ab":
        savemat(tmp_path / f"{name}.mat", {"fts": np.arange(12.5, 24.5).reshape(4, 3), "labels": [[1], [2], [1], [2]]})
        (tmp_path / f"{name}.svmlight").write_text("1 0:2 1:1\n0 1:1\n")
        (tmp_path / f"{name}.jsonl").write_text('{"text": "a joy", "label": 1}\n{"text": "a bore", "label": 0}\n')
    for suffix, network in {"mat": "none", "svmlight": "none", "jsonl": "hashed"}.items():
        registry.read.cache_clear()
        (task,) = registry.find(str(write(f'source = "a.{suffix}"\ntarget = "b.{suffix}"\n')))
        loaders.check(task, None)
        assert task.card.backbone == network


# what the cards that ship may not do


@pytest.mark.parametrize("name", sorted(card_files()))
def test_a_card_that_ships_says_everything_itself(name: str) -> None:
    said = tomllib.loads(card_files()[name].read_text(encoding="utf-8"))
    assert {key for key, field in Card.model_fields.items() if field.is_required()} <= said.keys()
    assert registry.ships(card_files()[name])


def test_a_card_may_not_take_the_name_of_one_that_ships(write: Write, tmp_path: Path) -> None:
    trees(tmp_path, "photos", "xrays")
    said = "a task that ships is called 'digits'; write another name = \"…\""
    assert complaint(write(TWO + 'name = "digits"\n')) == f"my.toml:3: {said}"
    (tmp_path / "digits.toml").write_text(TWO)
    assert complaint(tmp_path / "digits.toml") == f"digits.toml: {said}"


# what is wrong with a card


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            '\nsource = "photo/"\ntarget = "xrays/"',
            "my.toml:2: source 'photo/': there is no photo; did you mean 'photos'?",
        ),
        ('sorce = "photos/"\ntarget = "xrays/"', "my.toml:1: unknown key 'sorce'; did you mean 'source'?"),
        ('source = "photos/"', "my.toml:1: 'source' and 'target' go together; say target = \"…\" too"),
        (
            'source = ["photos/"]\ntarget = "xrays/"',
            "my.toml:1: 'source' is one path; write sources = [...] for several",
        ),
        ('source = 5\ntarget = "xrays/"', "my.toml:1: 'source' is 5; a path in quotes is needed"),
        ('sources = ["photos", 5]', "my.toml:1: 'sources' is ['photos', 5]; a list of paths in quotes is needed"),
        (TWO + 'sources = ["photos"]', "my.toml:1: 'source' and 'sources' say the same; keep one of them"),
        ('pairs = [["photos"]]', "my.toml:1: 'pairs' is [['photos']]; write it as [[\"source\", \"target\"], …]"),
        ('summary = "nothing"', 'my.toml: names no data; say source = "…" and target = "…"'),
        (
            'source = "xrays"\ntarget = "./xrays/"',
            "my.toml:2: it is a source too; transfer needs two different domains",
        ),
        (
            'source = "photos/"\ntarget = "empty/"',
            "my.toml:2: target 'empty/': empty holds no folder of images a class",
        ),
        (
            'source = "photos/"\ntarget = "photos/cat/"',
            "my.toml:2: target 'photos/cat/': photos/cat holds images but no ",
        ),
        ('source = "photos/"\ntarget = "a.xlsx"', "my.toml:2: target 'a.xlsx': a.xlsx is no kind of file that is read"),
        ('source = "photos/"\ntarget = "half/"', "my.toml:2: target 'half/': half holds x.npy alone; x.npy and y.npy"),
        (
            'source = "photos/"\ntarget = "t.csv"',
            "my.toml:2: 't' holds numbers, 'photos' holds images; all must be of one",
        ),
        (TWO + "[at.xray]\ntake = 3", "my.toml:3: [at.xray] is no domain of this card; did you mean 'xrays'?"),
        (TWO + "\n[at.xrays]\ntaek = 3", "my.toml:5: unknown key 'taek'; did you mean 'take'?"),
        (
            TWO + '\n[at.xrays]\npath = "x_rays"',
            "my.toml:5: target 'xrays/': there is no x_rays; did you mean 'xrays'?",
        ),
        (TWO + 'test_path = "xrays/"', "my.toml:3: 'test_path' is not read for 'images'; put all samples under 'path'"),
        (TWO + "steps = 0.5", "my.toml:3: 'steps' is 0.5: Input should be a valid integer"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_file_and_line(write: Write, tmp_path: Path, text: str, said: str) -> None:
    trees(tmp_path, "photos", "xrays")
    (tmp_path / "empty").mkdir()
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "x.npy").touch()
    (tmp_path / "a.xlsx").touch()
    (tmp_path / "t.csv").write_text("a,label\n1,x\n2,y\n")
    found = complaint(write(text))
    assert found.startswith(said), found


def test_a_file_whose_name_makes_no_name_must_say_one(tmp_path: Path) -> None:
    trees(tmp_path, "photos", "xrays")
    file = tmp_path / "日本.toml"
    file.write_text(TWO)
    assert complaint(file).startswith("日本.toml: a name cannot be made of '日本'")


# trees of images


def test_odd_names_of_files_are_read(write: Write, tmp_path: Path) -> None:
    trees(tmp_path, "photos", "xrays")
    for name in ("two words.PNG", "Größe, 100 %.JPeG", "猫.png"):
        Image.new("RGB", (9, 9)).save(tmp_path / "photos" / "cat" / name)
    (tmp_path / "photos" / ".DS_Store").touch()
    (tmp_path / "photos" / ".thumbnails").mkdir()
    (tmp_path / "photos" / "cat" / "._1.png").write_text("no image")
    domain = loaders.load(read(write(TWO)), "photos", None)
    assert (len(domain), domain.classes) == (7, ("cat", "dog"))


def test_a_name_that_no_list_can_hold_is_named(write: Write, tmp_path: Path) -> None:
    trees(tmp_path, "photos", "xrays")
    (tmp_path / "photos" / "cat" / "1.png").rename(tmp_path / "photos" / "cat" / "1\n.png")
    assert "photos/cat/1\\n.png': a name with a line break, or that is no UTF-8; rename it" in complaint(write(TWO))


def test_folders_in_folders_an_empty_class_and_a_single_class_are_named(write: Write, tmp_path: Path) -> None:
    trees(tmp_path, "photos", "xrays")
    trees(tmp_path, "deep/old", classes=("cat",))
    trees(tmp_path, "single", classes=("cat",))
    trees(tmp_path, "hollow")
    (tmp_path / "hollow" / "eel").mkdir()
    file = tmp_path / "my.toml"
    for target, said in {
        "deep": "deep/old/cat: a folder inside class 'old'; the images of a class lie in one folder",
        "single": "my.toml:2: 'single' holds one class, 'cat'; two or more are needed to tell apart",
        "hollow": "hollow/eel: class 'eel' of domain 'hollow' holds no image",
    }.items():
        registry.read.cache_clear()
        file.write_text(f'source = "photos"\ntarget = "{target}"\n')
        assert complaint(file) == said


def test_other_classes_in_the_source_are_named_with_what_to_say(write: Write, tmp_path: Path) -> None:
    trees(tmp_path, "photos", classes=("bird", "cat", "dog"))
    trees(tmp_path, "xrays")
    remedy = "give both the same classes, or say paradigm = 'different-domain-different-task'"
    file = write(TWO)
    assert complaint(file) == f"my.toml:1: source 'photos' has class 'bird', which target 'xrays' lacks; {remedy}"
    registry.read.cache_clear()
    file = write('source = "xrays/"\ntarget = "photos/"\n')
    assert complaint(file) == f"my.toml:1: source 'xrays' lacks class 'bird' of target 'photos'; {remedy}"
    for more in ("paradigm = 'different-domain-different-task'\n", '[at.photos.view]\nkeep = ["cat", "dog"]\n'):
        registry.read.cache_clear()
        (task,) = registry.find(str(write(TWO + more)))
        loaders.check(task, None)


def test_thousands_of_images_are_read(write: Write, tmp_path: Path) -> None:
    held = io.BytesIO()
    Image.new("L", (4, 4)).save(held, "PNG")
    for i in range(4000):
        place = tmp_path / ("photos" if i % 2 else "xrays") / f"class {i % 8 // 2}"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{i}.png").write_bytes(held.getvalue())
    (task,) = registry.find(str(write(TWO)))
    loaders.check(task, None)
    assert len(loaders.load(task.card, "photos", None)) == 2000


# a card to start from


def test_a_new_card_is_whole_when_its_folders_are_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    trees(tmp_path, "photos", "xrays")
    file = templates.write_card("From Photos")
    assert str(file) == "From Photos.toml"
    (task,) = registry.find(str(file))
    assert task.name == "from_photos/photos-xrays"
    with pytest.raises(UsageError, match=r"From Photos\.toml: is there already and stays as it is"):
        templates.write_card("From Photos.toml")


def test_every_key_behind_a_hash_of_a_new_card_is_one_and_says_its_default(tmp_path: Path) -> None:
    file = templates.write_card(str(tmp_path / "new.toml"))
    lines = [line.removeprefix("# ") for line in file.read_text().splitlines() if " = " in line or "[at" in line]
    chosen = tomllib.loads("\n".join(lines[next(i for i, s in enumerate(lines) if s.startswith("name =")) :]))
    keys = {next(iter(tomllib.loads(line))) for line in lines}
    assert keys - {"source", "path", "take", "view", "at"} <= Card.model_fields.keys()
    for key in ("version", "budgets", "seeds", "steps", "lr"):
        default = Card.model_fields[key].default
        assert chosen[key] == (1 if key == "version" else list(default) if isinstance(default, tuple) else default)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("digits", "a task that ships is called 'digits'"), ("nowhere/new.toml", "there is no folder"),
        ("日本", "no name can be made"),
    ],
)  # fmt: skip
def test_a_new_card_is_refused_where_it_could_not_be_used(
    name: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=said):
        templates.write_card(name)
    assert not list(tmp_path.iterdir())
