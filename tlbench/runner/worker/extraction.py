"""Image files -> arrays, once: decoded pixels for a trainable backbone, or a frozen backbone's features.

Runs in a worker's child, never where a method runs. Threads decode while the network computes. On a CPU the
batch norms are folded into the convolutions and tensors are channels-last. Features are float32, and bfloat16 where
the command declares it; the precision is part of the key under which they are kept.
"""

from __future__ import annotations

import copy
import os
import warnings
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from tlbench import cache
from tlbench.errors import UsageError
from tlbench.training.backbones import timm_trunk
from tlbench.training.networks import Pixels


def decoded(file: Path, shape: Shape) -> NDArray[np.uint8]:
    """An image as RGB in the wanted shape: (3, side, side).

    Raises:
        UsageError: the file is not an image that can be read whole; it is named.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(file) as image:
                image.draft("RGB", (shape.resize, shape.resize))  # JPEG: decode at a fraction still large enough
                rgb = image.convert("RGB")
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError, Image.DecompressionBombWarning) as error:
        raise UsageError(f"{file}: broken image ({' '.join(str(error).split())}); get it again or remove it") from None
    side = (shape.crop, shape.crop)
    if shape.fit == "squash":
        pixels = rgb.resize(side, Image.Resampling.BILINEAR)
    else:  # the shorter side to `resize`, then the centre; only what is kept is computed
        half = shape.crop * min(rgb.size) / shape.resize / 2
        x, y = rgb.width / 2, rgb.height / 2
        box = (max(0.0, x - half), max(0.0, y - half), min(rgb.width, x + half), min(rgb.height, y + half))
        pixels = rgb.resize(side, Image.Resampling.BICUBIC, box=box)
    return np.ascontiguousarray(np.asarray(pixels).transpose(2, 0, 1))


@dataclass(frozen=True)
class Shape:
    """How an image of any size becomes a square."""

    resize: int  # the shorter side before cropping
    crop: int  # the side kept
    fit: str  # 'crop' the centre, or 'squash' the whole image


def extract(job: dict[str, Any]) -> dict[str, Any]:
    """Decode `job["files"]` and write one row a file to `job["out"]`, an .npy that appears whole or not at all.

    The job names: shape, net (a timm spec, or None for the pixels themselves), precision, device, progress (a file
    that holds how many are done).
    """
    files = [Path(f) for f in Path(job["files"]).read_text(encoding="utf-8").splitlines()]
    shape = Shape(**job["shape"])
    net = Frozen(job["net"], shape.crop, job["precision"], job["device"]) if job["net"] else None
    width: tuple[int, ...] = (net.width,) if net else (3, shape.crop, shape.crop)
    kind = np.float32 if net else np.uint8
    temporary = Path(f"{job['out']}.{os.getpid()}.tmp")
    out = cache.reserved(temporary, np.dtype(kind), (len(files), *width))
    for i, row in enumerate(rows(files, shape, net)):
        out[i] = row
        if i % 64 == 0:
            Path(job["progress"]).write_text(str(i))
    out.flush()
    temporary.replace(job["out"])
    return {"n": len(files)}


def rows(files: list[Path], shape: Shape, net: Frozen | None) -> Iterator[NDArray[Any]]:
    """One row a file, in order: its pixels, or its features where there is a net."""
    images = iter(_decoded_ahead(files, shape))
    if net is None:
        yield from images
        return
    while batch := list(islice(images, net.batch)):
        yield from net(torch.from_numpy(np.stack(batch))).numpy()


def _decoded_ahead(files: list[Path], shape: Shape) -> Iterable[NDArray[np.uint8]]:
    """Decoded images in order; threads hold at most 64 ahead of whoever takes them."""
    todo = iter(files)
    with ThreadPoolExecutor(max(1, os.cpu_count() or 1)) as pool:
        waiting = deque(pool.submit(decoded, f, shape) for f in islice(todo, 64))
        while waiting:
            image = waiting.popleft().result()
            waiting.extend(pool.submit(decoded, f, shape) for f in islice(todo, 1))
            yield image


class Frozen:
    """A pretrained trunk made fast for inference: uint8 (b, 3, h, w) -> float32 (b, width)."""

    def __init__(self, spec: dict[str, Any], side: int, precision: str, device: str) -> None:
        trunk = timm_trunk(spec).eval()
        if device == "cpu":
            trunk = folded(trunk, torch.zeros(1, 3, side, side))
        self.kind = {"bf16": torch.bfloat16, "fp32": torch.float32}[precision]
        self.device = device
        self.batch = 16 if device == "cpu" else 128  # larger ones fall out of a CPU's cache
        self.trunk = trunk.to(device, self.kind).to(memory_format=torch.channels_last)
        self.prepare = Pixels(spec["mean"], spec["std"]).to(device)
        self.width = int(trunk.num_features)  # type: ignore[arg-type]

    def __call__(self, x: Tensor) -> Tensor:
        with torch.inference_mode():
            out: Tensor = self.trunk(self.prepare(x.to(self.device)).to(self.kind))
        return out.float().cpu()


def folded(net: nn.Module, example: Tensor) -> nn.Module:
    """A copy of `net` in evaluation mode with each batch norm folded into the convolution that feeds it.

    Which convolution feeds which norm is seen by running `example` through it, so any architecture will do; a
    convolution used more than once, or whose output goes elsewhere too, is left alone.
    """
    net = copy.deepcopy(net).eval()
    made: dict[int, tuple[nn.Conv2d, Tensor]] = {}
    fed: dict[nn.Module, nn.Conv2d] = {}
    calls: dict[nn.Module, int] = {}

    def after_conv(conv: nn.Module, _: Any, out: Tensor) -> None:
        assert isinstance(conv, nn.Conv2d)
        calls[conv] = calls.get(conv, 0) + 1
        made[id(out)] = (conv, out)  # the tensor is kept, so its id stays its own

    def before_norm(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        conv, out = made.get(id(inputs[0]), (None, None))
        if conv is not None and out is inputs[0]:
            fed[norm] = conv

    hooks = [m.register_forward_hook(after_conv) for m in net.modules() if isinstance(m, nn.Conv2d)]
    hooks += [m.register_forward_pre_hook(before_norm) for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    with torch.no_grad():
        expected = net(example)
    for hook in hooks:
        hook.remove()
    names = {module: name for name, module in net.named_modules()}
    for norm, conv in fed.items():
        assert isinstance(norm, nn.BatchNorm2d)
        if calls[conv] != 1 or norm.running_mean is None or norm.running_var is None:
            continue
        weight, bias = fuse_conv_bn_weights(
            conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
        )
        conv.weight, conv.bias = weight, bias
        owner, _, leaf = names[norm].rpartition(".")
        setattr(net.get_submodule(owner), leaf, getattr(norm, "act", nn.Identity()).eval())
    with torch.no_grad():
        if not torch.allclose(net(example), expected, rtol=1e-3, atol=1e-3):
            raise RuntimeError("folding the batch norms changed the network's output")
    return net
