"""Backbones, augmentation and gradient reversal: what goes in, what comes out, and when."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn

from tlbench.data import Labeled, Recipe, Train, Unlabeled
from tlbench.methods import loader
from tlbench.methods import method as methods
from tlbench.training import backbones, networks
from tlbench.training.trainer import ERM, GradientMethod, network, rates, seeded

CONVNET = {"kind": "convnet", "augment": ("shift",)}
BOTTLENECK = {"kind": "bottleneck", "width": 16, "scale": "standard"}
TIMM: dict[str, Any] = {
    "kind": "timm", "timm": "mobilenetv2_100", "args": {}, "weights": None, "mean": (0.485, 0.456, 0.406),
    "std": (0.229, 0.224, 0.225), "size": 64, "augment": (), "fixed_norm": False,
}  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """Small networks wait for each other's threads longer than they compute."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def images(n: int, side: int = 20, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, 3, side, side), generator=generator, dtype=torch.uint8)


def weights(net: nn.Module) -> list[Tensor]:
    return [*net.parameters(), *net.buffers()]


def same(first: nn.Module, second: nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(weights(first), weights(second), strict=True))


# gradient reversal


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0, 7.5])
def test_a_reversed_gradient_is_minus_the_weight_times_the_gradient(weight: float) -> None:
    x, g = random(5, 3).requires_grad_(), random(5, 3, seed=1)
    out = networks.reverse_gradient(x, weight)
    assert torch.equal(out, x)
    out.backward(g)
    assert x.grad is not None
    assert torch.equal(x.grad, -weight * g)


def test_a_reversal_is_of_the_features_and_not_of_the_critic() -> None:
    x, critic = random(6, 4).requires_grad_(), networks.mlp(4, 8, 2)
    grads = [
        torch.autograd.grad(critic(f).square().sum(), [x, *critic.parameters()])
        for f in (x, networks.reverse_gradient(x, 0.25))
    ]
    torch.testing.assert_close(grads[1][0], -0.25 * grads[0][0])
    for plain, behind in zip(grads[0][1:], grads[1][1:], strict=True):
        assert torch.equal(plain, behind)


def test_a_perceptron_has_one_hidden_layer() -> None:
    net, x = networks.mlp(4, 8, 2), random(6, 4)
    first, _, second = net
    hidden = (x @ first.weight.T + first.bias).clamp(min=0)
    torch.testing.assert_close(net(x), hidden @ second.weight.T + second.bias)


# what happens to inputs


