"""Mixed precision: its own cells, declared in the row, and training that goes on learning."""

from __future__ import annotations

from pathlib import Path

import pytest

import tlbench
from tlbench.runner.experiment import Options


@pytest.mark.slow
def test_mixed_precision_makes_rows_of_its_own_that_learned_as_well(tmp_path: Path) -> None:
    def run(amp: bool) -> list[dict[str, object]]:
        options = Options(results=tmp_path, device="cpu", jobs=2, amp=amp)
        frame = tlbench.run("digits/fonts-photos", "finetune", [5], [0], settings={"steps": 100}, options=options)
        return [dict(row) for row in frame.to_dict("records")]

    full, mixed = run(False), run(True)
    assert not {r["key"] for r in full} & {r["key"] for r in mixed}
    assert {r["arithmetic"] for r in full} == {"fp32"}
    assert {r["arithmetic"] for r in mixed} == {"bf16"}
    assert not any(r["default"] or r["trial"] == 0 for r in mixed)  # no board takes one for a published default
    for a, b in zip(full, mixed, strict=True):
        assert a["method"] == b["method"]
        assert float(str(a["value"])) > 0.25  # of ten classes
        assert abs(float(str(a["value"])) - float(str(b["value"]))) < 0.1
        assert a["correct"] != b["correct"] or a["method"] == "source_only"  # it was another arithmetic
