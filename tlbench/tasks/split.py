"""Card + budget + seed -> which samples are labelled, unlabelled and tested.

The only place where labels are withheld. Every choice is an order of SHA-256 hashes, so that it depends on
no random stream, is nested in the budget, survives the addition of an unrelated sample, and can be recomputed
in any language. Where 0x1f joins the parts:

    test        per class, ordered by  h("tlbench/test/1", task, id):  the first 40 %, at most 5,000 in all
    oracle_val  the next 10 %, at most 500 in all; only the oracle rule may look
    pool        the rest; per class ordered by  h("tlbench/shot/1", task, seed, id):  the first k are the shots

Where a sample may show several classes, the rarest of them is its class for the first two parts, and it is among the
shots where any of them asks for it.

What is a test sample once more (`tlbench.tasks.duplicates`) is in no part.

A card whose protocol is "published" is cut as the field's tables are, for `tlbench reproduce` alone: the publisher's
training samples teach and his test samples test; where he fixed none, every sample of the target is given without its
label and tested (transductive), and every source sample teaches.

`task` is the suite and the target, without the source: a target is tested on the same samples whatever it is
reached from, so target-only is trained once for all of its sources.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tlbench.data import Domain
from tlbench.errors import UsageError
from tlbench.tasks import duplicates, problems
from tlbench.tasks.card import CORE_BUDGETS, FULL, Budget, Task

if TYPE_CHECKING:
    from tlbench.tasks.episodes import Episode

ALGORITHM = 2  # of the rules on this page; part of every manifest that they make otherwise than those before
PUBLISHED = "published"  # the rules of the published protocols
BYTES_ONLY = 1  # the rules before, which knew copies by their bytes only: a split without others is the same
TEST_SHARE, TEST_MOST = 0.4, 5000
ORACLE_SHARE, ORACLE_MOST = 0.1, 500
SOURCE_VALIDATION = 0.1

Indices = NDArray[np.int64]


def sha(*parts: object) -> str:
    """SHA-256 of the parts joined by 0x1f, hex."""
    return hashlib.sha256("\x1f".join(map(str, parts)).encode()).hexdigest()


def content_digest(domain: Domain) -> str:
    """SHA-256 over the sorted (id, sha256(bytes), label) of every sample: what the data *is*."""
    truths = problems.of_domain(domain).truths(domain)
    lines = sorted(f"{i}\x1f{h}\x1f{t}" for i, h, t in zip(domain.ids, domain.hashes, truths, strict=True))
    return hashlib.sha256("\x1e".join(lines).encode()).hexdigest()


def order_digest(domain: Domain) -> str:
    """SHA-256 of the samples in the domain's own order with their class indices: what its arrays look like."""
    truths = problems.of_domain(domain).indices(domain)
    lines = (f"{i}\x1f{h}\x1f{y}" for i, h, y in zip(domain.ids, domain.hashes, truths, strict=True))
    return hashlib.sha256("\x1e".join(lines).encode()).hexdigest()


def hash_order(domain: Domain, rows: Indices, *salt: object) -> Indices:
    """`rows` in the order of `sha(*salt, id)`."""
    return np.array(sorted(rows.tolist(), key=lambda i: sha(*salt, domain.ids[i])), dtype=np.int64)


def _stratified(domain: Domain, wanted: NDArray[np.bool_], *salt: object) -> Iterator[Indices]:
    """The wanted rows of each stratum, in the order of `sha(*salt, id)`."""
    problem = problems.of_domain(domain)
    strata = problem.strata(domain)
    for c in range(problem.n_strata(domain)):
        yield hash_order(domain, np.flatnonzero(wanted & (strata == c)), *salt)


@dataclass(frozen=True)
class Partition:
    """A target domain, cut once for all seeds and budgets. Indices into the domain, each in hash order."""

    test: Indices
    oracle_val: Indices
    pool: Indices
    same: Indices = field(default_factory=lambda: np.zeros(0, np.int64))  # in no part: the bytes of a test sample
    alike: Indices = field(default_factory=lambda: np.zeros(0, np.int64))  # in no part: only looks or reads like one


