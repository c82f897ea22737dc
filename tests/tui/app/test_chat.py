"""The app through Pilot, on a scripted backend: asking, cancelling, retrying, continuing."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from textual.command import CommandPalette

from backends.backend import ChatRequest
from backends.events import Done, Error, Event, Meta, Status, Token
from backends.telemetry.stages import Span
from tests.fakes.scripted import Hold, answer
from tests.tui.app.conftest import PAUSE, REFUND, Chat
from tui.history.history import History
from tui.screens.help import HelpScreen
from tui.screens.keys import CHAT_KEYS
from tui.widgets.welcome import Welcome

SIZE = (120, 40)


async def test_under_a_slow_answer_stands_why_the_cache_was_missed(chat: Chat) -> None:
    chat.plays(*answer("One."))
    async with chat.app.run_test(size=(200, 40)) as pilot:
        await chat.mounted(pilot)
        await chat.ask(pilot, "One?")
        await chat.ended(pilot)
        hold = Hold()
        told = Meta(prompt_tokens=2_950, cached_tokens=0, spans=(Span("prefill", 0, 976),))
        chat.plays(hold, told, *answer("Two."))
        await chat.ask(pilot, "Two?")
        await hold.reached.wait()
        chat.clock.advance(1_600)
        hold.release()
        await chat.ended(pilot)
        shown = " ".join(chat.screen_text.split())
        assert "TTFT 1.6 s: 61 % prefill of 2,950 tokens, none cached: the cache had let go of it" in shown


async def test_a_question_is_answered(chat: Chat) -> None:
    chat.plays(
        Status("retrieving", 1, 3, passages=(PAUSE, REFUND)),
        Token("Once per term "),
        Token("[S1]."),
        PAUSE,
        Meta(model="smol-7m", prompt_tokens=400, cached_tokens=300),
        Done(2, 9.0),
    )
    async with chat.app.run_test(size=SIZE) as pilot:
        await chat.ask(pilot, "Can I pause?")
        await chat.ended(pilot)
        text = chat.screen_text
        assert "Can I pause?" in text
        assert "Once per term [S1]." in text
        assert "[S1] Plans and prices" in text
        assert "400 tokens · 75 % cached" in text
        assert "smol-7m" in chat.status
        assert chat.composer.text == ""
        assert [message.content for message in chat.demo.requests[0].messages] == ["Can I pause?"]


async def test_nothing_is_drawn_between_enter_and_the_request(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    chat.plays(*answer("Once."))
    drawn: list[int] = []
    stream = chat.demo.stream

    def asked(request: ChatRequest) -> AsyncGenerator[Event, None]:
        drawn.append(chat.transcript.frames)
        return stream(request)

    monkeypatch.setattr(chat.demo, "stream", asked)
    async with chat.app.run_test(size=SIZE) as pilot:
        for question in ("Can I pause?", "And refunds?"):
            chat.composer.text = question
            await pilot.pause(0.2)
            before = chat.transcript.frames
            await pilot.press("enter")
            await chat.ended(pilot)
            assert drawn.pop() == before
            assert question in chat.screen_text


async def test_the_next_question_carries_the_path_and_the_sources(chat: Chat) -> None:
    chat.plays(Status("retrieving", passages=(PAUSE,)), *answer("Once."))
    async with chat.app.run_test(size=SIZE) as pilot:
        await chat.ask(pilot, "Can I pause?")
        await chat.ended(pilot)
        await chat.ask(pilot, "And refunds?")
        await chat.ended(pilot)
    sent = chat.demo.requests[1].messages
    assert [(message.role, message.content) for message in sent] == [
        ("user", "Can I pause?"),
        ("assistant", "Once."),
        ("user", "And refunds?"),
    ]
    assert sent[0].sources == (PAUSE,)


async def test_escape_cancels_at_once_and_keeps_the_text(chat: Chat) -> None:
    hold = Hold()
    chat.plays(Token("Half an "), Token("answer"), hold)
    async with chat.app.run_test(size=SIZE) as pilot:
        await chat.ask(pilot, "Can I pause?")
        await chat.until(pilot, hold.reached.is_set)
        await pilot.press("escape")
        assert chat.app.chat.worker.turn is None
        await chat.until(pilot, lambda: "cancelled" in chat.screen_text)
        assert "Half an answer" in chat.screen_text
        await chat.until(pilot, lambda: chat.demo.streaming == 0)
        assert chat.demo.cut == 1
        stored = chat.history.thread(chat.history.latest_conversation() or "")
        assert (stored[-1].content, stored[-1].outcome) == ("Half an answer", "cancelled")


async def test_escape_cancels_first_and_closes_an_overlay_second(chat: Chat) -> None:
    hold = Hold()
    chat.plays(Token("Half"), hold)
    async with chat.app.run_test(size=SIZE) as pilot:
        await chat.ask(pilot, "Can I pause?")
        await chat.until(pilot, hold.reached.is_set)
        await pilot.press("f1")
        assert isinstance(chat.app.screen, HelpScreen)
        await pilot.press("escape")
        assert chat.app.chat.worker.turn is None
        assert isinstance(chat.app.screen, HelpScreen)
        await pilot.press("escape")
        assert chat.app.screen is chat.app.chat


async def test_control_c_cancels_too(chat: Chat) -> None:
    hold = Hold()
    chat.plays(Token("Half"), hold)
    async with chat.app.run_test(size=SIZE) as pilot:
        await chat.ask(pilot, "Can I pause?")
        await chat.until(pilot, hold.reached.is_set)
        await pilot.press("ctrl+c")
        assert chat.app.chat.worker.turn is None


async def test_an_error_is_readable_and_can_be_retried(chat: Chat) -> None:
    chat.plays(Error("CONNECT", "http://box:1: nobody listens there; start the server"))
    async with chat.app.run_test(size=SIZE) as pilot:
        await chat.ask(pilot, "Can I pause?")
        await chat.ended(pilot)
        assert "nobody listens there; start the server" in chat.screen_text
        assert "Ctrl+R to retry" in chat.screen_text
        chat.plays(*answer("Yes."))
        await pilot.press("ctrl+r")
        await chat.ended(pilot)
        assert "nobody listens" not in chat.screen_text
        assert "Yes." in chat.screen_text
    stored = chat.history.thread(chat.history.latest_conversation() or "")
    assert [message.content for message in stored] == ["Can I pause?", "Yes."]
    assert chat.history.siblings(stored[-1].id) == [stored[-1].id]  # a failure is nothing to go back to


async def test_the_answer_that_a_retry_replaces_stays_in_the_history(chat: Chat) -> None:
    chat.plays(*answer("First."))
    async with chat.app.run_test(size=SIZE) as pilot:
        await chat.ask(pilot, "Can I pause?")
        await chat.ended(pilot)
        chat.plays(*answer("Second."))
        await pilot.press("ctrl+r")
        await chat.ended(pilot)
        assert "First." not in chat.screen_text
        assert "Second." in chat.screen_text
    stored = chat.history.thread(chat.history.latest_conversation() or "")
    first, second = chat.history.siblings(stored[-1].id)
    assert second == stored[-1].id
    assert [m.content for m in chat.history.thread(chat.history.latest_conversation() or "", first)][-1] == "First."


async def test_a_truncated_answer_is_continued_in_place(chat: Chat) -> None:
    chat.plays(Token("One, "), Done(1, 1.0, "length"))
    async with chat.app.run_test(size=SIZE) as pilot:
        await chat.ask(pilot, "Count")
        await chat.ended(pilot)
        assert "Ctrl+G continue" in chat.screen_text
        chat.plays(*answer("two."))
        await pilot.press("ctrl+g")
        await chat.ended(pilot)
        assert "One, two." in chat.screen_text
        assert "Ctrl+G continue" not in chat.screen_text
    assert chat.demo.requests[1].continue_from == "One, "
    assert [message.content for message in chat.demo.requests[1].messages] == ["Count"]
    stored = chat.history.thread(chat.history.latest_conversation() or "")
    assert [(message.content, message.outcome) for message in stored] == [
        ("Count", "complete"),
        ("One, two.", "complete"),
    ]


async def test_a_complete_answer_is_not_continued(chat: Chat) -> None:
    chat.plays(*answer("All."))
    async with chat.app.run_test(size=SIZE) as pilot:
        await chat.ask(pilot, "Count")
        await chat.ended(pilot)
        await pilot.press("ctrl+g")
        assert "nothing to continue" in chat.status
    assert len(chat.demo.requests) == 1


async def test_a_stream_that_just_ends_is_interrupted(chat: Chat) -> None:
    chat.plays(Token("Half"))
    async with chat.app.run_test(size=SIZE) as pilot:
        await chat.ask(pilot, "Count")
        await chat.ended(pilot)
        assert "interrupted" in chat.screen_text
        assert "Half" in chat.screen_text


async def test_enter_twice_cancels_the_running_answer_and_sends(chat: Chat) -> None:
    hold = Hold()
    chat.plays(Token("Half"), hold)
    async with chat.app.run_test(size=SIZE) as pilot:
        await chat.ask(pilot, "First?")
        await chat.until(pilot, hold.reached.is_set)
        await chat.ask(pilot, "Second?")
        await pilot.pause()
        assert chat.composer.text == "Second?"
        assert "An answer is running" in chat.status
        assert len(chat.demo.requests) == 1
        chat.plays(*answer("Done."))
        await pilot.press("enter")
        await chat.until(pilot, lambda: len(chat.demo.requests) == 2)
        await chat.ended(pilot)
        assert "Done." in chat.screen_text
        assert "cancelled" in chat.screen_text


async def test_typing_goes_into_the_composer_wherever_the_focus_is(chat: Chat) -> None:
    chat.plays(*answer("Yes."))
    async with chat.app.run_test(size=SIZE) as pilot:
        await chat.ask(pilot, "Can I pause?")
        await chat.ended(pilot)
        chat.transcript.focus()
        await pilot.press("O", "k")
        assert chat.composer.text == "Ok"


async def test_a_new_conversation_begins_empty(chat: Chat) -> None:
    chat.plays(*answer("Yes."))
    async with chat.app.run_test(size=SIZE) as pilot:
        await chat.ask(pilot, "Can I pause?")
        await chat.ended(pilot)
        await pilot.press("ctrl+n")
        assert chat.shown("#welcome")
        await chat.ask(pilot, "Refunds?")
        await chat.ended(pilot)
        assert "Can I pause?" not in chat.screen_text
    assert [message.content for message in chat.demo.requests[1].messages] == ["Refunds?"]
    assert len(chat.history.conversations()) == 2


async def test_a_sample_question_is_asked(chat: Chat) -> None:
    chat.plays(*answer("Yes."))
    async with chat.app.run_test(size=SIZE) as pilot:
        assert "small demo model that knows the sample billing documents" in " ".join(chat.screen_text.split())
        await pilot.press("shift+tab", "down", "enter")
        await chat.ended(pilot)
        assert not chat.app.chat.query_one(Welcome).display
    assert chat.demo.requests[0].messages[0].content == "Can I pause my annual subscription?"


async def test_a_conversation_is_resumed(history: History) -> None:
    before = Chat(history)
    before.plays(Token("Once [S1], "), PAUSE, Done(1, 1.0, "length"))
    async with before.app.run_test(size=SIZE) as pilot:
        await before.ask(pilot, "Can I pause?")
        await before.ended(pilot)

    chat = Chat(history, conversation=history.latest_conversation())
    chat.plays(*answer("per term."))
    async with chat.app.run_test(size=SIZE) as pilot:
        await chat.until(pilot, lambda: "Once [S1]," in chat.screen_text)
        assert "[S1] Plans and prices" in chat.screen_text
        assert "truncated" in chat.screen_text
        await chat.until(pilot, lambda: bool(chat.composer.prompts))
        await pilot.press("up")
        assert chat.composer.text == "Can I pause?"
        await pilot.press("ctrl+g")
        await chat.ended(pilot)
        assert "Once [S1], per term." in chat.screen_text
    assert chat.demo.requests[0].continue_from == "Once [S1], "


async def test_what_streams_when_the_app_quits_is_saved(chat: Chat) -> None:
    hold = Hold()
    chat.plays(Token("Half"), hold)
    async with chat.app.run_test(size=SIZE) as pilot:
        await chat.ask(pilot, "Can I pause?")
        await chat.until(pilot, hold.reached.is_set)
        await pilot.press("ctrl+q")
    stored = chat.history.thread(chat.history.latest_conversation() or "")
    assert (stored[-1].content, stored[-1].outcome) == ("Half", "cancelled")
    assert chat.demo.closed
    assert chat.demo.streaming == 0


async def test_the_palette_has_the_commands(chat: Chat) -> None:
    async with chat.app.run_test(size=SIZE) as pilot:
        await pilot.press("ctrl+p")
        assert isinstance(chat.app.screen, CommandPalette)
        await pilot.press(*"backend box")
        await chat.until(pilot, lambda: "Use backend box" in chat.screen_text)
        await pilot.press("escape")
        assert chat.app.screen is chat.app.chat
    titles = {command.title for command in chat.app.get_system_commands(chat.app.chat)}
    assert {"New conversation", "Retry", "Continue", "Search", "Switch backend", "Theme"} <= titles
    assert {"Copy answer", "Copy code", "Copy message"} <= titles


@pytest.mark.parametrize("width", [60, 120])
async def test_help_explains_keys_stages_and_numbers(chat: Chat, width: int) -> None:
    async with chat.app.run_test(size=(width, 240)) as pilot:
        await pilot.press("f1")
        await chat.until(pilot, lambda: "Keys" in chat.screen_text)
        text = chat.screen_text
        for key in CHAT_KEYS:
            assert key.shown in text
        for word in ("Esc", "Ctrl+Q", "queue", "first token", "unattributed", "TTFT"):
            assert word in text
        assert "llmchat.log" in "".join(text.replace("│", " ").split())  # a long path is broken somewhere


async def test_a_history_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    history = History(tmp_path)  # a folder is no database
    chat = Chat(history)
    async with chat.app.run_test(size=SIZE, notifications=True) as pilot:
        await chat.until(pilot, lambda: "History" in chat.screen_text)  # the title of the toast
        assert [history.notice] == [notification.message for notification in chat.app._notifications]
    history.close()


async def test_the_answer_is_copied(chat: Chat) -> None:
    chat.plays(*answer("**Yes.**"))
    async with chat.app.run_test(size=SIZE) as pilot:
        await chat.ask(pilot, "Can I pause?")
        await chat.ended(pilot)
        await pilot.press("f5")
        assert chat.app.clipboard == "**Yes.**"


@pytest.mark.parametrize(
    "event",
    [
        Status("queued", detail="\x1b[31mred\x07"),
        Error("X\x1b[0m", "bad\x1b]52;c;aGk=\x07 thing"),
        Meta(model="m\x1b[2Jodel"),
    ],
)
async def test_control_characters_never_reach_the_screen(chat: Chat, event: Event) -> None:
    hold = Hold()
    chat.plays(event, hold)
    async with chat.app.run_test(size=SIZE) as pilot:
        await chat.ask(pilot, "Can I pause?")
        await chat.until(pilot, lambda: hold.reached.is_set() or chat.app.chat.worker.turn is None)
        await pilot.pause(0.3)
        assert not [character for character in chat.screen_text if ord(character) < 32 and character != "\n"]
        hold.release()


async def test_a_lost_connection_shows_under_the_text_until_it_is_back(chat: Chat) -> None:
    lost, back = Hold(), Hold()
    chat.plays(Token("Once "), Status("connecting", detail="resuming"), lost, Token("per term."), back, Done(2, 9.0))
    async with chat.app.run_test(size=SIZE) as pilot:
        await chat.ask(pilot, "Can I pause?")
        await chat.until(pilot, lambda: "resuming" in chat.screen_text)
        assert "Once" in chat.screen_text
        lost.release()
        await chat.until(pilot, lambda: "per term." in chat.screen_text)
        assert "resuming" not in chat.screen_text
        back.release()


async def test_a_defect_is_one_line_without_a_traceback(chat: Chat) -> None:
    chat.plays(Token("Half"), ZeroDivisionError("division by zero"))
    async with chat.app.run_test(size=SIZE) as pilot:
        await chat.ask(pilot, "Can I pause?")
        await chat.ended(pilot)
        assert "INTERNAL" in chat.screen_text
        assert "llmchat.log" in "".join(chat.screen_text.split())
        assert "ZeroDivisionError" not in chat.screen_text
        assert "Half" in chat.screen_text
