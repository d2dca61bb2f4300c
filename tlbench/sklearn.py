"""A method as a scikit-learn estimator, for pipelines, cross-validation and grid searches.

`sample_domain` follows skada's convention: one integer a row, above 0 for a source (several values are several sources)
and below 0 for the target. A target row is unlabelled if its label is -1 (a class) or NaN (a number); the other target
rows are the method's shots. All target rows count as unlabelled inputs, too. Without `sample_domain` every row is of
one labelled source, as scikit-learn's own callers expect.

    >>> import numpy as np
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from tlbench.sklearn import TransferClassifier
    >>> y = np.arange(60) % 3
    >>> x = np.random.default_rng(0).normal(6 * np.eye(3)[y])
    >>> X, domain = np.r_[x, x + 1], np.repeat([1, -1], 60)
    >>> pipe = make_pipeline(StandardScaler(), TransferClassifier("dann", steps=30))
    >>> fitted = pipe.fit(X, np.r_[y, np.full(60, -1)], transferclassifier__sample_domain=domain)
    >>> float(fitted.score(x + 1, y)) > 0.9
    True

Needs scikit-learn, which tlbench brings. Rows are 2-d arrays; images go to `Train.of` as they are.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from tlbench.data import Recipe, Train
from tlbench.errors import UsageError
from tlbench.training.predictors import FittedPredictor


class _Transfer(BaseEstimator):  # type: ignore[misc]
    """What both estimators share. A method's own hyperparameters are in `params`."""

    def __init__(
        self,
        method: Any = "source_only",
        *,
        params: dict[str, Any] | None = None,
        steps: int | None = None,
        batch: int | None = None,
        lr: float | None = None,
        random_state: int = 0,
        device: str = "cpu",
    ) -> None:
        self.method = method
        self.params = params
        self.steps = steps
        self.batch = batch
        self.lr = lr
        self.random_state = random_state
        self.device = device

    def _method(self) -> Any:
        """The configured method: a shipped name, a `file.py:Class`, a class, or an instance as it is."""
        from tlbench.methods.loader import load

        cls = load(self.method) if isinstance(self.method, str) else self.method
        if not isinstance(cls, type):
            return cls
        try:
            return cls(**(self.params or {}))
        except TypeError as error:
            raise UsageError(f"params: {cls.__name__} does not take {self.params}: {error}") from None

    def _fit(
        self, x: NDArray[Any], y: NDArray[Any], domain: NDArray[Any], labeled: NDArray[Any], n: int | None
    ) -> None:
        method, target = self._method(), domain < 0
        shots = target & labeled
        ignores: frozenset[str] = getattr(method, "ignores", frozenset())
        values = [] if "sources" in ignores else np.unique(domain[domain > 0]).tolist()
        xs, ys = tuple(x[domain == v] for v in values), tuple(y[domain == v] for v in values)
        few = (x[shots], y[shots]) if shots.any() and "shots" not in ignores else None
        pool = x[target] if target.any() else None
        given = {name: getattr(self, name) for name in ("steps", "batch", "lr")}
        recipe = Recipe(**{name: value for name, value in given.items() if value is not None})
        train = Train.of(
            xs or None, ys or None, pool, few, n_classes=n, recipe=recipe, device=self.device, seed=self.random_state
        )
        self.predictor_ = method.fit(train, self.random_state)

    def _scores(self, x: ArrayLike) -> NDArray[Any]:
        check_is_fitted(self, "predictor_")
        rows: Any = validate_data(self, x, reset=False, dtype=np.float32)
        with torch.no_grad():
            out: torch.Tensor = self.predictor_(torch.from_numpy(np.ascontiguousarray(rows)))
        return np.asarray(out.detach().cpu().double().numpy())

    def _domains(self, n: int, sample_domain: ArrayLike | None) -> NDArray[np.int64]:
        """(n,) checked domains; all of one source where none are given."""
        domain = np.ones(n, np.int64) if sample_domain is None else np.asarray(sample_domain)
        if domain.shape != (n,):
            raise ValueError(f"sample_domain has shape {domain.shape}, there are {n} rows")
        if not np.issubdtype(domain.dtype, np.integer) or (domain == 0).any():
            raise ValueError("sample_domain holds integers: above 0 for a source, below 0 for the target")
        return domain.astype(np.int64)

    def state(self) -> dict[str, Any]:
        """The fitted predictor's arrays; see `tlbench.training.predictors`.

        Raises:
            ValueError: the method returned a plain function.
        """
        check_is_fitted(self, "predictor_")
        if not isinstance(self.predictor_, FittedPredictor):
            raise ValueError(f"{self.method} returned a plain function, which has no state")
        return self.predictor_.state()


