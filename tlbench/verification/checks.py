"""The checks that every method must pass, a sentence each; `tlbench check` and the pytest plugin run them."""

from __future__ import annotations

CHECKS = {
    "frozen": "is a frozen dataclass with fit(train, seed), and fitting leaves it as it is",
    "fields": "is made again by the JSON of its fields",
    "shape": "gives every input one finite score a class",
    "same_seed": "gives the same scores with the same seed, in another process too",
    "other_seed": "may give other scores with another seed",
    "one_by_one": "judges every example by itself, whatever else is in its batch and in whatever order",
    "data": "leaves the training data and the inputs as they are",
    "surroundings": "leaves random states, default dtype, gradients, threads and deterministic flags as they are",
    "zero_labels": "works without a label of the target",
    "one_label": "works with one label a class",
    "three_sources": "works with three sources",
    "no_source": "works without a source",
    "other_task": "works with a source of another task",
    "missing_class": "works where a class has no shot",
    "time": "keeps within its time",
    "memory": "keeps within its memory",
}
