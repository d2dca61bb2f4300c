"""The methods on matrices: each is the algorithm whose name it bears, held against a closed form or a peer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from agreement import Agrees, frozen, peer
from scipy.linalg import eigh, subspace_angles
from scipy.optimize import brentq, linprog, minimize
from scipy.spatial.distance import cdist, pdist
from sklearn.linear_model import MultiTaskLasso
from test_baselines import THREE, accuracy, easy, gaussians
from threadpoolctl import threadpool_limits
from tlbench_baselines import (
    bbse,
    bda,
    coral,
    feature_selection,
    gfk,
    iw_logistic,
    jda,
    jdot,
    kliep,
    kmm,
    l21_selection,
    mlls,
    ot_mapping,
    rlls,
    rulsif,
    source_only,
    subspace_alignment,
    tars,
    tca,
    tjm,
    tradaboost,
    wann,
)
from tlbench_baselines.coral import recolored

from tlbench import Labeled, NotApplicable, Train, Unlabeled
from tlbench.data import Recipe
from tlbench.tasks import synthetic
from tlbench.training import networks
from tlbench.training.features import embedded
from tlbench.training.kernels import (
    LIMIT,
    affordable,
    bounded_quadratic,
    components,
    contrasts,
    features_of,
    median_distance,
)
from tlbench.training.label_shift import confusion, halves
from tlbench.training.optimal_transport import entropic, exact
from tlbench.training.shallow import MappingMethod, drawn, ended, in_common_place, linear, weighted
from tlbench.training.trainer import ERM
from tlbench.verification.known_truth import closed_forms

FROZEN = frozen("classic")
XS, XT, YS = (FROZEN[name] for name in ("xs", "xt", "ys"))
BOTH = np.concatenate([XS, XT])


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with threadpool_limits(1):
        yield
    torch.set_num_threads(threads)


def gaussian(x: np.ndarray, z: np.ndarray, width: float) -> np.ndarray:
    return np.exp(-cdist(x, z, "sqeuclidean") / (2 * width**2))


def up_to_sign(found: np.ndarray, expected: np.ndarray, atol: float) -> None:
    """Columns agree, each up to its sign."""
    np.testing.assert_allclose(turned(found, expected), expected, atol=atol)


def turned(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """The columns of `found`, each with the sign that it has in `expected`."""
    return found * np.sign((found * expected).sum(0))


# kernels and the two problems


@pytest.mark.parametrize("kind", ["primal", "linear", "rbf"])
@pytest.mark.parametrize("penalty", [1e-3, 1.0, 1e3])
def test_components_are_those_of_scipys_generalised_eigenproblem(kind: Any, penalty: float) -> None:
    z = features_of(kind, BOTH, "")(BOTH)
    n, m = len(XS), len(XT)
    e = contrasts(n, m)
    centre = np.eye(n + m) - 1 / (n + m)
    b, a = z.T @ centre @ z, z.T @ e @ e.T @ z + penalty * np.eye(z.shape[1])
    _, expected = eigh(b, a)
    found = components(z, e, penalty, 4)
    up_to_sign(found, expected[:, ::-1][:, :4], atol=1e-8 / penalty**0.5)
    np.testing.assert_allclose(found.T @ a @ found, np.eye(4), atol=1e-8)


def test_components_take_a_penalty_for_each_coefficient() -> None:
    e, g = contrasts(len(XS), len(XT), YS, np.arange(len(XT)) % 3), np.linspace(0.1, 3, 6)
    z = BOTH - BOTH.mean(0)
    _, expected = eigh(z.T @ z, BOTH.T @ e @ e.T @ BOTH + np.diag(g))
    up_to_sign(components(BOTH, e, g, 3), expected[:, ::-1][:, :3], atol=1e-9)


def test_under_a_vast_penalty_of_means_the_domains_means_agree() -> None:
    e = contrasts(len(XS), len(XT))
    gaps = [np.linalg.norm(e.T @ BOTH @ w) / np.linalg.norm(w) for w in
            (components(BOTH, e, 1e-8, 3), components(BOTH, e, 1e8, 3))]  # fmt: skip
    assert gaps[0] < 1e-6 < 0.1 < gaps[1]


def test_contrasts_make_the_matrices_of_the_mean_discrepancy() -> None:
    yt = np.arange(len(XT)) % 2
    e, n, m = contrasts(len(XS), len(XT), YS, yt), len(XS), len(XT)
    assert e.shape == (n + m, 2)  # the third class is guessed nowhere
    for c in (0, 1):
        gap = XS[c == YS].mean(0) - XT[yt == c].mean(0)
        np.testing.assert_allclose(e[:, c] @ BOTH, gap, atol=1e-12)
    np.testing.assert_allclose(contrasts(n, m)[:, 0] @ BOTH, XS.mean(0) - XT.mean(0), atol=1e-12)


def test_wide_and_tall_rows_have_the_same_principal_axes() -> None:
    from tlbench.training.kernels import top

    x = np.random.default_rng(0).normal(size=(20, 50))
    for rows in (x, x.T):
        up_to_sign(top(rows, 7), np.linalg.svd(rows, full_matrices=False)[2][:7].T, atol=1e-10)
    assert top(np.outer(np.arange(5.0), np.ones(9)), 4).shape == (9, 1)  # no more than the rank


@pytest.mark.parametrize("seed", range(4))
def test_the_bounded_quadratic_is_solved_to_optimality(seed: int) -> None:
    random = np.random.default_rng(seed)
    root, q, a = random.normal(size=(8, 8)), random.normal(size=8) * 3, random.uniform(0.5, 2, 8)
    p = root @ root.T
    low, high = [(3.0, 4.0), (0.5, 30.0), (8.0, 8.5), (5.0, 5.0)][seed]
    found = bounded_quadratic(p, q, 2.0, a, low, high)
    limits = [{"type": "ineq", "fun": lambda x: x @ a - low}, {"type": "ineq", "fun": lambda x: high - x @ a}]
    best = minimize(lambda x: x @ p @ x / 2 - q @ x, np.ones(8), jac=lambda x: p @ x - q, bounds=[(0, 2)] * 8,
                    constraints=limits, method="SLSQP", options={"ftol": 1e-15, "maxiter": 1000})  # fmt: skip
    np.testing.assert_allclose(found, best.x, atol=1e-5)
    assert low - 1e-7 <= found @ a <= high + 1e-7


def test_a_matrix_too_large_is_refused_in_one_line() -> None:
    affordable(LIMIT, "anything")
    with pytest.raises(NotApplicable, match=r"^KMM needs an n x n matrix: n = 8,193 is above 8,192 rows, half a GiB$"):
        affordable(LIMIT + 1, "KMM")
    train, _ = easy(THREE)
    many = replace(train, target=Unlabeled(torch.zeros(LIMIT, 4)))
    with pytest.raises(NotApplicable, match="TCA needs an n x n matrix"):
        tca.TCA().fit(many, 0)


def test_the_median_distance_is_that_of_all_pairs() -> None:
    pairs = cdist(XS, XS)[np.triu_indices(len(XS), 1)]
    assert median_distance(XS) == pytest.approx(np.median(pairs))
    assert median_distance(np.zeros((3, 2))) == 1


# maps


def test_subspace_alignment_is_skadas(agrees: Agrees) -> None:
    zs, move = subspace_alignment.aligned(XS, XT, 3)
    theirs = np.concatenate([FROZEN["sa_source"], FROZEN["sa_target"]])
    ours = turned(np.concatenate([zs, move(XT)]), theirs)
    agrees("subspace_alignment", peer("skada", FROZEN), ours, theirs, atol=1e-10)


def test_corals_map_without_its_identity_is_skadas(agrees: Agrees) -> None:
    """Which has covariances over n, not n - 1, and does not put on the target's mean."""
    ours = recolored(torch.from_numpy(XS), torch.from_numpy(XT), 0.0, True).numpy() - XT.mean(0)
    over_n = ours * (60 / 59 * 49 / 50) ** 0.5
    agrees("coral", peer("skada", FROZEN), over_n, FROZEN["coral"], atol=1e-10)


