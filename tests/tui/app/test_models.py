"""A backend's models: listed by the server, chosen while chatting, kept for the session."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from textual.pilot import Pilot

from backends.errors import BackendError, Code
from tests.fakes.scripted import answer
from tests.tui.app.conftest import Chat

SIZE = (120, 40)


@asynccontextmanager
async def listing(chat: Chat, more: int = 0) -> AsyncIterator[Pilot[None]]:
    """The chat, whose backends list models: `demo` two of them and `more`, `box` none, since it is down."""

    async def models(name: str) -> tuple[str, ...]:
        if name == "box":
            raise BackendError(Code.CONNECT, "cannot reach gpu-box")
        return ("small", "big\x1b[31m", *map(str, range(more)))

    chat.app.chat.list_models = models
    async with chat.app.run_test(size=SIZE) as pilot:
        await chat.mounted(pilot)
        yield pilot


async def test_a_model_of_the_backend_in_use_is_chosen_and_kept(chat: Chat) -> None:
    chat.plays(*answer("Yes."))
    async with listing(chat) as pilot:
        await pilot.press("f4")
        await chat.until(pilot, lambda: "small" in chat.screen_text)
        await pilot.press("down", "enter")
        await chat.until(pilot, lambda: "small" in chat.status)
        for _ in range(2):
            await chat.ask(pilot, "Can I pause?")
            await chat.ended(pilot)
        assert "small" in chat.status
        await pilot.press("f4")
        await chat.until(pilot, lambda: "● small" in chat.screen_text)
        await pilot.press("enter")
        await chat.ask(pilot, "And now?")
        await chat.ended(pilot)

    assert [request.model for request in chat.demo.requests] == ["small", "small", None]
    assert not chat.backends["box"].requests


async def test_another_backends_models_are_asked_for_with_the_right_arrow(chat: Chat) -> None:
    async with listing(chat) as pilot:
        await pilot.press("f4")
        await chat.until(pilot, lambda: "big" in chat.screen_text)
        assert "gpu-box " not in chat.screen_text
        await pilot.press("down", "down", "down", "right")
        await chat.until(pilot, lambda: "cannot reach gpu-box" in chat.screen_text)
        await pilot.press("enter")
        await chat.until(pilot, lambda: chat.demo.closed)
        assert "box" in chat.status


async def test_what_was_asked_for_is_in_sight_at_the_end_of_a_long_list(chat: Chat) -> None:
    async with listing(chat, more=20) as pilot:
        await pilot.press("f4")
        await chat.until(pilot, lambda: "big" in chat.screen_text)
        await pilot.press("end", "right")
        await chat.until(pilot, lambda: "cannot reach gpu-box" in chat.screen_text)
