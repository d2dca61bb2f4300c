"""Frozen features are float32 whatever the processor has; bfloat16 is declared, and its rows are on no board."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

from tlbench.errors import UsageError
from tlbench.results import frame
from tlbench.results.row import Row, read_row
from tlbench.runner import experiment, plan, task_data
from tlbench.runner.cell import Cell, Conditions
from tlbench.runner.cell_job import Bench
from tlbench.runner.descriptions import described
from tlbench.runner.experiment import Options
from tlbench.runner.worker import child
from tlbench.runner.worker.local import Workers
from tlbench.tasks import loaders, registry
from tlbench.tasks.card import Task

PROCESSORS = {  # as /proc/cpuinfo tells of them
    "with bfloat16": "processor\t: 0\nflags\t\t: fpu sse2 avx2 avx512f avx512_bf16 amx_bf16\n",
    "without": "processor\t: 0\nflags\t\t: fpu sse2 avx2\n",
    "an Arm one with bfloat16": "processor\t: 0\nFeatures\t: fp asimd bf16\n",
}
RUN = ("run", "-t", "my.toml", "-m", "source_only", "--budgets", "0", "--seeds", "0", "--device", "cpu", "--jobs", "2")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A card of two domains of small images, and weights of the network that they go through."""
    folder = tmp_path_factory.mktemp("precision")
    random = np.random.default_rng(0)
    for domain in ("photos", "drawings"):
        for k, name in enumerate(("cat", "dog")):
            (folder / domain / name).mkdir(parents=True)
            for i in range(8):
                pixels = random.integers(0, 128, (40, 40, 3)) + 127 * k
                Image.fromarray(pixels.astype(np.uint8)).save(folder / domain / name / f"{i}.png")
    (folder / "my.toml").write_text('source = "photos/"\ntarget = "drawings/"\n')
    (folder / "weights").mkdir()
    torch.manual_seed(0)
    net = timm.create_model("mobilenetv2_100")
    save_file(net.state_dict(), folder / "weights" / "mobilenetv2_100.safetensors")
    return folder


