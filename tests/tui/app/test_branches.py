"""Answering again, editing a question, and going from one version to another."""

from __future__ import annotations

from backends.events import Done, Error, Reasoning, Token
from tests.fakes.scripted import Hold, answer
from tests.tui.app.conftest import Chat
from tui.history.history import History

SIZE = (100, 30)


def path(chat: Chat) -> list[str]:
    """What is stored as the path that goes on."""
    return [message.content for message in chat.history.thread(chat.history.latest_conversation() or "")]


async def test_the_answers_of_a_retry_can_be_browsed(chat: Chat) -> None:
    chat.plays(*answer("First."))
    async with chat.app.run_test(size=SIZE) as pilot:
        await chat.ask(pilot, "Can I pause?")
        await chat.ended(pilot)
        assert "1/1" not in chat.screen_text
        await pilot.press("alt+left")
        assert "only one version" in chat.status
        chat.plays(*answer("Second."))
        await pilot.press("ctrl+r")
        await chat.ended(pilot)
        assert "‹ 2/2" in chat.screen_text
        await pilot.press("alt+left")
        await chat.until(pilot, lambda: "First." in chat.screen_text)
        assert "1/2 ›" in chat.screen_text
        assert "Second." not in chat.screen_text
        assert path(chat) == ["Can I pause?", "First."]
        await pilot.press("alt+left")
        assert "oldest" in chat.status
        await pilot.press("tab", "greater_than_sign")
        await chat.until(pilot, lambda: "Second." in chat.screen_text)
        await pilot.press("less_than_sign", "tab")
        await chat.until(pilot, lambda: "First." in chat.screen_text)
        chat.plays(*answer("Sure."))
        await chat.ask(pilot, "Really?")
        await chat.ended(pilot)
    sent = [message.content for message in chat.demo.requests[-1].messages]
    assert sent == ["Can I pause?", "First.", "Really?"]
    assert path(chat) == ["Can I pause?", "First.", "Really?", "Sure."]


async def test_a_click_on_the_sign_goes_to_the_other_version(chat: Chat) -> None:
    chat.plays(*answer("First."))
    async with chat.app.run_test(size=SIZE) as pilot:
        await chat.ask(pilot, "Can I pause?")
        await chat.ended(pilot)
        chat.plays(*answer("Second."))
        await pilot.press("ctrl+r")
        await chat.ended(pilot)
        lines = [chat.transcript.render_line(y).text for y in range(chat.transcript.size.height)]
        row = next(row for row, line in enumerate(lines) if "‹ 2/2" in line)
        await pilot.click("#transcript", offset=(lines[row].index("‹"), row))
        await chat.until(pilot, lambda: "First." in chat.screen_text)


async def test_an_edited_question_is_asked_anew_and_the_old_path_is_kept(chat: Chat) -> None:
    async with chat.app.run_test(size=SIZE) as pilot:
        for question in ("One?", "Two?", "Three?"):
            chat.plays(*answer(f"To {question}"))
            await chat.ask(pilot, question)
            await chat.ended(pilot)
        chat.composer.text = "a draft"
        await pilot.press("f8")
        assert chat.composer.text == "Three?"
        await pilot.press("f8")
        assert chat.composer.text == "Two?"
        assert "Edit" in chat.screen_text
        await pilot.press("escape")
        assert chat.composer.text == "a draft"
        await pilot.press("f8", "f8")
        chat.plays(*answer("To the new one."))
        await pilot.press(*" or?", "enter")
        await chat.until(pilot, lambda: "To the new one." in chat.screen_text)
        await chat.ended(pilot)
        assert chat.composer.text == "a draft"
        assert "Three?" not in chat.screen_text
        assert "To One?" in chat.screen_text
        assert "‹ 2/2" in chat.screen_text
        assert path(chat) == ["One?", "To One?", "Two? or?", "To the new one."]
        assert [m.content for m in chat.demo.requests[-1].messages] == ["One?", "To One?", "Two? or?"]
        await pilot.press("alt+left")
        await chat.until(pilot, lambda: "To Three?" in chat.screen_text)
        assert path(chat) == ["One?", "To One?", "Two?", "To Two?", "Three?", "To Three?"]


async def test_the_question_that_was_chosen_in_the_transcript_is_edited(chat: Chat) -> None:
    async with chat.app.run_test(size=SIZE) as pilot:
        for question in ("One?", "Two?"):
            chat.plays(*answer(f"To {question}"))
            await chat.ask(pilot, question)
            await chat.ended(pilot)
        await pilot.press("tab", *["left_square_bracket"] * 4, "e")
        assert chat.composer.text == "One?"
        assert chat.composer.has_focus


async def test_there_is_nothing_to_edit_at_first(chat: Chat) -> None:
    async with chat.app.run_test(size=SIZE) as pilot:
        await pilot.press("f8")
        assert "nothing to edit" in chat.status


async def test_versions_wait_for_a_running_answer(chat: Chat) -> None:
    chat.plays(*answer("First."))
    async with chat.app.run_test(size=SIZE) as pilot:
        await chat.ask(pilot, "Can I pause?")
        await chat.ended(pilot)
        hold = Hold()
        chat.plays(Token("Half"), hold)
        await pilot.press("ctrl+r")
        await chat.until(pilot, hold.reached.is_set)
        await pilot.press("alt+left")
        assert "an answer is running" in chat.status
        assert chat.app.chat.worker.turn is not None


async def test_a_failed_answer_is_no_version(chat: Chat) -> None:
    chat.plays(Error("CONNECT", "nobody listens"))
    async with chat.app.run_test(size=SIZE) as pilot:
        await chat.ask(pilot, "Can I pause?")
        await chat.ended(pilot)
        chat.plays(*answer("Yes."))
        await pilot.press("ctrl+r")
        await chat.ended(pilot)
        assert "2/2" not in chat.screen_text


async def test_versions_and_thoughts_are_there_after_reopening(history: History) -> None:
    before = Chat(history)
    before.plays(Reasoning("Let me think."), Token("First."), Done(1, 1.0))
    async with before.app.run_test(size=SIZE) as pilot:
        await before.ask(pilot, "Can I pause?")
        await before.ended(pilot)
        before.plays(*answer("Second."))
        await pilot.press("ctrl+r")
        await before.ended(pilot)
        await pilot.press("alt+left")

    chat = Chat(history, conversation=history.latest_conversation())
    async with chat.app.run_test(size=SIZE) as pilot:
        await chat.until(pilot, lambda: "First." in chat.screen_text)
        assert "1/2 ›" in chat.screen_text
        assert "▸ Thought, 3 words" in chat.screen_text
        assert "Let me think." not in chat.screen_text
        lines = [chat.transcript.render_line(y).text for y in range(chat.transcript.size.height)]
        row = next(row for row, line in enumerate(lines) if "Thought" in line)
        await pilot.click("#transcript", offset=(6, row))
        await chat.until(pilot, lambda: "Let me think." in chat.screen_text)
