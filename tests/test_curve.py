"""A cell trained again for its losses: the same value as its row's, a picture of the same bytes, and no row."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from held import references, refused, row, store, tlbench

from tlbench.board.curve import Again, again, in_conditions
from tlbench.board.figures.losses import gathered, logarithmic, losses
from tlbench.cli.commands.console import Bar
from tlbench.cli.commands.curves import verdict
from tlbench.results.editions import Edition
from tlbench.results.row import DEFAULT, Row
from tlbench.results.store import Store
from tlbench.runner import refit
from tlbench.runner.experiment import Options
from tlbench.runner.refit import Refit
from tlbench.runner.worker import loss_record
from tlbench.tasks import registry
from tlbench.training.watching import Curve

TASK = "wdbc_shift/wdbc_biased-wdbc"

METHOD = """
from dataclasses import dataclass
from tlbench.training.trainer import GradientMethod, supervised_loss

@dataclass(frozen=True)
class Dies(GradientMethod):
    \"\"\"Fails half way.\"\"\"
    family = "feature-based"
    paper = "none"

    def loss(self, net, batch, progress):
        if progress >= 0.5:
            raise ValueError("half way")
        return {"own": supervised_loss(net, batch)}
"""


def curve(**values: Sequence[float]) -> Curve:
    """One loop of these losses."""
    made = Curve()
    for i, step in enumerate(zip(*values.values(), strict=True)):
        made(i, dict(zip(values, step, strict=True)))
    return made


def staged() -> Curve:
    """Two loops of three and two steps; the second has a loss of its own."""
    made = Curve()
    for i in range(3):
        made(i, {"loss": 3.0 - i})
    for i in range(2):
        made(i, {"loss": 9.0, "other": 1.0 + i})
    return made


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with rows of two methods, made by a run."""
    folder = tmp_path_factory.mktemp("held")
    words = ("--task", TASK, "--method", "dann", "--method", "chance", "--budgets", "5", "--seeds", "0")
    assert tlbench("run", *words, "--results", folder).returncode == 0
    return folder


@pytest.mark.slow
def test_the_value_with_the_watch_is_the_rows_and_no_row_is_stored(held: Path) -> None:
    before, told = (held / "rows.jsonl").read_bytes(), list[tuple[Any, ...]]()
    found = again(
        Store(held), Edition(), "dann", TASK, 5, 0, DEFAULT, Options(held), lambda *said: told.append(said), None
    )
    stored = found.stored
    assert stored is not None
    assert (found.equal, found.same_cell, found.apart) == (True, True, [])
    assert (found.refit.row.value, found.refit.row.correct) == (stored.value, stored.correct)
    assert (found.refit.row.threads, found.refit.row.jail) == (stored.threads, stored.jail)
    assert (held / "rows.jsonl").read_bytes() == before
    seen = found.refit.curve
    assert ([*seen.losses], len(seen.steps), seen.loops) == (["label_loss", "domain_loss"], 500, [0])
    assert {of for _, of, _, _ in told} == {500}
    assert [done for done, *_ in told] == sorted(done for done, *_ in told)
    assert told[-1][3] == "steps of dann, seed 0"


@pytest.mark.slow
def test_the_command_draws_and_gives_the_losses_as_lists(held: Path, tmp_path: Path) -> None:
    file = tmp_path / "a.svg"
    where = ("--results", held, "--edition", "open")
    told = json.loads(tlbench("explain", "dann", "wdbc_shift", "5", *where, "--json", "--curve", file).stdout)
    assert told["equal"]
    assert (told["value"], told["key"]) == (told["stored"], told["stored_key"])
    assert [len(values) for values in told["losses"].values()] == [500, 500]
    assert (told["steps"], told["loops"], told["file"]) == (500, [0], str(file))
    assert {"label_loss", "domain_loss", f"dann on {TASK}, 5 labels per class, seed 0"} < set(words_of(file))


@pytest.mark.slow
def test_the_picture_of_a_cell_has_the_same_bytes_again(held: Path, tmp_path: Path) -> None:
    for name in ("a.svg", "b.svg"):
        words = ("explain", "dann", TASK, "5", "--edition", "open", "--results", held, "--curve", tmp_path / name)
        assert "equal to the stored row's, to the last digit" in tlbench(*words).stdout
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


@pytest.mark.slow
def test_a_method_without_a_step_is_one_line_and_exit_code_two(held: Path, tmp_path: Path) -> None:
    file = tmp_path / "none.svg"
    where = ("--results", held, "--edition", "open")
    done = tlbench("explain", "chance", TASK, "5", "--curve", file, *where)
    said = done.stderr.splitlines()[-1]  # on a slow machine lines of progress precede it
    assert (done.returncode, done.stdout) == (2, "")
    assert "its fit takes no gradient step" in said
    assert "equal to the stored row's" in said
    assert not file.exists()


