"""Datasets come whole, from whoever serves the right bytes, over a real server on this machine."""

from __future__ import annotations

import hashlib
import io
import os
import random
import shutil
import signal
import stat
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import platformdirs
import pytest
from shelf import Shelf

from tlbench.errors import UsageError
from tlbench.tasks.datasets import download, fetch
from tlbench.tasks.datasets.dataset import PARTIAL
from tlbench.tasks.datasets.digests import SUMS, mismatch
from tlbench.tasks.datasets.download import Refused
from tlbench.tasks.datasets.fetch import Pull
from tlbench.tasks.datasets.mirrors import KINDS, Kind, Mirror

DEAD = "http://127.0.0.1:1"  # nobody listens on port 1
SMALL = {"a/one.bin": b"one" * 500, "a/two words.bin": b"two" * 700, "b/three.bin": random.Random(0).randbytes(300_000)}


@pytest.fixture(autouse=True)
def _a_machine_without_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platformdirs, "user_data_path", lambda *_: tmp_path / "user")
    monkeypatch.setattr(download, "BACKOFF", 0.01)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("TLBENCH_MIRROR", raising=False)


@pytest.fixture
def real(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder with the real datasets; the code under test no longer knows of it."""
    found = next((Path(p) for p in os.environ.get("TLBENCH_DATA", "").split(os.pathsep) if p), None)
    monkeypatch.delenv("TLBENCH_DATA", raising=False)
    if found is None or not (found / "amazon_reviews_dann").is_dir():
        pytest.skip("TLBENCH_DATA names no folder with the real datasets")
    return found


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def card_of(
    folder: Path, mirrors: list[dict[str, str]], files: dict[str, bytes] | None = SMALL, extra: str = ""
) -> fetch.DatasetCard:
    """A card for small files with these mirrors; without a manifest when `files` is None."""
    folder.mkdir(exist_ok=True)
    texts = {"name": "toy", "title": "Toy", "license": "CC0", "terms": "", "cite": "", "homepage": "nowhere"}
    lines = [f'{key} = "{value}"' for key, value in texts.items()] + ["bytes = 1", extra]
    if files is not None:
        lines.append('manifest = "toy.sha256"')
        (folder / "toy.sha256").write_text("".join(f"{sha(c)}  {p}\n" for p, c in files.items()))
    lines += ["[counts]", "a = 2", "[[parts]]"]
    for mirror in mirrors:
        lines += ["[[parts.mirrors]]", *(f'{key} = "{value}"' for key, value in mirror.items())]
    (folder / "toy.toml").write_text("\n".join(lines))
    return fetch.dataset(str(folder / "toy.toml"))


def files_at(*urls: str) -> list[dict[str, str]]:
    return [{"kind": "files", "url": url} for url in urls]


def tar_of(files: dict[str, bytes], *odd: tarfile.TarInfo) -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w:gz") as box:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            box.addfile(member, io.BytesIO(content))
        for member in odd:
            box.addfile(member)
    return sink.getvalue()


def zip_of(files: dict[str, bytes]) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as box:
        for name, content in files.items():
            box.writestr(name, content)
        link = zipfile.ZipInfo("top/link")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        box.writestr(link, "/etc/passwd")
    return sink.getvalue()


def contents(folder: Path) -> dict[str, bytes]:
    found = (file for file in sorted(folder.rglob("*")) if file.is_file() or file.is_symlink())
    return {str(file.relative_to(folder)): file.read_bytes() for file in found}


def test_the_real_reviews_come_whole_through_a_mirror(real: Path, serve: Callable[..., Shelf], tmp_path: Path) -> None:
    shelf, card = serve(folder=real), fetch.dataset("amazon_reviews")
    folder = fetch.pull(card, mirror=f"{shelf.url}/")
    assert folder == tmp_path / "user/data/amazon_reviews"
    assert fetch.verify(card, folder) == []
    assert len(contents(folder)) == 8
    assert fetch.where(card) == folder
    assert shelf.sent == card.bytes


def test_a_mirror_can_be_named_by_the_environment(
    serve: Callable[..., Shelf], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf = serve(files={f"toy/{path}": content for path, content in SMALL.items()})
    monkeypatch.setenv("TLBENCH_MIRROR", shelf.url)
    assert contents(fetch.pull(card_of(tmp_path / "cards", files_at(DEAD)))) == SMALL


def test_a_mirror_that_is_no_address_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="begins with http"):
        fetch.pull(card_of(tmp_path / "cards", files_at(DEAD)), mirror="/mnt/usb")


def test_a_cut_connection_is_resumed_where_it_broke(real: Path, serve: Callable[..., Shelf], tmp_path: Path) -> None:
    path = "data/books_test.svmlight"
    content = (real / "amazon_reviews_dann" / path).read_bytes()
    shelf = serve(files={path: content}, cut={path: len(content) // 2})
    card = card_of(tmp_path / "cards", files_at(shelf.url), {path: content})
    assert contents(fetch.pull(card)) == {path: content}
    assert shelf.asked == [(path, None), (path, f"bytes={len(content) // 2}-")]
    assert shelf.sent == len(content)


def test_the_next_pull_resumes_what_the_last_one_left(serve: Callable[..., Shelf], tmp_path: Path) -> None:
    shelf = serve(files=SMALL)
    card = card_of(tmp_path / "cards", files_at(shelf.url))
    part = tmp_path / "root/toy/b/three.bin.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(SMALL["b/three.bin"][:200_000])
    assert contents(fetch.pull(card, tmp_path / "root")) == SMALL
    assert ("b/three.bin", "bytes=200000-") in shelf.asked


@pytest.mark.parametrize(
    "left",
    [SMALL["b/three.bin"], SMALL["b/three.bin"] + b"more", b"other bytes"],
    ids=["complete", "too long", "strange"],
)
def test_a_part_that_is_complete_too_long_or_strange_does_no_harm(
    left: bytes, serve: Callable[..., Shelf], tmp_path: Path
) -> None:
    shelf = serve(files=SMALL)
    part = tmp_path / "root/toy/b/three.bin.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(left)
    card = card_of(tmp_path / "cards", files_at(shelf.url))
    assert contents(fetch.pull(card, tmp_path / "root")) == SMALL


def test_a_server_without_ranges_starts_over(serve: Callable[..., Shelf], tmp_path: Path) -> None:
    shelf = serve(files=SMALL, ranges=False, cut={"b/three.bin": 200_000})
    assert contents(fetch.pull(card_of(tmp_path / "cards", files_at(shelf.url)))) == SMALL
    assert [path for path, _ in shelf.asked].count("b/three.bin") == 2


def test_a_wrong_byte_is_refused_and_the_next_mirror_asked(serve: Callable[..., Shelf], tmp_path: Path) -> None:
    bad, good = serve(files=SMALL, spoilt={"a/one.bin"}), serve(files=SMALL)
    assert contents(fetch.pull(card_of(tmp_path / "cards", files_at(bad.url, good.url)))) == SMALL
    assert [path for path, _ in good.asked] == ["a/one.bin"]


def test_wrong_bytes_everywhere_name_the_file_and_both_digests(serve: Callable[..., Shelf], tmp_path: Path) -> None:
    bad, gone = serve(files=SMALL, spoilt={"a/one.bin"}), serve()
    card = card_of(tmp_path / "cards", files_at(bad.url, gone.url))
    with pytest.raises(UsageError) as caught:
        fetch.pull(card)
    line = str(caught.value)
    assert "\n" not in line
    assert "a/one.bin" in line
    assert f"expected {sha(SMALL['a/one.bin'])[:16]}" in line
    assert f"sha256 {sha(bytes([ord('o') ^ 1]) + SMALL['a/one.bin'][1:])[:16]}" in line
    assert "HTTP 404" in line
    folder = tmp_path / "user/data/toy"
    assert not list(folder.glob("a/one.bin*"))
    assert fetch.where(card) is None  # half a dataset is none
    assert "has not finished" in fetch.missing(card)


def test_a_dead_or_broken_mirror_is_passed_over(serve: Callable[..., Shelf], tmp_path: Path) -> None:
    broken, live = serve(status=dict.fromkeys(SMALL, 500)), serve(files=SMALL)
    assert contents(fetch.pull(card_of(tmp_path / "cards", files_at(DEAD, broken.url, live.url)))) == SMALL


def test_a_mirror_that_never_answers_is_asked_once_a_thread_at_most(
    serve: Callable[..., Shelf], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "TIMEOUT", 0.2)
    mute, live = serve(silent=True), serve(files=SMALL)
    card = card_of(tmp_path / "cards", files_at(mute.url, live.url))
    assert contents(fetch.pull(card, jobs=1)) == SMALL
    assert len(mute.asked) == 1


def test_a_mirror_without_the_dataset_is_not_asked_for_every_file(serve: Callable[..., Shelf], tmp_path: Path) -> None:
    many = {f"{i}.bin": bytes([i]) for i in range(100)}
    empty, live = serve(), serve(files=many)
    card = card_of(tmp_path / "cards", files_at(empty.url, live.url), many)
    assert contents(fetch.pull(card, jobs=2)) == many
    assert len(empty.asked) < 20


@pytest.mark.parametrize("pack", [tar_of, zip_of])
def test_real_images_come_out_of_an_archive_and_are_checked(
    pack: Callable[[dict[str, bytes]], bytes], real: Path, serve: Callable[..., Shelf], tmp_path: Path
) -> None:
    found = sorted((real / "office_caltech10/images/dslr/mug").iterdir())[:5]
    images = {f"dslr/images/mug/{file.name}": file.read_bytes() for file in found}
    box = pack({f"top/{path}": content for path, content in images.items()} | {"top/._junk": b"junk"})
    shelf = serve(files={"box": box})
    mirror = {"kind": "archive", "url": f"{shelf.url}/box", "inside": "*/", "digest": f"sha256:{sha(box)}"}
    card = card_of(tmp_path / "cards", [mirror], None, 'marks = ["dslr/images"]')
    folder = fetch.pull(card)
    kept = contents(folder)
    assert kept.pop(SUMS).decode().count("\n") == 5
    assert kept == images
    assert fetch.verify(card, folder) == []
    (folder / next(iter(images))).write_bytes(b"changed")
    assert len(fetch.verify(card, folder)) == 1


def test_an_archive_without_a_top_folder_is_taken_as_it_is(serve: Callable[..., Shelf], tmp_path: Path) -> None:
    shelf = serve(files={"box": tar_of({f"./{path}": content for path, content in SMALL.items()})})
    mirror = {"kind": "archive", "url": f"{shelf.url}/box", "inside": "*/"}
    folder = fetch.pull(card_of(tmp_path / "cards", [mirror], None, 'marks = ["a"]'))
    assert {path: c for path, c in contents(folder).items() if path != SUMS} == SMALL


def test_an_archive_gives_only_what_the_manifest_lists(serve: Callable[..., Shelf], tmp_path: Path) -> None:
    inside = {f"repo-1/in/{path}": content for path, content in SMALL.items()}
    shelf = serve(files={"box": tar_of(inside | {"repo-1/in/other": b"x", "repo-1/README": b"y"})})
    mirror = {"kind": "archive", "url": f"{shelf.url}/box", "inside": "repo-1/in/"}
    assert contents(fetch.pull(card_of(tmp_path / "cards", [mirror]))) == SMALL


def test_a_wrong_file_in_an_archive_is_fetched_from_the_next_mirror(
    serve: Callable[..., Shelf], tmp_path: Path
) -> None:
    many = SMALL | {f"{i}.bin": bytes([i]) for i in range(40)}  # so many that the archive is asked first
    shelf = serve(files={"box": tar_of(many | {"a/one.bin": b"wrong"}), **many})
    archive = {"kind": "archive", "url": f"{shelf.url}/box"}
    card = card_of(tmp_path / "cards", [archive, *files_at(shelf.url)], many)
    assert contents(fetch.pull(card)) == many
    assert [path for path, _ in shelf.asked] == ["box", "a/one.bin"]


@pytest.mark.parametrize("manifest", [True, False])
def test_an_evil_archive_writes_nothing_outside(manifest: bool, serve: Callable[..., Shelf], tmp_path: Path) -> None:
    link, hard = tarfile.TarInfo("door"), tarfile.TarInfo("hard")
    link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path)
    hard.type, hard.linkname = tarfile.LNKTYPE, "a/one.bin"
    evil = {"../evil": b"x", "a/../../evil": b"x", str(tmp_path / "evil"): b"x", "door/evil": b"x"}
    shelf = serve(files={"box": tar_of(SMALL | evil, link, hard)})
    mirror = {"kind": "archive", "url": f"{shelf.url}/box"}
    folder = fetch.pull(card_of(tmp_path / "cards", [mirror], SMALL if manifest else None))
    door = {} if manifest else {"door/evil": b"x"}  # a plain folder here, for the link was left out
    assert {path: c for path, c in contents(folder).items() if path != SUMS} == SMALL | door
    assert [*tmp_path.rglob("evil")] == [folder / path for path in door]
    assert not any(file.is_symlink() for file in folder.rglob("*"))


def test_an_archive_with_the_wrong_digest_is_not_opened(serve: Callable[..., Shelf], tmp_path: Path) -> None:
    good = tar_of(SMALL)
    shelf = serve(files={"bad": tar_of({"a/one.bin": b"?"}), "good": good})
    mirrors = [
        {"kind": "archive", "url": f"{shelf.url}/{name}", "digest": f"sha256:{sha(good)}"} for name in ("bad", "good")
    ]
    folder = fetch.pull(card_of(tmp_path / "cards", mirrors, None))
    assert contents(folder).keys() == {*SMALL, SUMS}
    with pytest.raises(UsageError, match=rf"bad: wrong bytes .*expected {sha(good)[:16]}"):
        fetch.pull(card_of(tmp_path / "cards", mirrors[:1], None), tmp_path / "root")


@pytest.mark.parametrize("about", [{"kind": "text/html"}, {"kind": "application/gzip"}])
def test_a_web_page_is_not_an_archive(about: dict[str, str], serve: Callable[..., Shelf], tmp_path: Path) -> None:
    shelf = serve(files={"box": b"<html>Sign in</html>"}, **about)
    card = card_of(tmp_path / "cards", [{"kind": "archive", "url": f"{shelf.url}/box"}], None)
    with pytest.raises(UsageError, match=r"web page|not an intact archive"):
        fetch.pull(card)
    assert fetch.where(card) is None


def test_a_torn_archive_leaves_no_files_behind(serve: Callable[..., Shelf], tmp_path: Path) -> None:
    shelf = serve(files={"box": tar_of(SMALL)[:-50_000]})
    card = card_of(tmp_path / "cards", [{"kind": "archive", "url": f"{shelf.url}/box"}], None)
    with pytest.raises(UsageError, match="not an intact archive"):
        fetch.pull(card)
    assert list(contents(tmp_path / "user/data/toy")) == [PARTIAL]


def test_a_mirror_of_ones_own_may_hold_the_publishers_archive(serve: Callable[..., Shelf], tmp_path: Path) -> None:
    box = tar_of(SMALL)
    shelf = serve(files={"toy/box.tar.gz": box})
    mirror = {"kind": "archive", "url": DEAD, "digest": f"sha256:{sha(box)}", "file": "box.tar.gz"}
    folder = fetch.pull(card_of(tmp_path / "cards", [mirror], None), mirror=shelf.url)
    assert contents(folder).keys() == {*SMALL, SUMS}


@pytest.mark.parametrize("manifest", [True, False])
def test_a_second_pull_downloads_nothing(manifest: bool, serve: Callable[..., Shelf], tmp_path: Path) -> None:
    shelf = serve(files=SMALL | {"box": tar_of(SMALL)})
    archive = [{"kind": "archive", "url": f"{shelf.url}/box"}]
    card = card_of(tmp_path / "cards", files_at(shelf.url) if manifest else archive, SMALL if manifest else None)
    folder = fetch.pull(card)
    before = len(shelf.asked)
    assert fetch.pull(card) == folder
    assert len(shelf.asked) == before


def test_only_what_is_missing_or_changed_is_fetched_again(serve: Callable[..., Shelf], tmp_path: Path) -> None:
    shelf = serve(files=SMALL)
    card = card_of(tmp_path / "cards", files_at(shelf.url))
    folder = fetch.pull(card)
    (folder / "a/one.bin").unlink()
    (folder / "b/three.bin").write_bytes(b"changed")
    assert fetch.verify(card, folder)[0] == "a/one.bin: missing"
    assert fetch.verify(card, folder)[1].startswith("b/three.bin: wrong bytes")
    shelf.asked.clear()
    fetch.pull(card)
    assert {path for path, _ in shelf.asked} == {"a/one.bin", "b/three.bin"}
    assert fetch.verify(card, folder) == []


def test_two_pulls_at_once_share_one_download(
    serve: Callable[..., Shelf], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shelf = serve(files=SMALL)
    card = card_of(tmp_path / "cards", files_at(shelf.url))
    threads = [threading.Thread(target=fetch.pull, args=(card,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(shelf.asked) == len(SMALL)
    assert contents(tmp_path / "user/data/toy") == SMALL


def test_ctrl_c_leaves_a_part_that_the_next_pull_resumes(serve: Callable[..., Shelf], tmp_path: Path) -> None:
    content = os.urandom(2_000_000)
    shelf = serve(files={"big.bin": content}, drip=0.001)
    card = card_of(tmp_path / "cards", files_at(shelf.url), {"big.bin": content})
    code = "import signal, sys; from pathlib import Path; from tlbench.tasks.datasets import fetch; "
    code += "signal.signal(signal.SIGINT, signal.default_int_handler); "  # a shell's background jobs start deaf to it
    code += "fetch.pull(fetch.dataset(sys.argv[1]), Path(sys.argv[2]))"
    arguments = [sys.executable, "-c", code, str(tmp_path / "cards/toy.toml"), str(tmp_path / "root")]
    part = tmp_path / "root/toy/big.bin.part"
    with subprocess.Popen(arguments, stderr=subprocess.DEVNULL, stdout=subprocess.PIPE) as pulling:
        while pulling.poll() is None and not (part.exists() and part.stat().st_size):
            time.sleep(0.01)
        pulling.send_signal(signal.SIGINT)
        assert pulling.wait(10) != 0
    assert 0 < part.stat().st_size < len(content)
    assert fetch.where(card, tmp_path / "root") is None
    shelf.drip = 0
    assert contents(fetch.pull(card, tmp_path / "root")) == {"big.bin": content}
    assert (shelf.asked[-1][1] or "").startswith("bytes=")


def test_a_full_disk_is_told_in_one_line(serve: Callable[..., Shelf], tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here to stand for a full disk")
    card = card_of(tmp_path / "cards", files_at(serve(files=SMALL).url))
    part = tmp_path / "root/toy/b/three.bin.part"
    part.parent.mkdir(parents=True)
    part.symlink_to("/dev/full")
    with pytest.raises(UsageError, match=r"no space left on device; .*--data-root"):
        fetch.pull(card, tmp_path / "root")


def test_a_root_that_is_a_file_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "root").write_text("")
    with pytest.raises(UsageError, match=r"root.*--data-root"):
        fetch.pull(card_of(tmp_path / "cards", files_at(DEAD)), tmp_path / "root")


def test_without_digests_the_files_are_counted_and_that_is_said(tmp_path: Path) -> None:
    card = card_of(tmp_path / "cards", [{"kind": "archive", "url": DEAD}], None)
    (tmp_path / "toy/a").mkdir(parents=True)
    (tmp_path / "toy/a/one").touch()
    first, second = fetch.verify(card, tmp_path / "toy")
    assert "no bytes checked" in first
    assert second == "a: 1 files, expected 2"


def test_a_folder_is_found_by_environment_by_root_and_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = card_of(tmp_path / "cards", files_at(DEAD), SMALL, 'folders = ["toys"]')
    monkeypatch.setenv("TLBENCH_DATA", os.pathsep.join([str(tmp_path / "none"), str(tmp_path / "env")]))
    assert fetch.data_roots(tmp_path)[:3] == [tmp_path, tmp_path / "none", tmp_path / "env"]
    assert fetch.where(card) is None
    assert "tlbench data pull toy" in fetch.missing(card)
    assert "--data-root" in fetch.missing(card)
    for folder in ("user/data/toy", "env/toys", "extra/toy"):
        (tmp_path / folder).mkdir(parents=True)
        assert fetch.where(card, tmp_path / "extra") == tmp_path / folder
    for mark in ("a", "b"):
        (tmp_path / "mine" / mark).mkdir(parents=True)
    assert fetch.where(card, tmp_path / "mine") == tmp_path / "mine"
    shutil.rmtree(tmp_path / "mine/b")
    assert fetch.where(card, tmp_path / "mine") == tmp_path / "env/toys"


def from_text(pull: Pull, mirror: Mirror, select: str, wanted: dict[str, str]) -> set[str]:
    """Delivers what a made-up mirror holds: a text with a line `<path> <hex>` for each file."""
    box, got = pull.stage(mirror, mirror.url), set()
    try:
        download.download(mirror.url, box, mirror.digest, pull.tick)
    except Refused as error:
        for path in wanted or [select]:
            pull.note(path, mirror, str(error))
        return set()
    for line in box.read_text().splitlines():
        path, _, content = line.rpartition(" ")
        draft = pull.folder / ".text-draft"
        draft.write_bytes(bytes.fromhex(content))
        if wrong := mismatch(draft, wanted.get(path)):
            pull.note(path, mirror, wrong)
        else:
            pull.keep(draft, path)
            got.add(path)
    return got


@pytest.mark.parametrize("manifest", [True, False])
def test_a_kind_of_mirror_is_added_in_one_place(
    manifest: bool, serve: Callable[..., Shelf], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A made-up one, that needs a file's name: cards may name it, a pull asks it, and the next where it is wrong."""
    kind = Kind(from_text, lacks=lambda mirror: "" if mirror.file else "a 'file'", whole=True)
    monkeypatch.setitem(KINDS, "text", kind)
    lines = {path: content.hex() for path, content in SMALL.items()}
    good, bad = ("\n".join(f"{p} {c}" for p, c in box.items()) for box in (lines, lines | {min(lines): "00"}))
    shelf = serve(files={"good": good.encode(), "bad": bad.encode()})
    urls = ("gone", "bad", "good") if manifest else ("gone", "good")
    mirrors = [{"kind": "text", "url": f"{shelf.url}/{name}", "file": name} for name in urls]
    folder = fetch.pull(card_of(tmp_path / "cards", mirrors, SMALL if manifest else None, 'marks = ["a"]'))
    assert {path: c for path, c in contents(folder).items() if path != SUMS} == SMALL
    with pytest.raises(UsageError, match="a mirror of kind 'text' needs a 'file'"):
        card_of(tmp_path / "others", [{"kind": "text", "url": DEAD}])
    with pytest.raises(UsageError, match=r"wrong bytes .*try again later"):
        fetch.pull(card_of(tmp_path / "bad", [mirrors[-1] | {"url": f"{shelf.url}/bad"}]), tmp_path / "root")


def test_an_unknown_dataset_says_what_is_close() -> None:
    with pytest.raises(UsageError, match="unknown dataset 'ofice31'; did you mean 'office31'"):
        fetch.dataset("ofice31")


@pytest.mark.parametrize(
    ("extra", "mirror", "said"),
    [
        ("licence = 1", {}, "unknown key 'licence'; did you mean 'license'"),
        ("", {"insides": "x"}, r"unknown key 'parts.0.mirrors.0.insides'; did you mean 'inside'"),
        ("", {"url": "ftp://x"}, r"'parts.0.mirrors.0.url' is 'ftp://x'"),
        ("", {"kind": "torrent"}, r"'parts.0.mirrors.0.kind' is 'torrent': unknown; there are: archive, files, hub"),
    ],
)
def test_a_wrong_card_says_which_key(extra: str, mirror: dict[str, str], said: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        card_of(tmp_path, [{"kind": "files", "url": DEAD} | mirror], SMALL, extra)
    assert str(tmp_path / "toy.toml") in str(caught.value)


@pytest.mark.parametrize("line", ["abc  a/one.bin", f"{'0' * 64}  ../evil", f"{'0' * 64}  /evil"])
def test_a_wrong_manifest_says_which_line(line: str, tmp_path: Path) -> None:
    card = card_of(tmp_path, files_at(DEAD))
    with (tmp_path / "toy.sha256").open("a") as manifest:
        manifest.write(line)
    with pytest.raises(UsageError, match=r"toy\.sha256:4:"):
        fetch.pull(card)


def test_the_real_images_are_the_ones_in_the_manifest(real: Path) -> None:
    card = fetch.dataset("office_caltech10")
    folder = fetch.where(card, real)
    assert folder == real / "office_caltech10"
    assert fetch.verify(card, folder) == []
    for domain, n in card.counts.items():
        assert sum(path.startswith(f"images/{domain}/") for path in card.digests) == n


def test_a_finished_part_is_not_fetched_again_when_a_later_one_fails(
    serve: Callable[..., Shelf], tmp_path: Path
) -> None:
    """As with DomainNet: archives of gigabytes without a manifest, lists with one."""
    box = {f"{d}.tar": tar_of({f"{d}/one.bin": d.encode() * 500}) for d in "ab"}
    shelf = serve(files=box | {"lists/a.txt": b"a/one.bin 0\n"}, status={"b.tar": 500})
    card = card_of(tmp_path / "cards", files_at(DEAD), {"lists/a.txt": b"a/one.bin 0\n"})
    text = (tmp_path / "cards/toy.toml").read_text().partition("[[parts]]")[0]
    for d in "ab":
        text += f'[[parts]]\nselect = "{d}/"\n[[parts.mirrors]]\nkind = "archive"\n'
        text += f'url = "{shelf.url}/{d}.tar"\ninside = "{d}/"\n'
    text += f'[[parts]]\nselect = "lists/"\n[[parts.mirrors]]\nkind = "files"\nurl = "{shelf.url}/lists/"\n'
    (tmp_path / "cards/toy.toml").write_text(text)
    card = fetch.dataset(str(tmp_path / "cards/toy.toml"))
    with pytest.raises(UsageError, match=r"no mirror delivers b/.*HTTP 500"):
        fetch.pull(card)
    assert fetch.where(card) is None
    shelf.status = {}
    shelf.asked.clear()
    folder = fetch.pull(card)
    assert {path for path, _ in shelf.asked} == {"b.tar", "lists/a.txt"}
    assert contents(folder).keys() == {"a/one.bin", "b/one.bin", "lists/a.txt", SUMS}
    assert fetch.verify(card, folder) == []
    shelf.asked.clear()
    assert fetch.pull(card) == folder
    assert shelf.asked == []
    (folder / "a/one.bin").write_bytes(b"changed")
    assert fetch.verify(card, folder)[0].startswith("a/one.bin: wrong bytes")
    fetch.pull(card)
    assert "a.tar" in {path for path, _ in shelf.asked}
    assert fetch.verify(card, folder) == []


def test_a_folder_with_less_on_purpose_is_checked_for_what_it_lists(tmp_path: Path) -> None:
    card = card_of(tmp_path / "cards", files_at(DEAD))
    (tmp_path / "toy/a").mkdir(parents=True)
    (tmp_path / "toy/a/one.bin").write_bytes(SMALL["a/one.bin"])
    assert fetch.verify(card, tmp_path / "toy") == ["a/two words.bin: missing", "b/three.bin: missing"]
    (tmp_path / "toy" / SUMS).write_text(f"{sha(SMALL['a/one.bin'])}  a/one.bin\n")
    assert fetch.verify(card, tmp_path / "toy") == []
    assert fetch.lacking(card, tmp_path / "toy") == ["2 of 3 files are not here: a/two words.bin …"]
    (tmp_path / "toy/a/one.bin").unlink()
    assert fetch.verify(card, tmp_path / "toy") == ["a/one.bin: missing"]
