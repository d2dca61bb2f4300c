"""Which samples are labelled, unlabelled and tested: never two of them, never by chance, the same for everyone."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tlbench.data import Domain
from tlbench.errors import UsageError
from tlbench.tasks import builtin, loaders, registry
from tlbench.tasks.card import CORE_BUDGETS, FULL, Card, Task
from tlbench.tasks.split import Draw, Partition, Split, hash_order, partition, source_rows, split, untested

# SHA-256 of the manifest of digits/photos, seed 0. It names the published test set and shots, so a change of it makes
# old and new numbers incomparable: bump `split.ALGORITHM` (or `builtin.VERSION`) with it, then freeze anew.
FROZEN = "0c883a4aec2ae4c6b05ed6d0fc5efeb43348985506b02a2fdb5a4c52cbeea287"
PRINT = """
import pathlib, sys
from tlbench.tasks.registry import find
from tlbench.tasks import builtin
from tlbench.tasks.split import split
photos = builtin.load("photos", pathlib.Path(sys.argv[1]))
print(split(find("digits/fonts-photos")[0], photos, 0).digest)
"""

MODES = ("balanced", "proportional")
each_mode = pytest.mark.parametrize("mode", MODES)
light = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def task(mode: str = "balanced", sources: tuple[str, ...] = ("a",), domains: tuple[str, ...] = ("a", "b", "c")) -> Task:
    card = Card(
        name="toy", version=1, paradigm="different-domain-same-task", summary="", loader="embedded", domains=domains,
        backbone="none", license="", cite="", draw=mode,
    )  # fmt: skip
    return Task(card, sources, "b")


def domain(sizes: list[int], prefix: str = "b", contents: int | None = None, seed: int = 0) -> Domain:
    """`sizes` samples a class in a random order; at most `contents` different ones when that is given."""
    random = np.random.default_rng(seed)
    y = random.permutation(np.repeat(np.arange(len(sizes)), sizes))
    same = random.integers(0, contents, len(y)) if contents else np.arange(len(y))
    hashes = tuple(hashlib.sha256(f"{prefix}{i}".encode()).hexdigest() for i in same)
    ids = tuple(f"{prefix}/{i}" for i in range(len(y)))
    return Domain("b", ids, y.astype(np.int64), tuple(f"class {c}" for c in range(len(sizes))), hashes)


@st.composite
def domains(draw: st.DrawFn, copies: bool = True, smallest: int = 1, official: bool = False) -> Domain:
    """Few classes, some of them tiny; ids with any letters; with `copies`, some samples of the same bytes."""
    sizes = draw(st.lists(st.one_of(st.integers(smallest, 6), st.integers(smallest, 60)), min_size=2, max_size=6))
    n = sum(sizes)
    contents = draw(st.one_of(st.none(), st.integers(max(1, n // 3), 3 * n))) if copies else None
    made = domain(sizes, draw(st.text(max_size=5)), contents, draw(st.integers(0, 2**32)))
    if not official:
        return made
    first = draw(st.integers(1, n - 1))
    return replace(made, official_test=np.random.default_rng(first).permutation(n) < first)


def budgets(draw: Draw) -> list[int | str]:
    return [*range(draw.most() + 1), FULL]


def ids(domain: Domain, rows: np.ndarray) -> set[str]:
    return {domain.ids[i] for i in rows}


def of_class(domain: Domain, rows: np.ndarray, c: int) -> set[str]:
    return {domain.ids[i] for i in rows if domain.y[i] == c}


# what is tested


@each_mode
@light
@given(domain=domains(), seed=st.integers(0, 9))
def test_a_shot_is_never_tested(mode: str, domain: Domain, seed: int) -> None:
    made = split(task(mode), domain, seed)
    tested = set(made.partition.test.tolist())
    bytes_tested = {domain.hashes[i] for i in tested}
    for k in budgets(made.draw):
        shots = made.shots(k)
        assert not tested & set(shots.tolist())
        assert not set(made.partition.oracle_val.tolist()) & set(shots.tolist())
        assert not bytes_tested & {domain.hashes[i] for i in shots}


@light
@given(domain=domains())
def test_test_oracle_and_pool_are_everything_once_but_for_copies_of_test_samples(domain: Domain) -> None:
    cut = partition(domain, "toy/b")
    parts = [set(p.tolist()) for p in (cut.test, cut.oracle_val, cut.pool)]
    rows = set().union(*parts)
    assert sum(map(len, parts)) == len(rows) == len(cut.test) + len(cut.oracle_val) + len(cut.pool)
    tested = {domain.hashes[i] for i in cut.test}
    left = set(range(len(domain))) - rows
    assert left == {i for i in set(range(len(domain))) - parts[0] if domain.hashes[i] in tested}


def test_a_copy_of_a_test_sample_is_neither_labelled_nor_unlabelled() -> None:
    clean = domain([20, 20])
    first, other = partition(clean, "toy/b").test[0], partition(clean, "toy/b").pool[0]
    hashes = list(clean.hashes)
    hashes[other] = hashes[first]
    made = split(task(), replace(clean, hashes=tuple(hashes)), 0)
    assert first in made.partition.test
    assert other not in {*made.partition.pool, *made.partition.oracle_val, *made.unlabeled, *made.shots(FULL)}


@light
@given(domain=domains())
def test_every_class_gives_four_tenths_to_the_test_set_and_a_tenth_of_the_rest_to_the_oracle(domain: Domain) -> None:
    domain = replace(domain, hashes=tuple(map(str, range(len(domain)))))  # without copies
    cut = partition(domain, "toy/b")
    for c, n in enumerate(np.bincount(domain.y, minlength=len(domain.classes)).tolist()):
        tested = 4 * n // 10
        assert len(of_class(domain, cut.test, c)) == tested
        assert len(of_class(domain, cut.oracle_val, c)) == (n - tested) // 10


def test_a_large_domain_is_tested_on_at_most_five_thousand_in_the_shares_of_its_classes() -> None:
    sizes = [9000, 4000, 1990, 10]
    large = domain(sizes)
    cut = partition(large, "toy/b")
    counts = np.bincount(large.y[cut.test], minlength=4)
    assert counts.tolist() == [n // 3 for n in sizes]  # 5,000 of 15,000
    assert 200 <= len(cut.oracle_val) <= 500
    assert len(cut.test) + len(cut.oracle_val) + len(cut.pool) == len(large)


@light
@given(domain=domains(), seeds=st.lists(st.integers(0, 99), min_size=2, max_size=3, unique=True))
def test_the_test_set_is_the_same_for_every_seed_and_source(domain: Domain, seeds: list[int]) -> None:
    parts = {
        tuple(tuple(part.tolist()) for part in (made.partition.test, made.partition.oracle_val, made.partition.pool))
        for seed in seeds
        for made in (split(task(sources=names), domain, seed) for names in (("a",), ("c",), ("a", "c"), ()))
    }
    assert len(parts) == 1


def test_each_seed_gives_other_shots_and_each_source_the_same() -> None:
    target = domain([30, 30])
    by_seed = [split(task(), target, s).shots(5).tolist() for s in range(5)]
    assert len({tuple(sorted(shots)) for shots in by_seed}) == 5
    assert split(task(sources=("c",)), target, 0).digest == split(task(), target, 0).digest


# what is labelled


@each_mode
@light
@given(domain=domains(), seed=st.integers(0, 9))
def test_the_shots_of_a_budget_hold_those_of_every_smaller_one(mode: str, domain: Domain, seed: int) -> None:
    draw = split(task(mode), domain, seed).draw
    sets = [set(draw.shots(k).tolist()) for k in budgets(draw)]
    assert all(small <= large for small, large in pairwise(sets))
    assert [len(s) for s in sets[:-1]] == [k * len(domain.classes) for k in range(draw.most() + 1)]


@light
@given(domain=domains(), seed=st.integers(0, 9))
def test_a_balanced_draw_has_k_of_every_class(domain: Domain, seed: int) -> None:
    draw = split(task(), domain, seed).draw
    for k in range(draw.most() + 1):
        assert np.bincount(domain.y[draw.shots(k)], minlength=len(domain.classes)).tolist() == [k] * len(domain.classes)


def pool_of(sizes: list[int]) -> Draw:
    ends = np.cumsum(sizes)
    return Draw(tuple(np.arange(end - n, end) for n, end in zip(sizes, ends, strict=True)), "proportional")


@light
@given(sizes=st.lists(st.integers(0, 24), min_size=2, max_size=6).filter(any))
def test_a_proportional_draw_is_sainte_lague_with_one_a_class_first(sizes: list[int]) -> None:
    draw = pool_of(sizes)
    seats = [(j, c) for c, n in enumerate(sizes) for j in range(n)]  # a class has as many as it has samples
    seats.sort(key=lambda seat: (seat[0] > 0, -Fraction(sizes[seat[1]], 2 * seat[0] + 1), seat[1]))
    for k in range(draw.most() + 1):
        expected = np.bincount([c for _, c in seats[: k * len(sizes)]], minlength=len(sizes))
        given = [len(np.intersect1d(draw.shots(k), rows)) for rows in draw.by_class]
        assert given == expected.tolist()
        assert k == 0 or all(g >= 1 for g, n in zip(given, sizes, strict=True) if n)


def test_a_proportional_draw_keeps_the_shares_of_the_pool() -> None:
    assert [len(np.intersect1d(pool_of([70, 20, 10]).shots(10), r)) for r in pool_of([70, 20, 10]).by_class] == [
        21,
        6,
        3,
    ]


@light
@given(domain=domains(), seed=st.integers(0, 9))
def test_a_budget_that_is_too_large_is_refused_with_the_class_and_the_most_that_is_possible(
    domain: Domain, seed: int
) -> None:
    made = split(task(), domain, seed)
    left = [len(of_class(domain, made.partition.pool, c)) for c in range(len(domain.classes))]
    most = min(left)
    assert len(made.shots(most)) == most * len(left)
    with pytest.raises(UsageError) as raised:
        made.shots(most + 1)
    assert f"class 'class {left.index(most)}' has {most} samples" in str(raised.value)
    assert str(raised.value).endswith(f"use at most {most}")
    assert f"budget {most + 1} " in str(raised.value)
    assert "\n" not in str(raised.value)


# what is unlabelled


@each_mode
@light
@given(domain=domains(), seed=st.integers(0, 9))
def test_the_unlabelled_set_is_the_pool_without_the_reserved_shots_whatever_the_budget(
    mode: str, domain: Domain, seed: int
) -> None:
    made = split(task(mode), domain, seed)
    sizes = [len(rows) for rows in made.draw.by_class]
    half = min(sizes) // 2 if mode == "balanced" else sum(sizes) // (2 * len(sizes))
    reserve = max(k for k in CORE_BUDGETS if k <= half)
    unlabelled, pool = made.unlabeled.tolist(), set(made.partition.pool.tolist())
    assert len(set(unlabelled)) == len(unlabelled)
    assert set(unlabelled) == pool - set(made.shots(reserve).tolist())
    for k in (k for k in CORE_BUDGETS if k <= reserve):
        asked_before = split(task(mode), domain, seed)
        assert not set(asked_before.shots(k).tolist()) & set(unlabelled)
        assert asked_before.unlabeled.tolist() == unlabelled


# what a change of the data changes


def grown(domain: Domain, c: int) -> Domain:
    """`domain` and one more sample of class `c`."""
    new = {"ids": "new", "hashes": "new bytes"}
    return replace(
        domain, y=np.append(domain.y, c), **{name: (*getattr(domain, name), value) for name, value in new.items()}
    )


def parts(made: Split) -> list[np.ndarray]:
    return [made.partition.test, made.partition.oracle_val, made.partition.pool]


@light
@given(domain=domains(copies=False), seed=st.integers(0, 9))
def test_a_sample_of_another_class_moves_nothing(domain: Domain, seed: int) -> None:
    old, new = (split(task(), d, seed) for d in (domain, grown(domain, 0)))
    for c in range(1, len(domain.classes)):
        for before, after in zip(parts(old), parts(new), strict=True):
            assert of_class(old.domain, before, c) == of_class(new.domain, after, c)
        order = [[made.domain.ids[i] for i in made.draw.by_class[c]] for made in (old, new)]
        assert order[0] == order[1]


@light
@given(domain=domains(copies=False), seed=st.integers(0, 9))
def test_a_sample_of_the_same_class_moves_no_more_than_the_boundary(domain: Domain, seed: int) -> None:
    old, new = (split(task(), d, seed) for d in (domain, grown(domain, 0)))
    pairs = list(zip(parts(old), parts(new), strict=True))
    pairs += [(old.shots(k), new.shots(k)) for k in range(min(old.draw.most(), new.draw.most()) + 1)]
    for before, after in pairs:
        was, now = of_class(old.domain, before, 0), of_class(new.domain, after, 0)
        assert len(was - now) <= 1
        assert len(now - was) <= 1


@light
@given(domain=domains(), seed=st.integers(0, 9))
def test_another_domain_in_the_suite_moves_nothing(domain: Domain, seed: int) -> None:
    assert split(task(domains=("a", "b", "c", "d")), domain, seed).digest == split(task(), domain, seed).digest


@light
@given(domain=domains(), seed=st.integers(0, 9), shuffle=st.integers(0, 99))
def test_the_order_of_the_samples_moves_nothing(domain: Domain, seed: int, shuffle: int) -> None:
    rows = np.random.default_rng(shuffle).permutation(len(domain))
    shuffled = Domain(
        "b", tuple(domain.ids[i] for i in rows), domain.y[rows], domain.classes, tuple(domain.hashes[i] for i in rows)
    )
    assert split(task(), shuffled, seed).digest == split(task(), domain, seed).digest


# a source


@light
@given(domain=domains(), target=domains())
def test_a_source_is_cut_nine_to_one_and_holds_no_bytes_of_a_test_sample(domain: Domain, target: Domain) -> None:
    whole = [set(rows.tolist()) for rows in source_rows(domain, "toy/a")]
    assert not whole[0] & whole[1]
    assert whole[0] | whole[1] == set(range(len(domain)))
    for c, n in enumerate(np.bincount(domain.y, minlength=len(domain.classes)).tolist()):
        assert len(of_class(domain, np.array([*whole[1]], int), c)) == n // 10
    target = replace(target, hashes=tuple(domain.hashes[3 * i % len(domain)] for i in range(len(target))))
    cut = partition(target, "toy/b")
    tested = {target.hashes[i] for i in cut.test}
    rows = source_rows(domain, "toy/a")[0]
    kept = rows[untested(domain, rows, target, cut)]
    assert set(kept.tolist()) == {i for i in whole[0] if domain.hashes[i] not in tested}


@light
@given(domain=domains(official=True))
def test_what_the_publisher_set_aside_for_testing_is_in_no_source(domain: Domain) -> None:
    assert domain.official_test is not None
    rows = np.concatenate(source_rows(domain, "toy/a"))
    assert sorted(rows.tolist()) == np.flatnonzero(~domain.official_test).tolist()


# a test set of the publisher's own


@light
@given(domain=domains(official=True), seed=st.integers(0, 9))
def test_the_publishers_test_samples_are_tested_and_nothing_else_is(domain: Domain, seed: int) -> None:
    assert domain.official_test is not None
    made = split(task(), domain, seed)
    assert sorted(made.partition.test.tolist()) == np.flatnonzero(domain.official_test).tolist()
    for rows in (made.partition.oracle_val, made.partition.pool, made.unlabeled, made.shots(FULL)):
        assert not domain.official_test[rows].any()


def test_of_a_large_official_test_set_five_thousand_are_tested_and_the_others_never_seen() -> None:
    large = domain([6000, 6000])
    large = replace(large, official_test=np.arange(12000) < 10000)
    assert large.official_test is not None
    made = split(task(), large, 0)
    assert 4998 <= len(made.partition.test) <= 5000
    assert large.official_test[made.partition.test].all()
    assert not large.official_test[np.concatenate([made.partition.pool, made.partition.oracle_val])].any()


# what anyone can recompute


def recomputed(domain: Domain, seed: int, mode: str) -> str:
    """The digest by the words of the manifest's documentation alone."""

    def h(*words: object) -> str:
        return hashlib.sha256("\x1f".join(str(w) for w in words).encode()).hexdigest()

    samples = sorted(zip(domain.ids, domain.hashes, (domain.classes[y] for y in domain.y), strict=True))
    test, oracle, pool = [], [], []
    for c in domain.classes:
        mine = sorted((s for s in samples if s[2] == c), key=lambda s: h("tlbench/test/1", "toy/b", s[0]))
        a = 4 * len(mine) // 10
        b = a + (len(mine) - a) // 10
        test, oracle, pool = test + mine[:a], oracle + mine[a:b], pool + mine[b:]
    copies = {s[1] for s in test}
    oracle, pool = ([s for s in part if s[1] not in copies] for part in (oracle, pool))
    test, oracle, pool = (
        sorted(part, key=lambda s: h("tlbench/order/1", "toy/b", s[0])) for part in (test, oracle, pool)
    )
    draw = [
        [s[0] for s in sorted(pool, key=lambda s: h("tlbench/shot/1", "toy/b", seed, s[0])) if s[2] == c]
        for c in domain.classes
    ]
    half = min(map(len, draw)) / 2 if mode == "balanced" else len(pool) / len(draw) / 2
    k = max(k for k in (0, 1, 5, 20) if k <= half)
    seats = [k] * len(draw)
    if mode == "proportional":
        order = sorted(
            ((j > 0, -Fraction(len(ids), 2 * j + 1), c) for c, ids in enumerate(draw) for j in range(len(ids)))
        )
        seats = [sum(c == mine for _, _, c in order[: k * len(draw)]) for mine in range(len(draw))]
    reserved = {i for ids, n in zip(draw, seats, strict=True) for i in ids[:n]}
    manifest = {
        "algorithm": 1,
        "data": hashlib.sha256("\x1e".join(sorted("\x1f".join(s) for s in samples)).encode()).hexdigest(),
        "draw": draw,
        "mode": mode,
        "oracle_val": [s[0] for s in oracle],
        "seed": seed,
        "task": "toy/b",
        "test": [s[0] for s in test],
        "unlabeled": [s[0] for s in pool if s[0] not in reserved],
    }
    return hashlib.sha256(
        json.dumps(manifest, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    ).hexdigest()


@each_mode
@light
@given(domain=domains(), seed=st.integers(0, 9))
def test_the_digest_is_that_of_the_canonical_manifest_which_anyone_can_write(
    mode: str, domain: Domain, seed: int
) -> None:
    assert split(task(mode), domain, seed).digest == recomputed(domain, seed, mode)


def test_the_digest_tells_seeds_data_and_modes_apart() -> None:
    target = domain([12, 12])
    hashes = ("other", *target.hashes[1:])
    made = [
        split(task(), target, 0), split(task(), target, 1), split(task("proportional"), target, 0),
        split(task(), replace(target, hashes=hashes), 0), split(task(), replace(target, classes=("x", "y")), 0),
    ]  # fmt: skip
    assert len({m.digest for m in made}) == len(made)


def test_the_split_of_digits_is_the_published_one_in_every_process(tmp_path: Path) -> None:
    photos = builtin.load("photos", tmp_path)
    assert split(registry.find("digits/handwritten-photos")[0], photos, 0).digest == FROZEN
    done = subprocess.run(
        [sys.executable, "-c", PRINT, str(tmp_path)],
        env=os.environ | {"PYTHONHASHSEED": "4242"}, capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    assert done.stdout.strip() == FROZEN


def test_a_cut_that_is_given_is_used() -> None:
    target = domain([20, 20])
    cut = partition(target, "toy/b")
    assert split(task(), target, 0, cut).digest == split(task(), target, 0).digest
    swapped = Partition(cut.pool, cut.oracle_val, cut.test)
    assert split(task(), target, 0, swapped).partition is swapped


@light
@given(domain=domains())
def test_a_hash_order_forgets_the_order_it_was_given(domain: Domain) -> None:
    rows = np.arange(len(domain))
    ordered = hash_order(domain, rows, "salt", 1)
    assert ordered.tolist() == hash_order(domain, rows[::-1], "salt", 1).tolist()
    digests = [hashlib.sha256(f"salt\x1f1\x1f{domain.ids[i]}".encode()).hexdigest() for i in ordered]
    assert digests == sorted(digests)


# real files


@pytest.fixture(scope="module")
def dslr(real_data: Path) -> Domain:
    return loaders.load(registry.find("office_caltech10")[0].card, "dslr", real_data)


def test_the_smallest_real_domain_is_cut_as_promised(dslr: Domain) -> None:
    made = split(registry.find("office_caltech10/webcam-dslr")[0], dslr, 0)
    counts = np.bincount(dslr.y)
    assert np.bincount(dslr.y[made.partition.test]).tolist() == (4 * counts // 10).tolist()
    test, oracle, pool = parts(made)
    assert not ids(dslr, test) & ids(dslr, pool)
    assert not {dslr.hashes[i] for i in test} & {dslr.hashes[i] for i in np.concatenate([oracle, pool])}
    assert set(made.shots(1)) < set(made.shots(3)) <= set(pool)
    with pytest.raises(UsageError, match="office_caltech10/webcam-dslr: budget 20 is too large: class '"):
        made.shots(20)


def test_no_image_is_in_two_parts_of_a_real_suite(dslr: Domain, real_data: Path) -> None:
    webcam = loaders.load(registry.find("office_caltech10")[0].card, "webcam", real_data)
    cut = partition(dslr, "office_caltech10/dslr")
    tested = {dslr.hashes[i] for i in cut.test}
    rows = source_rows(webcam, "office_caltech10/webcam")[0]
    kept = rows[untested(webcam, rows, dslr, cut)]
    assert not tested & {webcam.hashes[i] for i in kept}
    assert len(kept) == sum(webcam.hashes[i] not in tested for i in rows)
