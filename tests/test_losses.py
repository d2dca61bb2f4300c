"""The methods' losses: each the published quantity, against pytorch-adapt's frozen answers or written out by hand."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import ot
import pytest
import torch
from agreement import Agrees, frozen, peer
from scipy.optimize import linear_sum_assignment
from sklearn.linear_model import MultiTaskLasso
from tlbench_baselines import (
    afn,
    bss,
    cdan,
    co_tuning,
    deep_coral,
    deepjdot,
    fixmatch,
    jan,
    l21_multitask,
    lwf,
    m3sda,
    mcc,
    mcd,
    mdan,
    mdd,
    multitask,
    shot,
)
from torch import Tensor

from tlbench.training.losses import discrepancy, entropies, gaussian_kernels, ramp, squared_distances
from tlbench.training.networks import reverse_gradient

FROZEN = frozen("pytorch_adapt")
THEIRS = {name: torch.from_numpy(value) for name, value in FROZEN.items() if name != "versions"}
ADAPT = peer("pytorch-adapt", FROZEN)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def same(found: Tensor, expected: Tensor, atol: float = 1e-12) -> None:
    torch.testing.assert_close(found, expected, atol=atol, rtol=0)


# against pytorch-adapt


def test_the_discrepancy_is_the_unbiased_one_of_five_kernels(agrees: Agrees) -> None:
    kernel = gaussian_kernels(torch.cat([THEIRS["fs"], THEIRS["ft"]]), (0.25, 0.5, 1.0, 2.0, 4.0), bandwidth=3.0)
    agrees("dan", ADAPT, discrepancy(kernel, len(THEIRS["fs"])) / 5, THEIRS["mmd"], atol=1e-12)


def test_the_joint_discrepancy_multiplies_the_layers_kernels(agrees: Agrees) -> None:
    f, p = torch.cat([THEIRS["fs"], THEIRS["ft"]]), torch.cat([THEIRS["ps"], THEIRS["pt"]])
    kernel = gaussian_kernels(f, (1.0,), 1.5) * gaussian_kernels(p, (1.0,), 0.84)
    agrees("jan", ADAPT, discrepancy(kernel, len(THEIRS["fs"])), THEIRS["joint"], atol=1e-12)
    expected = discrepancy(gaussian_kernels(f) * torch.exp(-squared_distances(p, p) / 1.68), 14)
    same(jan.joint_discrepancy(f, p, 14), expected)


def test_the_distance_of_covariances_is_the_peers(agrees: Agrees) -> None:
    found = deep_coral.coral_distance(THEIRS["fs"], THEIRS["ft"])
    agrees("deep_coral", ADAPT, found, THEIRS["coral"], atol=1e-12)


def test_class_confusion_and_its_gradient_are_the_peers(agrees: Agrees) -> None:
    scores = THEIRS["scores"].clone().requires_grad_()
    found = mcc.confusion(scores, 2.5)
    found.backward()  # no gradient through the entropy weights
    agrees("mcc", ADAPT, (found, scores.grad), (THEIRS["mcc"], THEIRS["mcc_slope"]), atol=1e-12)


def test_disagreement_entropy_and_information_are_the_peers(agrees: Agrees) -> None:
    scores = THEIRS["scores"]
    agrees("mcd", ADAPT, mcd.disagreement(scores, THEIRS["other"]), THEIRS["mcd"], atol=1e-12)
    agrees(["entropy_min", "mme", "target_ssl"], ADAPT, entropies(scores).mean(), THEIRS["entropy"], atol=1e-12)
    agrees("shot", ADAPT, shot.information_loss(scores), THEIRS["entropy"] + THEIRS["diversity"], atol=1e-12)


def test_entropy_weights_are_the_peers_and_of_mean_one_in_each_domain(agrees: Agrees) -> None:
    scores = THEIRS["scores"]
    found = cdan.certainty(torch.cat([scores, 3 * scores]), len(scores))
    agrees("cdan", ADAPT, found[:12], THEIRS["entropy_weights"], atol=1e-12)
    same(found[12:].mean(), torch.tensor(1.0, dtype=torch.float64))


def test_the_norms_growth_has_the_peers_gradient_and_a_constant_value(agrees: Agrees) -> None:
    f = THEIRS["fs"].clone().requires_grad_()
    value = afn.growth(f, 1.0)
    value.backward()
    agrees("afn", ADAPT, f.grad, THEIRS["afn_slope"], atol=1e-12)
    assert value.item() == pytest.approx(1.0)


# kernels


def test_kernels_take_the_mean_squared_distance_as_their_width_without_gradient() -> None:
    x = normal(9, 3).requires_grad_()
    distance = torch.cdist(x, x).square().detach()
    expected = sum(torch.exp(-distance / (s * distance.mean())) for s in (0.25, 0.5, 1.0, 2.0, 4.0))
    kernel = gaussian_kernels(x)
    same(kernel.detach(), expected)
    kernel[0, 1].backward()
    assert x.grad is not None
    assert not x.grad[2:].any()  # moving another row moves the width only
    assert x.grad[:2].any()


def test_the_discrepancy_of_one_distribution_with_itself_is_zero_on_average() -> None:
    found = torch.stack([discrepancy(gaussian_kernels(normal(20, 2, seed=i), (1.0,), 1.0), 8) for i in range(100)])
    assert abs(found.mean()) < 4 * found.std() / 10
    assert found.min() < 0


def test_rows_that_coincide_leave_a_finite_gradient() -> None:
    x = torch.ones(6, 3, requires_grad=True)
    discrepancy(gaussian_kernels(x), 3).backward()
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()


def test_the_ramp_rises_from_nothing_to_one() -> None:
    assert [ramp(p) for p in (0.0, 0.5, 1.0)] == pytest.approx([0, 0.98661, 0.99991], abs=1e-5)
    assert ramp(0.0) == 0


# adversaries


def test_a_pairing_is_the_outer_product_where_it_is_small() -> None:
    f, g = normal(7, 5), normal(7, 3, seed=1).softmax(1)
    found = cdan.MultilinearMap(5, 3, 1024)(f, g)
    expected = torch.stack([torch.outer(b, a).flatten() for a, b in zip(f, g, strict=True)])
    same(found, expected, 0)


def test_a_large_pairing_is_a_random_projection_that_keeps_products() -> None:
    torch.manual_seed(0)
    pairing = cdan.MultilinearMap(80, 60, 40_000)
    f, g = normal(2, 80).float(), normal(2, 60, seed=1).float()
    a, b = pairing(f, g)
    assert a.shape == (40_000,)
    expected = (f[0] @ f[1]) * (g[0] @ g[1])
    spread = (f[0].norm() * f[1].norm() * g[0].norm() * g[1].norm()) * 3 / 40_000**0.5
    assert abs(a @ b - expected) < 4 * spread


def test_disparity_is_the_margin_loss_written_out() -> None:
    scores, guess = normal(9, 4), torch.tensor([0, 1, 2, 3, 0, 1, 2, 3, 0])
    p = scores.softmax(1)
    own = p[torch.arange(9), guess]
    expected = torch.log(1 - own[5:]).mean() + 4 * torch.log(own[:5]).mean()
    same(mdd.disparity(scores, guess, 5, 4.0), expected)
    sure = torch.tensor([[200.0, 0.0], [200.0, 0.0]], dtype=torch.float64)
    assert torch.isfinite(mdd.disparity(sure, torch.tensor([0, 0]), 1, 4.0))


@pytest.mark.parametrize("weight", [0.0, 0.3, 2.0])
def test_a_reversed_gradient_is_minus_the_weight_times_the_gradient(weight: float) -> None:
    x = normal(4, 3).requires_grad_()
    slope = torch.autograd.grad((x**3).sum(), x)[0]
    reversed_ = torch.autograd.grad((reverse_gradient(x, weight) ** 3).sum(), x)[0]
    same(reversed_, -weight * slope)


# transport


@pytest.mark.parametrize(("n", "m"), [(12, 12), (10, 7)])
def test_a_plan_is_pots_on_the_same_cost(n: int, m: int, agrees: Agrees) -> None:
    fs, ft, scores = normal(n, 5), normal(m, 5, seed=1), normal(m, 3, seed=2)
    ys = torch.arange(n) % 3
    cost = deepjdot.joint_cost(fs, ft, ys, scores, 0.3, 0.7)
    by_hand = np.array(
        [[0.3 * float((fs[i] - ft[j]).square().sum()) - 0.7 * float(scores[j].log_softmax(0)[ys[i]]) for j in range(m)]
         for i in range(n)]
    )  # fmt: skip
    np.testing.assert_allclose(cost.numpy(), by_hand, atol=1e-12)
    plan = deepjdot.plan(cost).numpy()
    expected = ot.emd(np.full(n, 1 / n), np.full(m, 1 / m), by_hand)
    agrees("deepjdot", f"{peer('POT')}, emd", plan, expected, atol=1e-12)
    np.testing.assert_allclose(plan.sum(0), 1 / m)
    if n == m:
        rows, columns = linear_sum_assignment(by_hand)
        assert (plan * by_hand).sum() == pytest.approx(by_hand[rows, columns].mean())


# several tasks and sources


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_the_best_variance_of_a_task_is_twice_its_loss(share: float) -> None:
    losses = torch.tensor([0.2, 1.0, 7.0], dtype=torch.float64)
    best = torch.log(2 * share * losses).requires_grad_()
    value = multitask.uncertain_sum(losses, best, share)
    value.backward()
    assert best.grad is not None
    same(best.grad, torch.zeros(3, dtype=torch.float64))
    for shift in (-0.3, 0.3):
        assert multitask.uncertain_sum(losses, best.detach() + shift, share) > value


@pytest.mark.parametrize("alpha", [0.01, 0.1, 0.5])
def test_l21_weights_are_scikit_learns_where_the_tasks_share_their_inputs(alpha: float, agrees: Agrees) -> None:
    x, w = normal(40, 12), normal(12, 5, seed=1) * (torch.arange(12) < 4)[:, None]
    y = x @ w + 0.5 * normal(40, 5, seed=2)
    x, y = x - x.mean(0), y - y.mean(0)
    lasso = MultiTaskLasso(alpha=alpha, fit_intercept=False, max_iter=50_000, tol=1e-14).fit(x.numpy(), y.numpy())
    found = torch.cat(l21_multitask.solved([x, x], [y[:, :3], y[:, 3:]], alpha, 5000), 1).numpy()
    agrees("l21_multitask", f"{peer('scikit-learn')}, MultiTaskLasso", found, lasso.coef_.T, atol=1e-9)
    assert ((found == 0).all(1) == (lasso.coef_ == 0).all(0)).all()


def test_l21_weights_of_different_inputs_minimise_their_objective() -> None:
    xs, ys = [normal(30, 6), normal(9, 6, seed=1)], [normal(30, 2, seed=2), normal(9, 1, seed=3)]

    def objective(ws: list[Tensor]) -> float:
        fit = sum(
            ((y - x @ w).square().sum() / (2 * len(x)) for x, y, w in zip(xs, ys, ws, strict=True)), normal(1) * 0
        )
        return float(fit) + 0.1 * float(torch.cat(ws, 1).norm(dim=1).sum())

    best = l21_multitask.solved(xs, ys, 0.1, 2000)
    for i in range(20):
        other = [w + 1e-3 * normal(*w.shape, seed=10 + i) for w in best]
        assert objective(other) > objective(best)


def test_the_distance_of_moments_is_written_out() -> None:
    parts, target = [normal(5, 3), 2 + normal(7, 3, seed=1), normal(6, 3, seed=2)], normal(8, 3, seed=3)
    expected = 0.0
    for p in (1, 2):
        means = [(s**p).mean(0) for s in parts]
        expected += sum(float((m - (target**p).mean(0)).norm()) for m in means) / 3
        expected += sum(float((a - b).norm()) for a, b in combinations(means, 2)) / 3
    assert m3sda.moment_distance(parts, target).item() == pytest.approx(expected, abs=1e-6)
    equal = target.clone().requires_grad_()
    m3sda.moment_distance([equal], target).backward()
    assert equal.grad is not None
    assert torch.isfinite(equal.grad).all()


def test_the_soft_maximum_lies_between_mean_and_maximum() -> None:
    x = torch.tensor([0.1, 0.5, 2.0])
    assert mdan.soft_maximum(x, 1e-3).item() == pytest.approx(x.mean().item(), abs=1e-3)
    assert mdan.soft_maximum(x, 1e3).item() == pytest.approx(2.0, abs=2e-3)
    assert mdan.soft_maximum(x[:1], 10.0).item() == pytest.approx(0.1)
    guess, domain = normal(5, 2), torch.tensor([0, 1, 1, 1, 1])
    losses = torch.nn.functional.cross_entropy(guess, domain, reduction="none")
    same(mdan.balanced(guess, domain), losses[0] + losses[1:].mean())


# tuning


@pytest.mark.parametrize(("b", "d", "k"), [(8, 5, 1), (8, 5, 3), (4, 9, 2)])
def test_the_weakest_directions_are_the_smallest_singular_values(b: int, d: int, k: int, agrees: Agrees) -> None:
    """The gradient of a squared singular value is 2 sigma u v^T."""
    f = normal(b, d).requires_grad_()
    bss.weakest(f, k).backward()
    u, sigma, vt = np.linalg.svd(f.detach().numpy(), full_matrices=False)
    expected = (sigma[-k:] ** 2).sum(), 2 * (u[:, -k:] * sigma[-k:]) @ vt[-k:]
    agrees("bss", "numpy's singular vectors", (bss.weakest(f, k), f.grad), expected, atol=1e-10)


def test_distillation_is_the_cross_entropy_of_softened_answers() -> None:
    scores, before = normal(6, 4), normal(6, 4, seed=1)
    q, p = before.softmax(1) ** 0.5, scores.softmax(1) ** 0.5  # the paper's form, T = 2
    q, p = q / q.sum(1, keepdim=True), p / p.sum(1, keepdim=True)
    same(lwf.distillation(scores, before, 2.0), -(q * p.log()).sum(1).mean())


def test_the_relation_of_classes_is_the_mean_prediction_of_a_classs_shots() -> None:
    scores, y = normal(5, 3), torch.tensor([0, 0, 2, 2, 2])
    table = co_tuning.relation(scores, y, 4)
    p = scores.softmax(1)
    same(table[0], p[:2].mean(0))
    same(table[2], p[2:].mean(0))
    same(table[1], torch.full((3,), 1 / 3, dtype=torch.float64))


# pseudo-labels and views


def test_pseudo_labels_follow_the_clusters_and_not_the_scores() -> None:
    y = torch.arange(60) % 3
    f = 5 * torch.eye(3, 4)[y] + 0.3 * normal(60, 4).float()
    scores = 2 * torch.eye(3)[y]
    wrong = torch.arange(60) % 7 == 0
    scores[wrong] = 2 * torch.eye(3)[(y[wrong] + 1) % 3]
    assert (shot.pseudo_labels(f, scores) == y).all()


def test_pseudo_labels_are_those_of_the_equations_written_out(agrees: Agrees) -> None:
    """Liang et al., equations 4 to 6, sample by sample; a 1 is put behind the features as in the authors' code."""
    f, p = normal(40, 6), (2 * normal(40, 3, seed=1)).softmax(1)
    rows = [np.append(v, 1) / np.linalg.norm(np.append(v, 1)) for v in f.numpy()]
    weights = p.numpy()
    for _ in range(2):
        centroids = [sum(w[c] * v for w, v in zip(weights, rows, strict=True)) / weights[:, c].sum() for c in range(3)]
        nearest = [min(range(3), key=lambda c: 1 - v @ centroids[c] / np.linalg.norm(centroids[c])) for v in rows]
        weights = np.eye(3)[nearest]
    assert len(set(nearest)) == 3
    agrees("shot", "the pseudo-labels written out", shot.pseudo_labels(f, p.log()), np.array(nearest), atol=0)


