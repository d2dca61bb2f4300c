"""The objectives of the gradient methods' players, written out from their papers.

A function gives what each network goes down; under "" the one objective that all of them share.
"""

from __future__ import annotations

from typing import Any

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from written import RAMP, K, Seen, kernel, logs, mmd, of_domains, spread, unsure, wrong

Objectives = dict[str, Tensor]
Turns = list[tuple[Tensor, tuple[str, ...]]]  # each with the networks that go down it


def dann(at: Seen, m: Any) -> Objectives:
    d = of_domains(at.net["discriminator"], at.fs, at.ft).mean()
    return {"features": at.both - m.weight * RAMP * d, "classifier": at.both, "discriminator": d}


def cdan(at: Seen, m: Any) -> Objectives:
    def pairs(f: Tensor, c: Tensor) -> Tensor:
        return torch.stack([torch.outer(g, a).flatten() for a, g in zip(f, logs(c).exp().detach(), strict=True)])

    sure = [1 + torch.exp(-unsure(c).detach()) for c in (at.cs, at.ct)]
    weights = torch.cat([w / w.mean() for w in sure])
    d = (weights * of_domains(at.net["discriminator"], pairs(at.fs, at.cs), pairs(at.ft, at.ct))).mean()
    return {"features": at.both - m.weight * RAMP * d, "classifier": at.both, "discriminator": d}


def mdd(at: Seen, m: Any) -> Objectives:
    source = -wrong(at.net["adversary"](at.fs), at.cs.argmax(1)).mean()
    p = torch.exp(-wrong(at.net["adversary"](at.ft), at.ct.argmax(1)))
    gap = torch.log(1 - p).mean() + m.margin * source
    return {"features": at.both + m.weight * RAMP * gap, "classifier": at.both, "adversary": -gap}


def can_collaborative(at: Seen, m: Any) -> Objectives:
    layers, critics = at.net["features"].trunk, at.net["critics"].parts
    low = [[layers[:end](x) for end in (1, 3)] for x in (at.b.xs, at.b.xt)]
    hidden = [*zip(*low, strict=True), (at.fs, at.ft)]
    d = [of_domains(critic, *pair).mean() for critic, pair in zip(critics, hidden, strict=True)]
    return {"features": at.both + m.weight * RAMP * (0.4 * d[0] - 0.2 * d[1] - d[2]), "classifier": at.both,
            "critics": d[0] + d[1] + d[2]}  # fmt: skip


def mdan(at: Seen, m: Any) -> Objectives:
    bounds = []
    for i, critic in enumerate(at.net["critics"]):
        mine = at.b.source == i
        d = of_domains(critic, at.fs[mine], at.ft)
        bounds.append(wrong(at.cs[mine], at.b.ys[mine]).mean() - m.weight * (d[:4].mean() + d[4:].mean()))
    worst = torch.log(sum(torch.exp(m.gamma * v) for v in bounds) / 2) / m.gamma
    down = worst + wrong(at.cl, at.b.yl).mean()
    return {"features": down, "classifier": down, "critics": -worst}


def mme(at: Seen, m: Any) -> Objectives:
    def scores(f: Tensor) -> Tensor:
        w = at.net["classifier"].prototypes.weight
        return torch.stack([torch.stack([w_c @ row / row.norm() / m.temperature for w_c in w]) for row in f])

    told = torch.cat([wrong(scores(at.fs), at.b.ys), wrong(scores(at.fl), at.b.yl)]).mean()
    entropy = m.weight * unsure(scores(at.ft)).mean()
    return {"features": told + entropy, "classifier": told - entropy}


def wann(at: Seen, m: Any) -> Objectives:
    seen_s, seen_l = at.fs.detach(), at.fl.detach()
    w = torch.log(1 + torch.exp(at.net["weigher"](seen_s)[:, 0]))
    w = w / w.mean()
    out = [m.bound * torch.tanh(at.net["adversary"](f) / m.bound) for f in (seen_s, seen_l)]
    gap = m.weight * (wrong(out[1], at.b.yl).mean() - (w * wrong(out[0], at.b.ys)).mean()).abs()
    told = (w.detach() * wrong(at.cs, at.b.ys)).mean() + wrong(at.cl, at.b.yl).mean()
    return {"features": told, "classifier": told, "weigher": gap, "adversary": -gap}


def afn(at: Seen, m: Any) -> Objectives:
    """The square's gradient is that of -2 step |f|: what it is held against has the norm's own value taken out."""
    norms = sum(torch.stack([row.norm() for row in f]).mean() for f in (at.fs, at.ft))
    return {"features": at.both - 2 * m.weight * m.step * norms, "classifier": at.both}


def dan(at: Seen, m: Any) -> Objectives:
    width = spread(torch.cat([at.fs, at.ft]))
    return {"": at.both + m.weight * mmd(list(at.fs), list(at.ft), lambda a, b: kernel(a, b, width))}


def jan(at: Seen, m: Any) -> Objectives:
    width, p = spread(torch.cat([at.fs, at.ft])), [logs(c).exp() for c in (at.cs, at.ct)]
    parts = [list(zip(f, q, strict=True)) for f, q in zip((at.fs, at.ft), p, strict=True)]

    def k(a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor]) -> Tensor:
        return kernel(a[0], b[0], width) * torch.exp(-(a[1] - b[1]).square().sum() / 1.68)

    return {"": at.both + m.weight * RAMP * mmd(*parts, k)}


