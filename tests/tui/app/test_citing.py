"""The passages behind an answer through Pilot."""

from __future__ import annotations

from backends.events import Done, Status, Token
from tests.tui.app.conftest import PAUSE, REFUND, Chat
from tui.screens.sources import SourcesScreen

SIZE = (120, 40)


async def test_sources_can_be_read(chat: Chat) -> None:
    chat.plays(Status("retrieving", passages=(PAUSE, REFUND)), Token("See [S1]."), PAUSE, Done(1, 1.0))
    async with chat.app.run_test(size=SIZE) as pilot:
        await chat.ask(pilot, "Can I pause?")
        await chat.ended(pilot)
        await pilot.press("f3")
        assert isinstance(chat.app.screen, SourcesScreen)
        await chat.until(pilot, lambda: "paused once per term" in chat.screen_text)
        await pilot.press("down")
        await chat.until(pilot, lambda: "five business days" in chat.screen_text)
        assert "Found, not cited" in chat.screen_text
        await pilot.press("escape")
        assert chat.app.screen is chat.app.chat


async def test_passages_that_nothing_cites_can_be_read(chat: Chat) -> None:
    chat.plays(Status("retrieving", passages=(PAUSE, REFUND)), Token("No."), Done(1, 1.0))
    async with chat.app.run_test(size=SIZE) as pilot:
        await chat.ask(pilot, "Can I pause?")
        await chat.ended(pilot)
        await pilot.press("f3")
        await chat.until(pilot, lambda: "paused once per term" in chat.screen_text)
        await pilot.press("down")
        await chat.until(pilot, lambda: "five business days" in chat.screen_text)


async def test_a_chip_opens_its_passage(chat: Chat) -> None:
    chat.plays(Token("See [S1] and [S2]."), PAUSE, REFUND, Done(1, 1.0))
    async with chat.app.run_test(size=SIZE) as pilot:
        await chat.ask(pilot, "Can I pause?")
        await chat.ended(pilot)
        chat.transcript.focus()
        await pilot.press("right", "right", "enter")
        await chat.until(pilot, lambda: "five business days" in chat.screen_text)


async def test_without_sources_the_key_says_so(chat: Chat) -> None:
    async with chat.app.run_test(size=SIZE) as pilot:
        await pilot.press("f3")
        assert "no sources" in chat.status
