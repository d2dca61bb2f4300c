"""Pictures: the same bytes from the same grid, every name there, nothing said by colour alone."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from tlbench.board import figures
from tlbench.board.figures import Picture, charts, gains, heatmap, svg
from tlbench.results import standings, stats
from tlbench.results.grid import Grid
from tlbench.tasks.card import Budget

METHODS = ("target_only", "source_only", "good", "better", "harmful", "never_run", "chance", "target_again")
FAMILIES = (*("reference",) * 2, *("feature-based",) * 2, *("model-based",) * 2, *("reference",) * 2)
TASKS = ("birds/a-b", "birds/b-a", "coins/a-b")
GAINS = {  # points over the reference on each task
    "source_only": (0, 0, 0), "good": (4, 4, 4), "better": (8, 8, np.nan), "harmful": (-20, -3, -9),
    "never_run": (np.nan,) * 3, "target_only": (0, 0, 0), "chance": (-55, -58, -60), "target_again": (0, 0, 0),
}  # fmt: skip
TOOK = {"good": 1.5, "better": 40.0, "harmful": 3.0, "chance": 0.001, "target_again": 0.5}
TIMES: dict[Budget, dict[str, float]] = dict.fromkeys((0, 5), TOOK)
TIMED = {0: TASKS[:1], 5: TASKS[:1]}
OTHERS = "same domain, different task"


def grid(budget: Budget, seeds: int = 5) -> Grid:
    gain = np.repeat(np.array([GAINS[m] for m in METHODS], float)[:, :, None], seeds, 2)
    reference = "source_only" if budget == 0 else "target_only"
    return Grid(
        budget, METHODS, FAMILIES, TASKS, ("birds", "birds", "coins"), ("p",) * 3, tuple(range(seeds)), gain + 60,
        np.zeros(gain.shape, bool), gain, gain, gain.mean(2), np.where(np.isfinite(gain.mean(2)), 1.0, np.nan),
        np.full(gain.shape[:2], seeds - 1.0), np.zeros(3), np.full(3, np.nan), reference,
    )  # fmt: skip


def nothing() -> Grid:
    """A grid without tasks."""
    none = np.zeros((len(METHODS), 0))
    cube = np.zeros((len(METHODS), 0, 5))
    empty = {"tasks": (), "groups": (), "paradigms": (), "chance": np.zeros(0), "skyline": np.zeros(0)}
    cubes = {"value": cube, "imputed": cube.astype(bool), "gain": cube, "added": cube}
    return replace(grid(5), **empty, **cubes, mean=none, se=none, df=none)  # type: ignore[arg-type]


GRIDS: dict[Budget, Grid] = {0: grid(0), 1: grid(1), 5: grid(5), "full": grid("full")}


def of(grids: dict[Budget, Grid], tasks: Sequence[int]) -> dict[Budget, Grid]:
    """The same grids on some of their tasks."""
    return {k: standings.part(g, np.isin(np.arange(len(g.tasks)), tasks)) for k, g in grids.items()}


def every() -> list[Picture]:
    return figures.pictures(GRIDS, {OTHERS: of({5: grid(5)}, [2])}, TIMES, TIMED)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Name -> text of every picture."""
    files = figures.draw(every(), tmp_path_factory.mktemp("new") / "figures")
    return {file.name: file.read_text() for file in files}


def texts(picture: str) -> list[str]:
    return [t.strip() for e in ElementTree.fromstring(picture).iter() if e.tag.endswith("text") for t in e.itertext()]


def test_there_is_a_heatmap_and_a_front_a_budget_and_the_curves(drawn: dict[str, str]) -> None:
    assert sorted(drawn) == [
        "curves.svg", "heatmap_0.svg", "heatmap_1.svg", "heatmap_5.svg", "heatmap_same-domain-different-task_5.svg",
        "pareto_0.svg", "pareto_5.svg",
    ]  # fmt: skip
    assert list(drawn) == [picture.name for picture in every()]


def test_other_tasks_have_a_heatmap_of_their_own_and_are_in_no_other_mean(drawn: dict[str, str]) -> None:
    said = texts(drawn["heatmap_same-domain-different-task_5.svg"])
    assert {OTHERS, "coins/a-b", "harmful -9.0"} <= set(said)
    assert "birds/a-b" not in said
    assert (
        "<title>Gain over target_only at 5 labels per class, points: same domain, different task</title>"
        in (drawn["heatmap_same-domain-different-task_5.svg"])
    )


