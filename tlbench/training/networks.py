"""Backbones a card may name, heads, gradient reversal. Every backbone maps raw inputs to (b, width)."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Self, TypeVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from tlbench.training import backbones

Part = TypeVar("Part", bound=nn.Module)


def no_head() -> None:
    """The classifier of weights that were published without one."""


class Backbone(nn.Module):
    """Prepare raw inputs, augment them while training, and map them to features.

    Args:
        prepare: raw inputs (uint8 images or features of any dtype) -> float inputs of the trunk
        augment: float images -> float images, applied in training mode only
        trunk: float inputs -> (b, width)
        pretrained: the trunk has learnt something before
        checkpoint_head: makes the classifier that the trunk's weights were published with; None where there is none
        fixed_norm: keep the trunk's batch norms on their stored statistics while training, as a checkpoint needs
            whose norms were folded into its convolutions

    A batch norm whose parameters require no gradient keeps its stored statistics too: frozen is frozen.
    """

    def __init__(
        self,
        prepare: nn.Module,
        augment: nn.Module,
        trunk: nn.Module,
        width: int,
        fixed_norm: bool = False,
        pretrained: bool = False,
        checkpoint_head: Callable[[], nn.Linear | None] = no_head,
    ) -> None:
        super().__init__()
        self.prepare, self.augment, self.trunk, self.width = prepare, augment, trunk, width
        self.fixed_norm, self.pretrained, self.checkpoint_head = fixed_norm, pretrained, checkpoint_head

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        for module in self.trunk.modules():
            of_checkpoint = self.fixed_norm and isinstance(module, nn.BatchNorm2d)  # a neck's norm is of one dimension
            if isinstance(module, _BatchNorm) and (of_checkpoint or _is_frozen(module)):
                module.eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        x = self.prepare(x)
        if self.training:
            x = self.augment(x)
        features: Tensor = self.trunk(x)
        return features  # (b, width)

    def maps(self, x: Tensor) -> Tensor:
        """Features place by place, (b, width, h', w'), of a trunk that has them; never augmented."""
        found: Tensor = self.trunk.maps(self.prepare(x))  # type: ignore[operator]
        return found


class Networks(nn.ModuleDict):
    """A method's networks by name: `net.features`, or `net["features"]`; the classifier stands above the features."""

    features: Backbone
    classifier: nn.Module
    heads: nn.ModuleList  # of the sources, where these have a task of their own
    discriminator: nn.Module  # of domains, in adversarial methods


def part(net: nn.ModuleDict, name: str, kind: type[Part]) -> Part:
    """The network of that name, which is of that kind.

    Raises:
        TypeError: it is of another.
    """
    found = net[name]
    if not isinstance(found, kind):
        raise TypeError(f"{name!r} is a {type(found).__name__}, no {kind.__name__}")
    return found


def body(net: nn.ModuleDict) -> Backbone:
    """The backbone among a method's networks, under 'features', or what stands for it."""
    return cast(Backbone, net["features"])


def _is_frozen(module: nn.Module) -> bool:
    parameters = list(module.parameters())
    return bool(parameters) and not any(p.requires_grad for p in parameters)


class Pixels(nn.Module):
    """uint8 images (b, c, h, w) -> normalised floats, channels last (twice as fast on a CPU's convolutions).

    Args:
        mean, std: of the channels on the scale 0..1; a grey image is repeated over several
        size: the side of a centre crop, to which smaller images are enlarged; None keeps all
        cropped_later: while training, leave the crop to the augmentation
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, mean: Sequence[float], std: Sequence[float], size: int | None = None, cropped_later: bool = False
    ) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1) * 255, persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1) * 255, persistent=False)
        self.size, self.cropped_later = size, cropped_later

    def forward(self, x: Tensor) -> Tensor:
        if self.size is not None and max(x.shape[-2:]) < self.size:
            x = F.interpolate(x.float(), (self.size, self.size), mode="bilinear", align_corners=False)
        elif self.size is not None and not (self.training and self.cropped_later):
            top, left = (x.shape[-2] - self.size) // 2, (x.shape[-1] - self.size) // 2
            x = x[..., top : top + self.size, left : left + self.size]
        x = (x.float() - self.mean) / self.std
        return x.contiguous(memory_format=torch.channels_last)


class Standardize(nn.Module):
    """Features (b, d) -> zero mean and unit variance by the statistics it was made with."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("std", std, persistent=False)

    @classmethod
    def of(cls, parts: Sequence[Tensor]) -> Standardize:
        """Statistics over the rows of all parts (n, d); constant columns keep their scale."""
        var, mean = torch.var_mean(torch.cat([p.double() for p in parts]), 0, correction=0)
        std = torch.where(var > 1e-12, var.sqrt(), torch.ones_like(var))
        return cls(mean.float(), std.float())

    def forward(self, x: Tensor) -> Tensor:
        return (x.flatten(1).float() - self.mean) / self.std


