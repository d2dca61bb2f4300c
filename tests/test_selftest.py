"""The selftest passes on this harness, and does not pass on one that measures wrongly."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from tlbench.errors import UsageError
from tlbench.runner import record
from tlbench.runner.scoring import scored
from tlbench.verification.known_truth import selftest
from tlbench.verification.known_truth.demands import of_learners


def run(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tlbench.cli", "selftest", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_a_suite_holds_its_closed_forms_through_the_whole_harness() -> None:
    done = run("cal3", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert len(found) > 20
    assert all(f["holds"] for f in found)
    assert {f["suite"] for f in found} == {"cal3"}


@pytest.mark.slow
def test_a_harness_that_measures_a_point_too_much_does_not_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    def generous(*words: Any) -> dict[str, Any]:
        found = scored(*words)
        value = min(1.0, found["value"] + 0.015)
        return {**found, "value": value, "metrics": {**found["metrics"], "accuracy": value}}

    monkeypatch.setattr(record, "scored", generous)
    found = list(selftest.Selftest(("cal3",), 2).run())
    assert any(not f.holds for f in found)
    assert any(f.what.startswith("ceiling") and not f.holds for f in found)


def test_a_name_that_is_no_suite_is_one_line() -> None:
    with pytest.raises(
        UsageError, match="selftest cal11: nothing is demanded of a suite called that; did you mean 'cal1"
    ):
        selftest.chosen(["cal11"], of_learners())


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_calibration_suite_holds() -> None:
    done = run()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "demands hold" in done.stdout
