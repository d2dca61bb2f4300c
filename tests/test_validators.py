"""The validators against pytorch-adapt's and skada's values (tests/oracles/make_validators.py), and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from agreement import frozen
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import log_loss

from tlbench.runner.selection import validators as v
from tlbench.tasks.metrics import accuracy

HELD = frozen("validators")


def test_frozen_values_come_from_known_versions() -> None:
    assert {"pytorch-adapt 0.0.83", "skada 0.6.0"} <= set(HELD["versions"].tolist())


@pytest.mark.parametrize(
    ("ours", "name"),
    [(v.mutual_information, "im"), (v.nuclear_norm, "bnm"), (v.neighbourhood_density, "snd")],
)
def test_validators_of_unlabelled_targets_are_pytorch_adapts(ours: object, name: str) -> None:
    assert callable(ours)
    assert ours(HELD["scores"]) == pytest.approx(float(HELD[name]), abs=1e-9)


def test_density_is_skadas_whose_diagonal_is_negated_not_dropped() -> None:
    """At a temperature of 0.05 the difference is exp(-40)."""
    assert v.neighbourhood_density(HELD["scores"]) == pytest.approx(float(HELD["skada_snd"]), abs=1e-9)


def test_dev_is_pytorch_adapts() -> None:
    assert v.dev_risk(HELD["losses"], HELD["weights"]) == pytest.approx(float(HELD["dev"]), abs=1e-12)


def test_dev_from_end_to_end_is_skadas() -> None:
    """Its logistic regression learns from two thirds of the source and weighs the rest. Given a loss of one column: its
    own makes an (n, n) matrix of n losses, and another number of that."""
    xs, xt, ys = HELD["xs"], HELD["xt"], HELD["ys"]
    train, held = HELD["train"], HELD["held"]
    weights = v.domain_weights(xs[train], xt, xs[held])
    np.testing.assert_allclose(weights, HELD["skada_weights"], rtol=1e-4)
    risk = v.dev_risk(v.log_losses(xs[held] @ HELD["w"], ys[held]), weights)
    assert -risk == pytest.approx(float(HELD["skada_dev"]), abs=1e-4)


def test_the_importance_weighted_risk_is_skadas_of_the_other_sign() -> None:
    """Its score is scikit-learn's under weights that sum to 1: minus the log-loss where that is asked for, else the
    accuracy. It takes all of the source, and two kernel densities for the weights: those are given to ours."""
    weights, scores, ys = HELD["iw_weights"], HELD["xs"] @ HELD["w"], HELD["ys"]
    assert weights.max() > 40 * weights.min()
    assert weights.sum() < 0.8 * len(weights)  # so that a mean of w l would not do
    assert -v.iw_risk(v.log_losses(scores, ys), weights) == pytest.approx(float(HELD["skada_iw"]), abs=1e-12)
    wrong = (scores.argmax(1) != ys).astype(float)
    assert 1 - v.iw_risk(wrong, weights) == pytest.approx(float(HELD["skada_iw_accuracy"]), abs=1e-12)


def test_dev_is_the_risk_where_all_weights_are_alike_and_takes_out_what_the_weights_explain() -> None:
    assert v.dev_risk(np.array([1.0, 2.0, 6.0]), np.ones(3)) == 3.0
    weights = np.array([0.5, 1.0, 3.0])
    assert v.dev_risk(np.full(3, 2.0), weights) == pytest.approx(2.0)  # though the mean of w l is 3
    assert v.iw_risk(np.array([1.0, 2.0, 6.0]), weights) == pytest.approx((0.5 + 2 + 18) / 4.5)


def test_log_losses_are_scikit_learns_and_bounded() -> None:
    made = np.random.default_rng(1)
    scores, y = made.normal(size=(30, 4)), np.r_[np.arange(4), made.integers(0, 4, 26)]
    p = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    assert v.log_losses(scores, y).mean() == pytest.approx(log_loss(y, p, labels=range(4)), abs=1e-12)
    sure = np.array([[0.0, -1e9]])
    assert v.log_losses(sure, np.array([1]))[0] == pytest.approx(log_loss([1], [[1.0, 0.0]], labels=[0, 1]))


def test_weights_are_the_true_ratio_where_the_domains_are_gaussians_apart() -> None:
    made = np.random.default_rng(2)
    xs, xt = made.normal(size=(20_000, 1)), made.normal(1.0, size=(10_000, 1))
    weights = v.domain_weights(xs, xt)
    assert weights.mean() == pytest.approx(1.0, abs=0.05)
    np.testing.assert_allclose(weights, np.exp(xs[:, 0] - 0.5), rtol=0.15)


def test_images_are_averaged_down_before_their_domain_is_told() -> None:
    image = np.arange(2 * 3 * 33 * 40).reshape(2, 3, 33, 40)
    rows = v._rows(image)
    assert rows.shape == (2, 3 * 16 * 16)
    assert rows[0, 0] == image[0, 0, :2, :2].mean()
    assert rows.reshape(2, 3, 16, 16)[1, 2, -1, -1] == image[1, 2, 30:, 37:].mean()
    xs, xt = v.reduced(np.ones((3, 2)), np.array([[1.0, 3.0]]))
    assert np.array_equal(xs[:, 0], np.zeros(3))  # what never varies stays finite
    assert (len(xs), len(xt)) == (3, 1)


@given(st.integers(2, 6), st.integers(0, 50))
def test_information_rewards_decided_and_balanced_predictions_only(k: int, seed: int) -> None:
    sure = 100 * np.eye(k)[np.arange(6 * k) % k]
    assert v.mutual_information(sure) == pytest.approx(np.log(k))
    assert v.nuclear_norm(sure) == pytest.approx(6**-0.5)  # k singular values, the root of 6 each, over 6 k
    collapsed = 100 * np.eye(k)[np.zeros(6 * k, int)]
    assert v.mutual_information(collapsed) == pytest.approx(0.0, abs=1e-9)
    random = np.random.default_rng(seed).normal(size=(6 * k, k))
    assert 0 <= v.mutual_information(random) <= np.log(k)
    order = np.random.default_rng(seed).permutation(6 * k)
    for f in (v.mutual_information, v.nuclear_norm, v.neighbourhood_density):
        assert f(random[order]) == pytest.approx(f(random))
    assert accuracy(sure, np.arange(6 * k) % k) == 1
