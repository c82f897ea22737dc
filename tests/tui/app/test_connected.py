"""The backend of the chat through Pilot: opened, warmed while somebody types, exchanged."""

from __future__ import annotations

import threading

from backends.errors import BackendError, Code
from backends.events import Token
from tests.fakes.scripted import Hold, answer
from tests.tui.app.conftest import Chat
from tui.screens.backends import BackendsScreen

SIZE = (120, 40)


async def test_the_conversation_goes_on_with_another_backend(chat: Chat) -> None:
    chat.plays(*answer("Yes."))
    chat.plays(*answer("Also yes."), name="box")
    async with chat.app.run_test(size=SIZE) as pilot:
        await chat.ask(pilot, "Can I pause?")
        await chat.ended(pilot)
        await pilot.press("f4")
        assert isinstance(chat.app.screen, BackendsScreen)
        await pilot.press("down", "enter")
        await chat.until(pilot, lambda: chat.demo.closed)
        await chat.ask(pilot, "Sure?")
        await chat.ended(pilot)
        assert "Also yes." in chat.screen_text
        assert "box" in chat.status
    assert [message.content for message in chat.backends["box"].requests[0].messages] == [
        "Can I pause?",
        "Yes.",
        "Sure?",
    ]
    assert chat.backends["box"].closed


async def test_a_backend_that_cannot_be_opened_leaves_the_old_one(chat: Chat) -> None:
    chat.plays(*answer("Still here."))
    async with chat.app.run_test(size=SIZE, notifications=True) as pilot:
        await chat.until(pilot, lambda: "ready" in chat.status)

        def refuse(name: str) -> None:
            raise BackendError(Code.CONFIG, "box: no such model")

        chat.opening = refuse  # type: ignore[assignment]
        await pilot.press("f4", "down", "enter")
        await chat.until(pilot, lambda: "box: no such model" in chat.screen_text)
        await chat.ask(pilot, "There?")
        await chat.ended(pilot)
        assert "Still here." in chat.screen_text


async def test_the_backend_is_not_switched_under_a_running_answer(chat: Chat) -> None:
    hold = Hold()
    chat.plays(Token("Half"), hold)
    async with chat.app.run_test(size=SIZE) as pilot:
        await chat.ask(pilot, "Can I pause?")
        await chat.until(pilot, hold.reached.is_set)
        chat.app.chat.switch_backend("box")
        await pilot.press("f4")
        assert "Esc cancels it" in chat.status
        assert chat.app.screen is chat.app.chat
        assert not chat.demo.closed


async def test_the_prompt_is_usable_before_the_backend_is_there(chat: Chat) -> None:
    release = threading.Event()

    def slow(name: str) -> object:
        release.wait(20)
        return chat.backends[name]

    chat.opening = slow  # type: ignore[assignment]
    chat.plays(*answer("At last."))
    async with chat.app.run_test(size=SIZE) as pilot:
        assert "opening" in chat.status
        await pilot.press(*"Hello")
        assert chat.composer.text == "Hello"
        await pilot.press("enter")
        await pilot.pause()
        assert "waiting for the backend" in chat.screen_text
        release.set()
        await chat.ended(pilot)
        assert "At last." in chat.screen_text


async def test_a_backend_that_does_not_open_says_why(chat: Chat) -> None:
    def refuse(name: str) -> None:
        raise BackendError(Code.MODEL_LOAD, "demo: the model file is damaged")

    chat.opening = refuse  # type: ignore[assignment]
    async with chat.app.run_test(size=SIZE) as pilot:
        await chat.until(pilot, lambda: "the model file is damaged" in chat.screen_text)
        assert "not available" in chat.status
        chat.opening = lambda name: chat.backends[name]
        chat.plays(*answer("Better."))
        await chat.ask(pilot, "Now?")
        await chat.ended(pilot)
        assert "Better." in chat.screen_text


async def test_what_is_typed_warms_the_backend(chat: Chat) -> None:
    chat.plays(*answer("Yes."))
    async with chat.app.run_test(size=SIZE) as pilot:
        await chat.until(pilot, lambda: "ready" in chat.status)
        await pilot.press(*"Can I")
        await chat.until(pilot, lambda: len(chat.demo.warmed) > 1)
        assert chat.demo.warmed[-1].messages[-1].content == "Can I"
        assert chat.demo.requests == []
