"""What is known of a backend, and how it ages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.routing.measured import LONGEST_AVOIDED, QUEUE_HALF_LIFE, STALE_AFTER, Measured

FAST = Measured().answered(100.0, 0.0, now=0.0)


def test_nothing_is_expected_of_the_unknown() -> None:
    assert Measured().expected_ms(0.0) is None
    assert FAST.expected_ms(0.0) == 100.0
    assert FAST.expected_ms(STALE_AFTER + 1) is None


def test_a_queue_is_forgotten_sooner_than_the_speed() -> None:
    queued = Measured().answered(1100.0, 1000.0, now=0.0)

    assert queued.expected_ms(0.0) == pytest.approx(1100.0)
    assert queued.expected_ms(QUEUE_HALF_LIFE) == pytest.approx(600.0)
    assert queued.expected_ms(QUEUE_HALF_LIFE * 10) == pytest.approx(101.0, abs=0.1)


def test_the_newest_measurement_counts_more_for_the_queue() -> None:
    after = FAST.answered(1200.0, 1000.0, now=1.0)

    assert after.service_ms == pytest.approx(0.3 * 200 + 0.7 * 100)
    assert after.queue_ms == pytest.approx(600.0)


def test_what_is_stale_does_not_count_any_more() -> None:
    assert FAST.answered(900.0, 0.0, now=STALE_AFTER + 1).service_ms == 900.0


def test_a_failure_is_avoided_for_a_while_and_longer_each_time() -> None:
    once = FAST.failed(now=0.0, avoid=10.0)
    twice = once.failed(now=10.0, avoid=10.0)

    assert [once.is_avoided(now) for now in (0.0, 9.9, 10.0)] == [True, True, False]
    assert twice.avoid_until == 30.0
    assert not twice.answered(1.0, 0.0, now=30.0).is_avoided(30.0)
    assert not twice.worked().is_avoided(0.0)


def test_the_server_may_ask_for_longer() -> None:
    assert FAST.failed(now=0.0, avoid=10.0, retry_after=60.0).avoid_until == 60.0


def test_half_open_one_request_tries() -> None:
    back = FAST.failed(now=0.0, avoid=10.0)

    assert not back.is_avoided(10.0)
    assert back.begun().is_avoided(10.0)
    assert not FAST.begun().is_avoided(10.0)


@given(st.integers(1, 2000))
def test_never_avoided_for_good(failures: int) -> None:
    assert Measured(failures=failures).failed(now=0.0, avoid=10.0).avoid_until <= LONGEST_AVOIDED


@given(st.lists(st.tuples(st.floats(0, 1e6), st.floats(0, 1e6)), min_size=1))
def test_what_is_expected_lies_within_what_was_measured(answers: list[tuple[float, float]]) -> None:
    known = Measured()
    for at, (ttft, queue) in enumerate(answers):
        known = known.answered(ttft, queue, now=float(at))

    expected = known.expected_ms(float(len(answers)))
    assert expected is not None
    assert 0 <= expected <= 2 * max(ttft for ttft, _ in answers) + 1e-6
