"""The design of the trials: the published default, then values that cover each knob's range and depend on its name."""

from __future__ import annotations

import json
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from tlbench.methods import loader
from tlbench.methods import method as methods
from tlbench.methods.method import Description, Field
from tlbench.runner.selection import search

DESCRIBED = {name: loader.describe(name, {}) for name in methods.shipped()}

FROZEN = [
    (0.03068, 4.389, 256), (0.01148, 0.1228, 64), (0.001006, 1.831, 256), (0.002671, 0.6047, 1024),
    (0.01862, 9.843, 256), (0.09862, 0.7622, 1024), (0.003815, 0.2335, 64),
]  # fmt: skip


def described(space: dict[str, tuple[object, ...]], types: dict[str, str], **config: object) -> Description:
    fields = tuple(Field(name, types.get(name, "float"), config.get(name)) for name in space)
    values = {name: config.get(name) for name in space}
    return Description("m", "m", "other", "", "", (), (), ("classification",), (), "", fields, values, dict(space), "d")


@pytest.mark.parametrize("name", sorted(DESCRIBED))
def test_trial_0_is_the_published_default_and_every_trial_is_in_its_space(name: str) -> None:
    d = DESCRIBED[name]
    found = search.design(d, search.trials_of(d))
    assert found[0] is d
    assert search.trials_of(d) == (1 if not d.search else 8 if "steps" in d.config else 20)
    assert len({json.dumps(t.config) for t in found}) == len(found)
    assert len(found) == search.trials_of(d) or all(kind == "choice" for kind, *_ in d.search.values())
    cls = loader.load(name)
    for trial in found[1:]:
        assert {k for k in d.config if trial.config[k] != d.config[k]} <= set(d.search)
        cls(**trial.config)  # the method takes it
        for knob, (kind, *ends) in d.search.items():
            x = trial.config[knob]
            assert x in ends if kind == "choice" else ends[0] <= x <= ends[1]
            assert type(json.loads(json.dumps(x))) is type(x)


@given(knob=st.text(min_size=1, max_size=12), part=st.integers(0, 2))
def test_seven_trials_are_one_in_each_of_seven_strata_and_all_are_one_in_each_of_21(knob: str, part: int) -> None:
    places = np.array([search.position(knob, i) for i in range(1, search.MOST)])
    assert ((places >= 0) & (places < 1)).all()
    assert sorted((places[7 * part : 7 * part + 7] * 7).astype(int)) == list(range(7))
    assert sorted((places * 21).astype(int)) == list(range(21))


@pytest.mark.parametrize("name", sorted(DESCRIBED))
def test_no_two_knobs_of_a_method_move_together(name: str) -> None:
    """Before repetitions are left out."""
    for a, b in combinations(DESCRIBED[name].search, 2):
        few, many = ([(search.position(a, i), search.position(b, i)) for i in range(1, n)] for n in (8, 20))
        assert abs(spearmanr(*np.array(few).T).statistic) < 0.9
        assert abs(spearmanr(*np.array(many).T).statistic) < 0.6


def test_methods_that_share_a_knob_share_its_values_trial_by_trial() -> None:
    dann, reference = (search.design(DESCRIBED[name], 8) for name in ("dann", "target_only"))
    for a, b in zip(dann[1:], reference[1:], strict=True):
        assert (a.config["lr"], a.config["weight_decay"]) == (b.config["lr"], b.config["weight_decay"])


@given(few=st.integers(1, search.MOST), more=st.integers(1, search.MOST))
def test_fewer_trials_are_the_first_of_more(few: int, more: int) -> None:
    small, large = sorted((few, more))
    d = DESCRIBED["dann"]
    configs = [t.config for t in search.design(d, large)]
    assert configs[:small] == [t.config for t in search.design(d, small)]


def test_a_design_is_what_it_was() -> None:
    found = [(t.config["lr"], t.config["weight"], t.config["hidden"]) for t in search.design(DESCRIBED["dann"], 8)[1:]]
    assert found == FROZEN


def test_whole_numbers_stay_whole_and_a_linear_range_of_them_is_shared_out_evenly() -> None:
    d = described({"n": ("linear", 1, 3), "m": ("log", 1, 10_000)}, {"n": "int | None", "m": "int"})
    found = search.design(d, search.MOST)[1:]
    assert {type(t.config[k]) for t in found for k in ("n", "m")} == {int}
    assert len(found) == 21
    assert sorted(t.config["n"] for t in found) == [1] * 7 + [2] * 7 + [3] * 7
    assert all(1 <= t.config["m"] <= 10_000 for t in found)


def test_what_was_set_stays_and_a_method_with_nothing_to_search_has_one_trial() -> None:
    d = loader.describe("dann", {"lr": "0.5"})
    assert {t.config["lr"] for t in search.design(d, 8)} == {0.5}
    assert len({t.config["weight"] for t in search.design(d, 8)}) == 8
    assert search.design(DESCRIBED["chance"], 8) == (DESCRIBED["chance"],)
    with pytest.raises(ValueError, match="1 to 22"):
        search.design(d, 23)
