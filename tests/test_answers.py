"""Versions guarded by answers: what voids a method's rows, and what does not."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from shutil import copytree, ignore_patterns

import pytest
from test_machines import MACHINES

from tlbench.methods import versions
from tlbench.methods.digest import code_digest
from tlbench.methods.method import shipped
from tlbench.methods.versions import NETWORKS, TOOLKIT
from tlbench.verification import answers

ROOT = Path(__file__).parent.parent
FEW = ("dann", "mcc", "kmm", TOOLKIT)  # that train
NOISE = answers.TOLERANCE / 10


class Copy:
    """A copy of the packages, to be changed and asked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name, source in (("tlbench", "tlbench"), ("tlbench_baselines", "baselines"), ("tlbench_tasks", "tasks")):
            copytree(ROOT / source, folder / name, ignore=ignore_patterns("__pycache__"))

    def change(self, file: str, old: str, new: str) -> None:
        place = self.folder / file
        text = place.read_text()
        assert old in text, f"{file} has no {old!r}"
        place.write_text(text.replace(old, new))

    def run(self, *words: str, **changed: str) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, "PYTHONPATH": str(self.folder), "TLBENCH_CACHE": str(self.folder / "cache"), **changed}
        return subprocess.run(
            [sys.executable, "-m", "tlbench.cli", *words], cwd=self.folder, env=env, capture_output=True, text=True,
            timeout=900, check=False,
        )  # fmt: skip

    def moved(self, *methods: str) -> set[str]:
        """The methods that `answers --check` names."""
        done = self.run("answers", "--check", *methods)
        found = {line.partition(": ")[0] for line in done.stdout.splitlines() if line.endswith("needs a new version")}
        assert done.returncode == (1 if found else 0), done.stdout + done.stderr
        return found


def renamed(copy: Copy) -> None:
    """A module of the numerics under another name."""
    (copy.folder / "tlbench/training/losses.py").rename(copy.folder / "tlbench/training/penalties.py")
    for file in copy.folder.rglob("*.py"):
        text = file.read_text()
        file.write_text(re.sub(r"\btlbench\.training\.losses\b", "tlbench.training.penalties", text))


def reformatted(copy: Copy) -> None:
    """A method in another layout, with other comments and names."""
    file = copy.folder / "tlbench_baselines/dann.py"
    text = file.read_text().replace("domain_logits", "logits")
    file.write_text(text.replace("    def loss", "    # Of one step.\n\n    def loss"))


def faster(copy: Copy) -> None:
    """A loop that does the same with less: the learning rate's factor is computed once a step."""
    copy.change(
        "tlbench/training/trainer.py",
        "        for group in optimizer.param_groups:\n"
        '            group["lr"] = group["rate"] * recipe.lr / (1 + recipe.decay * progress) ** 0.75\n',
        "        now = recipe.lr / (1 + recipe.decay * progress) ** 0.75\n"
        "        for group in optimizer.param_groups:\n"
        '            group["lr"] = group["rate"] * now\n',
    )


@pytest.mark.slow
def test_what_changes_no_number_voids_nothing(tmp_path: Path) -> None:
    copy = Copy(tmp_path)
    for change in (renamed, reformatted, faster):
        change(copy)
    assert copy.moved(*FEW) == set()


@pytest.mark.slow
def test_what_changes_a_number_voids_the_methods_concerned(tmp_path: Path) -> None:
    copy = Copy(tmp_path)
    copy.change("tlbench_baselines/dann.py", "weight: float = 1.0", "weight: float = 0.9")
    copy.change("tlbench_baselines/mcc.py", "self.weight *", "0.9 * self.weight *")
    copy.change(
        "tlbench/training/networks.py", "x.flatten(1).float().log1p()", "x.flatten(1).float().sqrt()"
    )  # of texts
    assert copy.moved(*FEW, NETWORKS) == {"dann", "mcc", NETWORKS}
    refused = copy.run("answers", NETWORKS, "dann", "--update", "a trial")
    assert (refused.returncode, "which all methods are given" in refused.stderr) == (2, True)
    copy.change("tlbench/training/trainer.py", "momentum=0.9", "momentum=0.8")
    assert copy.moved(*FEW) == set(FEW)


