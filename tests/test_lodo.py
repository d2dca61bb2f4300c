"""Choosing on other groups of datasets: whose rows count, and how their gains are averaged."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from tlbench.methods.method import Description, Field
from tlbench.results.row import Row
from tlbench.runner.cell import Cell
from tlbench.runner.selection import leave_one_dataset_out
from tlbench.tasks import registry

LR = [0.01, 0.02, 0.04]


def own(task: str = "wdbc_shift", budget: int = 5) -> tuple[Cell, ...]:
    """Three trials of a method."""
    plain = Description(
        "m", "m", "o", "", "", (), (), ("classification",), (), "", (Field("lr", "float", LR[0]),), {}, {}, "d"
    )
    described = [replace(plain, config={"lr": lr}) for lr in LR]
    return tuple(Cell(registry.find(task)[0], d, budget, 0, i) for i, d in enumerate(described))


def row(suite: str, target: str, value: float | None, method: str = "m", trial: int = 0, **more: Any) -> Row:
    names = [name for name in Row.__dataclass_fields__ if name not in ("trial", "trials")]
    values: dict[str, Any] = dict.fromkeys(names)
    values |= {
        "suite": suite, "task": f"{suite}/s-{target}", "target": target, "value": value, "method": method, "seed": 0,
        "status": "ok" if value is not None else "failed", "budget": 5, "version": 1, "metric": "accuracy",
        "default": trial == 0, "rule": "trial" if trial else "default", "config": {"lr": LR[trial]}, "sources": ("s",),
        "method_digest": method, "protocol": 1, "split": target, "key": f"{suite}{target}{method}{trial}{more}",
    }  # fmt: skip
    return Row(**{**values, **more}, trial=trial)


def reference(suite: str, target: str, value: float, **more: Any) -> Row:
    return row(suite, target, value, "target_only", task=f"{suite}/{target}", sources=(), **more)


def trials(suite: str, target: str, values: list[float | None], **more: Any) -> list[Row]:
    return [row(suite, target, value, trial=i, **more) for i, value in enumerate(values)]


KNOWN = [
    reference("digits", "photos", 0.5),
    *trials("digits", "photos", [0.4, 0.6, 0.5]),  # gains -10, 10, 0
    reference("digits", "fonts", 0.5),
    *trials("digits", "fonts", [0.5, 0.6, 0.9]),  # 0, 10, 40
    reference("pacs", "sketch", 0.2),
    *trials("pacs", "sketch", [0.5, 0.4, 0.1]),  # 30, 20, -10
]


def test_a_trials_gain_is_its_mean_over_seeds_then_tasks_then_groups() -> None:
    found, keys = leave_one_dataset_out.gains(own(), trials("wdbc_shift", "wdbc", [0.1, 0.1, 0.1]), KNOWN)
    assert found == pytest.approx([(-5 + 30) / 2, (10 + 20) / 2, (20 - 10) / 2])
    assert keys == sorted(r.key for r in KNOWN)
    seeds = [reference("digits", "fonts", 0.5, seed=1), *trials("digits", "fonts", [0.7, 0.7, 0.7], seed=1)]
    found, _ = leave_one_dataset_out.gains(own(), trials("wdbc_shift", "wdbc", [0.1, 0.1, 0.1]), [*KNOWN, *seeds])
    assert found[2] == pytest.approx(((0 + (40 + 20) / 2) / 2 - 10) / 2)


def test_rows_of_the_same_samples_under_another_name_are_not_looked_at() -> None:
    mine = trials("digits", "photos", [0.1, 0.1, 0.1])
    found, keys = leave_one_dataset_out.gains(own("digits_multi"), mine, KNOWN)
    assert found == pytest.approx([30, 20, -10])
    assert keys == sorted(r.key for r in KNOWN if r.suite == "pacs")
    better = [replace(r, value=1.0) if r.suite == "digits" else r for r in KNOWN]
    assert leave_one_dataset_out.gains(own("letters_to_digits"), mine, better)[0] == found


def test_only_whole_searches_count_and_a_failed_trial_is_last() -> None:
    mine = trials("wdbc_shift", "wdbc", [0.1, 0.1, 0.1])
    part = [r for r in KNOWN if not (r.suite == "digits" and r.trial == 2)]
    assert leave_one_dataset_out.gains(own(), mine, part)[0] == pytest.approx([30, 20, -10])
    failed = [replace(r, status="failed", value=None) if r.key == KNOWN[-1].key else r for r in KNOWN]
    assert leave_one_dataset_out.gains(own(), mine, failed)[0][2] == -math.inf
    for more in ({"budget": 1}, {"method_digest": "older"}, {"metric": "neg_mse"}, {"rule": "cv"}, {"suite": "cal1"}):
        other = [replace(r, **more) if r.method == "m" else r for r in KNOWN]
        assert leave_one_dataset_out.gains(own(), mine, other) == ([], [])


def test_without_labels_the_gain_is_over_source_only_on_the_same_task() -> None:
    mine = trials("wdbc_shift", "wdbc", [0.1, 0.1, 0.1], budget=0)
    source = row("pacs", "sketch", 0.3, "source_only", budget=0)
    known = [replace(r, budget=0) for r in KNOWN] + [source]
    assert leave_one_dataset_out.gains(own(budget=0), mine, known)[0] == pytest.approx([20, 10, -20])


@pytest.mark.parametrize(
    ("suites", "group"),
    [
        (("digits", "digits_multi", "digits_parity", "letters_to_digits"), "digits"),
        (("office31", "office31_decaf", "office_caltech10", "office_caltech10_surf"), "office_caltech10"),
        (("mnist_usps_full", "mnist_usps_sampled", "mnist_class_split"), "mnist"),
        (("medical", "breast", "pneumonia", "nodule"), "medmnist"),
        (("pacs", "pacs_multi", "pacs_class_split"), "pacs"),
        (("cal1", "cal10"), None),
        (("own_card",), "own_card"),
    ],
)
def test_cards_on_the_same_samples_are_one_group(suites: tuple[str, ...], group: str | None) -> None:
    assert {leave_one_dataset_out.group_of(suite) for suite in suites} == {group}


def test_every_dataset_is_in_one_group() -> None:
    groups: dict[str, set[str]] = {}
    for file in registry.card_files().values():
        c = registry.read(file)
        for name in c.datasets:
            groups.setdefault(name, set()).add(c.group)
    assert {name: found for name, found in groups.items() if len(found) > 1} == {}
