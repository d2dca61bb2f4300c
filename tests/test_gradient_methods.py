"""The gradient methods as a whole: their players, their starting points, what moves and what stays."""

from __future__ import annotations

import copy
import importlib
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from typing import Any

import pytest
import torch
from agreement import Agrees
from scipy.sparse.linalg import lsqr
from tlbench_baselines.adda import ADDA
from tlbench_baselines.bss import BSS
from tlbench_baselines.can_collaborative import CAN, Critics
from tlbench_baselines.dan import DAN
from tlbench_baselines.deepjdot import DeepJDOT
from tlbench_baselines.delta import DELTA, importance
from tlbench_baselines.entropy_min import EntropyMin
from tlbench_baselines.finetune import FineTune
from tlbench_baselines.fixmatch import FixMatch
from tlbench_baselines.l2_sp import L2SP
from tlbench_baselines.layer_transfer import LayerTransfer
from tlbench_baselines.lora import LoRA, adaptable
from tlbench_baselines.lp_ft import LPFT
from tlbench_baselines.lwf import LwF
from tlbench_baselines.m3sda import M3SDA
from tlbench_baselines.mcc import MCC
from tlbench_baselines.mcd import MCD, Pair, disagreement
from tlbench_baselines.mdan import MDAN
from tlbench_baselines.mdd import MDD
from tlbench_baselines.partial_finetune import PartialFineTune
from tlbench_baselines.shot import SHOT
from tlbench_baselines.source_only import SourceOnly
from tlbench_baselines.stochnorm import StochasticNorm, StochNorm
from tlbench_baselines.support_transfer import SupportTransfer
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tlbench import NotApplicable
from tlbench.data import Episodes, Labeled, Recipe, Train, Unlabeled
from tlbench.methods import loader
from tlbench.training import networks
from tlbench.training.features import nothing_of
from tlbench.training.fine_tuning import FineTuning, blocks, parameters_by_block, solution, tapped
from tlbench.training.objective import Turn
from tlbench.training.trainer import Batch, GradientMethod, batches, network, seeded

OURS = [
    "adda", "adapters", "afn", "bss", "can_collaborative", "cdan", "co_tuning", "dan", "deepjdot", "delta",
    "entropy_min", "fixmatch", "jan", "l21_multitask", "l2_sp", "layer_transfer", "lora", "lp_ft", "lwf", "m3sda",
    "mcc", "mcd", "mdan", "mdd", "mme", "mmoe", "multitask", "partial_finetune", "shot", "stochnorm",
    "support_transfer",
]  # fmt: skip
KINDS: dict[str, dict[str, Any]] = {
    "convnet": {"kind": "convnet", "augment": ()},
    "fieldnet": {"kind": "fieldnet", "augment": ()},
    "bottleneck": {"kind": "bottleneck", "width": 12, "scale": "standard"},
    "resnet20": {
        "kind": "resnet20", "mean": [0.5] * 3, "std": [0.25] * 3, "size": 16, "augment": (), "fixed_norm": False,
    },
    "timm": {
        "kind": "timm", "timm": "resnet10t", "mean": [0.5] * 3, "std": [0.25] * 3, "size": 32, "augment": (),
        "fixed_norm": False,
    },
    "vit": {
        "kind": "timm", "timm": "vit_tiny_patch16_224", "mean": [0.5] * 3, "std": [0.25] * 3, "size": 32, "augment": (),
        "fixed_norm": False,
        "args": {"img_size": 32, "patch_size": 8, "depth": 2, "embed_dim": 24, "num_heads": 3},
    },
}  # fmt: skip
TUNED = [n for n in OURS if issubclass(loader.load(n), FineTuning)]
AFRESH = {"layer_transfer", "support_transfer"}  # which do not begin at the source's solution: that is their point


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def inputs(kind: str, n: int, seed: int) -> Tensor:
    made = torch.Generator().manual_seed(seed)
    if kind == "bottleneck":
        return torch.randn(n, 10, generator=made)
    side = 32 if kind in ("timm", "vit") else 16
    return torch.randint(0, 256, (n, 3, side, side), generator=made, dtype=torch.uint8)


def tiny(kind: str, sources: int = 1, classes: int = 3, other: tuple[int, ...] = (), steps: int = 2) -> Train:
    """Noise, of the right shapes."""
    sizes = other or (classes,) * sources
    parts = tuple(Labeled(inputs(kind, 9, i), torch.arange(9) % k) for i, k in enumerate(sizes))
    shots, target = Labeled(inputs(kind, 6, 50), torch.arange(6) % classes), Unlabeled(inputs(kind, 11, 60))
    shown = [target.x, shots.x]
    recipe = Recipe(steps=steps, batch=6, adapt_steps=2)
    return Train(
        parts, target, shots, classes, lambda: networks.build(KINDS[kind], shown, 0), recipe, source_classes=other
    )


def gaussians(n: int, means: Tensor, seed: int) -> Labeled:
    y = torch.arange(n) % len(means)
    return Labeled(means[y] + torch.randn(n, means.shape[1], generator=torch.Generator().manual_seed(seed)), y)