@settings(max_examples=50, deadline=None)
@given(n=st.integers(1, 9), m=st.integers(2, 9), d=st.integers(1, 6), seed=st.integers(0, 99))
def test_standardized_features_have_zero_mean_and_unit_variance_over_all_parts(
    n: int, m: int, d: int, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    parts = [generator.normal(5, 3, (size, d)) for size in (n, m)]
    for part in parts:
        part[:, 0] = 7  # constant: only its mean goes
    whole = np.concatenate(parts)
    std = whole.std(0)
    expected = (whole - whole.mean(0)) / np.where(std > 1e-6, std, 1)
    out = networks.Standardize.of([torch.from_numpy(p) for p in parts])(torch.from_numpy(whole))
    assert out.dtype == torch.float32
    np.testing.assert_allclose(out.numpy(), expected, atol=2e-4)
    assert not out[:, 0].any()


def test_standardization_is_by_the_training_inputs_and_takes_any_shape() -> None:
    shown = random(30, 2, 3)
    net = networks.Standardize.of([shown.flatten(1)])
    new = random(4, 2, 3, seed=1) * 9
    expected = (new.flatten(1) - shown.flatten(1).mean(0)) / shown.flatten(1).std(0, correction=0)
    torch.testing.assert_close(net(new), expected)


def test_rows_are_logs_of_counts_of_one_length() -> None:
    counts = np.random.default_rng(0).poisson(0.8, (6, 10))
    counts[2] = 0  # an empty text
    logs = np.log1p(counts)
    norms = np.sqrt((logs**2).sum(1, keepdims=True))
    expected = logs / np.where(norms > 0, norms, 1) * np.sqrt(10)
    out = networks.Rows()(torch.from_numpy(counts)).numpy()
    np.testing.assert_allclose(out, expected, atol=1e-6)
    assert not out[2].any()


def test_floats_are_the_features_as_they_are() -> None:
    x = images(2, 4)
    assert torch.equal(networks.Float()(x), x.flatten(1).float())
    assert networks.Float()(random(2, 3).double()).dtype == torch.float32


def test_pixels_are_normalised_by_channel() -> None:
    mean, std = np.array([0.1, 0.2, 0.3]), np.array([0.5, 0.25, 0.125])
    x = images(2, 5)
    expected = (x.numpy() / 255 - mean[:, None, None]) / std[:, None, None]
    np.testing.assert_allclose(networks.Pixels(mean.tolist(), std.tolist())(x).numpy(), expected, atol=1e-5)


def test_pixels_are_cropped_in_the_centre_unless_a_random_crop_follows() -> None:
    x = images(2, 12)
    for later in (False, True):
        prepare = networks.Pixels([0.0] * 3, [1.0] * 3, size=8, cropped_later=later)
        torch.testing.assert_close(prepare.eval()(x), x[..., 2:10, 2:10] / 255)
        assert prepare.train()(x).shape[-1] == (12 if later else 8)


# augmentation


def warped(kind: str, x: Tensor, size: int | None = None) -> Tensor:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        out: Tensor = networks.Warp((kind,) if kind else (), size)(x)
    return out


def test_no_augmentation_is_none() -> None:
    x = random(3, 3, 8, 8)
    assert warped("", x) is x


def test_a_flip_is_the_image_or_its_mirror_image() -> None:
    x = random(64, 3, 8, 8)
    out = warped("flip", x)
    kept = (out - x).abs().amax((1, 2, 3)) < 1e-5
    mirrored = (out - x.flip(-1)).abs().amax((1, 2, 3)) < 1e-5
    assert (kept ^ mirrored).all()
    assert 16 < int(kept.sum()) < 48


def ramps(n: int, side: int) -> Tensor:
    """Images whose pixels say where they are: x and y in -1..1, as `grid_sample` counts."""
    place = (torch.arange(side) + 0.5) / side * 2 - 1
    one = torch.stack([place.expand(side, side), place[:, None].expand(side, side), torch.zeros(side, side)])
    return one.expand(n, -1, -1, -1).clone()


def test_a_shift_is_at_most_a_tenth_of_the_side_and_each_image_has_its_own() -> None:
    n, side = 200, 40
    moved = (warped("shift", ramps(n, side)) - ramps(n, side))[:, :2, 10:30, 10:30]  # far from the border
    moves = moved.mean((2, 3))
    torch.testing.assert_close(moved, moves[:, :, None, None].expand_as(moved), atol=1e-4, rtol=0)  # rigid
    assert 0.19 < moves.abs().max() <= 0.2  # of a side that is 2 long
    assert len(moves.unique(dim=0)) == n
    assert moves.mean().abs() < 0.03


def test_a_crop_is_a_part_of_the_image_in_the_asked_size() -> None:
    n, side = 300, 32
    out = warped("crop", ramps(n, side), size=16)
    assert out.shape == (n, 3, 16, 16)
    width, height = (
        (out[:, c].flatten(1).amax(1) - out[:, c].flatten(1).amin(1)) / 2 * 16 / 15 for c in range(2)
    )  # from the first pixel's centre to the last one's
    area, aspect = width * height, width / height
    assert 0.079 < area.min() < 0.15
    assert 0.8 < area.max() <= 1.001
    free = (width < 0.95) & (height < 0.95)
    assert aspect[free].min() > 3 / 4 - 0.02
    assert aspect[free].max() < 4 / 3 + 0.02
    assert out[:, :2].abs().max() <= 1 - 1 / side + 1e-5  # nothing beyond the image's own pixels


def test_images_are_warped_while_training_and_only_then() -> None:
    net, x = networks.build(CONVNET, [images(2)], 0), images(7)
    torch.manual_seed(0)
    training = [net.train()(x) for _ in range(2)]
    evaluating = [net.eval()(x) for _ in range(2)]
    assert not torch.equal(*training)
    assert torch.equal(*evaluating)
    assert torch.equal(evaluating[0], net.trunk(net.prepare(x)))


# networks


@pytest.mark.parametrize("side", [3, 4, 5, 8, 13, 16, 20, 28, 32, 33])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_convnet_takes_images_of_any_side(channels: int, side: int) -> None:
    assert backbones.convnet(channels, side)(random(2, channels, side, side)).shape == (2, 128)


@pytest.mark.parametrize("spec", [CONVNET, BOTTLENECK, TIMM], ids=lambda s: s["kind"])
def test_the_initial_weights_are_the_same_for_everyone_and_disturb_nobody(spec: dict[str, Any]) -> None:
    parts = [images(4, 8)]
    torch.manual_seed(1)
    first = networks.build(spec, parts, 0)
    torch.manual_seed(2)
    state = torch.get_rng_state()
    second = networks.build(spec, parts, 0)
    assert torch.equal(state, torch.get_rng_state())
    assert same(first, second)
    assert not same(first, networks.build(spec, parts, 1))
    assert first(images(4, 8 if spec["kind"] != "timm" else 64)).shape == (4, first.width)


def gradient_methods() -> list[str]:
    return [name for name in methods.shipped() if issubclass(loader.load(name), GradientMethod)]


@pytest.mark.parametrize("spec", [CONVNET, BOTTLENECK], ids=lambda s: s["kind"])
@pytest.mark.parametrize("name", gradient_methods())
def test_every_method_starts_from_the_same_backbone_and_classifier(name: str, spec: dict[str, Any]) -> None:
    parts = [images(4, 8)]
    labeled = Labeled(parts[0], torch.arange(4) % 2)
    train = Train((labeled,), Unlabeled(parts[0]), labeled, 2, lambda: networks.build(spec, parts, 3))
    erm, own = (seeded(lambda m=m: m.networks(train), 3) for m in (ERM(), loader.load(name)()))
    assert same(own["features"], erm["features"])
    assert same(own["features"], networks.build(spec, parts, 3))
    if isinstance(own["classifier"], nn.Linear):
        assert same(own["classifier"], erm["classifier"])
    else:  # a committee has it as its first member; cosines, gates and deeper classifiers have none
        linear = [m for m in own["classifier"].modules() if isinstance(m, nn.Linear) and m.bias is not None]
        assert name in ("mme", "mmoe", "mcd", "mdd") or same(linear[0], erm["classifier"])


@pytest.mark.parametrize(
    ("scale", "prepare"), [("standard", networks.Standardize), ("rows", networks.Rows), ("none", networks.Float)]
)
def test_a_bottleneck_is_a_linear_layer_and_a_relu_over_scaled_features(scale: str, prepare: type[nn.Module]) -> None:
    x = random(9, 5).abs()
    net = networks.build({**BOTTLENECK, "scale": scale}, [x[:4], x[4:]], 0)
    assert isinstance(net.prepare, prepare)
    scaled = net.prepare(x)
    assert torch.equal(net(x), net.trunk[0](scaled).clamp(min=0))
    assert net(x).shape == (9, net.width) == (9, 16)
    if scale == "standard":
        torch.testing.assert_close(scaled.mean(0), torch.zeros(5), atol=1e-6, rtol=0)


# a pretrained network


def pictures(fixed_norm: bool, steps: int = 2) -> Train:
    """A MobileNetV2 of random weights over images a little larger than its input."""
    parts = [images(8, 72, seed=s) for s in range(2)]
    spec = {**TIMM, "augment": ("crop", "flip"), "fixed_norm": fixed_norm}
    labeled = Labeled(parts[0], torch.arange(8) % 2)
    return Train(
        (labeled,), Unlabeled(parts[1]), Labeled(parts[0][:0], torch.zeros(0).long()), 2,
        lambda: networks.build(spec, parts, 0), Recipe(steps=steps, batch=4),
    )  # fmt: skip


@pytest.mark.parametrize("fixed_norm", [False, True])
def test_a_timm_model_trains_end_to_end_with_its_norms_in_the_right_mode(fixed_norm: bool) -> None:
    train = pictures(fixed_norm)
    net = ERM().trained(train, 0)
    fresh, trained = train.backbone(), net["features"]
    old, new = ([m for m in b.modules() if isinstance(m, nn.BatchNorm2d)] for b in (fresh, trained))
    assert len(old) == len(new) > 50
    for before, after in zip(old, new, strict=True):
        assert torch.equal(before.running_mean, after.running_mean) == fixed_norm
        assert torch.equal(before.running_var, after.running_var) == fixed_norm
        assert not after.training
    body = zip(fresh.named_parameters(), trained.parameters(), strict=True)
    assert not [name for (name, before), after in body if torch.equal(before, after)]  # all of it learns
    kept = [b.clone() for b in trained.buffers()]
    whole = net["classifier"](trained(images(5, 72, seed=9)))
    singles = torch.cat([net["classifier"](trained(x[None])) for x in images(5, 72, seed=9)])
    torch.testing.assert_close(whole, singles, atol=1e-5, rtol=1e-4)
    assert all(torch.equal(a, b) for a, b in zip(kept, trained.buffers(), strict=True))


def test_fixed_norms_stay_fixed_whoever_calls_for_training() -> None:
    net = nn.ModuleDict({"features": networks.build({**TIMM, "fixed_norm": True}, [], 0)}).train()
    modes = {type(m).__name__: m.training for m in net["features"].trunk.modules()}
    assert not any(m.training for m in net.modules() if isinstance(m, nn.BatchNorm2d))
    assert modes["Conv2d"]


def test_a_models_weights_come_from_its_file_and_a_file_that_lacks_some_is_refused(tmp_path: Path) -> None:
    made = networks.build(TIMM, [], 5)
    state = {name: value.contiguous() for name, value in made.trunk.state_dict().items()}
    save_file({**state, "classifier.weight": torch.zeros(3)}, tmp_path / "whole.safetensors")
    read = networks.build({**TIMM, "weights": str(tmp_path / "whole.safetensors")}, [], 0)
    assert same(read.trunk, made.trunk)
    assert not same(networks.build(TIMM, [], 0).trunk, made.trunk)
    state.pop("conv_head.weight")
    save_file(state, tmp_path / "part.safetensors")
    with pytest.raises(ValueError, match=r"part\.safetensors: lacks 1 tensors of mobilenetv2_100, conv_head.weight"):
        networks.build({**TIMM, "weights": str(tmp_path / "part.safetensors")}, [], 0)


def test_prediction_looks_at_the_centre_and_training_at_any_part() -> None:
    train = pictures(fixed_norm=False)
    net = train.backbone().eval()
    x = images(3, 72)
    x[..., :4, :] = 0  # the margin outside of the central 64 by 64
    assert torch.equal(net(x), net(torch.cat([255 - x[..., :4, :], x[..., 4:, :]], -2)))
    seen = []
    net.trunk.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape))
    net.train()(x)
    assert seen == [(3, 3, 64, 64)]