def deep_coral(at: Seen, m: Any) -> Objectives:
    def covariance(z: Tensor) -> Tensor:
        one = z.sum(0)[None]
        return (z.T @ z - one.T @ one / len(z)) / (len(z) - 1)

    return {"": at.both + m.weight * (covariance(at.cs) - covariance(at.ct)).square().sum() / (4 * K**2)}


def deepjdot(at: Seen, m: Any) -> Objectives:
    cost = torch.stack([torch.stack([m.alpha * (a - b).square().sum() - m.weight * row[y] for b, row in
                                     zip(at.ft, logs(at.ct), strict=True)])
                        for a, y in zip(at.fs, at.b.ys, strict=True)])  # fmt: skip
    return {"": at.both + cost[linear_sum_assignment(cost.detach())].mean()}


def entropy_min(at: Seen, m: Any) -> Objectives:
    return {"": at.both + m.weight * unsure(at.ct).mean()}


def mcc(at: Seen, m: Any) -> Objectives:
    p = logs(at.ct / m.temperature).exp()
    w = 1 + torch.exp(-unsure(at.ct / m.temperature).detach())
    c = sum(w_i / w.mean() * torch.outer(row, row) for w_i, row in zip(w, p, strict=True))
    return {"": at.both + m.weight / K * sum(c[i, j] / c[i].sum() for i in range(K) for j in range(K) if i != j)}


def m3sda(at: Seen, m: Any) -> Objectives:
    parts = [at.fs[:4], at.fs[4:]]
    told = [wrong(c(f), y).mean() for i, c in enumerate(at.net["classifier"].members)
            for f, y in ((parts[i], at.b.ys[4 * i :][:4]), (at.fl, at.b.yl))]  # fmt: skip
    gaps = []
    for p in (1, 2):
        first, second, aim = ((f**p).mean(0) for f in (*parts, at.ft))
        gaps.append(((first - aim).norm() + (second - aim).norm()) / 2 + (first - second).norm())
    return {"": sum(told) / 4 + m.weight * (gaps[0] + gaps[1])}


def fixmatch(at: Seen, m: Any) -> Objectives:
    weak, strong = at.ct, at.net["classifier"](at.net["features"](0.5 * at.b.xt))
    p = logs(weak).exp().detach()
    sure = [i for i in range(8) if p[i].max() >= m.threshold]
    assert 0 < len(sure) < 8
    return {"": at.both + m.weight * sum(wrong(strong[[i]], p[[i]].argmax(1))[0] for i in sure) / 8}


def shot(at: Seen, m: Any) -> Objectives:
    mean = logs(at.cs).exp().mean(0)
    information = unsure(at.cs).mean() + (mean * mean.log()).sum()
    return {"": information + m.beta * wrong(at.cs, at.b.ys).mean() + wrong(at.cl, at.b.yl).mean()}


def multitask(at: Seen, m: Any) -> Objectives:
    heads, s = [*at.net["heads"], at.net["classifier"]], at.net["variances"].log
    parts = (at.fs[:4], at.b.ys[:4]), (at.fs[4:], at.b.ys[4:]), (at.fl, at.b.yl)
    told = [wrong(head(f), y).mean() for head, (f, y) in zip(heads, parts, strict=True)]
    return {"": sum(torch.exp(-s[i]) * told[i] + s[i] / 2 for i in range(3))}


def mmoe(at: Seen, m: Any) -> Objectives:
    w, b = (p.view(m.experts, m.hidden, *p.shape[1:]) for p in at.net["experts"].layer.parameters())

    def out(task: Any, f: Tensor) -> Tensor:
        share = logs(task.gate(f)).exp()
        said = [torch.relu(f @ w[j].T + b[j]) for j in range(m.experts)]
        return task.tower(sum(share[:, [j]] * said[j] for j in range(m.experts)))

    first, second = at.net["heads"]
    told = wrong(out(first, at.fs[:4]), at.b.ys[:4]), wrong(out(second, at.fs[4:]), at.b.ys[4:])
    return {"": torch.cat([*told, wrong(out(at.net["classifier"], at.fl), at.b.yl)]).mean()}


# by turns


def adda(at: Seen, m: Any) -> Turns:
    """By the critic's one margin, source over target, and its logistic loss."""
    margins = [(out := at.net["discriminator"](f))[:, 0] - out[:, 1] for f in (at.net["source"](at.b.xs), at.ft)]
    tell = torch.log(1 + torch.exp(-margins[0])).mean() + torch.log(1 + torch.exp(margins[1])).mean()
    return [(tell, ("discriminator",)), (torch.log(1 + torch.exp(-margins[1])).mean(), ("features",))]


def mcd(at: Seen, m: Any) -> Turns:
    pair = at.net["classifier"].first, at.net["classifier"].second
    told = sum(
        wrong(c(torch.cat([at.fs, at.fl])), torch.cat([at.b.ys, at.b.yl])).mean() for c in pair
    )  # one batch norm
    first, second = (logs(c(at.ft)).exp() for c in pair)
    apart = m.weight * sum(abs(first[i, c] - second[i, c]) for i in range(8) for c in range(K)) / (8 * K)
    return [(told, ("features", "classifier")), (told - apart, ("classifier",)), *[(apart, ("features",))] * m.rounds]
