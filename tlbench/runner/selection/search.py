"""Which hyperparameters a method's trials have: trial 0 the published ones, the others a fixed design.

The design is the same for every task, budget and seed: it sees no data. Before repetitions are left out it is a sliced
Latin hypercube (Qian, JASA 2012): trials 1 to 7 are one in each of 7 strata of every knob's range, so are 8 to 14 and
15 to 21, and the 21 together are one in each of 21 strata. A knob's order of strata and the places inside them come
from SHA-256 of its name, so that

- methods that share a knob and its range, as most do `lr`, have the same values of it in the same trials;
- the first M trials are those of a run with `--trials M`, whatever came later;
- no library's random stream is asked.

The place in [0, 1) is mapped onto the knob's range in `search`, and floats are rounded to 4 significant digits, so that
the last bit of a logarithm does not make another configuration. A trial that would repeat an earlier one's, as in a
short list of choices, is left out, and the next takes its number.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache
from typing import Any

from tlbench.methods.method import Description, Field
from tlbench.tasks.split import sha

FEW, MANY = 8, 20  # trials of a method that takes gradient steps, and of one that does not; the default among them
SLICE, SLICES = 7, 3
MOST = 1 + SLICE * SLICES
SALT = "tlbench/trial/32"  # of 1 to 399, the one under which knobs that ship together move together least


def trials_of(method: Description) -> int:
    """How many trials a method has by default, trial 0 among them."""
    return 1 if not method.search else FEW if descends(method) else MANY


def descends(method: Description) -> bool:
    """Whether a method takes gradient steps, as far as its fields tell."""
    return any(f.name == "steps" for f in method.fields)


def design(method: Description, n: int) -> tuple[Description, ...]:
    """Trials 0 to n - 1 of a method, or fewer where its search has no more: itself, then with its knobs moved.

    A knob that `--set` has moved already stays where it was set.

    Args:
        n: 1 to `MOST`
    """
    if not 1 <= n <= MOST:
        raise ValueError(f"{n} trials; the design has 1 to {MOST}")
    return _design(method)[:n]


@cache  # by identity: a cell's method is compared by it
def _design(method: Description) -> tuple[Description, ...]:
    known = {f.name: f for f in method.fields}
    knobs = [name for name in sorted(method.search) if method.config[name] == known[name].default]
    configs = [method.config]
    for i in range(1, MOST if knobs else 1):
        moved = {k: value(known[k], method.search[k], position(k, i)) for k in knobs}
        if {**method.config, **moved} not in configs:
            configs.append({**method.config, **moved})
    return (method, *(replace(method, config=config) for config in configs[1:]))


def value(field: Field, space: tuple[Any, ...], u: float) -> Any:
    """The value at `u` in [0, 1) of a knob's range: ('log' or 'linear', low, high), or ('choice', one, another, ...).

    A whole number stays one: every whole number of a linear range has an equal share.
    """
    kind, *ends = space
    if kind == "choice":
        return ends[int(u * len(ends))]
    low, high = ends
    whole = "int" in field.type and "float" not in field.type
    if kind == "linear":
        return math.floor(low + u * (high - low + 1)) if whole else _rounded(low + u * (high - low))
    found = math.exp(math.log(low) + u * (math.log(high) - math.log(low)))
    return min(high, max(low, round(found))) if whole else _rounded(found)


def _rounded(x: float) -> float:
    return float(f"{x:.4g}")


def position(knob: str, i: int) -> float:
    """Where trial `i` >= 1 is in a knob's range, in [0, 1)."""
    part, place = divmod(i - 1, SLICE)
    stratum = _order(SLICE, "strata", knob, part)[place]
    within = _order(SLICES, "within", knob, stratum)[part]
    jitter = int(sha(SALT, "jitter", knob, i)[:12], 16) / 16**12
    return (stratum + (within + jitter) / SLICES) / SLICE


def _order(n: int, *salt: object) -> list[int]:
    """0 to n - 1 in the order of their hashes."""
    return sorted(range(n), key=lambda j: sha(SALT, *salt, j))
