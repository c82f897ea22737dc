"""The app in windows of every size, and its panel in every mode."""

from __future__ import annotations

import pytest

from backends.events import Done, Status, Token
from tests.fakes.scripted import Hold, answer
from tests.tui.app.conftest import PAUSE, Chat
from tui.history.history import History


@pytest.mark.parametrize("size", [(200, 60), (120, 40), (80, 24), (60, 15), (40, 10), (24, 6), (20, 5), (3, 2)])
async def test_every_size_streams_and_opens_everything(chat: Chat, size: tuple[int, int]) -> None:
    hold = Hold()
    chat.plays(Status("retrieving", 1, 3, passages=(PAUSE,)), Token("Once per term [S1]."), PAUSE, hold, Done(1, 9.0))
    async with chat.app.run_test(size=size) as pilot:
        await chat.ask(pilot, "Can I pause?")
        await chat.until(pilot, hold.reached.is_set)
        hold.release()
        await chat.ended(pilot)
        for key in ("f1", "f3", "f4", "f9", "f10", "ctrl+p"):
            await pilot.press(key)
            await pilot.pause()
            assert chat.app.screen is not chat.app.chat
            await pilot.press("escape")
            await pilot.pause()
            assert chat.app.screen is chat.app.chat


async def test_resizing_while_an_answer_streams(chat: Chat) -> None:
    hold = Hold()
    chat.plays(Token("Once per term."), hold, Done(1, 9.0))
    async with chat.app.run_test(size=(120, 40)) as pilot:
        await chat.ask(pilot, "Can I pause?")
        await chat.until(pilot, hold.reached.is_set)
        for size in ((40, 10), (80, 24), (10, 3), (200, 60)):
            await pilot.resize_terminal(*size)
            await pilot.pause()
        hold.release()
        await chat.ended(pilot)
        assert "Once per term." in chat.screen_text


async def test_a_small_window_has_transcript_composer_and_status(chat: Chat) -> None:
    chat.plays(*answer("Yes."))
    async with chat.app.run_test(size=(40, 10)) as pilot:
        await chat.ask(pilot, "Can I pause?")
        await chat.ended(pilot)
        assert not chat.shown("#panel")
        assert not chat.shown("#strip")
        assert "Yes." in chat.screen_text
        assert "Ask anything" in chat.screen_text
        assert "demo" in chat.screen_text


async def test_a_window_that_is_too_small_says_so(chat: Chat) -> None:
    async with chat.app.run_test(size=(22, 5)) as pilot:
        await pilot.pause()
        assert "needs a larger" in chat.screen_text
        await pilot.resize_terminal(80, 24)
        await chat.until(pilot, lambda: "You are talking to demo" in chat.screen_text)
        assert "needs a larger" not in chat.screen_text


async def test_the_panel_goes_through_its_modes(chat: Chat) -> None:
    chat.plays(*answer("Yes."))
    async with chat.app.run_test(size=(120, 40)) as pilot:
        await chat.ask(pilot, "Can I pause?")
        await chat.ended(pilot)
        assert (chat.shown("#panel"), chat.shown("#strip")) == (True, False)
        await pilot.press("f2")
        assert (chat.shown("#panel"), chat.shown("#strip")) == (False, True)
        await chat.until(pilot, lambda: "TTFT " in chat.screen_text)
        await pilot.press("f2")
        assert (chat.shown("#panel"), chat.shown("#strip")) == (False, False)
        await pilot.press("f2")
        assert (chat.shown("#panel"), chat.shown("#strip")) == (True, False)


@pytest.mark.parametrize(
    ("mode", "panel", "strip"), [("full", True, False), ("line", False, True), ("off", False, False)]
)
async def test_the_configured_mode_is_used(history: History, mode: str, panel: bool, strip: bool) -> None:
    chat = Chat(history, panel=mode)
    async with chat.app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        assert (chat.shown("#panel"), chat.shown("#strip")) == (panel, strip)


async def test_nothing_is_repainted_when_idle(chat: Chat) -> None:
    chat.plays(*answer("Yes."))
    async with chat.app.run_test(size=(120, 40)) as pilot:
        await chat.ask(pilot, "Can I pause?")
        await chat.ended(pilot)
        ticker = chat.app.chat._ticker
        assert not ticker._active.is_set()
