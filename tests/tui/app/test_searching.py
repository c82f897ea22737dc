"""Searching in the whole app: the line, its keys, and who gets Esc."""

from __future__ import annotations

from textual.widgets import Input

from backends.events import Token
from tests.fakes.scripted import Hold, answer
from tests.tui.app.conftest import Chat
from tests.tui.app.test_chat import SIZE
from tui.widgets.search_line import SearchLine

TEXT = "\n\n".join(f"paragraph {number}" for number in range(60))


def lines(chat: Chat) -> list[str]:
    return [line for line in chat.screen_text.split("\n") if "Search " in line]


async def test_the_line_opens_counts_walks_and_closes(chat: Chat) -> None:
    chat.plays(*answer(TEXT))
    async with chat.app.run_test(size=SIZE) as pilot:
        await pilot.press("ctrl+f")
        assert "nothing to search" in chat.status
        await chat.ask(pilot, "Can I pause?")
        await chat.ended(pilot)
        await pilot.press("ctrl+f")
        await chat.until(pilot, lambda: isinstance(chat.app.focused, Input))
        await pilot.press(*"paragraph")
        await chat.until(pilot, lambda: "of 60" in "".join(lines(chat)))
        await pilot.press("enter", "down", "up")
        await chat.until(pilot, lambda: " of 60" in "".join(lines(chat)))
        await pilot.press(*"xx")
        await chat.until(pilot, lambda: "not found" in "".join(lines(chat)))
        await pilot.press("escape")
        await chat.until(pilot, lambda: not chat.app.chat.query(SearchLine))
        assert chat.composer.has_focus
        assert not chat.transcript.searching


async def test_slash_searches_where_the_transcript_has_the_focus(chat: Chat) -> None:
    chat.plays(*answer(TEXT))
    async with chat.app.run_test(size=SIZE) as pilot:
        await chat.ask(pilot, "Can I pause?")
        await chat.ended(pilot)
        await pilot.press("/")
        assert chat.composer.text == "/"
        chat.transcript.focus()
        await pilot.pause()
        await pilot.press("/")
        await chat.until(pilot, lambda: isinstance(chat.app.focused, Input))
        assert chat.transcript.copy_next("message")
        await pilot.press("escape")  # of the selection first
        assert not chat.transcript.has_selection
        await pilot.press("9")
        await chat.until(pilot, lambda: chat.transcript.found[1] == 6)
        chat.transcript.focus()
        await pilot.pause()
        await pilot.press("n")
        assert chat.composer.text == "/"
        await pilot.press("escape")
        await chat.until(pilot, lambda: not chat.app.chat.query(SearchLine))
        assert chat.transcript.has_focus


async def test_enter_leads_back_to_the_transcript_where_n_goes_on(chat: Chat) -> None:
    chat.plays(*answer(TEXT))
    async with chat.app.run_test(size=SIZE) as pilot:
        await chat.ask(pilot, "Can I pause?")
        await chat.ended(pilot)
        chat.transcript.focus()
        await pilot.pause()
        await pilot.press("/")
        await chat.until(pilot, lambda: isinstance(chat.app.focused, Input))
        await pilot.press(*"paragraph")
        await chat.until(pilot, lambda: chat.transcript.found[1] == 60)
        shown = chat.transcript.found[0]
        await pilot.press("enter")
        await chat.until(pilot, lambda: chat.transcript.has_focus)
        assert chat.transcript.found == (shown, 60)
        await pilot.press("N", "N", "n")
        assert chat.transcript.found == ((shown - 2) % 60 + 1, 60)


async def test_escape_cancels_before_it_closes(chat: Chat) -> None:
    hold = Hold()
    chat.plays(Token("some words"), hold)
    async with chat.app.run_test(size=SIZE) as pilot:
        await chat.ask(pilot, "Can I pause?")
        await chat.until(pilot, hold.reached.is_set)
        await pilot.press("ctrl+f")
        await chat.until(pilot, lambda: isinstance(chat.app.focused, Input))
        await pilot.press("escape")
        assert chat.app.chat.worker.turn is None
        assert chat.transcript.searching
        await pilot.press("escape")
        await chat.until(pilot, lambda: not chat.app.chat.query(SearchLine))


async def test_a_new_conversation_ends_the_search(chat: Chat) -> None:
    chat.plays(*answer("some words"))
    async with chat.app.run_test(size=SIZE) as pilot:
        await chat.ask(pilot, "Can I pause?")
        await chat.ended(pilot)
        await pilot.press("ctrl+f")
        await chat.until(pilot, lambda: isinstance(chat.app.focused, Input))
        await pilot.press("ctrl+n")
        await chat.until(pilot, lambda: not chat.app.chat.query(SearchLine))
        assert not chat.transcript.searching


async def test_a_click_takes_no_letter_from_the_prompt_and_tab_says_what_letters_do(chat: Chat) -> None:
    chat.plays(*answer(TEXT))
    async with chat.app.run_test(size=SIZE) as pilot:
        await chat.ask(pilot, "Can I pause?")
        await chat.ended(pilot)
        await pilot.click("#transcript", offset=(5, 5))
        await pilot.press("y", "/", "n", "N")
        assert chat.composer.text == "y/nN"
        assert not chat.app.clipboard
        await pilot.press("tab")
        await chat.until(pilot, lambda: "[ ] message" in chat.status)
        assert chat.transcript.has_focus
        await pilot.press("y")
        assert chat.app.clipboard == TEXT
        await pilot.press("x")
        await chat.until(pilot, lambda: chat.composer.has_focus)
        assert chat.composer.text.endswith("x")
        assert "[ ] message" not in chat.status