def test_errors_in_units_of_their_own_have_no_mean(tmp_path: Path) -> None:
    said = texts(heatmap.heatmap(replace(grid(5), regimes=("regression",) * 3), tmp_path / "new.svg").read_text())
    assert {"good", "harmful", "+4", "▼20"} <= set(said)
    assert not any(t.startswith(("good ", "harmful ")) for t in said)


def test_nothing_written_is_small(drawn: dict[str, str]) -> None:
    for name, text in drawn.items():
        sizes = [float(size) for size in re.findall(r"font-size: ([\d.]+)px", text)]
        assert sizes, name
        assert min(sizes) >= 7, name
    numbers = re.findall(r'y="([\d.]+)">[+−▼▽]?\d', drawn["heatmap_5.svg"])
    rows = np.diff(sorted({float(y) for y in numbers}))
    assert rows.min() > 12, "a row is higher than what is written in it"


def test_seventy_methods_on_fourteen_tasks_make_a_picture_of_sane_size(tmp_path: Path) -> None:
    gain = np.random.default_rng(0).normal(0, 15, (70, 14, 5))
    many = Grid(
        5, tuple(f"method_{i}" for i in range(70)), tuple(f"family {i % 6}" for i in range(70)),
        tuple(f"suite/source-target_{t}" for t in range(14)), tuple(f"family_of_data_{t // 3}" for t in range(14)),
        ("p",) * 14, tuple(range(5)), gain, np.zeros(gain.shape, bool), gain, gain, gain.mean(2), gain.std(2),
        np.full((70, 14), 4.0), np.zeros(14), np.zeros(14), "method_0",
    )  # fmt: skip
    text = heatmap.heatmap(many, tmp_path / "many.svg").read_text()
    assert len(text) < 200_000
    size = re.search(r'width="([\d.]+)pt" height="([\d.]+)pt"', text)
    assert size is not None
    assert float(size[1]) < 620  # what a page of text shows at its own size
    assert float(size[2]) < 1300


def test_every_picture_is_xml_without_date_and_version_and_is_small(drawn: dict[str, str]) -> None:
    import matplotlib

    for name, text in drawn.items():
        ElementTree.fromstring(text)
        assert "<title>" in text
        assert 'role="img"' in text
        assert "date" not in text
        assert matplotlib.__version__ not in text
        assert len(text) < 20_000, name


def test_another_process_draws_the_same_bytes_whatever_its_own_style(drawn: dict[str, str], tmp_path: Path) -> None:
    script = (
        "import sys, matplotlib; from pathlib import Path; import test_figures as t\n"
        "from tlbench.board import figures\n"
        "matplotlib.rcParams.update({'font.size': 30, 'lines.linewidth': 9})\n"
        "figures.draw(t.every(), Path(sys.argv[1]))\n"
        "assert matplotlib.rcParams['font.size'] == 30"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True, cwd=Path(__file__).parent)
    assert {f.name: f.read_text() for f in tmp_path.iterdir()} == drawn


def test_a_heatmap_names_all_methods_tasks_and_families(drawn: dict[str, str]) -> None:
    said = texts(drawn["heatmap_5.svg"])
    for part in (
        *TASKS,
        "birds",
        "coins",
        "feature-based",
        "model-based",
        "good +4.0",
        "harmful -10.3",
        "better +8.0*",
    ):
        assert part in said
    assert not any("never_run" in t or t.startswith("target_only ") for t in said)
    assert any(t.startswith("Gain over target_only at 5 labels per class") for t in said)
    assert any(t.startswith("Gain over source_only at 0 labels per class") for t in texts(drawn["heatmap_0.svg"]))


def test_harm_is_told_by_a_sign_and_every_gain_by_a_number(drawn: dict[str, str]) -> None:
    said = texts(drawn["heatmap_5.svg"])
    assert said.count("+4") == 3
    assert said.count("+8") == 2  # the third was not run, and is blank
    assert {"▼20", "▼3", "▼9"} <= set(said)
    assert gains.signs(grid(5, seeds=3), METHODS.index("harmful"))[0] == gains.DOUBTFUL  # too few seeds to test


