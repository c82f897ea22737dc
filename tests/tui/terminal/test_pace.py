"""How far the terminal is behind."""

from __future__ import annotations

from tui.terminal.pace import ASK_EVERY, GIVE_UP, Pace


def test_it_asks_once_enough_is_written_and_not_again_before_the_answer() -> None:
    pace = Pace()
    assert not pace.write(ASK_EVERY - 1, 0.0)
    assert pace.write(1, 0.0)
    assert not pace.write(3 * ASK_EVERY, 0.01)
    pace.answered(0.02)
    assert pace.write(1, 0.02)  # what was written meanwhile counts


def test_it_is_behind_while_an_answer_takes_much_longer_than_the_quickest() -> None:
    pace = Pace()
    assert not pace.behind(0.0)
    pace.write(ASK_EVERY, 0.0)
    pace.answered(0.05)
    pace.write(ASK_EVERY, 1.0)
    assert not pace.behind(1.09)
    assert pace.behind(1.11)
    pace.answered(1.2)
    assert not pace.behind(1.2)


def test_a_long_way_is_not_a_slow_one() -> None:
    pace = Pace()
    pace.write(ASK_EVERY, 0.0)
    pace.answered(0.4)
    pace.write(ASK_EVERY, 1.0)
    assert not pace.behind(1.44)


def test_it_says_when_the_answer_should_be_here() -> None:
    pace = Pace()
    assert pace.due(0.0) == 0.0
    pace.write(ASK_EVERY, 0.0)
    pace.answered(0.1)
    pace.write(ASK_EVERY, 1.0)
    assert 0.1 < pace.due(1.0) < 0.3
    assert pace.due(1.5) == 0.0


def test_a_lost_answer_stops_nothing_for_good() -> None:
    pace = Pace()
    pace.write(ASK_EVERY, 0.0)
    assert pace.behind(GIVE_UP - 0.1)
    assert not pace.behind(GIVE_UP + 0.1)
    assert pace.write(ASK_EVERY, GIVE_UP + 0.2)