MUTATIONS: dict[str, tuple[str, str, str]] = {
    "momentum 0.9 -> 0.8": ("tlbench/training/trainer.py", "momentum=0.9", "momentum=0.8"),
    "weight decay, a tenth less": ("tlbench/training/trainer.py", "=recipe.weight_decay", "=0.9 * recipe.weight_decay"),
    "learning rate, 1 % less": ("tlbench/training/trainer.py", "* recipe.lr /", "* 0.99 * recipe.lr /"),
    "schedule's power 0.75 -> 0.7": ("tlbench/training/trainer.py", "progress) ** 0.75", "progress) ** 0.7"),
    "Adam of the meta-learners, beta 0.9 -> 0.8": (
        "tlbench/training/meta.py", "if p.requires_grad], self.lr)", "if p.requires_grad], self.lr, (0.8, 0.999))",
    ),
    "a default of dann": ("tlbench_baselines/dann.py", "weight: float = 1.0", "weight: float = 0.9"),
    "the sign of dann's reversal": ("tlbench_baselines/dann.py", "reverse_gradient(", "(lambda x, w: x)("),
    "a term of mcc's loss": ("tlbench_baselines/mcc.py", "self.weight *", "0.9 * self.weight *"),
    "kmm's bound on weights": ("tlbench_baselines/kmm.py", "bound: float = 1000.0", "bound: float = 999.0"),
    "fixmatch without its pseudo-labels": (
        "tlbench_baselines/fixmatch.py", "p >= self.threshold", "p >= 2 + self.threshold",
    ),
    "mcc without its weights of certainty": (
        "tlbench_baselines/mcc.py", "w = 1 + torch.exp(-entropies(", "w = 1 + 0 * torch.exp(-entropies(",
    ),
    "a distance of losses": ("tlbench/training/losses.py", "2 * st", "1 * st"),
    "frozen batch norms that learn": ("tlbench/training/networks.py", "or _is_frozen(module)", "or False"),
    "the detector's focal loss": (
        "tlbench/training/detector.py", "return focal + overlap", "return 0.9 * focal + overlap",
    ),
}  # fmt: skip


@pytest.mark.extended
@pytest.mark.timeout(3600)
def test_every_mutation_is_seen_in_the_methods_that_rest_on_it(tmp_path: Path) -> None:
    """All methods that ship, and who is concerned by what a change touches."""
    table = {}
    for i, (name, (file, old, new)) in enumerate(MUTATIONS.items()):
        copy = Copy(tmp_path / str(i))
        copy.change(file, old, new)
        table[name] = copy.moved()
        print(f"\n{name}: {len(table[name])}: {', '.join(sorted(table[name]))}")
    assert table["momentum 0.9 -> 0.8"] == table["learning rate, 1 % less"] >= set(FEW)
    assert table["weight decay, a tenth less"] == table["momentum 0.9 -> 0.8"]
    assert table["a default of dann"] == table["the sign of dann's reversal"] == {"dann"}
    assert table["a term of mcc's loss"] == {"mcc"}
    assert table["kmm's bound on weights"] == {"kmm"}
    assert table["Adam of the meta-learners, beta 0.9 -> 0.8"] == {
        "anil",
        "maml",
        "fomaml",
        "protonet",
        "r2d2",
        TOOLKIT,
    }
    assert {"finetune", "source_plus_target", TOOLKIT} <= table["the detector's focal loss"]
    assert "dann" not in table["the detector's focal loss"]


@pytest.mark.slow
def test_an_update_raises_the_version_of_what_moved_and_of_nothing_else(tmp_path: Path) -> None:
    copy = Copy(tmp_path)
    before = json.loads((tmp_path / "tlbench_baselines/answers.json").read_text())["methods"]
    copy.change("tlbench_baselines/mcc.py", "self.weight *", "0.9 * self.weight *")
    assert copy.run("answers", "mcc", "dann", "--update", "a trial").returncode == 0
    after = json.loads((tmp_path / "tlbench_baselines/answers.json").read_text())["methods"]
    assert {name for name in after if after[name] != before[name]} == {"mcc"}
    assert (after["mcc"]["version"], after["mcc"]["why"][-1]) == (before["mcc"]["version"] + 1, [2, "a trial"])
    assert copy.moved("mcc", "dann") == set()
    told = [json.loads(copy.run("show", name, "--json").stdout) for name in ("mcc", "dann")]
    assert [t["version"] for t in told] == [after["mcc"]["version"], before["dann"]["version"]]


