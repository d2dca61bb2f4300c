"""FixMatch: consistency of a strong view with the confident pseudo-label of a weak one.

Sohn et al., NeurIPS 2020, equations 3 and 4:

    CE(c(f(x)), y)  +  weight * mean over xt of [max p >= threshold] * CE(c(f(strong(xt))), argmax p),
    p = softmax(c(f(weak(xt)))), without gradient

Weak is the card's own augmentation. Strong, for images, adds what keeps the label whatever the card shows: another
brightness, contrast and sharpness, and a square cut out of up to half the side; RandAugment's rotations and shears are
left out, for they turn a 6 into a 9. Plain features have no such transformations: the strong view drops half of
them. The unlabelled batch is as large as the labelled one, as in every other method's step (mu = 1; the paper has 7).
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, cross_entropy

from tlbench import Learner, NotApplicable, Predictor, Train
from tlbench.training.networks import Backbone, Networks, dropped
from tlbench.training.trainer import Batch, GradientMethod, label_loss


@dataclass(frozen=True)
class FixMatch(GradientMethod):
    """Say of a distorted view what was said of the plain one, where that was sure.

    >>> import numpy as np
    >>> from tlbench import Train
    >>> y = np.arange(60) % 3
    >>> x = np.random.default_rng(0).normal(6 * np.eye(3)[y])
    >>> train = Train.of(x, y, x + 1)
    >>> FixMatch(steps=30).fit(train, seed=0)(train.target.x).argmax(1)[:6].tolist()
    [0, 1, 2, 0, 1, 2]
    """

    weight: float = 1.0  # the paper's lambda_u
    threshold: float = 0.95  # the paper's tau

    family: ClassVar[str] = "semi-supervised"
    paper: ClassVar[str] = "Sohn et al., FixMatch: simplifying semi-supervised learning, NeurIPS 2020"
    needs: ClassVar[frozenset[str]] = frozenset()
    search: ClassVar[dict[str, tuple[object, ...]]] = {
        "weight": ("log", 0.1, 10.0),
        "threshold": ("choice", 0.8, 0.9, 0.95),
        "lr": ("log", 1e-3, 0.1),
    }

    def fit(self, train: Train, seed: int) -> Predictor | Learner:
        if not len(train.shots) and not (train.sources and train.same_task):
            raise NotApplicable("no label says what the target's classes are; pseudo-labels cannot begin")
        return super().fit(train, seed)

    def loss(self, net: Networks, batch: Batch, progress: float) -> Tensor:
        n, b = len(batch.x), len(batch.xt)
        features = net.features
        assert isinstance(features, Backbone)
        x = features.augment(features.prepare(torch.cat([batch.x, batch.xt, batch.xt])))
        f = features.trunk(torch.cat([x[: n + b], strong(x[n + b :])]))  # one batch for the norms' statistics
        weak, distorted = net.classifier(f[n:]).split(b)
        p, guess = weak.detach().softmax(1).max(1)
        sure = (p >= self.threshold).float()
        agreed: Tensor = sure * cross_entropy(distorted, guess, reduction="none")
        return label_loss(net, f[:n], batch) + self.weight * agreed.mean()


def strong(x: Tensor) -> Tensor:
    """Prepared inputs, distorted: images (b, c, h, w) in tone, sharpness and a hole; features (b, d) in number."""
    if x.ndim == 2:
        return dropped(x, 0.5)
    if x.ndim != 4:
        raise NotApplicable(
            f"inputs of {x.ndim - 1} axes are neither features nor images: nobody knows how to distort them"
        )
    b, _, h, w = x.shape
    brightness, contrast, sharpness = (torch.empty(3, b, 1, 1, 1, device=x.device).uniform_(-1, 1)).unbind()
    mean = x.mean((1, 2, 3), keepdim=True)
    x = mean + (x - mean) * (1 + 0.9 * contrast) + 0.9 * brightness * x.std((1, 2, 3), keepdim=True)
    x = x + 0.9 * sharpness * (x - avg_pool2d(x, 3, 1, 1, count_include_pad=False))
    side = torch.empty(b, 1, 1, 1, device=x.device).uniform_(0, 0.5) / 2  # half the hole, as a share of the image
    rows = ((torch.arange(h, device=x.device) + 0.5) / h)[None, None, :, None]
    columns = ((torch.arange(w, device=x.device) + 0.5) / w)[None, None, None, :]
    middle = torch.rand(2, b, 1, 1, 1, device=x.device)
    hole = ((rows - middle[0]).abs() < side) & ((columns - middle[1]).abs() < side)
    return torch.where(hole, mean, x)