class Rows(nn.Module):
    """Counts (b, d) -> log(1 + x), each row scaled to norm sqrt(d): long and short texts weigh alike."""

    def forward(self, x: Tensor) -> Tensor:
        logs = x.flatten(1).float().log1p()
        scaled: Tensor = F.normalize(logs) * logs.shape[1] ** 0.5
        return scaled


class Float(nn.Module):
    """Flatten and turn to float32: features as they are."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1).float()


class Given(nn.Module):
    """Inputs as they are, as float32 for a trunk of unknown make; bytes are brought to 0..1."""

    def forward(self, x: Tensor) -> Tensor:
        return x.float() / 255 if x.dtype == torch.uint8 else x.float()


class Warp(nn.Module):
    """Random shift, horizontal flip and crop, one per image, as a single bilinear resampling.

    Args:
        kinds: any of 'shift' (up to a tenth of the side), 'flip', 'crop' (Inception-style: area 0.08..1,
            aspect 3/4..4/3; Szegedy et al. 2015)
        size: output side; None keeps the input's
    """

    def __init__(self, kinds: Sequence[str], size: int | None = None) -> None:
        super().__init__()
        self.kinds, self.size = tuple(kinds), size

    def forward(self, x: Tensor) -> Tensor:
        if not self.kinds:
            return x
        b, size = len(x), self.size or x.shape[-1]
        theta = torch.zeros(b, 2, 3, device=x.device)
        theta[:, 0, 0] = theta[:, 1, 1] = 1.0
        if "crop" in self.kinds:
            area = torch.empty(b, device=x.device).uniform_(0.08, 1.0)
            aspect = torch.empty(b, device=x.device).uniform_(math.log(3 / 4), math.log(4 / 3)).exp()
            width, height = (area * aspect).sqrt().clamp(max=1), (area / aspect).sqrt().clamp(max=1)
            place = torch.rand(2, b, device=x.device) * 2 - 1
            theta[:, 0, 0], theta[:, 1, 1] = width, height
            theta[:, 0, 2], theta[:, 1, 2] = place[0] * (1 - width), place[1] * (1 - height)
        if "flip" in self.kinds:
            theta[:, 0, :2] *= (torch.rand(b, 1, device=x.device) < 0.5).float() * 2 - 1
        if "shift" in self.kinds:
            theta[:, :, 2] += torch.empty(b, 2, device=x.device).uniform_(-0.2, 0.2)
        grid = F.affine_grid(theta, [b, x.shape[1], size, size], align_corners=False)
        out = F.grid_sample(x, grid, padding_mode="border", align_corners=False)
        return out.contiguous(memory_format=torch.channels_last)


class Dropout(nn.Module):
    """Each number is 0 with probability `p` while training, and the others are larger by 1 / (1 - p).

    torch's own draws otherwise on processors of one maker than on those of others; uniform numbers are the same on all.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        return dropped(x, self.p) if self.training else x


def dropped(x: Tensor, p: float) -> Tensor:
    """`x` with each number 0 with probability `p`, and the others divided by 1 - p."""
    return x * (torch.rand_like(x) >= p) / (1 - p)


