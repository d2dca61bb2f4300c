"""Methods as scikit-learn estimators."""

from __future__ import annotations

import doctest
from typing import Any

import numpy as np
import pytest
import sklearn
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_checks

import tlbench.sklearn as adapter
from tlbench import Train
from tlbench.data import Recipe
from tlbench.methods.loader import load
from tlbench.sklearn import TransferClassifier, TransferRegressor
from tlbench.training.predictors import Fitted

Y = np.arange(60) % 3
DRAW = np.random.default_rng(0)
XS, XT = DRAW.normal(6 * np.eye(3)[Y]), DRAW.normal(6 * np.eye(3)[Y]) + 1
X = np.r_[XS, XT]
DOMAIN = np.repeat([1, -1], 60)
PARTLY = np.r_[Y, np.where(np.arange(60) < 9, Y, -1)]


def test_the_module_s_example_does_what_it_says() -> None:
    assert doctest.testmod(adapter).failed == 0


def test_the_scores_are_those_of_the_same_fit_by_hand() -> None:
    found = TransferClassifier("dann", steps=5).fit(X, PARTLY, sample_domain=DOMAIN).decision_function(XT)
    train = Train.of(XS, Y, XT, (XT[:9], Y[:9]), recipe=Recipe(steps=5))
    np.testing.assert_array_equal(found, load("dann")().fit(train, 0)(train.target.x).double().numpy())


def test_several_positive_domains_are_several_sources() -> None:
    domain = np.r_[np.repeat([1, 2], 30), np.full(60, -1)]
    found = TransferClassifier("m3sda", steps=3).fit(X, PARTLY, sample_domain=domain).decision_function(XT)
    train = Train.of((XS[:30], XS[30:]), (Y[:30], Y[30:]), XT, (XT[:9], Y[:9]), recipe=Recipe(steps=3))
    np.testing.assert_array_equal(found, load("m3sda")().fit(train, 0)(train.target.x).double().numpy())


def test_labels_of_any_kind_come_back() -> None:
    names = np.array(["a", "b", "c"])[Y]
    fitted = TransferClassifier("source_only", steps=30).fit(XS, names)
    assert fitted.classes_.tolist() == ["a", "b", "c"]
    assert (fitted.predict(XS) == names).mean() > 0.9
    shares = fitted.predict_proba(XS)
    assert shares.shape == (60, 3)
    np.testing.assert_allclose(shares.sum(1), 1)


def test_it_is_cloned_searched_and_cross_validated() -> None:
    one = TransferClassifier("dann", params={"weight": 0.5}, steps=20)
    assert clone(one).get_params() == one.get_params()
    assert one.set_params(steps=10).steps == 10
    pipe = make_pipeline(StandardScaler(), one)
    assert cross_val_score(pipe, XS, Y, cv=3).mean() > 0.8
    found = GridSearchCV(one, {"steps": [1, 20]}, cv=2).fit(XS, Y, sample_domain=np.ones(60, int))
    assert found.best_params_ == {"steps": 20}


def test_domains_are_routed_as_metadata() -> None:
    with sklearn.config_context(enable_metadata_routing=True):
        one = TransferClassifier("dann", steps=10).set_fit_request(sample_domain=True)
        pipe = make_pipeline(StandardScaler(), one).fit(X, np.r_[Y, np.full(60, -1)], sample_domain=DOMAIN)
        assert pipe.score(XT, Y) > 0.8
        folds = cross_val_score(one, X, np.r_[Y, Y], params={"sample_domain": DOMAIN}, cv=2)
        assert folds.shape == (2,)


def test_numbers_are_predicted_and_nan_is_unlabelled() -> None:
    y = X[:, 0].copy()
    y[69:] = np.nan
    fitted = TransferRegressor("finetune", steps=60).fit(X, y, sample_domain=DOMAIN)
    assert fitted.score(XT, XT[:, 0]) > 0.5
    with pytest.raises(ValueError, match="a source's row has a label that is no finite number"):
        TransferRegressor("finetune").fit(X, np.full(120, np.nan), sample_domain=DOMAIN)


def test_a_fitted_estimator_has_the_predictor_s_state() -> None:
    one = TransferClassifier("coral", steps=3).fit(X, PARTLY, sample_domain=DOMAIN)
    again = Fitted.restore(one.state())
    x = np.asarray(XT, np.float32)
    np.testing.assert_array_equal(again(torch.from_numpy(x)).double().numpy(), one.decision_function(XT))


@pytest.mark.parametrize(
    ("domain", "said"),
    [(np.zeros(120, int), "above 0 for a source"), (np.ones(3, int), "there are 120 rows"), (np.ones(120), "integers")],
)
def test_domains_that_are_none_are_told(domain: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        TransferClassifier("dann").fit(X, PARTLY, sample_domain=domain)


@pytest.mark.parametrize(
    "check",
    [
        "check_no_attributes_set_in_init", "check_parameters_default_constructible", "check_estimators_unfitted",
        "check_get_params_invariance", "check_set_params", "check_dict_unchanged", "check_n_features_in",
        "check_estimators_nan_inf", "check_estimators_pickle", "check_fit_idempotent", "check_classifiers_classes",
        "check_estimators_dtypes"
    ],
)  # fmt: skip
def test_scikit_learn_s_own_checks_pass(check: str) -> None:
    one = TransferClassifier("source_only", steps=60)
    try:
        getattr(estimator_checks, check)("TransferClassifier", one)
    except estimator_checks.SkipTest as skip:
        pytest.skip(str(skip))
