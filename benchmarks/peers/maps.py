"""The classic maps by tlbench and by skada on pairs of the SURF features of Office-Caltech10, in turn.

`uv run --isolated --with skada==0.6.0 python benchmarks/peers/maps.py` prints a line of JSON a map and pair:
seconds of one thread of both, the fastest of 3, and how far apart they are (0: the same, up to what a map leaves open);
of optimal transport, where several plans may cost the same, what both plans cost, and whether a solver stopped early.
"""

import json
import time
import warnings
from collections.abc import Callable

import numpy as np
import skada
import torch
from scipy.spatial.distance import cdist
from tlbench_baselines.coral import recolored
from tlbench_baselines.ot_mapping import OTMapping, transport
from tlbench_baselines.subspace_alignment import aligned
from tlbench_baselines.tca import TCA

from tlbench.tasks import loaders, registry
from tlbench.training.convergence import heard

PAIRS = (("amazon", "webcam"), ("caltech10", "amazon"), ("webcam", "dslr"))
DIMS = 20
Pair = tuple[np.ndarray, np.ndarray]


def rows(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Every feature of mean 0, of length such that a variance is 1 on average."""
    domain = loaders.load(registry.find("office_caltech10_surf")[0].card, name, None, 0)
    x = np.asarray(domain.x, float)
    x = x / x.sum(1, keepdims=True)
    x = x - x.mean(0)
    return x / np.sqrt((x**2).mean()), domain.y


def peer(adapter: object, xs: np.ndarray, ys: np.ndarray, xt: np.ndarray) -> Pair:
    x, domain = np.concatenate([xs, xt]), np.repeat([1, -2], [len(xs), len(xt)])
    adapter.fit(x, np.concatenate([ys, np.full(len(xt), -1)]), sample_domain=domain)
    z = adapter.transform(x, sample_domain=domain, allow_source=True)
    return z[domain > 0], z[domain < 0]


def fastest(make: Callable[[], Pair]) -> tuple[float, Pair]:
    best = float("inf")
    for _ in range(3):
        start = time.process_time()
        made = make()
        best = min(best, time.process_time() - start)
    return best, made


def far(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def crosswise(a: Pair, b: Pair) -> float:
    """Of what a source row says to a target row: axes may have either sign."""
    return far(a[0] @ a[1].T, b[0] @ b[1].T)


def moved(a: Pair, b: Pair) -> float:
    return far(a[0], b[0])


def spanned(a: Pair, b: Pair) -> float:
    """The largest sine between what the components span: an eigenproblem leaves their lengths open."""
    (p, _), (q, _) = (np.linalg.qr(np.concatenate(z)) for z in (a, b))
    return float(np.sqrt(max(0.0, 1 - np.linalg.svd(p.T @ q)[1].min() ** 2)))


def of_ours(made: tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]], xt: np.ndarray) -> Pair:
    return made[0], made[1](xt)


def maps(xs: np.ndarray, ys: np.ndarray, xt: np.ndarray) -> dict[str, tuple[Callable[[], Pair], ...]]:
    """Of each map: ours, theirs, and how two results are held against each other."""
    tensors = torch.from_numpy(xs), torch.from_numpy(xt)
    return {
        "subspace alignment": (
            lambda: of_ours(aligned(xs, xt, DIMS), xt),
            lambda: peer(skada.SubspaceAlignmentAdapter(n_components=DIMS, random_state=0), xs, ys, xt), crosswise,
        ),
        "coral": (  # skada shrinks by half towards a multiple of 1, which is to add it whole
            lambda: (recolored(*tensors, 1.0, True).numpy(), xt),
            lambda: peer(skada.CORALAdapter(reg=0.5), xs, ys, xt), moved,
        ),
        "tca": (
            lambda: of_ours(TCA(dims=DIMS, kernel="linear").moved(xs, ys, xt, 0), xt),
            lambda: peer(skada.TransferComponentAnalysisAdapter("linear", DIMS, 0.1), xs, ys, xt), spanned,
        ),
    }  # fmt: skip


def transported(xs: np.ndarray, ys: np.ndarray, xt: np.ndarray) -> dict[str, object]:
    """Seconds of the map, the cost of both plans, and whether a solver stopped at its limit.

    One that stopped may have left mass where it was, and so be cheaper than the optimum: its plan is completed.
    """
    adapter = skada.OTMappingAdapter()
    own_s, _ = fastest(lambda: of_ours(OTMapping(plan="exact").moved(xs, ys, xt, 0), xt))
    with heard(UserWarning) as skadas:
        peer_s, _ = fastest(lambda: peer(adapter, xs, ys, xt))
    cost, theirs = cdist(xs, xt, "sqeuclidean"), completed(adapter.ot_transport_.coupling_)
    with heard() as ours:
        plan = transport(cost, ys, "exact", 0.0, 0.0)
    return {
        "ours_s": own_s, "theirs_s": peer_s, "ours_stopped": bool(ours),
        "theirs_stopped": any("numItermax" in text for text in skadas),
        "ours_cost": float((plan * cost).sum()), "theirs_cost": float((theirs * cost).sum()),
    }  # fmt: skip


def completed(plan: np.ndarray) -> np.ndarray:
    """The (n, m) plan with all of its mass: too full rows and columns are scaled down, what is missing goes from every
    row that has some left to every column that lacks some (Altschuler et al., NIPS 2017, algorithm 2)."""
    n, m = plan.shape
    plan = plan * np.minimum(1, 1 / n / np.maximum(plan.sum(1), 1e-300))[:, None]
    plan = plan * np.minimum(1, 1 / m / np.maximum(plan.sum(0), 1e-300))
    left, lacking = 1 / n - plan.sum(1), 1 / m - plan.sum(0)
    return plan + np.outer(left, lacking) / max(left.sum(), 1e-300)


def main() -> None:
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    for source, target in PAIRS:
        (xs, ys), (xt, _) = rows(source), rows(target)
        for name, (ours, theirs, apart) in maps(xs, ys, xt).items():
            (own_s, own), (peer_s, other) = fastest(ours), fastest(theirs)
            said = {"map": name, "pair": f"{source}-{target}", "ours_s": own_s, "theirs_s": peer_s}
            print(json.dumps({**said, "apart": apart(own, other)}), flush=True)
        said = {"map": "optimal transport", "pair": f"{source}-{target}"}
        print(json.dumps({**said, **transported(xs, ys, xt)}), flush=True)


if __name__ == "__main__":
    main()
