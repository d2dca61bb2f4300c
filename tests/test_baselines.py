"""The shipped methods: what all of them check, and that each is the algorithm whose name it bears."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import FrozenInstanceError, asdict, fields, is_dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from agreement import Agrees, peer
from scipy.linalg import sqrtm
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid, NearestNeighbors
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits
from tlbench_baselines import coral, deep_coral, finetune, linear_probe
from tlbench_baselines.chance import Chance
from tlbench_baselines.coral import CORAL
from tlbench_baselines.dann import DANN
from tlbench_baselines.deep_coral import DeepCORAL
from tlbench_baselines.finetune import FineTune
from tlbench_baselines.linear_probe import LinearProbe
from tlbench_baselines.source_only import SourceOnly
from tlbench_baselines.target_only import TargetOnly
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tlbench.data import Domain, Labeled, Recipe, Train, Unlabeled
from tlbench.errors import NotApplicable
from tlbench.methods import loader
from tlbench.methods import method as methods
from tlbench.tasks import builtin
from tlbench.training import networks
from tlbench.training.features import nothing_of
from tlbench.training.trainer import GradientMethod, batches, network, seeded

SMALL = {"steps": 3, "batch": 16, "penalties": 2}  # of whatever fields a method has
NETS: dict[str, dict[str, Any]] = {
    "convnet": {"kind": "convnet", "augment": ("shift",)},
    "bottleneck": {"kind": "bottleneck", "width": 24, "scale": "standard"},
}
FAMILIES = {"reference", "feature-based", "model-based", "distribution-based", "multi-source", "semi-supervised"}

CLASSIFIERS = [
    name
    for name in sorted(methods.shipped())
    if "classification" in getattr(loader.load(name), "regimes", {"classification"})
]

every_method = pytest.mark.parametrize("name", CLASSIFIERS)
every_net = pytest.mark.parametrize("net", sorted(NETS))


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """Small networks and regressions wait for each other's threads longer than they compute."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with threadpool_limits(1):
        yield
    torch.set_num_threads(threads)


def small(name: str) -> Any:
    """A shipped method of few steps."""
    method = loader.load(name)()
    return replace(method, **{f.name: SMALL[f.name] for f in fields(method) if f.name in SMALL})


def needs(name: str) -> frozenset[str]:
    return frozenset(loader.load(name).needs)


# training sets of real digits


@pytest.fixture(scope="module")
def digits() -> dict[str, Domain]:
    return {name: builtin.load(name) for name in ("handwritten", "photos", "fonts")}


Digits = Callable[..., tuple[Train, Tensor]]


@pytest.fixture(scope="module")
def train_on(digits: dict[str, Domain]) -> Digits:
    """A maker of a `Train` of handwritten digits, reached from others, and of inputs to judge."""

    def rows(name: str, count: int, skip: int = 0) -> tuple[Tensor, Tensor]:
        """`count` samples a class, after the first `skip` of it."""
        domain = digits[name]
        assert domain.x is not None
        chosen = np.concatenate([np.flatnonzero(domain.y == c)[skip : skip + count] for c in range(10)])
        return torch.from_numpy(domain.x[chosen]), torch.from_numpy(domain.y[chosen])

    def make(
        k: int, net: str = "convnet", sources: tuple[str, ...] = ("photos",), lacking: int | None = None, seed: int = 0
    ) -> tuple[Train, Tensor]:
        parts = []
        for i, name in enumerate(sources):
            x, y = rows(name, 5, skip=5 * i)
            parts.append(Labeled(x[1:], y[1:]))  # 49: no multiple of a batch
        x, y = rows("handwritten", k) if k else (torch.zeros(0, 3, 20, 20, dtype=torch.uint8), torch.zeros(0).long())
        kept = torch.ones(len(y), dtype=torch.bool) if lacking is None else y != lacking
        shots = Labeled(x[kept], y[kept])
        target = Unlabeled(rows("handwritten", 5, skip=10)[0][:47])
        test = rows("handwritten", 3, skip=20)[0][:23]
        if NETS[net]["kind"] == "bottleneck":
            parts, shots = [flat(p) for p in parts], flat(shots)
            target, test = Unlabeled(target.x.flatten(1)[:, ::13].float()), test.flatten(1)[:, ::13].float()
        shown = [p.x for p in parts] + [x for x in (target.x, shots.x) if len(x)]
        recipe = Recipe(steps=3, batch=16)
        return Train(tuple(parts), target, shots, 10, lambda: networks.build(NETS[net], shown, seed), recipe), test

    return make


