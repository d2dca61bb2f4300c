"""The trunks under a backbone: float images in, (b, width) features out."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

HEADS = ("fc", "classifier", "head", "linear")  # what timm's networks and the CIFAR-10 one call their classifier


def convnet(channels: int, side: int) -> nn.Sequential:
    """Two convolutions and a linear layer, with batch normalisation: (b, channels, side, side) -> (b, 128).

    The first convolution strides and the second one's pooling comes before its normalisation: on one core half the
    time of the textbook order, for the same accuracy within a domain.
    """
    return nn.Sequential(
        nn.Conv2d(channels, 16, 5, stride=2, padding=2),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.MaxPool2d(2),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32 * (-(-side // 2) // 2) ** 2, 128),
        nn.ReLU(),
    ).to(memory_format=torch.channels_last)


def timm_trunk(spec: dict[str, Any]) -> nn.Module:
    """A timm model without its classifier, with weights from a local file when the spec names one.

    Args:
        spec: {"timm": name, "args": {...}, "weights": path or None}
    """
    import timm  # slow to import, and only needed here

    model: nn.Module = timm.create_model(spec["timm"], num_classes=0, **spec.get("args", {}))
    if spec.get("weights"):
        _load(model, spec["weights"], spec["timm"])
    return model


class FieldNet(nn.Module):
    """Five convolutions that see 41 pixels around each place, a place every 4 pixels; their mean is the feature.

    The same weights tell what a small crop shows and, place by place, what lies in a large image.
    """

    stride = 4

    def __init__(self, channels: int, width: int = 64) -> None:
        super().__init__()
        self.width = width
        self.layers = nn.Sequential(
            *_normed(nn.Conv2d(channels, width // 2, 5, stride=2, padding=2, bias=False)),
            *_normed(nn.Conv2d(width // 2, width, 3, stride=2, padding=1, bias=False)),
            *_normed(nn.Conv2d(width, width, 3, padding=1, bias=False)),
            *_normed(nn.Conv2d(width, width, 3, padding=1, bias=False)),
            *_normed(nn.Conv2d(width, width, 3, padding=2, dilation=2, bias=False)),
        ).to(memory_format=torch.channels_last)

    def maps(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers(x)
        return out  # (b, width, h / 4, w / 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.maps(x).mean((2, 3))


class Pooled(nn.Module):
    """Layers that give maps (b, width, h', w'), a place every `stride` pixels; their mean is the feature."""

    def __init__(self, layers: nn.Module, stride: int) -> None:
        super().__init__()
        self.layers, self.stride = layers, stride

    def maps(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers(x)
        return out

    def forward(self, x: Tensor) -> Tensor:
        return self.maps(x).mean((2, 3))


def _normed(conv: nn.Conv2d) -> tuple[nn.Module, nn.Module, nn.Module]:
    return conv, nn.BatchNorm2d(conv.out_channels), nn.ReLU()


class ResNet20(nn.Module):
    """The 20-layer residual network for 32x32 images with parameter-free shortcuts (He et al. 2016, section 4.2)."""

    num_features = 64

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16)
        self.layer1, self.layer2, self.layer3 = (
            nn.Sequential(_Residual(c_in, c, stride), _Residual(c, c, 1), _Residual(c, c, 1))
            for c_in, c, stride in ((16, 16, 1), (16, 32, 2), (32, 64, 2))
        )

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        out: Tensor = self.layer3(self.layer2(self.layer1(x)))
        return out.mean((2, 3))  # (b, 64)


class _Residual(nn.Module):
    def __init__(self, c_in: int, c: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(c_in, c, 3, stride, 1, bias=False), nn.BatchNorm2d(c)
        self.conv2, self.bn2 = nn.Conv2d(c, c, 3, 1, 1, bias=False), nn.BatchNorm2d(c)
        self.stride, self.more = stride, c - c_in

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.more:  # every other pixel, and new channels of zeros
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.more // 2, self.more - self.more // 2))
        return F.relu(out + x)


def resnet20(spec: dict[str, Any]) -> nn.Module:
    """`ResNet20` without its classifier, with weights from a local file when the spec names one."""
    net = ResNet20()
    if spec.get("weights"):
        _load(net, spec["weights"], "ResNet-20")
    return net


def necked(trunk: nn.Module, width: int, neck: int) -> nn.Sequential:
    """`trunk` (b, width) and above it a new layer, normalised and rectified, as the deep-adaptation literature has one:
    (b, neck)."""
    layer = nn.Sequential(nn.Linear(width, neck), nn.BatchNorm1d(neck), nn.ReLU())
    return nn.Sequential(OrderedDict(body=trunk, neck=layer))


def checkpoint_head(spec: dict[str, Any], width: int) -> nn.Linear | None:
    """The classifier that the spec's weights were published with, over (b, width); None where their file has none."""
    from safetensors import safe_open

    if not spec.get("weights"):
        return None
    with safe_open(spec["weights"], "pt") as held:
        places = {key.removeprefix("module."): key for key in held.keys()}  # noqa: SIM118  # it is no dictionary
        for name in HEADS:
            if f"{name}.weight" in places and f"{name}.bias" in places:
                weight, bias = (held.get_tensor(places[f"{name}.{part}"]).float() for part in ("weight", "bias"))
                if weight.ndim == 2 and weight.shape[1] == width:
                    head = nn.Linear(*weight.T.shape)
                    head.load_state_dict({"weight": weight, "bias": bias})
                    return head
    return None


def _load(net: nn.Module, file: str, name: str) -> None:
    """Put a file's tensors in their places; what the file has beyond them, as a classifier, is left out.

    Raises:
        ValueError: the file lacks tensors of the network.
    """
    from safetensors.torch import load_file

    state = {key.removeprefix("module."): value.float() for key, value in load_file(file).items()}
    wanted = net.state_dict().keys()
    missing = [key for key in wanted if key not in state and not key.endswith("num_batches_tracked")]
    if missing:
        raise ValueError(f"{file}: lacks {len(missing)} tensors of {name}, {missing[0]} first")
    net.load_state_dict({k: v for k, v in state.items() if k in wanted}, strict=False)
