"""A solver that stopped at its limit says so, to who calls it and to the user of a run; one that converged does not.

Every other test holds that they are silent: a warning is an error there.
"""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning
from tlbench_baselines import iw_logistic, kliep, kmm, l21_multitask, l21_selection, linear_probe, mlls, rlls
from tlbench_baselines import weighted_sources as ws

from tlbench.runner import record
from tlbench.training import kernels, optimal_transport, shallow
from tlbench.training.convergence import NotConverged, heard, scikit_learns

RNG = np.random.default_rng(0)
COST = np.square(RNG.normal(size=(40, 1)) - RNG.normal(size=(1, 30)))
XS, XT, TOLD = RNG.normal(size=(60, 3)), RNG.normal(size=(50, 3)) + 0.3, RNG.dirichlet(np.ones(3), 80)
Y = np.arange(60) % 3
X, UNEVEN, ONE_HOT = (torch.from_numpy(x) for x in (XS, XS * [1, 10, 100], np.eye(3)[Y]))

CASES: dict[str, tuple[str, Callable[[], object], Callable[[pytest.MonkeyPatch], object]]] = {
    "network simplex": (
        "the network simplex", lambda: optimal_transport.exact(COST),
        lambda patch: (patch.setattr(optimal_transport, "PIVOTS", 2), optimal_transport.exact(COST)),
    ),
    "Sinkhorn": (
        "Sinkhorn's",
        lambda: optimal_transport.entropic(COST, 0.5),
        lambda patch: optimal_transport.entropic(COST, 1e-5),
    ),
    "quadratic program": (
        "the quadratic program", lambda: kmm.KMM().weights(XS, XT, 0),
        lambda patch: (patch.setattr(kernels, "STEPS", 2), kmm.KMM().weights(XS, XT, 0)),
    ),
    "KLIEP": (
        "KLIEP's", lambda: kliep.KLIEP().weights(XS, XT, 0),
        lambda patch: (patch.setattr(kliep, "STEPS", 2), kliep.KLIEP().weights(XS, XT, 0)),
    ),
    "EM of proportions": (
        "the classes' proportions", lambda: mlls.proportions(TOLD, np.full(3, 1 / 3), 1e-6),
        lambda patch: mlls.proportions(TOLD, np.array([0.6, 0.3, 0.1]), 1e-9, rounds=2),
    ),
    "calibration": (
        "the calibration", lambda: mlls.calibration(np.log(TOLD), TOLD.argmax(1), True),
        lambda patch: (patch.setattr(mlls, "STEPS", 1), mlls.calibration(np.log(TOLD), TOLD.argmax(1), True)),
    ),
    "RLLS": (
        "RLLS's", lambda: rlls.deviation(np.eye(3) / 3, np.array([0.1, 0.0, -0.1]), 0.01),
        lambda patch: (patch.setattr(rlls, "STEPS", 1), rlls.deviation(TOLD[:3], TOLD[3], 0.5)),
    ),
    "EM of sources": (
        "the sources' mixture", lambda: ws.mixture(torch.from_numpy(TOLD)),
        lambda patch: ws.mixture(torch.from_numpy(TOLD), 1),
    ),
    "FISTA": (
        "the group lasso", lambda: l21_multitask.solved([X], [ONE_HOT], 0.1, 500),
        lambda patch: l21_multitask.solved([UNEVEN], [ONE_HOT], 1e-3, 2),
    ),
    "coordinate descent": (
        "the group lasso", lambda: l21_selection.coefficients(XS, ONE_HOT.numpy(), 0.1),
        lambda patch: (_one_round(patch, l21_selection, "MultiTaskLasso"),
                       l21_selection.coefficients(UNEVEN.numpy(), ONE_HOT.numpy(), 1e-6)),
    ),
    "domains": (
        "the domains", lambda: iw_logistic.log_odds(XS, XT, 1.0, 1),
        lambda patch: (_one_round(patch, iw_logistic, "LogisticRegression"), iw_logistic.log_odds(XS, XT, 1.0, 1)),
    ),
    "probe": (
        "logistic regression", lambda: linear_probe.fitted(XS, Y, 7, 0),
        lambda patch: (_one_round(patch, linear_probe, "LogisticRegression"), linear_probe.fitted(XS, Y, 7, 0)),
    ),
    "sources told apart": (
        "the sources", lambda: ws.told_apart([X, X + 1], 50, 1.0, 0),
        lambda patch: (_one_round(patch, ws, "LogisticRegression"), ws.told_apart([X, X + 1], 50, 1.0, 0)),
    ),
    "classifier": (
        "the classifier", lambda: shallow.linear(XS, Y, 3, "logistic", 0),
        lambda patch: (_one_round(patch, shallow, "LogisticRegression"), shallow.linear(XS, Y, 3, "logistic", 0)),
    ),
}  # fmt: skip


def _one_round(patch: pytest.MonkeyPatch, module: object, name: str) -> None:
    made = getattr(module, name)
    patch.setattr(module, name, lambda *parts, **named: made(*parts, **{**named, "max_iter": 1}))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.filterwarnings("ignore:numItermax")  # POT's own
def test_a_solver_says_so_at_its_limit_and_only_there(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    words, within, beyond = CASES[case]
    within()
    with heard() as said:
        beyond(monkeypatch)
    assert len(said) == 1
    assert words in said[0]


def test_what_is_heard_is_each_text_once_and_other_warnings_go_where_they_did() -> None:
    with pytest.warns(UserWarning, match="other") as shown, heard() as said:
        _warn(NotConverged("a"), NotConverged("b"), UserWarning("other"), NotConverged("a"))
    assert (said, len(shown)) == (["a", "b"], 1)
    with pytest.raises(UserWarning, match="other"), heard():
        _warn(UserWarning("other"))  # an error under these tests' filter, at once


def test_scikit_learns_warning_becomes_ours() -> None:
    with pytest.warns(NotConverged, match="^it did not converge") as shown, scikit_learns("it"):
        _warn(ConvergenceWarning("1"), ConvergenceWarning("2"))
    assert len(shown) == 1


def _warn(*said: Warning) -> None:
    for warning in said:
        warnings.warn(warning, stacklevel=2)


def test_a_report_that_a_method_wrote_is_read_with_care() -> None:
    assert record.unsettled({"unsettled": ["a", 3, ["b"], "c"]}) == "a; c"
    assert record.unsettled({"unsettled": {"a": 1}}) is None
    assert record.unsettled({}) is None
    assert record.printable(record.unsettled({"unsettled": ["\x1b[2J" + "a" * 900]})) == "?[2J" + "a" * 496


def test_a_run_says_which_method_did_not_converge_on_which_task_and_says_it_again(tmp_path: Path) -> None:
    words = ("-t", "wdbc_shift", "-m", "l21_multitask", "--set", "iterations=2", "--budgets", "1", "--seeds", "0")
    for _ in range(2):  # the second finds its rows in the store
        done = subprocess.run(
            [sys.executable, "-m", "tlbench.cli", "run", *words, "--results", str(tmp_path / "results")],
            capture_output=True, text=True, env=dict(os.environ), timeout=280, check=True,
        )  # fmt: skip
        told = [line for line in done.stderr.splitlines() if "stopped at its limit" in line]
        assert len(told) == 1, done.stderr
        assert told[0].startswith("note: l21_multitask on wdbc_shift/")
        assert told[0].endswith("(1 of 1 cells)")
