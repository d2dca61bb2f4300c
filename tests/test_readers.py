"""Readers of files that anybody may have made: whatever the bytes, they answer or say what is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from readers import PLAIN, TARGETS

from tlbench.errors import UsageError
from tlbench.results.row import read_row
from tlbench.tasks import registry
from tlbench.tasks.problems.answers import read_scores

QUICK = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


@st.composite
def mangled(draw: st.DrawFn, good: bytes) -> bytes:
    """Something that could be read, with a few places overwritten, cut or doubled."""
    data = bytearray(good)
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, max(0, len(data) - 1)))
        part = draw(st.binary(max_size=8) | st.sampled_from([b"9" * 30, b"[" * 3000, b"\0", b"null", b"-1", b"1e999"]))
        data[at : at + draw(st.integers(0, 12))] = part
    return bytes(data)


@pytest.mark.parametrize("name", TARGETS)
def test_a_reader_takes_any_bytes_and_raises_only_what_it_says(name: str) -> None:
    read, good = TARGETS[name]
    whole = good()
    read(whole)

    @QUICK
    @given(mangled(whole) | st.binary(max_size=200))
    def check(data: bytes) -> None:
        read(data)

    check()


@settings(QUICK, max_examples=150)
@given(
    st.sampled_from(sorted(json.loads(PLAIN))),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
        max_leaves=5,
    ),
)
def test_a_row_with_any_value_in_any_column_is_a_row_or_says_which_column(column: str, value: Any) -> None:
    try:
        row = read_row(json.loads(PLAIN) | {column: value})
    except ValueError:
        return
    assert len(row.points) == row.n_test


def test_a_header_that_python_cannot_split_into_tokens_is_no_scores(tmp_path: Path) -> None:
    text = b"{'descr': '<f4', 'fortran_order': False4, 3), }".ljust(117) + b"\n"
    file = tmp_path / "scores.npy"
    file.write_bytes(b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + bytes(48))
    with pytest.raises(ValueError, match="no readable scores"):
        read_scores(file, 4, 3)


UNSEEN = (
    'source = "~nobody-of-that-name/x"',
    f'source = "{"a" * 5000}"',
    "source = " + "[" * 5000,
    'source = "\\u0000"',
)


@pytest.mark.parametrize("text", UNSEEN)
def test_a_card_whose_places_cannot_be_is_a_mistake_or_names_what_is_not_there(text: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(f'{text}\ntarget = "b"\n')
    with pytest.raises(UsageError):
        registry.read(file)
