"""What is to be known of a task before it is run: its card, and the terms, origin and size of the data it uses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tlbench.tasks import own, registry
from tlbench.tasks.datasets import fetch
from tlbench.tasks.datasets.dataset import DatasetCard

NO_DOWNLOAD = {
    "embedded": "made from what tlbench's dependencies ship",
    "generated": "drawn anew for every seed, from a law that is known",
    "weights": "the pretrained weights are the source",
}
NO_CHECKSUM = "none published; what is pulled is recorded in SHA256SUMS"


def of_task(name: str) -> dict[str, Any]:
    """The card that a task's name means, its tasks, and each dataset it uses; of a user's own what was filled in.

    Raises:
        Mistake: nothing is called that.
    """
    tasks = registry.find(name)
    c = tasks[0].card
    values = {**c.model_dump(mode="json"), "at": c.model_dump(mode="json", exclude_unset=True).get("at")}
    values.update(metric=c.metric, tasks=[t.name for t in tasks])
    if tasks[0].file and not registry.ships(Path(tasks[0].file)):
        values["filled in"] = sorted(c.model_fields_set - own.said(Path(tasks[0].file)))
    values["datasets"] = {d: of_dataset(fetch.dataset(d)) for d in c.datasets}
    loaders = {d: str(c.place(d).loader) for d in c.all_domains}
    values["no download"] = {d: NO_DOWNLOAD[loader] for d, loader in loaders.items() if loader in NO_DOWNLOAD}
    return {k: v for k, v in _said(values).items() if v is not None}


def of_dataset(d: DatasetCard) -> dict[str, Any]:
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


def _said(value: Any) -> Any:
    """Without what says nothing: None for an empty value, tables without their empty entries."""
    if isinstance(value, dict):
        return {k: kept for k, v in value.items() if (kept := _said(v)) is not None} or None
    return None if value in ("", []) else value
