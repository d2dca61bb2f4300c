"""The dataset cards that ship: what they promise, their pinned addresses, and the real data at hand."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import re
import struct
import tarfile
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import platformdirs
import pytest
from shelf import Shelf

from tlbench.tasks.datasets import download, fetch
from tlbench.tasks.datasets.dataset import DatasetCard
from tlbench.tasks.datasets.digests import SUMS, digest_of, read_sums

# Publishers that serve no https. DomainNet's bytes have digests; VisDA's images have none.
PLAIN_HTTP = {"domainnet": "http://csr.bu.edu/", "visda2017": "http://csr.bu.edu/"}
# Cards with a part that one address alone is known to serve.
ONE_ADDRESS = {
    "aircraft", "domainnet", "visda2017", "office31_decaf", "office31_surf", "office_home", "office_home_resnet",
    "stanford_cars",
}  # fmt: skip
AT_HAND = (
    *("amazon_reviews", "bccd", "clinc150", "medical_abstracts", "medmnist", "mnist", "office_caltech10"),
    *("omniglot", "pacs", "scibert_data", "sent_conv", "usps"),
)
SUBSETS = {"medical_abstracts": 1, "omniglot": 2, "pacs": 8871}  # files that the tests' data leave out
ON_GITHUB = ("bccd", "clinc150", "medical_abstracts", "omniglot", "pacs", "scibert_data", "sent_conv", "usps")


@pytest.fixture
def real(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder with the real datasets, which the code under test no longer knows of."""
    found = next((Path(p) for p in os.environ.get("TLBENCH_DATA", "").split(os.pathsep) if p), None)
    monkeypatch.delenv("TLBENCH_DATA", raising=False)
    monkeypatch.delenv("TLBENCH_MIRROR", raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(platformdirs, "user_data_path", lambda *_: tmp_path / "user")
    monkeypatch.setattr(download, "BACKOFF", 0.01)
    if found is None or not (found / "omniglot").is_dir():
        pytest.skip("TLBENCH_DATA names no folder with the real datasets")
    return found


def at_hand(name: str, real: Path) -> tuple[DatasetCard, Path]:
    """A card and its folder, with no folder but `real` to look in."""
    card = fetch.dataset(name)
    folder = fetch.where(card, real)
    assert folder is not None
    return card, folder


@pytest.mark.parametrize("name", fetch.datasets())
def test_a_card_says_what_may_be_done_with_the_data(name: str) -> None:
    card = fetch.dataset(name)
    for text in (card.title, card.license, card.terms, card.cite, card.homepage):
        assert text == text.strip() != ""
    assert re.search(r"\b(19|20)\d\d\b", card.cite)
    assert card.homepage.startswith("https://")
    assert card.counts
    assert min(card.counts.values()) > 0


@pytest.mark.parametrize("name", fetch.datasets())
def test_a_cards_parts_cover_its_manifest_once_and_have_a_second_address(name: str) -> None:
    card = fetch.dataset(name)
    for path in card.digests:
        assert sum(path.startswith(part.select) for part in card.parts) == 1
    assert any(len(part.mirrors) == 1 for part in card.parts) == (name in ONE_ADDRESS)
    for mark in card.marks:
        if len(card.parts) == 1 and card.digests:
            assert any(path.startswith(mark) for path in card.digests)


@pytest.mark.parametrize("name", fetch.datasets())
def test_an_address_is_encrypted_or_a_named_exception_and_is_pinned(name: str) -> None:
    for part in fetch.dataset(name).parts:
        for mirror in part.mirrors:
            assert mirror.url.startswith(("https://", PLAIN_HTTP.get(name, "https://")))
            if "github" in mirror.url:
                assert re.search(r"/[0-9a-f]{40}(/|$)", mirror.url)
                assert mirror.kind == "files" or re.search(r"-[0-9a-f]{40}/", mirror.inside)
            if mirror.kind == "hub":
                assert re.fullmatch(r"[0-9a-f]{40}", mirror.revision or "")


def test_all_bytes_are_known_but_those_that_nobody_publishes() -> None:
    """Every archive or hub that no manifest covers has a digest, with these exceptions."""
    loose = set()
    for card in map(fetch.dataset, fetch.datasets()):
        for part in card.parts:
            known = any(path.startswith(part.select) for path in card.digests)
            if not known and not all(mirror.digest for mirror in part.mirrors):
                loose.add(card.name)
    hubs = {"office_home", "stanford_cars"}  # which publish their own
    assert loose == {*hubs, "office_home_images", "visda2017"}


@pytest.mark.parametrize("name", AT_HAND)
def test_the_real_data_are_as_published_and_what_is_left_out_is_told(name: str, real: Path) -> None:
    card, folder = at_hand(name, real)
    assert fetch.verify(card, folder) == []
    notes = fetch.lacking(card, folder)
    if name in SUBSETS:
        assert notes[0].startswith(f"{SUBSETS[name]:,} of {len(card.digests):,} files are not here")
    else:
        assert not any("not here" in note for note in notes)


def test_a_wrong_byte_among_real_data_is_named(real: Path, tmp_path: Path) -> None:
    card, folder = at_hand("sent_conv", real)
    copy = tmp_path / "copy"
    for path in card.digests:
        (copy / path).parent.mkdir(parents=True, exist_ok=True)
        (copy / path).write_bytes((folder / path).read_bytes())
    assert fetch.verify(card, copy) == []
    (copy / "data/mpqa.all").write_bytes((copy / "data/mpqa.all").read_bytes()[:-1])
    (said,) = fetch.verify(card, copy)
    assert said.startswith("data/mpqa.all: wrong bytes")


def test_a_sum_of_ones_own_does_not_outrank_the_publishers(real: Path, tmp_path: Path) -> None:
    card, _ = at_hand("clinc150", real)
    (tmp_path / "data").mkdir()
    (tmp_path / "data/data_full.json").write_text("{}")
    (tmp_path / SUMS).write_text(f"{digest_of(tmp_path / 'data/data_full.json')[7:]}  data/data_full.json\n")
    assert len(fetch.verify(card, tmp_path)) == 1


def lines(*files: Path) -> int:
    return sum(len(file.read_bytes().splitlines()) for file in files)


def drawings(archive: Path) -> int:
    with zipfile.ZipFile(archive) as box:
        return sum(name.endswith(".png") and "__MACOSX" not in name for name in box.namelist())


def sents(folder: Path, *names: str) -> int:
    return sum((folder / "data" / name).read_bytes().count(b"\n") for name in names)


COUNTED: dict[str, Callable[[DatasetCard, Path], dict[str, int]]] = {
    "bccd": lambda c, f: {d: lines(f / f"BCCD/ImageSets/Main/{d}.txt") for d in c.counts},
    "clinc150": lambda c, f: {
        d: len(rows) for d, rows in json.loads((f / "data/data_full.json").read_bytes()).items() if d in c.counts
    },
    "medical_abstracts": lambda _, f: {
        "test": len([*csv.reader((f / "medical_tc_test.csv").read_text(encoding="utf-8").splitlines())]) - 1
    },
    "medmnist": lambda c, f: {
        d: sum(len(np.load(fetch.file_in(c, f, f"{d}mnist.npz"))[f"{s}_labels"]) for s in ("train", "val", "test"))
        for d in c.counts
    },
    "mnist": lambda _, f: {
        d: struct.unpack(">I", gzip.decompress((f / f"idx/{n}-images-idx3-ubyte.gz").read_bytes())[4:8])[0]
        for d, n in (("train", "train"), ("test", "t10k"))
    },
    "usps": lambda c, f: {d: gzip.decompress((f / f"zip.{d}.gz").read_bytes()).count(b"\n") for d in c.counts},
    "omniglot": lambda _, f: {
        "images_background_small1": drawings(f / "python/images_background_small1.zip"),
        "images_background_small2": drawings(f / "python/images_background_small2.zip"),
        "one-shot-classification": drawings(f / "python/one-shot-classification/all_runs.zip"),
    },
    "pacs": lambda c, _: {d: sum(path.startswith(f"PACS/{d}/") for path in c.digests) for d in c.counts},
    "scibert_data": lambda c, f: {
        d: lines(*(f / f"data/text_classification/{d}").glob("*.txt")) for d in c.counts
    },
    "sent_conv": lambda _, f: {
        "mr": sents(f, "rt-polarity.all"), "subj": sents(f, "subj.all"), "cr": sents(f, "custrev.all"),
        "mpqa": sents(f, "mpqa.all"), "trec": sents(f, "TREC.train.all", "TREC.test.all"),
        "sst2": sents(f, *(f"stsa.binary.{s}" for s in ("train", "dev", "test"))),
        "sst5": sents(f, *(f"stsa.fine.{s}" for s in ("train", "dev", "test"))),
    },
}  # fmt: skip


@pytest.mark.parametrize("name", COUNTED)
def test_the_counts_are_those_of_the_real_data(name: str, real: Path) -> None:
    card, folder = at_hand(name, real)
    found = COUNTED[name](card, folder)
    assert found
    assert found == {domain: card.counts[domain] for domain in found}


def copied(card: DatasetCard, folder: Path, shelf: Shelf, kind: str, to: Path, limit: int = 60) -> DatasetCard:
    """The card with its mirrors of one kind moved to `shelf`, which serves the real files at those addresses.

    The manifest is cut to files at hand, and to `limit` of them. `https://host/path` becomes `<shelf>/host/path`.
    """
    here = [path for path in sorted(card.digests) if (folder / path).is_file()]
    kept = here[:: max(1, -(-len(here) // limit))]
    text = (card._home / f"{card.name}.toml").read_text(encoding="utf-8")
    (to / f"{card.name}.toml").write_text(text.replace('url = "https:/', f'url = "{shelf.url}'), encoding="utf-8")
    sums = {path: digest.rpartition(":")[2] for path, digest in card.digests.items()}
    (to / card.manifest).write_text("".join(f"{sums[path]}  {path}\n" for path in kept))  # type: ignore[operator]
    for part in card.parts:
        for mirror in (m for m in part.mirrors if m.kind == kind):
            at = mirror.url.partition("://")[2]
            names = {mirror.inside + path.removeprefix(part.select): folder / path for path in kept}
            if kind == "files":
                shelf.files |= {f"{at.rstrip('/')}/{name}": file.read_bytes() for name, file in names.items()}
            else:
                shelf.files[at] = packed(names.items())
    return fetch.dataset(str(to / f"{card.name}.toml"))


def packed(names: Iterable[tuple[str, Path]]) -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w:gz", compresslevel=1) as box:
        for name, file in names:
            box.add(file, name)
    return sink.getvalue()


@pytest.mark.parametrize("name", [*ON_GITHUB, "mnist"])
def test_the_pinned_addresses_of_single_files_deliver_the_real_data(
    name: str, real: Path, serve: Callable[..., Shelf], tmp_path: Path
) -> None:
    card, source = at_hand(name, real)
    shelf = serve()
    folder = fetch.pull(moved := copied(card, source, shelf, "files", tmp_path))
    assert fetch.verify(moved, folder) == []
    for path in moved.digests:
        assert (folder / path).read_bytes() == (source / path).read_bytes()
    assert (folder / SUMS).is_file() == any(not d.startswith("sha256:") for d in moved.digests.values())


@pytest.mark.parametrize("name", ["bccd", "clinc150", "omniglot", "pacs", "scibert_data", "sent_conv"])
def test_the_pinned_archives_deliver_the_real_data(
    name: str, real: Path, serve: Callable[..., Shelf], tmp_path: Path
) -> None:
    card, source = at_hand(name, real)
    shelf = serve()
    folder = fetch.pull(moved := copied(card, source, shelf, "archive", tmp_path))
    assert fetch.verify(moved, folder) == []
    assert {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()} == set(moved.digests)


def test_the_addresses_are_those_that_the_data_came_from(real: Path) -> None:
    """Each folder's SOURCE.txt names repository and commit; the cards were written apart from it."""
    for name in ON_GITHUB:
        card, folder = at_hand(name, real)
        source = (folder / "SOURCE.txt").read_text()
        (repository,) = re.findall(r"^repo: https://github\.com/(\S+)", source, re.M)
        (commit,) = re.findall(r"^commit: ([0-9a-f]{40})", source, re.M)
        urls = [mirror.url for part in card.parts for mirror in part.mirrors if "github" in mirror.url]
        assert urls
        assert all(repository in url and commit in url for url in urls)


def test_images_packed_another_way_are_as_good(real: Path, tmp_path: Path) -> None:
    card, source = at_hand("mnist", real)
    (tmp_path / "idx").mkdir()
    for path in card.digests:
        content = gzip.decompress((source / path).read_bytes())
        (tmp_path / path).write_bytes(gzip.compress(content, 1, mtime=7))
        assert (tmp_path / path).read_bytes() != (source / path).read_bytes()
    assert fetch.verify(card, tmp_path) == []
    label = tmp_path / "idx/t10k-labels-idx1-ubyte.gz"
    content = bytearray(gzip.decompress(label.read_bytes()))
    content[-1] ^= 1
    label.write_bytes(gzip.compress(bytes(content)))
    images = tmp_path / "idx/t10k-images-idx3-ubyte.gz"
    images.write_bytes(images.read_bytes()[:-100])
    said = {line.partition(": ")[0]: line.partition(": ")[2] for line in fetch.verify(card, tmp_path)}
    assert said["idx/t10k-labels-idx1-ubyte.gz"].startswith("wrong bytes (gunzip-sha256 ")
    assert said["idx/t10k-images-idx3-ubyte.gz"].startswith("not an intact gzip file")
    assert len(said) == 2


def test_an_md5_is_checked_and_the_sha256_left_beside(real: Path, serve: Callable[..., Shelf], tmp_path: Path) -> None:
    card, source = at_hand("medmnist", real)
    moved = copied(card, source, shelf := serve(), "files", tmp_path)
    file = fetch.file_in(card, source, "breastmnist.npz")
    (tmp_path / "medmnist.sha256").write_text(f"{digest_of(file, 'md5')[4:]}  breastmnist.npz\n")
    shelf.files = {
        "zenodo.org/records/10519652/files/breastmnist.npz": b"something else",
        "zenodo.org/records/6496656/files/breastmnist.npz": file.read_bytes(),
    }
    folder = fetch.pull(moved)
    assert len(shelf.asked) == 2  # the first record's bytes were refused
    assert read_sums(folder / SUMS) == {"breastmnist.npz": digest_of(file)}
    assert fetch.verify(moved, folder) == []
    assert fetch.pull(moved) == folder
    assert len(shelf.asked) == 2


def test_git_names_bytes_that_nobody_here_has_had(real: Path) -> None:
    """The manifest has git's digest for the file of more than 4 MB; for its neighbour both kinds are known."""
    card, folder = at_hand("medical_abstracts", real)
    assert card.digests["medical_tc_train.csv"].startswith("git:")
    blob = re.search(r"medical_tc_test\.csv \(blob ([0-9a-f]{40})\)", (folder / "SOURCE.txt").read_text())
    assert blob is not None
    assert digest_of(folder / "medical_tc_test.csv", "git") == f"git:{blob[1]}"


def test_a_stand_in_is_found_until_the_publishers_file_is_there(real: Path, tmp_path: Path) -> None:
    card, folder = at_hand("medmnist", real)
    assert fetch.file_in(card, folder, "breastmnist.npz") == folder / "BreastMNIST.npz"
    assert "BreastMNIST.npz stands in for breastmnist.npz" in fetch.lacking(card, folder)
    assert fetch.where(card, folder) == folder  # its own folder, named as such
    for file in ("BreastMNIST.npz", "breastmnist.npz"):
        assert fetch.file_in(card, tmp_path, "breastmnist.npz") == tmp_path / (
            "BreastMNIST.npz" if file == "breastmnist.npz" else "breastmnist.npz"
        )
        (tmp_path / file).touch()
    assert fetch.file_in(card, tmp_path, "breastmnist.npz") == tmp_path / "breastmnist.npz"


def test_a_size_that_nobody_has_said_is_not_made_up() -> None:
    card = fetch.dataset("office31_decaf")
    assert card.bytes is None
    assert "(unknown size; see https://" in fetch.missing(card)