def test_a_class_that_no_sample_is_near_is_no_pseudo_label() -> None:
    y = torch.arange(40) % 2
    scores = torch.cat([4 * torch.eye(2)[y], torch.full((40, 1), -3.0)], 1)
    f = torch.eye(2, 4)[y] + 0.1 * normal(40, 4).float()
    assert set(shot.pseudo_labels(f, scores).tolist()) == {0, 1}


def test_information_is_best_when_sure_and_diverse() -> None:
    sure = 50 * torch.eye(4)
    assert shot.information_loss(sure).item() == pytest.approx(-math.log(4), abs=1e-5)
    assert shot.information_loss(sure[:1].expand(4, 4)).item() == pytest.approx(0, abs=1e-5)  # collapse does not pay
    collapsed = (200 * torch.eye(4)[:1]).repeat(4, 1).requires_grad_()
    shot.information_loss(collapsed).backward()
    assert collapsed.grad is not None
    assert torch.isfinite(collapsed.grad).all()


@pytest.mark.parametrize("shape", [(9, 3, 20, 20), (9, 1, 7, 9), (9, 30)])
def test_a_strong_view_differs_by_sample_and_keeps_the_shape(shape: tuple[int, ...]) -> None:
    x = normal(*shape).float()
    torch.manual_seed(0)
    first, second = fixmatch.strong(x), fixmatch.strong(x)
    assert first.shape == x.shape
    assert torch.isfinite(first).all()
    assert not torch.equal(first, second)
    assert all(not torch.equal(a, b) for a, b in zip(first, x, strict=True))
