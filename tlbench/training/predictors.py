"""What `fit` returns: a function of inputs that also names classes, and that is saved and restored.

    predictor = DANN().fit(train, seed=0)
    predictor(x)                    # scores, as the harness asks; also predictor.scores(x)
    predictor.predict(x)            # labels
    np.savez("dann.npz", **predictor.state())
    FittedPredictor.restore(np.load("dann.npz"))   # neither the data nor the method's fit are needed

Each is a module whose parameters and buffers are all that was learnt. A method that returns a plain function has
neither labels nor a state; the harness asks for scores alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tlbench.data import Labeled
from tlbench.training.detector import Detector
from tlbench.training.kernels import held
from tlbench.training.networks import Networks
from tlbench.training.saving import State, loaded, saved


class Fitted:
    """A fitted module, which can be saved."""

    kinds: ClassVar[dict[str, type[Fitted]]] = {}

    def __init__(self, module: nn.Module) -> None:
        self.module = module

    def __init_subclass__(cls) -> None:
        Fitted.kinds[cls.__name__] = cls

    def state(self) -> State:
        """Arrays and a JSON text, by name: all that was learnt.

        Raises:
            ValueError: something in it is no array and no plain value; says what.
        """
        return saved(self.module, type(self).__name__)

    @staticmethod
    def restore(state: Mapping[str, Any], device: str = "cpu") -> Any:
        """The predictor or learner whose state this is, as it comes from `state()` or `np.load`.

        Raises:
            ValueError: it is no such state.
        """
        kind, module = loaded(state)
        for part in module.modules():
            if "device" in vars(part):
                part.__dict__["device"] = device
                part.to(device)
        return Fitted.kinds[kind](module)


class FittedPredictor(Fitted):
    """(n, *shape) inputs -> scores."""

    def __call__(self, x: Tensor) -> Tensor:
        """(n, n_classes) scores, higher means likelier; (n, 1) numbers; (n, q, 6) boxes."""
        out: Tensor = self.module(x)
        return out

    def scores(self, x: Tensor) -> Tensor:
        """As calling it does."""
        return self(x)

    def predict(self, x: Tensor) -> Tensor:
        """(n,) classes; (n,) numbers where one is predicted; (n, q, 6) boxes."""
        return labels_of(self(x))


class FittedLearner(Fitted):
    """A labelled support and (n, *shape) queries -> the queries' scores."""

    def __call__(self, support: Labeled, x: Tensor) -> Tensor:
        """(n, ways) scores."""
        out: Tensor = self.module(support, x)
        return out

    def scores(self, support: Labeled, x: Tensor) -> Tensor:
        """As calling it does."""
        return self(support, x)

    def predict(self, support: Labeled, x: Tensor) -> Tensor:
        """(n,) classes."""
        return labels_of(self(support, x))


class BatchedLearner(FittedLearner):
    """A learner that answers several episodes at once."""

    def several(self, support: Labeled, x: Tensor) -> Tensor:
        """(e, s, *shape) supports and (e, q, *shape) queries -> (e, q, ways) scores."""
        out: Tensor = self.module.several(support, x)  # type: ignore[operator]
        return out


def labels_of(scores: Tensor) -> Tensor:
    """(n, k) scores -> (n,) classes; (n, 1) -> (n,) numbers; boxes as they are."""
    return scores if scores.ndim == 3 else scores[:, 0] if scores.shape[1] == 1 else scores.argmax(1)


class Function(nn.Module):
    """A plain function, which has no state."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *given: Any) -> Any:
        return self.function(*given)


def module_of(function: Callable[..., Any]) -> nn.Module:
    """A predictor's, a map's or a function's module."""
    return function.module if isinstance(function, Fitted) else (
        function if isinstance(function, nn.Module) else Function(function)
    )  # fmt: skip


def chain(*parts: Callable[..., Any]) -> FittedPredictor:
    """The predictor that passes inputs through all parts, in order."""
    return FittedPredictor(nn.Sequential(*map(module_of, parts)))


class NetworkScores(nn.Module):
    """The classifier, or detector, above the features."""

    def __init__(self, net: Networks, device: str) -> None:
        super().__init__()
        self.features, self.classifier, self.device = net.features, net.classifier, device

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            if isinstance(self.classifier, Detector):
                return self.classifier.boxes(self.features.maps(x.to(self.device)), (x.shape[-2], x.shape[-1]))
            out: Tensor = self.classifier(self.features(x.to(self.device)))
        return out


def predictor(net: Networks, device: str = "cpu") -> FittedPredictor:
    """The classifier (or detector) of `net` as a function of raw inputs."""
    net.eval()
    return FittedPredictor(NetworkScores(net, device))


Score = Callable[[Tensor, Labeled, int], Tensor]  # (n, d) rows, (m, d) labelled ones, n_classes -> (n, n_classes)


class FromSamples(nn.Module):
    """Scores by a rule over labelled rows, which are kept: a nearest neighbour's state is its samples.

    Args:
        embed: raw inputs -> (n, d) rows
        rule: a function of a module, not of another function
    """

    x: Tensor
    y: Tensor

    def __init__(self, embed: nn.Module, rule: Score, known: Labeled, n_classes: int) -> None:
        super().__init__()
        self.embed, self.rule, self.n_classes = embed, rule, n_classes
        self.register_buffer("x", known.x)
        self.register_buffer("y", known.y)

    def forward(self, x: Tensor) -> Tensor:
        return self.rule(self.embed(x), Labeled(self.x, self.y), self.n_classes)


class FromSupport(nn.Module):
    """The same rule over each episode's support."""

    def __init__(self, embed: nn.Module, rule: Score, n_classes: int) -> None:
        super().__init__()
        self.embed, self.rule, self.n_classes = embed, rule, n_classes

    def forward(self, support: Labeled, x: Tensor) -> Tensor:
        return self.rule(self.embed(x), Labeled(self.embed(support.x), support.y), self.n_classes)


class LinearModel(nn.Module):
    """(n, d) rows -> (n, k) or (n,) decision values of a linear model of scikit-learn's, in doubles.

    Args:
        model: has `coef_` and `intercept_`
        scaler: a `StandardScaler` that came before, if any
    """

    coef: Tensor
    intercept: Tensor
    mean: Tensor
    scale: Tensor
    classes: Tensor

    def __init__(self, model: Any, scaler: Any = None) -> None:
        super().__init__()
        coef = model.coef_.toarray() if hasattr(model.coef_, "toarray") else model.coef_
        self.scaled, self.one_vs_one = scaler is not None, hasattr(model, "support_vectors_")
        arrays = {"coef": coef, "intercept": model.intercept_, "classes": model.classes_}
        arrays |= {"mean": scaler.mean_, "scale": scaler.scale_} if scaler is not None else {}
        for name, array in arrays.items():
            self.register_buffer(name, held(array))

    def forward(self, rows: NDArray[Any]) -> NDArray[Any]:
        if self.scaled:
            rows = (rows - self.mean.numpy()) / self.scale.numpy()
        margins = rows @ self.coef.numpy().T + self.intercept.numpy()
        if margins.shape[1] == 1:
            return np.asarray(margins[:, 0])
        if self.one_vs_one:
            from sklearn.utils.multiclass import _ovr_decision_function  # libsvm's votes, as scikit-learn counts them

            margins = _ovr_decision_function(margins < 0, -margins, len(self.classes))
        return np.asarray(margins)
