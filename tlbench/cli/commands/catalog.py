"""What there is: `list`, `show`, and the `data` commands; of a task, the terms, origin and size of its data."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tlbench.errors import UsageError, suggest
from tlbench.methods import method
from tlbench.methods import method as methods
from tlbench.methods.method import Description
from tlbench.runner import descriptions, places
from tlbench.runner.cell import Conditions
from tlbench.runner.cell_job import Bench
from tlbench.runner.executors import Executor
from tlbench.runner.sandbox.sandbox import Limits
from tlbench.runner.selection.rules import RULES
from tlbench.tasks import card, loaders, own, registry, split_digests
from tlbench.tasks.card import CORE_BUDGETS, EXTENDED_BUDGETS, FULL
from tlbench.tasks.datasets import fetch
from tlbench.tasks.datasets import pretrained as backbone
from tlbench.tasks.datasets.dataset import DatasetCard
from tlbench.tasks.datasets.pretrained import weights_file
from tlbench.tasks.task_name import suite_of

NO_DOWNLOAD = {
    "embedded": "made from what tlbench's dependencies ship",
    "generated": "drawn anew for every seed, from a law that is known",
    "weights": "the pretrained weights are the source",
}
NO_CHECKSUM = "none published; what is pulled is recorded in SHA256SUMS"


def task_facts(name: str) -> dict[str, Any]:
    """The card that a task's name means, its tasks, and each dataset it uses; of a user's own what was filled in.

    Raises:
        UsageError: nothing is called that.
    """
    tasks = registry.find(name)
    c = tasks[0].card
    values = {**c.model_dump(mode="json"), "at": c.model_dump(mode="json", exclude_unset=True).get("at")}
    values.update(metric=c.metric, tasks=[t.name for t in tasks])
    if tasks[0].file and not registry.ships(Path(tasks[0].file)):
        values["filled in"] = sorted(c.model_fields_set - own.said(Path(tasks[0].file)))
    values["datasets"] = {d: dataset_facts(fetch.dataset(d)) for d in c.datasets}
    loaders = {d: str(c.place(d).loader) for d in c.all_domains}
    values["no download"] = {d: NO_DOWNLOAD[loader] for d, loader in loaders.items() if loader in NO_DOWNLOAD}
    return {k: v for k, v in _said_of(values).items() if v is not None}


def dataset_facts(d: DatasetCard) -> dict[str, Any]:
    """A dataset's terms, origin, size and checksum: of its manifest, or of each archive."""
    mirrors = [m for part in d.parts for m in part.mirrors]
    archives = dict.fromkeys(m.digest for m in mirrors if m.digest)
    return {
        "title": d.title, "license": d.license, "terms": d.terms, "cite": d.cite, "homepage": d.homepage,
        "size": fetch.human(d.bytes), "counts": d.counts,
        "addresses": list(dict.fromkeys(m.url for m in mirrors)),
        "checksum": f"{d.checksum} of {d.manifest}" if d.checksum else ", ".join(archives) or NO_CHECKSUM,
        "folder": str(fetch.where(d) or "missing"),
    }  # fmt: skip


def _said_of(value: Any) -> Any:
    """Without what says nothing: None for an empty value, tables without their empty entries."""
    if isinstance(value, dict):
        return {k: kept for k, v in value.items() if (kept := _said_of(v)) is not None} or None
    return None if value in ("", []) else value


AT_MOST = Limits(seconds=60)  # to describe a plugin: one that hangs when it is imported must not hold up the list
KINDS = ("tasks", "methods", "budgets", "backbones", "rules")


def show_list(what: str, as_json: bool) -> None:
    """Print one kind of thing, a line each.

    Raises:
        UsageError: an unknown kind.
    """
    if what not in KINDS:
        raise UsageError(f"list {what}: unknown{suggest(what, KINDS)}")
    made = {"tasks": _tasks, "methods": _methods, "budgets": _budgets, "backbones": _backbones, "rules": _rules}
    entries = made[what]()
    if as_json:
        print(json.dumps(entries, ensure_ascii=False))
        return
    width = max(len(str(e["name"])) for e in entries)
    for e in entries:
        print(f"{e['name']!s:<{width}}  {e['summary']}")


def _tasks() -> list[dict[str, Any]]:
    found = []
    for file in registry.card_files().values():
        c = registry.read(file)
        pairs = card.tasks_of(c)
        summary = f"{c.summary} [{card.PARADIGMS[c.paradigm]}; {len(pairs)} task{'s' * (len(pairs) > 1)}]"
        found.append({"name": c.name, "summary": summary, "tasks": [t.name for t in pairs]})
    return found


def _methods() -> list[dict[str, Any]]:
    with places.executor(
        modules=[f"tlbench_baselines.{name}" for name in methods.shipped()]
    ) as workers:  # imported once
        return [_listed(descriptions.described(name, {}, workers)) for name in methods.shipped()] + _installed(workers)


def _listed(d: Description) -> dict[str, Any]:
    return {"name": d.name, "summary": f"{d.summary} [{d.family}]", "paper": d.paper}


def _installed(workers: Executor) -> list[dict[str, Any]]:
    """Plugins, each described by a worker; a broken one with its error, beside the others."""
    found = []
    for name in method.installed():
        try:
            found.append(_listed(descriptions.described(name, {}, workers, AT_MOST)))
        except UsageError as broken:
            error = str(broken).removeprefix(f"method {name!r}: ")
            found.append({"name": name, "summary": f"broken: {error}", "paper": "", "error": error})
    return found


def _budgets() -> list[dict[str, Any]]:
    core = [{"name": k, "summary": "core: labels per class of the target"} for k in CORE_BUDGETS]
    more = [{"name": k, "summary": "extended"} for k in EXTENDED_BUDGETS]
    return [*core, *more, {"name": FULL, "summary": "every label of the pool: the skyline, never ranked"}]