def test_a_sign_of_harm_is_corrected_for_the_tasks_as_the_tables_are() -> None:
    g = grid(5)
    i, tasks = METHODS.index("harmful"), len(g.tasks)
    gain, se = np.full(tasks, 0.5), np.ones(tasks)
    gain[0] = -2.4  # p = .037 by itself, and not among so many
    g.mean[i], g.se[i], g.df[i] = gain, se, 4.0
    assert stats.verdict(stats.Estimate(2.4, 1.0, 4.0), 5) == "yes"
    assert gains.signs(g, i)[0] == gains.DOUBTFUL
    g.mean[i, 0] = -20.0
    assert gains.signs(g, i)[0] == gains.HARMED


def test_where_only_the_references_were_timed_there_is_no_picture_of_time() -> None:
    found = figures.pictures(GRIDS, {}, {5: {"target_only": 1.0, "target_again": 1.0}}, TIMED)
    assert not [picture.name for picture in found if "pareto" in picture.name]


def test_better_methods_and_families_come_first(drawn: dict[str, str]) -> None:
    said = texts(drawn["heatmap_5.svg"])
    order = [said.index(x) for x in ("better +8.0*", "good +4.0", "source_only +0.0", "harmful -10.3")]
    assert order == sorted(order)


def test_families_weigh_alike_in_a_mean_and_what_is_missing_is_left_out() -> None:
    values = np.array([[2.0, 4.0, 9.0], [1.0, 3.0, np.nan], [np.nan] * 3])
    assert gains.average(values, ("birds", "birds", "coins")) == pytest.approx([6.0, 2.0, np.nan], nan_ok=True)


def test_the_front_is_what_nothing_beats_at_no_more_time(drawn: dict[str, str]) -> None:
    points = [
        charts.Point(n, "f", t, g) for n, t, g in (("a", 1, 1), ("b", 2, 0), ("c", 2, 3), ("d", 3, 3), ("e", 9, 4))
    ]
    assert [p.method for p in charts.front(points)] == ["a", "c", "e"]
    said = texts(drawn["pareto_5.svg"])
    assert {"good", "feature-based", "model-based"} <= set(said)
    assert "harmful" not in said  # only members of the front have their names there


def test_time_is_shown_of_competitors_that_were_measured_on_every_task(drawn: dict[str, str]) -> None:
    assert [p.method for p in charts.points(grid(5), TOOK)] == ["good", "harmful"]  # no control, and not better, alone
    assert [p.method for p in charts.points(of({5: grid(5)}, [0])[5], TOOK)] == ["good", "harmful", "better"]
    assert not {"chance", "target_again", "better"} & set(texts(drawn["pareto_5.svg"]))


def test_a_picture_of_time_says_where_time_and_gain_were_measured(drawn: dict[str, str], tmp_path: Path) -> None:
    said = texts(drawn["pareto_5.svg"])
    assert "gain: 3 tasks of 2 dataset families (birds, coins), 5 seeds" in said
    assert "time: birds/a-b" in said
    file = charts.pareto(grid(5), charts.points(grid(5), TOOK), TASKS, tmp_path / "more.svg")
    assert "time: 3 tasks of birds, coins" in texts(file.read_text())


def test_names_of_the_front_do_not_stand_on_each_other(tmp_path: Path) -> None:
    near = [charts.Point(f"a_long_name_{i}", "f", 1 + i / 1e3, i / 1e3) for i in range(4)]
    text = charts.pareto(grid(5), [*near, charts.Point("far", "f", 50, -20)], TASKS, tmp_path / "near.svg").read_text()
    heights = np.sort([float(y) for y in re.findall(r'y="([\d.]+)"[^>]*>a_long_name_\d', text)])
    assert len(heights) == 4
    assert np.diff(heights).min() > 7


def test_families_have_shapes_and_lines_have_strokes(drawn: dict[str, str]) -> None:
    assert len(set(charts.MARKERS)) == len(charts.MARKERS) >= 8
    dashes = set(re.findall(r"stroke-dasharray: [\d. ,]+", drawn["curves.svg"]))
    assert len(dashes) >= 3
    assert {"target_only", "source_only", "good (feature-based)", "harmful (model-based)"} <= set(
        texts(drawn["curves.svg"])
    )


def test_the_best_of_a_family_is_chosen_where_there_are_labels_and_of_those_measured_everywhere() -> None:
    here = of({0: grid(0), 5: grid(5)}, [0, 1])
    few = replace(here[0], mean=-here[0].mean)
    assert gains.best([few, here[5]]) == {"feature-based": "better", "model-based": "harmful"}
    assert gains.best([few])["feature-based"] == "good"
    assert gains.best([grid(5)])["feature-based"] == "good"


