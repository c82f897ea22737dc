"""When frames may be drawn."""

from __future__ import annotations

import pytest

from tui.transcript.frame_rate import BREATH, FrameRate

FRAME = 0.04


@pytest.fixture
def rate() -> FrameRate:
    return FrameRate(1 / FRAME)


def test_a_quick_frame_takes_its_turn(rate: FrameRate) -> None:
    rate.drawn(1.0, 1.002)
    assert rate.next == pytest.approx(1.0 + FRAME)


def test_a_slow_one_takes_a_third_of_the_time(rate: FrameRate) -> None:
    rate.drawn(1.0, 1.1)
    assert rate.next == pytest.approx(1.3)
    assert not rate.text(1.11, first=True)
    assert rate.next == pytest.approx(1.3)


def test_the_first_text_does_not_wait_for_what_was_drawn_before(rate: FrameRate) -> None:
    rate.text(0.99, first=False)
    rate.drawn(1.0, 1.001)
    assert rate.text(1.002, first=True)
    assert rate.next == pytest.approx(1.0 + BREATH)
    assert not rate.text(1.003, first=True)  # it is as soon already


def test_neither_does_text_behind_a_pause(rate: FrameRate) -> None:
    rate.text(1.0, first=True)
    rate.drawn(1.0, 1.001)
    rate.drawn(1.5, 1.502)  # an indicator has moved
    assert rate.text(1.51, first=False)
    assert rate.next == pytest.approx(1.506)


def test_text_behind_text_waits_for_its_frame(rate: FrameRate) -> None:
    rate.text(1.0, first=True)
    rate.drawn(1.0, 1.001)
    for milliseconds in range(2, 200, 2):
        assert not rate.text(1.0 + milliseconds / 1000, first=False)
    assert rate.next == pytest.approx(1.0 + FRAME)


def test_a_terminal_that_is_behind_is_not_asked_sooner_for_the_first_text(rate: FrameRate) -> None:
    rate.put_off(1.0)
    assert not rate.text(1.001, first=True)
    assert rate.next == pytest.approx(1.0 + FRAME)
