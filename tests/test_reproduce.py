"""Published tables: their protocols, their verdicts, and the classic one run on the real data."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_split import domain, task
from test_store import row

from tlbench.errors import UsageError
from tlbench.methods import loader
from tlbench.methods import method as methods
from tlbench.methods.method import Description
from tlbench.results.row import Row, packed_bits
from tlbench.results.store import Store
from tlbench.runner.experiment import Options
from tlbench.runner.task_data import standardized
from tlbench.runner.worker.local import Workers
from tlbench.tasks import card, registry
from tlbench.tasks import card as cards
from tlbench.tasks.split import Split, split
from tlbench.verification import published, reproduce
from tlbench.verification.published import Entry, Table
from tlbench.verification.reproduce import Reproduction, described, document, folder

# the published protocols


def published_split(sizes: list[int], official: np.ndarray | None = None) -> Split:
    plain = task()
    asked = replace(plain, card=plain.card.model_copy(update={"protocol": "published"}))
    return split(asked, replace(domain(sizes), official_test=official), 0)


@given(st.lists(st.integers(1, 9), min_size=2, max_size=4))
@settings(max_examples=30, deadline=None)
def test_without_a_publishers_test_set_the_whole_target_is_given_and_tested(sizes: list[int]) -> None:
    cut = published_split(sizes)
    everything = set(range(sum(sizes)))
    assert set(cut.partition.test.tolist()) == set(cut.unlabeled.tolist()) == everything
    assert len(cut.partition.oracle_val) == 0


def test_the_publishers_test_set_is_tested_and_the_rest_given() -> None:
    official = np.arange(40) % 4 == 0
    cut = published_split([20, 20], official)
    assert set(cut.partition.test.tolist()) == set(np.flatnonzero(official).tolist())
    assert set(cut.unlabeled.tolist()) == set(np.flatnonzero(~official).tolist())


def test_a_published_split_is_told_from_the_harness_own() -> None:
    plain = split(task(), domain([20, 20]), 0)
    assert plain.manifest["algorithm"] != published_split([20, 20]).manifest["algorithm"]


def test_where_all_of_the_target_is_tested_nothing_of_it_is_labelled() -> None:
    assert len(published_split([20, 20]).shots(0)) == 0
    for budget in (1, "full"):
        with pytest.raises(UsageError, match="all of the target is tested"):
            published_split([20, 20]).shots(budget)  # type: ignore[arg-type]
    assert len(published_split([20, 20], np.arange(40) % 4 == 0).shots("full")) == 30


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"protocol": "published"}, "say ranked = false"),
        ({"scale": "domain"}, "sees the test inputs"),
        ({"scale": "domain", "protocol": "published", "ranked": False, "trainable": True}, "on fixed features"),
    ],
)
def test_a_card_of_the_harness_own_protocol_takes_no_published_ones_liberties(
    change: dict[str, Any], said: str
) -> None:
    values = {**task().card.model_dump(exclude_unset=True), **change}
    with pytest.raises(UsageError, match=said):
        card.validated(cards.Card, values, "", "card")


def test_counts_are_standardised_within_their_domain() -> None:
    counts = np.random.default_rng(0).poisson(3.0, (30, 5)).astype(float)
    counts[:, 4] = counts[:, :4].sum(1)  # half of every row: a feature that is constant once rows sum to one
    z = standardized(counts)
    assert z.dtype == np.float32
    np.testing.assert_allclose(z[:, :4].mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(z[:, :4].std(0, ddof=1), 1, rtol=1e-5)
    assert np.abs(z[:, 4]).max() < 1e-6


# the tables


@pytest.mark.parametrize("name", sorted(published.tables()))
def test_a_table_names_tasks_and_methods_that_are_there(name: str) -> None:
    table = published.read(name)
    assert table.name == name
    for entry in table.row:
        methods.check_name(entry.method)
        known = {f.name for f in fields(loader.load(entry.method))}
        assert set(entry.settings) <= known
        for column in table.columns:
            found, _ = table.task_of(entry, column)
            assert not found.card.ranked
            assert found.card.name not in registry.card_files()


def test_another_recipe_is_another_version_of_the_card() -> None:
    table = published.read("mnist_usps")
    entry = table.row[0]
    other = entry.model_copy(update={"card": {"steps": 7}})
    assert table.adapted(entry) == table.adapted(entry)
    assert table.adapted(other).steps == 7
    assert table.adapted(other).version != table.adapted(entry).version


def test_a_name_that_is_no_table_is_one_line() -> None:
    command = [sys.executable, "-m", "tlbench.cli", "reproduce", "surff"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("tlbench: reproduce surff: no table is called that; did you mean 'surf'")
    assert done.stderr.count("\n") == 1


def test_a_setting_that_no_method_has_is_one_line(tmp_path: Path) -> None:
    work = Reproduction([only("surf", "1-NN")], Options(results=tmp_path), {"stepps": "3"})
    with pytest.raises(
        UsageError, match="--set stepps=3: no method of these tables has such a field; did you mean 'steps'"
    ):
        work.run(lambda *_: None, lambda *_: None)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"row": ({"label": "a", "method": "dann"},) * 2}, "two rows have the same label"),
        ({"row": ({"label": "a", "method": "dann", "published": (1.0, 2.0)},)}, "2 numbers for 1 columns"),
        ({"row": ({"label": "a", "method": "dann", "against": "b"},)}, "'b', which is no other row"),
    ],
)
def test_a_table_that_contradicts_itself_is_refused(change: dict[str, Any], said: str) -> None:
    about = {"name": "t", "title": "", "task": "digits", "columns": ("fonts-photos",), "source": "", "protocol": ""}
    with pytest.raises(UsageError, match=said):
        card.validated(Table, {**about, **change}, "", "t.toml")


# verdicts


def table(*rows: Entry, seeds: int = 2) -> Table:
    columns = ("photos-fonts", "fonts-photos")
    return Table(
        name="toy", title="Toy", task="digits", columns=columns, seeds=seeds, source="s", protocol="p", row=rows
    )


@pytest.fixture(scope="module")
def known() -> Description:
    with Workers() as workers:
        return described(Entry(label="", method="source_only"), workers)


def rows_of(t: Table, entry: Entry, d: Description, accuracies: list[float], **changed: Any) -> list[Row]:
    """A row for each seed of each column, with so many of 100 test samples right."""
    out = []
    for column, accuracy in zip(t.columns, accuracies, strict=True):
        found, budget = t.task_of(entry, column)
        for seed in range(t.seeds):
            bits = np.arange(100) < round(accuracy)
            about = {
                "suite": found.card.name, "version": found.card.version, "task": found.name, "budget": budget,
                "seed": seed, "method": d.name, "config": d.config, "method_digest": d.digest,
                "method_version": d.version, "n_test": 100,
                "correct": packed_bits(bits), "value": float(bits.mean()),
            }  # fmt: skip
            out.append(row(f"{entry.label}{column}{seed}", **{**about, **changed}))
    return out


def rendered(t: Table, d: Description, rows: list[Row], tmp_path: Path) -> str:
    store = Store(tmp_path)
    for r in rows:
        store.rows.put(r)
    return reproduce.render([(t, {e.label: d for e in t.row})], store)


@pytest.mark.parametrize(
    ("entry", "verdict"),
    [
        ({"published": (60.0, 70.0), "within": 1.5}, "reproduced"),
        ({"published": (60.0, 70.0), "within": 0.5}, "missed"),
        ({"published": (60.0, 70.0), "within": 1.5, "within_cell": 1.0}, "missed"),
        ({"published": (60.0, 70.0), "within": 1.5, "within_cell": 2.0}, "reproduced"),
        ({"published": (60.0, math.nan), "within": 0.5}, "missed"),
        ({"published": (math.nan, 70.0), "within": 0.5}, "reproduced"),
        ({"mean": 66.0, "within": 0.1}, "reproduced"),
        ({"published": (60.0, 70.0)}, "for comparison"),
    ],
)
def test_a_verdict_is_by_the_stated_tolerance(
    entry: dict[str, Any], verdict: str, known: Description, tmp_path: Path
) -> None:
    asked = Entry(label="S", method="source_only", **entry)
    t = table(asked)
    text = rendered(t, known, rows_of(t, asked, known, [62.0, 70.0]), tmp_path)
    assert f"| {verdict} |" in text


def test_a_row_is_held_against_its_peers_interval(known: Description, tmp_path: Path) -> None:
    ours, peer = Entry(label="A", method="source_only", against="B"), Entry(label="B", method="source_only")
    t = table(ours, peer, seeds=5)
    other = replace(known, name="other")
    near = reproduce.render([(t, {"A": known, "B": other})], _store(tmp_path / "n", [
        *rows_of(t, ours, known, [62.0, 70.0]), *rows_of(t, peer, other, [66.0, 72.0])]))  # fmt: skip
    far = reproduce.render([(t, {"A": known, "B": other})], _store(tmp_path / "f", [
        *rows_of(t, ours, known, [32.0, 40.0]), *rows_of(t, peer, other, [66.0, 72.0])]))  # fmt: skip
    assert "| reproduced |" in near
    assert "| missed |" in far


def _store(place: Path, rows: list[Row]) -> Store:
    store = Store(place)
    for r in rows:
        store.rows.put(r)
    return store


def test_what_was_not_run_or_failed_or_is_of_older_code_is_said(known: Description, tmp_path: Path) -> None:
    asked = Entry(label="S", method="source_only", published=(60.0, 70.0), within=5.0)
    t = table(asked)
    whole = rows_of(t, asked, known, [62.0, 70.0])
    assert "| not run |" in rendered(t, known, whole[:-1], tmp_path)
    bad = replace(whole[0], status="failed", reason="ran out of time", value=None, correct=None)
    assert "failed: ran out of time" in rendered(t, known, [bad, *whole[1:]], tmp_path)
    older = [replace(r, method_version=0) for r in whole]
    assert "| reproduced† |" in rendered(t, known, older, tmp_path)
    other = [replace(r, version=r.version + 1) for r in whole]  # of another recipe: not its own
    assert "| not run |" in rendered(t, known, other, tmp_path)


# on the real data


def only(name: str, *labels: str) -> Table:
    whole = published.read(name)
    return whole.model_copy(update={"row": tuple(r for r in whole.row if r.label in labels)})


def run(t: Table, results: Path) -> dict[str, reproduce.Line]:
    store = Reproduction([t], Options(results=results)).run(lambda *_: None, lambda *_: None)
    with Workers() as workers:
        return {x.entry.label: x for x in reproduce.lines(t, {e.label: described(e, workers) for e in t.row}, store)}


@pytest.mark.slow
def test_the_nearest_neighbours_row_is_the_published_one_in_all_twelve_cells(real_data: Path, tmp_path: Path) -> None:
    t = only("surf", "1-NN")
    found = run(t, tmp_path)["1-NN"]
    np.testing.assert_allclose(found.cells, t.row[0].published, atol=0.01)
    assert reproduce.verdict(found, [found]) == "reproduced"
    again = Reproduction([t], Options(results=tmp_path)).run(lambda *_: None, lambda *_: None)
    assert len(again.rows) == 12
    assert document(again, tmp_path / "doc.md")
    assert not document(Store(folder(tmp_path)), tmp_path / "doc.md")
    assert "| 1-NN (`nearest_neighbor`, version 1) | 31.4 | 31.37 |" in (tmp_path / "doc.md").read_text()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_classic_table_is_reproduced(real_data: Path, tmp_path: Path) -> None:
    t = published.read("surf")
    found = run(t, tmp_path)
    said = {label: reproduce.verdict(x, list(found.values())) for label, x in found.items()}
    assert set(said.values()) <= {"reproduced", "missed", "for comparison"}
    assert all(said[label] == "reproduced" for label in ("1-NN", "PCA", "TCA", "GFK", "JDA"))
    assert {label for label, verdict in said.items() if verdict == "missed"} <= {e.label for e in t.row if e.note}