def shifted(shift: float = 3.0, m: float = 1.5, steps: int = 300, k: int = 0, width: int = 16, d: int = 5) -> Any:
    """Two classes 2m apart, the target moved by `shift` along that line: source-only is near chance on it."""
    means = torch.zeros(2, d)
    means[:, 0] = torch.tensor([-m, m])
    away = torch.eye(d)[0] * shift
    source, target, test = (gaussians(n, means, seed=s) for s, n in enumerate((400, 400, 1000)))
    shots = gaussians(2 * k, means, seed=9)
    shown = [source.x, target.x + away]
    spec = {"kind": "bottleneck", "width": width, "scale": "standard"}
    recipe = Recipe(steps=steps, batch=32, lr=0.05)
    train = Train(
        (source,), Unlabeled(target.x + away), Labeled(shots.x + away, shots.y), 2,
        lambda: networks.build(spec, shown, 0), recipe,
    )  # fmt: skip
    return train, Labeled(test.x + away, test.y)


def accuracy(scores: Tensor, y: Tensor) -> float:
    return float((scores.argmax(1) == y).float().mean())


def outputs(net: nn.ModuleDict, x: Tensor) -> Tensor:
    with torch.no_grad():
        return net["classifier"](net["features"](x))


def state(net: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in net.state_dict().items()}


# all of them


@pytest.mark.parametrize("name", OURS)
def test_a_search_space_names_fields_and_holds_their_defaults(name: str) -> None:
    cls = loader.load(name)
    defaults = {f.name: f.default for f in fields(cls)}
    assert 1 <= len(cls.search) <= 4
    for knob, (kind, *values) in cls.search.items():
        assert knob in defaults
        assert kind in ("log", "linear", "choice")
        if kind == "choice":
            assert defaults[knob] in values
        else:
            low, high = values
            assert low < high
            assert kind == "linear" or low > 0
            assert defaults[knob] is None or low <= defaults[knob] <= high


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", OURS)
def test_a_method_fits_every_kind_of_backbone(name: str, kind: str) -> None:
    if name == "stochnorm" and kind in ("bottleneck", "vit"):
        pytest.skip("there is no batch norm")
    train = tiny(kind)
    scores = loader.load(name)().fit(train, 0)(train.target.x)
    assert scores.shape == (11, 3)
    assert torch.isfinite(scores).all()


@pytest.mark.parametrize("name", [n for n in OURS if "same task" not in loader.load(n).needs])
def test_a_method_takes_sources_of_another_task_unless_it_says_not(name: str) -> None:
    train = tiny("convnet", other=(4, 2))
    scores = loader.load(name)().fit(train, 0)(train.target.x)
    assert scores.shape == (11, 3)
    assert torch.isfinite(scores).all()


@pytest.mark.parametrize("name", [n for n in OURS if "regression" in getattr(loader.load(n), "regimes", ())])
def test_a_method_predicts_numbers_where_it_says_so(name: str) -> None:
    train = tiny("convnet")
    parts = [Labeled(p.x, p.y.float()) for p in (*train.sources, train.shots)]
    train = replace(train, sources=(parts[0],), shots=parts[1], n_classes=1, regime="regression")
    scores = loader.load(name)().fit(train, 0)(train.target.x)
    assert scores.shape == (11, 1)
    assert torch.isfinite(scores).all()


@pytest.mark.parametrize("name", [n for n in OURS if "episodes" in getattr(loader.load(n), "regimes", ())])
def test_a_method_learns_each_episode_anew_where_it_says_so(name: str) -> None:
    train = replace(tiny("convnet", other=(5,)), episodes=Episodes(3, 2, 4), regime="episodes")
    train = replace(train, shots=nothing_of(train.shots))
    learn = loader.load(name)().fit(train, 0)
    first, second = (Labeled(inputs("convnet", 6, s), torch.arange(6) % 3) for s in (70, 71))
    x = inputs("convnet", 12, 72)
    scores = learn(first, x)
    assert scores.shape == (12, 3)
    assert not torch.equal(learn(second, x), scores)
    assert torch.equal(learn(first, x), scores)  # nothing of another episode is left


@pytest.mark.parametrize("name", [n for n in OURS if "detection" in getattr(loader.load(n), "regimes", ())])
def test_a_method_finds_objects_where_it_says_so(name: str) -> None:
    train = tiny("fieldnet", other=(4,))
    boxes = torch.tensor([[2.0, 2, 10, 10]]).expand(6, 1, 4)
    shots = Labeled(train.shots.x, train.shots.y[:, None], boxes)
    train = replace(train, shots=shots, regime="detection")
    found = loader.load(name)().fit(train, 0)(train.target.x)
    assert found.shape[0] == 11
    assert found.shape[2] == 6
    assert torch.isfinite(found).all()


@pytest.mark.parametrize("name", [n for n in OURS if "sources" not in loader.load(n).needs])
def test_a_method_starts_from_a_checkpoint(name: str) -> None:
    """Where there are no samples of a source, the backbone's initial weights are the source."""
    train = headed(replace(tiny("resnet20"), sources=()))
    plain, other = (loader.load(name)().fit(t, 0)(train.target.x) for t in (train, _moved(train)))
    assert torch.isfinite(plain).all()
    assert not torch.equal(plain, other)


