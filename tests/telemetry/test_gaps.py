"""The gaps between chunks, and how arrivals are packed."""

from __future__ import annotations

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.telemetry.arrivals import pack, unpack
from backends.telemetry.gaps import Gaps
from backends.telemetry.spread import spread


def test_gaps_are_the_same_whenever_one_looks() -> None:
    times = array("d", [10.0])
    gaps = Gaps(times)
    assert gaps.spread() is None
    assert gaps.recent(5) == []
    for later in (12.0, 19.0, 20.0):
        times.append(later)
        gaps.spread()
    times.extend([24.0, 40.0])
    assert gaps.spread() == spread([2.0, 7.0, 1.0, 4.0, 16.0])
    assert gaps.recent(2) == [4.0, 16.0]
    assert gaps.recent(9) == [2.0, 7.0, 1.0, 4.0, 16.0]
    assert len(gaps) == 5


@given(st.lists(st.tuples(st.floats(0, 1e7), st.integers(0, 0xFFFF))))
def test_arrivals_survive_packing(chunks: list[tuple[float, int]]) -> None:
    times = sorted(at for at, _ in chunks)
    counts = [count for _, count in chunks]
    again, tokens = unpack(pack(times, counts))
    assert list(again) == pytest.approx(times, abs=0.00501)
    assert list(tokens) == counts


def test_a_chunk_takes_two_bytes() -> None:
    packed = pack([500 + 20.3 * n for n in range(1_000)], [1] * 1_000)
    assert len(packed) < 2_010


def test_what_breaks_off_is_left_out() -> None:
    packed = pack([5.0, 700.0], [1, 300])
    assert [list(part) for part in unpack(packed[:-1])] == [[5.0], [1]]
