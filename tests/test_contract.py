"""The contract: a method that breaks one check is caught by that check, and by no other."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tlbench.errors import UsageError
from tlbench.methods import method as methods
from tlbench.runner import descriptions, plan
from tlbench.runner.worker.local import Workers
from tlbench.verification.checks import CHECKS
from tlbench.verification.contract import FAIL, INFO, PASS, PRELOADED, SKIP, Examination, embedded, on_tasks

GOOD = '''
import os, random, time
from dataclasses import dataclass, field
import numpy as np
import torch
from tlbench import NotApplicable

@dataclass(frozen=True)
class Means:
    """Classify by the nearest class mean."""
    noise: float = 1e-3
    def fit(self, train, seed):
        parts = [p for p in (*(train.sources if train.same_task else ()), train.shots) if len(p)]
        x, y = torch.cat([p.x.flatten(1).float() for p in parts]), torch.cat([p.y for p in parts])
        x = x + self.noise * torch.randn(x.shape, generator=torch.Generator().manual_seed(seed), dtype=x.dtype)
        member = torch.nn.functional.one_hot(y, train.n_classes).float()
        means = member.T @ x / member.sum(0).clamp(min=1)[:, None]
        return lambda t: -torch.cdist(t.flatten(1).float(), means).square() / 1000

@dataclass(frozen=True)
class Broken(Means):
    """Means, but for what follows."""
'''

BREAKERS = {  # check -> what the class does instead, and what is to be said of it
    "frozen": ("object.__setattr__(self, 'seen', len(train.shots))\nreturn super().fit(train, seed)", "'seen': 20"),
    "shape": (
        "p = super().fit(train, seed)\nreturn lambda x: p(x)[:, :-1]",
        "classification of numbers: scores of shape (13, 3), not (13, 4)",
    ),
    "same_seed": ("return super().fit(train, int.from_bytes(os.urandom(4), 'big'))", "two processes with seed 7"),
    "one_by_one": (
        "p = super().fit(train, seed)\nreturn lambda x: p(x) - p(x).mean(0)",
        "scores differ by up to",
    ),
    "data": (
        "p = super().fit(train, seed)\ntrain.target.x.zero_()\nreturn p",
        "classification of numbers: the unlabelled inputs changed",
    ),
    "surroundings": (
        "torch.manual_seed(seed)\nnp.random.seed(seed)\nrandom.seed(seed)\ntorch.set_default_dtype(torch.float64)\n"
        "torch.set_grad_enabled(False)\ntorch.use_deterministic_algorithms(True)\n"
        "return super().fit(train, seed)",
        "torch's random state and numpy's random state and Python's random state and the default dtype and whether "
        "gradients are taken and the deterministic flags changed",
    ),
    "zero_labels": ("train.shots.y[0]\nreturn super().fit(train, seed)", "IndexError"),
    "one_label": (
        "assert len(train.shots) != 4, 'too few'\nreturn super().fit(train, seed)",
        "AssertionError: too few (broken.py:",
    ),
    "three_sources": ("assert len(train.sources) < 3\nreturn super().fit(train, seed)", "AssertionError"),
    "no_source": ("train.sources[0]\nreturn super().fit(train, seed)", "IndexError: tuple index out of range"),
    "other_task": ("assert train.same_task\nreturn super().fit(train, seed)", "AssertionError"),
    "missing_class": (
        "assert not len(train.shots) or len(set(train.shots.y.tolist())) == 4\nreturn super().fit(train, seed)",
        "AssertionError",
    ),
    "time": ("time.sleep(0.4)\nreturn super().fit(train, seed)", "s; it names 0.2 s"),
    "memory": (
        "np.ones((100, 1 << 17))\nreturn super().fit(train, seed)",
        "; it names 40 MiB",
    ),
}
CHEAP = {"chance", "prototype", "coral", "dann"}
LIMITS = {"time": "seconds = 0.2\n", "memory": "memory_mib = 40\n"}


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    shipped = [f"tlbench_baselines.{name}" for name in methods.shipped()]  # what each child would import again
    with Workers(modules=[*PRELOADED, *shipped]) as running:
        yield running


def written(folder: Path, fit: str = "", variables: str = "", good: str = GOOD) -> str:
    """A method's name: the good one, or one whose `fit` and class variables are these."""
    body = "".join(f"    {line}\n" for line in variables.splitlines())
    lines = "".join(f"        {line}\n" for line in fit.splitlines())
    file = folder / "broken.py"
    file.write_text(good + body + (f"    def fit(self, train, seed):\n{lines}" if fit else ""))
    return f"{file}:Broken"


