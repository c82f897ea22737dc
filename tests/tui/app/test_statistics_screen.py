"""F9: the statistics screen."""

from __future__ import annotations

import time

import pytest

from backends.events import Done, Meta, Token
from backends.telemetry.stages import Span
from backends.telemetry.timeline import Asked, Timeline
from backends.telemetry.turns import numbers_of
from tests.fakes.scripted import answer
from tests.tui.app.conftest import Chat
from tui.history.history import History


def turns(history: History, count: int, cancelled: int = 0) -> None:
    for number in range(count):
        ttft = 100.0 + 100 * number
        timeline = Timeline(asked=Asked("box" if number % 2 else "demo"))
        meta = Meta("qwen", ttft, prompt_tokens=900, cached_tokens=450, spans=(Span("prefill", 0.0, ttft - 1),))
        timeline.add(meta, ttft)
        timeline.add(Token("a"), ttft)
        timeline.add(Token("b"), ttft + 10)
        timeline.add(Done(2, ttft + 20, "cancelled" if number < cancelled else "stop"), ttft + 20)
        history.add_turn(None, numbers_of(timeline, time.time() - 60 * number), timeline.dump())


@pytest.mark.parametrize("size", [(80, 24), (120, 36), (200, 60)])
async def test_it_shows_what_all_turns_took(chat: Chat, history: History, size: tuple[int, int]) -> None:
    turns(history, 30, cancelled=5)
    async with chat.app.run_test(size=size) as pilot:
        await chat.mounted(pilot)
        await pilot.press("f9")
        await chat.until(pilot, lambda: "30 turns, all time" in chat.screen_text)
        await chat.until(pilot, lambda: "P50 1.55 s" in chat.screen_text)
        shown = chat.screen_text
        assert "cancelled 17 %" in shown
        assert "▲ cancel rate 16.7 %, above 10 %" in shown
        await pilot.press("right")
        await chat.until(pilot, lambda: "qwen" in chat.screen_text)
        await pilot.press("down")
        await chat.until(pilot, lambda: "prefill of 900 tokens, 450 cached" in chat.screen_text)
        await pilot.press("w", "w", "w")
        await chat.until(pilot, lambda: "the last 24 hours" in chat.screen_text)
        await pilot.press("escape")
        assert chat.app.screen is chat.app.chat


async def test_without_turns_it_says_so(chat: Chat) -> None:
    async with chat.app.run_test(size=(80, 24)) as pilot:
        await chat.mounted(pilot)
        await pilot.press("f9")
        await chat.until(pilot, lambda: "No turns yet" in chat.screen_text)


async def test_a_threshold_that_is_broken_is_told_once(chat: Chat, history: History) -> None:
    turns(history, 30, cancelled=5)
    chat.plays(*answer("Yes."))
    async with chat.app.run_test(size=(120, 36), notifications=True) as pilot:
        await chat.mounted(pilot)
        for question in ("One?", "Two?"):
            await chat.ask(pilot, question)
            await chat.ended(pilot)
            await chat.until(pilot, lambda: not chat.app.chat.workers._workers)
        assert [note.message for note in chat.app._notifications] == [
            "cancel rate 16.1 %, above 10 % in the last day: F9 tells more"
        ]
