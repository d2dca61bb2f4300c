"""`tlbench data audit`, `tlbench show` and the table of tasks: what is known of the data, told."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import numpy as np
import pytest
from test_cli import tlbench

from tlbench.tasks import registry, split_digests
from tlbench.tasks.datasets import fetch
from tlbench.tasks.loaders import texts
from tlbench.tasks.split import partition, source_rows

ROOT = Path(__file__).parent.parent
CARD = """
name = "mine"
version = 1
paradigm = "different-domain-same-task"
summary = "two domains with copies"
loader = "texts"
domains = ["a", "b"]
path = "{place}/{{domain}}"
backbone = "hashed"
license = "mine"
cite = "mine"
"""


def words(name: str, n: int) -> list[str]:
    return [f"{name} sentence number {i}" for i in range(n)]


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A card of one's own: domain b has twenty texts a class, domain a a copy and a respelt copy of every one."""
    for domain in ("a", "b"):
        (tmp_path / domain).mkdir()
    good, bad = words("good", 20), words("bad", 20)
    (tmp_path / "b" / "good.txt").write_text("\n".join(good) + "\n")
    (tmp_path / "b" / "bad.txt").write_text("\n".join([*bad, good[0]]) + "\n")  # the last one has two labels
    (tmp_path / "a" / "good.txt").write_text("\n".join([*good, *words("other", 20)]) + "\n")
    (tmp_path / "a" / "bad.txt").write_text("\n".join([*(t.upper() for t in bad), *words("more", 20)]) + "\n")
    file = tmp_path / "mine.toml"
    file.write_text(CARD.format(place=tmp_path))
    return file


def test_an_audit_counts_copies_respelt_copies_and_conflicts_and_says_what_is_removed(mine: Path) -> None:
    said = json.loads(tlbench("data", "audit", str(mine), "--json").stdout)
    found = {f["task"]: f for f in said["findings"]}["mine/a-b"]
    card = registry.read(mine)
    domain = texts.folder(mine.parent / "b", "b")
    cut = partition(domain, "mine/b", card.test_most)
    source = texts.folder(mine.parent / "a", "a")
    train = {source.texts[i] for i in source_rows(source, "mine/a")[0]}
    tested = [domain.texts[i] for i in cut.test]
    assert len(found["source_test"]["same"]) == len({t for t in tested if t.startswith("good")} & train)
    assert len(found["source_test"]["alike"]) == len({t.upper() for t in tested if t.startswith("bad")} & train)
    assert {"b/good/00000", "b/bad/00020"} in [set(pair) for pair in found["conflicts"]]
    kinds = (found["source_test"], found["pool_test"])
    assert found["removed"] == sum(len(k["same"]) + len(k["alike"]) for k in kinds) > 0
    assert len(cut.same) == len(found["pool_test"]["same"])


def test_an_audit_prints_a_line_a_task_and_names_examples(mine: Path) -> None:
    done = tlbench("data", "audit", str(mine))
    assert done.returncode == 0, done.stderr
    assert "mine/a-b" in done.stdout
    assert "removed, its bytes are tested: a/good/" in done.stdout
    assert "labels differ: " in done.stdout


@pytest.mark.slow
def test_an_audit_of_missing_data_is_a_mistake_and_of_everything_passes_it_over(tmp_path: Path) -> None:
    nothing = {"TLBENCH_DATA": "", "XDG_DATA_HOME": str(tmp_path)}
    done = tlbench("data", "audit", "office31", **nothing)
    assert done.returncode == 2
    assert "tlbench data pull office31" in done.stderr
    said = json.loads(tlbench("data", "audit", "--json", **nothing).stdout)
    assert said["passed_over"]["office31/amazon-dslr"] == "no data here of amazon, dslr"
    assert "digits/handwritten-fonts" in {f["task"] for f in said["findings"]}


@pytest.mark.slow
def test_the_audit_finds_what_is_known_of_the_real_data(real_data: Path) -> None:
    tasks = ("bccd_detection", "breast", "pneumonia", "office_caltech10/dslr-amazon")
    said = json.loads(tlbench("data", "audit", *tasks, "--json").stdout)
    bccd, breast, pneumonia, amazon = said["findings"]
    assert [line.split(".xml")[0] for line in bccd["empty_boxes"]] == ["BloodImage_00338", "BloodImage_00343"]
    assert breast["conflicts"] == [["breast/test/00076", "breast/train/00115"]]
    parts = [{a.split("/")[1], b.split("/")[1]} for a, b in pneumonia["in_pool"]["same"]]
    assert 0 < parts.count({"train", "val"}) <= 8  # eight in all, fewer where one of a pair is held out for the oracle
    removed = {a for kind in ("same", "alike") for a, _ in amazon["pool_test"][kind]}
    assert amazon["removed"] == len(removed) > len(amazon["pool_test"]["same"]) > 0


# show


def test_show_tells_terms_origin_size_and_checksum_of_every_dataset_a_task_uses() -> None:
    shown = json.loads(tlbench("show", "text_to_medical", "--json").stdout)["datasets"]
    assert set(shown) == {"sent_conv", "medical_abstracts", "scibert_data"}
    for name, facts in shown.items():
        assert {"license", "terms", "cite", "size", "addresses", "checksum", "counts"} <= set(facts), name
        assert facts["checksum"].startswith("sha256:")
        assert facts["addresses"][0].startswith("https://")
    assert shown["medical_abstracts"]["counts"]["test"] == 2888
    text = tlbench("show", "office31").stdout
    assert "sha1:7aa25a86f3880b6e79283227816f9d4d8506d636" in text
    assert "77.0 MB" in text


def test_show_says_what_needs_no_download() -> None:
    digits = json.loads(tlbench("show", "digits", "--json").stdout)
    assert "datasets" not in digits
    assert "tlbench's dependencies ship" in digits["no download"]["fonts"]
    assert "weights" in json.loads(tlbench("show", "breast", "--json").stdout)["no download"]["cifar10"]


# the table of tasks


def test_the_table_of_tasks_is_what_the_cards_say() -> None:
    page = runpy.run_path(str(ROOT / "docs" / "tasks.py"))["page"]()
    assert (ROOT / "docs" / "tasks.md").read_text(encoding="utf-8") == page, "run: python docs/tasks.py"
    for name in registry.card_files():
        assert f"\n## {name}\n" in page


def test_frozen_sizes_are_those_of_frozen_domains() -> None:
    for name in registry.card_files():
        held = split_digests.digests(name)
        for domain, size in split_digests.sizes(name).items():
            assert split_digests.data_place(domain) in held
            assert 0 < size.get("tested", 1) <= size["samples"]
            assert ("tested" in size) == (split_digests.place(domain, 0) in held)


def test_every_card_that_uses_data_names_a_dataset_with_terms_and_counts() -> None:
    for name, file in registry.card_files().items():
        for dataset in map(fetch.dataset, registry.read(file).datasets):
            assert dataset.license, name
            assert dataset.terms, name
            assert np.all([n > 0 for n in dataset.counts.values()]), name
