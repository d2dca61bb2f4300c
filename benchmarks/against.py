"""What a change costs or saves: two states of tlbench run by turns on one machine, and the ratio of their seconds.

    uv run python benchmarks/against.py HEAD~1 .
    uv run python benchmarks/against.py main . --workload cell --workload list --repeats 10 --json
    uv run python benchmarks/against.py HEAD~1 . -- run --task digits/fonts-photos --method dann --set steps=50

OLD and NEW are revisions of git, or folders of checkouts, taken as they are. Both run the same command in the same
Python environment, each with its own code and cache. A command that runs cells finds an empty store, another one a copy
of its side's results. A command's own files are named by absolute paths: it stands in an empty folder.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import resource
import shlex
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

WORKLOADS = {
    "main": "run --task digits --method dann --seeds 0 --set steps=50",
    "cell": "run --task digits/fonts-photos --method dann --seeds 0 --budgets 5 --set steps=200",
    "leaderboard": "leaderboard --check",
    "list": "list tasks",
}
RUNNING = ("run", "time", "reproduce", "selftest", "worker")  # commands that want an empty store
PACKAGES = {"tlbench": "tlbench", "tlbench_baselines": "baselines", "tlbench_tasks": "tasks"}  # as pyproject.toml says
START = "from tlbench.cli import main; main()"
FILES = f"import {', '.join(PACKAGES)}; print({', '.join(f'{name}.__file__' for name in PACKAGES)}, sep=chr(10))"
FEWEST = 5
PR_SET_CHILD_SUBREAPER = 36


class Failure(Exception):
    """What cannot be measured, in one line."""


@dataclass(frozen=True)
class Cost:
    """Of one run: seconds of processors, of it and of all that it started, and seconds by the clock."""

    cpu_s: float
    wall_s: float


@dataclass(frozen=True)
class Side:
    """A state of tlbench: its checkout, and a folder for what it needs beside that."""

    name: str  # OLD or NEW
    given: str
    tree: Path
    commit: str | None
    folder: Path

    def prepare(self) -> None:
        """Lay out the folder. Raises Failure where Python does not take the packages from the checkout."""
        for name in ("code", "here", "tmp"):
            (self.folder / name).mkdir(parents=True)
        for package, part in PACKAGES.items():
            (self.folder / "code" / package).symlink_to(self.tree / part)
        words = [sys.executable, "-c", FILES]
        done = subprocess.run(words, cwd=self.folder / "here", env=self.environment(), capture_output=True, text=True)
        if done.returncode:
            raise Failure(f"{self.name} ({self.given}) cannot be imported: {last_line(done.stderr)}")
        for file, part in zip(done.stdout.splitlines(), PACKAGES.values(), strict=True):
            if Path(file).resolve().parent != self.tree / part:
                raise Failure(f"{self.name} ({self.given}): Python takes {part} from {file}")

    def environment(self) -> dict[str, str]:
        """The caller's, with this side's code first: an editable install is asked after PYTHONPATH."""
        path = [str(self.folder / "code"), *filter(None, [os.environ.get("PYTHONPATH")])]
        places = {"TLBENCH_CACHE": "cache", "TLBENCH_RESULTS": "store/results", "TMPDIR": "tmp"}
        own = {name: str(self.folder / place) for name, place in places.items()}
        return {**os.environ, **own, "PYTHONPATH": os.pathsep.join(path)}

    def run(self, words: Sequence[str], cold: bool) -> Cost:
        """Run a command line of tlbench once, on a fresh store. Raises Failure where it or one of its cells fails."""
        for name in ("store", "cache") if cold else ("store",):
            shutil.rmtree(self.folder / name, ignore_errors=True)
        if not empty(words):
            shutil.copytree(self.tree / "results", self.folder / "store" / "results")
            shutil.copy(self.tree / "leaderboard.md", self.folder / "store")
        try:
            cost = measured([sys.executable, "-c", START, *words], self.environment(), self.folder / "here")
            if bad := [row for row in self.rows(words) if row["status"] == "failed"]:
                raise Failure(f"has failed cells, {len(bad)} of them; {bad[0]['method']}: {bad[0]['reason']}")
        except Failure as failure:
            raise Failure(f"{self.name} ({self.given}): tlbench {words[0]} {failure}") from None
        return cost

    def rows(self, words: Sequence[str]) -> list[dict[str, Any]]:
        """What the last run added to an empty store."""
        files = sorted((self.folder / "store").rglob("rows.jsonl")) if empty(words) else []
        return [json.loads(line) for file in files for line in file.read_text(encoding="utf-8").splitlines()]


def empty(words: Sequence[str]) -> bool:
    """Whether a command line wants an empty store."""
    return words[0] in RUNNING and "--check" not in words


def last_line(text: str) -> str:
    """The last line that is not blank; '' where there is none."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")


