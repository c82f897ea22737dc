"""The store as the app uses it: trees, partial updates, titles, prompts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from backends.events import Citation
from backends.telemetry.turns import TurnNumbers
from tui.history.history import History

FAQ = Citation(source="faq.md", id="S1", title="FAQ", locator="Pausing", snippet="You can pause once a year.")
TERMS = Citation(source="terms.md", id="S2")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "history.sqlite"


@pytest.fixture(params=["file", "memory"])
def history(request: pytest.FixtureRequest, path: Path) -> Iterator[History]:
    store = History(path if request.param == "file" else None)
    yield store
    store.close()


def test_a_turn_comes_back_as_it_was_written(history: History) -> None:
    conversation = history.create_conversation("demo")
    question = history.add_message(conversation, None, "user", "Can I pause?", sources=(FAQ, TERMS))
    answer = history.add_message(conversation, question, "assistant", "", backend="demo", model="tiny")
    history.update_message(answer, content="Yes [S1].", reasoning="Hm.", outcome="complete", citations=(FAQ,))
    history.add_turn(answer, TurnNumbers(started=1.0), b"of its first run")
    history.add_turn(answer, TurnNumbers(started=2.0), b"\x00\xff")

    asked, answered = history.thread(conversation)

    assert (asked.id, asked.parent, asked.role, asked.content) == (question, None, "user", "Can I pause?")
    assert (asked.outcome, asked.sources, asked.citations, asked.timeline) == ("complete", (FAQ, TERMS), (), None)
    assert (answered.parent, answered.role, answered.content) == (question, "assistant", "Yes [S1].")
    assert (answered.outcome, answered.citations, answered.timeline) == ("complete", (FAQ,), b"\x00\xff")
    assert (answered.backend, answered.model, answered.reasoning) == ("demo", "tiny", "Hm.")
    assert answered.created >= asked.created > 1_700_000_000


def test_update_changes_only_what_is_given(history: History) -> None:
    conversation = history.create_conversation("demo")
    question = history.add_message(conversation, None, "user", "q")
    answer = history.add_message(conversation, question, "assistant", "", model="first")
    history.update_message(answer, content="text", citations=[FAQ])
    history.update_message(answer, model="second", outcome="truncated")
    history.update_message(answer)

    stored = history.thread(conversation)[-1]
    assert (stored.content, stored.citations) == ("text", (FAQ,))
    assert (stored.model, stored.outcome) == ("second", "truncated")

    history.update_message(answer, citations=())
    stored = history.thread(conversation)[-1]
    assert (stored.content, stored.citations) == ("text", ())


def test_a_conversation_is_a_tree(history: History) -> None:
    conversation = history.create_conversation("demo")
    question = history.add_message(conversation, None, "user", "q")
    first = history.add_message(conversation, question, "assistant", "first")
    second = history.add_message(conversation, question, "assistant", "second")
    follow_up = history.add_message(conversation, first, "user", "more")
    edited = history.add_message(conversation, None, "user", "q, edited")
    other = history.create_conversation("demo")
    history.add_message(other, None, "user", "elsewhere")

    assert [m.content for m in history.thread(conversation)] == ["q, edited"]
    assert [m.content for m in history.thread(conversation, follow_up)] == ["q", "first", "more"]
    assert [m.content for m in history.thread(conversation, second)] == ["q", "second"]
    assert history.siblings(first) == [first, second]
    assert history.siblings(question) == [question, edited]
    assert history.siblings(follow_up) == [follow_up]
    assert history.forks(conversation) == {question: [first, second], None: [question, edited]}


def test_the_path_that_was_chosen_is_the_one_that_goes_on(history: History) -> None:
    conversation = history.create_conversation("demo")
    question = history.add_message(conversation, None, "user", "q")
    first = history.add_message(conversation, question, "assistant", "first")
    history.add_message(conversation, first, "user", "old follow-up")
    history.add_message(conversation, first, "user", "more")
    second = history.add_message(conversation, question, "assistant", "second")

    def texts() -> list[str]:
        return [message.content for message in history.thread(conversation)]

    assert texts() == ["q", "second"]
    history.choose(conversation, first)
    assert texts() == ["q", "first", "more"]
    history.choose(conversation, second)
    assert texts() == ["q", "second"]
    third = history.add_message(conversation, question, "assistant", "third")
    assert texts() == ["q", "third"]
    history.update_message(third, outcome="complete")
    history.choose(conversation, question)
    assert texts() == ["q", "third"]


def test_an_answer_without_a_word_is_no_version(history: History) -> None:
    conversation = history.create_conversation("demo")
    question = history.add_message(conversation, None, "user", "q")
    failed = history.add_message(conversation, question, "assistant", "")
    history.update_message(failed, outcome="failed")
    thought = history.add_message(conversation, question, "assistant", "")
    history.update_message(thought, outcome="cancelled", reasoning="Hm.")
    running = history.add_message(conversation, question, "assistant", "")

    assert history.siblings(running) == [thought, running]
    assert history.siblings(thought) == [thought]
    assert history.forks(conversation) == {}


def test_no_thread_where_nothing_was_said(history: History) -> None:
    conversation = history.create_conversation("demo")
    assert history.thread(conversation) == []
    assert history.thread("unknown") == []
    assert history.conversations(10) == []
    assert history.latest_conversation() is None


def test_a_message_needs_its_conversation_and_parent(history: History) -> None:
    import sqlite3

    with pytest.raises(sqlite3.IntegrityError):
        history.add_message("unknown", None, "user", "q")
    conversation = history.create_conversation("demo")
    with pytest.raises(sqlite3.IntegrityError):
        history.add_message(conversation, "12345", "assistant", "a")
    assert history.conversations(10) == [], "the failed insert left nothing behind"


def test_conversations_are_listed_by_their_newest_message(history: History) -> None:
    first = history.create_conversation("demo")
    second = history.create_conversation("gpu")
    question = history.add_message(first, None, "user", "  What is\nthe price?  ")
    history.add_message(second, None, "user", "word " * 50)
    history.add_message(first, question, "assistant", "Nothing.")
    history.add_message(first, question, "user", "A later question does not change the title")

    newest, older = history.conversations(10)
    assert (newest.id, newest.title, newest.backend) == (first, "What is the price?", "demo")
    assert (older.id, older.backend) == (second, "gpu")
    assert older.title.endswith("word…")
    assert len(older.title) <= 61
    assert history.latest_conversation() == first
    assert [c.id for c in history.conversations(1)] == [first]


def test_prompts_newest_first_without_repeats(history: History) -> None:
    for words in (("a", "b"), ("a",), ("c",)):
        conversation = history.create_conversation("demo")
        for text in words:
            question = history.add_message(conversation, None, "user", text)
            history.add_message(conversation, question, "assistant", f"answer to {text}")
    assert history.prompts(10) == ["c", "a", "b"]
    assert history.prompts(2) == ["c", "a"]


@pytest.mark.parametrize("text", ["", "nul \x00 inside", "😀 e\u0301 \u202e", "x" * 1_000_000])
def test_any_text_is_kept(history: History, text: str) -> None:
    conversation = history.create_conversation("demo")
    history.add_message(conversation, None, "user", text)
    assert history.thread(conversation)[0].content == text


def test_half_a_surrogate_pair_does_not_stop_a_turn(history: History) -> None:
    conversation = history.create_conversation("demo")
    answer = history.add_message(conversation, None, "assistant", "bad \ud83d end")
    assert history.thread(conversation)[0].content == "bad ? end"
    history.update_message(answer, content="\udc80")
    assert history.thread(conversation)[0].content == "?"


def test_the_writer_sees_its_answer_running(history: History) -> None:
    conversation = history.create_conversation("demo")
    answer = history.add_message(conversation, None, "assistant", "so far")
    assert history.thread(conversation)[0].outcome == "running"
    history.update_message(answer, outcome="complete")
    assert history.thread(conversation)[0].outcome == "complete"
    history.update_message(answer, outcome="running")  # "continue" after a cut
    assert history.thread(conversation)[0].outcome == "running"