def flat(part: Labeled) -> Labeled:
    return Labeled(part.x.flatten(1)[:, ::13].float(), part.y)


def arrays(train: Train) -> list[Tensor]:
    return [train.target.x, train.shots.x, train.shots.y, *(a for s in train.sources for a in (s.x, s.y))]


UNFIT = {("stochnorm", "bottleneck")}  # which has no batch norm; that it refuses is tested with the method


def applies(name: str, k: int, net: str = "convnet") -> None:
    if (name, net) in UNFIT:
        pytest.skip(f"{name} refuses a {net}")
    if k == 0 and "shots" in needs(name):
        pytest.skip(f"{name} needs labelled target samples")


# what every method checks


@every_method
def test_a_method_is_a_frozen_dataclass_that_says_what_it_is(name: str) -> None:
    cls = loader.load(name)
    assert cls.__module__ == f"tlbench_baselines.{name}"
    method = cls()
    assert isinstance(method, methods.Method)
    assert is_dataclass(cls)
    first = fields(cls)[0].name if fields(cls) else "anything"
    with pytest.raises(FrozenInstanceError):
        setattr(method, first, 1)
    assert cls.family in FAMILIES
    assert len(cls.paper) > 10
    assert cls.needs <= {"sources", "shots", "same task", "every label"}
    assert cls.__doc__
    assert not cls.__doc__.startswith(f"{cls.__name__}(")  # a docstring of its own, not the dataclass's
    assert json.loads(json.dumps(asdict(method))) == asdict(method)
    assert cls(**asdict(method)) == method


@every_net
@pytest.mark.parametrize("k", [0, 1, 5])
@every_method
def test_a_method_gives_finite_scores_twice_the_same_and_changes_no_data(
    name: str, k: int, net: str, train_on: Digits
) -> None:
    applies(name, k, net)
    (train, test), method = train_on(k, net), small(name)
    copies = [a.clone() for a in (*arrays(train), test)]
    torch.manual_seed(4321)  # not what `fit` would leave
    state, other = torch.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[index, union-attr]
    scores = method.fit(train, 7)(test)
    assert isinstance(scores, Tensor)
    assert scores.shape == (23, 10)
    assert scores.dtype in (torch.float32, torch.float64)
    assert not scores.requires_grad
    assert torch.isfinite(scores).all()
    assert torch.equal(torch.get_rng_state(), state)
    assert np.array_equal(np.random.get_state()[1], other)  # type: ignore[index]
    assert all(torch.equal(a, b) for a, b in zip([*arrays(train), test], copies, strict=True))
    torch.manual_seed(99)  # whatever else is going on
    assert torch.equal(small(name).fit(train, 7)(test), scores)


@every_method
def test_another_seed_gives_other_scores(name: str, train_on: Digits) -> None:
    if loader.load(name) is Chance:
        pytest.skip("chance does not depend on the seed")
    first, second = (small(name).fit(train, seed)(test) for seed in (0, 1) for train, test in [train_on(5, seed=seed)])
    assert not torch.equal(first, second)


@every_method
def test_a_method_judges_every_example_by_itself(name: str, train_on: Digits) -> None:
    train, test = train_on(1)
    predict = small(name).fit(train, 0)
    whole = predict(test)
    singles = torch.cat([predict(x[None]) for x in test])
    torch.testing.assert_close(singles, whole, rtol=1e-4, atol=1e-4)


@every_method
def test_a_method_lives_with_a_class_that_has_no_shot(name: str, train_on: Digits) -> None:
    train, test = train_on(2, lacking=4)
    assert 4 not in train.shots.y
    scores = small(name).fit(train, 0)(test)
    assert scores.shape == (23, 10)
    assert torch.isfinite(scores).all()


@pytest.mark.parametrize("sources", [("photos", "fonts"), ("photos", "fonts", "photos")], ids=["two", "three"])
@pytest.mark.filterwarnings(
    "ignore::tlbench.training.convergence.NotConverged"
)  # MLLS, of a classifier that learnt 3 steps
@every_method
def test_a_method_takes_several_sources(name: str, sources: tuple[str, ...], train_on: Digits) -> None:
    train, test = train_on(1, sources=sources)
    scores = small(name).fit(train, 0)(test)
    assert scores.shape == (23, 10)
    assert torch.isfinite(scores).all()


