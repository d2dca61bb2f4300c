# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = [
#     "numpy==2.4.6", "pytorch-adapt==0.0.83", "pytorch-metric-learning==1.6.3", "torch==2.15.0", "torchmetrics==0.9.3",
#     "skada==0.6.0", "scikit-learn==1.7.2",
#     "setuptools<80", # whose pkg_resources torchmetrics imports
# ]
# ///
"""Freezes what pytorch-adapt's and skada's validators of unlabelled targets give on random inputs.

`uv run --script make_validators.py [FILE]` builds its environment and writes validators.npz, or FILE.
"""

import sys
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from pytorch_adapt.validators import BNMValidator, IMValidator, SNDValidator
from pytorch_adapt.validators.deep_embedded_validator import get_dev_risk
from skada.metrics import DeepEmbeddedValidation, ImportanceWeightedScorer, SoftNeighborhoodDensity
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, log_loss
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state

OUT = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("validators.npz")
made = np.random.default_rng(0)
scores = 2 * made.normal(size=(40, 5))  # of unlabelled target samples
weights, losses = np.exp(made.normal(size=60)), made.exponential(size=60)
logits = torch.from_numpy(scores)
told = {"logits": logits, "preds": logits.softmax(1)}
peer = {
    "im": IMValidator()(target_train=told),
    "bnm": BNMValidator()(target_train=told),
    "snd": SNDValidator()(target_train=told),
}


class Fixed(ClassifierMixin, BaseEstimator):
    """A softmax regression whose weights are given, as skada's scorers want an estimator."""

    module_ = SimpleNamespace(layer_name="inputs")  # which makes it a deep model to skada

    def __init__(self, w):
        self.w = w

    def fit(self, X, y=None):
        return self

    def predict_features(self, X):
        return X

    def predict_proba(self, X, sample_domain=None, **params):
        e = np.exp(X @ self.w - (X @ self.w).max(1, keepdims=True))
        return e / e.sum(1, keepdims=True)

    def score(self, X, y, sample_weight=None, sample_domain=None, allow_source=False):
        return accuracy_score(y, self.predict_proba(X).argmax(1), sample_weight=sample_weight)


xs, xt = made.normal(size=(90, 3)), 0.7 + made.normal(size=(70, 3))
ys, w = made.integers(0, 4, size=90), made.normal(size=(3, 4))
domain, x = np.r_[np.ones(90), -np.full(70, 2)].astype(int), np.concatenate([xs, xt])
y = np.r_[ys, np.full(70, -1)]
model = Fixed(w)


def column_of_losses(y, p):  # its own loss is (n,), which (n, 1) weights turn into an (n, n) matrix
    return -np.log(p[np.arange(len(y)), y])[:, None]


dev = DeepEmbeddedValidation(loss_func=column_of_losses, random_state=0)._score(None, model, x, y, domain)
train, held = train_test_split(np.arange(90), test_size=0.33, random_state=check_random_state(0))
told_apart = LogisticRegression().fit(np.r_[xs[train], xt], np.r_[np.ones(len(train)), np.zeros(70)])
p = told_apart.predict_proba(xs[held])


def minus_log_loss(estimator, X, y, sample_domain, sample_weight, allow_source):  # scikit-learn's takes no domain
    return -log_loss(y, estimator.predict_proba(X), sample_weight=sample_weight, labels=range(4))


weighing = model.set_score_request(sample_weight=True)
weighted = ImportanceWeightedScorer(scoring=minus_log_loss)
iw, iw_accuracy = (s._score(None, weighing, x, y, domain) for s in (weighted, ImportanceWeightedScorer()))
densities = (weighted.weight_estimator_target_, weighted.weight_estimator_source_)
iw_weights = np.exp(np.subtract(*(d.score_samples(xs) for d in densities)))
identity = Fixed(np.eye(5))
two = np.r_[np.ones(2), -np.full(40, 2)].astype(int)
both = np.concatenate([scores[:2], scores])
snd = SoftNeighborhoodDensity()._score(None, identity, both, np.r_[0, 1, np.full(40, -1)], two)
column = (torch.from_numpy(v[:, None].copy()) for v in (weights, losses) * 2)
np.savez(
    OUT,
    versions=np.array([f"{n} {version(n)}" for n in ("pytorch-adapt", "skada", "scikit-learn", "torch", "numpy")]),
    scores=scores, weights=weights, losses=losses, **peer,
    dev=get_dev_risk(next(column), next(column), None), devn=get_dev_risk(next(column), next(column), "max"),
    xs=xs, ys=ys, xt=xt, w=w, train=train, held=held, skada_dev=dev, skada_snd=snd,
    skada_weights=len(train) / 70 * p[:, 0] / p[:, 1], iw_weights=iw_weights, skada_iw=iw,
    skada_iw_accuracy=iw_accuracy,
)  # fmt: skip
