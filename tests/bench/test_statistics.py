"""Percentiles, intervals, goodput."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.bench.statistics import goodput, median, ratio
from backends.telemetry.spread import percentile, spread

VALUES = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=50)


@given(VALUES, st.floats(0, 100))
def test_percentiles_are_numpys(values: list[float], percent: float) -> None:
    assert percentile(values, percent) == pytest.approx(np.percentile(values, percent), abs=1e-6, rel=1e-9)


def test_no_values_have_no_percentile_and_no_spread() -> None:
    with pytest.raises(ValueError, match="no values"):
        median([])
    assert spread([]) is None


def test_spread_names_the_tail() -> None:
    found = spread([float(value) for value in range(1, 101)])
    assert found is not None
    assert (found.count, found.mean, found.highest) == (100, 50.5, 100.0)
    assert (found.p50, found.p99) == pytest.approx((50.5, 99.01))


def test_the_interval_of_a_ratio_holds_the_true_one_and_is_the_same_every_time() -> None:
    rng = random.Random(1)
    theirs = [rng.gauss(100, 5) for _ in range(40)]
    ours = [rng.gauss(120, 5) for _ in range(40)]
    found = ratio(ours, theirs)
    assert found.low < 1.2 < found.high
    assert found.high - found.low < 0.06
    assert found == ratio(ours, theirs)


def test_what_slows_both_at_the_same_time_does_not_widen_the_interval() -> None:
    rng = random.Random(2)
    weather = [rng.uniform(1, 3) for _ in range(30)]
    ours, theirs = [1.1 * slow for slow in weather], list(weather)
    paired, apart = ratio(ours, theirs), ratio(ours, theirs[:-1])
    assert paired.high - paired.low < 0.01
    assert apart.high - apart.low > 0.1


def test_goodput_is_a_share_and_a_rate() -> None:
    assert goodput([True, True, False, True], 2.0) == (0.75, 1.5)
    assert goodput([], 0.0) == (0.0, 0.0)