@every_method
def test_a_method_that_needs_no_source_works_without(name: str, train_on: Digits) -> None:
    if "sources" in needs(name):
        pytest.skip(f"{name} needs a source")
    train, test = train_on(2)
    if name in ("lwf", "co_tuning"):  # a checkpoint's classifier stands in for the source's; here there is neither
        with pytest.raises(NotApplicable, match="without its classifier"):
            small(name).fit(replace(train, sources=()), 0)
        return
    scores = small(name).fit(replace(train, sources=()), 0)(test)
    assert scores.shape == (23, 10)
    assert torch.isfinite(scores).all()


@every_method
def test_a_method_uses_what_it_says_it_needs(name: str, train_on: Digits) -> None:
    """Other sources, or other shots, where it needs them: other scores. Where it ignores them: the same."""
    cls = loader.load(name)
    train, test = train_on(2)
    scores = small(name).fit(train, 0)(test)
    fewer_sources = replace(train, sources=(Labeled(train.sources[0].x[:30], train.sources[0].y[:30]),))
    fewer_shots = replace(train, shots=Labeled(train.shots.x[:9], train.shots.y[:9]))
    for part, other in (("sources", fewer_sources), ("shots", fewer_shots)):
        same = torch.equal(small(name).fit(other, 0)(test), scores)
        assert not (same and part in cls.needs)
        assert same or part not in getattr(cls, "ignores", ())


# easy data, whose answers are known


def gaussians(n: int, means: Tensor, seed: int) -> Labeled:
    y = torch.arange(n) % len(means)
    noise = torch.randn(n, means.shape[1], generator=torch.Generator().manual_seed(seed))
    return Labeled(means[y] + noise, y)


def easy(
    means: Tensor, shift: float = 0.0, k: int = 0, steps: int = 100, width: int = 16, sources: int = 1
) -> tuple[Train, Labeled]:
    """Classes around `means` in the sources, and around `means + shift` in the target."""
    parts = tuple(gaussians(300, means, seed=i) for i in range(sources))
    target, shots, test = (gaussians(n, means + shift, seed=s) for n, s in ((200, 10), (k * len(means), 11), (600, 12)))
    shown = [p.x for p in parts] + [target.x]
    spec = {"kind": "bottleneck", "width": width, "scale": "standard"}
    train = Train(
        parts,
        Unlabeled(target.x),
        shots,
        len(means),
        lambda: networks.build(spec, shown, 0),
        Recipe(steps=steps, batch=32, lr=0.05),
    )
    return train, test


THREE = torch.tensor([[4.0, 0, 0, 0], [0, 4, 0, 0], [0, 0, 4, 0]])


def accuracy(scores: Tensor, y: Tensor) -> float:
    return float((scores.argmax(1) == y).float().mean())


@every_method
def test_a_method_learns_an_easy_task(name: str) -> None:
    if loader.load(name) is Chance:
        pytest.skip("chance learns nothing")
    applies(name, 5, "bottleneck")
    train, test = easy(THREE, k=5)
    assert accuracy(loader.load(name)().fit(train, 0)(test.x), test.y) > 0.9


def test_source_only_is_far_above_chance_without_a_target_label() -> None:
    train, test = easy(THREE)
    assert accuracy(SourceOnly().fit(train, 0)(test.x), test.y) > 0.9
    assert accuracy(Chance().fit(train, 0)(test.x), test.y) == pytest.approx(1 / 3)


def test_coral_undoes_a_shift_of_the_domain_and_source_only_does_not() -> None:
    # Two classes 2m apart, the target moved by d along that line. The best line for the source is right on
    # (Phi(m + d) + Phi(m - d)) / 2 = 0.53 of the target, on Phi(m) = 0.93 once the means agree.
    m, d = 1.5, 3.0
    means = torch.zeros(2, 5)
    means[:, 0] = torch.tensor([-m, m])
    train, test = easy(means, shift=0.0, steps=200)
    moved = Labeled(test.x + torch.eye(5)[0] * d, test.y)
    train = replace(train, target=Unlabeled(train.target.x + torch.eye(5)[0] * d))
    assert accuracy(SourceOnly().fit(train, 0)(moved.x), moved.y) < 0.65
    assert accuracy(CORAL().fit(train, 0)(moved.x), moved.y) > 0.9
    assert accuracy(CORAL(center=False).fit(train, 0)(moved.x), moved.y) < 0.65


