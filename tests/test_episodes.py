"""Few-shot episodes: frozen, nested, disjoint, and without a word of the answers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tlbench.data import Domain
from tlbench.errors import UsageError
from tlbench.runner.cell_job import write_episodes
from tlbench.tasks import card, episodes, registry

CARD = card.Card(
    name="toy", version=1, paradigm="different-domain-different-task", summary="A toy", loader="embedded",
    regime="episodes", sources=("base",), target="novel", budgets=(1, 5), backbone="convnet", trainable=True,
    episodes=card.EpisodeRule(ways=3, queries=4, count=8), license="CC0", cite="nobody",
)  # fmt: skip
TASK = card.tasks_of(CARD)[0]


def domain(classes: int = 6, each: int = 12, prefix: str = "s") -> Domain:
    y = np.repeat(np.arange(classes), each)
    ids = tuple(f"{prefix}{i:04}" for i in range(len(y)))
    return Domain("novel", ids, y, tuple(f"c{i}" for i in range(classes)), ids, x=np.zeros((len(y), 1, 4, 4), np.uint8))


def test_every_episode_has_its_ways_shots_and_queries() -> None:
    split = episodes.split(TASK, domain(), 0)
    made = split.episodes(5)
    assert len(made) == 8
    for e in made:
        assert sorted(np.bincount(e.support_y)) == [5, 5, 5]
        assert sorted(np.bincount(e.query_y)) == [4, 4, 4]
        assert not set(e.support.tolist()) & set(e.queries.tolist())


@settings(max_examples=20, deadline=None)
@given(classes=st.integers(3, 9), each=st.integers(9, 20), k=st.integers(1, 4))
def test_shots_are_nested_and_queries_are_the_same_at_every_budget(classes: int, each: int, k: int) -> None:
    split = episodes.split(TASK, domain(classes, each), 0)
    for small, large in zip(split.episodes(k), split.episodes(5), strict=True):
        assert set(small.support.tolist()) <= set(large.support.tolist())
        assert small.queries.tolist() == large.queries.tolist()
        assert small.query_y.tolist() == large.query_y.tolist()


def test_labels_are_the_classes_of_the_domain_under_other_names() -> None:
    target = domain()
    for e in episodes.split(TASK, target, 0).episodes(1):
        named = dict(zip(e.support_y.tolist(), target.y[e.support].tolist(), strict=True))
        assert len(set(named.values())) == 3
        assert [named[y] for y in e.query_y.tolist()] == target.y[e.queries].tolist()


def test_episodes_do_not_depend_on_the_seed_and_differ_from_each_other() -> None:
    one, other = episodes.split(TASK, domain(), 0), episodes.split(TASK, domain(), 9)
    assert one.digest == other.digest
    assert [e.queries.tolist() for e in one.episodes(1)] == [e.queries.tolist() for e in other.episodes(1)]
    assert len({tuple(e.queries.tolist()) for e in one.episodes(1)}) == 8


def test_another_sample_of_a_class_that_is_not_drawn_changes_no_episode() -> None:
    target = domain()
    made = episodes.split(TASK, target, 0).episodes(1)
    drawn = {int(target.y[i]) for i in made[0].support}
    spare = next(c for c in range(6) if c not in drawn)
    more = Domain(
        "novel", (*target.ids, "extra"), np.append(target.y, spare), target.classes, (*target.hashes, "extra"),
        x=np.zeros((len(target) + 1, 1, 4, 4), np.uint8),
    )  # fmt: skip
    again = episodes.split(TASK, more, 0).episodes(1)[0]
    assert [target.ids[i] for i in made[0].support] == [more.ids[i] for i in again.support]
    assert [target.ids[i] for i in made[0].queries] == [more.ids[i] for i in again.queries]


def test_the_order_of_queries_does_not_tell_their_class() -> None:
    """Were they listed class by class, the position alone would be an answer."""
    made = episodes.split(TASK, domain(6, 40), 0).episodes(1)
    by_class = [e.query_y.tolist() for e in made if e.query_y.tolist() == sorted(e.query_y.tolist())]
    assert by_class == []
    assert len({tuple(e.query_y.tolist()) for e in made}) > 4


def test_a_worker_is_given_supports_with_labels_and_queries_without(tmp_path: Path) -> None:
    split = episodes.split(TASK, domain(), 0)
    write_episodes(tmp_path / "episodes.npz", split, split.episodes(1))
    with np.load(tmp_path / "episodes.npz") as held:
        assert sorted(held) == ["queries", "support", "support_y"]
        place = {int(row): i for i, row in enumerate(split.partition.test)}
        first = split.episodes(1)[0]
        assert held["queries"][0].tolist() == [place[int(r)] for r in first.queries]
        assert held["support_y"].shape == (8, 3)


@pytest.mark.parametrize(
    ("k", "target", "said"),
    [
        (0, domain(), "an episode needs 1 shot a class or more"),
        ("full", domain(), "an episode needs 1 shot a class or more"),
        (1, domain(2, 20), "2 classes have the 9 samples that an episode takes of each; 3 are needed"),
        (9, domain(6, 12), "0 classes have the 13 samples"),
    ],
)
def test_episodes_that_cannot_be_are_refused_in_a_line(k: card.Budget, target: Domain, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        episodes.split(TASK, target, 0).shots(k)


def test_published_episodes_are_taken_as_they_are(real_data: Path) -> None:
    from tlbench.tasks.loaders import load

    task = registry.find("omniglot_runs")[0]
    target = load(task.card, task.target, None)
    made = episodes.split(task, target, 0).episodes(1)
    assert len(made) == 20
    for e in made:
        assert len(e.support) == len(e.queries) == 20
        assert sorted(e.support_y.tolist()) == sorted(e.query_y.tolist()) == list(range(20))
    with pytest.raises(UsageError, match="published episodes have 1 shots, not 5"):
        episodes.split(task, target, 0).shots(5)


def test_embedded_episodes_are_the_same_in_another_process() -> None:
    script = (
        "from tlbench.tasks import registry; from tlbench.runner.cell_job import Bench\n"
        "from tlbench.runner.cell import Conditions\n"
        "print(Bench(Conditions()).split(registry.find('fonts_fewshot')[0], 0).digest)"
    )
    found = {subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout}
    from tlbench.runner.cell import Conditions
    from tlbench.runner.cell_job import Bench

    assert found == {Bench(Conditions()).split(registry.find("fonts_fewshot")[0], 3).digest + "\n"}