def _backbones() -> list[dict[str, Any]]:
    built_in = [{"name": n, "summary": s, "weights": None} for n, s in backbone.BUILT_IN.items()]
    pretrained = []
    for name in backbone.backbone_files():
        file = weights_file(name)
        there = "weights at hand" if file else "weights missing"
        c = backbone.read(name)
        pretrained.append({"name": name, "summary": f"{c.summary} [{there}]", "weights": str(file) if file else None})
    return built_in + pretrained


def _rules() -> list[dict[str, Any]]:
    """Each with the labels that it touches."""
    return [
        {"name": r.name, "summary": f"{r.summary} [{r.touches}]", "touches": r.touches, "ranked": r.ranked}
        for r in RULES.values()
    ]


def show(name: str, as_json: bool) -> None:
    """Print all about one task or method.

    Raises:
        UsageError: nothing is called that.
    """
    suite, found = suite_of(name), method.installed()
    if name not in found and (suite in registry.card_files() or name.endswith(".toml")):
        values = task_facts(name)
    elif name in methods.shipped() or name in found or ":" in name:
        with places.executor() as workers:
            d = descriptions.described(name, {}, workers)
        fields = {f.name: f"{f.type}, {'the card decides' if f.default is None else f.default}" for f in d.fields}
        values = {**asdict(d), "fields": fields, "needs": list(d.needs), "ignores": list(d.ignores)}
        del values["config"], values["spec"]
    else:
        known = {*registry.card_files(), *methods.shipped()}
        raise UsageError(f"show {name}: no task or method of that name{method.suggestion(name, known)}")
    if as_json:
        print(json.dumps(values, ensure_ascii=False))
    else:
        _print_values(values)


def show_split(name: str, seed: int, root: Path | None) -> None:
    """Print the manifest of a task's target as canonical JSON: its SHA-256 is the split of the rows."""
    bench = Bench(Conditions(root, changed_data=True))
    print(bench.split(registry.find(name)[0], seed).canonical, end="")


def freeze(names: Sequence[str], root: Path | None) -> None:
    """Write the digests of suites: of each domain's content and of each target's splits; what is not here stays."""
    for name in names:
        tasks, bench = registry.find(name), Bench(Conditions(root, changed_data=True))
        targets = {t.target: t for t in tasks if loaders.available(t.card, t.target, root)}
        made = [bench.split(t, seed) for t in targets.values() for seed in range(t.card.seeds)]
        c, sampled = tasks[0].card, dict.fromkeys(d for t in tasks for d in (*t.sampled, t.target))
        fixed = [d for d in sampled if loaders.available(c, d, root) and not loaders.drawn_anew(c, d)]
        file = split_digests.freeze(c, made, [bench.domain(c, d, 0) for d in fixed])
        print(f"{file}: {len(made)} splits of {', '.join(targets)}; content of {', '.join(fixed)}")


def _print_values(values: dict[str, Any], indent: int = 0) -> None:
    width = max(len(k) for k in values)
    for k, v in values.items():
        if isinstance(v, dict) and v:
            print(" " * indent + k)
            _print_values(v, indent + 2)
        else:
            text = ", ".join(map(str, v)) if isinstance(v, list | tuple) else str(v)
            print(f"{' ' * indent}{k:<{width}}  {text}")


def pull(names: Sequence[str], root: Path | None, mirror: str | None) -> None:
    """Fetch datasets and backbones' weights.

    Raises:
        UsageError: nothing is called that, or no address delivers.
    """
    for name in names:
        if name in backbone.backbone_files():
            print(f"{name}: {backbone.pull(name)}")
            continue
        if name not in fetch.datasets() and name not in registry.card_files():
            raise UsageError(
                f"data pull {name}: unknown{suggest(name, [*fetch.datasets(), *backbone.backbone_files()])}"
            )
        print(f"{name}: {fetch.pull(_dataset(name), root, mirror)}")


def _dataset(name: str) -> fetch.DatasetCard:
    """The dataset of that name, or that a task of that name uses."""
    if name not in fetch.datasets() and name in registry.card_files():
        used = registry.read(registry.card_files()[name]).data
        if used is None:
            raise UsageError(f"{name} needs no download: it is made from what tlbench's dependencies ship")
        name = used
    return fetch.dataset(name)


def where(names: Sequence[str], root: Path | None, as_json: bool) -> None:
    """Print each dataset's folder."""
    found = {name: fetch.where(_dataset(name), root) for name in names or fetch.datasets()}
    if as_json:
        print(json.dumps({name: str(place) if place else None for name, place in found.items()}))
        return
    for name, place in found.items():
        print(f"{name}: {place}" if place else fetch.missing(_dataset(name)))


def verify(names: Sequence[str], root: Path | None, as_json: bool) -> int:
    """Check the files of datasets at hand. Returns 1 when one differs from its manifest."""
    problems: dict[str, list[str]] = {}
    for name in names or [n for n in fetch.datasets() if fetch.where(fetch.dataset(n), root)]:
        place = fetch.where(_dataset(name), root)
        problems[name] = fetch.verify(_dataset(name), place) if place else [fetch.missing(_dataset(name))]
    if as_json:
        print(json.dumps(problems, ensure_ascii=False))
    else:
        for name, said in problems.items():
            place = fetch.where(_dataset(name), root)
            notes = fetch.lacking(_dataset(name), place) if place else []
            good = f"{'what is here' if notes else 'every file'} is as it should be"
            print(f"{name}: {f'{len(said)} problems' if said else good}")
            for text in notes:
                print(f"  {text}")
            for text in said[:20]:
                print(f"  {text}", file=sys.stderr)
    return int(any(problems.values()))