# the references


@pytest.mark.parametrize(
    ("sources", "shots", "majority"),
    [((), [2, 2, 1], 2), ([1, 1, 0], [2, 2, 2], 1), ([0, 1, 1, 0], [2], 0)],
)  # fmt: skip
def test_chance_is_the_majority_of_the_sources_or_else_of_the_shots(
    sources: list[int], shots: list[int], majority: int, agrees: Agrees
) -> None:
    def labeled(y: list[int]) -> Labeled:
        return Labeled(torch.randn(len(y), 2), torch.tensor(y))

    parts = (labeled(sources),) if sources else ()
    train = Train(parts, Unlabeled(torch.randn(5, 2)), labeled(shots), 4, nn.Identity)
    x = torch.randn(6, 2)
    scores = Chance().fit(train, 0)(x)
    assert (scores.argmax(1) == majority).all()
    dummy = DummyClassifier(strategy="prior").fit(np.zeros((len(sources or shots), 2)), sources or shots)
    assert not np.delete(scores.numpy(), dummy.classes_, 1).any()
    found = scores[:, dummy.classes_]
    agrees("chance", f"{peer('scikit-learn')}, DummyClassifier", found, dummy.predict_proba(x), atol=1e-6)


def test_target_only_ignores_the_sources_and_source_only_the_target(train_on: Digits) -> None:
    train, test = train_on(5)
    other = train_on(5, sources=("fonts",))[0].sources
    own = small("target_only").fit(train, 0)(test)
    for sources in ((), other):
        assert torch.equal(small("target_only").fit(replace(train, sources=sources), 0)(test), own)
    theirs = small("source_only").fit(train, 0)(test)
    for changed in (
        replace(train, shots=nothing_of(train.shots)),
        replace(train, target=Unlabeled(train.target.x[:3])),
    ):
        assert torch.equal(small("source_only").fit(changed, 0)(test), theirs)
    assert TargetOnly.ignores == {"sources"}
    assert SourceOnly.ignores == {"shots"}


def rates(recipe: Recipe) -> list[float]:
    return [recipe.lr / (1 + 10 * i / recipe.steps) ** 0.75 for i in range(recipe.steps)]


def step(groups: dict[str, list[nn.Parameter]], speeds: dict[Tensor, Tensor], recipe: Recipe, rate: float) -> None:
    """One step of SGD under Nesterov's momentum, written out."""
    with torch.no_grad():
        for part, parameters in groups.items():
            for p in parameters:
                assert p.grad is not None
                g = p.grad + recipe.weight_decay * p
                speeds[p] = 0.9 * speeds[p] + g if p in speeds else g.clone()
                p -= (recipe.body_lr if part == "features" else 1.0) * rate * (g + 0.9 * speeds[p])


def plainly(train: Train, seed: int, kinds: str, net: nn.ModuleDict | None = None) -> nn.ModuleDict:
    """Empirical risk minimisation as a bare loop."""
    net = net if net is not None else seeded(lambda: network(train), seed)
    net.train()
    groups, speeds = {name: list(part.parameters()) for name, part in net.items()}, {}
    for rate, batch in zip(rates(train.recipe), batches(train, train.recipe, seed, kinds), strict=True):
        net.zero_grad()
        x = torch.cat([x for x in (batch.xs, batch.xl) if len(x)])
        cross_entropy(net["classifier"](net["features"](x)), torch.cat([batch.ys, batch.yl])).backward()
        step(groups, speeds, train.recipe, rate)
    return net.eval()


@pytest.mark.parametrize(
    ("name", "kinds"), [("source_only", "s"), ("target_only", "l"), ("target_full", "l"), ("source_plus_target", "sl")]
)
def test_a_reference_is_empirical_risk_minimisation_over_its_labels(name: str, kinds: str, agrees: Agrees) -> None:
    train, test = easy(THREE, k=2, steps=20, sources=2)
    train = replace(train, recipe=replace(train.recipe, body_lr=0.3))
    net = plainly(train, 3, kinds)
    expected = net["classifier"](net["features"](test.x))
    agrees(name, "Nesterov's steps written out", loader.load(name)().fit(train, 3)(test.x), expected, atol=1e-4)


