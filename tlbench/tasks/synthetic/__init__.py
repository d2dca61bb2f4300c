"""The calibration suite: tasks with a known answer, which prove that the harness measures what it says.

`domain` draws the data. What a learner must reach on them, and the learners, are in `tlbench.verification.known_truth`.
Nothing here enters a ranking.
"""

from __future__ import annotations

from collections.abc import Callable

from tlbench.data import Domain
from tlbench.errors import UsageError, suggest
from tlbench.tasks.synthetic import shifts

SUITES: dict[str, tuple[Callable[[str, int], Domain], tuple[str, ...]]] = {
    "cal1": (shifts.cal1, (*shifts.CAL1, "target")),
    "cal2": (shifts.cal2, ("source", *shifts.CAL2)),
    "cal3": (shifts.cal3, (*shifts.CAL3, "target", "twintarget")),
    "cal4": (shifts.cal4, ("plain", *shifts.CAL4_MOVED, *shifts.CAL4_TURNED, "upright")),
    "cal5": (shifts.cal5, (*(f"b{j + 1}" for j in range(shifts.RANK)), *shifts.CAL5)),
    "cal6": (shifts.cal6, (*shifts.CAL6, "target")),
    "cal7": (shifts.cal7, ("source", "target")),
    "cal8": (shifts.cal8, (*shifts.CAL8, "target")),
    "cal9": (shifts.cal9, (*shifts.CAL9, "target")),
    "cal10": (shifts.cal10, (*shifts.CAL10, "target", "placebo")),
}  # suite -> what draws its domains, and their names


def domain(suite: str, name: str, seed: int) -> Domain:
    """A domain of a calibration suite, drawn anew for every seed.

    All domains of one (suite, seed) share their true parameters. A target's official test part has 20,000 samples
    (10,000 in cal10's placebo). Where a number is predicted, its labels are free of noise.

    Args:
        suite: 'cal1' to 'cal10'
        name: one of `SUITES[suite][1]`

    Raises:
        UsageError: no such suite, or no such domain in it; says what is close.
    """
    if suite not in SUITES:
        raise UsageError(f"unknown calibration suite {suite!r}{suggest(suite, SUITES)}")
    make, names = SUITES[suite]
    if name not in names:
        raise UsageError(f"{suite}: unknown domain {name!r}{suggest(name, names)}")
    return make(name, seed)