def test_a_model_without_augmentation_trains_on_larger_images_too() -> None:
    train = pictures(fixed_norm=False, steps=1)
    plain = replace(train, backbone=lambda: networks.build(TIMM, [], 0))
    assert ERM().fit(plain, 0)(images(2, 72)).shape == (2, 2)


def test_a_neck_is_a_new_layer_over_a_pretrained_network_that_learns_at_the_heads_rate() -> None:
    train = pictures(fixed_norm=False)
    plain, spec = train.backbone(), {**TIMM, "neck": 24}
    necked = networks.build(spec, [], 0)
    assert same(necked.trunk.body, plain.trunk)  # the same initial weights under it
    assert (necked.width, necked.eval()(images(3, 72)).shape) == (24, (3, 24))
    net = network(replace(train, backbone=lambda: necked))
    shares = {id(p): group["rate"] for group in rates(net, 0.1) for p in group["params"]}
    assert len(shares) == len(list(net.parameters()))
    for part, rate in ((necked.trunk.body, 0.1), (necked.trunk.neck, 1.0), (net["classifier"], 1.0)):
        assert {shares[id(p)] for p in part.parameters()} == {rate}
    assert ERM().fit(replace(train, backbone=lambda: networks.build(spec, [], 0)), 0)(images(2, 72)).shape == (2, 2)