# DANN


def adversarial(train: Train, seed: int, weight: float) -> nn.ModuleDict:
    """DANN without a reversal layer: the features go down the label loss and up the critic's."""
    net = seeded(lambda: DANN().networks(train), seed)
    net.train()
    groups, speeds = {name: list(part.parameters()) for name, part in net.items()}, {}
    features, rest = groups["features"], groups["classifier"] + groups["discriminator"]
    recipe = train.recipe
    for i, batch in enumerate(batches(train, recipe, seed)):
        f = net["features"](torch.cat([batch.xs, batch.xl, batch.xt]))
        fs, fl, ft = f.split([len(batch.xs), len(batch.xl), len(batch.xt)])
        y, domain = torch.cat([batch.ys, batch.yl]), torch.cat([torch.zeros(len(fs)), torch.ones(len(ft))]).long()
        label_loss = cross_entropy(net["classifier"](torch.cat([fs, fl])), y)
        critic_loss = cross_entropy(net["discriminator"](torch.cat([fs, ft])), domain)
        down = torch.autograd.grad(label_loss, features, retain_graph=True)
        up = torch.autograd.grad(critic_loss, features, retain_graph=True)
        ramped = weight * (2 / (1 + math.exp(-10 * i / recipe.steps)) - 1)
        for p, a, b in zip(features, down, up, strict=True):
            p.grad = a - ramped * b
        for p, g in zip(rest, torch.autograd.grad(label_loss + critic_loss, rest), strict=True):
            p.grad = g
        step(groups, speeds, recipe, rates(recipe)[i])
    return net.eval()


@pytest.mark.parametrize("weight", [0.0, 1.0, 3.0])
@pytest.mark.parametrize("k", [0, 2])
def test_dann_is_the_papers_saddle_point(k: int, weight: float, agrees: Agrees) -> None:
    train, test = easy(THREE, shift=1.0, k=k, steps=20, sources=2)
    net = adversarial(train, 1, weight)
    expected = net["classifier"](net["features"](test.x))
    found = DANN(weight=weight).fit(train, 1)(test.x)
    agrees("dann", "20 steps without a reversal layer", found, expected, atol=1e-4)


def test_dann_passes_source_and_target_through_batch_norm_together(train_on: Digits) -> None:
    train, test = train_on(2)
    plain = {**NETS["convnet"], "augment": ()}
    train = replace(train, backbone=lambda: networks.build(plain, [train.target.x], 0))
    net = adversarial(train, 0, 1.0)
    expected = net["classifier"](net["features"](test)).detach()
    torch.testing.assert_close(DANN().fit(train, 0)(test), expected, atol=1e-4, rtol=1e-3)


def test_dann_without_weight_is_source_only() -> None:
    train, test = easy(THREE, shift=1.0, steps=20)
    expected = SourceOnly().fit(train, 1)(test.x)
    torch.testing.assert_close(DANN(weight=0.0).fit(train, 1)(test.x), expected, atol=1e-5, rtol=1e-4)
    assert (DANN(weight=5.0).fit(train, 1)(test.x) - expected).abs().max() > 1e-2


def test_danns_critic_is_a_head_of_its_own(train_on: Digits) -> None:
    net = DANN(hidden=31).networks(train_on(1)[0])
    assert [tuple(p.shape) for p in net["discriminator"].parameters()] == [(31, 128), (31,), (2, 31), (2,)]


# CORAL


def rows(n: int, d: int, seed: int) -> np.ndarray:
    """Correlated rows off the origin."""
    random = np.random.default_rng(seed)
    return random.normal(size=(n, d)) @ random.normal(size=(d, d)) / np.sqrt(d) + random.normal(size=d)


def root(covariance: np.ndarray) -> np.ndarray:
    return np.real(sqrtm(covariance))


