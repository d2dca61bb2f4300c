"""A method may fail in any way it likes: its cell is a row that says how, and it never sees what is withheld."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from tlbench.data import Domain
from tlbench.methods.method import Description
from tlbench.results.store import Store
from tlbench.runner import experiment, record, task_data
from tlbench.runner.cell import Cell, Conditions
from tlbench.runner.cell_job import Bench
from tlbench.runner.experiment import Options
from tlbench.runner.plan import Request
from tlbench.runner.sandbox.sandbox import Limits
from tlbench.runner.sweep import Sweep
from tlbench.runner.worker.local import Ended, Workers
from tlbench.tasks import card, registry
from tlbench.tasks.split import Split

PAIR = "digits/handwritten-fonts"
WORST = '''
"""Everything that can go wrong in a method."""

from __future__ import annotations

import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import tlbench
from tlbench.errors import UsageError


def right(train: tlbench.Train):
    return lambda x: torch.zeros(len(x), train.n_classes)


@dataclass(frozen=True)
class Good:
    def fit(self, train: tlbench.Train, seed: int):
        return right(train)


@dataclass(frozen=True)
class Raises:
    def fit(self, train, seed):
        raise ValueError("two lines\\nof it")


@dataclass(frozen=True)
class RaisesOddly:
    def fit(self, train, seed):
        raise OSError("half a \\udcff")


@dataclass(frozen=True)
class RaisesLate:
    def fit(self, train, seed):
        def scores(x):
            raise KeyError("late")

        return scores


@dataclass(frozen=True)
class RaisesMistake:
    def fit(self, train, seed):
        raise UsageError("not the user's")


@dataclass(frozen=True)
class Refuses:
    def fit(self, train, seed):
        raise tlbench.NotApplicable("only for\\nsmall tasks")


@dataclass(frozen=True)
class ReturnsNothing:
    def fit(self, train, seed):
        pass


@dataclass(frozen=True)
class Nan:
    def fit(self, train, seed):
        def scores(x):
            s = torch.zeros(len(x), train.n_classes)
            s[0, 0] = torch.nan
            return s

        return scores


@dataclass(frozen=True)
class Flat:
    def fit(self, train, seed):
        return lambda x: torch.zeros(len(x))


@dataclass(frozen=True)
class FewClasses:
    def fit(self, train, seed):
        return lambda x: torch.zeros(len(x), train.n_classes - 1)


@dataclass(frozen=True)
class FewRows:
    def fit(self, train, seed):
        return lambda x: torch.zeros(len(x) - 1, train.n_classes)


@dataclass(frozen=True)
class Int64:
    def fit(self, train, seed):
        return lambda x: right(train)(x).long()


@dataclass(frozen=True)
class Float16:
    def fit(self, train, seed):
        return lambda x: right(train)(x).half()


@dataclass(frozen=True)
class Numpy:
    def fit(self, train, seed):
        return lambda x: right(train)(x).numpy()


@dataclass(frozen=True)
class Hangs:
    def fit(self, train, seed):
        while True:
            pass


@dataclass(frozen=True)
class Sleeps:
    def fit(self, train, seed):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(1000)


@dataclass(frozen=True)
class Eats:
    def fit(self, train, seed):
        eaten = []
        while True:
            eaten.append(torch.ones(10 << 18))  # 10 MiB


@dataclass(frozen=True)
class EatsPlainly:
    def fit(self, train, seed):
        eaten = [b"x" * (1 << 20)]
        while True:
            eaten.append(b"x" * (1 << 20))


@dataclass(frozen=True)
class Leaves:
    def fit(self, train, seed):
        os._exit(0)


@dataclass(frozen=True)
class Forges:
    """Leave a report of one's own behind."""

    report: str = '{"status": "ok"}'

    def fit(self, train, seed):
        np.save("scores.npy", np.zeros((840, train.n_classes)))
        Path("report.json").write_text(self.report)
        os._exit(0)


@dataclass(frozen=True)
class ForgesMore(Forges):
    report: str = (
        '{"status": "ok", "fit_s": NaN, "predict_s": 1, "loop_s": 0, "peak_rss_mib": 1, "train_samples": 0,'
        ' "train_steps": 0, "peak_gpu_mib": null}'
    )


@dataclass(frozen=True)
class ForgesNonsense(Forges):
    report: str = '{"status": "splendid", "reason": ["?"]}'


