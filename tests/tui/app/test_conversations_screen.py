"""F10: the list of conversations."""

from __future__ import annotations

from tests.fakes.scripted import answer
from tests.tui.app.conftest import Chat
from tui.history.history import History


def said(history: History, question: str, reply: str) -> str:
    conversation = history.create_conversation("demo")
    asked = history.add_message(conversation, None, "user", question)
    message = history.add_message(conversation, asked, "assistant", "")
    history.update_message(message, content=reply, outcome="complete")
    return conversation


async def test_one_is_found_by_what_was_said_and_gone_on_with(chat: Chat, history: History) -> None:
    first = said(history, "Can I pause?", "Yes, an annual plan.")
    said(history, "What does it cost?", "Nine dollars.")
    chat.plays(*answer("Indeed."))
    async with chat.app.run_test(size=(80, 24)) as pilot:
        await chat.mounted(pilot)
        await pilot.press("f10")
        await chat.until(pilot, lambda: "What does it cost?" in chat.screen_text)
        assert "Can I pause?" in chat.screen_text
        await pilot.press(*"annual")
        await chat.until(pilot, lambda: "What does it cost?" not in chat.screen_text)
        await pilot.press("enter")
        await chat.until(pilot, lambda: chat.app.screen is chat.app.chat and "Yes, an annual plan" in chat.screen_text)
        await chat.ask(pilot, "Really?")
        await chat.ended(pilot)
    assert [message.content for message in history.thread(first)][-2:] == ["Really?", "Indeed."]


async def test_one_is_renamed(chat: Chat, history: History) -> None:
    said(history, "Can I pause?", "Yes.")
    async with chat.app.run_test(size=(120, 36)) as pilot:
        await chat.mounted(pilot)
        await pilot.press("f10", "f2", "ctrl+u", *"Pausing", "enter")
        await chat.until(pilot, lambda: "Pausing" in chat.screen_text)
        assert chat.app.screen is not chat.app.chat
    assert [one.title for one in history.conversations()] == ["Pausing"]


async def test_deleting_takes_two_presses_and_the_open_one_leaves_the_screen(chat: Chat, history: History) -> None:
    chat.plays(*answer("Yes, once."))
    async with chat.app.run_test(size=(80, 24)) as pilot:
        await chat.mounted(pilot)
        await chat.ask(pilot, "Can I pause?")
        await chat.ended(pilot)
        await pilot.press("f10", "delete", "escape", "delete")
        assert len(history.conversations()) == 1
        await pilot.press("delete")
        await chat.until(pilot, lambda: "no conversations yet" in chat.screen_text)
        assert history.conversations() == []
        await pilot.press("escape")
        await chat.until(pilot, lambda: chat.app.screen is chat.app.chat)
        assert "Yes, once." not in chat.screen_text
