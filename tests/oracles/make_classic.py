# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = [
#     "cvxopt==1.3.3", "numpy==2.4.6", "POT==0.9.7.post1", "quapy==0.2.3", "scikit-learn==1.9.1", "skada==0.6.0",
# ]
# ///
"""Freezes what skada, cvxopt and QuaPy make of random inputs.

`uv run --script make_classic.py [FILE]` builds their environment and writes classic.npz, or FILE, versions noted.
"""

import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np

OUT = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("classic.npz")


def inputs() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    turn = random.normal(size=(6, 6)) / 2
    ys = random.permutation(np.repeat([0, 1, 2], [30, 20, 10]))
    yt = random.permutation(np.repeat([0, 1, 2], [10, 10, 30]))
    means = random.normal(size=(3, 6)) * 1.5
    xs, xt = means[ys] + random.normal(size=(60, 6)), means[yt] + random.normal(size=(50, 6))
    logits = random.normal(size=(200, 4)) + 2 * np.eye(4)[np.arange(200) % 4]
    goal = np.repeat([0, 1, 2, 3], [80, 40, 20, 10])
    other = random.normal(size=(150, 4)) + 2 * np.eye(4)[goal]
    told, target = (np.exp(z) / np.exp(z).sum(1, keepdims=True) for z in (logits, other))
    return {"xs": xs, "xt": xt + 0.2 * xt @ turn, "ys": ys, "told": told, "y": np.arange(200) % 4, "target": target}


def subspace_alignment(at: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    from skada import SubspaceAlignmentAdapter

    x = np.concatenate([at["xs"], at["xt"]])
    domain = np.repeat([1, -2], [len(at["xs"]), len(at["xt"])])
    adapter = SubspaceAlignmentAdapter(n_components=3)
    adapter.fit(x, sample_domain=domain)
    z = adapter.transform(x, sample_domain=domain, allow_source=True)
    return {"sa_source": z[domain > 0], "sa_target": z[domain < 0]}


def coral(at: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Without regularisation: the map of the centred source, whose covariances are over n and not n - 1."""
    from skada import CORALAdapter

    x = np.concatenate([at["xs"], at["xt"]])
    domain = np.repeat([1, -2], [len(at["xs"]), len(at["xt"])])
    adapter = CORALAdapter(reg=None)
    adapter.fit(x, sample_domain=domain)
    return {"coral": adapter.transform(x, sample_domain=domain, allow_source=True)[domain > 0]}


def target_shift(at: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Inputs are scaled by 1/20, so that the one gamma of both kernels makes the one of labels an indicator."""
    from skada._reweight import MMDTarSReweightAdapter

    x = np.concatenate([at["xs"], at["xt"]]) / 20
    y = np.concatenate([at["ys"], np.full(len(at["xt"]), -1)])
    domain = np.repeat([1, -2], [len(at["xs"]), len(at["xt"])])
    adapter = MMDTarSReweightAdapter(gamma=40.0, reg=1e-6, tol=1e-12, max_iter=20000)
    adapter.fit(x, y, sample_domain=domain)
    return {"tars": adapter.alpha_}


def kernel_mean_matching(at: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    from cvxopt import matrix, solvers

    solvers.options.update(show_progress=False, abstol=1e-12, reltol=1e-12, feastol=1e-12)
    out = {}
    for bound in (1000.0, 3.0):
        xs, xt, n = at["xs"], at["xt"], len(at["xs"])
        k, cross = (np.exp(-((xs[:, None] - z[None]) ** 2).sum(-1) / (2 * 2.0**2)) for z in (xs, xt))
        eps = (n**0.5 - 1) / n**0.5
        g = np.concatenate([np.eye(n), -np.eye(n), np.ones((1, n)), -np.ones((1, n))])
        h = np.r_[np.full(n, bound), np.zeros(n), n * (1 + eps), n * (eps - 1)]
        found = solvers.qp(matrix(k), matrix(-cross.mean(1) * n), matrix(g), matrix(h))
        out[f"kmm{bound:.0f}"] = np.array(found["x"]).ravel()
    return out


def likelihood(at: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """KLIEP's concave problem by cvxopt's general solver: the share s_l = a_l mean_i k(x_i, c_l) of every centre."""
    from cvxopt import matrix, solvers, spmatrix

    solvers.options.update(show_progress=False, abstol=1e-12, reltol=1e-12, feastol=1e-12)
    ps, pt = (np.exp(-((z[:, None] - at["xt"][None, :20]) ** 2).sum(-1) / (2 * 3.0**2)) for z in (at["xs"], at["xt"]))
    f = pt / ps.mean(0)

    def problem(x=None, z=None):
        if x is None:
            return 0, matrix(np.full(20, 1 / 20))
        w = f @ np.array(x).ravel()
        if w.min() <= 0:
            return None
        slope = matrix(-(f / w[:, None]).mean(0)[None])
        value = matrix(-np.log(w).mean())
        if z is None:
            return value, slope
        return value, slope, z[0] * matrix((f / w[:, None]).T @ (f / w[:, None]) / len(f))

    g, h = spmatrix(-1.0, range(20), range(20)), matrix(np.zeros(20))
    found = solvers.cp(problem, g, h, A=matrix(np.ones((1, 20))), b=matrix(1.0))
    s = np.array(found["x"]).ravel()
    return {"kliep": ps @ (s / ps.mean(0))}


def quantification(at: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """QuaPy's own solver for the matrix of ACC (decisions) and PACC (probabilities), and its EM."""
    from quapy.method.aggregative import ACC, EMQ

    out = {}
    for name, make in (("hard", lambda p: np.eye(p.shape[1])[p.argmax(1)]), ("soft", lambda p: p)):
        told, target = make(at["told"]), make(at["target"])
        rates = np.stack([told[at["y"] == c].mean(0) for c in range(4)], 1)  # p(told i | class j)
        out[f"bbse_{name}"] = ACC.solve_adjustment(rates, target.mean(0), method="inversion", solver="exact-raise")
    out["mlls"], _ = EMQ.EM(np.full(4, 0.25), at["target"], epsilon=1e-12)
    return out


if __name__ == "__main__":
    at = inputs()
    made = {}
    for peer in (subspace_alignment, coral, target_shift, kernel_mean_matching, likelihood, quantification):
        made |= peer(at)
    peers = ("skada", "cvxopt", "quapy", "scikit-learn", "numpy")
    np.savez_compressed(OUT, **at, **made, versions=np.array([f"{p} {version(p)}" for p in peers]))
    print({name: value.shape for name, value in made.items()})