@dataclass(frozen=True)
class Kills:
    def fit(self, train, seed):
        os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class Exits:
    def fit(self, train, seed):
        sys.exit("that was enough")


@dataclass(frozen=True)
class Prints:
    def fit(self, train, seed):
        for stream in (sys.stdout, sys.stderr, sys.__stdout__):
            print("LOUD " * 200_000, file=stream)
        os.write(1, b"LOUD" * 1000)
        os.write(2, b"LOUD" * 1000)
        return right(train)


@dataclass(frozen=True)
class Forks:
    """Leave a sleeping child behind, and predict."""

    note: str = "NOTE"

    def fit(self, train, seed):
        child = os.fork()
        if not child:
            time.sleep(1000)
        Path(self.note, "forked").write_text(str(child))
        return right(train)


@dataclass(frozen=True)
class ForksAndHangs(Forks):
    """The child is not to outlive a cell that is killed either."""

    def fit(self, train, seed):
        child = os.fork()
        if child:
            Path(self.note, "forked and killed").write_text(str(child))
        time.sleep(1000)


@dataclass(frozen=True)
class KillsTheServer:
    def fit(self, train, seed):
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(1000)
'''
REASONS = {  # class: what its row's reason must say
    "KillsTheServer": r"took the worker server down with it, twice",
    "Raises": r"ValueError: two lines of it \(worst\.py:\d+\)",
    "RaisesOddly": r"OSError: half a \? \(worst\.py:\d+\)",
    "RaisesLate": r"KeyError: 'late' \(worst\.py:\d+\)",
    "RaisesMistake": r"not the user's",
    "ReturnsNothing": r"TypeError: 'NoneType' object is not callable .*",
    "Nan": r"scores of 4 of 840 test samples are not finite \(NaN or infinity\)",  # one a batch
    "Flat": r"ValueError: the predictor returned shape \(256,\) for 256 inputs .*",
    "FewClasses": r"scores have shape \(840, 9\); 840 test samples by 10 classes are owed",
    "FewRows": r"ValueError: the predictor returned shape \(255, 10\) for 256 inputs .*",
    "Int64": r"scores are int64; float32 or float64 is owed",
    "Float16": r"scores are float16; float32 or float64 is owed",
    "Numpy": r"TypeError: the predictor returned ndarray, not a tensor of class scores .*",
    "Hangs": r"took longer than the limit of 2 s",
    "Sleeps": r"took longer than the limit of 2 s",
    "ForksAndHangs": r"took longer than the limit of 2 s",
    "Eats": r"ran out of .*memory.*300 MiB.*allocate.*",
    "EatsPlainly": r"ran out of .*memory.*300 MiB.*",
    "Leaves": r"ended with code 0 and without a report",
    "Forges": r"the report is not one of a worker's \(KeyError: '\w+'\)",
    "ForgesMore": r"the report is not one of a worker's.*",
    "ForgesNonsense": r".+",
    "Kills": r"was killed by SIGKILL",
    "Exits": r"ended with code 1 and without a report: SystemExit: that was enough",
}
OK = ("Good", "Prints", "Forks")


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """This process's, with a cache that all tests share and nothing of the user's."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TLBENCH_")}
    home = tmp_path_factory.getbasetemp()
    return {**kept, "TLBENCH_CACHE": str(home / "cache"), "XDG_DATA_HOME": str(home / "home")}


@dataclass(frozen=True)
class Done:
    """A run of the command line: its rows by (method, target) and what it printed."""

    rows: dict[tuple[str, str], dict[str, Any]]
    out: str
    err: str

    def row(self, method: str) -> dict[str, Any]:
        (found,) = [row for (name, _), row in self.rows.items() if name.rpartition(":")[2] == method]
        return found


@dataclass(frozen=True)
class Running:
    """A run of the command line on its way."""

    process: subprocess.Popen[bytes]
    folder: Path

    @classmethod
    def start(cls, environment: dict[str, str], folder: Path, *words: object) -> Running:
        command = [sys.executable, "-m", "tlbench.cli", "run", "--json", "--results", str(folder / "results")]
        command += ["--sandbox", "0"]  # they write down what they saw; tests/test_hostile.py locks such methods up
        with (folder / "out").open("w") as out, (folder / "err").open("w") as err:
            return cls(subprocess.Popen([*command, *map(str, words)], env=environment, stdout=out, stderr=err), folder)

    def end(self) -> Done:
        code, err = self.process.wait(200), (self.folder / "err").read_text()
        assert code == 0, err[-3000:]
        lines = (self.folder / "results" / "rows.jsonl").read_text().splitlines()
        rows = {(row["method"], row["task"]): row for row in map(json.loads, lines)}
        assert len(rows) == len(lines), "a cell is stored twice"
        return Done(rows, (self.folder / "out").read_text(), err)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def plugins(folder: Path, *names: str) -> list[str]:
    """The `-m` words of the worst methods, written to a file in `folder`."""
    file = folder / "worst.py"
    file.write_text(WORST.replace('"NOTE"', repr(str(folder))))
    return [word for name in names for word in ("-m", f"{file}:{name}")]


@pytest.fixture(scope="module")
def worst(
    environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory, walking: Walking
) -> Iterator[tuple[Done, Path]]:
    """One run of all of them, while the other run of this file goes on, and the folder with their notes."""
    folder = tmp_path_factory.mktemp("worst")
    words = ["-t", PAIR, *plugins(folder, *REASONS, "Refuses", *OK), "-m", "source_only", "--set", "steps=2"]
    limits = ["--budgets", 1, "--seeds", 0, "--time-limit", 2, "--memory-limit", 300]
    running = Running.start(environment, folder, *words, *limits)
    try:
        yield running.end(), folder
    finally:
        running.kill()


@pytest.mark.parametrize("name", REASONS)
def test_a_method_that_fails_is_a_row_that_says_in_one_line_how(worst: tuple[Done, Path], name: str) -> None:
    row = worst[0].row(name)
    assert row["status"] == "failed"
    assert re.fullmatch(REASONS[name], row["reason"]), row["reason"]
    assert len(row["reason"]) <= 600
    assert [row[c] for c in ("value", "correct", "fit_s", "predict_s", "peak_rss_mib")] == [None] * 5


def test_a_method_that_refuses_is_a_row_with_its_words(worst: tuple[Done, Path]) -> None:
    row = worst[0].row("Refuses")
    assert (row["status"], row["reason"], row["value"]) == ("refused", "only for small tasks", None)


@pytest.mark.parametrize("name", [*OK, "source_only", "target_only"])
def test_the_other_cells_of_the_same_run_are_ok(worst: tuple[Done, Path], name: str) -> None:
    row = worst[0].row(name)
    assert (row["status"], row["reason"]) == ("ok", None)
    assert 0 <= row["value"] <= 1
    assert row["fit_s"] > 0
    assert row["n_test"] == 840


def test_every_cell_has_a_row_that_the_store_can_read(worst: tuple[Done, Path]) -> None:
    done, folder = worst
    kept = Store(folder / "results")
    assert kept.warnings() == []
    assert len(kept.rows) == len(done.rows) == len(REASONS) + 1 + len(OK) + 2
    assert json.loads(done.out)["computed"] == len(kept.rows)


def test_two_classes_of_one_file_are_two_methods(worst: tuple[Done, Path]) -> None:
    keys = {row["key"] for row in worst[0].rows.values()}
    digests = {worst[0].row(name)["method_digest"] for name in ("Good", "Nan", "Flat")}
    assert len(keys) == len(worst[0].rows)
    assert len(digests) == 3


def test_what_a_method_prints_reaches_nobody(worst: tuple[Done, Path]) -> None:
    assert "LOUD" not in worst[0].out + worst[0].err


@pytest.mark.parametrize("note", ["forked", "forked and killed"])
def test_no_process_of_a_cell_outlives_it(worst: tuple[Done, Path], note: str) -> None:
    assert not alive(int((worst[1] / note).read_text()))


def alive(pid: int) -> bool:
    """Whether there is such a process, and it is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture
def here(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """This process in that environment."""
    for name in ("TLBENCH_CACHE", "XDG_DATA_HOME"):
        monkeypatch.setenv(name, environment[name])
    for name in ("TLBENCH_DATA", "TLBENCH_WEIGHTS", "TLBENCH_RESULTS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    with Workers() as shared:
        yield shared


@pytest.mark.usefixtures("here")
def test_a_server_found_dead_costs_no_cell(workers: Workers, tmp_path: Path) -> None:
    request = Request((PAIR,), ("source_only",), (0,), (0, 1), {"steps": "2"})
    plan, bench = experiment.prepared(request, Options(tmp_path, device="cpu"), workers)
    workers.warm()
    assert workers._server is not None
    workers._server.kill()
    workers._server.wait()
    sweep = Sweep([c for c in plan.cells if c.method.name == "source_only"], bench, Store(tmp_path), workers, jobs=2)
    sweep.run()
    assert [r.status for r in sweep.computed] == ["ok", "ok"]


@pytest.mark.usefixtures("here")
def test_a_cell_that_ends_while_images_are_decoded_is_not_lost(
    workers: Workers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = tmp_path / "mobilenetv2_100.safetensors"
    weights.write_bytes(b"never opened")
    monkeypatch.setenv("TLBENCH_WEIGHTS", str(tmp_path))
    s = images(tmp_path)
    bench, c = s.bench(), s.task.card
    folder = workers.folder()
    cell = workers.submit({"kind": "device"}, folder, Limits())
    end = time.monotonic() + 60
    while not (folder / "report.json").exists():
        assert time.monotonic() < end
        time.sleep(0.01)
    domain = bench.domain(c, s.task.target, 0)
    x = task_data.arrays(domain, bench.transform(c), workers, "cpu", lambda what, done, of: None)
    assert len(x) == len(domain) == 80
    ended = workers.poll(0)
    assert ended is not None
    assert (ended.id, ended.report["status"]) == (cell, "ok")


@pytest.mark.usefixtures("here")
def test_a_server_that_never_comes_up_is_said_and_not_tried_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "broken" / "torch"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise SystemExit('no torch today')")
    request = Request((PAIR,), ("source_only",), (0,), (0,), {"steps": "2"})
    with Workers() as workers:
        plan, bench = experiment.prepared(request, Options(tmp_path, device="cpu"), workers)
        workers._stop()
        monkeypatch.setenv("PYTHONPATH", str(broken.parent))
        with pytest.raises(experiment.plans.UsageError, match="the worker server does not stay up"):
            Sweep(plan.cells, bench, Store(tmp_path), workers).run()
    assert Store(tmp_path).rows == {}


# --- What a worker can see. Secrets are canaries: strings that nothing holds by chance.

HOSTILE = '''
"""Look everywhere in one's own process for what it should not hold."""

