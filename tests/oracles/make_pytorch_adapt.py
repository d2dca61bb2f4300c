# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = [
#     "numpy==2.4.6", "pytorch-adapt==0.0.83", "pytorch-metric-learning==1.6.3", "torch==2.15.0", "torchmetrics==0.9.3",
#     "setuptools<80", # whose pkg_resources torchmetrics imports
# ]
# ///
"""Freezes what pytorch-adapt's losses give on random inputs.

`uv run --script make_pytorch_adapt.py [FILE]` builds its environment and writes pytorch_adapt.npz, or FILE.
"""

import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from pytorch_adapt import layers
from pytorch_adapt.layers.normalizers import SumNormalizer

OUT = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("pytorch_adapt.npz")
torch.set_default_dtype(torch.float64)
made = torch.Generator().manual_seed(0)
fs, ft = torch.randn(14, 6, generator=made), 0.5 + 1.3 * torch.randn(11, 6, generator=made)
scores, other = 2 * torch.randn(12, 5, generator=made), 2 * torch.randn(12, 5, generator=made)
ps, pt = torch.randn(14, 5, generator=made).softmax(1), torch.randn(11, 5, generator=made).softmax(1)


def joint(parts, ours, bandwidths):  # its joint loss takes one bandwidth for all; here each layer has its own
    from pytorch_adapt.layers import utils

    mats = [
        utils._mmd_dist_mats(x, y, layers.MMDLoss().dist_func, b)
        for x, y, b in zip(parts, ours, bandwidths, strict=True)
    ]
    xx, yy, zz, scale = (list(m) for m in zip(*mats, strict=True))
    return utils.get_mmd_quadratic(xx, yy, zz, scale)


entropy_weights = layers.EntropyWeights(normalizer=SumNormalizer(scale_by_batch_size=True))
mmd = layers.MMDLoss(kernel_scales=torch.tensor([2.0, 1.0, 0.5, 0.25, 0.125]), mmd_type="quadratic", bandwidth=3.0)
coral = layers.CORALLoss()
leaf = scores.clone().requires_grad_()
layers.MCCLoss(T=2.5)(leaf).backward()
stretched = fs.clone().requires_grad_()
layers.AdaptiveFeatureNorm(step_size=1.0)(stretched).backward()
np.savez(
    OUT,
    versions=np.array([f"{name} {version(name)}" for name in ("pytorch-adapt", "torch", "numpy")]),
    fs=fs, ft=ft, scores=scores, other=other, ps=ps, pt=pt,
    mmd=mmd(fs, ft), joint=joint([fs, ps], [ft, pt], [3.0, 1.68]), coral=coral(fs, ft),
    mcc=layers.MCCLoss(T=2.5)(scores), mcc_slope=leaf.grad, mcd=layers.MCDLoss()(scores, other),
    entropy=layers.EntropyLoss()(scores), diversity=layers.DiversityLoss()(scores),
    entropy_weights=entropy_weights(scores), afn_slope=stretched.grad,
)  # fmt: skip