@pytest.mark.parametrize(("n", "m", "d"), [(50, 40, 6), (12, 9, 30), (40, 8, 20), (8, 40, 20), (30, 25, 1)])
@pytest.mark.parametrize("reg", [1.0, 0.1, 7.0])
@pytest.mark.parametrize("center", [True, False])
def test_corals_map_is_the_closed_form(n: int, m: int, d: int, reg: float, center: bool, agrees: Agrees) -> None:
    xs, xt = rows(n, d, 0), rows(m, d, 1)
    cs, ct = (np.cov(x.T, ddof=1).reshape(d, d) + reg * np.eye(d) for x in (xs, xt))
    ms, mt = (xs.mean(0), xt.mean(0)) if center else (np.zeros(d), np.zeros(d))
    expected = (xs - ms) @ np.linalg.inv(root(cs)) @ root(ct) + mt
    found = coral.recolored(torch.from_numpy(xs), torch.from_numpy(xt), reg, center)
    agrees("coral", "the closed form by scipy's sqrtm", found, expected, atol=1e-8)


def test_without_regularisation_the_recoloured_source_has_the_targets_moments() -> None:
    xs, xt = rows(60, 7, 0), rows(50, 7, 1)
    found = coral.recolored(torch.from_numpy(xs), torch.from_numpy(xt), 0.0, True).numpy()
    np.testing.assert_allclose(np.cov(found.T), np.cov(xt.T), atol=1e-9)
    np.testing.assert_allclose(found.mean(0), xt.mean(0), atol=1e-9)
    off_centre = coral.recolored(torch.from_numpy(xs), torch.from_numpy(xt), 0.0, False).numpy()
    np.testing.assert_allclose(np.cov(off_centre.T), np.cov(xt.T), atol=1e-9)


def test_with_fewer_samples_than_features_null_directions_stay_null() -> None:
    xs, xt = rows(10, 25, 0), rows(12, 25, 1)
    found = coral.recolored(torch.from_numpy(xs), torch.from_numpy(xt), 0.0, True).numpy()
    values, vectors = np.linalg.eigh(np.cov(xs.T))
    kept = values > 1e-9
    inverse_root = (vectors[:, kept] / np.sqrt(values[kept])) @ vectors[:, kept].T
    np.testing.assert_allclose(found, (xs - xs.mean(0)) @ inverse_root @ root(np.cov(xt.T)) + xt.mean(0), atol=1e-6)
    assert np.linalg.matrix_rank(found - xt.mean(0)) == 9


def test_recolouring_an_equal_domain_does_nothing_and_keeps_the_type() -> None:
    x = torch.from_numpy(rows(20, 5, 0)).float()
    found = coral.recolored(x, x, 1.0, True)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, x, atol=1e-5, rtol=1e-5)


def test_coral_is_the_cards_classifier_over_each_recoloured_source() -> None:
    train, test = easy(THREE * torch.tensor([1.0, 2, 3, 4]), shift=1.5, k=2, steps=20, sources=2)
    prepare, trunk = (getattr(train.backbone(), part) for part in ("prepare", "trunk"))
    assert isinstance(prepare, networks.Standardize)
    target = prepare(train.target.x).double().numpy()
    moved = []
    for source in train.sources:
        xs = prepare(source.x).double().numpy()
        cs, ct = (np.cov(x.T) + np.eye(4) for x in (xs, target))
        mapped = (xs - xs.mean(0)) @ np.linalg.inv(root(cs)) @ root(ct) + target.mean(0)
        moved.append(Labeled(torch.from_numpy(mapped).float(), source.y))
    own = replace(
        train, sources=tuple(moved), target=Unlabeled(prepare(train.target.x)),
        shots=Labeled(prepare(train.shots.x), train.shots.y),
        backbone=lambda: networks.Backbone(networks.Float(), nn.Identity(), train.backbone().trunk, 16),
    )  # fmt: skip
    assert torch.equal(own.backbone().trunk[0].weight, trunk[0].weight)
    net = plainly(own, 5, "sl")
    expected = net["classifier"](net["features"](prepare(test.x))).detach()
    torch.testing.assert_close(CORAL().fit(train, 5)(test.x), expected, atol=1e-4, rtol=1e-3)


# Deep CORAL


@pytest.mark.parametrize(("n", "m", "d"), [(16, 16, 10), (8, 20, 31), (5, 4, 2)])
def test_deep_corals_distance_is_the_papers(n: int, m: int, d: int, agrees: Agrees) -> None:
    fs, ft = rows(n, d, 0), rows(m, d, 1)
    expected = np.sum((np.cov(fs.T) - np.cov(ft.T)) ** 2) / (4 * d**2)
    found = deep_coral.coral_distance(torch.from_numpy(fs), torch.from_numpy(ft))
    agrees("deep_coral", "numpy's covariances", found, expected, atol=1e-12)