from __future__ import annotations

import gc
import json
import mmap
import os
import re
import shutil
import sys
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch

CANARY = re.compile(rb"canary([a-z])[7]([0-9a-f]{16})")  # does not match itself
MASK = 0x5A  # what is looked for is held masked: a search that finds itself finds nothing
CHUNK, OVERLAP = 1 << 22, 1 << 12
LEAVES = {str, bytes, bytearray, np.ndarray, np.memmap, torch.Tensor, torch.nn.Parameter}


def masked(data):
    return bytes(np.frombuffer(data, np.uint8) ^ MASK)


def canaries(data):
    if isinstance(data, str):
        data = data.encode(errors="replace")
    return {m[0].decode() for m in CANARY.finditer(data)}


def regions():
    """Readable memory that is not the code of a library: anonymous, heap, stack, and mapped arrays."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        place, rights, _, _, _, *name = line.split(maxsplit=5)
        if rights[0] == "r" and (not name or name[0] in ("[heap]", "[stack]") or name[0].endswith(".npy")):
            yield (int(x, 16) for x in place.split("-"))


def memory(patterns):
    """Names of the patterns, and canaries, in this process's memory; its own two buffers are left out."""
    plain, turned = bytearray(CHUNK), bytearray(CHUNK)
    views = [np.frombuffer(b, np.uint8) for b in (plain, turned)]
    own = [(v.ctypes.data, v.ctypes.data + CHUNK) for v in views]
    found, scanned = set(), 0
    with open("/proc/self/mem", "rb", buffering=0) as mem:
        for low, high in regions():
            at = low
            while at < high:
                inside = [b for a, b in own if a - OVERLAP < at < b]
                if inside:
                    at = max(inside)
                    continue
                ends = [a for a, _ in own if a > at]
                size = min([CHUNK, high - at, *(a - at for a in ends)])
                mem.seek(at)
                try:
                    n = mem.readinto(memoryview(plain)[:size])
                except OSError:
                    break
                scanned += n
                if views[0][:n].any():
                    if plain.find(b"canary", 0, n) >= 0:
                        found |= {m[0].decode() for m in CANARY.finditer(memoryview(plain)[:n])}
                    np.bitwise_xor(views[0], MASK, out=views[1])
                    found |= {name for name, p in patterns.items() if turned.find(p, 0, n) >= 0}
                at += n if at + n >= high or n < CHUNK else n - OVERLAP
    assert scanned > 50 << 20, scanned
    return found