@pytest.mark.slow
def test_a_fit_that_fails_shows_its_losses_until_then(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(METHOD)
    words = ("explain", tmp_path / "mine.py:Dies", TASK, "5", "--results", tmp_path / "no", "--edition", "open")
    said = tlbench(*words, "--seed", "3", "--curve", tmp_path / "dies.svg")
    assert said.returncode == 1, said.stderr
    assert "250 steps" in said.stdout
    assert ["own", "250"] in [line.split()[:2] for line in said.stdout.splitlines()]
    assert "the fit failed: ValueError: half way (mine.py:13)" in said.stdout
    assert "seed 3" in (tmp_path / "dies.svg").read_text()


def test_mistakes_are_one_line_and_come_before_anything_is_trained(tmp_path: Path) -> None:
    where, file = ("--results", store(tmp_path, references(TASK)), "--curve"), tmp_path / "a.svg"
    assert "ends in .svg" in refused("explain", "dann", TASK, "5", *where, "a.png")
    (tmp_path / "dir.svg").mkdir()
    assert "no file can be written" in refused("explain", "dann", TASK, "5", *where, tmp_path / "dir.svg")
    assert "--seed belongs to --curve" in refused("explain", "dann", TASK, "5", "--seed", "1", *where[:2])
    assert "--sandbox belongs to --curve" in refused("explain", "dann", TASK, "5", "--sandbox", "1", *where[:2])
    assert "'digits' names 6 tasks" in refused("explain", "dann", "digits", "5", *where, file)
    assert "unknown task" in refused("explain", "dann", "nosuch", "5", *where, file)
    assert "did you mean 'dann'?" in refused("explain", "dannn", TASK, "5", *where, file)
    assert "that cv chose" in refused("explain", "dann", TASK, "5", "--rule", "cv", *where, file)
    assert "is too large" in refused("explain", "dann", TASK, "99999", *where, file)
    assert "budget 0 has none" in refused("explain", "target_only", TASK, "0", *where, file)


def again_of(new: Row, stored: Row | None) -> Again:
    return Again(Refit(new, curve(loss=[2, 1]), ""), stored, ())


def test_the_verdict_says_what_the_stored_row_is() -> None:
    new = row("dann", TASK, 5, 0, 70)
    assert verdict(again_of(new, None)) == "accuracy 70.0; no row of seed 0 is stored to hold it against"
    assert verdict(again_of(new, new)) == "accuracy 70.0: equal to the stored row's, to the last digit"
    older = replace(new, key="other")
    assert verdict(again_of(new, older)).endswith("the row's key is of other code, data or settings")
    swapped = replace(new, correct=row("dann", TASK, 5, 0, 71).correct)
    assert "though other samples are right" in verdict(again_of(new, swapped))
    failed = replace(new, status="failed", reason="no memory", value=None)
    assert verdict(again_of(new, failed)) == "accuracy 70.0; the stored row has no value: failed, no memory"
    assert verdict(again_of(failed, new)) == "the fit failed: no memory"
    assert again_of(new, failed).equal is None


def test_a_differing_value_is_said_with_the_conditions_that_differ() -> None:
    new = row("dann", TASK, 5, 0, 70)
    then = replace(new, value=0.6999999, machine="another", threads=2)
    said = verdict(again_of(new, then))
    assert "DIFFERS from the stored row's: 70.000000 and 69.999990" in said
    assert "machine another, now a processor; threads 2, now 1" in said
    assert "in the same conditions" in verdict(again_of(new, replace(new, value=0.5)))
    assert "of other code, data or settings" in verdict(again_of(new, replace(then, key="other")))


def test_the_conditions_are_the_rows() -> None:
    task, made = registry.named(TASK), row("dann", TASK, 5, 0, 70, threads=3)
    options, threads = in_conditions(Options(), made, task)
    assert (options.device, options.jobs, threads, options.backbone) == ("cpu", 1, 3, None)


@pytest.mark.parametrize("fails", [False, True])
def test_losses_are_kept_however_the_fit_ends(tmp_path: Path, fails: bool) -> None:
    job = {"progress": str(tmp_path / "p"), "losses": str(tmp_path / "l")}
    try:
        with loss_record.asked(job) as watch:
            assert watch is not None
            watch(0, {"a": 1.0})
            watch(1, {"a": math.nan})
            assert loss_record.counted(tmp_path / "p") == 1  # the second came too soon after
            watch.said = time.monotonic() - 1
            watch(2, {"a": 0.5})
            assert loss_record.counted(tmp_path / "p") == 3
            if fails:
                raise ValueError
    except ValueError:
        assert fails
    found = loss_record.read(tmp_path / "l")
    np.testing.assert_array_equal(found.losses["a"], [1.0, math.nan, 0.5])
    assert (found.steps, found.at) == ([0, 1, 2], {"a": [0, 1, 2]})
    with loss_record.asked({}) as nothing:
        assert nothing is None


@pytest.mark.parametrize(
    "text",
    ["", "[]", '{"steps": [0]}', '{"steps": [0], "losses": {"a": [1]}, "at": {"a": [1]}}',
     '{"steps": [0], "losses": {"a": [1, 2]}, "at": {"a": [0]}}', '{"steps": [0], "losses": {"a": ["x"]}, "at": {}}'],
)  # fmt: skip
def test_a_file_that_holds_no_losses_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "l").write_text(text)
    with pytest.raises(ValueError, match="its file of losses"):
        loss_record.read(tmp_path / "l")
    assert loss_record.read(tmp_path / "none").steps == []


