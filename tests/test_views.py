"""Views of a domain: kept classes, groups, and a share of the samples."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tlbench.data import Domain
from tlbench.errors import UsageError
from tlbench.tasks.card import Place, View
from tlbench.tasks.loaders.views import placed, subset, viewed


def domain(n: int = 30, test: bool = False) -> Domain:
    y = np.arange(n) % 5
    ids = tuple(f"s{i:03}" for i in range(n))
    official = np.arange(n) % 3 == 0 if test else None
    return Domain("d", ids, y, ("a", "b", "c", "d", "e"), ids, x=np.arange(n)[:, None], official_test=official)


def test_kept_classes_are_renumbered_in_the_views_order() -> None:
    seen = viewed(domain(), View(keep=("d", "b")), "toy/d")
    assert seen.classes == ("d", "b")
    assert [("d", "b")[y] for y in seen.y] == [("a", "b", "c", "d", "e")[i % 5] for i in seen.x[:, 0]]
    assert len(seen) == 12


def test_groups_join_classes_and_leave_the_rest_out() -> None:
    seen = viewed(domain(), View(groups={"vowel": ("a", "e"), "stop": ("b", "d")}), "toy/d")
    assert seen.classes == ("vowel", "stop")
    assert set(seen.x[seen.y == 0, 0] % 5) == {0, 4}
    assert set(seen.x[seen.y == 1, 0] % 5) == {1, 3}


def test_a_view_of_a_class_that_is_not_there_is_named() -> None:
    with pytest.raises(UsageError, match="toy/d: its view names class 'z'; there are: a, b, c, d, e"):
        viewed(domain(), View(keep=("z",)), "toy/d")


@settings(max_examples=30, deadline=None)
@given(n=st.integers(5, 60), take=st.integers(1, 60), test=st.booleans())
def test_taken_samples_are_nested_and_spare_the_publishers_test_set(n: int, take: int, test: bool) -> None:
    whole = domain(n, test)
    if take > n:
        with pytest.raises(UsageError, match=f"'take' is {take}, but the domain holds {n} samples"):
            placed(whole, "d", Place(take=take), "toy/d")
        return
    few, fewer = (placed(whole, "d", Place(take=k), "toy/d") for k in (take, max(1, take // 2)))
    assert set(fewer.ids) <= set(few.ids)
    if test:
        assert few.official_test is not None
        assert int((~few.official_test).sum()) == min(take, int((~whole.official_test).sum()))
        assert int(few.official_test.sum()) == int(whole.official_test.sum())
    else:
        assert len(few) == take


def test_a_subset_takes_every_part_of_a_sample_along() -> None:
    part = subset(domain(), np.array([4, 2]))
    assert part.ids == part.hashes == ("s004", "s002")
    assert part.y.tolist() == [4, 2]
    assert part.x[:, 0].tolist() == [4, 2]