def outcomes(spec: str, workers: Workers) -> dict[str, str]:
    examined = Examination(spec, {}, workers)
    return {name: examined.checked(name).outcome for name in CHECKS}


def test_a_good_method_keeps_every_promise(tmp_path: Path, workers: Workers) -> None:
    told = {"other_seed", "time", "memory"}
    assert outcomes(written(tmp_path), workers) == {name: INFO if name in told else PASS for name in CHECKS}


def breaker(check: str, folder: Path) -> str:
    """The name of a method that breaks this check."""
    return written(folder, BREAKERS[check][0].replace("super()", "super(Broken, self)"), LIMITS.get(check, ""))


@pytest.mark.parametrize("check", BREAKERS)
def test_a_method_that_breaks_one_promise_is_caught_by_that_one(check: str, tmp_path: Path, workers: Workers) -> None:
    spec = breaker(check, tmp_path)
    found = Examination(spec, {}, workers).checked(check)
    assert found.outcome == FAIL, found
    assert BREAKERS[check][1] in found.happened
    assert found.again == f"tlbench check {spec} --only {check}"


@pytest.mark.slow
@pytest.mark.parametrize("check", BREAKERS)
def test_a_method_that_breaks_one_promise_is_caught_by_no_other(check: str, tmp_path: Path, workers: Workers) -> None:
    found = outcomes(breaker(check, tmp_path), workers)
    assert [name for name, outcome in found.items() if outcome == FAIL] == [check]


def test_a_changed_number_of_threads_is_caught(tmp_path: Path, workers: Workers) -> None:
    fit = "p = super(Broken, self).fit(train, seed)\nreturn lambda x: (p(x), torch.set_num_threads(2))[0]"
    found = Examination(written(tmp_path, fit), {}, workers).checked("surroundings")
    assert found.happened.startswith("classification of numbers: the number of threads changed")


def test_fields_that_json_changes_are_caught(tmp_path: Path, workers: Workers) -> None:
    spec = written(tmp_path, variables="widths: tuple[int, ...] = (3, 4)")
    assert [name for name, outcome in outcomes(spec, workers).items() if outcome == FAIL] == ["fields"]
    found = Examination(spec, {}, workers).checked("fields")
    assert "'widths': (3, 4)} are {'noise': 0.001, 'widths': [3, 4]} once they have been JSON" in found.happened


def test_one_that_is_not_frozen_is_said_to_be_and_judged_no_further(tmp_path: Path, workers: Workers) -> None:
    spec = written(tmp_path, good=GOOD.replace("frozen=True", ""))
    assert set(outcomes(spec, workers).values()) == {FAIL, INFO}
    found = Examination(spec, {}, workers).checked("frozen")
    assert (found.outcome, "is not frozen" in found.happened) == (FAIL, True)


def test_finite_scores_are_promised(tmp_path: Path, workers: Workers) -> None:
    spec = written(tmp_path, "p = super(Broken, self).fit(train, seed)\nreturn lambda x: p(x).sqrt()")
    found = Examination(spec, {}, workers).checked("shape")
    assert found.happened == "classification of numbers: 52 of 52 scores are not finite"


def test_a_refusal_is_honest_where_the_claims_allow_it(tmp_path: Path, workers: Workers) -> None:
    fit = "if not len(train.shots):\n    raise NotApplicable('nothing to go by')\n"
    fit += "return super(Broken, self).fit(train, seed)"
    found = Examination(written(tmp_path, fit), {}, workers).checked("zero_labels")
    assert (found.outcome, found.happened) == (SKIP, "nothing to go by")
    claims = Examination(written(tmp_path, "", "needs = frozenset({'shots', 'sources'})"), {}, workers)
    assert claims.checked("zero_labels").happened == "it needs labelled target samples, and says so"
    assert claims.checked("no_source").outcome == SKIP
    assert claims.checked("one_label").outcome == PASS


