"""The lines that others are held against: the skyline, chance; and what is searched when a method is selected."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from agreement import Agrees
from made import stored
from tlbench_baselines.chance import Chance
from tlbench_baselines.source_again import SourceAgain
from tlbench_baselines.source_only import SourceOnly
from tlbench_baselines.target_again import APART, TargetAgain
from tlbench_baselines.target_only import TargetOnly
from tlbench_baselines.target_ssl import TargetSSL
from torch import nn

from tlbench.board import markdown
from tlbench.board.board import Board
from tlbench.cli.commands import catalog
from tlbench.data import Episodes, Labeled, Recipe, Train, Unlabeled
from tlbench.errors import UsageError
from tlbench.methods import loader, method, references
from tlbench.results.run_table import Asked, line, suite_lines
from tlbench.runner import experiment, plan
from tlbench.runner import plan as plans
from tlbench.runner.cell import Conditions
from tlbench.runner.cell_job import Bench
from tlbench.runner.experiment import Options
from tlbench.runner.plan import Request
from tlbench.tasks import grids, registry
from tlbench.tasks.card import FULL
from tlbench.training import networks
from tlbench.training.trainer import batches

TASK = registry.find("digits/fonts-handwritten")[0]
EPISODIC = registry.find("fonts_fewshot")[0]
SKYLINE, TARGET_ONLY, SOURCE_ONLY = (loader.describe(n, {}) for n in ("target_full", "target_only", "source_only"))


# the skyline


@pytest.mark.parametrize("k", [0, 1, 5])
def test_a_skyline_has_every_label_at_every_budget_and_no_source(k: int) -> None:
    cell = plans.cell(TASK, SKYLINE, k, 0)
    assert cell.budget == FULL
    assert not cell.task.sources
    assert plan.refusal(cell) is None
    assert plans.cell(TASK, TARGET_ONLY, k, 0).budget == k
    assert plans.cell(TASK, SOURCE_ONLY, k, 0).budget == 0


def test_of_episodes_nothing_can_be_taken_away_and_a_refusal_has_its_row() -> None:
    for described in (SKYLINE, SOURCE_ONLY):
        cell = plans.cell(EPISODIC, described, 1, 0)
        assert cell.budget == 1
        assert f"{described.name} does" in (plan.refusal(cell) or "")


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> experiment.Outcome:
    request = Request(
        ("digits/fonts-handwritten",), ("target_full", "finetune"), (0, 1), (0, 1), {"steps": "2", "batch": "4"}
    )
    return experiment.execute(request, Options(tmp_path_factory.mktemp("results"), device="cpu", jobs=1))


def test_a_skyline_is_run_once_and_shown_beside_every_budget(outcome: experiment.Outcome) -> None:
    rows = [r for r in outcome.rows if r.method == "target_full"]
    assert [(r.budget, r.seed) for r in rows] == [("full", 0), ("full", 1)]
    assert all(r.ok and r.sources == () for r in rows)
    assert rows[0].n_shots == len(Bench(Conditions()).split(TASK, 0).partition.pool)
    lines = {x.budget: x for x in outcome.lines if x.method == "target_full"}
    assert set(lines) == {0, 1}
    assert {x.negative_transfer for x in lines.values()} == {"upper bound"}
    assert lines[0].accuracy == lines[1].accuracy
    assert lines[1].over_target is not None
    assert lines[0].over_source is not None


def test_the_board_shows_a_skyline_at_the_budgets_of_the_others(outcome: experiment.Outcome, tmp_path: Path) -> None:
    held = stored(tmp_path, [replace(r, default=True) for r in outcome.rows])
    found = Board(held)
    assert set(found.grids) == {0, 1}
    for g in found.grids.values():
        assert not np.isnan(g.skyline).any()
        assert "target_full" in g.methods
    assert markdown.text(found).count("| target_full |") == 2


def test_a_skyline_is_never_counted_as_harm(outcome: experiment.Outcome) -> None:
    rows = [r for r in outcome.rows if r.method == "target_full"]
    none = [None, None]
    asked = [Asked(f"toy/{name}", 1, "target_full", rows, none, none) for name in ("a", "b")]
    assert [line(a).negative_transfer for a in asked] == ["upper bound", "upper bound"]
    assert [x.negative_transfer for x in suite_lines(asked)] == ["upper bound"]


def test_a_full_run_has_the_skyline_and_a_quick_one_has_not() -> None:
    names = ("chance", *references.REFERENCES, *references.BESIDE)
    described = {n: loader.describe(n, {}) for n in names}
    for full in (True, False):
        request = Request(("digits/fonts-handwritten",), ("chance",), (1,), (0,), full=full)
        made = plans.make(request, Bench(Conditions()), described)
        assert any(e.method.name == "target_full" for e in made.entries) == full


def test_of_all_methods_those_that_fit_and_can_run_are_planned_and_nobody_is_refused() -> None:
    names = ("dann", "finetune", "maml", "maml_learn2learn")
    described = {n: loader.describe(n, {}) for n in (*names, *references.REFERENCES, *references.BESIDE)}
    described["maml_learn2learn"] = replace(described["maml_learn2learn"], requires=("nobody_has_this",))
    request = Request(("digits/fonts-handwritten",), names, (0, 5), (0,), every=True)
    made = plans.make(request, Bench(Conditions()), described)
    found = {(e.method.name, e.budget) for e in made.entries} - {(n, k) for n in references.REFERENCES for k in (0, 5)}
    assert found == {("dann", 0), ("dann", 5), ("finetune", 5)}
    assert any("left out: method maml_learn2learn: needs nobody_has_this" in text for text in made.notices)
    with pytest.raises(UsageError, match="needs nobody_has_this"):
        plans.make(replace(request, every=False), Bench(Conditions()), described)


@pytest.mark.slow
def test_a_grid_brings_its_tasks_budgets_and_seeds() -> None:
    names = ("chance", *references.REFERENCES, *references.BESIDE)
    described = {n: loader.describe(n, {}) for n in names}
    made = plans.make(Request((), ("chance",), grid="core"), Bench(Conditions()), described)
    grid = grids.named("core")
    mine = [e for e in made.entries if e.method.name == "chance" and e.task.card.name == "wdbc_shift"]
    assert [e.budget for e in mine] == list(grid.budgets("wdbc_shift/wdbc_biased-wdbc"))
    assert {len(e.cells) for e in mine} == {grid.seeds}
    assert {e.method.name for e in made.entries} == set(names)  # the references once more among them
    assert not made.provisional


@pytest.mark.parametrize(
    "grid", [p.stem for p in sorted((Path(plans.__file__).parents[1] / "tasks/grids").glob("*.toml"))]
)
def test_a_grids_tasks_are_ranked_and_have_its_budgets(grid: str) -> None:
    held = grids.named(grid)
    assert held.name == grid
    assert [t.name for t in grids.tasks(held)] == list(held.tasks)
    for task in grids.tasks(held):
        assert task.card.ranked
        assert set(held.budgets(task.name)) <= set(task.card.budgets)
        assert held.seeds <= task.card.seeds


# chance


# the references once more


@pytest.mark.parametrize(("name", "again", "once"), [
    ("target_again", TargetAgain, TargetOnly), ("source_again", SourceAgain, SourceOnly),
])  # fmt: skip
def test_a_second_copy_of_a_reference_differs_in_its_seed_only(
    name: str, again: Any, once: Any, agrees: Agrees
) -> None:
    random = torch.Generator().manual_seed(0)
    x, y = torch.randn((60, 4), generator=random), torch.arange(60) % 2
    train = Train(
        (Labeled(x[:40], y[:40]),), Unlabeled(x), Labeled(x[40:], y[40:]), 2,
        lambda: networks.build({"kind": "bottleneck", "width": 8, "scale": "standard"}, [x], 0), Recipe(20, 8),
    )  # fmt: skip
    mine = again().fit(train, 3)(x)
    agrees(name, f"{once.__name__} with another seed", mine, once().fit(train, 3 + APART)(x), atol=0)
    assert not torch.equal(mine, once().fit(train, 3)(x))
    assert (again.needs, again.ignores, again().erm.takes) == (once.needs, once.ignores, once().erm.takes)


def test_target_ssl_is_the_shots_loss_and_the_unlabelled_targets_entropy_and_has_no_source(agrees: Agrees) -> None:
    random = torch.Generator().manual_seed(0)
    x, y = torch.randn((60, 4), generator=random), torch.arange(20) % 2
    train = Train(
        (), Unlabeled(x[20:]), Labeled(x[:20], y), 2,
        lambda: networks.build({"kind": "bottleneck", "width": 8, "scale": "standard"}, [x], 0), Recipe(20, 8),
    )  # fmt: skip
    method, (batch,) = TargetSSL(weight=0.7), batches(train, replace(train.recipe, steps=1), 3, TargetSSL.takes)
    net = method.networks(train)

    def logs(z: torch.Tensor) -> torch.Tensor:
        return net["classifier"](net["features"](z)).log_softmax(1)

    own, rest = logs(batch.xl), logs(batch.xt)
    written = -own[torch.arange(len(own)), batch.yl].mean() - 0.7 * (rest.exp() * rest).sum(1).mean()
    agrees("target_ssl", "the loss written out", method.loss(net, batch, 0.5), written, atol=1e-6)
    assert (len(batch.xs), len(batch.xl), len(batch.xt)) == (0, 8, 8)
    described = loader.load("target_ssl")
    assert described.ignores == {"sources"}
    assert described.needs == {"shots"}


def test_chance_of_an_episode_looks_at_the_supports_labels_alone() -> None:
    nothing = Labeled(torch.zeros(0, 2), torch.zeros(0).long())
    train = Train((), Unlabeled(nothing.x), nothing, 3, nn.Identity, regime="episodes", episodes=Episodes(3, 1, 2))
    learn = Chance().fit(train, 0)
    scores = learn(Labeled(torch.randn(4, 2), torch.tensor([0, 2, 2, 1])), torch.randn(5, 2))
    torch.testing.assert_close(scores, torch.tensor([0.25, 0.25, 0.5]).expand(5, 3))


def test_chance_of_a_number_is_the_mean() -> None:
    known = Labeled(torch.randn(4, 2), torch.tensor([0.0, 1, 2, 5]))
    train = Train((known,), Unlabeled(known.x), Labeled(known.x[:0], known.y[:0]), 1, nn.Identity, regime="regression")
    assert Chance().fit(train, 0)(torch.randn(3, 2)).tolist() == [[2.0]] * 3


# search spaces


@pytest.mark.parametrize("name", sorted(method.shipped()))
def test_every_method_says_where_its_hyperparameters_are_searched(name: str) -> None:
    described = loader.describe(name, {})
    again = method.Description.of(json.loads(json.dumps(described.__dict__, default=lambda f: f.__dict__)))
    assert again.search == described.search
    assert (described.search == {}) == (name == "chance")
    assert len(described.search) <= 4
    for field, (kind, *values) in described.search.items():
        default = next(f.default for f in described.fields if f.name == field)
        if default is not None and kind != "choice":
            assert values[0] <= default <= values[1], field
        elif default is not None:
            assert default in values, field


@pytest.mark.parametrize(
    ("search", "said"),
    [
        ("{'weigth': ('log', 1, 2)}", r"search\['weigth'\]: no field is called that; did you mean 'weight'"),
        ("{'weight': ('normal', 1, 2)}", "write \\('log', low, high\\), \\('linear', low, high\\) or \\('choice'"),
        ("{'weight': ()}", "write \\('log', low, high\\)"),
        ("{'weight': ('log', 0.0, 2.0)}", "needs a low and a higher end, above 0"),
        ("{'weight': ('linear', 2.0, 2.0)}", "needs a low and a higher end"),
        ("{'weight': ('linear', 1.0)}", "needs a low and a higher end"),
        ("{'weight': ('choice', 1.0, 'much')}", "'much' is no float"),
    ],
)
def test_a_search_that_makes_no_sense_is_a_mistake_in_a_line(search: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from dataclasses import dataclass\nfrom typing import ClassVar\n\n@dataclass(frozen=True)\nclass Mine:\n"
        f"    weight: float = 1.0\n    search: ClassVar[dict] = {search}\n    def fit(self, train, seed): ...\n"
    )
    with pytest.raises(UsageError, match=said):
        loader.describe(f"{file}:Mine", {})


def test_show_tells_the_search_space(capsys: pytest.CaptureFixture[str]) -> None:
    catalog.show("dann", as_json=False)
    shown = capsys.readouterr().out
    assert "search" in shown
    assert "log, 0.1, 10.0" in shown
    catalog.show("dann", as_json=True)
    values: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert values["search"]["weight"] == ["log", 0.1, 10.0]