def leaves(thing, deep=4):
    """The strings, bytes and arrays that a container holds, or that containers unknown to gc in it hold."""
    for inner in gc.get_referents(thing):
        if type(inner) in LEAVES:
            yield inner
        elif deep and isinstance(inner, tuple | dict) and not gc.is_tracked(inner):
            yield from leaves(inner, deep - 1)


def seen(thing, sums):
    """Canaries in a string, or the name of a pattern that an array is."""
    if isinstance(thing, str | bytes | bytearray):
        text = thing.encode(errors="replace") if isinstance(thing, str) else thing
        return canaries(text) if b"canary" in text else set()
    try:
        array = thing.detach().cpu().numpy() if isinstance(thing, torch.Tensor) else thing
        if array.ndim != 1 or array.dtype.kind not in "iuf" or not 0 < len(array) < 10_000:
            return set()
        return {sums[s]} if (s := sha256(array.astype(np.int64).tobytes()).hexdigest()) in sums else set()
    except Exception:  # a tensor of a kind that has no numbers
        return set()


def objects(sums):
    return {x for thing in gc.get_objects() for leaf in leaves(thing) for x in seen(leaf, sums)}


def frames(sums):
    found = set()
    for frame in sys._current_frames().values():
        while frame:
            for value in (*frame.f_locals.values(), *frame.f_globals.values()):
                found |= seen(value, sums)
                found |= {x for leaf in leaves(value) for x in seen(leaf, sums)}
            frame = frame.f_back
    return found


