"""The biased clinical table: a real shift of the measurements, of which the diagnosis is no cause."""

from __future__ import annotations

import random
from math import exp

import numpy as np
import pytest
from sklearn import datasets
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict
from sklearn.preprocessing import StandardScaler

from tlbench.data import Domain
from tlbench.tasks import builtin
from tlbench.tasks.builtin import wdbc


@pytest.fixture(scope="module")
def source() -> Domain:
    return builtin.load("wdbc_biased")


@pytest.fixture(scope="module")
def target() -> Domain:
    return builtin.load("wdbc")


def tumours(domain: Domain) -> list[int]:
    return [int(id.split("/")[1]) for id in domain.ids]


def raw() -> tuple[np.ndarray, np.ndarray]:
    x, y = datasets.load_breast_cancer(return_X_y=True)
    return x.astype(np.float32), y


def separation(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Area under the curve of a regression that tells domains apart, on rows it was not fitted to; 0.5 is chance.

    It is given squares too: a bias towards the mean is not linear.
    """
    x, domain = np.concatenate([ours, theirs]), np.repeat([0, 1], [len(ours), len(theirs)])
    z = StandardScaler().fit_transform(x)
    regression = LogisticRegression(C=0.1, class_weight="balanced", max_iter=1000)
    scores = cross_val_predict(regression, np.hstack([z, z**2]), domain, cv=5, method="decision_function")
    return roc_auc_score(domain, scores)


def test_rows_are_the_raw_measurements_and_the_diagnosis(source: Domain, target: Domain) -> None:
    x, y = raw()
    for domain in (source, target):
        np.testing.assert_array_equal(domain.x, x[tumours(domain)])
        np.testing.assert_array_equal(domain.y, y[tumours(domain)])
        assert domain.classes == tuple(datasets.load_breast_cancer().target_names)


def test_no_tumour_is_in_both_halves(source: Domain, target: Domain) -> None:
    assert not set(tumours(source)) & set(tumours(target))
    assert not set(source.hashes) & set(target.hashes)
    assert len(target) == 569 // 2


def test_other_diagnoses_would_choose_the_same_tumours(
    source: Domain, target: Domain, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = datasets.load_breast_cancer(return_X_y=True)
    monkeypatch.setattr(datasets, "load_breast_cancer", lambda return_X_y: (x, 1 - y))
    for before in (source, target):
        after = builtin.load(before.name)
        assert after.ids == before.ids
        np.testing.assert_array_equal(after.y, 1 - before.y)


def test_the_order_of_the_rows_chooses_nobody() -> None:
    x, _ = raw()
    order = np.random.default_rng(0).permutation(len(x))
    np.testing.assert_array_equal(wdbc.selected(x[order]), np.array(wdbc.selected(x))[order])


def test_distances_are_those_of_standardised_measurements() -> None:
    x, _ = raw()
    z = (x.astype(float) - x.mean(0, dtype=float)) / x.std(0, dtype=float)
    np.testing.assert_allclose(wdbc.squared_distances(x), (z**2).sum(1), rtol=1e-9)


@pytest.mark.parametrize("hazard", [0.0, 0.3, 1.0, 2.7])
def test_a_coin_falls_with_the_exponential_probability(hazard: float) -> None:
    coin, n = random.Random(0), 20_000
    share = sum(wdbc._survives(hazard, coin) for _ in range(n)) / n
    assert share == pytest.approx(exp(-hazard), abs=4 * (exp(-hazard) * (1 - exp(-hazard)) / n) ** 0.5)


@pytest.mark.parametrize("diagnosis", [0, 1])
def test_of_either_diagnosis_as_many_are_chosen_as_their_distances_say(
    source: Domain, target: Domain, diagnosis: int
) -> None:
    x, y = raw()
    half = sorted(set(range(569)) - set(tumours(target)))
    p = np.exp(-np.array(wdbc.squared_distances(x[half])) * wdbc.SIGMA)[y[half] == diagnosis]
    assert abs((source.y == diagnosis).sum() - p.sum()) < 3 * (p * (1 - p)).sum() ** 0.5


def test_the_source_is_closer_to_the_mean_than_the_target(source: Domain, target: Domain) -> None:
    distances = np.array(wdbc.squared_distances(np.concatenate([source.x, target.x])))
    ours, theirs = np.split(distances, [len(source)])
    assert ours.mean() < theirs.mean() / 2
    assert ours.max() < np.quantile(theirs, 0.9)


def test_a_classifier_tells_the_biased_rows_from_the_target_but_not_unbiased_ones(
    source: Domain, target: Domain
) -> None:
    x, _ = raw()
    others = np.delete(x, tumours(target), 0)  # the half before its selection
    assert separation(source.x, target.x) > 0.65
    assert 0.4 < separation(others, target.x) < 0.6


def test_the_bias_leaves_fewer_malignant_tumours(source: Domain, target: Domain) -> None:
    assert (source.y == 0).mean() < (target.y == 0).mean()