def test_a_panel_has_the_budgets_that_its_tasks_have() -> None:
    one = replace(grid(1), tasks=("birds/a-b", "birds/x-y", "coins/a-b"))
    (birds,) = gains.panels([one, of({5: grid(5)}, [0, 1])[5]])  # coins have one budget, which is no curve
    assert (birds.group, birds.tasks, birds.of) == ("birds", ("birds/a-b",), 3)
    low, middle, high = grid(0), grid(1), of({5: grid(5)}, [0, 1])[5]
    found = {panel.group: [g.budget for g in panel.grids] for panel in gains.panels([low, middle, high])}
    assert found == {"birds": [0, 1, 5], "coins": [0, 1]}
    lone = of({20: grid(20)}, [0])[20]  # more cells without it
    assert [g.budget for g in gains.panels([low, middle, lone])[0].grids] == [0, 1]


def test_a_panel_lacks_no_family_that_has_two_budgets(tmp_path: Path) -> None:
    held = {0: grid(0), 1: grid(1), 5: of({5: grid(5)}, [0, 1])[5]}
    (curves,) = (p for p in figures.pictures(held, {}, {}, {}) if p.name == "curves.svg")
    said = texts(curves.drawn(tmp_path / curves.name).read_text())
    assert {"birds, 2 tasks", "coins, 1 task"} <= set(said)


def test_a_curve_has_its_interval_over_the_seeds_of_the_mean() -> None:
    noise = np.random.default_rng(0).normal(0, 1, (len(METHODS), 3, 5))
    noisy = replace(grid(5), value=grid(5).value + noise)
    own = noisy.value[METHODS.index("good"), :2]
    assert gains.level(noisy, "good", TASKS[:2]) == stats.over_seeds(own.tolist())
    assert gains.level(noisy, "good", TASKS[:2]).half_width() > 0
    assert gains.level(grid(5), "good", TASKS[:1]).mean == 64
    assert np.isnan(gains.level(grid(5), "better", ["coins/a-b"]).mean)
    own[0, 3] = np.nan  # a seed that one of the tasks lacks
    assert gains.level(noisy, "good", TASKS[:2]) == stats.over_seeds(own[:, [0, 1, 2, 4]].tolist())


def test_text_and_lines_are_legible_on_white_and_on_black(drawn: dict[str, str]) -> None:
    for background in ("#ffffff", "#0d1117", "#1e1e1e"):
        assert svg.contrast(svg.INK, background) > 3.5
    assert svg.contrast("#000000", "#ffffff") == pytest.approx(21)
    for name, text in drawn.items():
        colours = set(re.findall(r"(?:fill|stroke): (#[0-9a-f]{6})", text))
        white = {c for c in colours if svg.luminance(c) > 0.9 and c != svg.ON_DARK}
        assert "#ffffff" not in colours or name.startswith("heatmap"), "no background of its own"
        assert len(white) < 3


def test_of_nothing_there_is_no_picture() -> None:
    def named(grids: dict[Budget, Grid], times: charts.Times = TIMES) -> list[str]:
        return [picture.name for picture in figures.pictures(grids, {}, times, TIMED)]

    assert named({5: nothing()}) == []
    assert named({5: replace(grid(5), mean=np.full((8, 3), np.nan))}) == []
    assert named({5: grid(5)}, {}) == ["heatmap_5.svg"]  # one budget is no curve


def test_one_task_and_no_gain_at_all_are_drawn_too(tmp_path: Path) -> None:
    flat = {"mean": np.zeros((8, 1)), "se": np.zeros((8, 1)), "df": np.full((8, 1), 4.0)}
    one = replace(
        grid(5), tasks=TASKS[:1], groups=("birds",), paradigms=("p",), value=grid(5).value[:, :1],
        gain=np.zeros((8, 1, 5)), **flat,
    )  # fmt: skip
    assert texts(heatmap.heatmap(one, tmp_path / "one.svg").read_text()).count("0") == 7


def test_pictures_need_no_matplotlib_until_they_are_drawn() -> None:
    script = "import sys; from tlbench.board import figures; assert not {'matplotlib', 'seaborn'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)