def test_a_method_that_refuses_all_it_says_it_fits_breaks_its_word(tmp_path: Path, workers: Workers) -> None:
    found = Examination(written(tmp_path, "raise NotApplicable('not today')"), {}, workers).checked("shape")
    assert (found.outcome, found.happened) == (FAIL, "it refuses an ordinary task of its regimes: not today")


def test_a_method_that_hangs_is_stopped_at_the_time_it_names(tmp_path: Path, workers: Workers) -> None:
    found = Examination(written(tmp_path, "time.sleep(60)", "seconds = 0.5"), {}, workers).checked("time")
    assert (found.outcome, found.happened) == (FAIL, "took longer than the limit of 5.5 s; it names 0.5 s")


def test_a_limit_that_is_none_is_a_mistake(tmp_path: Path, workers: Workers) -> None:
    found = Examination(written(tmp_path, "", "seconds = -1"), {}, workers).checked("frozen")
    assert "seconds is -1; it is what a cell takes at most, a number above 0" in found.happened


def test_real_tasks_are_judged_by_the_claims(tmp_path: Path, workers: Workers) -> None:
    suites = {task.card.name for task, _ in embedded()}
    assert {"digits", "digits_multi", "digits_parity", "letters_to_digits", "wdbc_shift", "fonts_fewshot"} <= suites
    cells = [(task, k) for task, k in embedded() if task.card.name in ("wdbc_shift", "fonts_fewshot")]
    found = list(on_tasks(Examination(written(tmp_path), {}, workers), cells, 1))
    assert {f.outcome for f in found if f.check.startswith("wdbc")} == {PASS}
    assert {f.outcome for f in found if f.check.startswith("fonts")} == {SKIP}
    fit = "assert train.n_classes > 2\nreturn super(Broken, self).fit(train, seed)"
    found = list(on_tasks(Examination(written(tmp_path, fit), {}, workers), cells[-1:], 1))
    assert found[0].outcome == FAIL
    assert found[0].happened.startswith("AssertionError")
    assert found[0].again.startswith("tlbench run --task wdbc_shift/wdbc_biased-wdbc --method")


def test_unknown_checks_are_usage_errors(workers: Workers) -> None:
    with pytest.raises(UsageError, match="--only shap: unknown; did you mean 'shape'"):
        Examination("chance", {}, workers).checked("shap")


def test_the_command_exits_with_one_for_a_broken_promise_and_two_for_a_mistake(tmp_path: Path) -> None:
    def check(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "tlbench.cli", "check", *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)

    spec = written(tmp_path, "return lambda x: x")
    done = check(spec, "--only", "shape", "--only", "fields")
    assert done.returncode == 1, done.stderr
    assert "FAIL     gives every input one finite score a class: classification of numbers: scores of" in done.stdout
    assert f"again: tlbench check {spec} --only shape" in done.stdout
    assert "1 of 2 checks failed" in done.stdout
    done = check(spec, "--only", "fields", "--json")
    assert (done.returncode, json.loads(done.stdout)[0]["outcome"]) == (0, PASS)
    done = check("dannn", "--quick")
    assert (done.returncode, done.stdout) == (2, "")
    assert "did you mean 'dann'?" in done.stderr


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n in CHEAP else pytest.mark.slow) for n in sorted(methods.shipped())]
)
def test_every_method_that_ships_passes_all_checks(name: str, workers: Workers) -> None:
    described = descriptions.described(name, {}, workers)
    if lacking := plan.lacks(described):
        pytest.skip(lacking)
    small = {"steps": "3", "batch": "16", "penalties": "2"}
    held = Examination(name, {k: v for k, v in small.items() if k in described.config}, workers)
    found = [held.checked(check) for check in CHECKS]
    assert [f for f in found if f.outcome == FAIL] == []