def test_with_other_libraries_answers_are_told_and_not_failed(tmp_path: Path) -> None:
    copy = Copy(tmp_path)
    copy.change("tlbench_baselines/answers.json", '"torch": "', '"torch": "0.')
    copy.change("tlbench_baselines/mcc.py", "self.weight *", "0.9 * self.weight *")
    done = copy.run("answers", "--check", "mcc")
    assert done.returncode == 0
    assert "mcc" in done.stdout
    assert "note: recorded with other libraries (torch 0." in done.stderr


def test_every_method_that_ships_has_answers_and_a_version() -> None:
    held = versions.recorded()["methods"]
    assert set(held) == {*shipped(), TOOLKIT, NETWORKS}
    assert all(entry["version"] == entry["why"][-1][0] >= 1 for entry in held.values())
    silent = {n for n, e in held.items() if all(isinstance(scores, str) for scores in e["probes"].values())}
    assert silent == {"maml_learn2learn", "protonet_learn2learn"}  # which need learn2learn


def test_a_strangers_code_is_told_by_content_and_not_by_address(tmp_path: Path) -> None:
    text = "from helper import f\n\n\nclass Mine:\n    pass\n"
    helpers = {
        "here": "def f():\n    return 1\n",
        "elsewhere": "def f():\n    return 1\n",
        "with comments": 'def f():\n    """Once."""\n    return 1  # for a reason\n',
        "changed": "def f():\n    return 2\n",
    }
    found = {}
    for name, helper in helpers.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "mine.py").write_text(text)
        (tmp_path / name / "helper.py").write_text(helper)
        found[name] = code_digest(tmp_path / name / "mine.py", "Mine")
    assert found["here"] == found["elsewhere"] == found["with comments"] != found["changed"]


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_all_answers_are_as_recorded_and_noise_is_a_tenth_of_the_tolerance(tmp_path: Path) -> None:
    """On a processor with the least instructions that the libraries can be held to."""
    plain = MACHINES["all of these, one thread"] | {"ONEDNN_MAX_CPU_ISA": "SSE41", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2"}
    script = (
        "import json, sys\nfrom tlbench.verification import answers\n"
        "print(json.dumps({n: answers.answered(n) for n in answers.names()}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, **plain}, capture_output=True, text=True, check=True
    )
    found, held = json.loads(done.stdout.splitlines()[-1]), versions.recorded()["methods"]
    apart = {
        (name, probe): answers.distance(scores, held[name]["probes"][probe])
        for name, own in found.items()
        for probe, scores in own["probes"].items()
    }
    worst = max(apart, key=lambda place: apart[place])
    print(f"\nnoise: {apart[worst]:.1e} of the largest score, {worst}")
    assert apart[worst] < NOISE, worst


def test_a_new_set_is_told_and_voids_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a method learns another problem type; a set that is gone does."""
    held = versions.recorded()["methods"]["mcc"]
    known = {"mcc": {"fields": held["fields"], "probes": held["probes"]}}
    more = {"mcc": {**known["mcc"], "probes": {**held["probes"], "a new set": [[1.0, -1.0]]}}}
    fewer = {"mcc": {**known["mcc"], "probes": dict(list(held["probes"].items())[1:])}}
    assert answers.unrecorded(known) == {}
    assert answers.unrecorded(more) == {"mcc": ["a new set"]}
    assert answers.compared(more) == []
    assert [m.why for m in answers.compared(fewer)] == ["it is not asked on every set that is recorded"]
    kept: dict[str, dict] = {}
    monkeypatch.setattr(answers, "write", lambda file, methods, gone: kept.update(methods))
    monkeypatch.setattr(answers, "libraries", lambda: versions.recorded()["libraries"])
    assert answers.update(more, "a reason") == []
    assert kept["mcc"] == {**held, "probes": more["mcc"]["probes"]}
