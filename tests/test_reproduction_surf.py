"""The classic table of Office-Caltech10's SURF features, by the published protocol, on the real data.

Counts of a row are divided by their sum and standardised within each domain (ddof 1); every source sample teaches the
nearest neighbour; the whole target is told. 20 dimensions throughout. TCA and JDA are run as in the code that the table
was made with: rows of norm 1 before and after the map, the discrepancy's matrix over its Frobenius norm, penalty 1, no
kernel.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.io import loadmat
from sklearn.neighbors import KNeighborsClassifier
from tlbench_baselines import gfk, jda, subspace_alignment

from tlbench.kernels import components, contrasts, top

NAMES = {"C": "caltech10", "A": "amazon", "W": "webcam", "D": "dslr"}
PAIRS = ("CA", "CW", "CD", "AC", "AW", "AD", "WC", "WA", "WD", "DC", "DA", "DW")
NEAREST = (23.70, 25.76, 25.48, 26.00, 29.83, 25.48, 19.86, 22.96, 59.24, 26.27, 28.50, 63.39)
DIMS = 20

Told = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
Domains = dict[str, tuple[np.ndarray, np.ndarray]]


@pytest.fixture(scope="module")
def domains(real_data: Path) -> Domains:
    found = {}
    for letter, name in NAMES.items():
        file = loadmat(real_data / "office_caltech10" / "features" / "surf" / f"{name}.mat")
        x = file["fts"].astype(float)
        x = x / x.sum(1, keepdims=True)
        found[letter] = ((x - x.mean(0)) / x.std(0, ddof=1), file["labels"].ravel())
    return found


def nearest(zs: np.ndarray, ys: np.ndarray, zt: np.ndarray) -> np.ndarray:
    return KNeighborsClassifier(1).fit(zs, ys).predict(zt)


def table(domains: Domains, told: Told) -> np.ndarray:
    """(12,) accuracies in per cent."""
    return np.array([
        100 * np.mean(told(*domains[source], domains[target][0]) == domains[target][1]) for source, target in PAIRS
    ])  # fmt: skip


def principal(xs: np.ndarray, ys: np.ndarray, xt: np.ndarray) -> np.ndarray:
    axes = top(np.concatenate([xs, xt]), DIMS)
    return nearest(xs @ axes, ys, xt @ axes)


def transfer_components(xs: np.ndarray, ys: np.ndarray, xt: np.ndarray) -> np.ndarray:
    z, e = jda.unit(np.concatenate([xs, xt])), contrasts(len(xs), len(xt))
    rows = jda.unit(z @ components(z, e / np.linalg.norm(e), 1.0, DIMS))
    return nearest(rows[: len(xs)], ys, rows[len(xs) :])


def flow_kernel(xs: np.ndarray, ys: np.ndarray, xt: np.ndarray) -> np.ndarray:
    root = gfk.kernel_root(top(xs, DIMS), top(xt, DIMS))  # each domain's mean is 0 already
    return nearest(xs @ root, ys, xt @ root)


def joint(xs: np.ndarray, ys: np.ndarray, xt: np.ndarray) -> np.ndarray:
    return jda.adapted(jda.unit(np.concatenate([xs, xt])), ys, DIMS, 1.0, 10)[1]


def aligned(xs: np.ndarray, ys: np.ndarray, xt: np.ndarray) -> np.ndarray:
    zs, move = subspace_alignment.aligned(xs, xt, DIMS)
    return nearest(zs, ys, move(xt))


def test_the_nearest_neighbour_row_is_the_published_one_in_all_twelve_cells(domains: Domains) -> None:
    np.testing.assert_allclose(table(domains, nearest), NEAREST, atol=0.01)


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("told", "published", "within"),
    [
        pytest.param(principal, 43.6, 1.5, id="pca"),
        pytest.param(transfer_components, 46.2, 0.6, id="tca"),
        pytest.param(joint, 46.8, 0.6, id="jda", marks=pytest.mark.slow),
        pytest.param(flow_kernel, 43.1, 1.5, id="gfk", marks=pytest.mark.xfail(
            strict=True, reason="44.7 at 20 dimensions, 43.8 at 40, and the table does not say which; "
            "the kernel itself is the integral along the geodesic to 1e-12")),
    ],
)  # fmt: skip
def test_the_mean_of_a_row_is_the_published_one(told: Told, published: float, within: float, domains: Domains) -> None:
    assert np.mean(table(domains, told)) == pytest.approx(published, abs=within)


def test_the_flow_kernels_row_is_what_it_was_found_to_be(domains: Domains) -> None:
    assert np.mean(table(domains, flow_kernel)) == pytest.approx(44.7, abs=0.1)


@pytest.mark.slow
def test_every_map_is_far_better_than_none(domains: Domains) -> None:
    none = np.mean(NEAREST)
    for told in (principal, aligned, flow_kernel):
        assert np.mean(table(domains, told)) > none + 10
