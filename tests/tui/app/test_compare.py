"""One question to several backends, side by side."""

from __future__ import annotations

import pytest
from textual.widgets import Static

from backends.events import Error, Meta, Status, Token
from tests.fakes.scripted import Hold, answer
from tests.tui.app.conftest import BACKENDS, PAUSE, Chat
from tui.history.history import History
from tui.screens.compare import CompareScreen
from tui.screens.compare_layout import CompareLayout, lay_out
from tui.screens.compare_with import CompareWithScreen

SIZES = [(80, 24), (120, 36), (200, 60)]


def test_answers_stand_side_by_side_where_they_can_be_read() -> None:
    assert lay_out(80, 24, 2) == CompareLayout(True, "strip", 2)
    assert lay_out(80, 24, 3) == CompareLayout(True, "numbers", 1)
    assert lay_out(120, 36, 2) == CompareLayout(False, "panel", 19)
    assert lay_out(200, 60, 4) == CompareLayout(False, "panel", 24)


async def compare(chat: Chat, pilot: object, draft: str = "Can I pause?") -> CompareScreen:
    """The screen with both backends asked."""
    await chat.mounted(pilot)  # type: ignore[arg-type]
    chat.composer.text = draft
    await pilot.press("f12")  # type: ignore[attr-defined]
    await chat.until(pilot, lambda: isinstance(chat.app.screen, CompareWithScreen))  # type: ignore[arg-type]
    await pilot.press("enter")  # type: ignore[attr-defined]
    await chat.until(pilot, lambda: isinstance(chat.app.screen, CompareScreen))  # type: ignore[arg-type]
    screen = chat.app.screen
    assert isinstance(screen, CompareScreen)
    return screen


@pytest.mark.parametrize("size", SIZES, ids=str)
async def test_both_stream_at_once_and_it_is_told_who_was_first(chat: Chat, size: tuple[int, int]) -> None:
    hold, other = Hold(), Hold()
    chat.plays(Status("prefilling"), other, *answer("From the demo."))
    chat.plays(Token("From "), hold, *answer("the box."), name="box")
    async with chat.app.run_test(size=size) as pilot:
        await compare(chat, pilot)
        await chat.until(pilot, lambda: "From" in chat.screen_text)
        await other.reached.wait()
        await hold.reached.wait()
        assert "Can I pause?" in chat.screen_text
        other.release()
        await chat.until(pilot, lambda: "From the demo." in chat.screen_text and "finished first" in chat.screen_text)
        hold.release()
        await chat.until(pilot, lambda: "the box." in chat.screen_text)
        heads = [
            line for line in chat.screen_text.splitlines() if "first" in line and ("demo" in line or "box" in line)
        ]
        assert heads
        assert chat.screen_text.count("TTFT") == 2
        assert chat.screen_text.count(" box ") == 1
    sent = [chat.backends[name].requests[-1].messages[-1].content for name in BACKENDS]
    assert sent == ["Can I pause?"] * 2


async def test_both_waterfalls_have_one_axis_and_a_long_model_hides_nothing(chat: Chat) -> None:
    hold, other = Hold(), Hold()
    chat.plays(Token("One"), *answer(" is fast."))
    chat.plays(Meta(model="/models/" + "long" * 30), other, Token("Two"), hold, *answer(" is not."), name="box")
    async with chat.app.run_test(size=SIZES[1]) as pilot:
        await compare(chat, pilot)
        await chat.until(pilot, lambda: "One is fast." in chat.screen_text)
        chat.clock.advance(800)
        other.release()
        await hold.reached.wait()
        chat.clock.advance(500)
        hold.release()
        await chat.until(pilot, lambda: "Two is not." in chat.screen_text and "Esc closes" in chat.screen_text)
        axes = [line for line in chat.screen_text.splitlines() if "┴" in line]
        assert "".join(axes).count("┴") == "".join(axes).count("1.3 s") == 2
        head = chat.screen_text.splitlines()[2]
        assert head.split()[:5] == ["1", "demo", "complete", "first", "finished"]
        assert "2  box  complete  …" in head
        assert head.rstrip().endswith("long")
        number, *rest = chat.app.screen.query_one("#answer-1 .answer-head", Static).render_line(0)
        assert number.style is not None
        assert number.style.reverse
        assert not any(segment.style and segment.style.reverse for segment in rest)


