"""What methods answer on small fixed sets in a few steps: the evidence that a version still means what it meant.

So a rename, a move, another layout or a faster loop voids no row, and a momentum, a default or a term of a loss is seen
in the answers of every method that it concerns. The sets are asked in float64, where another processor moves an answer
by some 1e-8 of its size at most, and in five steps: noise grows with each, while five show a tenth of the weight decay.

What runs methods here runs in a worker's child; the rest compares.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from tlbench.errors import UsageError
from tlbench.methods import versions
from tlbench.methods.method import shipped
from tlbench.methods.versions import NETWORKS, TOOLKIT, Answers
from tlbench.runner.executors import Executor, forget
from tlbench.runner.sandbox.sandbox import Limits

TOLERANCE = 2e-7  # of the largest centred score; `tests/test_answers.py` measures noise below a tenth of that
LIMITS = Limits(seconds=600, memory_mib=8192)


@dataclass(frozen=True)
class Moved:
    """A method whose answers are not those that were recorded."""

    method: str
    why: str  # in words, the probe that moved most
    by: float  # of the largest centred score; infinite where there is nothing to compare


def libraries() -> dict[str, str]:
    """Versions here of what an answer may depend on."""
    found = {}
    for name in versions.LIBRARIES:
        try:
            found[name] = version(name).partition("+")[0]
        except PackageNotFoundError:
            found[name] = "none"
    return found


def other_libraries() -> str:
    """Those of another version here than the answers were recorded with, in words."""
    here, then = libraries(), versions.recorded()["libraries"]
    others = [name for name in here if here[name] != then.get(name)]
    return ", ".join(f"{name} {then.get(name, 'none')}, here {here[name]}" for name in others)


def names() -> list[str]:
    """All that has answers: the methods that ship, the toolkit, and the networks."""
    return [*shipped(), TOOLKIT, NETWORKS]


def asked(methods: Sequence[str], workers: Executor, tell: Callable[[int, str], None]) -> dict[str, Answers]:
    """Methods' answers as they are now, one method a core at a time.

    Args:
        tell: is told how many have answered, and which did last

    Raises:
        UsageError: one fails on a probe; says how.
    """
    found: dict[str, Answers] = {}
    todo, running = list(reversed(methods)), dict[int, str]()
    while todo or running:
        while todo and len(running) < (workers.slots or workers.cores):
            name = todo.pop()
            running[
                workers.submit(
                    {"kind": "tlbench.verification.answers:answer", "method": name}, workers.folder(), LIMITS
                )
            ] = name
        ended = workers.wait()
        name = running.pop(ended.id)
        if ended.report.get("status") != "ok":
            raise UsageError(f"answers of {name}: {ended.report.get('reason')}")
        found[name] = ended.report["answers"]
        forget(ended)
        tell(len(found), name)
    return {name: found[name] for name in methods}


def differing(method: str, now: Answers, then: Answers | None) -> Moved | None:
    """Whether answers moved; None where they did not. Sets that are asked for the first time say nothing of the others:
    see `unrecorded`.

    A method that needs what is not installed says that it does not apply: then nothing is compared.
    """
    if then is None:
        return Moved(method, "no answers of it are recorded", float("inf"))
    if now["fields"] != then["fields"]:
        changed = sorted(n for n in {*now["fields"], *then["fields"]} if now["fields"].get(n) != then["fields"].get(n))
        return Moved(method, f"the default of {', '.join(changed)} changed", float("inf"))
    if absent(now) or absent(then):
        return None
    if set(then["probes"]) - set(now["probes"]):
        return Moved(method, "it is not asked on every set that is recorded", float("inf"))
    apart = {name: distance(now["probes"][name], scores) for name, scores in then["probes"].items()}
    worst = max(apart, key=lambda name: apart[name], default="")
    return Moved(method, worst, apart[worst]) if worst and apart[worst] > TOLERANCE else None


def absent(answers: Answers) -> bool:
    """Whether nothing was answered, for lack of what the method needs installed."""
    return all(isinstance(scores, str) and "not installed" in scores for scores in answers["probes"].values()) and bool(
        answers["probes"]
    )


def distance(now: Any, then: Any) -> float:
    """The largest change of a score over the largest score; infinite where one of the two has no scores."""
    if isinstance(now, str) or isinstance(then, str):
        return 0.0 if now == then else float("inf")
    if [len(row) for row in now] != [len(row) for row in then]:
        return float("inf")
    pairs = [(a, b) for row, held in zip(now, then, strict=True) for a, b in zip(row, held, strict=True)]
    largest = max((abs(b) for _, b in pairs), default=0.0)
    change = max((abs(a - b) for a, b in pairs), default=0.0)
    return change / largest if largest else (0.0 if change == 0 else float("inf"))


def compared(now: Mapping[str, Answers]) -> list[Moved]:
    """The methods whose answers moved, and those that are recorded and ship no more."""
    held = versions.recorded()["methods"]
    moved = [m for name, found in now.items() if (m := differing(name, found, held.get(name)))]
    lost = [name for name in held if name not in names()] if not set(names()) - set(now) else []
    return moved + [Moved(name, "it ships no more", float("inf")) for name in lost]


def unrecorded(now: Mapping[str, Answers]) -> dict[str, list[str]]:
    """Of methods that are recorded, the sets that they are asked on for the first time, as of a new problem type."""
    held = versions.recorded()["methods"]
    known = {name: found for name, found in now.items() if name in held and not absent(found)}
    new = {name: [p for p in found["probes"] if p not in held[name]["probes"]] for name, found in known.items()}
    return {name: probes for name, probes in new.items() if probes}


def update(now: Mapping[str, Answers], why: str) -> list[Moved]:
    """Record answers: methods that moved get the next version, for the reason that is given. Returns those. Answers on
    new sets are recorded under the version that there is: no row rests on them.

    Raises:
        UsageError: not every method was asked, and the networks moved, which all are given, or the libraries are
            others.
    """
    recorded, whole = versions.recorded(), not set(names()) - set(now)
    moved, held, gone = compared(now), dict(recorded["methods"]), dict(recorded["gone"])
    other = bool(held) and libraries() != recorded["libraries"]
    networks = NETWORKS in held and NETWORKS in {m.method for m in moved}
    if not whole and (other or networks):
        what = f"{NETWORKS} moved, which all methods are given" if networks else "recorded with other libraries"
        raise UsageError(f"answers: {what}; name no method, that all are recorded")
    if networks:
        here = {m.method for m in moved}
        moved += [Moved(name, "its network changed", float("inf")) for name in now if name not in here]
    for m in moved:
        before = held.get(m.method, {"version": gone.pop(m.method, 0), "why": []})
        if m.method not in now:  # whoever takes its name later goes on counting
            gone[m.method] = held.pop(m.method)["version"]
            continue
        number = before["version"] + 1
        held[m.method] = {"version": number, "why": [*before["why"], [number, why]], **now[m.method]}
    for name in unrecorded(now):
        held[name] = {**held[name], "probes": {**held[name]["probes"], **_new(now[name], held[name])}}
    if other:
        held |= {name: {**held[name], **found} for name, found in now.items() if not absent(found)}
    write(versions.place(), held, gone)
    versions.recorded.cache_clear()
    return moved


def _new(now: Answers, then: Answers) -> Answers:
    return {name: scores for name, scores in now["probes"].items() if name not in then["probes"]}


def write(file: Path, methods: Mapping[str, Mapping[str, Any]], gone: Mapping[str, int]) -> None:
    """The file whole or not at all: a line a probe, so that a change shows which."""
    lines = ["{", f'"libraries": {json.dumps(libraries())},', f'"gone": {json.dumps(gone)},', '"methods": {']
    for i, (name, entry) in enumerate(sorted(methods.items())):
        probes = [f"  {json.dumps(p)}: {json.dumps(s, separators=(',', ':'))}" for p, s in entry["probes"].items()]
        head = {key: entry[key] for key in ("version", "why", "fields")}
        lines.append(f'{json.dumps(name)}: {json.dumps(head)[:-1]}, "probes": {{')
        lines.append(",\n".join(probes))
        lines.append("}}" + ("," if i < len(methods) - 1 else ""))
    temporary = file.with_suffix(".tmp")
    temporary.write_text("\n".join([*lines, "}}"]) + "\n", encoding="utf-8")
    temporary.replace(file)


def answer(job: dict[str, Any], folder: Path) -> dict[str, Any]:
    """A worker's job: what a method that ships answers."""
    return {"answers": answered(job["method"])}


def answered(method: str) -> Answers:
    """A method's answers, by running it. Only in a worker's child."""
    import torch

    from tlbench.verification import probes

    torch.set_num_threads(1)
    with in_float64():
        own = {TOOLKIT: probes.toolkit, NETWORKS: probes.networks}
        return own[method]() if method in own else probes.shipped(method)


@contextmanager
def in_float64() -> Iterator[None]:
    """Within, networks and inputs are float64, those too that ask for float32 by name."""
    import torch

    plain, kind = torch.Tensor.float, torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    torch.Tensor.float = torch.Tensor.double  # type: ignore[method-assign]
    try:
        yield
    finally:
        torch.set_default_dtype(kind)
        torch.Tensor.float = plain  # type: ignore[method-assign]