class GradientReversal(torch.autograd.Function):
    """Identity forwards; times -weight backwards (Ganin et al. 2016, section 4.2)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: float) -> Tensor:
        ctx.weight = weight
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return -ctx.weight * grads[0], None


def reverse_gradient(x: Tensor, weight: float) -> Tensor:
    """`x` unchanged, whose gradient arrives multiplied by `-weight`."""
    reversed_: Tensor = GradientReversal.apply(x, weight)
    return reversed_


def mlp(width: int, hidden: int, out: int) -> nn.Sequential:
    """Two layers with a ReLU between: (b, width) -> (b, out)."""
    return nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, out))


def build(spec: dict[str, Any], parts: Sequence[Tensor], seed: int) -> Backbone:
    """The card's network, the same initial weights for the same (spec, seed), whoever asks.

    Args:
        spec: {"kind": "convnet" | "timm" | "bottleneck", ...}, written by the harness from the card
        parts: (n, *shape) inputs of the sources and of the target's pool; their statistics standardise frozen features
            (the pool's alone would blow up what is nearly constant in a small target)
        seed: of the cell
    """
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # timm's own deprecations are not the method's
        torch.manual_seed(seed)
        return BUILDERS[spec["kind"]](spec, parts)


def of_module(module: nn.Module, shown: Sequence[Tensor], pretrained: bool = False, maps: bool = False) -> Backbone:
    """Any module as a backbone; its width is found by running it. One that is a `Backbone` is returned.

    Vectors are an embedding already, which methods on matrices take as it is, unless the module has learnt another.

    Args:
        shown: some inputs of each shape that it is to take; the last are those of which maps are wanted
        maps: it gives (b, width, h', w'), of which a feature is the mean over places

    Raises:
        ValueError: it does not take such inputs, or gives no features.
    """
    if isinstance(module, Backbone):
        return module
    flat = all(x.ndim == 2 for x in shown) and not pretrained
    prepare, asked = Float() if flat else Given(), "(n, width, h, w) maps" if maps else "(n, width) features"
    module.eval()
    for x in shown:
        try:
            with torch.no_grad():
                out = module(prepare(x))
        except Exception as error:
            why = " ".join(str(error).split())
            raise ValueError(f"backbone: it does not take inputs of shape {tuple(x.shape)}: {why}") from None
        if not isinstance(out, Tensor) or out.ndim != (4 if maps else 2) or len(out) != len(x):
            found = f"shape {tuple(out.shape)}" if isinstance(out, Tensor) else type(out).__name__
            raise ValueError(f"backbone: it gives {found} for inputs of shape {tuple(x.shape)}, not {asked}")
    trunk: nn.Module = module if any(True for _ in module.children()) else nn.Sequential(module)  # a block has a name
    if maps:
        trunk = backbones.Pooled(trunk, round(shown[-1].shape[-1] / out.shape[-1]))
    return Backbone(prepare, nn.Identity(), trunk, out.shape[1], pretrained=pretrained).train()


def _convnet(spec: dict[str, Any], parts: Sequence[Tensor]) -> Backbone:
    channels, side = parts[0].shape[1], parts[0].shape[2]
    grey = [0.5] * channels
    return Backbone(Pixels(grey, grey), Warp(spec["augment"]), backbones.convnet(channels, side), 128)


def _fieldnet(spec: dict[str, Any], parts: Sequence[Tensor]) -> Backbone:
    grey = [0.5] * parts[0].shape[1]
    trunk = backbones.FieldNet(parts[0].shape[1])
    return Backbone(Pixels(grey, grey), Warp(spec["augment"]), trunk, trunk.width)


def _pretrained(spec: dict[str, Any], parts: Sequence[Tensor]) -> Backbone:
    trunk = (backbones.timm_trunk if spec["kind"] == "timm" else backbones.resnet20)(spec)
    size = int(spec["size"])
    prepare = Pixels(spec["mean"], spec["std"], size, cropped_later="crop" in spec["augment"])
    width = int(trunk.num_features)  # type: ignore[arg-type]
    trunk, learnt = trunk.to(memory_format=torch.channels_last), bool(spec.get("weights"))
    augment, fixed = Warp(spec["augment"], size), bool(spec["fixed_norm"])
    if neck := spec.get("neck"):
        return Backbone(prepare, augment, backbones.necked(trunk, width, neck), neck, fixed, learnt)
    return Backbone(prepare, augment, trunk, width, fixed, learnt, partial(backbones.checkpoint_head, spec, width))


def _features(spec: dict[str, Any], parts: Sequence[Tensor]) -> nn.Module:
    if spec["scale"] == "standard":
        return Standardize.of([p.flatten(1) for p in parts])
    return Rows() if spec["scale"] == "rows" else Float()  # 'domain' was done before, to each domain as a whole


def _bottleneck(spec: dict[str, Any], parts: Sequence[Tensor]) -> Backbone:
    d, width = parts[0][0].numel(), int(spec["width"])
    trunk = nn.Sequential(nn.Linear(d, width), nn.ReLU())
    return Backbone(_features(spec, parts), nn.Identity(), trunk, width)


BUILDERS: dict[str, Callable[[dict[str, Any], Sequence[Tensor]], Backbone]] = {
    "convnet": _convnet,
    "fieldnet": _fieldnet,
    "timm": _pretrained,
    "resnet20": _pretrained,
    "bottleneck": _bottleneck,
}
