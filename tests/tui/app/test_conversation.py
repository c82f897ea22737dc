"""The path through the tree: what is stored, and what a backend is sent."""

from __future__ import annotations

import pytest

from backends.backend import Message
from backends.telemetry.timeline import Timeline
from backends.telemetry.turns import TurnNumbers
from tests.tui.app.conftest import PAUSE
from tui.history.conversation import Conversation, Turn
from tui.history.history import History


def finish(conversation: Conversation, text: str, outcome: str = "complete") -> Turn:
    """Answer the newest question with `text`."""
    turn = conversation.begin_answer("demo")
    turn.content, turn.outcome, turn.timeline = text, outcome, Timeline()  # type: ignore[assignment]
    conversation.save(turn)
    conversation.record(turn)
    return turn


def test_nothing_is_stored_before_the_first_question(history: History) -> None:
    conversation = Conversation(history)
    assert conversation.messages() == ()
    assert conversation.messages_with_draft("") == ()
    assert history.conversations() == []


def test_the_path_is_sent_up_to_the_question(history: History) -> None:
    conversation = Conversation(history)
    conversation.ask("One?", "demo")
    answer = finish(conversation, "One.", "cancelled")
    conversation.attach_sources(answer, (PAUSE,))
    conversation.ask("Two?", "demo")
    conversation.begin_answer("demo")
    assert conversation.messages() == (
        Message("user", "One?", (PAUSE,)),
        Message("assistant", "One."),
        Message("user", "Two?"),
    )


def test_a_question_that_got_no_word_is_left_out_with_its_answer(history: History) -> None:
    conversation = Conversation(history)
    conversation.ask("One?", "demo")
    finish(conversation, "", "failed")
    conversation.ask("Two?", "demo")
    assert conversation.messages() == (Message("user", "Two?"),)


def test_the_run_before_is_of_the_same_backend(history: History) -> None:
    conversation = Conversation(history)
    conversation.ask("One?", "demo")
    first = finish(conversation, "One.")
    conversation.ask("Two?", "box")
    other = conversation.begin_answer("box")
    conversation.ask("Three?", "demo")
    third = finish(conversation, "Three.")
    assert conversation.earlier(first) is conversation.earlier(other) is None
    assert conversation.earlier(third) is first.timeline


def test_a_draft_comes_after_the_path(history: History) -> None:
    conversation = Conversation(history)
    conversation.ask("One?", "demo")
    finish(conversation, "One.")
    assert conversation.messages_with_draft("Tw")[-1] == Message("user", "Tw")
    assert len(conversation.messages_with_draft("")) == 2


def test_an_answer_needs_a_question(history: History) -> None:
    with pytest.raises(ValueError, match="question"):
        Conversation(history).begin_answer("demo")


def test_a_new_answer_is_a_sibling_of_the_old_one(history: History) -> None:
    conversation = Conversation(history)
    question = conversation.ask("One?", "demo")
    first = finish(conversation, "First.")
    second = finish(conversation, "Second.")
    assert conversation.turns == [question, second]
    assert history.siblings(second.id) == [first.id, second.id]


def test_every_version_and_what_followed_it_can_be_gone_back_to(history: History) -> None:
    conversation = Conversation(history)
    question = conversation.ask("One?", "demo")
    first = finish(conversation, "First.")
    conversation.ask("More?", "demo")
    finish(conversation, "More.")
    conversation.rewind(conversation.turns[1])
    second = finish(conversation, "Second.")
    assert second.siblings == (first.id, second.id)

    conversation.choose(second, first.id)
    assert [turn.content for turn in conversation.turns] == ["One?", "First.", "More?", "More."]
    assert conversation.turns[1].siblings == (first.id, second.id)

    conversation.rewind(conversation.turns[0])
    edited = conversation.ask("Two?", "demo")
    assert edited.siblings == (question.id, edited.id)
    assert [message.content for message in conversation.messages()] == ["Two?"]
    again = Conversation(history, conversation.id)
    assert [(turn.content, turn.siblings) for turn in again.turns] == [("Two?", edited.siblings)]


def test_what_was_stored_comes_back(history: History) -> None:
    conversation = Conversation(history)
    conversation.ask("One?", "demo")
    answer = finish(conversation, "One [S1].", "truncated")
    answer.citations, answer.model, answer.reasoning = (PAUSE,), "smol", "Hm."
    conversation.save(answer)
    conversation.attach_sources(answer, (PAUSE,))

    again = Conversation(history, conversation.id)
    question, restored = again.turns
    assert question.sources == (PAUSE,)
    assert (restored.content, restored.outcome, restored.model) == ("One [S1].", "truncated", "smol")
    assert restored.citations == (PAUSE,)
    assert restored.reasoning == "Hm."
    assert restored.timeline is not None
    assert again.can_continue


def test_a_timeline_that_cannot_be_read_is_left_out(history: History) -> None:
    conversation = Conversation(history)
    conversation.ask("One?", "demo")
    answer = finish(conversation, "One.")
    history.add_turn(answer.id, TurnNumbers(started=1.0), b"\xff\xff")
    assert Conversation(history, conversation.id).turns[-1].timeline is None
