"""Pictures: the same bytes from the same grid, every name there, nothing said by colour alone."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from tlbench import charts, figures, gains, stats, svg
from tlbench.card import Budget
from tlbench.grid import Grid

METHODS = ("target_only", "source_only", "good", "better", "harmful", "never_run")
FAMILIES = ("reference", "reference", "feature-based", "feature-based", "model-based", "model-based")
TASKS = ("birds/a-b", "birds/b-a", "coins/a-b")
GAINS = {  # points over the reference on each task
    "source_only": (0, 0, 0), "good": (4, 4, 4), "better": (8, 8, np.nan), "harmful": (-20, -3, -9),
    "never_run": (np.nan,) * 3, "target_only": (0, 0, 0),
}  # fmt: skip
TIMES: dict[Budget, dict[str, float]] = {k: {"good": 1.5, "better": 40.0, "harmful": 3.0} for k in (0, 5)}


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


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Name -> text of every picture."""
    files, lacking = figures.draw(GRIDS, TIMES, tmp_path_factory.mktemp("new") / "figures")
    assert lacking == []
    return {file.name: file.read_text() for file in files}


def texts(picture: str) -> list[str]:
    return [t.strip() for e in ElementTree.fromstring(picture).iter() if e.tag.endswith("text") for t in e.itertext()]


def test_there_is_a_heatmap_and_a_front_a_budget_and_the_curves(drawn: dict[str, str]) -> None:
    assert sorted(drawn) == [
        "curves.svg", "heatmap_0.svg", "heatmap_1.svg", "heatmap_5.svg", "pareto_0.svg", "pareto_5.svg",
    ]  # fmt: skip


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
        "import sys, matplotlib; from pathlib import Path; import test_figures as t; from tlbench import figures\n"
        "matplotlib.rcParams.update({'font.size': 30, 'lines.linewidth': 9})\n"
        "figures.draw(t.GRIDS, t.TIMES, Path(sys.argv[1]))\n"
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
        "harmful -10.2",
        "better +8.0*",
    ):
        assert part in said
    assert not any("never_run" in t or t.startswith("target_only ") for t in said)
    assert any(t.startswith("Gain over target_only at 5 labels a class") for t in said)
    assert any(t.startswith("Gain over source_only at 0 labels a class") for t in texts(drawn["heatmap_0.svg"]))


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


def test_where_only_the_references_were_timed_there_is_no_picture_of_time(tmp_path: Path) -> None:
    assert figures.pareto({5: {"target_only": 1.0, "target_again": 1.0}}, GRIDS, tmp_path) == []


def test_better_methods_and_families_come_first(drawn: dict[str, str]) -> None:
    said = texts(drawn["heatmap_5.svg"])
    order = [said.index(x) for x in ("better +8.0*", "good +4.0", "source_only +0.0", "harmful -10.2")]
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
    assert {"good", "better", "feature-based", "model-based"} <= set(said)
    assert "harmful" not in said  # only members of the front have their names there


def test_families_have_shapes_and_lines_have_strokes(drawn: dict[str, str]) -> None:
    assert len(set(charts.MARKERS)) == len(charts.MARKERS) >= 8
    dashes = set(re.findall(r"stroke-dasharray: [\d. ,]+", drawn["curves.svg"]))
    assert len(dashes) >= 3
    assert {"target_only", "source_only", "better (feature-based)", "harmful (model-based)"} <= set(
        texts(drawn["curves.svg"])
    )


def test_the_best_of_a_family_is_chosen_where_there_are_labels() -> None:
    few = replace(grid(0), mean=-grid(0).mean)
    assert gains.best([few, grid(5)]) == {"feature-based": "better", "model-based": "harmful"}
    assert gains.best([few])["feature-based"] == "good"


def test_curves_are_over_tasks_that_every_budget_has() -> None:
    one = replace(grid(1), tasks=("birds/a-b", "birds/x-y", "coins/a-b"))
    assert gains.shared([one, grid(5)], "birds") == ["birds/a-b"]
    assert gains.level(grid(5), "good", ["birds/a-b"]) == 64
    assert np.isnan(gains.level(grid(5), "better", ["coins/a-b"]))


def test_text_and_lines_are_legible_on_white_and_on_black(drawn: dict[str, str]) -> None:
    for background in ("#ffffff", "#0d1117", "#1e1e1e"):
        assert svg.contrast(svg.INK, background) > 3.5
    assert svg.contrast("#000000", "#ffffff") == pytest.approx(21)
    for name, text in drawn.items():
        colours = set(re.findall(r"(?:fill|stroke): (#[0-9a-f]{6})", text))
        white = {c for c in colours if svg.luminance(c) > 0.9 and c != svg.ON_DARK}
        assert "#ffffff" not in colours or name.startswith("heatmap"), "no background of its own"
        assert len(white) < 3


def test_of_nothing_there_is_no_picture_and_that_is_said(tmp_path: Path) -> None:
    none: dict[Budget, Grid] = {5: nothing()}
    files, lacking = figures.draw(none, TIMES, tmp_path)
    assert (files, len(lacking), list(tmp_path.iterdir())) == ([], 3, [])
    empty = replace(grid(5), mean=np.full((6, 3), np.nan))
    assert figures.heatmap({5: empty}, tmp_path) == []
    assert figures.pareto({}, GRIDS, tmp_path) == []
    assert figures.curves({5: grid(5)}, tmp_path) == []  # one budget is no curve


def test_one_task_and_no_gain_at_all_are_drawn_too(tmp_path: Path) -> None:
    flat = {"mean": np.zeros((6, 1)), "se": np.zeros((6, 1)), "df": np.full((6, 1), 4.0)}
    one = replace(
        grid(5), tasks=TASKS[:1], groups=("birds",), paradigms=("p",), value=grid(5).value[:, :1],
        gain=np.zeros((6, 1, 5)), **flat,
    )  # fmt: skip
    (file,) = figures.heatmap({5: one}, tmp_path)
    assert texts(file.read_text()).count("0") == 5


def test_pictures_need_no_matplotlib_until_they_are_drawn() -> None:
    script = "import sys; from tlbench import figures; assert not {'matplotlib', 'seaborn'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)
