"""The jail's parts: what is admitted, which calls are refused, whose clock is believed, and what a level needs."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tlbench.errors import UsageError
from tlbench.files import CHECKOUT
from tlbench.runner import experiment, record
from tlbench.runner.experiment import Options
from tlbench.runner.sandbox import bubblewrap, file_rules, landlock, sandbox, seccomp
from tlbench.runner.worker import server
from tlbench.runner.worker.local import Ended, Workers

ALLOW, EPERM, ENOSYS = seccomp.ALLOW, seccomp.REFUSE, seccomp.MISSING


def answer(machine: str, number: int, *arguments: int, audit: int | None = None, gpu: bool = False) -> int:
    """What the filter of process 77 says to a call: its instructions carried out one by one."""
    words = {0: number, 4: audit or seccomp.ARCHITECTURES[machine][0]}
    words |= {16 + 8 * i: a & 0xFFFFFFFF for i, a in enumerate((*arguments, 0, 0, 0))}
    code, i, loaded = seccomp.program(machine, 77, gpu), 0, 0
    while True:
        kind, true, false, k = code[i]
        if kind == seccomp.RETURN:
            return k
        if kind in (seccomp.LOAD, seccomp.AND):
            loaded, i = words[k] if kind == seccomp.LOAD else loaded & k, i + 1
            continue
        holds = {
            seccomp.EQUAL: loaded == k, seccomp.MORE: loaded > k, seccomp.AT_LEAST: loaded >= k,
            seccomp.SET: bool(loaded & k),
        }[kind]  # fmt: skip
        i += 1 + (true if holds else false)


@pytest.mark.parametrize(("machine", "column"), [("x86_64", 0), ("aarch64", 1)])
def test_the_filter_refuses_what_reaches_outside_and_leaves_the_rest(machine: str, column: int) -> None:
    for name, numbers in seccomp.REFUSED.items():
        if numbers[column] is not None:
            assert answer(machine, numbers[column]) == EPERM, name
    kill, clone, socket = (n[column] for n in (seccomp.OWN["kill"], seccomp.CLONE, seccomp.SOCKET))
    assert answer(machine, kill, 77, 15) == ALLOW
    assert {answer(machine, kill, pid, 15) for pid in (1, 76, 0, -1)} == {EPERM}
    assert answer(machine, clone, 0x3D0F00) == ALLOW  # a thread as glibc makes it
    assert answer(machine, clone, 0x1200011) == EPERM  # a process as glibc forks it
    assert answer(machine, seccomp.NO_SUCH_CALL["clone3"][column]) == ENOSYS
    assert answer(machine, 451) == ENOSYS
    assert answer(machine, socket, 1, 1) == EPERM
    assert [answer(machine, socket, f, k, gpu=True) for f, k in ((1, 1), (1, 0x80005), (1, 2), (2, 1), (10, 2))] == [
        ALLOW, ALLOW, EPERM, EPERM, EPERM,
    ]  # fmt: skip
    assert answer(machine, seccomp.SOCKETPAIR[column], 1, 1) == ALLOW
    prctl = seccomp.PRCTL[column]
    assert [answer(machine, prctl, option) for option in (1, 4, 15)] == [EPERM, EPERM, ALLOW]
    mmap, fcntl, ioctl = (n[column] for n in (seccomp.MMAP, seccomp.FCNTL, seccomp.IOCTL))
    assert [answer(machine, mmap, 0, 9, 3, flags) for flags in (0x22, 0x01, 0x21, 0x23)] == [ALLOW, ALLOW, EPERM, EPERM]
    assert answer(machine, mmap, 0, 9, 3, 0x21, gpu=True) == ALLOW
    assert [answer(machine, fcntl, 3, command) for command in (3, 1030, 8, 10, 1024)] == [ALLOW, ALLOW] + [EPERM] * 3
    marks = 0x40086602, 0x40087602, 0x401C5820  # FS_IOC_SETFLAGS, FS_IOC_SETVERSION, FS_IOC_FSSETXATTR
    assert {answer(machine, ioctl, 3, mark) for mark in marks} == {EPERM}
    assert {answer(machine, ioctl, 3, one, gpu=True) for one in (0x5401, 0xC020462A, 0x30000001)} == {ALLOW}
    assert answer(machine, clone, 0x3D0B00) == EPERM  # a thread with files of its own
    assert [answer(machine, seccomp.OWN_OR_0["prlimit64"][column], pid) for pid in (0, 77, 5)] == [ALLOW, ALLOW, EPERM]


def test_calls_of_another_architecture_are_the_end() -> None:
    assert answer("x86_64", 1, audit=0x40000003) == seccomp.KILL  # 32-bit
    assert answer("x86_64", 0x40000001) == seccomp.KILL  # x32
    assert answer("x86_64", 1) == ALLOW


def test_everything_beside_what_is_hidden_is_admitted(tmp_path: Path) -> None:
    for name in ("a/x", "a/b/secret", "a/b/y", "c/z"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    found = file_rules.all_but(tmp_path, [tmp_path / "a/b/secret"])
    assert [str(p.relative_to(tmp_path)) for p in found] == ["a/b/y", "a/x", "c"]
    assert file_rules.all_but(tmp_path / "c", [tmp_path / "a"]) == [tmp_path / "c"]
    assert file_rules.all_but(tmp_path, [tmp_path]) == []


def test_neither_data_nor_results_nor_generators_are_admitted() -> None:
    root = CHECKOUT
    found = {
        path for path, rights in file_rules.rules(Path("/scratch"), [], None, "cpu") if rights & landlock.READ_FILE
    }
    for place in (root / "results", root / "tests", root / "tlbench/tasks/synthetic", Path.home(), Path("/tmp")):
        assert not any(p == place or p in place.parents for p in found), place
    assert {root / "tlbench/runner", root / "baselines"} <= {p.resolve() for p in found}


def test_a_job_admits_the_files_that_it_names_and_no_other() -> None:
    job = {
        "pool": "/p", "unlabeled": None, "test": "/t", "net": {"weights": "/w"}, "sources": [{"x": "/x", "y": "/y"}],
        "kept": {"source_val": ["/v"], "oracle_val": []}, "method": "dann", "files": "/listed", "out": "/out",
    }  # fmt: skip
    assert sorted(map(str, file_rules.inputs_of(job))) == ["/p", "/t", "/v", "/w", "/x", "/y"]
    assert file_rules.inputs_of({"kind": "describe", "method": "dann", "settings": {}}) == []


def test_a_file_of_a_method_is_admitted_with_what_it_imports_beside_it_and_not_its_folder(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("import other\n")
    (tmp_path / "other.py").write_text("")
    (tmp_path / "third.py").write_text("")
    found = file_rules.code_of(f"{tmp_path}/mine.py:Mine")
    assert {p.name for p in found if p.parent == tmp_path} == {"mine.py", "other.py"}
    assert tmp_path not in found


@pytest.mark.parametrize("level", ["3", "", "-1", "yes"])
def test_a_level_that_there_is_not_is_a_mistake(level: str) -> None:
    with pytest.raises(UsageError, match="choose auto, 0, 1 or 2"):
        sandbox.resolve(level)


def test_a_kernel_without_landlock_is_said_once_and_refused_where_level_1_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(landlock, "abi", lambda: 0)
    monkeypatch.setattr(sandbox.sys, "platform", "linux")
    level, note = sandbox.resolve("auto")
    assert (level, sandbox.resolve("0")) == (0, (0, ""))
    assert "run at jail level 0" in note
    with pytest.raises(UsageError, match=r"--sandbox 1: .*Landlock"):
        sandbox.resolve("1")


def test_bubblewrap_that_is_not_installed_is_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "missing", lambda: "")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UsageError, match=r"bubblewrap .* is not installed"):
        sandbox.resolve("2")


def test_what_cannot_be_locked_up_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise OSError("Landlock: Function not implemented")

    monkeypatch.setattr(sandbox, "lock", refused)
    assert server.lock({"kind": "describe"}, tmp_path) == (
        "it could not be locked up, so it was not run: Landlock: Function not implemented"
    )


def test_hidden_folders_are_empty_but_for_what_is_shown_again(tmp_path: Path) -> None:
    for name in ("cache/packs", "cache/inputs", "results", "scratch"):
        (tmp_path / name).mkdir(parents=True)
    cache, packs, results, scratch = (str(tmp_path / n) for n in ("cache", "cache/packs", "results", "scratch"))
    made = bubblewrap.command(
        ["python"], [Path(results), Path(cache), Path(packs), Path("/"), Path("/usr")], [Path(packs)], Path(scratch)
    )
    text = " ".join(made)
    assert f"--tmpfs {cache} --tmpfs {results} --ro-bind {packs} {packs} --bind {scratch} {scratch}" in text
    assert "--tmpfs / " not in text
    assert "--tmpfs /usr" not in text
    assert made.index("--remount-ro") > made.index("--bind")
    assert made[-2:] == ["--", "python"]


HONEST = Ended(
    1,
    Path(),
    {"setup_s": 0.5, "fit_s": 1.0, "predict_s": 0.1, "rest_s": 0.1, "extra_s": 0.0},
    1,
    lived_s=1.9,
    cpu_s=1.8,
)


def told(**seconds: float) -> Ended:
    return replace(HONEST, report={**HONEST.report, **seconds})


@pytest.mark.parametrize(
    "ended",
    [
        HONEST,
        replace(HONEST, lived_s=3.8),  # a busy machine: 2 s to be born and to die
        replace(told(fit_s=1000.0), lived_s=1090.0, cpu_s=3000.0),
        replace(told(rest_s=30.1, extra_s=30.0), lived_s=31.9, more=True),  # a timing pass
        replace(told(setup_s=50.0), lived_s=51.5),  # imports from a cold disk
        replace(HONEST, lived_s=None),  # nobody looked
    ],
)
def test_honest_clocks_are_believed(ended: Ended) -> None:
    record.check_clocks(ended, threads=1)


@pytest.mark.parametrize(
    ("ended", "said"),
    [
        (replace(told(fit_s=0.1), lived_s=12.3), "its own clock counts 0.8 s of the 12.3 s that it ran"),
        (replace(told(fit_s=100.0), lived_s=12.3), "its own clock counts 100.7 s of the 12.3 s"),
        (replace(told(fit_s=0.0, setup_s=0.1), lived_s=1.9, cpu_s=2.0), "cannot have used 2.0 s of CPU"),
        (replace(told(rest_s=9.0), lived_s=10.7), "it spent 9.0 s beside fitting and predicting"),
        (replace(told(setup_s=90.0), lived_s=91.3), "it spent 90.0 s before it fitted"),
        (told(fit_s=float("nan")), "no number of seconds"),
        (told(fit_s=-1.0), "no number of seconds"),
    ],
)
def test_a_clock_that_does_not_count_what_was_seen_fails_the_row(ended: Ended, said: str) -> None:
    with pytest.raises(ValueError, match=said.replace(".", r"\.")):
        record.check_clocks(ended, threads=1)


@pytest.mark.skipif(bool(sandbox.missing()), reason=f"no level 1 here: {sandbox.missing()}")
def test_a_process_that_is_locked_up_keeps_to_its_folder(tmp_path: Path) -> None:
    own, other = tmp_path / "own", tmp_path / "other"
    own.mkdir()
    other.write_text("x")
    pid = os.fork()
    if not pid:
        try:
            sandbox.lock([(own, landlock.OWN)], own, "cpu")
            (own / "file").write_text("written")
            other.read_text()
        except PermissionError as error:
            os._exit(17 if error.filename == str(other) else 18)
        except BaseException:
            os._exit(19)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 17
    assert (own / "file").read_text() == "written"


@pytest.mark.skipif(bool(sandbox.missing()), reason=f"no level 1 here: {sandbox.missing()}")
def test_a_gpus_driver_may_name_its_threads(tmp_path: Path) -> None:
    """It opens their names to be cut off and written, and gives up where that is refused."""
    script = (
        "import os, sys, threading; from pathlib import Path; from tlbench.runner.sandbox import file_rules, landlock\n"
        "landlock.apply(file_rules.rules(Path(sys.argv[1]), [], 'chance', sys.argv[2]))\n"
        "name = f'/proc/self/task/{threading.get_native_id()}/comm'\n"
        "os.write(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666), b'cuda')\n"
    )

    def ends(device: str) -> int:
        return subprocess.run([sys.executable, "-c", script, tmp_path, device], capture_output=True).returncode

    assert ends("cuda:0") == 0
    assert ends("cpu") == 1


@pytest.mark.skipif(bool(sandbox.missing()), reason=f"no level 1 here: {sandbox.missing()}")
def test_a_gpu_that_the_jail_shuts_out_is_used_without_it_and_that_is_said() -> None:
    with Workers(jail=1) as workers:
        assert experiment.settled(Options(), "cpu", workers) == ""
        assert workers.jail == 1
        said = experiment.settled(Options(), "cuda:99", workers)
        assert "cuda:99 cannot be used at jail level 1" in said
        assert workers.jail == 0