class TransferClassifier(ClassifierMixin, _Transfer):  # type: ignore[misc]
    """A tlbench method that tells classes.

    Args:
        method: a shipped method's name, `file.py:Class`, a method's class, or a configured method
        params: the method's own hyperparameters
        steps, batch, lr: of the recipe that the card would prescribe; None takes its default
        random_state: the seed
        device: where to compute

    Attributes:
        classes_: (n_classes,) the labels of sources and shots
        predictor_: what the method's `fit` returned
    """

    def fit(self, X: ArrayLike, y: ArrayLike, sample_domain: ArrayLike | None = None) -> Self:
        """Fit to rows of all domains.

        Args:
            X: (n, d)
            y: (n,); -1 marks a target row without a label
            sample_domain: (n,) integers; None: all rows are of one source

        Raises:
            ValueError: arrays do not fit each other, or a source's row has no label.
        """
        x, labels = validate_data(self, X, y, dtype=np.float32)
        domain = self._domains(len(x), sample_domain)
        check_classification_targets(labels)
        labeled = np.ones(len(x), bool)
        if np.issubdtype(labels.dtype, np.number):
            labeled = ~((domain < 0) & (labels == -1))
        self.classes_, codes = np.unique(labels[labeled], return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"there must be 2 classes or more; the labels are of {len(self.classes_)} class")
        coded = np.zeros(len(x), np.int64)
        coded[labeled] = codes
        self._fit(x, coded, domain, labeled, len(self.classes_))
        return self

    def decision_function(self, X: ArrayLike) -> NDArray[Any]:
        """(n, n_classes) scores; of two classes (n,), the second's over the first."""
        scores = self._scores(X)
        return scores[:, 1] - scores[:, 0] if scores.shape[1] == 2 else scores

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """(n,) labels of `classes_`."""
        best = self._scores(X).argmax(1)
        return np.asarray(self.classes_[best])

    def predict_proba(self, X: ArrayLike) -> NDArray[Any]:
        """(n, n_classes) the softmax of the scores: probabilities where the method's scores are logits."""
        scores = self._scores(X)
        shares = np.exp(scores - scores.max(1, keepdims=True))
        return np.asarray(shares / shares.sum(1, keepdims=True))


class TransferRegressor(RegressorMixin, _Transfer):  # type: ignore[misc]
    """A tlbench method that predicts a number; parameters as `TransferClassifier`'s."""

    def __init__(
        self,
        method: Any = "source_plus_target",
        *,
        params: dict[str, Any] | None = None,
        steps: int | None = None,
        batch: int | None = None,
        lr: float | None = None,
        random_state: int = 0,
        device: str = "cpu",
    ) -> None:
        super().__init__(
            method, params=params, steps=steps, batch=batch, lr=lr, random_state=random_state, device=device
        )

    def fit(self, X: ArrayLike, y: ArrayLike, sample_domain: ArrayLike | None = None) -> Self:
        """Fit to rows of all domains; a target row whose number is NaN has no label.

        Raises:
            ValueError: arrays do not fit each other, or a source's row has no label.
        """
        x: Any = validate_data(self, X, dtype=np.float32)
        numbers = np.asarray(y, np.float32)
        if numbers.shape != (len(x),):
            raise ValueError(f"y has shape {numbers.shape}, there are {len(x)} rows")
        domain, labeled = self._domains(len(x), sample_domain), np.isfinite(numbers)
        if not labeled[domain > 0].all():
            raise ValueError("a source's row has a label that is no finite number")
        self._fit(x, numbers, domain, labeled, None)
        return self

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """(n,) numbers."""
        return np.asarray(self._scores(X)[:, 0])