@pytest.fixture(autouse=True)
def _these_weights(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TLBENCH_WEIGHTS", str(place / "weights"))
    monkeypatch.setenv("XDG_DATA_HOME", str(place / "home"))


def on_processor(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """From here on /proc/cpuinfo says so."""
    read = Path.read_text

    def faked(file: Path, *words: str | None, **named: str | None) -> str:
        return text if file == Path("/proc/cpuinfo") else read(file, *words, **named)

    monkeypatch.setattr(Path, "read_text", faked)


def task_of(place: Path) -> Task:
    (task,) = registry.find(str(place / "my.toml"))
    return task


def ran(place: Path, results: Path, *, bf16: bool) -> list[Row]:
    options = Options(results=results, device="cpu", jobs=2, bf16_features=bf16)
    made = experiment.run(str(place / "my.toml"), "source_only", [0], [0], options=options)
    return [read_row({**r, "sources": list(r["sources"])}) for r in _plain(made.to_json(orient="records"))]


def _plain(text: str) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(text)
    return found


def tlbench(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tlbench.cli", *words],
        capture_output=True, text=True, cwd=cwd, env=dict(os.environ), timeout=240, check=False,
    )  # fmt: skip


def test_the_fake_processors_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in PROCESSORS.items():
        on_processor(monkeypatch, text)
        assert task_data.native_bf16() == (name != "without")


def keys(place: Path, conditions: Conditions) -> tuple[str | None, str, str]:
    """The precision, the inputs' key and the cell's key under some conditions."""
    bench, task = Bench(conditions), task_of(place)
    with Workers() as workers:
        cell = Cell(task, described("source_only", {}, workers), 0, 0)
    transform = bench.transform(task.card)
    assert transform is not None
    raw = task_data.raw_key(loaders.load(task.card, task.target, None, 0), transform)
    return transform.precision, raw, bench.key(cell)


def test_a_key_is_the_same_on_every_processor_and_device(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, declared = set(), set()
    for text in PROCESSORS.values():
        on_processor(monkeypatch, text)
        for device in ("cpu", "cuda:0"):
            plain.add(keys(place, Conditions(device=device)))
            declared.add(keys(place, Conditions(device=device, features="bf16")))
    ((precision, raw, key),), ((other, other_raw, other_key),) = plain, declared
    assert (precision, other) == ("fp32", "bf16")
    assert raw != other_raw
    assert key != other_key


@pytest.fixture(scope="module")
def made(place: Path) -> dict[str, list[Row]]:
    """The rows of one command on two processors, each with a cache of its own, and of the declared option."""
    found = {}
    for name, processor in (("with bfloat16", "with bfloat16"), ("without", "without"), ("declared", "without")):
        with pytest.MonkeyPatch.context() as here:
            here.setenv("TLBENCH_WEIGHTS", str(place / "weights"))
            here.setenv("TLBENCH_CACHE", str(place / f"cache {processor}"))
            on_processor(here, PROCESSORS[processor])
            results = place / f"results {processor}"  # what is declared finds the other rows there, and takes none
            found[name] = ran(place, results, bf16=name == "declared")
    return found


@pytest.mark.slow
def test_the_same_command_makes_the_same_rows_on_every_processor(made: dict[str, list[Row]]) -> None:
    for name in ("with bfloat16", "without"):
        assert {(r.status, r.precision, r.default, r.trial) for r in made[name]} == {("ok", "fp32", True, 0)}
    told = [[(r.key, r.value, r.correct) for r in made[name]] for name in ("with bfloat16", "without")]
    assert told[0] == told[1] != []


@pytest.mark.slow
def test_declared_rows_have_keys_of_their_own_and_are_on_no_board(made: dict[str, list[Row]]) -> None:
    plain, declared = made["without"], made["declared"]
    assert {(r.status, r.precision, r.default, r.trial) for r in declared} == {("ok", "bf16", False, None)}
    assert not {r.key for r in plain} & {r.key for r in declared}
    assert len(plain) == len(declared)
    assert set(frame.standing(frame.of(plain))["key"]) == {r.key for r in plain}
    assert frame.standing(frame.of(declared)).empty
    assert set(frame.standing(frame.of([*plain, *declared]))["key"]) == {r.key for r in plain}
    assert frame.chosen(frame.of(declared)).empty


@pytest.mark.slow
def test_declared_features_are_bfloat16s_and_the_others_float32s(
    place: Path, made: dict[str, list[Row]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TLBENCH_CACHE", str(place / "cache without"))
    task, found = task_of(place), {}
    for precision in ("fp32", "bf16"):
        bench = Bench(Conditions(features=precision))
        domain = bench.domain(task.card, task.target, 0)
        with Workers() as workers:  # no server is started: the runs left them
            x = task_data.arrays(domain, bench.transform(task.card), workers, "cpu", lambda what, done, of: None)
            assert workers._server is None
        found[precision] = torch.from_numpy(np.array(x))
    assert torch.equal(found["bf16"].bfloat16().float(), found["bf16"])
    assert not torch.equal(found["fp32"].bfloat16().float(), found["fp32"])
    difference = found["fp32"] - found["bf16"]
    assert float(difference.abs().max()) < 0.05 * float(found["fp32"].abs().max())


@pytest.mark.slow
def test_a_plan_states_its_precision_and_a_worker_keeps_to_it(place: Path, tmp_path: Path) -> None:
    words = ("--plan-only", str(tmp_path / "plan.jsonl"), "--results", str(tmp_path / "results"))
    stated = {}
    for precision, more in (("fp32", ()), ("bf16", ("--bf16-features",))):
        done = tlbench(*RUN, *words, *more, cwd=place)
        assert done.returncode == 0, done.stderr
        lines = [json.loads(line) for line in (tmp_path / "plan.jsonl").read_text().splitlines()]
        assert {line["conditions"]["features"] for line in lines} == {precision}
        assert plan.read_plan(tmp_path / "plan.jsonl", 0)["conditions"].features == precision
        stated[precision] = lines
    assert not {x["key"] for x in stated["fp32"]} & {x["key"] for x in stated["bf16"]}
    done = tlbench("worker", "--plan", str(tmp_path / "plan.jsonl"), "--index", "0", *words[2:], cwd=place)
    assert done.returncode == 0, done.stderr
    (shard,) = (tmp_path / "results" / "shards").glob("*")
    row = json.loads(shard.read_text())
    assert (row["key"], row["precision"], row["default"]) == (stated["bf16"][0]["key"], "bf16", False)
    odd = {**stated["bf16"][0], "conditions": {**stated["bf16"][0]["conditions"], "features": "fp16"}}
    old = {**stated["bf16"][0], "conditions": {"data_root": None, "device": "cpu"}}  # of when the processor chose
    (tmp_path / "plan.jsonl").write_text(f"{json.dumps(odd)}\n{json.dumps(old)}\n")
    for i, said in enumerate(("not a line of a plan", "code here differ")):
        done = tlbench("worker", "--plan", str(tmp_path / "plan.jsonl"), "--index", str(i), *words[2:], cwd=place)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert said in done.stderr


def notes(place: Path, conditions: Conditions, tasks: Sequence[Task] = ()) -> list[str]:
    with Workers() as workers:
        return plan.check_bf16(Bench(conditions), tasks or [task_of(place)], workers)


@pytest.mark.slow
def test_a_processor_without_bfloat16_is_slow_and_says_so(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on_processor(monkeypatch, PROCESSORS["without"])
    assert notes(place, Conditions()) == []
    (said,) = notes(place, Conditions(features="bf16"))
    assert "no instructions for bfloat16" in said
    on_processor(monkeypatch, PROCESSORS["with bfloat16"])
    assert notes(place, Conditions(features="bf16")) == []


def test_where_no_image_goes_through_a_frozen_network_the_option_changes_nothing(place: Path) -> None:
    plain, both = registry.find("digits/fonts-photos"), (*registry.find("digits/fonts-photos"), task_of(place))
    for tasks in (plain, both):
        said = notes(place, Conditions(features="bf16"), tasks)
        assert said[0] == "--bf16-features changes nothing for digits: no image there goes through a frozen network"
    with Workers() as workers:
        cell = Cell(plain[0], described("source_only", {}, workers), 0, 0)
    assert Bench(Conditions()).key(cell) == Bench(Conditions(features="bf16")).key(cell)
    assert Bench(Conditions(features="bf16")).full_precision(plain[0].card)
    assert not Bench(Conditions(amp=True)).full_precision(plain[0].card)


def test_a_device_without_bfloat16_is_a_mistake_of_one_line(place: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("the GPU here has it")
    said = r"--bf16-features: cuda:0 cannot compute in bfloat16 \([^\n]*\); leave it out"
    with pytest.raises(UsageError) as error:
        notes(place, Conditions(device="cuda:0", features="bf16"))
    assert re.fullmatch(said, str(error.value))


@pytest.mark.parametrize("option", ["--amp", "--bf16-features"])
def test_no_choice_among_trials_is_made_in_another_arithmetic(place: Path, tmp_path: Path, option: str) -> None:
    done = tlbench(*RUN, option, "--rule", "im", "--results", str(tmp_path), cwd=place)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith(f"tlbench: --rule im: rows of {option} are on no board")
    assert not list(tmp_path.iterdir())


def test_there_is_no_third_precision() -> None:
    with pytest.raises(ValueError, match="'fp16'; there are fp32 and bf16"):
        Conditions(features="fp16")


def test_extraction_is_not_rounded_to_tf32(monkeypatch: pytest.MonkeyPatch) -> None:
    """The flags, which tell without a GPU too; a job's process ends with the job."""
    from tlbench.runner.worker import extraction

    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    seen = []

    def told(job: dict[str, object]) -> dict[str, object]:
        seen.append((torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32))
        return {}

    monkeypatch.setattr(extraction, "extract", told)
    try:
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
        child.extract({"threads": torch.get_num_threads(), "net": {"kind": "timm"}}, Path())
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before
    assert seen == [(False, False)]
