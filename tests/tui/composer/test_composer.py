"""The prompt, driven through a real Textual app."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from textual import events, on
from textual.app import App, ComposeResult
from textual.pilot import Pilot
from textual.widgets import Static

from tui.widgets.composer import Composer


class Stage(App[None]):
    """A composer below some space; keeps what it posts."""

    CSS = "Static { height: 1fr; }"

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[str] = []
        self.there = ""  # what stood in the composer when something was sent
        self.takes = True
        self.drafts: list[str] = []

    def compose(self) -> ComposeResult:
        yield Static()
        yield Composer()

    def on_mount(self) -> None:
        self.query_one(Composer).focus()

    @on(Composer.Submitted)
    def submitted(self, event: Composer.Submitted) -> None:
        self.sent.append(event.text)
        self.there = self.query_one(Composer).text
        if self.takes:
            event.taken.set()

    @on(Composer.Changed)
    def changed(self, event: Composer.Changed) -> None:
        self.drafts.append(event.text_area.text)


@asynccontextmanager
async def staged(size: tuple[int, int] = (60, 24)) -> AsyncIterator[tuple[Stage, Composer, Pilot[None]]]:
    app = Stage()
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        yield app, app.query_one(Composer), pilot


async def test_enter_sends_and_clears() -> None:
    async with staged() as (app, composer, pilot):
        await pilot.press(*"hello", "enter")
        assert app.sent == ["hello"]
        assert composer.text == ""


async def test_it_is_cleared_behind_the_sending_and_keys_wait_for_that() -> None:
    async with staged() as (app, composer, pilot):
        await pilot.press(*"hello")
        for key in ("enter", "x", "y"):
            composer.post_message(events.Key(key, key if len(key) == 1 else None))
        await pilot.pause()
        assert app.sent == ["hello"]
        assert app.there == "hello"
        assert composer.text == "xy"


async def test_what_was_not_taken_comes_back() -> None:
    async with staged() as (app, composer, pilot):
        await pilot.press(*"hello")
        composer.post_message(events.Key("enter", None))
        composer.put_back("hello")
        await pilot.pause()
        assert app.sent == ["hello"]
        assert composer.text == "hello"


async def test_it_is_cleared_though_nobody_says_that_the_text_is_taken() -> None:
    async with staged() as (app, composer, pilot):
        app.takes = False
        await pilot.press(*"hello", "enter")
        await pilot.pause()
        assert app.sent == ["hello"]
        assert composer.text == ""


async def test_blank_text_is_not_sent() -> None:
    async with staged() as (app, _, pilot):
        await pilot.press("space", "enter", "ctrl+j", "enter")
        assert app.sent == []


@pytest.mark.parametrize("key", ["shift+enter", "ctrl+j", "alt+enter"])
async def test_other_enters_break_the_line(key: str) -> None:
    async with staged() as (app, _, pilot):
        await pilot.press("a", key, "b", "enter")
        assert app.sent == ["a\nb"]


async def test_typing_is_told_for_type_ahead() -> None:
    async with staged() as (app, _, pilot):
        await pilot.press(*"hi")
        await pilot.pause()
        assert app.drafts[-2:] == ["h", "hi"]


async def test_a_paste_of_many_lines_stays_one_message_and_does_not_send() -> None:
    async with staged() as (app, composer, pilot):
        composer.post_message(events.Paste("one\r\ntwo\rthree\n\x1b[31m\ttab"))
        await pilot.pause()
        assert app.sent == []
        assert composer.text == "one\ntwo\nthree\n␛[31m\ttab"
        await pilot.press("enter")
        assert app.sent == ["one\ntwo\nthree\n␛[31m\ttab"]


async def test_it_grows_to_eight_lines_and_shrinks_again() -> None:
    async with staged() as (_, composer, pilot):
        await pilot.press("x", "ctrl+j")
        await pilot.pause()
        assert composer.size.height == 2
        composer.text = "x\n" * 12
        await pilot.pause()
        assert composer.size.height == 8
        await pilot.press("enter")
        await pilot.pause()
        assert composer.size.height == 1


async def test_up_and_down_walk_through_what_was_sent_and_keep_the_draft() -> None:
    async with staged() as (_, composer, pilot):
        composer.prompts = ["first", "second\nof two lines"]
        await pilot.press(*"draft", "up")
        assert composer.text == "second\nof two lines"
        await pilot.press("up")  # within the text first
        assert composer.text == "second\nof two lines"
        await pilot.press("up")
        assert composer.text == "first"
        await pilot.press("up")
        assert composer.text == "first"
        await pilot.press("down", "down")
        assert composer.text == "draft"
        await pilot.press("down")
        assert composer.text == "draft"


async def test_sent_prompts_join_the_history() -> None:
    async with staged() as (_, composer, pilot):
        await pilot.press("a", "enter", "b", "enter", "b", "enter", "up", "up")
        assert composer.text == "a"
        assert composer.prompts == ["a", "b"]


async def test_up_moves_within_a_wrapped_draft_before_it_leaves_it() -> None:
    async with staged((40, 20)) as (_, composer, pilot):
        composer.prompts = ["old"]
        draft = " ".join(["word"] * 12)  # two rows
        composer.text = draft
        composer.move_cursor(composer.document.end)
        await pilot.press("up")
        assert composer.text == draft
        await pilot.press("up")
        assert composer.text == "old"
        await pilot.press("down")
        assert composer.text == draft


async def test_ctrl_u_clears_the_line() -> None:
    async with staged() as (_, composer, pilot):
        await pilot.press("a", "ctrl+j", *"bcd", "ctrl+u")
        assert composer.text == "a\n"


async def test_editing_can_be_undone() -> None:
    async with staged() as (_, composer, pilot):
        await pilot.press(*"ab", "ctrl+z")
        assert composer.text == ""


async def test_it_works_at_forty_columns() -> None:
    async with staged((40, 10)) as (app, composer, pilot):
        assert composer.region.width == 40
        composer.text = "long " * 20
        await pilot.pause()
        assert composer.size.height == 3
        await pilot.press("enter")
        assert app.sent == ["long " * 19 + "long"]
