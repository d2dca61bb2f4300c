"""Datasets on a Hugging Face hub: the few addresses that huggingface_hub asks, served on this machine."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import platformdirs
import pytest
from shelf import Shelf

from tlbench.errors import UsageError
from tlbench.tasks.datasets import download, fetch
from tlbench.tasks.datasets.dataset import DatasetCard
from tlbench.tasks.datasets.digests import SUMS, digest_of, read_sums

DEAD = "http://127.0.0.1:1"  # nobody listens on port 1
REVISION = "0123456789abcdef" * 2 + "01234567"
REPOSITORY = "field/cats"
# A Parquet file begins and ends with PAR1; what is between them is nobody's business here.
FILES = {
    "data/train-00000-of-00002.parquet": b"PAR1" + bytes(range(256)) * 2000 + b"PAR1",
    "data/train-00001-of-00002.parquet": b"PAR1" + bytes(range(255, -1, -1)) * 1000 + b"PAR1",
    "README.md": b"# Cats\n",
}


@pytest.fixture(autouse=True)
def _a_machine_without_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platformdirs, "user_data_path", lambda *_: tmp_path / "user")
    monkeypatch.setattr(download, "BACKOFF", 0.01)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    for name in ("TLBENCH_DATA", "TLBENCH_MIRROR", "HF_ENDPOINT", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)


def stock(shelf: Shelf, files: dict[str, bytes]) -> Shelf:
    """Let the shelf answer as a hub does: the tree of a revision, and each file with its digest."""
    tree = []
    for path, content in files.items():
        sha, large = hashlib.sha256(content).hexdigest(), path.endswith(".parquet")
        git = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        entry = {"type": "file", "path": path, "size": len(content), "oid": git}
        tree.append(entry | ({"lfs": {"oid": sha, "size": len(content), "pointerSize": 130}} if large else {}))
        at = f"datasets/{REPOSITORY}/resolve/{REVISION}/{path}"
        shelf.files[at] = content
        shelf.headers[at] = {"X-Repo-Commit": REVISION, "ETag": f'"{sha if large else git}"'}
    shelf.files[f"api/datasets/{REPOSITORY}/tree/{REVISION}"] = json.dumps(tree).encode()
    return shelf


def card_of(folder: Path, hub: str, more: str = "", manifest: dict[str, str] | None = None) -> DatasetCard:
    folder.mkdir(exist_ok=True)
    text = "".join(f'{key} = "x"\n' for key in ("title", "license", "terms", "cite", "homepage"))
    if manifest:
        text += 'manifest = "cats.sha256"\n'
        (folder / "cats.sha256").write_text("".join(f"{sha}  {path}\n" for path, sha in manifest.items()))
    text += f"""name = "cats"
