"""Cells may run anywhere: a plan is written, a scheduler runs its lines, and the shards are folded in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tlbench.cli.commands import run
from tlbench.errors import UsageError
from tlbench.results.store import Store

METHOD = '''
from __future__ import annotations

from dataclasses import dataclass

import torch

import tlbench


@dataclass(frozen=True)
class Constant:
    """Always one class."""

    answer: int = 0

    def fit(self, train: tlbench.Train, seed: int):
        one = torch.eye(train.n_classes)[self.answer]
        return lambda x: one.expand(len(x), -1).clone()


@dataclass(frozen=True)
class Broken:
    """Never an answer."""

    def fit(self, train: tlbench.Train, seed: int):
        raise ValueError("broken")
'''
ASKED = ["-t", "digits/handwritten-fonts", "--budgets", "1", "--seeds", "0", "--set", "answer=3"]
ASKED += ["-m", "constant.py:Constant", "-m", "constant.py:Broken"]


@dataclass(frozen=True)
class Cluster:
    """A head node's folder, another one for its workers, and the results both reach."""

    head: Path
    elsewhere: Path
    results: Path
    environment: dict[str, str]

    def start(self, folder: Path, *words: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tlbench.cli", *map(str, words), "--results", str(self.results)]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, cwd=folder, env=self.environment, stdout=pipe, stderr=pipe, text=True)

    def ends(self, *running: subprocess.Popen[str]) -> list[tuple[int, str, str]]:
        """Code, stdout and stderr of each."""
        return [(r.returncode, out, err) for r in running for out, err in [r.communicate(timeout=120)]]

    def call(self, folder: Path, *words: object) -> tuple[int, str, str]:
        return self.ends(self.start(folder, *words))[0]

    @property
    def shards(self) -> list[Path]:
        return sorted((self.results / "shards").glob("*"))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    home, mine = tmp_path_factory.getbasetemp(), tmp_path_factory.mktemp("cluster")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TLBENCH_")}
    kept |= {"TLBENCH_CACHE": str(home / "cache"), "XDG_DATA_HOME": str(home / "home")}
    for folder in ("head", "elsewhere"):
        (mine / folder).mkdir()
    (mine / "head" / "constant.py").write_text(METHOD)
    return Cluster(mine / "head", mine / "elsewhere", mine / "results", kept)


@pytest.fixture(scope="module")
def plan(cluster: Cluster) -> list[dict[str, Any]]:
    """The lines of plan.jsonl, made on the head node with names relative to it."""
    code, out, err = cluster.call(cluster.head, "run", *ASKED, "--plan-only", "plan.jsonl")
    assert (code, err) == (0, "")
    assert out == "plan.jsonl: 4 cells to run, 0 in the store already\n"
    return [json.loads(line) for line in (cluster.head / "plan.jsonl").read_text().splitlines()]


def test_cells_run_elsewhere_are_collected_and_never_run_again(cluster: Cluster, plan: list[dict[str, Any]]) -> None:
    assert not cluster.results.exists(), "a plan was only to be written"
    file = cluster.head / "plan.jsonl"
    names = [line["method"].rpartition(":")[2] for line in plan]
    chosen = [names.index("Constant"), names.index("Broken")]
    ends = cluster.ends(*(cluster.start(cluster.elsewhere, "worker", "--plan", file, "--index", i) for i in chosen))
    assert [(code, err) for code, _, err in ends] == [(0, ""), (1, "")]
    assert len(cluster.shards) == 2
    assert not (cluster.results / "rows.jsonl").exists()
    for i, (_, out, _), status in zip(chosen, ends, ("ok", "failed"), strict=True):
        shard = Path(out.rstrip().rpartition("; row in ")[2])
        assert shard in cluster.shards
        (row,) = Store(shard.parent, shard.name).rows.values()
        assert (row.key, row.status, row.config) == (plan[i]["key"], status, plan[i]["config"])
    assert ": failed, ValueError: broken (constant.py:" in ends[1][1]

    collected = [cluster.call(cluster.head, "collect") for _ in range(2)]
    file = cluster.results / "rows.jsonl"
    assert collected == [(0, f"{file}: 2 new rows\n", ""), (0, f"{file}: 0 new rows\n", "")]
    assert cluster.shards == []

    code, out, err = cluster.call(cluster.head, "run", *ASKED, "--json")
    assert code == 0, err
    said = json.loads(out)
    assert (said["computed"], len(said["rows"])) == (2, 4)
    assert {row["key"] for row in said["rows"]} == {line["key"] for line in plan}
    by_method = {row["method"]: (row["status"], row["config"]) for row in said["rows"]}
    assert by_method["constant:Constant"] == ("ok", {"answer": 3})
    assert by_method["constant:Broken"] == ("failed", {})
    assert by_method["target_only"][0] == by_method["source_only"][0] == "ok"


def damaged(plan: list[dict[str, Any]]) -> dict[str, tuple[str, str]]:
    """Lines of a plan that no worker can run, each with what is to be said of it."""
    good = next(line for line in plan if line["method"] == "source_only")
    none, differs = "not a line of a plan; write it anew with --plan-only", "data, weights or code here differ"
    lines = {
        "torn": (json.dumps(good)[:50], none),
        "a list": ("[]", none),
        "empty": ("", none),
        "without a method": (json.dumps({k: v for k, v in good.items() if k != "method"}), none),
        "with odd conditions": (json.dumps({**good, "conditions": {"data_root": None, "surprise": 1}}), none),
        "of another key": (json.dumps({**good, "key": "0" * 64}), differs),
        "of another seed": (json.dumps({**good, "seed": 1}), differs),
        "of another task": (json.dumps({**good, "task": "digits/nowhere"}), "unknown task"),
        "of another method": (json.dumps({**good, "method": "sauce_only"}), "did you mean 'source_only'?"),
    }
    return lines


def test_a_line_that_no_worker_can_run_is_a_mistake_that_names_it(
    cluster: Cluster, plan: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TLBENCH_CACHE", cluster.environment["TLBENCH_CACHE"])
    lines, file = damaged(plan), tmp_path / "plan.jsonl"
    file.write_text("".join(f"{line}\n" for line, _ in lines.values()))
    for i, (name, (_, said)) in enumerate(lines.items()):
        with pytest.raises(UsageError) as caught:
            run.worker(file, i, tmp_path / "results")
        assert said in str(caught.value), name
        assert "\n" not in str(caught.value), name
        if not said.startswith(("unknown", "did")):
            assert str(caught.value).startswith(f"{file}:{i + 1}: "), name
    for none, said in ((tmp_path / "none.jsonl", "cannot be read"), (tmp_path, "cannot be read")):
        with pytest.raises(UsageError, match=said):
            run.worker(none, 0, tmp_path / "results")
    assert not (tmp_path / "results").exists()


def test_a_plan_that_does_not_fit_is_one_line_and_exit_code_2(
    cluster: Cluster, plan: list[dict[str, Any]], tmp_path: Path
) -> None:
    wanted = {"torn": "not a line of a plan", "of another key": "data, weights or code here differ"}
    lines = {name: line for name, (line, _) in damaged(plan).items() if name in wanted}
    file = tmp_path / "plan.jsonl"
    file.write_text("".join(f"{line}\n" for line in lines.values()))
    asked = [*(wanted[name] for name in lines), "has cells 0 to 1; there is no cell 2"]
    runs = [cluster.start(tmp_path, "worker", "--plan", file, "--index", i) for i in range(3)]
    for (code, out, err), said in zip(cluster.ends(*runs), asked, strict=True):
        assert (code, out) == (2, ""), err
        assert err.startswith(f"tlbench: {tmp_path}")
        assert said in err
        assert err.count("\n") == 1
    assert {f.name for f in tmp_path.iterdir()} == {"plan.jsonl"}


def test_an_index_that_is_no_number_of_a_cell_is_exit_code_2(cluster: Cluster) -> None:
    runs = [cluster.start(cluster.head, "worker", "--plan", "plan.jsonl", "--index", i) for i in ("-1", "one")]
    for code, out, err in cluster.ends(*runs):
        assert (code, out) == (2, "")
        assert "--index" in err
        assert "Traceback" not in err