def modules(sums):
    return {x for m in list(sys.modules.values()) for leaf in leaves(vars(m)) for x in seen(leaf, sums)}


def files():
    links = [Path("/proc/self/fd", fd) for fd in os.listdir("/proc/self/fd")]
    opened = [os.readlink(link) for link in links if link.is_symlink()]
    return canaries(" ".join(opened)) | {name for name in opened if not name.startswith("/")}  # or a line to another


def walk(wanted):
    patterns = {name: bytes.fromhex(p["masked"]) for name, p in wanted.items()}
    sums = {p["sha256"]: name for name, p in wanted.items()}
    planted = "".join(["canary", "p", "7", *"%016x" % 0x5EED])  # the walk must find what there is
    os.environ["PLANTED"] = globals()["PLANTED"] = planted
    Path(planted).write_bytes(bytes(4096))
    opened = open(planted)
    mapping = mmap.mmap(opened.fileno(), 4096, prot=mmap.PROT_READ)
    places = {
        "memory": memory(patterns),
        "objects": objects(sums),
        "frames": frames(sums),
        "modules": modules(sums),
        "environment": canaries(json.dumps(dict(os.environ))) | canaries(Path("/proc/self/environ").read_bytes()),
        "files": files(),
        "command": canaries(Path("/proc/self/cmdline").read_bytes()),
        "maps": canaries(Path("/proc/self/maps").read_bytes()),
    }
    del os.environ["PLANTED"], globals()["PLANTED"], planted
    mapping.close()
    opened.close()
    return {place: sorted(found) for place, found in places.items()}


@dataclass(frozen=True)
class Hostile:
    """Walk while fitting and while predicting; write down what was found."""

    place: str = "PLACE"

    def fit(self, train, seed):
        kind = "images" if train.target.x.ndim == 4 else "table"
        wanted = json.loads(Path(self.place, "wanted.json").read_text())[kind]
        shutil.copytree(".", Path(self.place, kind))
        found = {"fit": walk(wanted)}

        def scores(x):
            if "predict" not in found:
                found["predict"] = walk(wanted)
                Path(self.place, f"{kind}.json").write_text(json.dumps(found))
            return torch.zeros(len(x), train.n_classes)

        return scores