def test_a_new_rows_tca_is_its_kernel_with_what_was_fitted() -> None:
    for kernel in ("rbf", "linear", "primal"):
        zs, move = tca.TCA(dims=5, kernel=kernel).moved(XS, YS, XT, 0)  # type: ignore[arg-type]
        np.testing.assert_allclose(move(XS), zs, atol=1e-10)


@pytest.mark.parametrize(("d", "k"), [(10, 3), (6, 3), (5, 1)])
def test_the_geodesic_flow_kernel_is_the_integral_along_the_geodesic(d: int, k: int, agrees: Agrees) -> None:
    random = np.random.default_rng(d)
    ps, pt = (np.linalg.qr(random.normal(size=(d, k)))[0] for _ in range(2))
    rest = np.linalg.svd(ps.T)[2][k:].T  # R_S
    u, cosine, vt = np.linalg.svd(ps.T @ pt)
    theta = np.arccos(np.clip(cosine, -1, 1))
    u2 = -rest.T @ pt @ vt.T / np.sin(theta)
    at, weight = np.polynomial.legendre.leggauss(40)
    expected = np.zeros((d, d))
    for t, w in zip((at + 1) / 2, weight / 2, strict=True):
        phi = ps @ u * np.cos(t * theta) - rest @ u2 * np.sin(t * theta)
        expected += w * phi @ phi.T
    root = gfk.kernel_root(ps, pt)
    agrees("gfk", "quadrature along the geodesic", root @ root.T, expected, atol=1e-12)


def test_between_equal_subspaces_the_flow_kernel_is_the_projection() -> None:
    p = np.linalg.qr(np.random.default_rng(0).normal(size=(9, 3)))[0]
    root = gfk.kernel_root(p, p)
    np.testing.assert_allclose(root @ root.T, p @ p.T, atol=1e-7)


@pytest.mark.parametrize("kernel", ["primal", "linear", "rbf"])
def test_jda_without_a_guess_is_tca(kernel: Any) -> None:
    rows = jda.unit(BOTH)
    z = features_of(kernel, rows, "")(rows)
    e = contrasts(len(XS), len(XT))
    expected = jda.unit(z @ components(z, e / np.linalg.norm(e), 0.5, 4))
    for method in (
        replace(jda.JDA(), dims=4, penalty=0.5, kernel=kernel, rounds=1),
        replace(bda.BDA(), dims=4, penalty=0.5, kernel=kernel, rounds=1),
        replace(bda.BDA(), dims=4, penalty=0.5, kernel=kernel, rounds=3, balance=0.0),
    ):  # fmt: skip
        zs, move = method.moved(XS, YS, XT, 0)
        up_to_sign(np.concatenate([zs, move(XT)]), expected, atol=1e-9)


def test_jda_is_the_eigenproblem_of_its_matrix_with_the_guessed_classes(agrees: Agrees) -> None:
    z, n = jda.unit(BOTH), len(XS)
    _, guess = jda.adapted(z, YS, 3, 1.0, 1)
    found, _ = jda.adapted(z, YS, 3, 1.0, 2)
    m = 3 * contrasts(n, len(XT)) @ contrasts(n, len(XT)).T
    for c in np.intersect1d(YS, guess):
        e = np.r_[(c == YS) / (c == YS).sum(), -1.0 * (guess == c) / (guess == c).sum()]
        m += np.outer(e, e)
    m /= np.linalg.norm(m)
    centred = z - z.mean(0)
    _, vectors = eigh(centred.T @ centred, z.T @ m @ z + np.eye(6))
    expected = vectors[:, ::-1][:, :3]
    agrees("jda", "scipy's generalised eigenproblem", turned(found, expected), expected, atol=1e-9)


def dense(k: np.ndarray, m: np.ndarray, penalty: np.ndarray, dims: int) -> np.ndarray:
    """The largest solutions of K H K w = l (K M K + penalty) w, w^T (K M K + penalty) w = 1, by scipy."""
    h = np.eye(len(k)) - 1 / len(k)
    return np.asarray(eigh(k @ h @ k, k @ m @ k + np.diag(penalty))[1][:, ::-1][:, :dims])


def test_tca_is_the_eigenproblem_of_its_paper(agrees: Agrees) -> None:
    zs, move = tca.TCA(dims=4, penalty=0.1).moved(XS, YS, XT, 0)
    k = gaussian(BOTH, BOTH, float(np.median(pdist(BOTH))))
    e = np.repeat([1 / 60, -1 / 50], [60, 50])
    expected = k @ dense(k, np.outer(e, e), np.full(110, 0.1), 4)
    ours = turned(np.concatenate([zs, move(XT)]), expected)
    agrees("tca", "scipy's generalised eigenproblem", ours, expected, atol=1e-8)