counts = {{ all = 3 }}
[[parts]]
select = "data/"
[[parts.mirrors]]
kind = "hub"
url = "{hub}/datasets/{REPOSITORY}"
revision = "{REVISION}"
patterns = ["data/*.parquet"]
inside = "data/"
{more}"""
    (folder / "cats.toml").write_text(text)
    return fetch.dataset(str(folder / "cats.toml"))


def asked(shelf: Shelf, path: str) -> list[str | None]:
    """The ranges in which a file was asked for, None for the whole of it."""
    return [span for at, span in shelf.asked if at.endswith(path)]


PARQUET = {path: content for path, content in FILES.items() if path.endswith(".parquet")}


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_the_files_of_a_revision_come_by_pattern_and_their_digests_are_left(
    serve: Callable[..., Shelf], tmp_path: Path
) -> None:
    shelf = stock(serve(), FILES)
    card = card_of(tmp_path / "cards", shelf.url)
    folder = fetch.pull(card)
    found = contents(folder)
    found.pop(SUMS)
    assert found == PARQUET  # no README, and nothing of huggingface_hub's own
    assert read_sums(folder / SUMS) == {path: digest_of(folder / path) for path in PARQUET}
    assert fetch.verify(card, folder) == []
    before = len(shelf.asked)
    assert fetch.pull(card) == folder
    assert len(shelf.asked) == before


def test_the_hub_of_the_environment_is_asked_instead(
    serve: Callable[..., Shelf], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf = stock(serve(), FILES)
    monkeypatch.setenv("HF_ENDPOINT", shelf.url)
    folder = fetch.pull(card_of(tmp_path / "cards", DEAD))
    assert contents(folder).keys() == {*PARQUET, SUMS}


def test_bytes_other_than_the_hub_publishes_are_refused(serve: Callable[..., Shelf], tmp_path: Path) -> None:
    path = "data/train-00000-of-00002.parquet"
    shelf = stock(serve(), FILES)
    at = f"datasets/{REPOSITORY}/resolve/{REVISION}/{path}"
    shelf.spoilt = {at}
    card = card_of(tmp_path / "cards", shelf.url)
    with pytest.raises(UsageError, match=rf"{path}: wrong bytes \(sha256"):
        fetch.pull(card)
    assert fetch.where(card) is None
    assert not (tmp_path / "user/data/cats" / path).exists()
    shelf.spoilt = set()
    assert contents(fetch.pull(card)).keys() == {*PARQUET, SUMS}


def test_a_manifest_outranks_the_hub(serve: Callable[..., Shelf], tmp_path: Path) -> None:
    """A hub that serves and vouches for other bytes is passed over; single files elsewhere are asked next."""
    sums = {path: hashlib.sha256(content).hexdigest() for path, content in PARQUET.items()}
    first = "data/train-00000-of-00002.parquet"
    other, plain = stock(serve(), FILES | {first: b"PAR1 other cats PAR1"}), serve(files=PARQUET)
    more = f'[[parts.mirrors]]\nkind = "files"\nurl = "{plain.url}"\ninside = "data/"\n'
    folder = fetch.pull(card_of(tmp_path / "cards", other.url, more, sums))
    assert contents(folder) == PARQUET
    assert [path for path, _ in plain.asked] == [first]


def test_a_cut_file_is_resumed(serve: Callable[..., Shelf], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = "data/train-00000-of-00002.parquet"
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 100_000)  # what it keeps of a cut file
    shelf = stock(serve(), FILES)
    shelf.cut = {f"datasets/{REPOSITORY}/resolve/{REVISION}/{path}": 300_000}
    folder = fetch.pull(card_of(tmp_path / "cards", shelf.url))
    assert (folder / path).read_bytes() == FILES[path]
    assert asked(shelf, path) == [None, "bytes=300000-"]


def test_what_an_ended_pull_has_brought_is_not_asked_for_again(serve: Callable[..., Shelf], tmp_path: Path) -> None:
    done, broken = PARQUET
    shelf = stock(serve(), FILES)
    shelf.status = {f"datasets/{REPOSITORY}/resolve/{REVISION}/{broken}": 404}
    card = card_of(tmp_path / "cards", shelf.url)
    with pytest.raises(UsageError, match="404"):
        fetch.pull(card, jobs=1)
    times = len(asked(shelf, done))
    shelf.status = {}
    assert contents(fetch.pull(card, jobs=1)).keys() == {*PARQUET, SUMS}
    assert len(asked(shelf, done)) == times > 0


@pytest.mark.parametrize("hub", ["dead", "empty", "off"])
def test_a_hub_that_does_not_deliver_is_told_in_one_line(
    hub: str, serve: Callable[..., Shelf], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = {"dead": DEAD, "empty": serve().url, "off": stock(serve(), FILES).url}[hub]
    monkeypatch.setattr("time.sleep", lambda _: None)  # huggingface_hub tries a dead address for 23 seconds
    if hub == "off":
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    card = card_of(tmp_path / "cards", url)
    with pytest.raises(UsageError, match=r"no mirror delivers data/: 127\.0\.0\.1.*try again later") as caught:
        fetch.pull(card)
    assert "\n" not in str(caught.value)
    assert fetch.where(card) is None


def test_a_hub_without_such_files_is_told(serve: Callable[..., Shelf], tmp_path: Path) -> None:
    shelf = stock(serve(), {"README.md": b"moved\n"})
    with pytest.raises(UsageError, match="has no such files"):
        fetch.pull(card_of(tmp_path / "cards", shelf.url))


@pytest.mark.parametrize("gone", ["revision", "url"])
def test_a_hub_must_be_pinned(gone: str, tmp_path: Path) -> None:
    card_of(tmp_path, DEAD)
    file = tmp_path / "cats.toml"
    text = file.read_text()
    text = text.replace(f'revision = "{REVISION}"\n', "") if gone == "revision" else text.replace("/datasets/", "/")
    file.write_text(text)
    with pytest.raises(UsageError, match="needs a 'revision' and a 'url' like"):
        fetch.dataset(str(file))