async def test_esc_cancels_all_and_then_leaves(chat: Chat) -> None:
    hold, other = Hold(), Hold()
    chat.plays(Token("One"), hold)
    chat.plays(Token("Two"), other, name="box")
    async with chat.app.run_test(size=SIZES[1]) as pilot:
        await compare(chat, pilot)
        await hold.reached.wait()
        await other.reached.wait()
        await pilot.press("escape")
        await chat.until(pilot, lambda: chat.demo.cut == chat.backends["box"].cut == 1)
        assert isinstance(chat.app.screen, CompareScreen)
        await pilot.press("escape")
        await chat.until(pilot, lambda: chat.app.screen is chat.app.chat)
        await chat.until(pilot, lambda: chat.backends["box"].closed)
        assert not chat.demo.closed
        assert chat.composer.text == "Can I pause?"
        assert chat.app.chat._conversation.turns == []


async def test_the_chosen_answer_is_taken_into_the_conversation(chat: Chat, history: History) -> None:
    chat.plays(*answer("From the demo."))
    chat.plays(Status("retrieving", passages=(PAUSE,)), PAUSE, Meta(model="qwen"), *answer("The box [S1]."), name="box")
    async with chat.app.run_test(size=SIZES[1]) as pilot:
        await compare(chat, pilot)
        await chat.until(pilot, lambda: "The box" in chat.screen_text and "From the demo." in chat.screen_text)
        await pilot.press("2", "enter")
        await chat.until(pilot, lambda: chat.app.screen is chat.app.chat)
        await chat.until(pilot, lambda: "The box" in chat.screen_text)
        assert "From the demo." not in chat.screen_text
        assert chat.composer.text == ""
        question, taken = chat.app.chat._conversation.turns
        assert (question.content, taken.content, taken.backend, taken.model) == (
            "Can I pause?",
            "The box [S1].",
            "box",
            "qwen",
        )
        stored = history.thread(chat.app.chat._conversation.id or "")
        assert [message.content for message in stored] == ["Can I pause?", "The box [S1]."]
        assert stored[0].sources == (PAUSE,)
        assert stored[1].timeline


async def test_the_last_question_is_compared_where_none_is_written(chat: Chat) -> None:
    chat.plays(*answer("First."))
    async with chat.app.run_test(size=SIZES[1]) as pilot:
        await chat.mounted(pilot)
        await pilot.press("f12")
        assert "nothing to compare" in chat.status
        await chat.ask(pilot, "Really?")
        await chat.ended(pilot)
        chat.plays(Error("CONNECT", "nobody there"))
        chat.plays(*answer("Second."), name="box")
        await compare(chat, pilot, draft="")
        await chat.until(pilot, lambda: "nobody there" in chat.screen_text and "Second." in chat.screen_text)
        await pilot.press("enter")
        assert isinstance(chat.app.screen, CompareScreen)  # what failed has nothing to take
        await pilot.press("tab", "enter")
        await chat.until(pilot, lambda: "‹ 2/2" in chat.screen_text)
        assert [turn.content for turn in chat.app.chat._conversation.turns] == ["Really?", "Second."]


async def test_what_is_chosen_is_told_without_colour(chat: Chat) -> None:
    async with chat.app.run_test(size=SIZES[1]) as pilot:
        await chat.mounted(pilot)
        chat.composer.text = "Can I pause?"
        await pilot.press("f12")
        await chat.until(pilot, lambda: chat.screen_text.count("✓") == 2)
        await pilot.press("space")
        await chat.until(pilot, lambda: chat.screen_text.count("✓") == 1)