def test_a_checkpoints_own_classifier_is_read_where_its_file_has_one(tmp_path: Path) -> None:
    made = networks.build(TIMM, [], 5)
    file = tmp_path / "whole.safetensors"
    state = {name: value.contiguous() for name, value in made.trunk.state_dict().items()}
    weight, bias = torch.randn(7, made.width), torch.randn(7)
    save_file({**state, "classifier.weight": weight, "classifier.bias": bias}, file)
    head = networks.build({**TIMM, "weights": str(file)}, [], 0).checkpoint_head()
    assert head is not None
    assert torch.equal(head.weight, weight)
    assert torch.equal(head.bias, bias)
    assert made.checkpoint_head() is None
    assert networks.build({**TIMM, "weights": str(file), "neck": 8}, [], 0).checkpoint_head() is None
    save_file(state, file)
    assert networks.build({**TIMM, "weights": str(file)}, [], 0).checkpoint_head() is None


def test_a_frozen_neck_keeps_its_statistics_and_a_fresh_one_over_a_folded_checkpoint_does_not() -> None:
    body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 36, 5))
    net = networks.Backbone(networks.Float(), nn.Identity(), backbones.necked(body, 5, 6), 6, fixed_norm=True)
    norms = {type(m): m for m in net.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)}
    net.train()
    assert not norms[nn.BatchNorm2d].training
    assert norms[nn.BatchNorm1d].training
    net.requires_grad_(False).train()
    assert not norms[nn.BatchNorm1d].training
    before = {k: v.clone() for k, v in net.state_dict().items()}
    net.trunk(random(8, 3, 8, 8))
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
