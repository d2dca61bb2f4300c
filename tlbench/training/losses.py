"""Quantities of a batch that several methods minimise: entropies and kernel distances of domains."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

SCALES = (0.125, 0.25, 0.5, 1.0, 2.0)  # of the five kernels of DAN and JAN: exp(-d / (s m)), s = 1/4 .. 4, m the mean


def ramp(progress: float) -> float:
    """A loss's share of its weight, 0 at first, nearly 1 from the middle on (Ganin et al., JMLR 2016, sec. 5.2.2)."""
    return 2 / (1 + math.exp(-10 * progress)) - 1


def entropies(scores: Tensor) -> Tensor:
    """(n, k) class scores -> (n,) Shannon entropies of their softmax, in nats."""
    return -(scores.softmax(1) * scores.log_softmax(1)).sum(1)


def squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """(n, d) and (m, d) rows -> (n, m); a zero distance has a gradient, of zero."""
    return (x.square().sum(1)[:, None] + y.square().sum(1) - 2 * x @ y.T).clamp(min=0)


def gaussian_kernels(x: Tensor, scales: Sequence[float] = SCALES, bandwidth: float | None = None) -> Tensor:
    """The sum over `scales` of exp(-|x_i - x_j|^2 / (2 scale bandwidth)), (n, n).

    Args:
        x: (n, d) rows, of both domains
        bandwidth: None takes the mean of the squared distances, through which no gradient flows
    """
    distance = squared_distances(x, x)
    width = distance.detach().mean().clamp(min=1e-12) if bandwidth is None else bandwidth
    return torch.stack([torch.exp(-distance / (2 * scale * width)) for scale in scales]).sum(0)


def discrepancy(kernel: Tensor, n: int) -> Tensor:
    """The unbiased squared MMD (Gretton et al., JMLR 2012, lemma 6), which may be below zero: (,).

    Args:
        kernel: (n + m, n + m), the first domain's n rows first; both domains have two rows or more
    """
    m = len(kernel) - n
    ss, tt, st = kernel[:n, :n], kernel[n:, n:], kernel[:n, n:]
    within = (ss.sum() - ss.trace()) / (n * (n - 1)) + (tt.sum() - tt.trace()) / (m * (m - 1))
    return within - 2 * st.mean()
