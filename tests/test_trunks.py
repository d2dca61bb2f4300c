"""Trunks beyond the small convnet: the field network and the CIFAR-10 network with its published weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from tlbench.tasks.datasets import pretrained
from tlbench.training import backbones
from tlbench.training.networks import Pixels


def test_a_fields_feature_is_the_mean_of_its_map() -> None:
    net = backbones.FieldNet(3).eval()
    x = torch.randn(2, 3, 32, 48)
    with torch.no_grad():
        assert net.maps(x).shape == (2, 64, 8, 12)
        assert torch.allclose(net(x), net.maps(x).mean((2, 3)))


def test_a_field_sees_as_far_as_it_says() -> None:
    net = backbones.FieldNet(1).double().eval()
    x = torch.randn(1, 1, 120, 120, dtype=torch.double, requires_grad=True)
    net.maps(x)[0, :, 15, 15].sum().backward()
    seen = x.grad[0, 0].abs().sum(0).nonzero()
    assert 30 < int(seen.max() - seen.min()) + 1 <= 41


def test_the_cifar_network_tells_dogs_and_horses_on_real_photographs(real_data: Path) -> None:
    """With the right architecture and normalisation its ten classes are told far above chance on images of others."""
    file = pretrained.weights_file("resnet20_cifar10")
    if file is None:
        pytest.skip("no resnet20_cifar10.safetensors here")
    state, card = load_file(file), pretrained.read("resnet20_cifar10")
    net = backbones.resnet20({"weights": str(file)}).eval()
    head = {k.rpartition(".")[2]: v.float() for k, v in state.items() if "linear." in k}
    for name, index in (("dog", 5), ("horse", 7)):
        files = sorted((real_data / "pacs" / "PACS" / "photo" / name).iterdir())
        images = [np.asarray(Image.open(f).convert("RGB").resize((32, 32), Image.BILINEAR)) for f in files]
        x = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
        with torch.no_grad():
            scores = net(Pixels(card.mean, card.std)(x)) @ head["weight"].T + head["bias"]
        assert (scores.argmax(1) == index).float().mean() > 0.5, name


def test_weights_that_lack_a_tensor_are_named(tmp_path: Path) -> None:
    state = backbones.ResNet20().state_dict()
    del state["layer2.0.conv1.weight"]
    save_file(state, tmp_path / "broken.safetensors")
    with pytest.raises(ValueError, match=r"broken.safetensors: lacks 1 tensors of ResNet-20, layer2.0.conv1.weight"):
        backbones.resnet20({"weights": str(tmp_path / "broken.safetensors")})


def test_small_and_grey_images_are_enlarged_and_repeated_for_a_pretrained_network() -> None:
    grey = torch.full((2, 1, 28, 28), 128, dtype=torch.uint8)
    out = Pixels([0.5] * 3, [0.5] * 3, 32)(grey)
    assert out.shape == (2, 3, 32, 32)
    assert out.abs().max() < 0.01