def test_a_counter_that_is_none_counts_nothing(tmp_path: Path) -> None:
    file = tmp_path / "p"
    for text in ("", "many", "-3", "9" * 99):
        file.write_text(text)
        assert loss_record.counted(file) == 0
    assert loss_record.counted(tmp_path) == 0


def test_as_many_whole_loops_are_expected_as_hold_the_steps() -> None:
    assert [refit.whole(done, 500) for done in (0, 1, 500, 501, 1000)] == [500, 500, 500, 1000, 1000]


def test_away_from_a_terminal_steps_are_a_line_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    bar = Bar(None)
    bar.said -= 60
    bar.steps(40, 500, 75.0, "dann")
    bar.steps(50, 500, 70.0, "dann")
    assert capsys.readouterr().err == "40 of 500 steps, about 1 min 15 s left\n"


def test_points_are_means_with_their_range_and_none_is_of_two_loops() -> None:
    at, mean, low, high = gathered(np.arange(6.0), np.array([1, 3, 5, 7, 9, 11.0]), points=3)
    assert (at.tolist(), mean.tolist()) == ([0.5, 2.5, 4.5], [2, 6, 10])
    assert (low.tolist(), high.tolist()) == ([1, 5, 9], [3, 7, 11])
    at, mean, *_ = gathered(np.arange(4.0), np.array([1, 1, 1, 9.0]), loops=[0, 3], points=2)
    np.testing.assert_array_equal(mean, [1, 1, math.nan, 9])


def test_the_axis_is_logarithmic_where_positive_losses_are_far_apart() -> None:
    assert logarithmic(np.array([1.0, 0.01, math.nan]))
    assert not logarithmic(np.array([1.0, 0.1]))
    assert not logarithmic(np.array([1.0, 0.01, -0.5]))
    assert not logarithmic(np.array([math.nan]))


def words_of(file: Path) -> list[str]:
    found = ElementTree.fromstring(file.read_text()).iter("{http://www.w3.org/2000/svg}text")
    return ["".join(e.itertext()) for e in found]


def test_a_picture_names_every_loss_and_has_the_same_bytes_again(tmp_path: Path) -> None:
    far = curve(first=np.geomspace(1, 1e-3, 1000).tolist(), second=[0.5] * 999 + [math.nan])
    file = losses(far, "a title", tmp_path / "new" / "a.svg")
    assert file.read_bytes() == losses(far, "a title", tmp_path / "b.svg").read_bytes()
    assert {"a title", "first", "second (not finite from step 999 on)", "loss (logarithmic)"} < set(words_of(file))
    assert file.stat().st_size < 40_000
    assert "step (line: means of up to 7 steps, shade: their range)" in words_of(file)


def test_a_picture_shows_where_loops_begin_and_draws_even_one_step(tmp_path: Path) -> None:
    assert "step (dotted: where the next of the loops begins)" in words_of(losses(staged(), "t", tmp_path / "a.svg"))
    said = words_of(losses(curve(only=[1.0]), "t", tmp_path / "b.svg"))
    assert {"only", "loss", "step"} < set(said)
    losses(curve(never=[math.nan, math.inf]), "t", tmp_path / "c.svg")


def test_a_curve_of_stages_knows_at_which_step_each_loss_came() -> None:
    made = staged()
    assert (made.loops, made.at["other"], made.steps) == ([0, 3], [3, 4], [0, 1, 2, 0, 1])
    first, *_, last = (line.split() for line in made.text(points=5).splitlines()[1:])
    assert (first, last) == (["0", "3", "nan"], ["1", "9", "2"])
