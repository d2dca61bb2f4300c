"""Whether a job's own clocks account for its life, as its server and the kernel measured it from outside."""

from __future__ import annotations

from tlbench.runner.worker.local import Ended

OWN = ("setup_s", "fit_s", "predict_s", "rest_s")  # what a job says it spent its life with; the rest holds the extras
LEAST_S, SHARE = 2.0, 0.1  # to be born and to die, on a busy machine
SETUP_S = 60.0  # to import a method and open its inputs, from a cold disk
LONGEST_S = 1e9  # NaN, infinity and whole numbers beyond all floats are no seconds
CPU_LEAST_S = 1.0  # of processors, which a busy machine does not add to


def check(ended: Ended, threads: int) -> None:
    """Hold what a job says against what was seen.

    It may leave 2 s and a tenth of its life unexplained: its start, its end, waiting for a processor; as much beside
    fitting and predicting, unless it was asked for more; and a minute beyond the time of those before it fits. Of
    processors it may have had 1 s more than its threads and two of a library's could use in the time that it names: a
    clock that was set back cannot hide work from the kernel.

    Raises:
        ValueError: its clocks do not count what it ran for; says both.
    """
    if ended.lived_s is None or ended.cpu_s is None:
        return
    told = [ended.report.get(name, 0.0) for name in (*OWN, "extra_s")]
    if not all(isinstance(t, int | float) and 0 <= t <= LONGEST_S for t in told):
        raise ValueError("the report is not one of a worker's: a time is no number of seconds")
    setup, fit, predict, rest, extra = map(float, told)
    own, free = setup + fit + predict + rest, LEAST_S + SHARE * ended.lived_s
    if abs(ended.lived_s - own) > free:
        raise ValueError(f"its own clock counts {own:.1f} s of the {ended.lived_s:.1f} s that it ran")
    if ended.cpu_s > CPU_LEAST_S + own * (threads + 2):
        raise ValueError(f"its own clock counts {own:.1f} s, in which it cannot have used {ended.cpu_s:.1f} s of CPU")
    if not ended.more and max(rest, extra) > free:
        raise ValueError(f"it spent {max(rest, extra):.1f} s beside fitting and predicting")
    if setup > SETUP_S + fit + predict:
        raise ValueError(f"it spent {setup:.1f} s before it fitted")