def norm_one(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("weighted", [False, True])
def test_bda_is_the_eigenproblem_of_its_matrix_with_the_guessed_classes(weighted: bool, agrees: Agrees) -> None:
    """Two rounds: without a guess, then with the nearest neighbours' of the first."""
    rows, centre = norm_one(BOTH), np.eye(110) - 1 / 110

    def solved(m: np.ndarray) -> np.ndarray:
        b, a = rows.T @ centre @ rows, rows.T @ (m / np.linalg.norm(m)) @ rows + 0.5 * np.eye(6)
        return norm_one(rows @ eigh(b, a)[1][:, ::-1][:, :3])

    e = np.repeat([1 / 60, -1 / 50], [60, 50])
    z = solved(np.outer(e, e))
    guess = YS[cdist(z[60:], z[:60]).argmin(1)]
    m = 0.7 * np.outer(e, e)
    for c in np.intersect1d(YS, guess):
        share = np.mean(guess == c) / np.mean(c == YS) if weighted else 1.0
        e_c = np.r_[(c == YS) / (c == YS).sum(), -(share**0.5) * (guess == c) / (guess == c).sum()]
        m += 0.3 * np.outer(e_c, e_c)
    method = bda.BDA(dims=3, penalty=0.5, balance=0.3, weighted=weighted, rounds=2)
    zs, move = method.moved(XS, YS, XT, 0)
    ours, expected = np.concatenate([zs, move(XT)]), solved(m)
    agrees("bda", "scipy's generalised eigenproblem", turned(ours, expected), expected, atol=1e-9)


def test_tjm_reweighs_its_eigenproblem_by_the_norms_of_the_last_rounds_rows(agrees: Agrees) -> None:
    rows = norm_one(BOTH)
    k, e, g = rows @ rows.T, np.repeat([1 / 60, -1 / 50], [60, 50]), np.ones(110)
    m = np.outer(e, e) / np.linalg.norm(np.outer(e, e))
    for _ in range(3):
        w = dense(k, m, 0.8 * g, 3)
        g[:60] = 1 / (2 * np.linalg.norm(w[:60], axis=1))
    found = turned(tjm.matched(k, 60, 3, 0.8, 3), w)
    agrees("tjm", "scipy's generalised eigenproblem", found, w, atol=1e-7)


def test_bda_balances_the_two_discrepancies() -> None:
    guess = np.arange(len(XT)) % 3
    marginal, classes = (contrasts(len(XS), len(XT), *y) for y in ((), (YS, guess)))
    e = bda.balanced(YS, guess, 0.3, False)
    np.testing.assert_allclose(e @ e.T, 0.7 * marginal @ marginal.T + 0.3 * classes @ classes.T, atol=1e-12)
    shares = [np.mean(guess == c) / np.mean(c == YS) for c in range(3)]
    gap = bda.balanced(YS, guess, 1.0, True)[:, 1:].T @ BOTH
    for c in range(3):
        expected = XS[c == YS].mean(0) - shares[c] ** 0.5 * XT[guess == c].mean(0)
        np.testing.assert_allclose(gap[c], expected, atol=1e-12)


def test_tjm_drops_source_samples_that_are_far_from_the_target() -> None:
    random = np.random.default_rng(0)
    near, far = random.normal(size=(40, 5)), random.normal(size=(10, 5)) + 6
    target = random.normal(size=(50, 5))
    rows = tjm.unit(np.concatenate([near, far, target]))
    w = tjm.matched(rows @ rows.T, 50, 3, 1.0, 10)
    norms = np.linalg.norm(w, axis=1)
    assert norms[40:50].mean() < 0.5 * norms[:40].mean()
    plain = tjm.matched(rows @ rows.T, 50, 3, 1.0, 1)
    e = contrasts(50, 50)
    up_to_sign(plain, components(rows @ rows.T, e / np.linalg.norm(e), 1.0, 3), atol=1e-12)


# transport


def test_the_exact_plan_is_the_linear_programs(agrees: Agrees) -> None:
    cost = cdist(XS[:7], XT[:5], "sqeuclidean")
    rows, columns = np.kron(np.eye(7), np.ones(5)), np.kron(np.ones(7), np.eye(5))
    best = linprog(cost.ravel(), A_eq=np.r_[rows, columns], b_eq=np.r_[np.full(7, 1 / 7), np.full(5, 1 / 5)])
    plan = exact(cost)
    agrees("ot_mapping", "the linear program by scipy", plan.ravel(), best.x, atol=1e-10)
    np.testing.assert_allclose(plan.sum(0), 1 / 5)


@pytest.mark.parametrize("reg", [0.5, 0.01])
def test_the_entropic_plan_is_optimal_for_its_marginals(reg: float) -> None:
    cost = cdist(XS, XT, "sqeuclidean")
    cost /= np.median(cost)
    plan = entropic(cost, reg)
    np.testing.assert_allclose(plan.sum(0), 1 / len(XT), rtol=1e-5)
    np.testing.assert_allclose(plan.sum(1), 1 / len(XS), rtol=0.02 if reg < 0.1 else 1e-5)
    scaled = reg * np.log(plan) + cost  # u_i + v_j at the optimum
    double = scaled - scaled[:1] - scaled[:, :1] + scaled[0, 0]
    assert np.abs(double).max() < 1e-8


def test_the_class_regularised_plan_is_pots(agrees: Agrees) -> None:
    import ot

    cost = cdist(XS, XT, "sqeuclidean")
    expected = ot.da.sinkhorn_lpl1_mm(
        np.full(60, 1 / 60), YS, np.full(50, 1 / 50), cost / np.median(cost), 0.2, eta=0.1, numItermax=10,
        numInnerItermax=1000,
    )  # fmt: skip
    found = ot_mapping.transport(cost, YS, "classes", 0.2, 0.1)
    agrees("ot_mapping", f"{peer('POT')}, sinkhorn_lpl1_mm", found, expected, atol=1e-9)


def test_transport_carries_each_sample_where_pots_adapter_does(agrees: Agrees) -> None:
    import ot

    adapter = ot.da.EMDTransport(norm="median").fit(Xs=XS, Xt=XT)
    zs, _ = ot_mapping.OTMapping(plan="exact").moved(XS, YS, XT, 0)
    agrees("ot_mapping", f"{peer('POT')}, EMDTransport", zs, adapter.transform(Xs=XS), atol=1e-9)


def test_a_class_regularised_plan_mixes_fewer_classes_in_a_target_sample() -> None:
    cost = cdist(XS, XT, "sqeuclidean")
    share = [
        np.mean((np.eye(3)[YS].T @ plan).max(0) / plan.sum(0))
        for plan in (ot_mapping.transport(cost, YS, kind, 0.5, 1.0) for kind in ("entropic", "classes"))
    ]
    assert share[1] > share[0] + 0.02


@pytest.mark.parametrize("kind", ["exact", "entropic", "classes"])
def test_a_domain_moved_as_a_whole_is_moved_back_by_transport(kind: Any) -> None:
    method = replace(ot_mapping.OTMapping(), plan=kind, reg=1e-3)
    zs, move = method.moved(XS, YS, XS[::-1] + 0.5, 0)
    np.testing.assert_allclose(zs, XS + 0.5, atol=1e-9 if kind == "exact" else 0.1)
    np.testing.assert_array_equal(move(XT), XT)


def test_jdots_plan_is_of_the_joint_cost_and_its_labels_are_what_it_carries(agrees: Agrees) -> None:
    logs = np.log(np.random.default_rng(0).dirichlet(np.ones(3), len(XT)))
    distance = cdist(XS, XT, "sqeuclidean")
    g = jdot.plan(distance, logs, YS)
    cost = distance + np.array([[-logs[j, y] for j in range(len(XT))] for y in YS])
    n, m = cost.shape
    marginals = np.r_[np.kron(np.eye(n), np.ones(m)), np.kron(np.ones(n), np.eye(m))]
    best = linprog(cost.ravel(), A_eq=marginals, b_eq=np.repeat([1 / n, 1 / m], [n, m])).x.reshape(n, m)
    soft = jdot.carried(g, YS, 4)
    mixtures = [sum(m * best[i, j] * np.eye(4)[YS[i]] for i in range(n)) for j in range(m)]
    agrees("jdot", "the joint cost's linear program by scipy", (g, soft), (best, np.array(mixtures)), atol=1e-10)


# selection


def test_f_mmds_weights_are_the_optimum_of_the_paper(agrees: Agrees) -> None:
    found = feature_selection.variance(XS, XT, "linear")
    delta = (XS.mean(0) - XT.mean(0)) ** 2
    best = minimize(lambda w: -w @ delta, np.full(6, 0.1), bounds=[(0, None)] * 6, method="SLSQP",
                    constraints=[{"type": "ineq", "fun": lambda w: 1 - w @ w}], options={"ftol": 1e-14})  # fmt: skip
    agrees("feature_selection", "the program by scipy's SLSQP", found, best.x, atol=1e-6)


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_f_mmd_drops_the_feature_that_moves_and_keeps_the_classes(kernel: Any) -> None:
    random = np.random.default_rng(0)
    ys = np.arange(200) % 2
    xs, xt = random.normal(size=(200, 5)), random.normal(size=(150, 5))
    xs[:, 0] += 3 * ys
    xt[:, 0] += 3 * (np.arange(150) % 2)
    xt[:, 3] += 4
    zs, _ = replace(feature_selection.FeatureSelection(), kernel=kernel).moved(xs, ys, xt, 0)
    np.testing.assert_array_equal(zs, xs[:, [0, 1, 2, 4]])
    _, move = replace(feature_selection.FeatureSelection(), kernel=kernel, informative=0.25).moved(xs, ys, xt, 0)
    np.testing.assert_array_equal(move(xt), xt[:, [0]])


@pytest.mark.parametrize("share", [0.05, 0.3])
def test_l21_coefficients_are_those_of_proximal_gradients(share: float, agrees: Agrees) -> None:
    y = np.eye(3)[YS]
    x, t = XS - XS.mean(0), y - y.mean(0)
    alpha = share * np.linalg.norm(x.T @ t, axis=1).max() / len(x)
    w = previous = np.zeros((6, 3))
    step = len(x) / np.linalg.norm(x, 2) ** 2
    for i in range(1, 4000):
        ahead = w + (i - 1) / (i + 2) * (w - previous)
        ahead = ahead - step * x.T @ (x @ ahead - t) / len(x)
        norms = np.linalg.norm(ahead, axis=1, keepdims=True)
        previous, w = w, ahead * np.maximum(1 - step * alpha / np.maximum(norms, 1e-300), 0)
    agrees("l21_selection", "FISTA written out", l21_selection.coefficients(XS, y, share), w, atol=1e-5)
    model = MultiTaskLasso(alpha, tol=1e-12, max_iter=100_000).fit(XS, y)
    np.testing.assert_allclose(model.coef_.T, w, atol=1e-10)


def test_l21_selection_finds_the_shared_support_of_cal6() -> None:
    source, target = (synthetic.domain("cal6", name, 0) for name in ("shared5", "target"))
    zs, _ = l21_selection.L21Selection().moved(source.x.astype(float), source.y, target.x.astype(float), 0)
    coefficients = np.linalg.lstsq(target.x.astype(float), target.y, rcond=None)[0]
    support = np.flatnonzero(np.abs(coefficients) > 0.05)
    kept = [int(np.flatnonzero((source.x == z).all(0))[0]) for z in zs.T.astype(np.float32)[:, :, None]]
    assert len(support) == 5
    assert set(support) <= set(kept)
    assert len(kept) <= 10


# density ratios


@pytest.mark.parametrize("bound", [1000.0, 3.0])
def test_kmms_weights_are_cvxopts(bound: float, agrees: Agrees) -> None:
    n = len(XS)
    found = kmm.kernel_mean_matching(XS, XT, 2.0, bound, (n**0.5 - 1) / n**0.5)
    expected = FROZEN[f"kmm{bound:.0f}"]
    k, kappa = gaussian(XS, XS, 2.0), gaussian(XS, XT, 2.0).mean(1) * n
    values = [b @ k @ b / 2 - kappa @ b for b in (found, expected)]
    assert values[0] == pytest.approx(values[1], rel=1e-7)
    agrees("kmm", peer("cvxopt", FROZEN), found, expected, atol=1e-5)


def test_kliep_is_at_the_optimum_that_cvxopt_finds(agrees: Agrees) -> None:
    ps, pt = gaussian(XS, XT[:20], 3.0), gaussian(XT, XT[:20], 3.0)
    agrees("kliep", peer("cvxopt", FROZEN), ps @ kliep.coefficients(ps, pt), FROZEN["kliep"], atol=1e-7)


@pytest.mark.parametrize("width", [1.0, 3.0, 8.0])
def test_kliep_is_at_the_optimum_that_sequential_quadratic_programming_finds(width: float) -> None:
    ps, pt = gaussian(XS, XT[:30], width), gaussian(XT, XT[:30], width)
    a = kliep.coefficients(ps, pt)
    assert (ps @ a).mean() == pytest.approx(1, abs=1e-9)
    assert (a >= 0).all()
    f = pt / ps.mean(0)
    gradient = (f / (pt @ a)[:, None]).mean(0)
    assert gradient.max() - 1 < 1e-8  # bounds how far the likelihood is from its optimum
    best = minimize(lambda s: -np.log(f @ s).mean(), np.full(30, 1 / 30), bounds=[(0, 1)] * 30, method="SLSQP",
                    jac=lambda s: -(f / (f @ s)[:, None]).mean(0), options={"ftol": 1e-14, "maxiter": 1000},
                    constraints=[{"type": "eq", "fun": lambda s: s.sum() - 1}])  # fmt: skip
    assert np.log(pt @ a).mean() == pytest.approx(-best.fun, abs=1e-6)
    np.testing.assert_allclose(ps @ a, ps @ (best.x / ps.mean(0)), rtol=5e-3, atol=5e-3)


@pytest.mark.parametrize("alpha", [0.0, 0.1, 0.5])
def test_rulsif_is_its_closed_form(alpha: float, agrees: Agrees) -> None:
    ps, pt = gaussian(XS, XT[:20], 2.0), gaussian(XT, XT[:20], 2.0)
    h_matrix = alpha * np.mean([np.outer(r, r) for r in pt], 0) + (1 - alpha) * np.mean([np.outer(r, r) for r in ps], 0)
    h = pt.mean(0)
    theta = rulsif.coefficients(ps, pt, alpha, 0.1)
    agrees("rulsif", "the closed form", theta, np.linalg.inv(h_matrix + 0.1 * np.eye(20)) @ h, atol=1e-10)
    method = rulsif.RuLSIF(alpha=alpha, width=1.0, penalty=0.1)
    weights = method.weights(XS, XT, 0)
    assert weights.shape == (60,)
    assert weights.min() >= 0


def covariate(n: int = 600) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Source rows, target rows of CAL-3's first coordinate, and the true ratio exp(2 x1) at the source rows."""
    source, target = (synthetic.domain("cal3", name, 0) for name in ("n20000", "target"))
    xs, xt = source.x[:n, :1].astype(float), target.x[:n, :1].astype(float)
    return xs, xt, np.exp(2 * xs[:, 0])


@pytest.mark.parametrize(
    ("method", "least"),
    [(kmm.KMM(), 0.4), (kliep.KLIEP(), 0.8), (rulsif.RuLSIF(), 0.7), (iw_logistic.IWLogistic(), 0.97),
     (iw_logistic.IWLogistic(degree=2), 0.8)],
    ids=["kmm", "kliep", "rulsif", "logistic", "quadratic"],
)  # fmt: skip
def test_estimated_ratios_follow_the_true_one_of_cal3(method: Any, least: float) -> None:
    """KMM's optimum follows it loosely: under B = 1000 most weights are 0 and few are large."""
    xs, xt, ratio = covariate()
    weights = method.weights(xs, xt, 0)
    assert np.isfinite(weights).all()
    assert np.corrcoef(weights, ratio)[0, 1] > least
    moved = [abs(np.average(xs[:, 0], weights=w) - 1) for w in (weights, np.ones(len(xs)))]
    assert moved[0] < 0.5 * moved[1]  # the weighed source's mean is nearer to the target's


@pytest.mark.parametrize("degree", [1, 2])
def test_a_domain_classifiers_odds_are_those_of_newtons_method(degree: int, agrees: Agrees) -> None:
    """Logistic regression with the penalty |w|^2 / 2, the intercept free; the domains' sizes taken out."""
    x = np.concatenate([BOTH**p for p in range(1, degree + 1)] + [np.ones((len(BOTH), 1))], 1)
    ridge = np.diag([1.0] * (x.shape[1] - 1) + [0.0])
    w, y = np.zeros(x.shape[1]), np.repeat([0, 1], [60, 50])
    for _ in range(50):
        p = 1 / (1 + np.exp(-x @ w))
        w -= np.linalg.solve(x.T @ (x * (p * (1 - p))[:, None]) + ridge, x.T @ (p - y) + ridge @ w)
    odds = iw_logistic.log_odds(XS, XT, 1.0, degree)
    agrees("iw_logistic", "Newton's method written out", odds, x[:60] @ w + np.log(60 / 50), atol=0.01)


def test_a_domain_classifiers_odds_are_the_ratio() -> None:
    xs, xt, ratio = covariate(5000)
    odds = iw_logistic.log_odds(xs, xt[:2500], 1e-3, 1)
    slope, offset = np.polyfit(np.log(ratio), odds, 1)
    assert slope == pytest.approx(1, abs=0.05)
    assert offset == pytest.approx(0, abs=0.1)


def test_equal_domains_get_equal_weights() -> None:
    x = np.random.default_rng(0).normal(size=(300, 2))
    for method in (kliep.KLIEP(), rulsif.RuLSIF(), iw_logistic.IWLogistic()):
        w = method.weights(x[::2], x[1::2], 0)
        assert (w.std() / w.mean()) < 0.6


# weighted fits


def test_rows_are_drawn_as_often_as_their_weights_say() -> None:
    w = np.array([0.0, 1, 2, 5, 0, 0.5, 0])
    counts = np.bincount(drawn(w, 1700, 3), minlength=7)
    assert np.abs(counts - 1700 * w / w.sum()).max() <= 1
    assert counts[w == 0].sum() == 0
    assert np.array_equal(drawn(w, 50, 3), drawn(w, 50, 3))


def test_equal_weights_are_plain_training() -> None:
    train, test = easy(THREE, k=2, steps=20)
    learner = ERM()
    expected = learner.fit(train, 4)
    for constant in (1.0, 7.0, 0.0, np.inf):
        found = weighted(train, np.full(300, constant), "card", 4, learner)
        assert torch.equal(found(test.x), expected(test.x))


@pytest.mark.parametrize("classifier", ["card", "logistic"])
def test_samples_of_no_weight_are_not_learnt_from(classifier: Any) -> None:
    train, test = easy(THREE, steps=60)
    wrong = replace(train.sources[0], y=torch.where(torch.arange(300) % 2 == 0, train.sources[0].y, 0))
    train = replace(train, sources=(wrong,))
    flat = replace(train, target=train.target)
    good = (np.arange(300) % 2 == 0).astype(float)
    learner = ERM()
    right, mixed = (accuracy(weighted(flat, w, classifier, 0, learner)(test.x), test.y) for w in (good, np.ones(300)))
    assert right > 0.95
    assert right > mixed


def test_a_known_ratio_turns_the_rule_of_cal3() -> None:
    source, target = (synthetic.domain("cal3", name, 1) for name in ("n20000", "target"))
    assert target.official_test is not None
    test = target.official_test
    x, y = torch.from_numpy(source.x), torch.from_numpy(source.y)
    train = Train(
        (Labeled(x, y),), Unlabeled(torch.from_numpy(target.x[~test])), Labeled(x[:0], y[:0]), 2,
        lambda: networks.Backbone(networks.Float(), torch.nn.Identity(), torch.nn.Identity(), 5),
        Recipe(steps=300, lr=0.05),
    )  # fmt: skip
    learner, ratio = ERM(), np.exp(2 * source.x[:, 0].astype(float))
    told = replace(train, sources=(Labeled(train.target.x, torch.from_numpy(target.y[~test])),))
    xt, yt = torch.from_numpy(target.x[test]), torch.from_numpy(target.y[test])
    for classifier in ("logistic", "card"):
        best = accuracy(weighted(told, np.ones(len(told.target)), classifier, 0, learner)(xt), yt)
        found, plain = (
            accuracy(weighted(train, w, classifier, 0, learner)(xt), yt) for w in (ratio, np.ones(len(ratio)))
        )
        assert found > best - 0.04  # 360 of the 20,000 weights count, e^-4 of them
        assert plain < 0.55  # .5000 is the source's best threshold's


def test_the_flow_kernels_dimension_is_the_first_at_which_the_subspaces_part() -> None:
    random = np.random.default_rng(0)
    wide, narrow = np.linspace(9, 4, 5), np.linspace(1.0, 0.5, 15)  # of five directions in common, and fifteen apart
    xs = random.normal(size=(80, 35)) * np.r_[wide, narrow, 0.1 * narrow]
    xt = random.normal(size=(60, 35)) * np.r_[wide, 0.1 * narrow, narrow]
    xs, xt = xs - xs.mean(0), xt - xt.mean(0)
    axes = [np.linalg.svd(x, full_matrices=False)[2].T for x in (xs, xt, np.concatenate([xs, xt]))]

    def parting(d: int) -> float:
        ps, pt, both = (a[:, :d] for a in axes)
        return float(np.mean([np.sin(subspace_angles(p, both)[0]) for p in (ps, pt)]))

    found = gfk.agreeing(*(a[:, :17] for a in axes))
    assert 5 < found < 17
    assert parting(found) >= 0.995
    assert all(parting(d) < 0.995 for d in range(1, found))
    zs, _ = gfk.GFK().moved(xs, np.zeros(80), xt, 0)
    assert zs.shape == (80, 2 * found)
    np.testing.assert_allclose(zs, gfk.GFK(dims=found).moved(xs, np.zeros(80), xt, 0)[0], atol=1e-8)
    assert gfk.agreeing(axes[0], axes[0], axes[0]) == 35  # nothing parts


@pytest.mark.parametrize("classifier", ["card", "nearest", "logistic", "svm"])
def test_every_ending_tells_moved_rows(classifier: Any) -> None:
    train, test = easy(THREE, shift=2.0, k=2)
    for method in (subspace_alignment.SubspaceAlignment(dims=3), tca.TCA(dims=5), gfk.GFK(dims=2), coral.CORAL()):
        scores = replace(method, classifier=classifier).fit(train, 0)(test.x)
        assert torch.isfinite(scores).all()
        assert accuracy(scores, test.y) > 0.85


@pytest.mark.parametrize("classifier", ["nearest", "logistic", "svm"])
def test_source_only_with_a_shallow_classifier_is_it_on_the_embedded_source(classifier: Any) -> None:
    train, test = easy(THREE, shift=1.0, k=2)
    flat, embed = embedded(train, 0, ERM())
    alone = replace(flat, shots=Labeled(flat.shots.x[:0], flat.shots.y[:0]))
    expected = ended(alone, classifier, 0, ERM())(embed(test.x))
    torch.testing.assert_close(source_only.SourceOnly(classifier=classifier).fit(train, 0)(test.x), expected)


@pytest.mark.parametrize("classifier", ["nearest", "logistic", "svm"])
def test_an_ending_never_tells_a_class_without_a_label_and_lives_with_one_class(classifier: Any) -> None:
    train, test = easy(THREE)
    for kept in ([0, 2], [1]):
        own = torch.isin(train.sources[0].y, torch.tensor(kept))
        fewer = replace(train, sources=(Labeled(train.sources[0].x[own], train.sources[0].y[own]),))
        told = ended(fewer, classifier, 0, ERM())(test.x).argmax(1)
        assert set(told.tolist()) <= set(kept)


def test_a_number_is_told_by_the_cards_network_alone() -> None:
    train, test = easy(THREE, steps=30)
    numbers = replace(train, sources=(Labeled(train.sources[0].x, train.sources[0].x[:, 0]),), n_classes=1,
                      shots=Labeled(train.shots.x, train.shots.y.float()), regime="regression")  # fmt: skip
    assert l21_selection.L21Selection().fit(numbers, 0)(test.x).shape == (600, 1)
    assert kmm.KMM().fit(numbers, 0)(test.x).shape == (600, 1)
    for method in (replace(l21_selection.L21Selection(), classifier="svm"), kmm.KMM(classifier="logistic")):
        with pytest.raises(NotApplicable, match="tells classes"):
            method.fit(numbers, 0)


def test_moved_rows_have_one_common_scale() -> None:
    train, _ = easy(THREE, k=2, sources=2)

    class Stretched(MappingMethod):
        pass

    stretch = np.diag([1.0, 2, 3, 4]) * 50
    zs = np.concatenate([s.x.double().numpy() for s in train.sources]) @ stretch + 7
    flat, _ = in_common_place(train, zs, lambda x: x @ stretch + 7)
    rows = torch.cat([*(s.x for s in flat.sources), flat.target.x])
    assert rows.mean(0).abs().max() < 1e-4
    assert rows.square().mean().item() == pytest.approx(1, abs=1e-4)
    plain = torch.cat([*(s.x for s in train.sources), train.target.x])
    ratio = rows.std(0) / plain.std(0)
    torch.testing.assert_close(ratio / ratio[0], torch.tensor([1.0, 2, 3, 4]), rtol=1e-4, atol=1e-4)


def test_sources_of_another_task_align_and_get_heads() -> None:
    train, test = easy(THREE, k=5)
    other = replace(train, sources=(Labeled(train.sources[0].x, train.sources[0].y % 2),), source_classes=(2,))
    for method in (subspace_alignment.SubspaceAlignment(dims=3), tca.TCA(dims=5), gfk.GFK(dims=2), tjm.TJM(dims=5)):
        assert accuracy(method.fit(other, 0)(test.x), test.y) > 0.8
        assert accuracy(replace(method, classifier="nearest").fit(other, 0)(test.x), test.y) > 0.8


# proportions of classes


@pytest.mark.parametrize("kind", ["hard", "soft"])
def test_bbse_is_quapys_adjusted_count(kind: str, agrees: Agrees) -> None:
    told, y, target = (FROZEN[name] for name in ("told", "y", "target"))
    method = bbse.BBSE(soft=kind == "soft")
    proportions = method.class_weights(told, y, target) * np.bincount(y) / len(y)
    agrees("bbse", peer("QuaPy", FROZEN), proportions, FROZEN[f"bbse_{kind}"], atol=1e-8)


def test_mlls_is_where_quapys_em_ends_and_the_likelihood_is_greatest(agrees: Agrees) -> None:
    p, target = np.full(4, 0.25), FROZEN["target"]
    q = mlls.proportions(target, p, 1e-12)
    agrees("mlls", peer("QuaPy", FROZEN), q, FROZEN["mlls"], atol=1e-9)
    gradient = (target / p / (target / p @ q)[:, None]).mean(0)
    assert gradient.max() - 1 < 1e-6  # of the concave mean log-likelihood on the simplex
    rough = mlls.proportions(target, p, 1e-8)
    np.testing.assert_allclose(rough, q, atol=1e-6)


@pytest.mark.parametrize("biased", [False, True])
def test_calibration_has_the_least_log_loss(biased: bool) -> None:
    random = np.random.default_rng(0)
    y = random.integers(0, 3, 4000)
    logits = random.normal(size=(4000, 3)) + 2 * np.eye(3)[y]
    true = 2 * logits  # the log-odds of unit Gaussians 2 apart
    told = 2.5 * true - np.log(np.exp(2.5 * true).sum(1, keepdims=True))
    slope, bias = mlls.calibration(told, y, biased)
    assert slope == pytest.approx(0.4, abs=0.02)
    np.testing.assert_allclose(bias, 0, atol=0.15)
    if biased:
        probabilities = np.exp(slope * told + bias)
        probabilities /= probabilities.sum(1, keepdims=True)
        np.testing.assert_allclose(probabilities.mean(0), np.bincount(y) / len(y), atol=1e-6)


def test_rlls_is_the_optimum_of_its_convex_problem() -> None:
    told, y, target = (FROZEN[name] for name in ("told", "y", "target"))
    c, b = confusion(told, y), target.mean(0) - confusion(told, y).sum(1)
    np.testing.assert_allclose(rlls.deviation(c, b, 0.0), np.linalg.solve(c, b), atol=1e-4)
    assert np.abs(rlls.deviation(c, b, 100.0)).max() < 1e-3

    def loss(theta: np.ndarray, penalty: float) -> float:
        return float(np.linalg.norm(c @ theta - b) + penalty * np.linalg.norm(theta))

    for penalty in (1e-3, 0.02, 0.1):
        found = rlls.deviation(c, b, penalty)
        best = minimize(loss, found + 0.05, args=(penalty,), method="Nelder-Mead", bounds=[(-1, None)] * 4,
                        options={"xatol": 1e-9, "fatol": 1e-12, "maxiter": 20_000, "maxfev": 20_000})  # fmt: skip
        assert loss(found, penalty) <= best.fun + 1e-7


@pytest.mark.parametrize("penalty", [0.05, 0.1, 0.3])
def test_rlls_is_the_ridge_regression_whose_penalty_follows_from_its_norms(penalty: float, agrees: Agrees) -> None:
    """Where no bound is met, the slope vanishes: C^T (C theta - b) / |C theta - b| + penalty theta / |theta| = 0."""
    random = np.random.default_rng(3)
    c, b = np.diag([0.05, 0.1, 0.3, 0.5]) + random.uniform(0, 0.1, (4, 4)), 0.1 * random.normal(size=4)

    def ridge(share: float) -> np.ndarray:
        return np.linalg.solve(c.T @ c + share * np.eye(4), c.T @ b)

    def off(share: float) -> float:
        return share - penalty * float(np.linalg.norm(c @ ridge(share) - b) / np.linalg.norm(ridge(share)))

    expected = ridge(brentq(off, 1e-6, 10.0, xtol=1e-15))
    assert -1 < expected.min() < expected.max() < np.linalg.solve(c, b).max()
    agrees("rlls", "its stationary ridge regression", rlls.deviation(c, b, penalty), expected, atol=1e-6)


def test_tars_is_skadas_and_weighs_all_samples_of_a_class_alike(agrees: Agrees) -> None:
    found = tars.mixed(XS / 20, YS, XT / 20, 1 / 80**0.5, 10.0, 1e-6)
    agrees("tars", peer("skada", FROZEN), found, FROZEN["tars"], atol=1e-7)


def test_tars_finds_the_target_shift_of_cal2() -> None:
    source, target = (synthetic.domain("cal2", name, 0) for name in ("source", "prior90"))
    xs, xt = source.x[:1500].astype(float), target.x[-1500:].astype(float)
    at = np.random.default_rng(0).permutation(len(target.x))[:1500]
    xt = target.x[at].astype(float)
    found = tars.mixed(xs, source.y[:1500], xt, median_distance(xs), 10.0, 1e-10)
    np.testing.assert_allclose(found * np.bincount(source.y[:1500]) / 1500, [0.1, 0.9], atol=0.04)


def label_shift(seed: int) -> tuple[Train, Labeled]:
    source, target = (synthetic.domain("cal2", name, seed) for name in ("source", "prior90"))
    test = target.official_test
    assert test is not None
    x, y = torch.from_numpy(source.x), torch.from_numpy(source.y)
    pool = torch.from_numpy(target.x[~test])

    def above() -> networks.Backbone:
        return networks.Backbone(networks.Float(), torch.nn.Identity(), torch.nn.Identity(), 5)

    train = Train(
        (Labeled(x, y),), Unlabeled(pool), Labeled(x[:0], y[:0]), 2, above, Recipe(steps=500, batch=128, lr=0.05)
    )
    return train, Labeled(torch.from_numpy(target.x[test]), torch.from_numpy(target.y[test]))


@pytest.mark.parametrize(
    "method",
    [bbse.BBSE(), bbse.BBSE(soft=True, correction="posterior"), mlls.MLLS(), mlls.MLLS(correction="retrain"),
     rlls.RLLS()],
    ids=["bbse", "bbse-soft", "mlls", "mlls-retrain", "rlls"],
)  # fmt: skip
def test_under_label_shift_a_correction_of_the_prior_reaches_bayes(method: Any) -> None:
    bayes, alone = closed_forms.prior_corrected(0.9, 1.5), closed_forms.phi(1.5)
    train, test = label_shift(0)
    found = accuracy(method.fit(train, 0)(test.x), test.y)
    assert found > bayes - 0.006  # .9663; four standard errors of 20,000 samples are .005
    assert found > alone + 0.02  # .9332


def test_held_out_samples_are_of_every_class_that_has_two() -> None:
    y = torch.tensor([0] * 10 + [1] * 4 + [2] + [3] * 2)
    train = replace(easy(THREE)[0], sources=(Labeled(torch.arange(17.0)[:, None], y),) * 2)
    learnt, held = halves(train, 0.5, 0)
    assert torch.bincount(held.y).tolist() == [10, 4, 0, 2]
    assert all(torch.bincount(part.y).tolist() == [5, 2, 1, 1] for part in learnt)
    assert set(learnt[0].x.flatten().tolist()).isdisjoint(held.x[: len(held) // 2].flatten().tolist())


# the shots' friends


def test_tradaboost_unlearns_the_source_samples_that_contradict_the_shots(monkeypatch: pytest.MonkeyPatch) -> None:
    weights: list[np.ndarray] = []
    real = tradaboost.linear

    def spy(x: Any, y: Any, n: int, kind: Any, seed: int, w: Any) -> Any:
        weights.append(w)
        return real(x, y, n, kind, seed, w)

    monkeypatch.setattr(tradaboost, "linear", spy)
    train, test = easy(THREE, k=20)
    wrong = torch.arange(300) >= 150
    x, y = train.sources[0].x, train.sources[0].y
    mixed = replace(train, sources=(Labeled(x, torch.where(wrong, (y + 1) % 3, y)),))
    boosted = accuracy(tradaboost.TrAdaBoost(rounds=20).fit(mixed, 0)(test.x), test.y)
    assert boosted > 0.9
    assert weights[-1][:300][wrong.numpy()].mean() < 0.05 * weights[-1][:300][~wrong.numpy()].mean()


def test_tradaboosts_weights_follow_the_papers_algorithm(monkeypatch: pytest.MonkeyPatch, agrees: Agrees) -> None:
    seen: list[np.ndarray] = []
    real = tradaboost.linear

    def spy(x: Any, y: Any, n: int, kind: Any, seed: int, weights: Any) -> Any:
        seen.append(weights)
        return real(x, y, n, kind, seed, weights)

    monkeypatch.setattr(tradaboost, "linear", spy)
    random = np.random.default_rng(0)
    xs, xl, ys, yl = random.normal(size=(50, 3)), random.normal(size=(20, 3)), YS[:50], np.arange(20) % 3
    learners, votes = tradaboost.boosted(xs, ys, xl, yl, 3, 4, 0.499, 0)
    assert len(learners) == len(votes) == 2
    first = real(np.r_[xs, xl], np.r_[ys, yl], 3, "logistic", 0, seen[0])
    np.testing.assert_allclose(seen[0], 70 / 2 / np.repeat([50, 20], [50, 20]))
    wrong = first(torch.from_numpy(np.r_[xs, xl])).argmax(1).numpy() != np.r_[ys, yl]
    eps = min(wrong[50:].mean(), 0.499)
    expected = np.where(
        wrong, np.r_[np.full(50, 1 / (1 + np.sqrt(2 * np.log(50) / 4))), np.full(20, (1 - eps) / eps)], 1
    )
    expected = expected * seen[0]
    agrees("tradaboost", "the algorithm written out", seen[1], expected / expected.mean(), atol=1e-9)


def test_jdot_learns_a_moved_target_that_the_source_gets_wrong() -> None:
    train, test = easy(THREE, shift=3.0)
    assert accuracy(jdot.JDOT().fit(train, 0)(test.x), test.y) > accuracy(ERM().fit(train, 0)(test.x), test.y)


def test_classes_of_the_sources_alone_do_not_trouble_a_method() -> None:
    train, test = easy(THREE, k=3)
    few = gaussians(8, THREE[:2], 5)  # a third class is in the shots alone
    lacking = replace(train, sources=(few,))
    for method in (jda.JDA(), bda.BDA(weighted=True), jdot.JDOT(), tars.TarS(), bbse.BBSE(), mlls.MLLS(), rlls.RLLS(),
                   tradaboost.TrAdaBoost(), wann.WANN(), ot_mapping.OTMapping()):  # fmt: skip
        scores = method.fit(lacking, 0)(test.x)
        assert scores.shape == (600, 3)
        assert torch.isfinite(scores).all()


@pytest.mark.parametrize("kind", ["logistic", "svm"])
def test_of_several_penalties_the_one_that_holds_on_unseen_rows_is_taken(kind: Any) -> None:
    random = np.random.default_rng(0)
    x, y = random.normal(size=(120, 100)), np.repeat([0, 1], 60)
    x[:, 0] += 2 * y  # one feature tells; the other 99 are noise that a small penalty fits
    test, truth = np.random.default_rng(1).normal(size=(4000, 100)), np.arange(4000) % 2
    test[:, 0] += 2 * truth
    told, loose = linear(x, y, 2, kind, 0, penalties=7), linear(x, y, 2, kind, 0)
    rates = [float((f(torch.from_numpy(test)).argmax(1).numpy() == truth).mean()) for f in (told, loose)]
    assert rates[0] > rates[1] + 0.02


def test_a_class_of_one_row_leaves_nothing_to_choose_a_penalty_by() -> None:
    x, y = np.eye(3), np.array([0, 1, 1])
    assert linear(x, y, 3, "svm", 0, penalties=7)(torch.eye(3, dtype=torch.float64)).shape == (3, 3)
