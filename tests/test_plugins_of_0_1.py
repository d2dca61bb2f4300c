"""Methods written for 0.1 run unchanged, and their authors are told once which names are old."""

from __future__ import annotations

import inspect
import subprocess
import sys
from dataclasses import asdict, fields
from pathlib import Path

import pytest

from tlbench.methods.loader import load
from tlbench.methods.method import shipped
from tlbench.training.trainer import ERM, TrainedMethod

ADVERSARIAL = '''
from dataclasses import dataclass
from typing import ClassVar
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from tlbench import Train
from tlbench.descent import Batch, Descent, network, told
from tlbench.nets import body, mlp, reverse_gradient

@dataclass(frozen=True)
class Mine(Descent):
    """Fool a critic."""
    hidden: int = 8
    needs: ClassVar[frozenset[str]] = frozenset({"sources"})

    def networks(self, train):
        net = network(train)
        net["critic"] = mlp(body(net).width, self.hidden, 2)
        return net

    def loss(self, net, batch, progress):
        n, m = len(batch.x), len(batch.xs)
        f = net["features"](torch.cat([batch.x, batch.xt]))
        guess = net["critic"](reverse_gradient(torch.cat([f[:m], f[n:]]), progress))
        return told(net, f[:n], batch) + cross_entropy(guess, (torch.arange(len(guess)) >= m).long())
'''
MEANS = '''
from dataclasses import dataclass
import torch
from tlbench import NotApplicable
from tlbench.descent import ERM
from tlbench.embed import embedded

@dataclass(frozen=True)
class Mine(ERM):
    """Nearest class mean of the shots."""
    scale: float = 1.0

    def fit(self, train, seed):
        flat, embed = embedded(train, seed, self)
        if not len(flat.shots):
            raise NotApplicable("no shots")
        rows = [flat.shots.x[flat.shots.y == k] for k in range(train.n_classes)]
        means = torch.stack([r.mean(0) if len(r) else torch.full_like(flat.shots.x[0], 1e6) for r in rows])
        return lambda x: -torch.cdist(embed(x), means)
'''
TUNED = '''
from dataclasses import dataclass
from tlbench.tuning import Tuning, frozen

@dataclass(frozen=True)
class Mine(Tuning):
    """Train the head alone."""
    def begun(self, net, train, seed):
        frozen(net["features"])
        return net
'''
TLBENCH = [sys.executable, "-c", "from tlbench.cli import main; main()"]
PLUGINS = {"Descent": ADVERSARIAL, "ERM": MEANS, "Tuning": TUNED}


@pytest.mark.parametrize("name", ["Descent", *(pytest.param(n, marks=pytest.mark.slow) for n in ("ERM", "Tuning"))])
def test_a_method_of_0_1_runs_and_its_old_names_are_noted_once(name: str, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(PLUGINS[name])
    command = [*TLBENCH, "run", "--task", "wdbc_shift", "--method", "mine.py:Mine"]
    command += ["--budgets", "5", "--seeds", "0", "--set", "steps=3", "--results", str(tmp_path / "rows"), "--json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert "mine:Mine" in done.stdout
    notes = [line for line in done.stderr.splitlines() if "is now" in line]
    assert len(notes) == 1, done.stderr
    assert notes[0].startswith("note: method 'mine.py:Mine': tlbench.")


@pytest.mark.slow
def test_a_method_of_0_1_is_checked_and_noted_once(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(ADVERSARIAL)
    command = [*TLBENCH, "check", "mine.py:Mine", "--quick", "--promise", "same_seed"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.stderr.count("tlbench.descent is now tlbench.training.trainer") == 1, done.stdout + done.stderr


@pytest.mark.parametrize("name", shipped())
def test_no_shipped_method_inherits_from_a_concrete_class(name: str) -> None:
    bases = [base for base in load(name).__mro__[1:-1] if base.__module__.startswith("tlbench")]
    assert [base.__name__ for base in bases if not inspect.isabstract(base)] == []


@pytest.mark.parametrize("name", shipped())
def test_the_trainer_of_a_method_has_the_method_s_hyperparameters(name: str) -> None:
    cls = load(name)
    if issubclass(cls, TrainedMethod):
        method = cls(steps=7, batch=5, lr=0.5, weight_decay=0.25, body_lr=0.125)
        assert asdict(method.erm) == {f.name: getattr(method, f.name) for f in fields(ERM)}