@pytest.mark.parametrize("k", [0, 2])
def test_deep_corals_loss_is_of_labels_and_of_the_last_layers_covariances(k: int) -> None:
    train, _ = easy(THREE, shift=1.0, k=k)
    method = DeepCORAL(weight=3.0)
    net = method.networks(train)
    batch = next(batches(train, train.recipe, 0))
    scores = [net["classifier"](net["features"](x)) for x in (batch.xs, batch.xl, batch.xt)]
    cs, ct = (np.cov(s.detach().numpy().T) for s in (scores[0], scores[2]))
    labels = cross_entropy(torch.cat(scores[:2]), torch.cat([batch.ys, batch.yl])).item()
    expected = labels + 3 * np.sum((cs - ct) ** 2) / (4 * 9)
    assert method.loss(net, batch, 0.0).item() == pytest.approx(expected, rel=1e-5)


def test_deep_coral_without_weight_is_source_only() -> None:
    train, test = easy(THREE, shift=1.0, steps=20)
    expected = SourceOnly().fit(train, 1)(test.x)
    torch.testing.assert_close(DeepCORAL(weight=0.0).fit(train, 1)(test.x), expected, atol=1e-5, rtol=1e-4)


# neighbours and means, on plain features


def test_a_neighbours_score_is_minus_its_distance(agrees: Agrees) -> None:
    """Class by class, the distance that scikit-learn finds among its samples alone; the nearest's label wins."""
    train, test = easy(THREE, k=2)
    x = train.backbone().prepare(torch.cat([train.sources[0].x, train.shots.x])).double()
    y, rows = torch.cat([train.sources[0].y, train.shots.y]).numpy(), train.backbone().prepare(test.x).double()
    distances = [NearestNeighbors(n_neighbors=1).fit(x[y == c]).kneighbors(rows)[0] for c in range(3)]
    found = loader.load("nearest_neighbor")().fit(train, 0)(test.x)
    agrees("nearest_neighbor", f"{peer('scikit-learn')}, NearestNeighbors", found, -np.hstack(distances), atol=1e-4)
    labels = KNeighborsClassifier(1).fit(x, y).predict(rows)
    np.testing.assert_array_equal(found.argmax(1), labels)


@pytest.mark.parametrize("k", [0, 2])
def test_a_prototype_is_the_mean_of_the_shots_or_else_of_the_source(k: int, agrees: Agrees) -> None:
    train, test = easy(THREE, k=k)
    known = train.shots if k else train.sources[0]
    prepare = train.backbone().prepare
    centroids = NearestCentroid().fit(prepare(known.x).double(), known.y).centroids_
    expected = -np.square(prepare(test.x).double().numpy()[:, None] - centroids).sum(-1)
    found = loader.load("prototype")().fit(train, 0)(test.x)
    agrees("prototype", f"{peer('scikit-learn')}, NearestCentroid", found, expected, atol=1e-4)


# linear probe


def probed(train: Train, seed: int, x: Tensor) -> np.ndarray:
    """The features of a network trained on the sources alone."""
    net = plainly(replace(train, shots=nothing_of(train.shots)), seed, "s")
    return net["features"](x).detach().double().numpy()


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("k", [0, 1])
def test_a_linear_probe_is_a_logistic_regression_on_the_sources_features(
    k: int, n_classes: int, monkeypatch: pytest.MonkeyPatch, agrees: Agrees
) -> None:
    monkeypatch.setattr(linear_probe, "GridSearchCV", None)  # neither case has a penalty to choose
    train, test = easy(THREE[:n_classes], k=k, steps=20)
    if k == 0:  # one sample a class: as the shots would be
        few = Labeled(train.sources[0].x[:n_classes], train.sources[0].y[:n_classes])
        train = replace(train, sources=(few,))
    labeled = train.shots if k else train.sources[0]
    f, y = probed(train, 0, labeled.x), labeled.y.numpy()
    mean, std = f.mean(0), np.where(f.std(0) > 0, f.std(0), 1)
    regression = LogisticRegression(max_iter=1000).fit((f - mean) / std, y)
    expected = regression.predict_log_proba((probed(train, 0, test.x) - mean) / std)
    found = LinearProbe().fit(train, 0)(test.x)
    agrees("linear_probe", f"{peer('scikit-learn')}, LogisticRegression", found, expected, atol=1e-4)