def partition(domain: Domain, task: str, most: int = TEST_MOST) -> Partition:
    """Cut a target domain in test (`most` samples at most), oracle validation and pool, stratified by class.

    Copies of a test sample are dropped from the other two parts. Where the publisher fixed a test set, test is
    drawn from it and the rest from what is not in it.

    Raises:
        UsageError: an image cannot be decoded; it is named.
    """
    official = domain.official_test
    test, oracle, pool = [], [], []
    for rows in _stratified(domain, np.ones(len(domain), bool), "tlbench/test/1", task):
        if official is None:
            share = min(TEST_SHARE, most / len(domain))
            tested, rest = np.split(rows, [int(share * len(rows))])
        else:
            tested, rest = rows[official[rows]], rows[~official[rows]]
            tested = tested[: int(min(1.0, most / official.sum()) * len(tested))]
        held = int(min(ORACLE_SHARE, ORACLE_MOST / len(domain)) * len(rest))
        test.append(tested)
        oracle.append(rest[:held])
        pool.append(rest[held:])
    tested, held_out, pooled = (np.concatenate(p) for p in (test, oracle, pool))
    found = duplicates.copies(domain, domain, tested)
    rest = np.concatenate([held_out, pooled])
    kept = (held_out[~found.any[held_out]], pooled[~found.any[pooled]])
    by_bytes = found.same[rest] >= 0
    dropped = (rest[by_bytes], rest[found.any[rest] & ~by_bytes])
    return Partition(*(hash_order(domain, p, "tlbench/order/1", task) for p in (tested, *kept, *dropped)))


def published_partition(domain: Domain, task: str) -> Partition:
    """The published protocols' cut: nothing is held out, capped or dropped, and where the publisher fixed no test
    set, the pool is tested."""
    everything = hash_order(domain, np.arange(len(domain)), "tlbench/order/1", task)
    nothing, official = np.zeros(0, np.int64), domain.official_test
    if official is None:
        return Partition(everything, nothing, everything)
    return Partition(everything[official[everything]], nothing, everything[~official[everything]])


def source_rows(domain: Domain, task: str, share: float = SOURCE_VALIDATION) -> tuple[Indices, Indices]:
    """(train, validation) rows of a source: `share` of each class validates; the same for every seed.

    What the publisher set aside for testing is in neither, as in the published protocols.
    """
    train, validation = [], []
    usable = np.ones(len(domain), bool) if domain.official_test is None else ~domain.official_test
    for rows in _stratified(domain, usable, "tlbench/source/1", task):
        held = int(share * len(rows))
        validation.append(rows[:held])
        train.append(rows[held:])
    order = ("tlbench/order/1", task)
    return hash_order(domain, np.concatenate(train), *order), hash_order(domain, np.concatenate(validation), *order)


def untested(domain: Domain, rows: Indices, target: Domain, cut: Partition) -> Indices:
    """Positions in `rows` of a source's samples that are no copies of a test sample: a source never trains on one."""
    return np.flatnonzero(~duplicates.copies(domain, target, cut.test).any[rows])


@dataclass(frozen=True)
class Draw:
    """One seed's order of label giving in a pool: `shots(k)` is nested in `shots(k + 1)`."""

    by_class: tuple[Indices, ...]  # pool rows of each class in shot order; classes may share rows
    mode: str
    rest: Indices = field(default_factory=lambda: np.zeros(0, np.int64))  # pool rows of no class: labelled at 'full'

    def shots(self, k: Budget) -> Indices:
        """Rows labelled at budget `k`: k a class, or k * classes in proportion; all of the pool at 'full'."""
        if k == FULL:
            return _once(np.concatenate((*self.by_class, self.rest)))
        assert isinstance(k, int)
        counts = [k] * len(self.by_class) if self.mode == "balanced" else self._proportional(k * len(self.by_class))
        return _once(np.concatenate([rows[:n] for rows, n in zip(self.by_class, counts, strict=True)]))

    def most(self, share: float = 1.0) -> int:
        """The largest budget for which no class gives more than `share` of its pool."""
        if self.mode == "balanced":
            return int(min(share * len(rows) for rows in self.by_class))
        return int(share * sum(map(len, self.by_class)) / len(self.by_class))

    def _proportional(self, total: int) -> list[int]:
        """Sainte-Laguë seats, one a class first: a divisor method, so the draw for less is a part of it."""
        sizes = np.array([len(rows) for rows in self.by_class], float)
        seats = np.zeros(len(sizes), int)
        for _ in range(total):
            eligible = (seats == 0) & (sizes > 0)
            if not eligible.any():
                eligible = seats < sizes
            seats[int(np.argmax(np.where(eligible, sizes / (2 * seats + 1), -1.0)))] += 1
        return [int(s) for s in seats]