def measured(command: Sequence[str], environment: dict[str, str], folder: Path) -> Cost:
    """Run a command in a folder. Raises Failure where it exits with another code than 0."""
    known, before, start = children(), children_cpu(), time.perf_counter()
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        null = subprocess.DEVNULL
        process = subprocess.Popen(command, env=environment, cwd=folder, stdin=null, stdout=out, stderr=err)
        try:
            code, wall = process.wait(), time.perf_counter() - start
        except KeyboardInterrupt:
            process.send_signal(signal.SIGINT)  # it ends its own workers
            with suppress(subprocess.TimeoutExpired):
                process.wait(10)
            raise
        finally:
            end(children() - known)  # seconds of a process count for the one that waits for it
        if code:
            said = [last_line(stream.read().decode(errors="replace")) for stream in (err, out) if not stream.seek(0)]
            raise Failure(f"exits with {code}: {said[0] or said[1] or 'it says nothing'}")
    return Cost(children_cpu() - before, wall)


def children_cpu() -> float:
    """Seconds of processors of all children that were waited for, and of those that they waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def children() -> set[int]:
    """This process's, orphans among them that it has adopted; none where the system does not list them."""
    return {int(pid) for file in Path("/proc/self/task").glob("*/children") for pid in file.read_text().split()}


def end(left: set[int]) -> None:
    """Kill children and wait for them."""
    for pid in left:
        with suppress(ChildProcessError, ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def interleaved(take: Callable[[int], Cost], repeats: int, label: str) -> list[list[Cost]]:
    """Costs of both sides by repeat, in the order 0 1 1 0 0 1: drift falls on both. A first run of each warms up."""
    order, costs = [0, 1, *((0, 1, 1, 0)[i % 4] for i in range(2 * repeats))], [list[Cost](), list[Cost]()]
    with Progress(console=Console(stderr=True), transient=True, speed_estimate_period=1e6) as shown:
        for done, side in enumerate(shown.track(order, description=label)):
            if not shown.console.is_terminal:
                left = shown.tasks[0].time_remaining
                about = "" if left is None else f", about {left:.0f} s left"
                print(f"{label}: {done} of {len(order)} runs{about}", file=sys.stderr, flush=True)
            costs[side].append(take(side))
    return [side[1:] for side in costs]


def compared(costs: Sequence[Sequence[Cost]]) -> dict[str, dict[str, dict[str, float]]]:
    """Medians and ranges of CPU and wall seconds, and of new / old of the runs that stood side by side.

    The range of n such ratios holds their true median with a probability of 1 - 2^(1 - n): 94 % of five.
    """
    table = {}
    for kind in ("cpu_s", "wall_s"):
        old, new = ([float(getattr(cost, kind)) for cost in side] for side in costs)
        columns = {"old": old, "new": new, "ratio": [b / a for a, b in zip(old, new, strict=True)]}
        table[kind] = {k: {"median": statistics.median(v), "min": min(v), "max": max(v)} for k, v in columns.items()}
    return table


@contextmanager
def checked_out(given: str, place: Path) -> Iterator[tuple[Path, str | None]]:
    """A folder's tree or a revision's, and its commit. A revision's is a worktree at `place` while the block runs."""
    tree, revision = Path(given).resolve(), None
    if not (tree / "tlbench").is_dir():
        tree, revision = place, git(".", "rev-parse", "--verify", "--quiet", f"{given}^{{commit}}")
        if revision is None:
            raise Failure(f"{given} is neither a folder with tlbench in it nor a revision of git")
    try:
        hooks = ("-c", "core.hooksPath=/dev/null")
        if revision and git(".", *hooks, "worktree", "add", "--detach", str(tree), revision) is None:
            raise Failure(f"{given}: git cannot check it out into a worktree")
        if missing := [part for part in PACKAGES.values() if not (tree / part / "__init__.py").is_file()]:
            raise Failure(f"{given} has no {missing[0]}/__init__.py: it is no checkout of tlbench")
        commit = git(str(tree), "describe", "--always", "--abbrev=10", "--dirty", "--exclude=*")
        yield tree, commit if (tree / ".git").exists() else None
    finally:
        if revision:
            git(".", "worktree", "remove", "--force", "--force", str(tree))


def git(folder: str, *words: str) -> str | None:
    """What git says; None where it fails. Ctrl-C does not reach it: it would leave half of a worktree."""
    done = subprocess.run(["git", "-C", folder, *words], capture_output=True, text=True, start_new_session=True)
    return None if done.returncode else done.stdout.strip()


def measure(words: Sequence[str], sides: Sequence[Side], repeats: int, cold: bool) -> dict[str, Any]:
    """One command line on both sides. The work of each is told too: a run that does less is not a faster one."""
    costs = interleaved(lambda i: sides[i].run(words, cold), repeats, f"tlbench {words[0]}")
    configs = {side.name: [row["config"] or {} for row in side.rows(words)] for side in sides}
    work = {k: {"cells": len(v), "steps": sum(int(c.get("steps") or 0) for c in v)} for k, v in configs.items()}
    runs = {side.name: [asdict(cost) for cost in counted] for side, counted in zip(sides, costs, strict=True)}
    return {"command": words, **compared(costs), "work": work, "runs": runs}


def against(given: argparse.Namespace, commands: Sequence[Sequence[str]]) -> dict[str, Any]:
    """Command lines on both sides, and what the sides are."""
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="against-"))).resolve()
        sides = []
        for name, place in (("OLD", given.old), ("NEW", given.new)):
            found = stack.enter_context(checked_out(place, root / name / "tree"))
            sides.append(Side(name, place, *found, root / name))
            sides[-1].prepare()
        results = [measure(words, sides, given.repeats, given.cold) for words in commands]
    states = {side.name: {"given": side.given, "commit": side.commit} for side in sides}
    return {"sides": states, "repeats": given.repeats, "cold": given.cold, "results": results}