def headed(train: Train) -> Train:
    """Its backbone came with a classifier of five classes."""

    def backbone() -> nn.Module:
        net = train.backbone()
        net.checkpoint_head = lambda: seeded(lambda: nn.ModuleDict({"head": nn.Linear(net.width, 5)}), 1)["head"]  # type: ignore[arg-type, assignment]
        return net

    return replace(train, backbone=backbone)


@pytest.mark.parametrize("name", ["lwf", "co_tuning"])
def test_a_checkpoints_answers_are_those_of_the_classifier_it_came_with(name: str) -> None:
    bare, method = replace(tiny("resnet20"), sources=()), loader.load(name)()
    train = headed(bare)
    begun = method.begun(solution(method, train, 0), train, 0)
    heads = begun["old"] if name == "lwf" else begun["old"].heads
    assert [head.out_features for head in heads] == [5]
    assert torch.equal(heads[0].weight, train.backbone().checkpoint_head().weight)  # type: ignore[operator]
    with pytest.raises(NotApplicable, match="a checkpoint without its classifier"):
        method.fit(bare, 0)


def _moved(train: Train) -> Train:
    def backbone() -> nn.Module:
        net = train.backbone()
        with torch.no_grad():
            for p in net.parameters():
                p.mul_(1.1)
        net.pretrained = True  # type: ignore[assignment]
        return net

    return replace(train, backbone=backbone)