def _once(rows: Indices) -> Indices:
    """Each row where it comes first: a sample that two classes ask for is labelled once."""
    return rows[np.sort(np.unique(rows, return_index=True)[1])]


@dataclass(frozen=True)
class Split:
    """All index choices of (task, budget, seed), frozen under one SHA-256."""

    task: Task
    domain: Domain  # the target
    partition: Partition
    draw: Draw
    seed: int

    @cached_property
    def unlabeled(self) -> Indices:
        """The pool less the shots of the largest core budget that leaves every class half of its pool.

        The same for every k, so that along a budget curve only the number of labels varies. All of the pool under the
        published protocols.
        """
        if self.task.card.protocol == "published":
            return self.partition.pool
        reserve = max(k for k in CORE_BUDGETS if k <= self.draw.most(0.5) or k == 0)
        taken = set(self.draw.shots(reserve).tolist())
        return np.array([i for i in self.partition.pool if int(i) not in taken], dtype=np.int64)

    def shots(self, k: Budget) -> Indices:
        """Rows of the labelled samples.

        Raises:
            UsageError: a class of the pool has fewer than k samples.
        """
        if k != 0 and self.task.card.protocol == "published" and self.domain.official_test is None:
            raise UsageError(
                f"{self.task.name}: all of the target is tested, so none of it can be labelled; use budget 0"
            )
        if isinstance(k, int) and k > self.draw.most() and len(self.draw.by_class) == 1:
            raise UsageError(f"{self.task.name}: budget {k} is too large: use at most {self.draw.most()}")
        if isinstance(k, int) and k > self.draw.most():
            counts = {c: len(r) for c, r in zip(self.domain.classes, self.draw.by_class, strict=True)}
            small = min(counts, key=counts.__getitem__)
            raise UsageError(
                f"{self.task.name}: budget {k} is too large: class {small!r} has {counts[small]} samples "
                f"outside the test set; use at most {self.draw.most()}"
            )
        return self.draw.shots(k)

    def episodes(self, k: Budget) -> tuple[Episode, ...]:
        """The episodes at budget `k`; none but of an episodic problem."""
        return ()

    @cached_property
    def manifest(self) -> dict[str, object]:
        """Canonical content of the split: ids by part, data digest, algorithm; recomputable by anyone."""
        ids, alike = self.domain.ids, self.partition.alike
        return {
            **({"alike": [ids[i] for i in alike]} if len(alike) else {}),
            "algorithm": self._algorithm,
            "data": content_digest(self.domain),
            "draw": [[ids[i] for i in rows] for rows in self.draw.by_class],
            "mode": self.draw.mode,
            "oracle_val": [ids[i] for i in self.partition.oracle_val],
            "seed": self.seed,
            "task": target_name(self.task),
            "test": [ids[i] for i in self.partition.test],
            "unlabeled": [ids[i] for i in self.unlabeled],
        }

    @property
    def _algorithm(self) -> int | str:
        """The rules that made the split: the oldest that make the same one, so that old manifests stand."""
        if self.task.card.protocol == "published":
            return PUBLISHED
        return ALGORITHM if len(self.partition.alike) else BYTES_ONLY

    @cached_property
    def canonical(self) -> str:
        """The manifest as canonical JSON: sorted keys, no spaces."""
        return json.dumps(self.manifest, sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the canonical manifest."""
        return hashlib.sha256(self.canonical.encode()).hexdigest()


def cut_of(task: Task, domain: Domain) -> Partition:
    """The partition of a task's target under its card's protocol."""
    if task.card.protocol == "published":
        return published_partition(domain, target_name(task))
    return partition(domain, target_name(task), task.card.test_most)


def target_name(task: Task) -> str:
    return f"{task.card.name}/{task.target}"


def split(task: Task, domain: Domain, seed: int, cut: Partition | None = None) -> Split:
    """The split of `task`'s target `domain` for `seed`; give `cut` to spare its computation."""
    name = target_name(task)
    cut = cut or cut_of(task, domain)
    groups, order = problems.of_domain(domain).groups(domain), ("tlbench/shot/1", name, seed)
    by_class = tuple(hash_order(domain, cut.pool[group[cut.pool]], *order) for group in groups)
    rest = hash_order(domain, np.setdiff1d(cut.pool, np.concatenate(by_class)), *order)
    return Split(task, domain, cut, Draw(by_class, task.card.draw, rest), seed)
