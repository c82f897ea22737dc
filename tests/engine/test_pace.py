"""What steps cost: averages that follow what is measured and doubt one slow moment."""

from __future__ import annotations

import pytest

from backends.engine.pace import Pace


def test_nothing_is_known_before_it_is_measured() -> None:
    pace = Pace()
    assert (pace.plain, pace.prompt_token, pace.gap, pace.answer_seconds(100)) == (0, 0, 0, 0)


def test_a_prompts_share_of_a_step_is_what_it_adds() -> None:
    pace = Pace()
    for _ in range(30):
        pace.stepped(4, 0, 0.010)
        pace.stepped(4, 100, 0.050)
    assert pace.plain == pytest.approx(0.010)
    assert pace.prompt_token == pytest.approx(0.0004)
    assert 0.010 < pace.gap < 0.050


def test_drafts_that_are_kept_make_the_gap_between_tokens_shorter_than_a_step() -> None:
    pace = Pace()
    pace.stepped(2, 0, 0.030, said=6)
    assert (pace.plain, pace.gap) == (0.030, pytest.approx(0.010))


def test_it_follows_a_prompt_that_gets_dearer_with_its_depth() -> None:
    pace = Pace()
    for depth in range(20):
        pace.stepped(0, 128, 128 * (0.001 + 0.0001 * depth))
    assert pace.prompt_token == pytest.approx(0.0029, rel=0.1)


def test_one_slow_moment_changes_little_and_short_prompts_nothing() -> None:
    pace = Pace()
    pace.stepped(1, 0, 0.010)
    pace.stepped(1, 0, 10.0)
    pace.stepped(0, 8, 1.0)
    assert pace.plain < 0.020
    assert pace.prompt_token == 0


def test_what_is_left_counts_on_the_part_of_the_limit_that_answers_use() -> None:
    pace = Pace()
    pace.stepped(1, 0, 0.010)
    pace.stepped(0, 100, 0.1)
    assert pace.prompt_seconds(200) == pytest.approx(200 * 0.001)
    assert pace.answer_seconds(50) == pytest.approx(50 * 0.010)
    for _ in range(100):
        pace.ended(10, 100)
    assert pace.answer_seconds(100) == pytest.approx(100 * 0.1 * 0.010, rel=0.01)