'''
SECRET = iter(range(1, 1 << 40))


def canary(kind: str = "q") -> str:
    """A name of its own: kind 'q' no worker may hold, kind 't' is in the features of a table."""
    return f"canary{kind}7{sha256(b'%d' % next(SECRET)).hexdigest()[:16]}"


@dataclass(frozen=True)
class Suite:
    """A card whose every name is a canary, and where its data is."""

    file: Path
    root: Path

    @property
    def task(self) -> card.Task:
        return registry.find(str(self.file))[0]

    def bench(self, kind: type[Bench] = Bench) -> Bench:
        return kind(Conditions(data_root=self.root))


def suite(folder: Path, fill: Callable[[Path, str], None], **keys: Any) -> Suite:
    """A card and a dataset of two domains, each filled by `fill(place, domain)`."""
    name, data, root = canary(), canary(), folder / canary()
    domains = [canary(), canary()]
    for domain in domains:
        (root / data).mkdir(parents=True, exist_ok=True)
        fill(root / data, domain)
    described = {
        "name": data, "title": "t", "license": "l", "terms": "t", "cite": "c", "homepage": "h", "bytes": 1,
        "counts": dict.fromkeys(domains, 96), "parts": [{"mirrors": [{"kind": "archive", "url": "http://127.0.0.1:1/"}]}],
    }  # fmt: skip
    said = {
        "name": name, "version": 1, "paradigm": "different-domain-same-task", "summary": "s", "sources": domains[:1],
        "data": str(root / f"{data}.toml"), "target": domains[1], "license": "l", "cite": "c", "steps": 2, **keys,
    }  # fmt: skip
    for file, values in ((root / f"{data}.toml", described), (root / f"{name}.toml", said)):
        file.write_text("".join(f"{key} = {toml(value)}\n" for key, value in values.items()))
    return Suite(root / f"{name}.toml", root)


def toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{k} = {toml(v)}" for k, v in value.items()) + " }"
    return f"[{', '.join(map(toml, value))}]" if isinstance(value, list) else json.dumps(value)


def table(folder: Path) -> Suite:
    """Features that hold a canary a row, so that every single sample can be told in memory."""
    classes, random_order = [canary() for _ in range(4)], random.Random(0)

    def fill(place: Path, domain: str) -> None:
        y = [c for c in range(4) for _ in range(48)]
        random_order.shuffle(y)
        savemat(place / f"{domain}.mat", {"fts": [list(canary("t").encode()) for _ in y], "labels": y})

    return suite(folder, fill, loader="mat", path="{domain}.mat", classes=classes, backbone="none", scale="none")


def images(folder: Path) -> Suite:
    """Image files, to be decoded; nobody opens the weights."""
    classes, noise = [canary() for _ in range(4)], np.random.default_rng(0)

    def fill(place: Path, domain: str) -> None:
        for c in classes:
            (place / domain / c).mkdir(parents=True)
            for _ in range(20):
                picture = noise.integers(0, 256, (8, 8, 3), np.uint8)
                Image.fromarray(picture).save(place / domain / c / f"{canary()}.png")

    return suite(folder, fill, loader="images", backbone="mobilenetv2_100", trainable=True)


def wanted(s: Suite) -> dict[str, dict[str, str]]:
    """Label vectors by name, each as the hostile method looks for it: those withheld, and two it is given."""
    bench, task = s.bench(), s.task
    cut, target = bench.split(task, 0), bench.domain(task.card, task.target, 0)
    y, test = target.y, cut.partition.test
    vectors = {
        "test": y[test], "test in domain order": y[np.sort(test)], "target": y, "unlabeled": y[cut.unlabeled],
        "pool": y[cut.partition.pool], "oracle": y[cut.partition.oracle_val], "given shots": y[cut.shots(2)],
    }  # fmt: skip
    vectors = {name: v for name, v in vectors.items() if len(v) >= 8}  # a shorter one may be anywhere by chance
    raw = {name: v.astype(np.int64).tobytes() for name, v in vectors.items()}
    masked = {name: (np.frombuffer(b, np.uint8) ^ 0x5A).tobytes().hex() for name, b in raw.items()}
    narrow = {"test as bytes": y[test].astype(np.uint8), "test as int32": y[test].astype(np.int32)}
    found = {n: {"masked": masked[n], "sha256": sha256(raw[n]).hexdigest()} for n in vectors}
    for name, v in narrow.items():
        turned = (np.frombuffer(v.tobytes(), np.uint8) ^ 0x5A).tobytes().hex()
        found[name] = {"masked": turned, "sha256": ""}
    return found


@dataclass(frozen=True)
class Walking:
    """The hostile method's run on its way: what it may not find, and where it writes what it found."""

    running: Running
    place: Path
    suites: dict[str, Suite]


@pytest.fixture(scope="module")
def walking(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Walking]:
    folder, place = tmp_path_factory.mktemp("secrets"), tmp_path_factory.mktemp("walk")
    weights = folder / "weights"
    weights.mkdir()
    (weights / "mobilenetv2_100.safetensors").write_bytes(b"never opened")
    suites = {"table": table(folder / "table"), "images": images(folder / "images")}
    method = place / "hostile.py"
    method.write_text(HOSTILE.replace("PLACE", str(place)))
    roots = os.pathsep.join(str(s.root) for s in suites.values())
    both = {**environment, "TLBENCH_DATA": roots, "TLBENCH_WEIGHTS": str(weights)}
    with pytest.MonkeyPatch.context() as patch:
        for name in ("TLBENCH_CACHE", "XDG_DATA_HOME", "TLBENCH_DATA", "TLBENCH_WEIGHTS"):
            patch.setenv(name, both[name])
        (place / "wanted.json").write_text(json.dumps({kind: wanted(s) for kind, s in suites.items()}))
        cards = [word for s in suites.values() for word in ("-t", s.file)]
        words = [*cards, "-m", f"{method}:Hostile", "--budgets", 2, "--seeds", 0, "--jobs", 2]
        running = Running.start(both, folder, *words)
        try:
            yield Walking(running, place, suites)
        finally:
            running.kill()


@dataclass(frozen=True)
class Walked(Walking):
    """What the hostile method found: {kind: {phase: {place: names}}}."""

    found: dict[str, dict[str, dict[str, list[str]]]]


@pytest.fixture(scope="module")
def walked(walking: Walking) -> Walked:
    if sys.platform != "linux":
        pytest.skip("a process reads its own memory through /proc")
    done, found = walking.running.end(), {}
    for kind, s in walking.suites.items():
        row = done.rows["hostile:Hostile", s.task.name]
        assert row["status"] == "ok", row["reason"]
        found[kind] = json.loads((walking.place / f"{kind}.json").read_text())
    return Walked(walking.running, walking.place, walking.suites, found)


KINDS = pytest.mark.parametrize("kind", ["table", "images"])
PHASES = pytest.mark.parametrize("phase", ["fit", "predict"])
WITHHELD = {"test", "test in domain order", "test as bytes", "test as int32", "target", "unlabeled", "pool", "oracle"}


@KINDS
@PHASES
def test_a_worker_cannot_read_test_labels(walked: Walked, kind: str, phase: str) -> None:
    places = walked.found[kind][phase]
    assert set(places) == {"memory", "objects", "frames", "modules", "environment", "files", "command", "maps"}
    assert {place: WITHHELD & set(found) for place, found in places.items() if WITHHELD & set(found)} == {}


@KINDS
@PHASES
def test_a_worker_holds_no_name_of_a_class_a_file_or_a_domain(walked: Walked, kind: str, phase: str) -> None:
    names = {place: [x for x in found if x.startswith("canaryq")] for place, found in walked.found[kind][phase].items()}
    assert {place: found for place, found in names.items() if found} == {}


@KINDS
@PHASES
def test_a_worker_holds_no_line_to_another_process(walked: Walked, kind: str, phase: str) -> None:
    assert [x for x in walked.found[kind][phase]["files"] if not x.startswith("canary")] == []


@KINDS
@PHASES
def test_the_walk_finds_what_there_is(walked: Walked, kind: str, phase: str) -> None:
    planted, shots = f"canaryp7{0x5EED:016x}", "given shots"
    there = {
        "memory": {planted, shots}, "objects": {planted, shots}, "frames": {planted}, "modules": {planted},
        "environment": {planted}, "files": {planted}, "maps": {planted},
    }  # fmt: skip
    places = walked.found[kind][phase]
    assert {place: names - set(places[place]) for place, names in there.items()} == {p: set() for p in there}


def rows_in_memory(walked: Walked, phase: str) -> set[str]:
    return {x for x in walked.found["table"][phase]["memory"] if x.startswith("canaryt")}


def features(s: Suite, which: Callable[[Split], np.ndarray[Any, Any]], domain: str | None = None) -> set[str]:
    """The canaries that are the features of a table's rows."""
    bench, task = s.bench(), s.task
    x = bench.domain(task.card, domain or task.target, 0).x
    assert x is not None
    return {bytes(row).decode() for row in x[which(bench.split(task, 0))]}


@pytest.mark.usefixtures("here")
def test_test_inputs_are_not_there_before_fit_has_returned(walked: Walked) -> None:
    s = walked.suites["table"]
    tested = features(s, lambda cut: cut.partition.test)
    given = features(s, lambda cut: np.concatenate([cut.unlabeled, cut.shots(2)]))
    sources = features(s, lambda cut: np.arange(192), s.task.sources[0])
    assert len(tested) == 76
    assert not rows_in_memory(walked, "fit") & tested
    assert rows_in_memory(walked, "fit") >= given
    assert rows_in_memory(walked, "fit") & sources
    assert rows_in_memory(walked, "predict") >= tested


@pytest.mark.usefixtures("here")
@KINDS
def test_the_job_folder_holds_no_name_no_path_and_no_withheld_label(walked: Walked, kind: str) -> None:
    s, folder = walked.suites[kind], walked.place / kind
    assert {f.name for f in folder.iterdir()} <= {"job.json", "rows.npz", "log.txt"}
    every = b"".join(f.read_bytes() for f in sorted(folder.iterdir()))
    assert not re.search(rb"canary[qt]7", every)
    assert str(s.root).encode() not in every
    bench, task = s.bench(), s.task
    y, cut = bench.domain(task.card, task.target, 0).y, bench.split(task, 0)
    with np.load(folder / "rows.npz") as rows:
        assert set(rows) == {"unlabeled", "shots", "labels", "source0"}
        assert rows["labels"].tolist() == y[cut.shots(2)].tolist()
        held = [rows[name] for name in rows]
    for withheld in (y[cut.partition.test], y[cut.unlabeled], y[cut.partition.pool]):
        assert not any(np.array_equal(array, withheld) for array in held)
        assert withheld.tobytes() not in every
        assert json.dumps(withheld.tolist()).encode() not in every


class Forged(Bench):
    """A scorer that holds other labels for the test samples; splits and all else are as they were."""

    def split(self, task: card.Task, seed: int) -> Split:
        plain = Bench(self.conditions).split(task, seed)
        return replace(plain, domain=self.domain(task.card, task.target, seed))

    def domain(self, c: card.Card, name: str, seed: int) -> Domain:
        plain, task = super().domain(c, name, seed), card.tasks_of(c)[0]
        if name != task.target:
            return plain
        y, test = plain.y.copy(), Bench(self.conditions).split(task, 0).partition.test
        y[test] = (y[test] + 1) % len(plain.classes)
        return replace(plain, y=y)


@pytest.mark.usefixtures("here")
def test_what_a_worker_is_given_does_not_depend_on_the_test_labels(walked: Walked, tmp_path: Path) -> None:
    s = walked.suites["table"]
    method = Description("m", "m", "other", "", "", (), (), ("classification",), (), "", (), {}, {}, "d")
    cell, given, values = Cell(s.task, method, 2, 0), [], []
    with Workers() as workers:
        for kind in (Bench, Forged):
            bench, folder = s.bench(kind), workers.folder()
            job = bench.job(cell, workers, folder)
            paths = [job["pool"], job["test"], *(p for source in job["sources"] for p in source.values())]
            arrays = [Path(p).read_bytes() for p in paths]
            nameless = {k: v for k, v in job.items() if k not in ("pool", "test", "sources")}
            given.append((json.dumps(nameless), arrays, (folder / "rows.npz").read_bytes()))
            values.append(scored(bench, cell, tmp_path))
        assert workers._server is None
    assert given[0] == given[1]
    assert values == [1.0, 0.0]  # the scorers do hold different labels


def scored(bench: Bench, cell: Cell, folder: Path) -> float | None:
    """What a bench gives to the true labels."""
    target, test = bench.domain(cell.task.card, cell.task.target, 0), bench.split(cell.task, cell.seed).partition.test
    truth = Bench(bench.conditions).domain(cell.task.card, cell.task.target, 0).y[test]
    np.save(folder / "scores.npy", np.eye(len(target.classes))[truth])
    numbers = ("fit_s", "predict_s", "loop_s", "peak_rss_mib", "train_samples", "train_steps")
    report = {"status": "ok", **dict.fromkeys(numbers, 1), "peak_gpu_mib": None}
    keys = ("tlbench", "torch", "python", "machine", "time")
    provenance = {**dict.fromkeys(keys, ""), "commit": None, "dirty": None}
    return record.row(bench, cell, Ended(1, folder, report), provenance, 1, 3.0).value
