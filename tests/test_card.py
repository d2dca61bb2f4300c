"""Task cards: those that ship are sound, and what is wrong with another is said in one line that says where."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tlbench.errors import UsageError
from tlbench.tasks.card import CORE_BUDGETS, PARADIGMS, Card, Quick, tasks_of
from tlbench.tasks.datasets import fetch, pretrained
from tlbench.tasks.registry import card_files, find, named, read

TASKS = {
    "amazon_reviews": 12, "digits": 6, "office31": 6, "office_caltech10": 12, "office_caltech10_decaf": 12,
    "office_caltech10_surf": 12,
}  # fmt: skip
PLAIN = """\
name = "toy"
version = 1
paradigm = "different-domain-same-task"
summary = "A toy"
loader = "embedded"
domains = ["a", "b", "c"]
backbone = "convnet"
license = "CC0"
cite = "nobody"
"""
shipped = pytest.mark.parametrize("name", sorted(card_files()))
Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def writing(text: str) -> Path:
        file = tmp_path / "toy.toml"
        file.write_text(text, encoding="utf-8")
        return file

    return writing


def complaint(file: Path) -> str:
    """What `read` says of a wrong card, without the folder; always one line."""
    with pytest.raises(UsageError) as raised:
        read(file)
    said = str(raised.value)
    assert "\n" not in said
    return said.removeprefix(f"{file.parent}/")


# the cards that ship


@shipped
def test_every_shipped_card_reads_and_is_called_as_its_file_is(name: str) -> None:
    card = read(card_files()[name])
    assert card.name == name
    assert card.summary
    assert card.license
    assert card.cite
    assert card.paradigm in PARADIGMS


@shipped
def test_every_shipped_card_names_data_and_backbones_that_there_are(name: str) -> None:
    card = read(card_files()[name])
    places = [card.place(d) for d in card.all_domains]
    assert {p.data for p in places if p.data} <= set(fetch.datasets())
    if "{domain}" in card.path and card.data and not card.at:
        assert set(card.domains) <= set(fetch.dataset(card.data).counts)
    backbones = (card.backbone,) if isinstance(card.backbone, str) else card.backbone
    assert backbones
    assert set(backbones) <= {*pretrained.BUILT_IN, *pretrained.backbone_files()}
    random = {"convnet", "fieldnet"}  # frozen, they would be no features
    assert card.trainable or not random & set(backbones)


@shipped
def test_every_shipped_suite_has_all_tasks_of_its_kind_and_each_is_found(name: str) -> None:
    card, tasks = read(card_files()[name]), find(name)
    if card.pairs or card.sources:
        pairs = {(tuple(s.split("+")), t) for s, t in card.pairs} or {(card.sources, card.target)}
    elif card.paradigm == "multi-source":
        pairs = {(tuple(d for d in card.domains if d != t), t) for t in card.domains}
    elif card.paradigm == "same-domain-different-task":
        pairs = {((f"{d}_source",), d) for d in card.domains}
    else:
        pairs = {((s,), t) for s in card.domains for t in card.domains if s != t}
    assert {(t.sources, t.target) for t in tasks} == pairs
    assert len(tasks) == len({t.name for t in tasks}) == len(pairs)
    assert all(find(t.name) == [t] for t in tasks)


@pytest.mark.parametrize(("name", "number"), TASKS.items())
def test_the_suites_of_the_field_have_their_known_number_of_tasks(name: str, number: int) -> None:
    assert len(find(name)) == number


# what a card may leave out


def test_what_a_card_leaves_out_is_the_protocols(write: Write) -> None:
    card = read(write(PLAIN))
    assert (card.budgets, card.seeds, card.draw, card.metric) == (CORE_BUDGETS, 10, "balanced", "accuracy")
    assert card.quick == Quick(budgets=(0, 5), seeds=3)
    assert (card.recipe.steps, card.recipe.batch, card.recipe.lr) == (card.steps, card.batch, card.lr)


def test_the_recipe_is_the_cards(write: Write) -> None:
    text = PLAIN + "steps = 7\nbatch = 3\nlr = 0.5\nweight_decay = 0.25\nbody_lr = 0.125\n"
    recipe = read(write(text)).recipe
    assert (recipe.steps, recipe.batch, recipe.lr, recipe.weight_decay, recipe.body_lr) == (7, 3, 0.5, 0.25, 0.125)


def test_a_card_of_several_sources_is_one_task(write: Write) -> None:
    text = PLAIN.replace('domains = ["a", "b", "c"]', 'sources = ["a", "b"]\ntarget = "c"')
    (task,) = tasks_of(read(write(text)))
    assert (task.sources, task.target, task.name) == (("a", "b"), "c", "toy/a+b-c")
    assert task.without_sources().name == "toy/c"


# what is wrong with a card


@pytest.mark.parametrize(
    ("wrong", "line", "said"),
    [
        ("shots = 5", 10, r"unknown key 'shots'; did you mean 'steps'\?"),
        ("step = 5", 10, r"unknown key 'step'; did you mean 'steps'\?"),
        ("weightdecay = 0.1", 10, r"unknown key 'weightdecay'; did you mean 'weight_decay'\?"),
        ("zzz = 1", 10, r"unknown key 'zzz'; there are: .*"),
        ('steps = "5"', 10, r"'steps' is '5': Input should be a valid integer"),
        ("steps = 5.0", 10, r"'steps' is 5\.0: Input should be a valid integer"),
        ("steps = true", 10, r"'steps' is True: Input should be a valid integer"),
        ("steps = 0", 10, r"'steps' is 0: Input should be greater than 0"),
        ("\nlr = nan", 11, r"'lr' is nan: Input should be greater than 0"),
        ('trainable = "yes"', 10, r"'trainable' is 'yes': Input should be a valid boolean"),
        ("budgets = [0, -1]", 10, r"'budgets' is -1: Input should be greater than or equal to 0"),
        ('budgets = ["5"]', 10, r"'budgets' is '5': Input should be a valid integer"),
        ('augment = ["shift", "spin"]', 10, r"'augment' is 'spin': Input should be 'shift', 'flip' or 'crop'"),
        ('draw = "random"', 10, r"'draw' is 'random': Input should be 'balanced' or 'proportional'"),
        ('quick = { seeds = "3" }', 10, r"'quick' is '3': Input should be a valid integer"),
        ("quick = { budgets = [-5] }", 10, r"'quick' is -5: Input should be greater than or equal to 0"),
        ("quick = { seed = 3 }", 10, r"unknown key 'seed'.*"),
    ],
)  # fmt: skip
def test_a_wrong_key_or_value_is_named_with_file_and_line(write: Write, wrong: str, line: int, said: str) -> None:
    found = complaint(write(PLAIN + wrong + "\n"))
    assert re.fullmatch(rf"toy\.toml:{line}: {said}", found), found


@pytest.mark.parametrize("key", ["name", "version", "paradigm", "summary", "loader", "backbone", "license", "cite"])
def test_a_card_that_ships_must_say_every_key(key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = re.sub(rf"^{key} = .*\n", "", PLAIN, flags=re.MULTILINE)
    monkeypatch.setattr("tlbench.tasks.registry.ships", lambda file: file.parent == tmp_path)
    (tmp_path / "toy.toml").write_text(text)
    assert complaint(tmp_path / "toy.toml") == f"toy.toml: key '{key}' is missing; every card needs it"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('["a", "b", "c"]', '["a", "b-c"]', "toy.toml: domain 'b-c': letters, digits and '_' make a domain's name"),
        ('["a", "b", "c"]', '["a", "b/c"]', "toy.toml: domain 'b/c': letters, digits and '_' make a domain's name"),
        ('["a", "b", "c"]', '["a", "b+c"]', "toy.toml: domain 'b+c': letters, digits and '_' make a domain's name"),
        ('["a", "b", "c"]', '["a"]', "toy.toml: 'domains' needs at least 2 different names"),
        ('["a", "b", "c"]', '["a", "b", "a"]', "toy.toml: 'domains' needs at least 2 different names"),
        ('domains = ["a", "b", "c"]', "", "toy.toml: name either 'domains', or 'pairs', or both 'sources' and"),
        ('"c"]', '"c"]\ntarget = "a"', "toy.toml: name either 'domains', or 'pairs', or both 'sources' and 'target'"),
        ('domains = ["a", "b", "c"]', 'sources = ["a"]', "toy.toml: 'sources' and 'target' go together"),
        (
            'domains = ["a", "b", "c"]', 'sources = ["b", "a"]\ntarget = "a"',
            "toy.toml: source 'a' is also its target; transfer needs two different domains",
        ),
        ('"embedded"', '"lists"', "toy.toml: 'data' must name a dataset card"),
        ('"convnet"', '"convnet"\nneck = 64', "toy.toml: 'neck' is a layer over a pretrained backbone that is trained"),
        ('"convnet"', "[]", "toy.toml: 'backbone' names nothing"),
        ('"toy"', '"Toy 1"', "toy.toml:1: 'name' is 'Toy 1': String should match pattern"),
        ('"different-', '"differing-', "toy.toml:3: 'paradigm' is 'differing-domain-same-task': Input should be "),
        ("version = 1", "version = = 1", "toy.toml: not valid TOML: Invalid value (at line 2, column 11)"),
        ("version = 1", "version = 1\nversion = 2", "toy.toml: not valid TOML: "),
    ],
)  # fmt: skip
def test_a_contradiction_is_said_with_the_file(write: Write, old: str, new: str, said: str) -> None:
    text = PLAIN.replace(old, new)
    assert text != PLAIN
    assert complaint(write(text)).startswith(said)


def test_a_key_of_odd_letters_is_only_unknown(write: Write) -> None:
    assert complaint(write(PLAIN + '"sho(t" = 1\n')).startswith("toy.toml: unknown key 'sho(t'")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    assert complaint(tmp_path / "nowhere.toml").startswith("nowhere.toml: cannot be read (")
    (tmp_path / "folder.toml").mkdir()
    assert complaint(tmp_path / "folder.toml").startswith("folder.toml: cannot be read (")
    (tmp_path / "latin.toml").write_bytes('name = "é"'.encode("latin-1"))
    assert complaint(tmp_path / "latin.toml").startswith("latin.toml: cannot be read (")


# names of tasks


def test_a_suite_a_pair_and_a_file_are_found(write: Write) -> None:
    assert [t.name for t in find("digits")][:2] == ["digits/handwritten-fonts", "digits/handwritten-photos"]
    (pair,) = find("office31/dslr-webcam")
    assert (pair.sources, pair.target) == (("dslr",), "webcam")
    own = find(str(write(PLAIN)))
    assert [t.name for t in own] == ["toy/a-b", "toy/a-c", "toy/b-a", "toy/b-c", "toy/c-a", "toy/c-b"]
    assert {t.file for t in own} == {str(write(PLAIN))}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("digit", "unknown task 'digit'; did you mean 'digits'?"),
        ("office_caltech/dslr-webcam", "unknown task 'office_caltech/dslr-webcam'; did you mean 'office_caltech10'?"),
        (
            "digits/fonts-photo",
            "unknown pair 'fonts-photo' of task 'digits'; did you mean 'digits/fonts-photos'?",
        ),
    ],
)
def test_an_unknown_task_is_refused_with_what_is_close(name: str, said: str) -> None:
    with pytest.raises(UsageError) as raised:
        find(name)
    assert str(raised.value) == said


def test_a_name_that_is_close_to_none_gets_a_list_of_what_there_is() -> None:
    listed = ", ".join(sorted(card_files())[:8])
    with pytest.raises(UsageError, match=re.escape(f"unknown task 'zzz'; there are: {listed}")):
        find("zzz")


def test_a_plans_task_is_found_again_without_its_sources_too(write: Write) -> None:
    file = str(write(PLAIN))
    for task in [*find("digits"), *find(file)]:
        assert named(task.name, task.file) == task
        assert named(task.without_sources().name, task.file) == task.without_sources()
    with pytest.raises(UsageError, match=r"unknown task 'toy/a-d'; did you mean 'toy/"):
        named("toy/a-d", file)


def test_cards_cannot_be_changed(write: Write) -> None:
    card: Card = read(write(PLAIN))
    with pytest.raises(ValueError, match="frozen"):
        card.steps = 1  # type: ignore[misc]
    with pytest.raises(ValueError, match="frozen"):
        card.quick.seeds = 1  # type: ignore[misc]