def test_without_shots_a_linear_probe_knows_the_sources() -> None:
    train, test = easy(THREE, steps=20)
    predict = replace(LinearProbe(), penalties=2).fit(train, 0)
    assert accuracy(predict(train.sources[0].x), train.sources[0].y) > 0.95
    assert accuracy(predict(test.x), test.y) > 0.95


@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_linear_probe_that_is_very_sure_still_gives_finite_scores(n_classes: int) -> None:
    train, test = easy(THREE[:n_classes], k=4, steps=20)
    scores = LinearProbe(penalties=2).fit(train, 0)(torch.cat([test.x, 1e4 * test.x]))
    assert torch.isfinite(scores).all()
    assert scores.min() < -1000  # whose exponential is no number any more
    assert accuracy(scores[:600], test.y) > 0.9


def test_a_linear_probe_never_predicts_a_class_without_a_shot() -> None:
    train, test = easy(THREE, k=4, steps=20)
    known = train.shots.y != 1
    train = replace(train, shots=Labeled(train.shots.x[known], train.shots.y[known]))
    guesses = LinearProbe(penalties=2).fit(train, 0)(test.x).argmax(1)
    assert not (guesses == 1).any()
    assert (guesses == test.y)[test.y != 1].float().mean() > 0.9


@pytest.mark.parametrize(("shots", "folds"), [([3, 2, 4], 2), ([4, 4, 4], 4), ([9, 6, 7], 5)])
def test_a_probes_penalty_is_chosen_inside_the_shots_by_log_loss(shots: list[int], folds: int) -> None:
    y = np.repeat([0, 1, 4], shots)
    search = linear_probe.fitted(rows(len(y), 3, 0) + y[:, None], y, 7, 0)
    assert isinstance(search, GridSearchCV)
    assert search.cv.n_splits == folds
    assert search.scoring == "neg_log_loss"
    np.testing.assert_allclose(search.param_grid["logisticregression__C"], 10.0 ** np.arange(-4, 3))
    assert isinstance(linear_probe.fitted(rows(3, 2, 0), np.arange(3), 7, 0), Pipeline)  # one each: none to hold out


# fine-tuning


@pytest.mark.parametrize("fresh_head", [False, True])
def test_fine_tuning_goes_on_from_the_sources_solution(fresh_head: bool, agrees: Agrees) -> None:
    train, test = easy(THREE, shift=1.0, k=2, steps=20)
    net = plainly(train, 0, "s")
    if fresh_head:
        net["classifier"] = seeded(lambda: network(train), 0)["classifier"]
    slower = replace(train, recipe=replace(train.recipe, body_lr=0.1))
    net = plainly(slower, 0, "l", net)
    expected = net["classifier"](net["features"](test.x))
    found = FineTune(fresh_head=fresh_head).fit(train, 0)(test.x)
    agrees("finetune", "Nesterov's steps written out", found, expected, atol=1e-4)


def test_fine_tuning_knows_more_than_the_shots_alone() -> None:
    train, test = easy(THREE * 0.5, k=1, steps=60)
    tuned, alone = (accuracy(m.fit(train, 0)(test.x), test.y) for m in (FineTune(), TargetOnly()))
    assert tuned > alone + 0.03


def test_at_a_vanishing_rate_fine_tuning_keeps_the_sources_features(monkeypatch: pytest.MonkeyPatch) -> None:
    caught: list[nn.ModuleDict] = []
    monkeypatch.setattr(finetune, "predictor", lambda net, device: caught.append(net))
    train, _ = easy(THREE, shift=1.0, k=2, steps=20)
    FineTune(tuned_body_lr=1e-12).fit(train, 0)
    source = SourceOnly().erm.trained(replace(train, shots=nothing_of(train.shots)), 0)
    torch.testing.assert_close(caught[0]["features"].state_dict(), source["features"].state_dict())
    assert (caught[0]["classifier"].weight - source["classifier"].weight).abs().max() > 1e-3


def test_every_gradient_method_takes_the_cards_recipe_unless_told_otherwise(train_on: Digits) -> None:
    train, _ = train_on(1)
    for name in methods.shipped():
        method = loader.load(name)()
        if isinstance(method, GradientMethod):
            assert method.recipe(train) == train.recipe