# where the second stage begins


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", [n for n in TUNED if n not in AFRESH])
def test_at_step_zero_the_network_is_the_sources(name: str, kind: str) -> None:
    if name == "stochnorm" and kind in ("bottleneck", "vit"):
        pytest.skip("there is no batch norm")
    train, method = tiny(kind), loader.load(name)()
    net = solution(method, train, 3)
    w0, x = copy.deepcopy(net).eval(), train.target.x
    begun = method.begun(net, train, 3).eval()
    torch.testing.assert_close(outputs(begun, x), outputs(w0, x), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(outputs(method.finished(begun), x), outputs(w0, x), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", TUNED)
def test_the_sources_solution_is_that_of_fine_tuning(name: str) -> None:
    train, method = tiny("convnet"), loader.load(name)()
    alone = replace(train, shots=nothing_of(train.shots))
    expected = FineTune().erm.trained(alone, 5)
    torch.testing.assert_close(state(solution(method, train, 5)), state(expected))


@pytest.mark.parametrize(
    "method", [L2SP(alpha=0.0, weight_decay=1e-3, beta=0.0), BSS(weight=0.0), DELTA(weight=0.0), LwF(weight=0.0)]
)
def test_without_its_term_a_method_is_fine_tuning(method: Any) -> None:
    train = tiny("convnet", steps=3)
    if isinstance(method, L2SP):  # whose own weight decay replaces the optimiser's
        train = replace(train, recipe=replace(train.recipe, weight_decay=0.0))
        method = L2SP(alpha=0.0, beta=0.0)
    expected = FineTune().fit(train, 1)(train.target.x)
    torch.testing.assert_close(method.fit(train, 1)(train.target.x), expected, atol=1e-5, rtol=1e-4)


# the turns of several players


def test_only_the_networks_of_a_turn_move() -> None:
    class Alternating(GradientMethod):
        def loss(self, net: nn.ModuleDict, batch: Batch, progress: float) -> Iterator[Turn]:
            f = net["features"](batch.xs)
            before = state(net)
            yield net["classifier"](f).square().mean(), ("classifier",)
            torch.testing.assert_close(state(net["features"]), _of(before, "features"))
            assert not torch.equal(net["classifier"].weight, before["classifier.weight"])  # type: ignore[arg-type]
            before = state(net)
            yield net["classifier"](net["features"](batch.xs)).square().mean(), ("features",)
            torch.testing.assert_close(state(net["classifier"]), _of(before, "classifier"))
            assert any(not torch.equal(v, before[f"features.{n}"]) for n, v in state(net["features"]).items())

    Alternating().trained(tiny("bottleneck", steps=3), 0)


def _of(values: dict[str, Tensor], part: str) -> dict[str, Tensor]:
    return {n.removeprefix(f"{part}."): v for n, v in values.items() if n.startswith(f"{part}.")}


def test_mcd_is_three_steps_of_two_optimisers() -> None:
    train, test = shifted(steps=15, k=2)
    method = MCD(rounds=3, weight=0.7, dropout=0.0)
    net = seeded(lambda: method.networks(train), 4).train()
    made = {"lr": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": train.recipe.weight_decay}
    body, heads = (torch.optim.SGD(net[part].parameters(), **made) for part in ("features", "classifier"))

    def step(loss: Callable[[], Tensor], *optimizers: torch.optim.Optimizer) -> None:
        net.zero_grad()
        loss().backward()
        for optimizer in optimizers:
            optimizer.step()

    def told(batch: Batch) -> Tensor:
        f = net["features"](torch.cat([batch.xs, batch.xl]))
        return sum((cross_entropy(s, torch.cat([batch.ys, batch.yl])) for s in net["classifier"].both(f)), f.sum() * 0)  # type: ignore[operator]

    def apart(batch: Batch) -> Tensor:
        return disagreement(*net["classifier"].both(net["features"](batch.xt)))  # type: ignore[operator]

    for i, batch in enumerate(batches(train, train.recipe, 4)):
        for optimizer in (body, heads):
            optimizer.param_groups[0]["lr"] = 0.05 / (1 + 10 * i / 15) ** 0.75
        step(lambda: told(batch), body, heads)  # noqa: B023
        step(lambda: told(batch) - 0.7 * apart(batch), heads)  # noqa: B023
        for _ in range(3):
            step(lambda: 0.7 * apart(batch), body)  # noqa: B023
    torch.testing.assert_close(method.fit(train, 4)(test.x), outputs(net.eval(), test.x), atol=1e-4, rtol=1e-3)
    first, second = net["classifier"].both(net["features"](test.x))  # type: ignore[operator]
    torch.testing.assert_close(outputs(net, test.x), first + second)


def test_addas_source_features_and_classifier_stay_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    caught: list[nn.ModuleDict] = []
    monkeypatch.setattr(
        importlib.import_module("tlbench_baselines.adda"), "predictor", lambda net, _: caught.append(net)
    )
    train = replace(tiny("convnet", steps=4), shots=nothing_of(tiny("convnet").shots))
    ADDA().fit(train, 2)
    first = SourceOnly().erm.trained(train, 2)
    torch.testing.assert_close(state(caught[0]["source"]), state(first["features"]))  # batch norms' statistics too
    torch.testing.assert_close(state(caught[0]["classifier"]), state(first["classifier"]))
    moved = zip(caught[0]["features"].parameters(), first["features"].parameters(), strict=True)
    assert all(not torch.equal(p, q) for p, q in moved)


# what moves and what stays


@pytest.mark.parametrize("kind", ["convnet", "resnet20", "fieldnet", "vit"])
@pytest.mark.parametrize(
    "method", [LoRA(), loader.load("adapters")(), PartialFineTune()], ids=lambda m: type(m).__name__
)
def test_frozen_weights_and_statistics_stay(method: Any, kind: str) -> None:
    train = tiny(kind, steps=3)
    net = solution(method, train, 0)
    before = state(net["features"])
    begun = method.begun(net, train, 0)
    held = {n for n, p in begun["features"].named_parameters() if not p.requires_grad}
    assert held
    w0 = {n: p.detach().clone() for n, p in begun["features"].named_parameters()}
    trained = replace(method, body_lr=1.0).trained(train, 0, begun)
    moved = {n for n, p in trained["features"].named_parameters() if not torch.equal(p, w0[n])}
    assert moved
    assert not moved & held
    statistics = [v for n, v in trained["features"].state_dict().items() if n.endswith("running_mean")]
    first = next((v for n, v in before.items() if n.endswith("running_mean")), None)
    assert first is None or torch.equal(statistics[0], first)  # the first block's, frozen in all three


def test_lora_changes_every_matrix_by_its_rank_and_merges() -> None:
    train, method = tiny("convnet", steps=5), LoRA(rank=2, lr=0.1)
    net = solution(method, train, 0)
    before = [layer.weight.detach().clone() for _, layer in adaptable(net["features"])]
    trained = replace(method, body_lr=1.0).trained(train, 0, method.begun(net, train, 0)).eval()
    whole = outputs(trained, train.target.x)
    merged = method.finished(trained)
    torch.testing.assert_close(outputs(merged, train.target.x), whole)
    assert not any("parametrizations" in name for name, _ in merged.named_modules())
    for (_, layer), w in zip(adaptable(merged["features"]), before, strict=True):
        change = (layer.weight.detach() - w).flatten(1)
        assert int(torch.linalg.matrix_rank(change, atol=1e-6)) in (1, 2)


def test_partial_fine_tuning_takes_the_blocks_it_is_told_and_refuses_others() -> None:
    train = tiny("resnet20")
    for named, expected in (("0", [0]), ("-1", [9]), ("0, -2", [0, 8])):
        net = PartialFineTune(blocks=named).begun(network(train), train, 0)
        parts = parameters_by_block(net["features"].trunk)  # type: ignore[arg-type]
        assert [i for i, part in enumerate(parts) if all(p.requires_grad for p in part)] == expected
        assert len(parts) == 10
    with pytest.raises(NotApplicable, match="the backbone has 1"):
        PartialFineTune(blocks="2").fit(tiny("bottleneck"), 0)


@pytest.mark.parametrize(
    ("kind", "count"), [("convnet", 3), ("fieldnet", 5), ("bottleneck", 1), ("resnet20", 10), ("vit", 3)]
)
def test_blocks_are_the_layers_with_their_norms_and_hold_every_parameter_once(kind: str, count: int) -> None:
    trunk = tiny(kind).backbone().trunk
    assert isinstance(trunk, nn.Module)
    assert len(blocks(trunk)) == count
    held = [id(p) for part in parameters_by_block(trunk) for p in part]
    assert sorted(held) == sorted(id(p) for p in trunk.parameters())


def test_linear_probing_comes_before_fine_tuning(monkeypatch: pytest.MonkeyPatch) -> None:
    train, seen = tiny("convnet", steps=6), []
    original = GradientMethod.trained

    def watched(self: GradientMethod, train: Train, seed: int, net: nn.ModuleDict | None = None) -> nn.ModuleDict:
        before = state(net["features"]) if net is not None else None
        out = original(self, train, seed, net)
        if before is not None:
            same = all(torch.equal(v, before[n]) for n, v in out["features"].state_dict().items())
            seen.append((self.recipe(train).steps, self.recipe(train).body_lr, same))
        return out

    monkeypatch.setattr(GradientMethod, "trained", watched)
    LPFT(probe_share=0.3).fit(train, 0)
    assert seen == [(2, 1.0, True), (4, 0.1, False)]


@pytest.mark.parametrize("freeze", [False, True])
def test_layer_transfer_copies_the_first_blocks_and_draws_the_rest_anew(freeze: bool) -> None:
    train, method = tiny("resnet20"), LayerTransfer(copied=3, freeze=freeze)
    net = solution(method, train, 0)
    before, head = copy.deepcopy(net["features"].trunk), net["classifier"].weight.clone()  # type: ignore[operator, union-attr]
    begun = method.begun(net, train, 0)
    assert not torch.equal(begun["classifier"].weight, head)  # type: ignore[arg-type]
    pairs = zip(*(parameters_by_block(t) for t in (begun["features"].trunk, before)), strict=True)  # type: ignore[arg-type]
    for i, (now, was) in enumerate(pairs):
        weights = [(p, q) for p, q in zip(now, was, strict=True) if p.ndim > 1]
        assert all(torch.equal(p, q) == (i < 3) for p, q in weights)
        assert all(p.requires_grad == (i >= 3 or not freeze) for p in now)
    again = method.begun(solution(method, train, 0), train, 0)
    torch.testing.assert_close(state(again), state(begun))


@pytest.mark.parametrize("rewind", [True, False])
def test_support_transfer_keeps_the_places_and_learns_the_values(rewind: bool) -> None:
    train, method = tiny("convnet", steps=4), SupportTransfer(kept=0.1, rewind=rewind)
    net = solution(method, train, 0)
    layers = [m for part in net.values() for m in part.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    w0 = [m.weight.detach().clone() for m in layers]
    least = torch.cat([w.abs().flatten() for w in w0]).quantile(0.9) if sum(w.numel() for w in w0) < 1e7 else 0
    first = [m.weight for part in seeded(lambda: network(train), 0).values() for m in part.modules()
             if isinstance(m, nn.Linear | nn.Conv2d)]  # fmt: skip
    begun = method.begun(net, train, 0)
    for layer, w, start in zip(layers, w0, first, strict=True):
        kept = w.abs() > least
        expected = torch.where(kept, start if rewind else w, torch.zeros(()))
        torch.testing.assert_close(layer.weight.detach(), expected.detach())
    done = method.finished(method.trained(train, 0, begun))
    for layer, w in zip(layers, w0, strict=True):
        zero = w.abs() <= least
        assert not layer.weight[zero].any()
        assert not torch.equal(layer.weight, w)
    assert not any("parametrizations" in n for n, _ in done.named_modules())


@pytest.mark.parametrize("p", [0.0, 1.0])
def test_stochastic_norms_use_the_batch_or_the_memory(p: float) -> None:
    norm = nn.BatchNorm2d(4)
    nn.init.normal_(norm.weight)
    norm.running_mean, norm.running_var = torch.randn(4), torch.rand(4) + 0.5
    made, x = StochasticNorm.of(norm, p), torch.randn(6, 4, 3, 3)
    torch.testing.assert_close(made.eval()(x), norm.eval()(x))
    expected = norm.eval()(x) if p == 1 else norm.train()(x)
    torch.testing.assert_close(made.train()(x), expected)
    norm.train()(x) if p == 1 else None
    torch.testing.assert_close(made.state_dict(), norm.state_dict())  # updated by the batch, either way


def test_stochastic_norms_mix_by_channel() -> None:
    torch.manual_seed(0)
    made, x = StochasticNorm.of(nn.BatchNorm2d(200), 0.5), 3 + torch.randn(5, 200, 2, 2)
    raw = made.train()(x)
    from_memory = torch.isclose(raw, x / (1 + 1e-5) ** 0.5).flatten(2).all(2).all(0)
    assert 60 < int(from_memory.sum()) < 140
    torch.testing.assert_close(
        raw.mean((0, 2, 3))[~from_memory], torch.zeros(int((~from_memory).sum())), atol=1e-5, rtol=0
    )


def test_without_batch_norms_stochnorm_refuses() -> None:
    for kind in ("bottleneck", "vit"):
        with pytest.raises(NotApplicable, match="no batch norm"):
            StochNorm().fit(tiny(kind), 0)


# penalties


def linear(d: int, n: int, seed: int, lr: float, steps: int) -> tuple[Train, Tensor]:
    """Regression by a linear model without trunk; sources and shots follow different weights."""
    made = torch.Generator().manual_seed(seed)
    xs, x, ws, wt = (torch.randn(*shape, generator=made) for shape in ((200, d), (n, d), (d,), (d,)))
    source = Labeled(xs, xs @ ws + 0.1 * torch.randn(200, generator=made))
    shots = Labeled(x, x @ (ws + 0.3 * wt) + torch.randn(n, generator=made))
    recipe = Recipe(steps=steps, batch=n, lr=lr, weight_decay=0.0)
    backbone = lambda: networks.Backbone(networks.Float(), nn.Identity(), nn.Identity(), d)  # noqa: E731
    return Train((source,), Unlabeled(x), shots, 1, backbone, recipe, regime="regression"), wt


@pytest.mark.parametrize("alpha", [0.03, 0.4, 2.0])
def test_l2_sp_on_a_linear_model_is_the_ridge_regression_towards_the_source(alpha: float, agrees: Agrees) -> None:
    n, d = 12, 6
    train, _ = linear(d, n, 0, 0.05, 1500)
    method = L2SP(alpha=alpha)
    net = solution(method, train, 0)
    w0 = torch.cat([net["classifier"].weight[0], net["classifier"].bias]).detach().double()  # type: ignore[union-attr, index]
    x = torch.cat([train.shots.x, torch.ones(n, 1)], 1).double()
    penalty = n * alpha / 2  # on |y - X w|^2 + penalty |w - w0|^2, the convention in which the best is sigma^2 / tau^2
    best = lsqr(x.numpy(), train.shots.y.double().numpy(), damp=penalty**0.5, x0=w0.numpy(), atol=1e-14, btol=1e-14)[0]
    tuned = method.tuned(net, train, 0)["classifier"]
    found = torch.cat([tuned.weight[0], tuned.bias]).detach().double()  # type: ignore[union-attr, index]
    agrees("l2_sp", "scipy's lsqr, damped towards w0", found, best, atol=1e-4)


def test_l2_sp_decays_a_fresh_classifier_towards_zero() -> None:
    train = tiny("convnet", other=(4,))
    method = L2SP(alpha=0.2, beta=0.6)
    net = method.begun(network(train), train, 0)
    batch = next(batches(train, train.recipe, 0, "l"))
    plain = L2SP(alpha=0.0, beta=0.0).loss(net, batch, 0.0)
    head = sum(float(p.detach().square().sum()) for p in net["classifier"].parameters())
    assert (method.loss(net, batch, 0.0) - plain).detach().item() == pytest.approx(0.3 * head, rel=1e-4)
    with torch.no_grad():
        p = next(net["features"].parameters())
        p += 0.1
    plain = L2SP(alpha=0.0, beta=0.0).loss(net, batch, 0.0)
    expected = 0.3 * head + 0.1 * 0.01 * p.numel()
    assert (method.loss(net, batch, 0.0) - plain).detach().item() == pytest.approx(expected, rel=1e-4)


def test_deltas_attention_is_the_first_order_rise_of_the_loss_without_a_channel() -> None:
    train = tiny("convnet")
    net = solution(DELTA(), train, 0).eval()
    names = [part[-1] for part in blocks(net["features"].trunk)]  # type: ignore[arg-type]
    x, y = train.shots.x, train.shots.y
    attention = importance(net, names, x, y)
    assert [len(a) for a in attention] == [16, 32, 128]
    assert all(float(a.mean()) == pytest.approx(1.0, abs=1e-5) for a in attention)
    layer, rises = net["features"].trunk.get_submodule(names[1]), []  # type: ignore[union-attr, operator]
    for channel in range(32):
        losses = []
        for scale in (1.0, 1 - 1e-2):
            keep = torch.ones(32, 1, 1)
            keep[channel] = scale
            handle = layer.register_forward_hook(lambda _, __, out, keep=keep: out * keep)
            losses.append(float(cross_entropy(outputs(net, x), y)))
            handle.remove()
        rises.append((losses[1] - losses[0]) / 1e-2)
    expected = torch.tensor(rises).softmax(0) * 32
    torch.testing.assert_close(attention[1], expected, atol=2e-3, rtol=1e-2)


def test_delta_and_lwf_compare_both_networks_on_the_same_augmented_inputs() -> None:
    train = tiny("convnet")
    spec = {"kind": "convnet", "augment": ("shift", "flip")}
    train = replace(train, backbone=lambda: networks.build(spec, [train.target.x], 0))
    batch = next(batches(train, train.recipe, 0, "l"))
    delta = DELTA().begun(network(train), train, 0)
    delta["features"].eval().training = True  # augment, with the norms as in the copy
    assert delta["features"].trunk.training is False  # type: ignore[union-attr]
    gaps = DELTA(weight=1e4).loss(delta, batch, 0.0) - cross_entropy(outputs(delta, batch.xl), batch.yl)
    assert abs(float(gaps.detach())) < 1.0  # of two views it would be thousands
    lwf = LwF().begun(network(train), train, 0)
    lwf["features"].eval().training = True
    with tapped(lwf["features"].trunk, []) as seen:  # type: ignore[arg-type]
        torch.manual_seed(1)
        lwf["features"](batch.xl)
    torch.manual_seed(1)
    with torch.no_grad():
        f = lwf["features"].trunk(seen[""])  # type: ignore[operator]
        p = (lwf["old"][0](f) / 2).softmax(1)  # type: ignore[index]
        told = cross_entropy(lwf["classifier"](f), batch.yl)
    expected = told - (p * p.log()).sum(1).mean()
    torch.testing.assert_close(LwF().loss(lwf, batch, 0.0).detach(), expected, atol=1e-4, rtol=1e-4)


# domains


def test_a_collaborative_networks_weights_sum_to_zero_below_the_last_block() -> None:
    critics = Critics(["a", "b", "c"], [4, 4, 4, 4], 8)
    assert critics.weights.tolist() == [0, 0, 0, -1]
    for _ in range(50):
        critics.move(torch.tensor([0.1, 0.5, 0.7, 0.2]), 0.01)
    assert float(critics.weights[:-1].sum()) == pytest.approx(0, abs=1e-5)
    assert critics.weights[0] > 0 > critics.weights[2]  # the block that tells the domains is encouraged
    assert critics.weights[-1] == -1
    assert critics.weights.abs().max() <= 1


def test_mdan_of_one_source_is_label_loss_minus_its_critics_part() -> None:
    train, _ = shifted()
    net = seeded(lambda: MDAN().networks(train), 0)
    batch = next(batches(train, train.recipe, 0))
    fs, ft = net["features"](batch.xs), net["features"](batch.xt)
    guess = net["critics"][0](torch.cat([fs, ft]))  # type: ignore[index]
    domain = torch.arange(64) // 32
    expected = cross_entropy(net["classifier"](fs), batch.ys) - 0.3 * 2 * cross_entropy(guess, domain)
    torch.testing.assert_close(MDAN(weight=0.3).loss(net, batch, 0.0), expected)


def test_a_committee_averages_probabilities() -> None:
    train = tiny("bottleneck", sources=2)
    net = M3SDA().networks(train).eval()
    f = net["features"](train.target.x)
    expected = torch.stack([c(f).softmax(1) for c in net["classifier"].members]).mean(0)  # type: ignore[union-attr]
    torch.testing.assert_close(net["classifier"](f).exp(), expected)


def test_shot_needs_the_sources_for_its_first_stage_only_and_keeps_their_classifier(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    train, seen = replace(tiny("convnet", steps=4), shots=nothing_of(tiny("convnet").shots)), []
    original = GradientMethod.trained

    def watched(self: GradientMethod, train: Train, seed: int, net: nn.ModuleDict | None = None) -> nn.ModuleDict:
        out = original(self, train, seed, net)
        seen.append((train.sources[0].x, out["classifier"].weight.clone()))  # type: ignore[operator, union-attr]
        return out

    monkeypatch.setattr(GradientMethod, "trained", watched)
    SHOT(rounds=2).fit(train, 0)
    assert [x is train.sources[0].x for x, _ in seen] == [True, False, False]
    assert all(x is train.target.x for x, _ in seen[1:])
    assert all(torch.equal(w, seen[0][1]) for _, w in seen)


def test_fixmatch_without_a_sure_pseudo_label_is_the_label_loss() -> None:
    train, test = shifted(steps=10, k=3)
    found = FixMatch(threshold=1.1).fit(train, 0)(test.x)
    torch.testing.assert_close(found, FixMatch(weight=0.0).fit(train, 0)(test.x))
    assert not torch.equal(found, FixMatch(threshold=0.5).fit(train, 0)(test.x))


@pytest.mark.parametrize("method", [EntropyMin(), FixMatch()])
def test_without_any_label_of_the_targets_classes_a_method_refuses(method: Any) -> None:
    train = tiny("convnet", other=(4,))
    with pytest.raises(NotApplicable, match="no label"):
        method.fit(replace(train, shots=nothing_of(train.shots)), 0)


# shifts whose answer is known


def spurious() -> tuple[Train, Labeled]:
    """Two inputs tell the source's classes; in the target one of them is a constant. By the other Bayes gets 0.933."""

    def rows(n: int, seed: int, target: bool) -> Labeled:
        y = torch.arange(n) % 2
        x = torch.randn(n, 5, generator=torch.Generator().manual_seed(seed))
        x[:, 0] += 3.0 * y - 1.5
        x[:, 1] += 3.0 if target else 3.0 * y - 1.5
        return Labeled(x, y)

    source, target, test = (rows(n, i, i > 0) for i, n in enumerate((400, 400, 1000)))
    spec = {"kind": "bottleneck", "width": 16, "scale": "standard"}
    recipe = Recipe(steps=300, batch=32, lr=0.05)
    shown = [source.x, target.x]
    return Train(
        (source,), Unlabeled(target.x), nothing_of(source), 2, lambda: networks.build(spec, shown, 0), recipe
    ), test  # fmt: skip


@pytest.mark.parametrize(
    "method",
    [
        DAN(), loader.load("jan")(), DeepJDOT(alpha=0.1, weight=0.1), M3SDA(), MDAN(weight=1.0), CAN(), ADDA(),
        loader.load("cdan")(), loader.load("dann")(), MCC(), SHOT(), MCD(), MDD(weight=1.0),
    ],
    ids=lambda m: type(m).__name__,
)  # fmt: skip
def test_a_method_unlearns_what_tells_the_source_alone(method: Any) -> None:
    train, test = spurious()
    assert accuracy(SourceOnly().fit(train, 0)(test.x), test.y) < 0.65
    assert 0.75 < accuracy(method.fit(train, 0)(test.x), test.y) < 0.95


def test_with_linear_classifiers_mcd_puts_the_target_in_one_class_and_mdd_stays_where_it_was() -> None:
    class LinearMCD(MCD):
        def networks(self, train: Train) -> nn.ModuleDict:
            net = network(train)
            return nn.ModuleDict({**net, "classifier": Pair(*(nn.Linear(16, train.n_classes) for _ in range(2)))})

    class LinearMDD(MDD):
        def networks(self, train: Train) -> nn.ModuleDict:
            return nn.ModuleDict({**network(train), "adversary": nn.Linear(16, train.n_classes)})

    train, test = spurious()
    told = LinearMCD().fit(train, 0)(test.x).argmax(1)
    assert torch.bincount(told, minlength=2).max() > 900  # of 1000, half of either class
    assert accuracy(LinearMDD(weight=1.0).fit(train, 0)(test.x), test.y) < 0.65


@pytest.mark.parametrize("method", [MCD(), MDD(weight=1.0)], ids=lambda m: type(m).__name__)
def test_no_one_function_is_right_before_and_after_the_classes_move_along_their_line(method: Any) -> None:
    """CAL-4a: what fits the source gets (Phi(3) + Phi(0)) / 2 = 0.749; a map that undoes the move gets Phi(1.5).

    The mean of five seeds: one alone lies 0.045 off.
    """
    train, test = shifted(shift=1.5, m=1.5, steps=100)
    found = [float(accuracy(method.fit(train, seed)(test.x), test.y)) for seed in range(5)]
    assert sum(found) / len(found) == pytest.approx(0.749, abs=0.04)
    assert accuracy(loader.load("coral")().fit(train, 0)(test.x), test.y) == pytest.approx(0.933, abs=0.03)


def test_a_collaborative_network_of_one_block_is_dann() -> None:
    train, test = spurious()
    train = replace(train, recipe=replace(train.recipe, steps=20))
    dann = loader.load("dann")().fit(train, 0)(test.x)
    torch.testing.assert_close(CAN().fit(train, 0)(test.x), dann, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("method", [MCC(), SHOT(), EntropyMin(weight=0.5), FixMatch()], ids=lambda m: type(m).__name__)
def test_being_sure_about_the_target_moves_the_boundary_between_its_clusters(method: Any) -> None:
    """Clusters 6 apart, moved by 2.2: source-only gets (Phi(3 + 2.2) + Phi(3 - 2.2)) / 2 = 0.89 of the target."""
    train, test = shifted(shift=2.2, m=3.0)
    assert accuracy(SourceOnly().fit(train, 0)(test.x), test.y) < 0.93
    assert accuracy(method.fit(train, 0)(test.x), test.y) > 0.97


def test_the_shared_support_is_worth_more_than_the_values() -> None:
    """CAL-6: 5 of 40 inputs matter in both domains, with independent weights; by the support alone the few shots do."""
    made = torch.Generator().manual_seed(0)
    d, s, n = 40, 5, 60
    ws, wt = torch.zeros(d), torch.zeros(d)
    ws[:s], wt[:s] = (torch.sign(torch.randn(s, generator=made)) / s**0.5 for _ in range(2))
    x, xt, xq = (torch.randn(k, d, generator=made) for k in (1000, n, 2000))
    source = Labeled(x, x @ ws + 0.5 * torch.randn(1000, generator=made))
    shots = Labeled(xt, xt @ wt + 0.5 * torch.randn(n, generator=made))
    backbone = lambda: networks.Backbone(networks.Float(), nn.Identity(), nn.Identity(), d)  # noqa: E731
    recipe = Recipe(steps=400, batch=60, lr=0.03, weight_decay=0.0)
    train = Train((source,), Unlabeled(xt), shots, 1, backbone, recipe, regime="regression")

    def risk(method: Any) -> float:
        return float((method.fit(train, 0)(xq)[:, 0] - xq @ wt).square().mean())

    structure, alone, values = (
        risk(m) for m in (SupportTransfer(kept=s / d), loader.load("target_only")(), SourceOnly())
    )
    assert structure < 0.1  # sigma^2 s / (n - s - 1) = 0.023 on average
    assert structure < alone / 3  # 0.53
    assert structure < values / 3  # 2