def told(report: dict[str, Any]) -> str:
    """A report as lines. A difference is shown where all pairs agree on it."""
    lines = [", ".join(f"{k} is {v['given']} ({v['commit'] or 'no commit'})" for k, v in report["sides"].items())]
    for result in report["results"]:
        lines.append(f"tlbench {shlex.join(result['command'])}")
        for kind, name in (("cpu_s", "CPU s"), ("wall_s", "wall s")):
            old, new, ratio = ("{median:.3f} ({min:.3f} to {max:.3f})".format(**v) for v in result[kind].values())
            r = result[kind]["ratio"]
            said = "NEW takes less" if r["max"] < 1 else "NEW takes more" if r["min"] > 1 else "no difference shown"
            lines.append(f"  {name:<6}  OLD {old}   NEW {new}   NEW/OLD {ratio}: {said}")
        if result["work"]["OLD"] != result["work"]["NEW"]:
            lines.append(f"  note: not the same work: {result['work']}")
    n = report["repeats"]
    lines.append(f"medians and ranges of {n}; a range holds the true ratio with {100 * (1 - 2 ** (1 - n)):.0f} %")
    return "\n".join(lines)


def arguments(line: Sequence[str]) -> tuple[argparse.Namespace, list[list[str]]]:
    """The options, and the command lines to be measured."""
    cut = line.index("--") if "--" in line else len(line)
    usage = "against.py OLD NEW [options] [-- command line of tlbench]"
    parser = argparse.ArgumentParser("against", usage, __doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", metavar="OLD")
    parser.add_argument("new", metavar="NEW")
    parser.add_argument("--workload", action="append", default=[], choices=WORKLOADS, help="repeatable [default: main]")
    parser.add_argument("--repeats", type=int, default=6, help=f"runs counted a side, {FEWEST} or more [default: 6]")
    parser.add_argument("--cold", action="store_true", help="empty the cache before each run")
    parser.add_argument("--json", action="store_true", help="print JSON")
    given, theirs = parser.parse_args(line[:cut]), list(line[cut + 1 :])
    if given.repeats < FEWEST:
        parser.error(f"--repeats {given.repeats}: {FEWEST} or more tell a difference from noise")
    if any(word.partition("=")[0] == "--results" for word in theirs):
        parser.error("--results: each run has a store of its own; leave it out")
    named = given.workload or ([] if theirs else ["main"])
    return given, [shlex.split(WORKLOADS[name]) for name in named] + ([theirs] if theirs else [])


def main() -> int:
    """The script. Returns its exit code: 2 for what cannot be measured, 130 when it is stopped."""
    given, commands = arguments(sys.argv[1:])
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what was checked out goes then too
    if sys.platform == "linux":  # orphans below fall to this process, which ends and counts them
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        report = against(given, commands)
    except Failure as failure:
        print(f"against: {failure}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("against: stopped", file=sys.stderr)
        return 130
    print(json.dumps(report, indent=1) if given.json else told(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
